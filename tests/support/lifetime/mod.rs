//! What becomes of objects that are used too late, twice, in a capture or with another context: one table that the CPU
//! backend and CUDA both go through, so that both answer the same.

mod captures;
mod objects;

use super::env::*;
use reflex_infer::*;
use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};
use std::time::Duration;

/// `REFLEX_INVALID_ARGUMENT`, for this reason.
#[track_caller]
pub fn must_refuse(status: reflex_status, why: &str) {
    let message = last_error();
    assert_eq!(status_name(status), "REFLEX_INVALID_ARGUMENT", "{message}");
    assert!(message.contains(why), "`{message}` does not say `{why}`");
}

const BYTES: usize = 256;

fn set(env: &Env, data: *mut c_void, value: u8, stream: reflex_stream) -> reflex_status {
    reflex_memset(env.context, data, value, BYTES, stream)
}

#[track_caller]
fn holds(env: &Env, data: *const c_void, value: u8) {
    let mut bytes = [0; BYTES];
    env.download(data, &mut bytes);
    assert_eq!(bytes, [value; BYTES]);
}

fn begin(env: &Env, stream: reflex_stream) {
    ok(reflex_graph_capture_begin(env.context, stream));
}

/// Ends the capture, which must have gone well, and says how many nodes it has.
#[track_caller]
fn end(env: &Env, stream: reflex_stream) -> (*mut reflex_graph, usize) {
    let (mut graph, mut nodes) = (null_mut(), usize::MAX);
    ok(reflex_graph_capture_end(env.context, stream, &mut graph));
    ok(reflex_graph_node_count(graph, &mut nodes));
    (graph, nodes)
}

fn free_stream(env: &Env, stream: reflex_stream) {
    ok(reflex_stream_destroy(env.context, stream));
}

fn new_event(env: &Env) -> *mut reflex_event {
    let mut event = null_mut();
    ok(reflex_event_create(env.context, &mut event));
    event
}

/// A context of the same backend.
fn another(env: &Env) -> Env {
    match env.cuda {
        true => Env::cuda().expect("a GPU"),
        false => Env::cpu(),
    }
}

/// Runs `during` while a stream is captured that sets `data` to 9, and sees that the capture took no harm.
#[track_caller]
fn during_a_capture(env: &Env, during: impl FnOnce(reflex_stream)) {
    let stream = env.new_stream();
    let data = env.malloc(BYTES);
    ok(set(env, data, 1, env.stream));
    ok(reflex_stream_synchronize(env.context, env.stream));
    begin(env, stream);
    ok(set(env, data, 9, stream));
    during(stream);
    let (graph, nodes) = end(env, stream);
    assert_eq!(nodes, 1);
    holds(env, data, 1);
    ok(reflex_graph_launch(env.context, graph, stream));
    ok(reflex_stream_synchronize(env.context, stream));
    holds(env, data, 9);
    reflex_graph_destroy(graph);
    free_stream(env, stream);
    ok(reflex_device_free(env.context, data));
}

/// A name and what is done.
pub type Situation = (&'static str, fn(&Env));

/// Every situation, each under a name of its own.
pub fn lifetime() -> impl Iterator<Item = &'static Situation> {
    captures::SITUATIONS.iter().chain(objects::SITUATIONS)
}
