//! A context of the CPU backend, and what was made from it, in child processes.

use crate::support::*;
use reflex_infer::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const ROWS: usize = 64;
const DIM: usize = 1024;
const THREADS: u32 = 4;

/// With more threads than one whatever the machine, so that a pool is needed.
fn env() -> Env {
    let params = reflex_context_params {
        struct_size: size_of::<reflex_context_params>() as u32,
        backend: REFLEX_BACKEND_CPU,
        cpu_threads: THREADS,
        ..Default::default()
    };
    let (mut context, mut stream) = (null_mut(), null_mut());
    ok(reflex_context_create(&params, &mut context));
    ok(reflex_stream_create(context, &mut stream));
    Env {
        context,
        stream,
        cuda: false,
        forced: false,
        owns_context: true,
    }
}

/// A norm that is large enough for all threads, out of place.
struct Work {
    x: *mut c_void,
    y: *mut c_void,
    params: reflex_norm_params,
}

// The memory is the test's own.
unsafe impl Send for Work {}
unsafe impl Sync for Work {}

impl Work {
    fn new(env: &Env) -> Work {
        let (x, y) = (env.malloc(ROWS * DIM * 4), env.malloc(ROWS * DIM * 4));
        let values = encode(REFLEX_DTYPE_F32, &vec![3.0; ROWS * DIM]);
        env.upload(x, &values);
        let tensor = |data| reflex_tensor {
            data,
            dtype: REFLEX_DTYPE_F32,
            rank: 2,
            shape: [ROWS as i64, DIM as i64, 0, 0],
            stride: [0; 4],
        };
        let params = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x: tensor(x),
            y: tensor(y),
            ..Default::default()
        };
        Work { x, y, params }
    }

    #[track_caller]
    fn run(&self, env: &Env) {
        ok(reflex_memset(env.context, self.y, 0, ROWS * DIM * 4, env.stream));
        ok(reflex_norm(env.context, &self.params, env.stream));
        ok(reflex_stream_synchronize(env.context, env.stream));
        self.assert_ones();
    }

    #[track_caller]
    fn assert_ones(&self) {
        let y = unsafe { std::slice::from_raw_parts(self.y.cast::<f32>(), ROWS * DIM) };
        assert!(y.iter().all(|v| (v - 1.0).abs() < 1e-6), "{:?}", &y[..4]);
    }

    fn free(&self, env: &Env) {
        ok(reflex_device_free(env.context, self.x));
        ok(reflex_device_free(env.context, self.y));
    }
}

/// Threads of this process with that name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads of this process");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

/// So many threads of this name are there soon: a thread gives itself its name after it was started.
fn named(name: &str, count: usize) {
    for _ in 0..1000 {
        if threads(name) == count {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(threads(name), count);
}

#[test]
fn a_context_works_in_a_child_with_threads_of_its_own() {
    let env = env();
    let work = Work::new(&env);
    work.run(&env);
    in_a_child(|| {
        assert_eq!(threads("reflex-cpu"), 0);
        assert_eq!(env.device_info().sm_count, THREADS);
        work.run(&env);
        named("reflex-cpu", THREADS as usize);
        work.run(&env);
        work.free(&env);
        // One that it makes itself.
        let own = self::env();
        let work = Work::new(&own);
        work.run(&own);
        work.free(&own);
    });
    work.run(&env);
    work.free(&env);
}

#[test]
fn children_of_children_work_and_so_do_many() {
    let env = env();
    let work = Work::new(&env);
    // The parent has not used its threads here.
    in_a_child(|| {
        in_a_child(|| {
            work.run(&env);
            in_a_child(|| work.run(&env));
            work.run(&env);
        });
        work.run(&env);
        in_a_child(|| work.run(&env));
    });
    for _ in 0..20 {
        in_a_child(|| work.run(&env));
    }
    work.run(&env);
    work.free(&env);
}

#[test]
fn what_was_made_before_fork_goes_on_in_the_child() {
    let env = env();
    let work = Work::new(&env);
    let mut graph = null_mut();
    let captured = env.new_stream();
    ok(reflex_graph_capture_begin(env.context, captured));
    ok(reflex_norm(env.context, &work.params, captured));
    let done = env.captured(|| reflex_norm(env.context, &work.params, env.stream));
    let mut event = null_mut();
    ok(reflex_event_create(env.context, &mut event));
    ok(reflex_event_record(env.context, event, env.stream));
    let gone = env.new_stream();
    ok(reflex_stream_destroy(env.context, gone));
    let both = |graph: &mut *mut reflex_graph| {
        must_refuse(reflex_stream_synchronize(env.context, gone), "destroyed");
        // The capture under way ends in the child and, for itself, in the parent.
        ok(reflex_graph_capture_end(env.context, captured, graph));
        for graph in [*graph, done] {
            ok(reflex_memset(env.context, work.y, 0, ROWS * DIM * 4, env.stream));
            ok(reflex_graph_launch(env.context, graph, env.stream));
            work.assert_ones();
        }
        let mut end = null_mut();
        ok(reflex_event_create(env.context, &mut end));
        ok(reflex_event_record(env.context, end, env.stream));
        let mut milliseconds = -1.0;
        ok(reflex_event_elapsed(event, end, &mut milliseconds));
        assert!(milliseconds >= 0.0);
        reflex_event_destroy(end);
        ok(reflex_stream_destroy(env.context, captured));
        must_refuse(reflex_stream_destroy(env.context, captured), "destroyed");
        work.free(&env);
        must_refuse(reflex_device_free(env.context, work.x), "freed already");
        reflex_graph_destroy(*graph);
        reflex_graph_destroy(done);
        reflex_event_destroy(event);
    };
    in_a_child(|| both(&mut null_mut()));
    both(&mut graph);
}

#[test]
fn a_capture_of_a_thread_that_is_not_in_the_child_ends_with_its_stream() {
    let env = env();
    let stream = env.new_stream();
    let address = stream as usize;
    std::thread::scope(|scope| {
        let env = &env;
        let begun = scope.spawn(move || {
            // A closure captures fields: the context's bare pointer is no Sync, the Env is.
            let env: &Env = env;
            ok(reflex_graph_capture_begin(env.context, address as reflex_stream));
        });
        begun.join().expect("a capture");
    });
    in_a_child(|| {
        let mut graph = null_mut();
        must_refuse(
            reflex_graph_capture_end(env.context, stream, &mut graph),
            "another thread",
        );
        ok(reflex_stream_destroy(env.context, stream));
        let work = Work::new(&env);
        work.run(&env);
    });
    ok(reflex_stream_destroy(env.context, stream));
}

#[test]
fn a_child_destroys_what_it_inherited() {
    let env = env();
    let work = Work::new(&env);
    work.run(&env);
    let graph = env.captured(|| reflex_norm(env.context, &work.params, env.stream));
    let (mut event, mut sampler) = (null_mut(), null_mut());
    ok(reflex_event_create(env.context, &mut event));
    ok(reflex_telemetry_sampler_create(env.context, 1, &mut sampler));
    ok(reflex_telemetry_sampler_start(sampler));
    let destroy = || {
        reflex_graph_destroy(graph);
        reflex_event_destroy(event);
        reflex_telemetry_sampler_destroy(sampler);
        ok(reflex_stream_destroy(env.context, env.stream));
        work.free(&env);
        reflex_context_destroy(env.context);
        must_refuse(reflex_context_preload(env.context), "not a live");
    };
    // Before and after the child has made threads of its own.
    in_a_child(destroy);
    in_a_child(|| {
        work.run(&env);
        destroy();
    });
    in_a_child(|| {
        work.run(&env);
        in_a_child(destroy);
        destroy();
    });
    work.run(&env);
    reflex_graph_destroy(graph);
    reflex_event_destroy(event);
    reflex_telemetry_sampler_destroy(sampler);
    work.free(&env);
}

#[test]
fn a_sampler_begins_anew_in_a_child() {
    let env = env();
    let mut sampler = null_mut();
    ok(reflex_telemetry_sampler_create(env.context, 2, &mut sampler));
    let measure = || {
        ok(reflex_telemetry_sampler_start(sampler));
        std::thread::sleep(Duration::from_millis(20));
        let mut energy: reflex_energy = unsafe { std::mem::zeroed() };
        energy.struct_size = size_of::<reflex_energy>() as u32;
        ok(reflex_telemetry_sampler_stop(sampler, &mut energy));
        assert!(energy.seconds >= 0.02);
    };
    in_a_child(measure);
    ok(reflex_telemetry_sampler_start(sampler));
    in_a_child(|| {
        let mut energy: reflex_energy = unsafe { std::mem::zeroed() };
        energy.struct_size = size_of::<reflex_energy>() as u32;
        must_refuse(reflex_telemetry_sampler_stop(sampler, &mut energy), "does not run");
        measure();
        named("reflex-sampler", 1);
        in_a_child(measure);
        measure();
        reflex_telemetry_sampler_destroy(sampler);
        assert_eq!(threads("reflex-sampler"), 0);
    });
    let mut energy: reflex_energy = unsafe { std::mem::zeroed() };
    energy.struct_size = size_of::<reflex_energy>() as u32;
    ok(reflex_telemetry_sampler_stop(sampler, &mut energy));
    measure();
    reflex_telemetry_sampler_destroy(sampler);
}

/// A type's weights packed and back, which sets up a table of the type on first use.
fn pack(env: &Env, dtype: reflex_dtype) {
    let (rows, k) = (16, 256);
    let elements = reflex_dtype_block_elements(dtype) as usize;
    let bytes = rows * k / elements * reflex_dtype_block_bytes(dtype) as usize;
    let (native, packed) = (env.malloc(bytes), env.malloc(2 * bytes));
    ok(reflex_memset(env.context, native, 0x11, bytes, env.stream));
    let tensor = |data, dtype| reflex_tensor {
        data,
        dtype,
        rank: 2,
        shape: [rows as i64, k as i64, 0, 0],
        stride: [0; 4],
    };
    let params = reflex_weights_pack_params {
        struct_size: size_of::<reflex_weights_pack_params>() as u32,
        source: tensor(native, dtype),
        destination: tensor(packed, crate::support::packed(dtype)),
        ..Default::default()
    };
    ok(reflex_weights_pack(env.context, &params, env.stream));
    ok(reflex_device_free(env.context, native));
    ok(reflex_device_free(env.context, packed));
}

/// Everything that takes a lock or sets something up for all.
fn everything(env: &Env, work: &Work, round: usize) {
    let stream = env.new_stream();
    let mut graph = null_mut();
    ok(reflex_graph_capture_begin(env.context, stream));
    ok(reflex_norm(env.context, &work.params, stream));
    ok(reflex_graph_capture_end(env.context, stream, &mut graph));
    ok(reflex_graph_launch(env.context, graph, stream));
    reflex_graph_destroy(graph);
    ok(reflex_stream_destroy(env.context, stream));
    let types = [
        REFLEX_DTYPE_Q4_0,
        REFLEX_DTYPE_Q4_K,
        REFLEX_DTYPE_Q5_K,
        REFLEX_DTYPE_Q6_K,
        REFLEX_DTYPE_Q8_0,
    ];
    pack(env, types[round % types.len()]);
    let (mut start, mut end) = (null_mut(), null_mut());
    ok(reflex_event_create(env.context, &mut start));
    ok(reflex_event_create(env.context, &mut end));
    ok(reflex_event_record(env.context, start, env.stream));
    work.run(env);
    ok(reflex_event_record(env.context, end, env.stream));
    let mut milliseconds = 0.0;
    ok(reflex_event_elapsed(start, end, &mut milliseconds));
    reflex_event_destroy(start);
    reflex_event_destroy(end);
    let mut host = vec![0u8; 4096];
    let (host, mut device) = (host.as_mut_ptr().cast(), null_mut());
    ok(reflex_host_register(env.context, host, 4096, &mut device));
    ok(reflex_host_unregister(env.context, host));
    let mut sampler = null_mut();
    ok(reflex_telemetry_sampler_create(env.context, 1, &mut sampler));
    ok(reflex_telemetry_sampler_start(sampler));
    reflex_telemetry_sampler_destroy(sampler);
    let more = self::env();
    must_refuse(reflex_context_preload(null_mut()), "context is NULL");
    drop(more);
}

#[test]
fn a_child_works_whatever_other_threads_were_at() {
    let env = env();
    let stop = AtomicBool::new(false);
    let busy = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let work = Work::new(&env);
                for round in 0.. {
                    everything(&env, &work, round);
                    busy.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                work.free(&env);
            });
        }
        let work = Work::new(&env);
        let forked = std::panic::catch_unwind(|| {
            for round in 0..40 {
                in_a_child(|| everything(&env, &work, round));
            }
        });
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = forked {
            std::panic::resume_unwind(panic);
        }
        work.free(&env);
    });
    assert!(busy.load(Ordering::Relaxed) >= 3);
}
