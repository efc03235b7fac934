//! What becomes of objects that are used too late, twice, in a capture or with another context: one table that the CPU
//! backend and CUDA both go through, so that both answer the same.

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

pub const LIFETIME: &[Situation] = &[
    ("a_stream_destroyed_in_a_capture_ends_it", |env| {
        let data = env.malloc(BYTES);
        let mut graph = null_mut();
        for value in 1..64 {
            let stream = env.new_stream();
            begin(env, stream);
            ok(set(env, data, 0, stream));
            free_stream(env, stream);
            // It may have the address of the one before.
            let stream = env.new_stream();
            ok(reflex_stream_synchronize(env.context, stream));
            ok(set(env, data, value, stream));
            ok(reflex_stream_synchronize(env.context, stream));
            holds(env, data, value);
            must_refuse(
                reflex_graph_capture_end(env.context, stream, &mut graph),
                "not being captured",
            );
            free_stream(env, stream);
        }
        assert!(graph.is_null());
        ok(reflex_device_free(env.context, data));
    }),
    ("a_stream_is_destroyed_once", |env| {
        let stream = env.new_stream();
        free_stream(env, stream);
        must_refuse(reflex_stream_destroy(env.context, stream), "destroyed");
        let mut here = 0u64;
        let never = (&raw mut here).cast();
        must_refuse(reflex_stream_destroy(env.context, never), "reflex_stream_create");
        for default in [1, 2] {
            let default = without_provenance_mut(default);
            must_refuse(reflex_stream_destroy(env.context, default), "reflex_stream_create");
        }
    }),
    ("a_capture_begins_once", |env| {
        during_a_capture(env, |stream| {
            must_refuse(reflex_graph_capture_begin(env.context, stream), "being captured");
        });
    }),
    ("a_capture_ends_once", |env| {
        let stream = env.new_stream();
        let mut graph = null_mut();
        let end_again = |graph: &mut *mut reflex_graph| {
            must_refuse(
                reflex_graph_capture_end(env.context, stream, graph),
                "not being captured",
            );
        };
        end_again(&mut graph);
        begin(env, stream);
        let (made, _) = end(env, stream);
        end_again(&mut graph);
        must_refuse(
            reflex_graph_capture_end(env.context, null_mut(), &mut graph),
            "not being captured",
        );
        assert!(graph.is_null());
        reflex_graph_destroy(made);
        free_stream(env, stream);
    }),
    ("the_default_stream_is_not_captured", |env| {
        for default in [0, 1] {
            let default = without_provenance_mut(default);
            must_refuse(reflex_graph_capture_begin(env.context, default), "default stream");
        }
    }),
    ("a_capture_ends_in_its_own_thread", |env| {
        during_a_capture(env, |stream| {
            let stream = stream as usize;
            std::thread::scope(|scope| {
                let other = scope.spawn(move || {
                    let mut graph = null_mut();
                    let stream = without_provenance_mut(stream);
                    must_refuse(
                        reflex_graph_capture_end(env.context, stream, &mut graph),
                        "another thread",
                    );
                    assert!(graph.is_null());
                });
                other.join().expect("refused in the other thread");
            });
        });
    }),
    ("a_captured_stream_is_not_waited_for", |env| {
        during_a_capture(env, |stream| {
            must_refuse(reflex_stream_synchronize(env.context, stream), "being captured");
        });
    }),
    ("two_streams_are_captured_at_once", |env| {
        let other = env.new_stream();
        let data = env.malloc(BYTES);
        let mut graph = null_mut();
        during_a_capture(env, |_| {
            begin(env, other);
            ok(set(env, data, 3, other));
            ok(set(env, data, 4, other));
            let (made, nodes) = end(env, other);
            assert_eq!(nodes, 2);
            graph = made;
        });
        ok(reflex_graph_launch(env.context, graph, other));
        ok(reflex_stream_synchronize(env.context, other));
        holds(env, data, 4);
        reflex_graph_destroy(graph);
        free_stream(env, other);
        ok(reflex_device_free(env.context, data));
    }),
    ("other_streams_run_during_a_capture", |env| {
        let other = env.new_stream();
        let data = env.malloc(BYTES);
        during_a_capture(env, |_| {
            ok(set(env, data, 5, other));
            ok(reflex_stream_synchronize(env.context, other));
            let more = env.new_stream();
            ok(set(env, data, 6, more));
            ok(reflex_stream_synchronize(env.context, more));
            free_stream(env, more);
        });
        holds(env, data, 6);
        free_stream(env, other);
        ok(reflex_device_free(env.context, data));
    }),
    ("events_work_during_a_capture", |env| {
        let other = env.new_stream();
        during_a_capture(env, |_| {
            let (a, b) = (new_event(env), new_event(env));
            ok(reflex_event_record(env.context, a, other));
            ok(reflex_event_record(env.context, b, other));
            ok(reflex_event_synchronize(b));
            let mut milliseconds = -1.0;
            ok(reflex_event_elapsed(a, b, &mut milliseconds));
            assert!(milliseconds >= 0.0);
            reflex_event_destroy(a);
            reflex_event_destroy(b);
        });
        free_stream(env, other);
    }),
    ("memory_is_allocated_during_a_capture", |env| {
        let mut made = [null_mut(); 2];
        during_a_capture(env, |_| {
            ok(reflex_device_malloc(env.context, BYTES, &mut made[0]));
            ok(reflex_host_malloc(env.context, BYTES, &mut made[1]));
        });
        ok(reflex_device_free(env.context, made[0]));
        ok(reflex_host_free(env.context, made[1]));
    }),
    ("memory_is_freed_during_a_capture", |env| {
        let device = env.malloc(BYTES);
        let mut host = null_mut();
        ok(reflex_host_malloc(env.context, BYTES, &mut host));
        during_a_capture(env, |_| {
            ok(reflex_device_free(env.context, device));
            ok(reflex_host_free(env.context, host));
        });
    }),
    ("memory_is_registered_during_a_capture", |env| {
        let mut host = vec![0u8; 1 << 16];
        let mut device = null_mut();
        during_a_capture(env, |_| {
            ok(reflex_host_register(
                env.context,
                host.as_mut_ptr().cast(),
                host.len(),
                &mut device,
            ));
            ok(reflex_host_unregister(env.context, host.as_mut_ptr().cast()));
        });
    }),
    ("a_graph_is_made_launched_and_destroyed_during_a_capture", |env| {
        let data = env.malloc(BYTES);
        let other = env.new_stream();
        begin(env, other);
        ok(set(env, data, 7, other));
        let (graph, _) = end(env, other);
        during_a_capture(env, |_| {
            ok(reflex_graph_launch(env.context, graph, other));
            ok(reflex_stream_synchronize(env.context, other));
            reflex_graph_destroy(graph);
        });
        holds(env, data, 7);
        free_stream(env, other);
        ok(reflex_device_free(env.context, data));
    }),
    ("copies_are_captured", |env| {
        let (a, b) = (env.malloc(BYTES), env.malloc(BYTES));
        let stream = env.new_stream();
        ok(set(env, a, 1, env.stream));
        ok(set(env, b, 2, env.stream));
        ok(reflex_stream_synchronize(env.context, env.stream));
        begin(env, stream);
        ok(reflex_memcpy(env.context, b, a, BYTES, stream));
        ok(set(env, a, 3, stream));
        let (graph, nodes) = end(env, stream);
        assert_eq!(nodes, 2);
        holds(env, b, 2);
        ok(reflex_graph_launch(env.context, graph, stream));
        ok(reflex_graph_launch(env.context, graph, stream));
        ok(reflex_stream_synchronize(env.context, stream));
        holds(env, a, 3);
        holds(env, b, 3);
        reflex_graph_destroy(graph);
        free_stream(env, stream);
        ok(reflex_device_free(env.context, a));
        ok(reflex_device_free(env.context, b));
    }),
    ("a_graph_of_nothing_runs", |env| {
        let stream = env.new_stream();
        begin(env, stream);
        let (graph, nodes) = end(env, stream);
        assert_eq!(nodes, 0);
        ok(reflex_graph_launch(env.context, graph, stream));
        ok(reflex_stream_synchronize(env.context, stream));
        reflex_graph_destroy(graph);
        free_stream(env, stream);
    }),
    ("graphs_do_not_nest", |env| {
        let other = env.new_stream();
        begin(env, other);
        let (graph, _) = end(env, other);
        during_a_capture(env, |stream| {
            must_refuse(reflex_graph_launch(env.context, graph, stream), "being captured");
        });
        reflex_graph_destroy(graph);
        free_stream(env, other);
    }),
    ("an_event_recorded_in_a_capture_has_no_time", |env| {
        let (a, b) = (new_event(env), new_event(env));
        let mut milliseconds = 7.0;
        ok(reflex_event_record(env.context, a, env.stream));
        ok(reflex_event_record(env.context, b, env.stream));
        // Also once it had one, and as no part of the graph.
        during_a_capture(env, |stream| {
            ok(reflex_event_record(env.context, b, stream));
            must_refuse(reflex_event_elapsed(a, b, &mut milliseconds), "end was last recorded");
        });
        must_refuse(reflex_event_elapsed(a, b, &mut milliseconds), "end was last recorded");
        must_refuse(reflex_event_elapsed(b, a, &mut milliseconds), "start was last recorded");
        must_refuse(reflex_event_synchronize(b), "captured");
        assert_eq!(milliseconds, 7.0);
        ok(reflex_event_record(env.context, b, env.stream));
        ok(reflex_event_synchronize(b));
        ok(reflex_event_elapsed(a, b, &mut milliseconds));
        reflex_event_destroy(a);
        reflex_event_destroy(b);
    }),
    ("an_event_never_recorded_has_no_time", |env| {
        let (a, b) = (new_event(env), new_event(env));
        let mut milliseconds = 7.0;
        ok(reflex_event_synchronize(a));
        ok(reflex_event_record(env.context, b, env.stream));
        ok(reflex_event_synchronize(b));
        must_refuse(
            reflex_event_elapsed(a, b, &mut milliseconds),
            "start was never recorded",
        );
        must_refuse(reflex_event_elapsed(b, a, &mut milliseconds), "end was never recorded");
        assert_eq!(milliseconds, 7.0);
        reflex_event_destroy(a);
        reflex_event_destroy(b);
    }),
    ("time_runs_backwards_too", |env| {
        let (a, b) = (new_event(env), new_event(env));
        ok(reflex_event_record(env.context, a, env.stream));
        ok(reflex_event_synchronize(a));
        std::thread::sleep(Duration::from_millis(5));
        ok(reflex_event_record(env.context, b, env.stream));
        ok(reflex_event_synchronize(b));
        let elapsed = |start, end| {
            let mut milliseconds = f32::NAN;
            ok(reflex_event_elapsed(start, end, &mut milliseconds));
            milliseconds
        };
        let (forwards, backwards) = (elapsed(a, b), elapsed(b, a));
        assert!(forwards > 4.0, "{forwards}");
        assert!((forwards + backwards).abs() < 0.01, "{forwards} and {backwards}");
        assert_eq!(elapsed(a, a), 0.0);
        // The last record counts.
        ok(reflex_event_record(env.context, a, env.stream));
        ok(reflex_event_synchronize(a));
        assert!(elapsed(b, a) >= 0.0);
        reflex_event_destroy(a);
        reflex_event_destroy(b);
    }),
    ("events_stay_with_their_context", |env| {
        let other = another(env);
        let (own, foreign) = (new_event(env), new_event(&other));
        ok(reflex_event_record(env.context, own, env.stream));
        must_refuse(
            reflex_event_record(env.context, foreign, env.stream),
            "event was made through another context",
        );
        ok(reflex_event_record(other.context, foreign, other.stream));
        ok(reflex_event_synchronize(own));
        ok(reflex_event_synchronize(foreign));
        let mut milliseconds = 0.0;
        must_refuse(reflex_event_elapsed(own, foreign, &mut milliseconds), "two contexts");
        reflex_event_destroy(foreign);
        reflex_event_destroy(own);
    }),
    ("graphs_stay_with_their_context", |env| {
        let other = another(env);
        begin(&other, other.stream);
        let (graph, _) = end(&other, other.stream);
        must_refuse(
            reflex_graph_launch(env.context, graph, env.stream),
            "graph was made through another context",
        );
        ok(reflex_graph_launch(other.context, graph, other.stream));
        ok(reflex_stream_synchronize(other.context, other.stream));
        reflex_graph_destroy(graph);
    }),
    ("streams_stay_with_their_context", |env| {
        let other = another(env);
        let why = "stream was made through another context";
        let (a, b) = (env.malloc(BYTES), env.malloc(BYTES));
        let event = new_event(env);
        begin(env, env.stream);
        let (graph, _) = end(env, env.stream);
        let (c, foreign) = (env.context, other.stream);
        let x = reflex_tensor {
            data: a,
            dtype: REFLEX_DTYPE_F32,
            rank: 2,
            shape: [1, 64, 0, 0],
            stride: [0; 4],
        };
        let norm = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x,
            y: x,
            ..Default::default()
        };
        must_refuse(reflex_norm(c, &norm, foreign), why);
        must_refuse(set(env, a, 1, foreign), why);
        must_refuse(reflex_memcpy(c, b, a, BYTES, foreign), why);
        must_refuse(reflex_stream_synchronize(c, foreign), why);
        must_refuse(reflex_event_record(c, event, foreign), why);
        must_refuse(reflex_graph_capture_begin(c, foreign), why);
        must_refuse(reflex_graph_launch(c, graph, foreign), why);
        must_refuse(reflex_stream_destroy(c, foreign), why);
        begin(&other, foreign);
        let mut none = null_mut();
        must_refuse(reflex_graph_capture_end(c, foreign, &mut none), why);
        let (theirs, _) = end(&other, foreign);
        reflex_graph_destroy(theirs);
        ok(reflex_stream_synchronize(other.context, foreign));
        reflex_graph_destroy(graph);
        reflex_event_destroy(event);
        ok(reflex_device_free(c, a));
        ok(reflex_device_free(c, b));
    }),
    ("what_was_destroyed_is_refused", |env| {
        let event = new_event(env);
        begin(env, env.stream);
        let (graph, _) = end(env, env.stream);
        let mut sampler = null_mut();
        ok(reflex_telemetry_sampler_create(env.context, 50, &mut sampler));
        let other = another(env);
        let context = other.context;
        drop(other);
        reflex_event_destroy(event);
        reflex_graph_destroy(graph);
        reflex_telemetry_sampler_destroy(sampler);
        let (mut milliseconds, mut nodes) = (0.0, 0);
        let dead = "is not a live reflex_event";
        must_refuse(reflex_event_record(env.context, event, env.stream), dead);
        must_refuse(reflex_event_synchronize(event), dead);
        must_refuse(reflex_event_elapsed(event, event, &mut milliseconds), dead);
        let dead = "is not a live reflex_graph";
        must_refuse(reflex_graph_launch(env.context, graph, env.stream), dead);
        must_refuse(reflex_graph_node_count(graph, &mut nodes), dead);
        let dead = "is not a live reflex_telemetry_sampler";
        must_refuse(reflex_telemetry_sampler_start(sampler), dead);
        must_refuse(reflex_context_preload(context), "is not a live reflex_context");
        // Nothing to return a status: a second time is no harm.
        reflex_event_destroy(event);
        reflex_graph_destroy(graph);
        reflex_telemetry_sampler_destroy(sampler);
        reflex_context_destroy(context);
    }),
    ("handles_are_not_taken_for_others", |env| {
        let event = new_event(env);
        begin(env, env.stream);
        let (graph, _) = end(env, env.stream);
        let mut sampler = null_mut();
        ok(reflex_telemetry_sampler_create(env.context, 50, &mut sampler));
        let (mut milliseconds, mut nodes) = (0.0, 0);
        must_refuse(
            reflex_context_preload(event.cast()),
            "context is a reflex_event, expected a reflex_context",
        );
        must_refuse(
            reflex_graph_node_count(event.cast(), &mut nodes),
            "graph is a reflex_event, expected a reflex_graph",
        );
        must_refuse(
            reflex_event_synchronize(graph.cast()),
            "event is a reflex_graph, expected a reflex_event",
        );
        must_refuse(
            reflex_event_elapsed(event, env.context.cast(), &mut milliseconds),
            "end is a reflex_context, expected a reflex_event",
        );
        must_refuse(
            reflex_telemetry_sampler_start(event.cast()),
            "sampler is a reflex_event, expected a reflex_telemetry_sampler",
        );
        must_refuse(
            reflex_event_record(env.context, sampler.cast(), env.stream),
            "event is a reflex_telemetry_sampler, expected a reflex_event",
        );
        for (handle, name) in [
            (event.cast(), "reflex_event"),
            (graph.cast(), "reflex_graph"),
            (sampler.cast(), "reflex_telemetry_sampler"),
            (env.context.cast(), "reflex_context"),
        ] {
            let why = format!("stream is a {name}, expected a reflex_stream");
            must_refuse(reflex_stream_synchronize(env.context, handle), &why);
            must_refuse(reflex_stream_destroy(env.context, handle), &why);
            must_refuse(reflex_event_record(env.context, event, handle), &why);
            must_refuse(reflex_graph_capture_begin(env.context, handle), &why);
            must_refuse(reflex_graph_launch(env.context, graph, handle), &why);
        }
        // What was given to the wrong function is still there.
        reflex_graph_destroy(event.cast());
        reflex_event_destroy(graph.cast());
        ok(reflex_event_synchronize(event));
        ok(reflex_graph_launch(env.context, graph, env.stream));
        ok(reflex_stream_synchronize(env.context, env.stream));
        reflex_event_destroy(event);
        reflex_graph_destroy(graph);
        reflex_telemetry_sampler_destroy(sampler);
    }),
    ("memory_is_freed_once_and_by_its_own_function", |env| {
        let device = env.malloc(BYTES);
        let mut host = null_mut();
        ok(reflex_host_malloc(env.context, BYTES, &mut host));
        must_refuse(reflex_host_free(env.context, device), "of reflex_device_malloc");
        must_refuse(reflex_device_free(env.context, host), "of reflex_host_malloc");
        must_refuse(
            reflex_device_free(env.context, device.wrapping_byte_add(16)),
            "did not give",
        );
        let mut here = 0u64;
        must_refuse(reflex_device_free(env.context, (&raw mut here).cast()), "did not give");
        ok(reflex_device_free(env.context, device));
        ok(reflex_host_free(env.context, host));
        must_refuse(reflex_device_free(env.context, device), "freed already");
        must_refuse(reflex_host_free(env.context, host), "freed already");
        // Large ones go back to the system.
        let large = env.malloc(64 << 20);
        ok(reflex_device_free(env.context, large));
        must_refuse(reflex_device_free(env.context, large), "freed already");
    }),
    ("memory_is_registered_once", |env| {
        const PAGE: usize = 4096;
        let mut memory = vec![0u8; 16 * PAGE];
        let base = memory.as_mut_ptr().align_offset(PAGE);
        let at = |offset: usize| -> *mut c_void { (&raw const memory[base + offset]).cast_mut().cast() };
        let mut device = null_mut();
        let mut register = |offset, bytes| reflex_host_register(env.context, at(offset), bytes, &mut device);
        let unregister = |offset| reflex_host_unregister(env.context, at(offset));
        ok(register(4 * PAGE, 4 * PAGE));
        for (offset, bytes) in [
            (4 * PAGE, 4 * PAGE),
            (4 * PAGE, PAGE),
            (5 * PAGE, PAGE),
            (3 * PAGE, 2 * PAGE),
            (7 * PAGE, 2 * PAGE),
            (2 * PAGE, 10 * PAGE),
            (8 * PAGE - 1, 1),
            (4 * PAGE - 7, 8),
        ] {
            must_refuse(register(offset, bytes), "registered already");
        }
        must_refuse(unregister(5 * PAGE), "was not given");
        must_refuse(unregister(0), "was not given");
        ok(unregister(4 * PAGE));
        must_refuse(unregister(4 * PAGE), "unregistered already");
        // Ranges may share a page, but no byte.
        ok(register(0, 100));
        ok(register(100, 100));
        ok(register(3000, 2 * PAGE));
        for offset in [0, 100, 3000] {
            ok(unregister(offset));
        }
        ok(register(5 * PAGE, PAGE));
        ok(unregister(5 * PAGE));
        let mut own = null_mut();
        ok(reflex_host_malloc(env.context, 4 * PAGE, &mut own));
        let mut device = null_mut();
        let status = reflex_host_register(env.context, own.wrapping_byte_add(PAGE), PAGE, &mut device);
        must_refuse(status, "this library's own");
        ok(reflex_host_free(env.context, own));
        let status = reflex_host_register(env.context, without_provenance_mut(8), 64, &mut device);
        must_refuse(status, "expected memory that is mapped");
        let status = reflex_host_register(env.context, without_provenance_mut(usize::MAX - 10), 64, &mut device);
        must_refuse(status, "beyond the end of memory");
    }),
    ("copies_do_not_overlap", |env| {
        let data = env.malloc(4 * BYTES);
        let at = |offset: usize| data.wrapping_byte_add(offset);
        let copy = |to, from, bytes| reflex_memcpy(env.context, at(to), at(from), bytes, env.stream);
        ok(set(env, data, 1, env.stream));
        for (to, from) in [(0, 0), (1, 0), (0, 1), (BYTES - 1, 0), (0, BYTES - 1)] {
            must_refuse(copy(to, from, BYTES), "do not overlap");
        }
        must_refuse(copy(0, 64, 65), "do not overlap");
        ok(copy(BYTES, 0, BYTES));
        ok(copy(0, BYTES, BYTES));
        ok(copy(0, 64, 64));
        let far = without_provenance_mut(usize::MAX - 10);
        must_refuse(set(env, far, 1, env.stream), "beyond the end of memory");
        must_refuse(
            reflex_memcpy(env.context, far, data, BYTES, env.stream),
            "beyond the end of memory",
        );
        ok(reflex_stream_synchronize(env.context, env.stream));
        ok(reflex_device_free(env.context, data));
    }),
    ("objects_in_use_are_destroyed_when_they_are_through", |env| {
        let bytes = 32 << 20;
        let data = env.malloc(bytes);
        let stream = env.new_stream();
        begin(env, stream);
        for value in 1..=9 {
            ok(reflex_memset(env.context, data, value, bytes, stream));
        }
        let (graph, _) = end(env, stream);
        let event = new_event(env);
        ok(reflex_graph_launch(env.context, graph, stream));
        ok(reflex_event_record(env.context, event, stream));
        reflex_event_destroy(event);
        reflex_graph_destroy(graph);
        ok(reflex_stream_synchronize(env.context, stream));
        holds(env, data, 9);
        ok(reflex_memset(env.context, data, 10, bytes, stream));
        free_stream(env, stream);
        // Waits for the device.
        ok(reflex_device_free(env.context, data));
    }),
];
