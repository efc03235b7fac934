//! Memory, streams, events and graphs on the CPU backend, as an engine uses them without a GPU.

use crate::support::*;
use reflex_infer::*;
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

fn norm_in_place(data: *mut c_void, rows: i64, dim: i64) -> reflex_norm_params {
    let x = reflex_tensor {
        data,
        dtype: REFLEX_DTYPE_F32,
        rank: 2,
        shape: [rows, dim, 0, 0],
        stride: [0; 4],
    };
    reflex_norm_params {
        struct_size: size_of::<reflex_norm_params>() as u32,
        x,
        y: x,
        ..Default::default()
    }
}

#[test]
fn a_context_tells_what_it_is() {
    let env = Env::cpu();
    let mut backend = REFLEX_BACKEND_AUTO;
    ok(reflex_context_backend(env.context, &mut backend));
    assert_eq!(backend, REFLEX_BACKEND_CPU);
    ok(reflex_context_preload(env.context));
    let info = env.device_info();
    assert_eq!(info.backend, REFLEX_BACKEND_CPU);
    assert_eq!(info.sm, 0);
    assert!(info.sm_count >= 1 && info.total_memory > 0);
    assert!(!unsafe { CStr::from_ptr(info.name.as_ptr()) }.to_bytes().is_empty());
    let (mut free, mut total) = (0, 0);
    ok(reflex_memory_info(env.context, &mut free, &mut total));
    assert!(0 < free && free <= total && total == info.total_memory);
    ok(reflex_memory_info(env.context, null_mut(), null_mut()));
}

#[test]
fn threads_are_as_many_as_asked_for() {
    let params = reflex_context_params {
        struct_size: size_of::<reflex_context_params>() as u32,
        backend: REFLEX_BACKEND_CPU,
        cpu_threads: 3,
        // For GPUs alone.
        sm_count: 1 << 20,
        ..Default::default()
    };
    let mut context = null_mut();
    ok(reflex_context_create(&params, &mut context));
    let mut info: reflex_device_info = unsafe { std::mem::zeroed() };
    info.struct_size = size_of::<reflex_device_info>() as u32;
    ok(reflex_get_device_info(context, &mut info));
    assert_eq!(info.sm_count, 3);
    reflex_context_destroy(context);
}

/// A struct with its size set, as C's initialisers leave it.
fn sized<T>() -> T {
    let mut value: T = unsafe { std::mem::zeroed() };
    unsafe { (&raw mut value).cast::<u32>().write(size_of::<T>() as u32) };
    value
}

/// A caller with a newer header passes a larger struct; what this library does not know stays as it was.
fn fills_no_more_than_it_knows<T>(call: impl Fn(*mut T) -> reflex_status) {
    let mut room = vec![u64::MAX; size_of::<T>() / 8 + 16];
    let size = size_of::<T>() + 64;
    let pointer = room.as_mut_ptr().cast::<T>();
    unsafe { pointer.cast::<u32>().write(size as u32) };
    ok(call(pointer));
    assert_eq!(room[0] as u32 as usize, size, "struct_size is the caller's");
    assert!(room[size_of::<T>() / 8..].iter().all(|&word| word == u64::MAX));
    assert!(room[1..size_of::<T>() / 8].iter().any(|&word| word != u64::MAX));
}

#[test]
fn filled_structs_end_where_the_caller_says() {
    let env = Env::cpu();
    fills_no_more_than_it_knows(|p| reflex_get_device_info(env.context, p));
    fills_no_more_than_it_knows(|p| reflex_get_hardware_profile(env.context, p));
    fills_no_more_than_it_knows(|p| reflex_get_hardware_profile_of_class(REFLEX_DEVICE_CLASS_SPARK, p));
    fills_no_more_than_it_knows(|p| reflex_telemetry_read(env.context, p));
    let mut sampler = null_mut();
    ok(reflex_telemetry_sampler_create(env.context, 10, &mut sampler));
    ok(reflex_telemetry_sampler_start(sampler));
    fills_no_more_than_it_knows(|p| reflex_telemetry_sampler_stop(sampler, p));
    reflex_telemetry_sampler_destroy(sampler);
}

#[test]
fn engines_can_plan_for_boards_that_are_not_here() {
    for (class, sm, sm_count, gib, gbs, gbs_super) in [
        (REFLEX_DEVICE_CLASS_ORIN_NANO_4GB, 87, 4, 4, 34.0, 51.0),
        (REFLEX_DEVICE_CLASS_ORIN_NANO_8GB, 87, 8, 8, 68.0, 102.0),
        (REFLEX_DEVICE_CLASS_ORIN_NX_8GB, 87, 8, 8, 102.4, 0.0),
        (REFLEX_DEVICE_CLASS_ORIN_NX_16GB, 87, 8, 16, 102.4, 0.0),
        (REFLEX_DEVICE_CLASS_AGX_ORIN_32GB, 87, 14, 32, 204.8, 0.0),
        (REFLEX_DEVICE_CLASS_AGX_ORIN_64GB, 87, 16, 64, 204.8, 0.0),
        (REFLEX_DEVICE_CLASS_THOR_T4000, 110, 12, 64, 273.0, 0.0),
        (REFLEX_DEVICE_CLASS_THOR_T5000, 110, 20, 128, 273.0, 0.0),
        (REFLEX_DEVICE_CLASS_SPARK, 121, 48, 128, 273.0, 0.0),
    ] {
        let mut profile: reflex_hardware_profile = sized();
        ok(reflex_get_hardware_profile_of_class(class, &mut profile));
        assert_eq!((profile.device_class, profile.integrated), (class, 1));
        assert_eq!(
            (profile.sm, profile.sm_count, profile.memory_bytes),
            (sm, sm_count, gib << 30)
        );
        assert_eq!(
            (profile.memory_bandwidth, profile.memory_bandwidth_super),
            (gbs * 1e9, gbs_super * 1e9)
        );
        assert!(!unsafe { CStr::from_ptr(profile.name.as_ptr()) }.is_empty());
    }
}

#[test]
fn telemetry_of_the_cpu_backend() {
    let env = Env::cpu();
    let mut profile: reflex_hardware_profile = sized();
    ok(reflex_get_hardware_profile(env.context, &mut profile));
    let info = env.device_info();
    assert_eq!((profile.device_class, profile.sm), (REFLEX_DEVICE_CLASS_CPU, 0));
    assert_eq!(
        (profile.sm_count, profile.memory_bytes),
        (info.sm_count, info.total_memory)
    );

    let mut telemetry: reflex_telemetry = sized();
    ok(reflex_telemetry_read(env.context, &mut telemetry));
    assert_eq!(telemetry.memory_total as u64, info.total_memory);
    assert_eq!(telemetry.memory_used + telemetry.memory_free, telemetry.memory_total);
    assert!(telemetry.cuda_driver == -1 && telemetry.power_limit_w.is_nan() && telemetry.energy_counter_j.is_nan());
    for value in [
        telemetry.cpu_clock_mhz,
        telemetry.cpu_temperature_c,
        telemetry.hottest_c,
        telemetry.power_w,
    ] {
        assert!(value.is_nan() || (-55.0..10_000.0).contains(&value), "{value}");
    }
    let texts = [
        &telemetry.l4t_version[..],
        &telemetry.power_rail,
        &telemetry.driver_version,
    ];
    assert!(texts.iter().all(|text| text.contains(&0)));
}

#[test]
fn a_sampler_runs_and_ends_on_the_cpu_backend() {
    let env = Env::cpu();
    let mut sampler = null_mut();
    ok(reflex_telemetry_sampler_create(env.context, 2, &mut sampler));
    for _ in 0..3 {
        ok(reflex_telemetry_sampler_start(sampler));
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut energy: reflex_energy = sized();
        ok(reflex_telemetry_sampler_stop(sampler, &mut energy));
        assert!(energy.seconds >= 0.02);
        // A Jetson measures its power on the CPU backend too.
        if energy.source == REFLEX_ENERGY_SOURCE_NONE {
            assert!(energy.joules.is_nan() && energy.mean_power_w.is_nan());
        } else {
            assert!(energy.joules > 0.0 && energy.samples >= 2);
        }
    }
    ok(reflex_telemetry_sampler_start(sampler));
    reflex_telemetry_sampler_destroy(sampler);
}

#[test]
fn many_threads_read_telemetry() {
    let env = Env::cpu();
    std::thread::scope(|scope| {
        let env = &env;
        for _ in 0..4 {
            scope.spawn(move || {
                // A closure captures fields: the context's bare pointer is no Sync, the Env is.
                let env: &Env = env;
                let mut sampler = null_mut();
                ok(reflex_telemetry_sampler_create(env.context, 1, &mut sampler));
                ok(reflex_telemetry_sampler_start(sampler));
                for _ in 0..20 {
                    let mut telemetry: reflex_telemetry = sized();
                    ok(reflex_telemetry_read(env.context, &mut telemetry));
                    assert!(telemetry.memory_total > 0);
                }
                ok(reflex_telemetry_sampler_stop(sampler, &mut sized()));
                reflex_telemetry_sampler_destroy(sampler);
            });
        }
    });
}

#[test]
fn memory_can_be_set_and_copied() {
    let env = Env::cpu();
    let a = env.malloc(1000);
    assert_eq!(a as usize % 256, 0);
    let mut b = null_mut();
    ok(reflex_host_malloc(env.context, 1000, &mut b));
    ok(reflex_memset(env.context, a, 7, 1000, env.stream));
    ok(reflex_memcpy(env.context, b, a, 1000, env.stream));
    assert!(
        unsafe { std::slice::from_raw_parts(b.cast::<u8>(), 1000) }
            .iter()
            .all(|&v| v == 7)
    );
    let (mut own, mut mapped) = (vec![0u8; 1000], null_mut());
    let own = own.as_mut_ptr().cast();
    ok(reflex_host_register(env.context, own, 1000, &mut mapped));
    assert_eq!(mapped, own);
    ok(reflex_host_unregister(env.context, own));
    ok(reflex_host_free(env.context, b));
    ok(reflex_device_free(env.context, a));
    ok(reflex_device_free(env.context, null_mut()));
}

#[test]
fn events_measure_time() {
    let env = Env::cpu();
    let (mut start, mut end) = (null_mut(), null_mut());
    ok(reflex_event_create(env.context, &mut start));
    ok(reflex_event_create(env.context, &mut end));
    let mut milliseconds = -1.0;
    assert_eq!(
        reflex_event_elapsed(start, end, &mut milliseconds),
        REFLEX_INVALID_ARGUMENT
    );
    ok(reflex_event_record(env.context, start, env.stream));
    std::thread::sleep(std::time::Duration::from_millis(5));
    ok(reflex_event_record(env.context, end, env.stream));
    ok(reflex_event_synchronize(end));
    ok(reflex_event_elapsed(start, end, &mut milliseconds));
    assert!(milliseconds >= 5.0, "{milliseconds}");
    reflex_event_destroy(start);
    reflex_event_destroy(end);
    reflex_event_destroy(null_mut());
}

#[test]
fn a_capture_records_and_a_replay_runs() {
    let env = Env::cpu();
    let data = env.malloc(16);
    let params = norm_in_place(data, 1, 4);
    ok(reflex_graph_capture_begin(env.context, env.stream));
    assert_eq!(
        reflex_graph_capture_begin(env.context, env.stream),
        REFLEX_INVALID_ARGUMENT
    );
    assert_eq!(
        reflex_stream_synchronize(env.context, env.stream),
        REFLEX_INVALID_ARGUMENT
    );
    let ones = encode(REFLEX_DTYPE_F32, &[2.0; 4]);
    // Another stream runs at once meanwhile.
    ok(reflex_memcpy(env.context, data, ones.as_ptr().cast(), 16, null_mut()));
    ok(reflex_norm(env.context, &params, env.stream));
    let read = || unsafe { std::slice::from_raw_parts(data.cast::<f32>(), 4) }.to_vec();
    assert_eq!(read(), [2.0; 4]);
    let mut graph = null_mut();
    ok(reflex_graph_capture_end(env.context, env.stream, &mut graph));
    let mut nodes = 0;
    ok(reflex_graph_node_count(graph, &mut nodes));
    assert_eq!(nodes, 1);
    ok(reflex_graph_launch(env.context, graph, env.stream));
    assert!(read().iter().all(|v| (v - 1.0).abs() < 1e-6));
    reflex_graph_destroy(graph);
    assert_eq!(
        reflex_graph_capture_end(env.context, env.stream, &mut graph),
        REFLEX_INVALID_ARGUMENT
    );
    ok(reflex_device_free(env.context, data));
}

#[test]
fn many_threads_share_a_context() {
    let env = Env::cpu();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let data = env.malloc(4096 * 4 * 8);
                let values = encode(REFLEX_DTYPE_F32, &Random::new(1).normals(4096 * 8));
                for _ in 0..20 {
                    ok(reflex_memcpy(
                        env.context,
                        data,
                        values.as_ptr().cast(),
                        values.len(),
                        null_mut(),
                    ));
                    ok(reflex_norm(env.context, &norm_in_place(data, 8, 4096), null_mut()));
                }
                let rows = unsafe { std::slice::from_raw_parts(data.cast::<f32>(), 4096 * 8) };
                let square: f32 = rows[..4096].iter().map(|v| v * v).sum();
                assert!((square / 4096.0 - 1.0).abs() < 1e-3);
                ok(reflex_device_free(env.context, data));
            });
        }
    });
}

/// The backend of a new context, and why it is that.
fn reason(backend: reflex_backend) -> (reflex_backend, String) {
    let params = reflex_context_params {
        struct_size: size_of::<reflex_context_params>() as u32,
        backend,
        ..Default::default()
    };
    let (mut context, mut reason, mut is) = (null_mut(), std::ptr::null(), backend);
    ok(reflex_context_create(&params, &mut context));
    ok(reflex_context_backend(context, &mut is));
    ok(reflex_context_backend_reason(context, &mut reason));
    let text = unsafe { CStr::from_ptr(reason) }.to_str().expect("UTF-8").to_string();
    let mut again = std::ptr::null();
    ok(reflex_context_backend_reason(context, &mut again));
    assert_eq!(again, reason);
    reflex_context_destroy(context);
    assert!(!text.contains('\n') && !text.contains("reflex_"), "{text}");
    (is, text)
}

#[test]
fn a_backend_has_a_reason() {
    let (is, text) = reason(REFLEX_BACKEND_CPU);
    assert_eq!(
        (is, &*text),
        (REFLEX_BACKEND_CPU, "CPU: asked for by REFLEX_BACKEND_CPU")
    );
    let archs = unsafe { CStr::from_ptr(reflex_get_build_info().cuda_archs) };
    let (is, text) = reason(REFLEX_BACKEND_AUTO);
    let fell_back = text.strip_prefix("CPU: ");
    assert_eq!(fell_back.is_some(), is == REFLEX_BACKEND_CPU, "{text}");
    let Some(why) = fell_back else {
        assert!(text.starts_with("CUDA: ") && text.contains("(sm_"), "{text}");
        return;
    };
    // What CUDA says when it is asked for is the reason.
    let params = reflex_context_params {
        struct_size: size_of::<reflex_context_params>() as u32,
        backend: REFLEX_BACKEND_CUDA,
        ..Default::default()
    };
    let mut context = null_mut();
    let status = reflex_context_create(&params, &mut context);
    assert!(last_error().ends_with(why), "{} and {why}", last_error());
    match (status, archs.is_empty()) {
        (REFLEX_NOT_BUILT, true) => {
            assert!(why.contains("built without CUDA kernels"), "{why}");
            assert!(why.contains("REFLEX_CUDA=OFF") || why.contains("no NVRTC"), "{why}");
        }
        (REFLEX_NO_DRIVER, false) => {
            let known = [
                "libcuda.so.1 could not be opened",
                "cuInit failed with CUDA_ERROR_",
                "sees no CUDA device",
            ];
            assert!(known.iter().any(|known| why.contains(known)), "{why}");
        }
        (REFLEX_UNSUPPORTED_DEVICE, false) => assert!(why.contains("this library has kernels for"), "{why}"),
        _ => panic!("{}: {why}", status_name(status)),
    }
}

#[test]
fn build_info_is_set() {
    let info = reflex_get_build_info();
    let [version, archs, nvrtc, target, no_kernels] = [
        info.version,
        info.cuda_archs,
        info.nvrtc_version,
        info.target,
        info.no_kernels,
    ]
    .map(|text| {
        assert!(!text.is_null());
        unsafe { CStr::from_ptr(text) }.to_str().unwrap()
    });
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(!target.is_empty());
    // Either there are kernels and their compiler, or there is a reason.
    assert_eq!(archs.is_empty(), nvrtc.is_empty());
    assert_ne!(archs.is_empty(), no_kernels.is_empty());
}

#[test]
fn dtypes_know_ggml_numbers_and_blocks() {
    let plain = [
        (0, REFLEX_DTYPE_F32, 1, 4),
        (1, REFLEX_DTYPE_F16, 1, 2),
        (30, REFLEX_DTYPE_BF16, 1, 2),
    ];
    let blocks = BLOCKS.iter().zip(BLOCK_SIZES);
    let blocks = blocks.map(|(&dtype, (ggml, elements, bytes))| (ggml, dtype, elements, bytes));
    for (ggml, dtype, elements, bytes) in plain.into_iter().chain(blocks) {
        assert_eq!(reflex_dtype_from_ggml(ggml), dtype);
        if elements > 1 {
            assert_eq!(dtype.0, 0x100 + ggml);
        }
        assert_eq!(reflex_dtype_block_elements(dtype), elements);
        assert_eq!(reflex_dtype_block_bytes(dtype), bytes);
        assert_ne!(unsafe { CStr::from_ptr(reflex_dtype_name(dtype)) }, c"unknown");
    }
    assert_eq!(reflex_dtype_from_ggml(9999), REFLEX_DTYPE_NONE);
    // Activations have a layout of their own, and are in no file.
    assert_eq!(reflex_dtype_from_ggml(9), REFLEX_DTYPE_NONE);
    assert_eq!(reflex_dtype_block_elements(REFLEX_DTYPE_ACT_I8), 32);
    assert_eq!(reflex_dtype_block_bytes(REFLEX_DTYPE_ACT_I8), 40);
    assert_eq!(reflex_dtype_block_bytes(reflex_dtype(77)), 0);
    assert_eq!(
        unsafe { CStr::from_ptr(reflex_dtype_name(reflex_dtype(77))) },
        c"unknown"
    );
}
