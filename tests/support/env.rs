//! A context of one backend with a stream.

use reflex_infer::*;
use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

pub struct Env {
    pub context: *mut reflex_context,
    pub stream: reflex_stream,
    pub cuda: bool,
    /// A candidate was asked for: nothing is chosen.
    pub forced: bool,
    /// The context ends with this.
    pub owns_context: bool,
}

// The context may be used from many threads; the stream is used by one at a time.
unsafe impl Send for Env {}
unsafe impl Sync for Env {}

/// Panics with the library's own message.
#[track_caller]
pub fn ok(status: reflex_status) {
    assert!(status == REFLEX_SUCCESS, "{}: {}", status_name(status), last_error());
}

pub fn status_name(status: reflex_status) -> String {
    unsafe { CStr::from_ptr(reflex_status_string(status)) }
        .to_string_lossy()
        .into_owned()
}

pub fn last_error() -> String {
    unsafe { CStr::from_ptr(reflex_last_error_message()) }
        .to_string_lossy()
        .into_owned()
}

fn params_of(backend: reflex_backend) -> reflex_context_params {
    reflex_context_params {
        struct_size: size_of::<reflex_context_params>() as u32,
        backend,
        ..Default::default()
    }
}

fn create(backend: reflex_backend) -> Result<Env, reflex_status> {
    let mut context = null_mut();
    let status = reflex_context_create(&params_of(backend), &mut context);
    if status != REFLEX_SUCCESS {
        return Err(status);
    }
    let forced = std::env::var_os("REFLEX_IMPL").is_some();
    Ok(Env::of(context, backend == REFLEX_BACKEND_CUDA, forced))
}

impl Env {
    fn of(context: *mut reflex_context, cuda: bool, forced: bool) -> Env {
        let mut stream = null_mut();
        ok(reflex_stream_create(context, &mut stream));
        Env {
            context,
            stream,
            cuda,
            forced,
            owns_context: true,
        }
    }

    /// Another stream of the same context, which outlives it: a new context would load every kernel anew.
    pub fn beside(&self) -> Env {
        let mut env = Env::of(self.context, self.cuda, self.forced);
        env.owns_context = false;
        env
    }

    /// A context of the GPU whose calls of an op get this candidate: `norm:block`.
    pub fn with_candidate(candidate: &str) -> Env {
        let context = create_context_with_candidates(&params_of(REFLEX_BACKEND_CUDA), candidate);
        Env::of(context.unwrap_or_else(|_| panic!("{}", last_error())), true, true)
    }

    pub fn cpu() -> Env {
        create(REFLEX_BACKEND_CPU).expect("the CPU backend is always there")
    }

    /// `None` where there is no usable GPU.
    pub fn cuda() -> Option<Env> {
        create(REFLEX_BACKEND_CUDA).ok()
    }

    /// A second stream's worth of the same context.
    pub fn new_stream(&self) -> reflex_stream {
        let mut stream = null_mut();
        ok(reflex_stream_create(self.context, &mut stream));
        stream
    }

    /// A graph of what `launch` does on this stream.
    pub fn captured(&self, launch: impl FnOnce() -> reflex_status) -> *mut reflex_graph {
        let mut graph = null_mut();
        ok(reflex_graph_capture_begin(self.context, self.stream));
        let status = launch();
        ok(reflex_graph_capture_end(self.context, self.stream, &mut graph));
        ok(status);
        graph
    }

    pub fn malloc(&self, bytes: usize) -> *mut c_void {
        let mut pointer = null_mut();
        ok(reflex_device_malloc(self.context, bytes, &mut pointer));
        pointer
    }

    pub fn upload(&self, to: *mut c_void, bytes: &[u8]) {
        ok(reflex_memcpy(
            self.context,
            to,
            bytes.as_ptr().cast(),
            bytes.len(),
            self.stream,
        ));
        ok(reflex_stream_synchronize(self.context, self.stream));
    }

    pub fn download(&self, from: *const c_void, bytes: &mut [u8]) {
        ok(reflex_memcpy(
            self.context,
            bytes.as_mut_ptr().cast(),
            from,
            bytes.len(),
            self.stream,
        ));
        ok(reflex_stream_synchronize(self.context, self.stream));
    }

    pub fn device_info(&self) -> reflex_device_info {
        let mut info: reflex_device_info = unsafe { std::mem::zeroed() };
        info.struct_size = size_of::<reflex_device_info>() as u32;
        ok(reflex_get_device_info(self.context, &mut info));
        info
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let _ = reflex_stream_destroy(self.context, self.stream);
        if self.owns_context {
            reflex_context_destroy(self.context);
        }
    }
}

/// The context of the CPU backend for whatever needs no context of its own: each has threads of its own.
pub fn shared_cpu() -> &'static Env {
    static CPU: OnceLock<Env> = OnceLock::new();
    CPU.get_or_init(Env::cpu)
}

/// The shape of `reflex_<op>_selected_kernel`.
pub type SelectedKernel<P> =
    extern "C" fn(*const reflex_context, *const P, *mut *const std::ffi::c_char) -> reflex_status;

/// Name of the kernel that an op would launch.
pub fn selected<P>(env: &Env, function: SelectedKernel<P>, params: &P) -> String {
    let mut name = null();
    ok(function(env.context, params, &mut name));
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}
