//! Events, graphs, streams and memory: with another context, too late, or twice.

use super::*;

pub const SITUATIONS: &[Situation] = &[
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
