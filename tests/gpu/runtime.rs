//! Memory, streams, events, graphs and foreign contexts on a GPU.

use crate::support::*;
use cudarc::driver::sys;
use reflex_infer::*;
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

fn cuda(code: sys::CUresult) {
    assert_eq!(code, sys::CUresult::CUDA_SUCCESS);
}

fn current_context() -> sys::CUcontext {
    let mut context = null_mut();
    cuda(unsafe { sys::cuCtxGetCurrent(&mut context) });
    context
}

/// Rows of twos that a norm turns into ones.
struct Rows {
    data: *mut c_void,
    params: reflex_norm_params,
}

const ELEMENTS: usize = 4 * 512;

impl Rows {
    fn new(env: &Env) -> Rows {
        let data = env.malloc(ELEMENTS * 4);
        let x = reflex_tensor {
            data,
            dtype: REFLEX_DTYPE_F32,
            rank: 2,
            shape: [4, 512, 0, 0],
            stride: [0; 4],
        };
        let params = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x,
            y: x,
            ..Default::default()
        };
        let rows = Rows { data, params };
        rows.reset(env);
        rows
    }

    fn reset(&self, env: &Env) {
        env.upload(self.data, &encode(REFLEX_DTYPE_F32, &[2.0; ELEMENTS]));
    }

    fn run_and_check(&self, env: &Env) {
        self.reset(env);
        ok(reflex_norm(env.context, &self.params, env.stream));
        self.assert_ones(env);
    }

    fn assert_ones(&self, env: &Env) {
        let mut bytes = vec![0; ELEMENTS * 4];
        env.download(self.data, &mut bytes);
        let values = decode(REFLEX_DTYPE_F32, &bytes);
        assert!(values.iter().all(|v| (v - 1.0).abs() < 1e-6), "{:?}", &values[..4]);
    }
}

pub fn tests(suite: &mut Suite) {
    suite.smoke_test("runtime::auto_is_cuda_and_says_what_it_is", |env| {
        let mut context = null_mut();
        ok(reflex_context_create(std::ptr::null(), &mut context));
        let mut backend = REFLEX_BACKEND_AUTO;
        ok(reflex_context_backend(context, &mut backend));
        assert_eq!(backend, REFLEX_BACKEND_CUDA);
        let mut reason = std::ptr::null();
        ok(reflex_context_backend_reason(context, &mut reason));
        let reason = unsafe { CStr::from_ptr(reason) }.to_str().expect("UTF-8");
        let info = env.device_info();
        let name = unsafe { CStr::from_ptr(info.name.as_ptr()) }.to_str().expect("UTF-8");
        let wanted = format!("CUDA: {name} (sm_{}), kernels for ", info.sm);
        assert!(reason.starts_with(&wanted), "{reason}");
        ok(reflex_context_preload(context));
        reflex_context_destroy(context);
        assert!(reflex_device_count() >= 1);
        assert!(info.sm >= 75 && info.sm_count > 0 && info.total_memory > 0 && info.l2_bytes > 0);
        assert!(!unsafe { CStr::from_ptr(info.name.as_ptr()) }.to_bytes().is_empty());
        let (mut free, mut total) = (0, 0);
        ok(reflex_memory_info(env.context, &mut free, &mut total));
        assert!(0 < free && free <= total);
    });

    // The same table that tests/abi runs on the CPU backend, each case with a context of its own.
    for &(name, case) in lifetime() {
        let name = format!("runtime::{name}");
        suite.test(name.clone(), move |_| {
            alone(&name, || case(&Env::cuda().expect("a GPU")))
        });
    }

    suite.test("runtime::a_child_process_is_told_that_cuda_stays_behind", |_| {
        let env = Env::cuda().expect("a GPU");
        let cpu = Env::cpu();
        let rows = Rows::new(&env);
        let graph = env.captured(|| reflex_norm(env.context, &rows.params, env.stream));
        let (mut event, mut sampler) = (null_mut(), null_mut());
        ok(reflex_event_create(env.context, &mut event));
        ok(reflex_event_record(env.context, event, env.stream));
        ok(reflex_telemetry_sampler_create(env.context, 5, &mut sampler));
        ok(reflex_telemetry_sampler_start(sampler));
        let told = |status: reflex_status| {
            assert_eq!(status_name(status), "REFLEX_CUDA_ERROR", "{}", last_error());
            assert!(last_error().contains("before fork"), "{}", last_error());
        };
        let mut energy: reflex_energy = unsafe { std::mem::zeroed() };
        energy.struct_size = size_of::<reflex_energy>() as u32;
        in_a_child(|| {
            let (c, s) = (env.context, env.stream);
            told(reflex_norm(c, &rows.params, s));
            told(reflex_norm_supported(c, &rows.params));
            told(reflex_memset(c, rows.data, 1, 64, s));
            told(reflex_stream_synchronize(c, s));
            told(reflex_event_record(c, event, s));
            told(reflex_event_synchronize(event));
            told(reflex_graph_capture_begin(c, s));
            told(reflex_graph_launch(c, graph, s));
            told(reflex_context_preload(c));
            told(reflex_telemetry_sampler_start(sampler));
            told(reflex_telemetry_sampler_stop(sampler, &mut energy));
            told(reflex_stream_destroy(c, s));
            told(reflex_device_free(c, rows.data));
            assert_eq!(reflex_device_count(), 0);
            let create = |backend| {
                let params = reflex_context_params {
                    struct_size: size_of::<reflex_context_params>() as u32,
                    backend,
                    ..Default::default()
                };
                let mut context = null_mut();
                (reflex_context_create(&params, &mut context), context)
            };
            let (status, _) = create(REFLEX_BACKEND_CUDA);
            assert_eq!(status_name(status), "REFLEX_NO_DRIVER");
            assert!(last_error().contains("before fork"), "{}", last_error());
            let (status, auto) = create(REFLEX_BACKEND_AUTO);
            ok(status);
            let mut reason = std::ptr::null();
            ok(reflex_context_backend_reason(auto, &mut reason));
            let reason = unsafe { CStr::from_ptr(reason) }.to_str().expect("UTF-8");
            assert!(
                reason.starts_with("CPU: ") && reason.contains("before fork"),
                "{reason}"
            );
            reflex_context_destroy(auto);
            // The parent's context of the CPU backend goes on.
            Rows::new(&cpu).run_and_check(&cpu);
            reflex_telemetry_sampler_destroy(sampler);
            reflex_event_destroy(event);
            reflex_graph_destroy(graph);
            reflex_context_destroy(c);
        });
        // The parent has noticed nothing.
        ok(reflex_telemetry_sampler_stop(sampler, &mut energy));
        rows.run_and_check(&env);
        rows.reset(&env);
        ok(reflex_graph_launch(env.context, graph, env.stream));
        rows.assert_ones(&env);
        reflex_telemetry_sampler_destroy(sampler);
        reflex_event_destroy(event);
        reflex_graph_destroy(graph);
    });

    suite.smoke_test("runtime::the_null_stream_needs_no_current_context", |env| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(current_context().is_null());
                let rows = Rows::new(env);
                ok(reflex_norm(env.context, &rows.params, null_mut()));
                ok(reflex_stream_synchronize(env.context, null_mut()));
                rows.assert_ones(env);
                assert!(current_context().is_null(), "a call left its context current");
            });
        });
    });

    suite.test(
        "runtime::streams_of_a_foreign_context_work_and_it_stays_current",
        |env| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut context, mut stream) = (null_mut(), null_mut());
                    cuda(unsafe { sys::cuCtxCreate_v2(&mut context, 0, 0) });
                    cuda(unsafe { sys::cuStreamCreate(&mut stream, 1) });
                    let foreign: reflex_stream = stream.cast();
                    let mut data = 0;
                    cuda(unsafe { sys::cuMemAlloc_v2(&mut data, ELEMENTS * 4) });
                    let mut rows = Rows::new(env);
                    rows.params.x.data = data as *mut c_void;
                    rows.params.y.data = data as *mut c_void;
                    let twos = encode(REFLEX_DTYPE_F32, &[2.0; ELEMENTS]);
                    let memory = data as *mut c_void;
                    ok(reflex_memcpy(
                        env.context,
                        memory,
                        twos.as_ptr().cast(),
                        twos.len(),
                        foreign,
                    ));
                    let (mut start, mut end) = (null_mut(), null_mut());
                    ok(reflex_event_create(env.context, &mut start));
                    ok(reflex_event_create(env.context, &mut end));
                    ok(reflex_event_record(env.context, start, foreign));
                    ok(reflex_norm(env.context, &rows.params, foreign));
                    ok(reflex_event_record(env.context, end, foreign));
                    ok(reflex_event_synchronize(end));
                    let mut milliseconds = -1.0;
                    ok(reflex_event_elapsed(start, end, &mut milliseconds));
                    assert!(milliseconds > 0.0, "{milliseconds}");
                    reflex_event_destroy(start);
                    reflex_event_destroy(end);
                    let mut bytes = vec![0u8; ELEMENTS * 4];
                    ok(reflex_memcpy(
                        env.context,
                        bytes.as_mut_ptr().cast(),
                        memory,
                        bytes.len(),
                        foreign,
                    ));
                    ok(reflex_stream_synchronize(env.context, foreign));
                    assert!(decode(REFLEX_DTYPE_F32, &bytes).iter().all(|v| (v - 1.0).abs() < 1e-6));
                    assert_eq!(current_context(), context, "a call changed the current context");
                    cuda(unsafe { sys::cuMemFree_v2(data) });
                    cuda(unsafe { sys::cuStreamDestroy_v2(stream) });
                    cuda(unsafe { sys::cuCtxDestroy_v2(context) });
                });
            });
        },
    );

    suite.test("runtime::a_first_launch_may_be_inside_the_callers_own_capture", |_| {
        // A context that has loaded nothing yet. Not the global mode: it would break the tests that run beside this one.
        let env = Env::cuda().expect("a GPU");
        let rows = Rows::new(&env);
        let stream: sys::CUstream = env.stream.cast();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        cuda(unsafe { sys::cuStreamBeginCapture_v2(stream, mode) });
        let status = reflex_norm(env.context, &rows.params, env.stream);
        let mut graph = null_mut();
        cuda(unsafe { sys::cuStreamEndCapture(stream, &mut graph) });
        ok(status);
        let mut nodes = 0;
        cuda(unsafe { sys::cuGraphGetNodes(graph, null_mut(), &mut nodes) });
        assert_eq!(nodes, 1);
        cuda(unsafe { sys::cuGraphDestroy(graph) });
    });

    suite.smoke_test("runtime::a_graph_replays_on_another_stream", |env| {
        let rows = Rows::new(env);
        let graph = env.captured(|| reflex_norm(env.context, &rows.params, env.stream));
        let mut nodes = 0;
        ok(reflex_graph_node_count(graph, &mut nodes));
        assert_eq!(nodes, 1);
        let other = env.new_stream();
        ok(reflex_graph_launch(env.context, graph, other));
        ok(reflex_stream_synchronize(env.context, other));
        rows.assert_ones(env);
        reflex_graph_destroy(graph);
        ok(reflex_stream_destroy(env.context, other));
    });

    suite.smoke_test("runtime::each_launch_sees_what_the_one_before_wrote", |env| {
        // Launches that may start early: wide ones that last, then narrow ones that are soon through, over and over, in
        // place, so that a launch that did not wait for the one before it would lose a sum.
        const ROWS: i64 = 1 << 12;
        const N: i64 = 1 << 11;
        const ROUNDS: usize = 64;
        let elements = (ROWS * N) as usize;
        let data = env.malloc(elements * 4);
        let tensor = |data, rows| reflex_tensor {
            data,
            dtype: REFLEX_DTYPE_F32,
            rank: 2,
            shape: [rows, N, 0, 0],
            stride: [0; 4],
        };
        let add = |a, b, y| reflex_add_params {
            struct_size: size_of::<reflex_add_params>() as u32,
            a,
            b,
            y,
            ..Default::default()
        };
        // The last row is the sum of every row's growth: it is read by the wide launch and written by the narrow one.
        let all = tensor(data, ROWS);
        let first = tensor(data, 1);
        let last = tensor(data.wrapping_byte_add((elements - N as usize) * 4), 1);
        let ones = env.malloc(N as usize * 4);
        env.upload(ones, &encode(REFLEX_DTYPE_F32, &vec![1.0; N as usize]));
        let one = reflex_tensor {
            rank: 1,
            shape: [N, 0, 0, 0],
            ..tensor(ones, 1)
        };
        let (wide, narrow) = (add(all, one, all), add(last, first, last));
        let run = || {
            ok(reflex_memset(env.context, data, 0, elements * 4, env.stream));
            for _ in 0..ROUNDS {
                ok(reflex_add(env.context, &wide, env.stream));
                ok(reflex_add(env.context, &narrow, env.stream));
            }
        };
        // last = last + 1, then last + first, where first is the number of rounds.
        let want = (1..=ROUNDS).fold(0.0, |last, round| last + 1.0 + round as f32);
        let check = || {
            let mut bytes = vec![0; elements * 4];
            env.download(data, &mut bytes);
            let values = decode(REFLEX_DTYPE_F32, &bytes);
            let (rows, last) = values.split_at(elements - N as usize);
            assert!(rows.iter().all(|&v| v == ROUNDS as f32), "{:?}", &rows[..4]);
            assert!(last.iter().all(|&v| v == want), "{:?}, expected {want}", &last[..4]);
        };
        run();
        check();
        let mut graph = null_mut();
        ok(reflex_graph_capture_begin(env.context, env.stream));
        run();
        ok(reflex_graph_capture_end(env.context, env.stream, &mut graph));
        for _ in 0..2 {
            ok(reflex_graph_launch(env.context, graph, env.stream));
            check();
        }
        reflex_graph_destroy(graph);
        ok(reflex_device_free(env.context, data));
        ok(reflex_device_free(env.context, ones));
    });

    suite.test("runtime::registered_host_memory_is_read_in_place", |env| {
        // As an engine maps a model: whole pages that the process owns.
        let bytes = 4 << 20;
        let layout = std::alloc::Layout::from_size_align(bytes, 4096).expect("a layout");
        let host = unsafe { std::alloc::alloc(layout) };
        unsafe { std::ptr::write_bytes(host, 0, bytes) };
        let twos = encode(REFLEX_DTYPE_F32, &[2.0; ELEMENTS]);
        unsafe { std::ptr::copy_nonoverlapping(twos.as_ptr(), host, twos.len()) };
        let mut device = null_mut();
        ok(reflex_host_register(env.context, host.cast(), bytes, &mut device));
        let mut rows = Rows::new(env);
        rows.params.x.data = device;
        ok(reflex_norm(env.context, &rows.params, null_mut()));
        ok(reflex_stream_synchronize(env.context, null_mut()));
        rows.assert_ones(env);
        ok(reflex_host_unregister(env.context, host.cast()));
        let mut again = null_mut();
        let status = reflex_host_register(env.context, 8 as *mut c_void, 64, &mut again);
        assert_eq!(status, REFLEX_INVALID_ARGUMENT, "{}", last_error());
        unsafe { std::alloc::dealloc(host, layout) };
    });

    suite.test("runtime::events_measure_device_time", |env| {
        let (mut start, mut end) = (null_mut(), null_mut());
        ok(reflex_event_create(env.context, &mut start));
        ok(reflex_event_create(env.context, &mut end));
        let data = env.malloc(1 << 28);
        ok(reflex_event_record(env.context, start, env.stream));
        ok(reflex_memset(env.context, data, 1, 1 << 28, env.stream));
        ok(reflex_event_record(env.context, end, env.stream));
        ok(reflex_event_synchronize(end));
        let mut milliseconds = 0.0;
        ok(reflex_event_elapsed(start, end, &mut milliseconds));
        assert!(milliseconds > 0.001 && milliseconds < 1000.0, "{milliseconds}");
        reflex_event_destroy(start);
        reflex_event_destroy(end);
        ok(reflex_device_free(env.context, data));
    });

    suite.test("runtime::what_the_driver_refuses_is_told", |env| {
        let mut pointer = null_mut();
        let status = reflex_device_malloc(env.context, 1 << 50, &mut pointer);
        assert_eq!(status, REFLEX_OUT_OF_MEMORY);
        assert!(
            pointer.is_null() && last_error().contains("CUDA_ERROR_OUT_OF_MEMORY"),
            "{}",
            last_error()
        );
        let params = reflex_context_params {
            struct_size: size_of::<reflex_context_params>() as u32,
            backend: REFLEX_BACKEND_CUDA,
            device: 4096,
            ..Default::default()
        };
        let mut context = null_mut();
        assert_eq!(reflex_context_create(&params, &mut context), REFLEX_INVALID_ARGUMENT);
        assert!(last_error().contains("device is 4096"), "{}", last_error());
    });

    suite.smoke_test("runtime::kernels_are_planned_for_the_sms_that_are_told", |env| {
        let all = env.device_info().sm_count;
        let create = |backend, sm_count| {
            let params = reflex_context_params {
                struct_size: size_of::<reflex_context_params>() as u32,
                backend,
                sm_count,
                ..Default::default()
            };
            let mut context = null_mut();
            (reflex_context_create(&params, &mut context), context)
        };
        for backend in [REFLEX_BACKEND_AUTO, REFLEX_BACKEND_CUDA] {
            let (status, context) = create(backend, all + 1);
            assert!(status == REFLEX_INVALID_ARGUMENT && context.is_null());
            let wanted = format!("sm_count is {}, expected 0 to {all}", all + 1);
            assert!(last_error().contains(&wanted), "{}", last_error());
        }
        // The scratch of attention_decode grows with its splits, and those with the SMs.
        let scratch = |context| {
            let like = |shape: [i64; 4], dtype| reflex_tensor {
                data: std::ptr::without_provenance_mut(4096),
                dtype,
                rank: shape.iter().take_while(|&&n| n > 0).count() as u32,
                shape,
                stride: [0; 4],
            };
            let p = reflex_attention_decode_params {
                q: like([1, 8, 128, 0], REFLEX_DTYPE_F16),
                y: reflex_tensor {
                    data: std::ptr::without_provenance_mut(1 << 30),
                    ..like([1, 8, 128, 0], REFLEX_DTYPE_F16)
                },
                ..Default::default()
            };
            let keys = like([1, 16384, 1, 128], REFLEX_DTYPE_F16);
            let call = DecodeCall::new(p, kv_cache(keys, keys, like([1, 0, 0, 0], REFLEX_DTYPE_I32)));
            let mut bytes = 0;
            ok(DecodeCall::workspace_size(context, &call, &mut bytes));
            bytes
        };
        let (status, one) = create(REFLEX_BACKEND_CUDA, 1);
        ok(status);
        let (status, same) = create(REFLEX_BACKEND_CUDA, all);
        ok(status);
        assert_eq!(scratch(same), scratch(env.context));
        assert!(all == 1 || scratch(one) < scratch(same));
        let mut info: reflex_device_info = unsafe { std::mem::zeroed() };
        info.struct_size = size_of::<reflex_device_info>() as u32;
        ok(reflex_get_device_info(one, &mut info));
        assert_eq!(info.sm_count, all);
        reflex_context_destroy(one);
        reflex_context_destroy(same);
    });
}
