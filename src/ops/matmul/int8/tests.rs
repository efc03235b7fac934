//! The tiling of launches for devices of every size, without a device.

use super::super::*;
use super::shape::{alike, staged_bytes};
use super::*;
use crate::abi::{REFLEX_DTYPE_PACKED, REFLEX_MISALIGNED, REFLEX_WORKSPACE_TOO_SMALL, reflex_dtype};
use crate::cuda::{Device, DeviceLimits};
use crate::ops::choices::{Digest, add_schedule, devices};
use crate::ops::workspace::Workspace;
use crate::runtime::Forced;
use std::ptr::{null_mut, without_provenance_mut};

/// Addresses that nothing reads, apart from one another.
fn tensor(at: &mut usize, dtype: reflex_dtype, shape: [i64; 2]) -> reflex_tensor {
    *at += 1 << 40;
    // Rows of ACT_I8 start at multiples of 16 bytes.
    let row = (shape[1] / 32 * 40 + 15) / 16 * 16;
    reflex_tensor {
        data: without_provenance_mut(*at),
        dtype,
        rank: 2,
        shape: [shape[0], shape[1], 0, 0],
        stride: if dtype == Dtype::ACT_I8.abi() {
            [row, 40, 0, 0]
        } else {
            [0; 4]
        },
    }
}

#[derive(Clone, Copy)]
struct Weight {
    dtype: Dtype,
    packed: bool,
    n: i64,
    y: Dtype,
}

/// A call and the products that its params point to.
struct Call {
    params: reflex_matmul_params,
    _products: Vec<reflex_matmul_product>,
}

impl Call {
    fn plan(&self) -> MatmulPlan {
        Matmul::plan(&self.params).unwrap()
    }
}

fn call(rows: i64, k: i64, x: Dtype, gated: bool, weights: &[Weight]) -> Call {
    let mut at = 0;
    let x = tensor(&mut at, x.abi(), [rows, k]);
    let mut product = |(i, w): (usize, &Weight)| {
        let bit = if w.packed { REFLEX_DTYPE_PACKED.0 } else { 0 };
        let data = tensor(&mut at, reflex_dtype(w.dtype.abi().0 | bit), [w.n, k]);
        reflex_matmul_product {
            weight: reflex_weight {
                data,
                ..Default::default()
            },
            y: match gated && i > 0 {
                true => reflex_tensor::default(),
                false => tensor(&mut at, w.y.abi(), [rows, w.n]),
            },
            ..Default::default()
        }
    };
    let products: Vec<_> = weights.iter().enumerate().map(&mut product).collect();
    let params = reflex_matmul_params {
        flags: REFLEX_MATMUL_INT8 | if gated { REFLEX_MATMUL_GATED } else { 0 },
        x,
        products: products.as_ptr(),
        product_count: products.len() as u32,
        product_size: size_of::<reflex_matmul_product>() as u32,
        ..Default::default()
    };
    Call {
        params,
        _products: products,
    }
}

/// The tiling of the first candidate that takes the plan and pays.
fn layout(plan: &MatmulPlan, limits: &DeviceLimits, most_cluster: i64) -> Layout {
    let fits = |c: &Candidate<MatmulPlan>| (c.takes)(plan, limits).is_ok() && (c.pays)(plan, limits).is_ok();
    let (_, shape) = select::TILED.iter().find(|(c, _)| fits(c)).expect("a candidate");
    Layout::new(plan, shape(plan, limits), limits, most_cluster)
}

/// The schedule with a workspace.
fn scheduled(plan: &MatmulPlan, limits: &DeviceLimits, data: *mut c_void, bytes: usize) -> Result<usize> {
    let forced = Forced::default();
    let mut schedule = Schedule::new(Device::described(limits), &forced, Workspace { data, bytes });
    schedule.add::<Matmul>(plan)?;
    schedule.check_workspace("matmul").map(|()| schedule.workspace_bytes())
}

/// Every pair of formats, and of layouts, in every use of two.
fn weights(n: i64) -> Vec<(bool, Vec<Weight>)> {
    weights_of(Dtype::BLOCKS, n)
}

fn weights_of(formats: &[Dtype], n: i64) -> Vec<(bool, Vec<Weight>)> {
    let y = if n % 32 == 0 { Dtype::ACT_I8 } else { Dtype::F32 };
    let mut all = Vec::new();
    for &dtype in formats {
        for packed in [false, true] {
            let first = Weight { dtype, packed, n, y };
            all.push((false, vec![first]));
            for &dtype in formats {
                for packed in [false, true] {
                    let second = Weight { dtype, packed, ..first };
                    all.push((true, vec![first, second]));
                    let third = Weight {
                        n: 48,
                        y: Dtype::F32,
                        ..second
                    };
                    all.push((false, vec![third, first, second]));
                }
            }
        }
    }
    all
}

/// The most warps of a block for which the kernel of a shape is compiled.
fn most_warps(shape: Shape) -> i64 {
    match shape {
        Shape::Wide | Shape::WideNative => 4,
        Shape::Whole(_) => 2 * WARPS,
        Shape::Narrow => WARPS + WARPS / 2,
        Shape::Native | Shape::Columns(_) | Shape::Few(..) => WARPS,
        Shape::Shared(columns) => shared::most_warps(columns),
    }
}

#[test]
fn every_launch_is_one_that_its_kernel_can_run() {
    for n in [17, 64, 9728] {
        for (gated, weights) in weights(n) {
            for (rows, k) in [
                (1, 256),
                (1, 2560),
                (2, 512),
                (9, 9728),
                (33, 2560),
                (64, 256),
                (100, 1024),
            ] {
                let plan = call(rows, k, Dtype::ACT_I8, gated, &weights).plan();
                for (limits, most_cluster) in devices().flat_map(|limits| [(limits, 1), (limits, 8), (limits, 16)]) {
                    let layout = layout(&plan, &limits, most_cluster);
                    let what = || {
                        let names: Vec<&str> = weights.iter().map(|w| w.dtype.name()).collect();
                        format!("{rows} x {k}, n {n}, {names:?}, gated {gated}, {limits:?}")
                    };
                    let most = most_warps(layout.shape);
                    assert!((1..=most_cluster.min(8)).contains(&layout.cluster), "{}", what());
                    assert!(
                        layout.cluster == 1 || matches!(layout.shape, Shape::Shared(_)),
                        "{}",
                        what()
                    );
                    assert!((1..=most).contains(&layout.warps), "{} warps: {}", layout.warps, what());
                    assert!(layout.shared <= i64::from(limits.shared_per_block), "{}", what());
                    let share = if gated { layout.panels / 2 } else { layout.panels };
                    for part in plan.parts() {
                        let (splits, panels) = (layout.splits(part), layout.shape.panels(&part.weight));
                        assert!(splits >= 1 && layout.warps % splits == 0, "{}", what());
                        // Each warp's panels, and all of the block's.
                        assert_eq!(layout.warps / splits * panels, layout.panels, "{}", what());
                        let shape = layout.shape;
                        let least = shape.stages(part.weight.dtype) * panels * shape.stage_bytes(part);
                        assert!(layout.ring_bytes >= least, "{}", what());
                        assert!(layout.shared >= splits * layout.panels * PANEL * layout.shape.columns() * 4);
                        if let Shape::Shared(_) = shape {
                            assert!(layout.panels % 4 == 0, "whole warpgroups: {}", what());
                        }
                        // A warp has one format.
                        assert!(!gated || alike(&plan) || share % panels == 0, "{}", what());
                        if part.y.dtype == Dtype::ACT_I8 {
                            assert!(share % 2 == 0, "whole blocks of ACT_I8: {}", what());
                        }
                    }
                    assert_eq!(layout.ring_bytes % 16, 0);
                }
            }
        }
    }
}

/// The panels, warps and cluster of a block are those that were the fastest of some on an H200, or within a twentieth
/// of it.
#[test]
fn several_rows_have_the_tiling_that_was_fastest() {
    let limits = devices().find(|limits| limits.sm == 90).unwrap();
    for (rows, n, k, fastest) in [
        (2, 4096, 14336, (2, 8, 1)),
        (8, 4096, 14336, (2, 8, 1)),
        (8, 6144, 2560, (2, 4, 1)),
        (8, 151936, 2560, (2, 2, 1)),
        (16, 4096, 14336, (2, 8, 1)),
        (16, 2560, 9728, (2, 8, 1)),
        (16, 151936, 2560, (4, 4, 1)),
        (16, 19456, 2560, (12, 12, 1)),
        (32, 4096, 14336, (4, 12, 2)),
        (32, 2560, 4096, (4, 8, 2)),
        (32, 6144, 2560, (4, 8, 1)),
        (32, 19456, 2560, (12, 12, 1)),
        (32, 151936, 2560, (4, 4, 1)),
        (64, 4096, 14336, (4, 8, 2)),
        (64, 2560, 4096, (4, 8, 2)),
        (64, 6144, 2560, (4, 8, 1)),
        (64, 19456, 2560, (12, 12, 1)),
        (64, 151936, 2560, (12, 12, 1)),
    ] {
        let weight = Weight {
            dtype: Dtype::Q4_K,
            packed: true,
            n,
            y: Dtype::F32,
        };
        let plan = call(rows, k, Dtype::ACT_I8, false, &[weight]).plan();
        let layout = layout(&plan, &limits, 8);
        let tiling = (layout.panels, layout.warps, layout.cluster);
        assert_eq!(tiling, fastest, "{rows} rows of {n} x {k}");
    }
}

/// By its shared memory an SM has room for its share of the blocks of a launch of one row, and for no more, where
/// launches overlap.
#[test]
fn an_sm_has_room_for_its_share_of_one_launch() {
    for (sm, n, k, most) in [
        (90, 4096, 14336, Some(2)),
        (90, 3584, 18944, Some(2)),
        (90, 2560, 9728, Some(2)),
        (90, 2048, 14336, Some(1)),
        (90, 4096, 4096, None),
        (90, 6144, 2560, None),
        (87, 256, 14336, None),
    ] {
        let limits = devices().find(|limits| limits.sm == sm).unwrap();
        let weight = Weight {
            dtype: Dtype::Q4_K,
            packed: true,
            n,
            y: Dtype::F32,
        };
        let plan = call(1, k, Dtype::ACT_I8, false, &[weight]).plan();
        let layout = layout(&plan, &limits, 8);
        assert!(matches!(layout.shape, Shape::Whole(_)), "{n} x {k} on {sm}");
        let alone = layout.shape == Shape::Whole(Q4_K_ALONE);
        assert_eq!(alone, k > 24 * TILE, "{n} x {k} on {sm}");
        if most == Some(2) {
            assert!(
                layout.warps > WARPS && layout.warps <= WARPS + WARPS / 2,
                "{n} x {k} on {sm}"
            );
        }
        let needed = layout.front_bytes + layout.warps * PANEL * 4;
        let blocks = (i64::from(limits.shared_per_block) + 1024) / (layout.shared + 1024);
        match most {
            Some(most) => assert_eq!(blocks, most, "{n} x {k} on {sm}"),
            None => assert_eq!(layout.shared, needed, "{n} x {k} on {sm}"),
        }
    }
}

#[test]
fn sums_have_one_order_for_any_number_of_rows() {
    for (gated, weights) in weights(64) {
        for k in [256, 1024, 2560, 9728] {
            for limits in devices() {
                let splits = |rows: i64, flags: u32| {
                    let mut call = call(rows, k, Dtype::ACT_I8, gated, &weights);
                    call.params.flags |= flags;
                    let plan = call.plan();
                    let layout = layout(&plan, &limits, 8);
                    plan.parts().map(|part| layout.splits(part)).collect::<Vec<_>>()
                };
                let alone = splits(1, REFLEX_MATMUL_BATCH_INVARIANT);
                for rows in [2, 8, 9, 17, 33, 64, 200] {
                    assert_eq!(splits(rows, REFLEX_MATMUL_BATCH_INVARIANT), alone, "{rows} rows of {k}");
                }
            }
        }
    }
}

#[test]
fn a_float_x_is_quantised_in_the_workspace() {
    let weight = Weight {
        dtype: Dtype::Q4_K,
        packed: true,
        n: 64,
        y: Dtype::F32,
    };
    let limits = devices().next().unwrap();
    let orin = devices().find(|limits| limits.sm == 87).unwrap();
    let bytes = |rows, k, x| {
        let plan = call(rows, k, x, false, &[weight]).plan();
        scheduled(&plan, &orin, Workspace::ANY.data, usize::MAX).unwrap()
    };
    assert_eq!(bytes(3, 512, Dtype::ACT_I8), 0);
    assert_eq!(bytes(3, 512, Dtype::F32), 3 * 640);
    assert_eq!(bytes(64, 256, Dtype::BF16), 64 * 320);
    assert_eq!(bytes(16, 512, Dtype::ACT_I8), 0);
    // With more than sixteen rows and packed weights of two tiles at least, there is x in f16 as well.
    assert_eq!(bytes(17, 512, Dtype::ACT_I8), 2 * 4 * 4384);
    let aligned = |bytes: usize| bytes.next_multiple_of(Workspace::ALIGNMENT);
    assert_eq!(bytes(33, 512, Dtype::F32), aligned(33 * 640) + 2 * 8 * 4384);
    assert_eq!(bytes(65, 512, Dtype::ACT_I8), 2 * 2 * 8 * 4384);
    // x in f16 is there in each layout that a format of the call reads.
    let both = [
        weight,
        Weight {
            dtype: Dtype::Q6_K,
            ..weight
        },
    ];
    let plan = call(17, 512, Dtype::ACT_I8, false, &both).plan();
    let bytes = scheduled(&plan, &orin, Workspace::ANY.data, usize::MAX).unwrap();
    assert_eq!(bytes, aligned(2 * 4 * 4384) + 2 * 4 * 4640);

    let check = |data, bytes| {
        let plan = call(3, 512, Dtype::F16, false, &[weight]).plan();
        scheduled(&plan, &limits, data, bytes)
    };
    let refused = |data, bytes| check(data, bytes).err().map(|e| (e.status, e.message));
    for (data, bytes) in [(null_mut(), 0), (null_mut(), 4096), (without_provenance_mut(256), 1919)] {
        let (status, message) = refused(data, bytes).unwrap();
        assert_eq!(status, REFLEX_WORKSPACE_TOO_SMALL);
        assert!(
            message.starts_with("workspace is")
                && message.contains("expected 1920 bytes")
                && message.contains("1920 for x in 8 bits"),
            "{message}"
        );
    }
    let (status, message) = refused(without_provenance_mut(128), 4096).unwrap();
    assert!(
        status == REFLEX_MISALIGNED && message.contains("expected a multiple of 256"),
        "{message}"
    );
    assert!(check(without_provenance_mut(256), 1920).is_ok());
}

/// No number that `REFLEX_TUNING` may set leads to a launch that its kernel cannot run.
#[test]
fn every_number_of_a_table_leads_to_a_launch_that_its_kernel_can_run() {
    let extremes = crate::tuning::extremes(&Default::default());
    for n in [64, 9728] {
        for (gated, weights) in weights_of(&[Dtype::Q4_K, Dtype::Q6_K], n) {
            for (rows, k) in [(1, 2560), (1, 14336), (8, 2560), (16, 9728), (33, 2560)] {
                let plan = call(rows, k, Dtype::ACT_I8, gated, &weights).plan();
                for tuning in &extremes {
                    for limits in devices().map(|limits| DeviceLimits {
                        tuning: *tuning,
                        ..limits
                    }) {
                        let l = layout(&plan, &limits, 8);
                        let what = || format!("{rows} x {k}, n {n}, gated {gated}, {limits:?}");
                        assert!(
                            (1..=most_warps(l.shape)).contains(&l.warps),
                            "{} warps: {}",
                            l.warps,
                            what()
                        );
                        assert!(l.shared <= i64::from(limits.shared_per_block), "{}", what());
                        for part in plan.parts() {
                            let (splits, panels) = (l.splits(part), l.shape.panels(&part.weight));
                            assert!(splits >= 1 && l.warps / splits * panels == l.panels, "{}", what());
                        }
                    }
                }
            }
        }
    }
}

/// Candidates, tilings and scratch of calls of every kind on devices of every size.
#[test]
fn everything_is_tiled_as_before() {
    const FORMATS: [Dtype; 4] = [Dtype::Q4_K, Dtype::Q6_K, Dtype::Q8_0, Dtype::IQ4_XS];
    let mut digest = Digest::new();
    for n in [17, 64, 2560, 9728, 151_936] {
        for (gated, weights) in weights_of(&FORMATS, n) {
            for k in [256, 2560, 6144, 6400, 14336] {
                for rows in [1, 2, 8, 9, 16, 17, 33, 100] {
                    let mut call = call(rows, k, Dtype::ACT_I8, gated, &weights);
                    for flags in [0, REFLEX_MATMUL_BATCH_INVARIANT] {
                        call.params.flags |= flags;
                        let plan = call.plan();
                        for (limits, most_cluster) in devices().flat_map(|limits| [(limits, 1), (limits, 8)]) {
                            let l = layout(&plan, &limits, most_cluster);
                            let splits: i64 = plan.parts().map(|part| l.splits(part)).sum();
                            let tiling = [
                                l.panels,
                                l.warps,
                                l.cluster,
                                l.ring_bytes,
                                l.front_bytes,
                                l.shared,
                                splits,
                            ];
                            digest.line(format_args!("{} {tiling:?}", l.shape.kernel().name()));
                        }
                    }
                }
            }
        }
    }
    let weight = Weight {
        dtype: Dtype::Q4_K,
        packed: false,
        n: 4096,
        y: Dtype::F32,
    };
    for (flags, packed) in [
        (0, false),
        (0, true),
        (REFLEX_MATMUL_INT8, false),
        (REFLEX_MATMUL_INT8, true),
    ] {
        for rows in [1, 2, 3, 8, 9, 31, 64, 65, 512] {
            for k in [256, 512, 4096, 14336] {
                let mut call = call(rows, k, Dtype::F32, false, &[Weight { packed, ..weight }]);
                call.params.flags = flags;
                let plan = call.plan();
                devices().for_each(|limits| add_schedule::<Matmul>(&mut digest, &plan, &limits));
            }
        }
    }
    assert_eq!(digest.value(), 0x5cb6_f223_ff9e_c3e9, "{:#x}", digest.value());
}

#[test]
fn staged_rows_are_an_odd_number_of_words_apart_and_hold_any_alignment() {
    for &dtype in Dtype::BLOCKS {
        let (row, bytes) = (staged_bytes(dtype) / PANEL, tile_bytes(dtype) / PANEL);
        let align = 1 << (16 | dtype.block_bytes()).trailing_zeros();
        let window = (16 - align + bytes + 15) / 16 * 16;
        assert_eq!(row % 32, 16, "{}", dtype.name());
        assert!((window..window + 32).contains(&row), "{}: {row}", dtype.name());
    }
    assert_eq!(staged_bytes(Dtype::Q4_K), 16 * 144);
    assert_eq!(staged_bytes(Dtype::Q8_0), 16 * 304);
    assert_eq!(staged_bytes(Dtype::Q6_K), 16 * 240);
}
