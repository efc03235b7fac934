//! Every export with bad input gives a status and a message, and never crashes. tests/cpu/ tests what only an op refuses.

use crate::support::*;
use crate::{exports, paths};
use reflex_infer::*;
use std::ffi::{c_char, c_void};
use std::ptr::{dangling_mut, null, null_mut, without_provenance, without_provenance_mut};

#[track_caller]
fn refuses(status: reflex_status, want: reflex_status, words: &[&str]) {
    let message = last_error();
    assert_eq!(status_name(status), status_name(want), "{message}");
    for word in words {
        assert!(message.contains(word), "`{message}` does not name `{word}`");
    }
}

const INVALID: reflex_status = REFLEX_INVALID_ARGUMENT;

#[test]
fn too_much_memory_is_refused_by_name() {
    let env = Env::cpu();
    type Malloc = extern "C" fn(*const reflex_context, usize, *mut *mut c_void) -> reflex_status;
    let both: [(&str, Malloc); 2] = [
        ("reflex_device_malloc", reflex_device_malloc),
        ("reflex_host_malloc", reflex_host_malloc),
    ];
    for (name, malloc) in both {
        let mut pointer = null_mut();
        let bytes = 1usize << 62;
        refuses(malloc(env.context, bytes, &mut pointer), REFLEX_OUT_OF_MEMORY, &[]);
        assert_eq!(last_error(), format!("{name}: no host memory for {bytes} bytes"));
        assert!(pointer.is_null());
    }
}

/// Memory that looks like no context.
fn not_a_context() -> Vec<u64> {
    vec![0; 512]
}

type Launcher<P> = extern "C" fn(*const reflex_context, *const P, reflex_stream) -> reflex_status;
type Supported<P> = extern "C" fn(*const reflex_context, *const P) -> reflex_status;
type Selected<P> = extern "C" fn(*const reflex_context, *const P, *mut *const c_char) -> reflex_status;

/// What no op may accept, whatever it does.
fn mistakes<P: Default>(
    env: &Env,
    op: &str,
    launch: Launcher<P>,
    supported: Supported<P>,
    selected: Selected<P>,
) -> Vec<String> {
    let params = P::default();
    let set_size = |p: &mut P, size: usize| unsafe { (&raw mut *p).cast::<u32>().write(size as u32) };
    let size = size_of::<P>();

    refuses(launch(null(), &params, null_mut()), INVALID, &[op, "context is NULL"]);
    refuses(supported(null(), &params), INVALID, &[op, "context is NULL"]);
    let fake = not_a_context();
    refuses(
        launch(fake.as_ptr().cast(), &params, null_mut()),
        INVALID,
        &[op, "not a live"],
    );
    refuses(
        launch(without_provenance(1), &params, null_mut()),
        INVALID,
        &[op, "not a live"],
    );
    refuses(
        launch(env.context, null(), null_mut()),
        INVALID,
        &[op, "params is NULL"],
    );
    refuses(supported(env.context, null()), INVALID, &[op, "params is NULL"]);
    assert_eq!(last_error(), format!("{op}: params is NULL"));
    refuses(
        launch(env.context, 4 as *const P, null_mut()),
        REFLEX_MISALIGNED,
        &[op, "params"],
    );

    // Shorter than any struct has ever been, absurd, and larger with a tail that is not zero.
    let mut name = null();
    for bad in [0, 4, 8, 1 << 20] {
        let mut p = P::default();
        set_size(&mut p, bad);
        refuses(
            launch(env.context, &p, null_mut()),
            REFLEX_ABI_MISMATCH,
            &[op, "struct_size"],
        );
        refuses(supported(env.context, &p), REFLEX_ABI_MISMATCH, &[op, "struct_size"]);
        refuses(
            selected(env.context, &p, &mut name),
            REFLEX_ABI_MISMATCH,
            &[op, "struct_size"],
        );
    }
    let mut larger = vec![0u64; size / 8 + 4];
    larger[0] = size as u64 + 32;
    *larger.last_mut().unwrap() = 1 << 56;
    refuses(
        launch(env.context, larger.as_ptr().cast(), null_mut()),
        REFLEX_ABI_MISMATCH,
        &[op, "older"],
    );
    // The same with a tail of zeros gets past the size, to the operands that are not there.
    *larger.last_mut().unwrap() = 0;
    refuses(launch(env.context, larger.as_ptr().cast(), null_mut()), INVALID, &[op]);

    let mut p = P::default();
    set_size(&mut p, size);
    refuses(launch(env.context, &p, null_mut()), INVALID, &[op]);
    refuses(supported(env.context, &p), INVALID, &[op]);
    refuses(selected(env.context, &p, null_mut()), INVALID, &[op, "name is NULL"]);
    ["", "_supported", "_selected_kernel"]
        .map(|suffix| format!("reflex_{op}{suffix}"))
        .to_vec()
}

type WorkspaceSize<P> = extern "C" fn(*const reflex_context, *const P, *mut usize) -> reflex_status;

/// The same of a question for the workspace.
fn no_size<P: Default>(env: &Env, name: &str, size: WorkspaceSize<P>) -> String {
    let (params, mut bytes) = (P::default(), 0);
    refuses(size(null(), &params, &mut bytes), INVALID, &["context is NULL"]);
    refuses(size(env.context, &params, null_mut()), INVALID, &["bytes is NULL"]);
    refuses(size(env.context, null(), &mut bytes), INVALID, &["params is NULL"]);
    refuses(
        size(env.context, &params, &mut bytes),
        REFLEX_ABI_MISMATCH,
        &["struct_size is 0"],
    );
    name.to_string()
}

#[test]
fn every_export_survives_null_and_nonsense() {
    let env = Env::cpu();
    let c = env.context.cast_const();
    let mut done = Vec::new();
    macro_rules! mistakes_of {
        ($($module:ident { $($op:ident($type:ident, $params:ident): $run:ident, $supported:ident, $selected:ident
            $(, $size:ident)?;)+ })+) => {
            $($(
                done.extend(mistakes(&env, stringify!($op), $run, $supported, $selected));
                $(done.push(no_size(&env, stringify!($size), $size));)?
            )+)+
        };
    }
    reflex_infer::for_each_op!(mistakes_of);
    let mut see = |name: &str| done.push(name.to_string());
    let fake = not_a_context();
    let fake = fake.as_ptr().cast::<reflex_context>();
    let junk: *mut c_void = dangling_mut::<u64>().cast();
    let mut pointer: *mut c_void = null_mut();
    let mut bytes = 0usize;

    see("reflex_weights_packed_size");
    refuses(
        reflex_weights_packed_size(REFLEX_DTYPE_Q4_K, 1, 256, null_mut()),
        INVALID,
        &["reflex_weights_packed_size", "bytes is NULL"],
    );
    see("reflex_context_create");
    let mut context: *mut reflex_context = null_mut();
    refuses(reflex_context_create(null(), null_mut()), INVALID, &["out is NULL"]);
    let create = |change: &dyn Fn(&mut reflex_context_params)| {
        let mut p = reflex_context_params {
            struct_size: size_of::<reflex_context_params>() as u32,
            backend: REFLEX_BACKEND_CPU,
            ..Default::default()
        };
        change(&mut p);
        let mut out = null_mut();
        let status = reflex_context_create(&p, &mut out);
        assert!(out.is_null(), "out was set by a failing call");
        status
    };
    refuses(
        create(&|p| p.struct_size = 3),
        REFLEX_ABI_MISMATCH,
        &["struct_size is 3"],
    );
    refuses(create(&|p| p.backend = reflex_backend(9)), INVALID, &["backend is 9"]);
    refuses(create(&|p| p.device = -1), INVALID, &["device is -1"]);
    refuses(create(&|p| p.cpu_threads = 5000), INVALID, &["cpu_threads is 5000"]);
    refuses(create(&|p| p.reserved = 1), INVALID, &["reserved is 1"]);
    assert!(context.is_null());
    let status = {
        let p = reflex_context_params {
            struct_size: size_of::<reflex_context_params>() as u32,
            backend: REFLEX_BACKEND_CUDA,
            device: 4096,
            ..Default::default()
        };
        reflex_context_create(&p, &mut context)
    };
    assert!(last_error().starts_with("reflex_context_create: "), "{}", last_error());
    assert!(
        [INVALID, REFLEX_NO_DRIVER, REFLEX_NOT_BUILT].contains(&status),
        "{}",
        status_name(status)
    );

    see("reflex_context_destroy");
    reflex_context_destroy(null_mut());
    reflex_context_destroy(fake.cast_mut());
    see("reflex_context_preload");
    refuses(reflex_context_preload(null()), INVALID, &["context is NULL"]);
    see("reflex_context_backend");
    refuses(reflex_context_backend(c, null_mut()), INVALID, &["out is NULL"]);
    let mut backend = REFLEX_BACKEND_AUTO;
    refuses(reflex_context_backend(fake, &mut backend), INVALID, &["not a live"]);

    see("reflex_context_backend_reason");
    refuses(reflex_context_backend_reason(c, null_mut()), INVALID, &["out is NULL"]);
    let mut reason = null();
    refuses(
        reflex_context_backend_reason(fake, &mut reason),
        INVALID,
        &["not a live"],
    );

    see("reflex_device_malloc");
    refuses(reflex_device_malloc(c, 0, &mut pointer), INVALID, &["bytes is 0"]);
    refuses(reflex_device_malloc(c, usize::MAX, &mut pointer), INVALID, &["bytes"]);
    refuses(
        reflex_device_malloc(c, 1 << 60, &mut pointer),
        REFLEX_OUT_OF_MEMORY,
        &["bytes"],
    );
    refuses(reflex_device_malloc(c, 8, null_mut()), INVALID, &["out is NULL"]);
    see("reflex_device_free");
    refuses(reflex_device_free(null(), junk), INVALID, &["context is NULL"]);
    see("reflex_host_malloc");
    refuses(reflex_host_malloc(c, 0, &mut pointer), INVALID, &["bytes is 0"]);
    see("reflex_host_free");
    refuses(reflex_host_free(fake, junk), INVALID, &["not a live"]);
    see("reflex_host_register");
    refuses(
        reflex_host_register(c, null_mut(), 8, &mut pointer),
        INVALID,
        &["host is NULL"],
    );
    refuses(
        reflex_host_register(c, junk, 8, null_mut()),
        INVALID,
        &["device_pointer is NULL"],
    );
    see("reflex_host_unregister");
    refuses(reflex_host_unregister(c, null_mut()), INVALID, &["host is NULL"]);
    see("reflex_memcpy");
    refuses(
        reflex_memcpy(c, null_mut(), junk, 8, null_mut()),
        INVALID,
        &["destination is NULL"],
    );
    refuses(
        reflex_memcpy(c, junk, null(), 8, null_mut()),
        INVALID,
        &["source is NULL"],
    );
    refuses(reflex_memcpy(c, junk, junk, 0, null_mut()), INVALID, &["bytes is 0"]);
    see("reflex_memset");
    refuses(
        reflex_memset(c, null_mut(), 0, 8, null_mut()),
        INVALID,
        &["destination is NULL"],
    );
    see("reflex_memory_info");
    refuses(
        reflex_memory_info(null(), null_mut(), null_mut()),
        INVALID,
        &["context is NULL"],
    );
    refuses(
        reflex_memory_info(c, without_provenance_mut(3), null_mut()),
        REFLEX_MISALIGNED,
        &["free_bytes"],
    );

    see("reflex_stream_create");
    refuses(reflex_stream_create(c, null_mut()), INVALID, &["out is NULL"]);
    see("reflex_stream_destroy");
    refuses(reflex_stream_destroy(null(), null_mut()), INVALID, &["context is NULL"]);
    ok(reflex_stream_destroy(c, null_mut()));
    see("reflex_stream_synchronize");
    refuses(
        reflex_stream_synchronize(null(), null_mut()),
        INVALID,
        &["context is NULL"],
    );

    see("reflex_event_create");
    refuses(reflex_event_create(c, null_mut()), INVALID, &["out is NULL"]);
    see("reflex_event_destroy");
    reflex_event_destroy(null_mut());
    see("reflex_event_record");
    refuses(
        reflex_event_record(c, null_mut(), null_mut()),
        INVALID,
        &["event is NULL"],
    );
    see("reflex_event_synchronize");
    refuses(reflex_event_synchronize(null_mut()), INVALID, &["event is NULL"]);
    see("reflex_event_elapsed");
    let mut milliseconds = 0.0;
    refuses(
        reflex_event_elapsed(null_mut(), null_mut(), &mut milliseconds),
        INVALID,
        &["start is NULL"],
    );
    refuses(
        reflex_event_elapsed(null_mut(), null_mut(), null_mut()),
        INVALID,
        &["milliseconds is NULL"],
    );

    see("reflex_graph_capture_begin");
    refuses(reflex_graph_capture_begin(c, null_mut()), INVALID, &["stream is NULL"]);
    see("reflex_graph_capture_end");
    refuses(
        reflex_graph_capture_end(c, env.stream, null_mut()),
        INVALID,
        &["out is NULL"],
    );
    let mut graph = null_mut();
    refuses(
        reflex_graph_capture_end(c, env.stream, &mut graph),
        INVALID,
        &["not being captured"],
    );
    see("reflex_graph_launch");
    refuses(
        reflex_graph_launch(c, null_mut(), env.stream),
        INVALID,
        &["graph is NULL"],
    );
    see("reflex_graph_node_count");
    refuses(reflex_graph_node_count(null(), &mut bytes), INVALID, &["graph is NULL"]);
    see("reflex_graph_destroy");
    reflex_graph_destroy(null_mut());

    see("reflex_get_device_info");
    refuses(reflex_get_device_info(c, null_mut()), INVALID, &["out is NULL"]);
    let mut info: reflex_device_info = unsafe { std::mem::zeroed() };
    refuses(
        reflex_get_device_info(c, &mut info),
        REFLEX_ABI_MISMATCH,
        &["struct_size is 0"],
    );

    // A struct that the library fills: no size, a size before the first release's, an absurd one, and unaligned.
    fn out<T>(call: impl Fn(*mut T) -> reflex_status) {
        refuses(call(null_mut()), INVALID, &["out is NULL"]);
        refuses(call(without_provenance_mut(2)), REFLEX_MISALIGNED, &["out"]);
        let mut room = vec![0u64; size_of::<T>() / 8];
        let (size, pointer) = (size_of::<T>() as u32, room.as_mut_ptr());
        for bad in [0, 4, size - 8, 1 << 20] {
            unsafe { pointer.cast::<u32>().write(bad) };
            refuses(
                call(pointer.cast()),
                REFLEX_ABI_MISMATCH,
                &["struct_size is", &bad.to_string()],
            );
        }
        assert!(room[1..].iter().all(|&word| word == 0), "a refused call wrote");
    }
    fn sized<T>() -> T {
        let mut value: T = unsafe { std::mem::zeroed() };
        unsafe { (&raw mut value).cast::<u32>().write(size_of::<T>() as u32) };
        value
    }
    see("reflex_get_hardware_profile");
    out(|p| reflex_get_hardware_profile(c, p));
    refuses(
        reflex_get_hardware_profile(fake, &mut sized()),
        INVALID,
        &["not a live"],
    );
    refuses(
        reflex_get_hardware_profile(null(), &mut sized()),
        INVALID,
        &["context is NULL"],
    );
    see("reflex_get_hardware_profile_of_class");
    out(|p| reflex_get_hardware_profile_of_class(REFLEX_DEVICE_CLASS_SPARK, p));
    let class = reflex_device_class(999);
    refuses(
        reflex_get_hardware_profile_of_class(class, &mut sized()),
        INVALID,
        &["device_class is 999"],
    );
    let class = REFLEX_DEVICE_CLASS_RTX;
    refuses(
        reflex_get_hardware_profile_of_class(class, &mut sized()),
        REFLEX_UNSUPPORTED,
        &["device_class is 2"],
    );
    see("reflex_telemetry_read");
    out(|p| reflex_telemetry_read(c, p));
    refuses(
        reflex_telemetry_read(null(), &mut sized()),
        INVALID,
        &["context is NULL"],
    );
    refuses(reflex_telemetry_read(fake, &mut sized()), INVALID, &["not a live"]);
    see("reflex_telemetry_sampler_create");
    let mut sampler = null_mut();
    refuses(
        reflex_telemetry_sampler_create(c, 10, null_mut()),
        INVALID,
        &["out is NULL"],
    );
    refuses(
        reflex_telemetry_sampler_create(null(), 10, &mut sampler),
        INVALID,
        &["context is NULL"],
    );
    refuses(
        reflex_telemetry_sampler_create(c, 0, &mut sampler),
        INVALID,
        &["period_ms is 0"],
    );
    refuses(
        reflex_telemetry_sampler_create(c, 60_001, &mut sampler),
        INVALID,
        &["period_ms is 60001"],
    );
    assert!(sampler.is_null(), "out was set by a failing call");
    ok(reflex_telemetry_sampler_create(c, 10, &mut sampler));
    see("reflex_telemetry_sampler_start");
    refuses(
        reflex_telemetry_sampler_start(null_mut()),
        INVALID,
        &["sampler is NULL"],
    );
    see("reflex_telemetry_sampler_stop");
    refuses(
        reflex_telemetry_sampler_stop(null_mut(), &mut sized()),
        INVALID,
        &["sampler is NULL"],
    );
    refuses(
        reflex_telemetry_sampler_stop(sampler, &mut sized()),
        INVALID,
        &["does not run"],
    );
    ok(reflex_telemetry_sampler_start(sampler));
    refuses(reflex_telemetry_sampler_start(sampler), INVALID, &["runs already"]);
    out(|p| reflex_telemetry_sampler_stop(sampler, p));
    // None of these has ended the interval.
    ok(reflex_telemetry_sampler_stop(sampler, &mut sized()));
    see("reflex_telemetry_sampler_destroy");
    reflex_telemetry_sampler_destroy(null_mut());
    reflex_telemetry_sampler_destroy(sampler);

    let kv = reflex_kv_budget_params {
        layers: 1,
        kv_heads: 1,
        k_head_dim: 1,
        ..sized()
    };
    let budget = reflex_memory_budget_params {
        cache: without_provenance(2),
        ..sized()
    };
    see("reflex_kv_budget");
    out(|p| reflex_kv_budget(&kv, p));
    refuses(reflex_kv_budget(null(), &mut sized()), INVALID, &["params is NULL"]);
    let short = reflex_kv_budget_params { struct_size: 8, ..kv };
    refuses(
        reflex_kv_budget(&short, &mut sized()),
        REFLEX_ABI_MISMATCH,
        &["struct_size is 8"],
    );
    see("reflex_memory_budget");
    out(|p| reflex_memory_budget(&sized(), p));
    refuses(reflex_memory_budget(null(), &mut sized()), INVALID, &["params is NULL"]);
    refuses(
        reflex_memory_budget(&budget, &mut sized()),
        REFLEX_MISALIGNED,
        &["cache: params is 0x2"],
    );

    see("reflex_get_build_info");
    see("reflex_device_count");
    assert!(reflex_device_count() >= 0);
    see("reflex_status_string");
    assert_eq!(status_name(reflex_status(-5)), "REFLEX_UNKNOWN_STATUS");
    see("reflex_last_error_message");
    for name in ["from_ggml", "name", "block_elements", "block_bytes"] {
        see(&format!("reflex_dtype_{name}"));
    }
    see("reflex_dtype_row_bytes");
    refuses(
        reflex_dtype_row_bytes(REFLEX_DTYPE_F32, 1, without_provenance_mut(2)),
        REFLEX_MISALIGNED,
        &["reflex_dtype_row_bytes", "bytes"],
    );
    see("reflex_tensor_bytes");
    refuses(
        reflex_tensor_bytes(without_provenance(2), &mut 0),
        REFLEX_MISALIGNED,
        &["reflex_tensor_bytes", "tensor"],
    );

    done.sort();
    let declared: Vec<String> = exports::declared().into_iter().collect();
    assert_eq!(
        done,
        declared,
        "exports tested here (left) and declared in {}",
        paths::header().display()
    );
}

/// Tensors that no op may accept, through one op.
#[test]
fn tensors_are_checked() {
    let env = Env::cpu();
    let data = env.malloc(1 << 16);
    let good = reflex_tensor {
        data,
        dtype: REFLEX_DTYPE_F32,
        rank: 2,
        shape: [4, 64, 0, 0],
        stride: [0; 4],
    };
    let apart = reflex_tensor {
        data: data.wrapping_byte_add(1 << 15),
        ..good
    };
    let check = |want: reflex_status, word: &str, change: &dyn Fn(&mut reflex_norm_params)| {
        let mut p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x: good,
            y: apart,
            ..Default::default()
        };
        change(&mut p);
        refuses(reflex_norm(env.context, &p, null_mut()), want, &["norm", word]);
        let supported = reflex_norm_supported(env.context, &p);
        assert_eq!(supported, want, "_supported disagrees with the launch");
    };
    check(INVALID, "x.data is NULL", &|p| p.x.data = null_mut());
    check(INVALID, "y.data is NULL", &|p| p.y.data = null_mut());
    check(INVALID, "x.dtype is 999", &|p| p.x.dtype = reflex_dtype(999));
    check(INVALID, "x.dtype is 0", &|p| p.x.dtype = REFLEX_DTYPE_NONE);
    check(INVALID, "x.dtype is I32", &|p| p.x.dtype = REFLEX_DTYPE_I32);
    check(INVALID, "x.dtype is Q8_0", &|p| p.x.dtype = REFLEX_DTYPE_Q8_0);
    check(INVALID, "x.dtype is ACT_I8", &|p| p.x.dtype = REFLEX_DTYPE_ACT_I8);
    check(INVALID, "x.dtype is Q8_0_PACKED, which is packed", &|p| {
        p.x.dtype = packed(REFLEX_DTYPE_Q8_0)
    });
    check(INVALID, "weight.dtype is Q8_0_PACKED, which is packed", &|p| {
        p.weight = reflex_tensor {
            dtype: packed(REFLEX_DTYPE_Q8_0),
            ..good
        };
    });
    check(INVALID, "x.dtype is 4097", &|p| p.x.dtype = packed(REFLEX_DTYPE_F32));
    check(INVALID, "x.rank is 0", &|p| p.x.rank = 0);
    check(INVALID, "x.rank is 5", &|p| p.x.rank = 5);
    check(INVALID, "x.shape[0] is -1", &|p| p.x.shape[0] = -1);
    check(INVALID, "overflows", &|p| p.x.shape = [i64::MAX, 2, 0, 0]);
    check(INVALID, "overflows", &|p| p.x.shape = [1 << 40, 1 << 40, 0, 0]);
    check(INVALID, "x.stride[0] is -256", &|p| p.x.stride = [-256, 4, 0, 0]);
    check(INVALID, "overflows", &|p| p.x.stride = [i64::MAX - 3, 4, 0, 0]);
    check(INVALID, "x.stride[1] is 8", &|p| p.x.stride = [512, 8, 0, 0]);
    check(REFLEX_MISALIGNED, "x.stride[0] is 258", &|p| {
        p.x.stride = [258, 4, 0, 0]
    });
    check(REFLEX_MISALIGNED, "x.data", &|p| p.x.data = data.wrapping_byte_add(2));
    check(INVALID, "y.shape is [4, 63]", &|p| p.y.shape[1] = 63);
    check(INVALID, "y.shape", &|p| p.y.rank = 1);
    check(INVALID, "y.stride[0] is 0", &|p| p.y.stride = [0, 4, 0, 0]);
    check(INVALID, "overlaps x", &|p| p.y.data = data.wrapping_byte_add(64));
    check(INVALID, "weight.shape is [63]", &|p| {
        p.weight = reflex_tensor {
            rank: 1,
            shape: [63, 0, 0, 0],
            ..good
        };
    });
    check(INVALID, "overlaps weight", &|p| {
        p.weight = reflex_tensor {
            rank: 1,
            shape: [64, 0, 0, 0],
            ..apart
        };
    });
    check(INVALID, "epsilon is NaN", &|p| p.epsilon = f32::NAN);
    check(INVALID, "epsilon is -1", &|p| p.epsilon = -1.0);
    check(INVALID, "epsilon is inf", &|p| p.epsilon = f32::INFINITY);
    ok(reflex_device_free(env.context, data));
}
