//! The one type of operands in C.

use super::dtype::reflex_dtype;
use std::ffi::c_void;

/// A view of an operand: the caller's memory, never owned by the library.
///
/// `data == NULL` means the operand is absent. `shape` and `stride` are outermost first; entries from `rank` on are
/// ignored. Strides are in bytes and not negative; all zero means contiguous. A block format counts elements in `shape`; its last
/// stride is the bytes of one block. Pointers and strides must be multiples of the element size (2 for GGUF block formats, 1 for
/// MXFP4, 16 for ACT_I8). A stride over a dimension of size 1, or over the only block of a row, is not looked at and may be any
/// number, if not all are zero. A tensor with a dimension of 0 has no bytes, and none of its strides is looked at.
///
/// No byte of an output is one of another operand or of another element of its own, but where an op says that an output may be
/// exactly an input: the same address, type, shape and strides. Views that interleave and share no byte are apart.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_tensor {
    pub data: *mut c_void,
    pub dtype: reflex_dtype,
    pub rank: u32,
    pub shape: [i64; 4],
    pub stride: [i64; 4],
}

impl Default for reflex_tensor {
    fn default() -> Self {
        reflex_tensor {
            data: std::ptr::null_mut(),
            dtype: reflex_dtype(0),
            rank: 0,
            shape: [0; 4],
            stride: [0; 4],
        }
    }
}
