//! What is chosen for calls on devices of every size, as a digest: a change of a table or of a rule shows, one that moves them does not.

use super::attention::{Attention, reflex_attention_params};
use super::attention_decode::{AttentionDecode, reflex_attention_decode_params};
use super::norm::{Norm, reflex_norm_params};
use super::op::Op;
use super::rope::{Rope, reflex_rope_params};
use super::schedule::Schedule;
use super::workspace::Workspace;
use super::{argmax::Argmax, argmax::reflex_argmax_params};
use crate::abi::{REFLEX_DTYPE_F16, REFLEX_DTYPE_F32, REFLEX_DTYPE_I32, reflex_dtype, reflex_kv_cache, reflex_tensor};
use crate::cuda::{Device, DeviceLimits};
use crate::runtime::Forced;
use crate::tuning::Tuning;
use std::fmt::Write;

/// Compute capability, SMs, shared memory of a block.
const DEVICES: [(u32, u32, u32); 7] = [
    (75, 40, 64 << 10),
    (75, 1, 64 << 10),
    (86, 16, 99 << 10),
    (87, 8, 163 << 10),
    (87, 16, 163 << 10),
    (90, 132, 227 << 10),
    (121, 48, 99 << 10),
];

pub(super) fn devices() -> impl Iterator<Item = DeviceLimits> {
    DEVICES
        .into_iter()
        .map(|(sm, sm_count, shared_per_block)| DeviceLimits {
            sm,
            sm_count,
            shared_per_block,
            tuning: *Tuning::of(sm, sm == 87),
            ..Default::default()
        })
}

/// FNV-1a over lines of text.
pub(super) struct Digest(u64);

impl Digest {
    pub fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    pub fn line(&mut self, text: std::fmt::Arguments) {
        self.write_fmt(text).expect("it takes any text");
        self.write_char('\n').expect("it takes any text");
    }

    pub fn value(&self) -> u64 {
        self.0
    }
}

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// Kernels, grids and scratch of a call.
pub(super) fn add_schedule<O: Op>(digest: &mut Digest, plan: &O::Plan, limits: &DeviceLimits) {
    let forced = Forced::default();
    let mut schedule = Schedule::new(Device::described(limits), &forced, Workspace::ANY);
    schedule.add::<O>(plan).expect("a candidate");
    digest.line(format_args!(
        "{} {}",
        schedule.name().to_string_lossy(),
        schedule.workspace_bytes()
    ));
    for (name, grid) in schedule.launches().kernels() {
        digest.line(format_args!("{name} {grid:?}"));
    }
}

/// Addresses that nothing reads, apart from one another.
fn tensor(at: usize, dtype: reflex_dtype, shape: &[i64]) -> reflex_tensor {
    let mut dims = [0; 4];
    dims[..shape.len()].copy_from_slice(shape);
    reflex_tensor {
        data: std::ptr::without_provenance_mut(at << 44),
        dtype,
        rank: shape.len() as u32,
        shape: dims,
        stride: [0; 4],
    }
}

fn add_all<O: Op>(digest: &mut Digest, params: &O::Params) {
    let plan = O::plan(params).expect("valid params");
    devices().for_each(|limits| add_schedule::<O>(digest, &plan, &limits));
}

#[test]
fn attention_decode_is_split_as_before() {
    let mut digest = Digest::new();
    for capacity in [1, 64, 100, 512, 1024, 4096, 8192, 8193, 16384, 131072] {
        for (batch, heads, kv_heads, dim) in [
            (1, 32, 8, 128),
            (3, 32, 8, 128),
            (1, 8, 4, 256),
            (16, 64, 2, 64),
            (1, 4, 4, 96),
            (200, 8, 8, 128),
        ] {
            for kv in [REFLEX_DTYPE_F16, REFLEX_DTYPE_F32] {
                let cache = reflex_kv_cache {
                    struct_size: size_of::<reflex_kv_cache>() as u32,
                    k: tensor(2, kv, &[batch, capacity, kv_heads, dim]),
                    v: tensor(3, kv, &[batch, capacity, kv_heads, dim]),
                    ..Default::default()
                };
                let params = reflex_attention_decode_params {
                    q: tensor(1, REFLEX_DTYPE_F32, &[batch, heads, dim]),
                    cache: &cache,
                    y: tensor(4, REFLEX_DTYPE_F32, &[batch, heads, dim]),
                    ..Default::default()
                };
                add_all::<AttentionDecode>(&mut digest, &params);
                let plan = AttentionDecode::plan(&params).expect("valid params");
                for (limits, most) in devices().flat_map(|limits| [1, 8, 16].map(|most| (limits, most))) {
                    digest.line(format_args!("{:?}", plan.cluster(&limits, most)));
                }
            }
        }
    }
    assert_eq!(digest.value(), 0x32f0_79de_46b0_9321, "{:#x}", digest.value());
}

#[test]
fn small_ops_are_launched_as_before() {
    let mut digest = Digest::new();
    for rows in [1, 3, 17, 66, 512] {
        for n in [1, 300, 32767, 32768, 50_000, 151_936, 1 << 22] {
            let params = reflex_argmax_params {
                x: tensor(1, REFLEX_DTYPE_F32, &[rows, n]),
                ids: tensor(2, REFLEX_DTYPE_I32, &[rows]),
                workspace: Workspace::ANY.data,
                workspace_size: usize::MAX,
                ..Default::default()
            };
            add_all::<Argmax>(&mut digest, &params);
        }
        for dim in [1, 128, 511, 512, 513, 2560, 12_224, 12_225, 20_000] {
            let params = reflex_norm_params {
                x: tensor(1, REFLEX_DTYPE_F32, &[rows, dim]),
                y: tensor(2, REFLEX_DTYPE_F32, &[rows, dim]),
                ..Default::default()
            };
            add_all::<Norm>(&mut digest, &params);
        }
        for (heads, dim) in [(32, 128), (32, 80), (8, 256), (128, 512), (1, 33)] {
            let x = tensor(1, REFLEX_DTYPE_F32, &[rows, heads, dim]);
            let params = reflex_rope_params {
                q: x,
                q_out: tensor(2, REFLEX_DTYPE_F32, &[rows, heads, dim]),
                positions: tensor(3, REFLEX_DTYPE_I32, &[rows]),
                rotary_dim: (dim / 2 * 2) as u32,
                ..Default::default()
            };
            add_all::<Rope>(&mut digest, &params);
        }
    }
    assert_eq!(digest.value(), 0xc8f8_ee94_27ba_5daa, "{:#x}", digest.value());
}

/// What a call of the op is on a device with tensor cores, or why it is nothing.
fn kernel_of<O: Op>(params: &O::Params) -> Result<String, String> {
    let limits = devices().last().expect("a device");
    let forced = Forced::default();
    let mut schedule = Schedule::new(Device::described(&limits), &forced, Workspace::ANY);
    let plan = O::plan(params).expect("valid params");
    schedule.add::<O>(&plan).map_err(|error| error.message)?;
    Ok(schedule.name().to_string_lossy().into_owned())
}

/// Kernels without a block table take no pages, and say so.
#[test]
fn a_cache_that_no_kernel_reads_is_declined() {
    let kv = |k: reflex_dtype, v: reflex_dtype, table: bool| reflex_kv_cache {
        struct_size: size_of::<reflex_kv_cache>() as u32,
        k: tensor(2, k, &[3, 16, 2, 64]),
        v: tensor(3, v, &[3, 16, 2, 64]),
        block_table: if table {
            tensor(5, REFLEX_DTYPE_I32, &[3, 4])
        } else {
            reflex_tensor::default()
        },
        ..Default::default()
    };
    let attention = |cache: &reflex_kv_cache| {
        kernel_of::<Attention>(&reflex_attention_params {
            q: tensor(1, REFLEX_DTYPE_F32, &[3, 5, 8, 64]),
            cache,
            y: tensor(4, REFLEX_DTYPE_F32, &[3, 5, 8, 64]),
            ..Default::default()
        })
    };
    let decode = |cache: &reflex_kv_cache| {
        kernel_of::<AttentionDecode>(&reflex_attention_decode_params {
            q: tensor(1, REFLEX_DTYPE_F32, &[3, 8, 64]),
            cache,
            y: tensor(4, REFLEX_DTYPE_F32, &[3, 8, 64]),
            ..Default::default()
        })
    };
    let rope = |cache: &reflex_kv_cache| {
        kernel_of::<Rope>(&reflex_rope_params {
            k: tensor(1, REFLEX_DTYPE_F32, &[3, 2, 64]),
            v: tensor(6, REFLEX_DTYPE_F32, &[3, 2, 64]),
            positions: tensor(7, REFLEX_DTYPE_I32, &[3]),
            slots: tensor(8, REFLEX_DTYPE_I32, &[3]),
            cache,
            ..Default::default()
        })
    };
    let (f16, f32) = (REFLEX_DTYPE_F16, REFLEX_DTYPE_F32);
    for call in [
        &attention as &dyn Fn(&reflex_kv_cache) -> Result<String, String>,
        &decode,
    ] {
        assert!(call(&kv(f16, f16, false)).is_ok());
        for (cache, words) in [
            (kv(f16, f16, true), "is for contiguous caches"),
            (kv(f32, f32, true), "is for contiguous caches"),
            (kv(f16, f32, false), "is for K and V of one type"),
        ] {
            let why = call(&cache).expect_err("no kernel");
            assert!(why.matches(words).count() > 3, "{why}");
        }
    }
    // Rope goes by slots: a dense pool is as good as one sequence, and so are two types.
    for table in [false, true] {
        assert!(rope(&kv(f16, f32, table)).is_ok());
        let mut heads_first = kv(f16, f16, table);
        heads_first.k.stride = [16 * 2 * 128, 128, 16 * 128, 2];
        let why = rope(&heads_first).expect_err("no kernel");
        assert!(why.contains("is for caches whose slots are evenly apart"), "{why}");
        // Of one sequence they are.
        (heads_first.k.shape[0], heads_first.v.shape[0]) = (1, 1);
        assert!(rope(&heads_first).is_ok());
    }
}
