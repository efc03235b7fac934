//! Scratch memory of a call.

use std::ffi::c_void;

/// The caller's scratch memory.
#[derive(Clone, Copy)]
pub(crate) struct Workspace {
    pub data: *mut c_void,
    pub bytes: usize,
}

impl Workspace {
    pub(crate) const NONE: Workspace = Workspace {
        data: std::ptr::null_mut(),
        bytes: 0,
    };
    /// Stands for a workspace that does not exist yet.
    pub(crate) const ANY: Workspace = Workspace {
        data: std::ptr::without_provenance_mut(Workspace::ALIGNMENT),
        bytes: usize::MAX,
    };
    /// The address of a workspace is a multiple of this.
    pub(crate) const ALIGNMENT: usize = 256;
}

/// The two methods of `Op` that say where params have their workspace, for params with fields of these names.
macro_rules! workspace_fields {
    ($params:ty) => {
        fn workspace(params: &$params) -> $crate::ops::workspace::Workspace {
            $crate::ops::workspace::Workspace {
                data: params.workspace,
                bytes: params.workspace_size,
            }
        }

        fn set_workspace(params: &mut $params, workspace: $crate::ops::workspace::Workspace) {
            (params.workspace, params.workspace_size) = (workspace.data, workspace.bytes);
        }
    };
}
pub(crate) use workspace_fields;
