//! Streams, their captures, and what may be done meanwhile.

use super::*;

pub const SITUATIONS: &[Situation] = &[
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
];
