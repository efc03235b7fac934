//! The op `argmax`: the index of the largest element of each row.

use super::call;
use super::fields::expect_reserved;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, data, vec8};
use super::schedule::{Candidate, Schedule, Takes, only};
use super::workspace::workspace_fields;
use crate::abi::{Dtype, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::{ARGMAX_SPLIT_THREADS, ARGMAX_SPLITS, ARGMAX_THREADS};
use crate::cuda::{DeviceLimits, Grid, Kernel, ceil_div, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::{c_char, c_void};

/// Operands of `reflex_argmax`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_argmax_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// `[rows, n]`, F32, F16 or BF16, n at least 1.
    pub x: reflex_tensor,
    /// `[rows]`, I32: receives the index of the greatest element of each row. On a tie that is the lowest index. NaN
    /// counts as less than everything, and a row that is NaN throughout gives 0.
    pub ids: reflex_tensor,
    /// Optional, `[m]`, I32: every element is increased by one (2^31 - 1 becomes -2^31) once nothing else of this
    /// launch reads it. A captured decode step advances its own positions and lengths by this.
    pub counters: reflex_tensor,
    /// Optional scratch of `reflex_argmax_workspace_size` bytes, 256-byte aligned. With it several blocks share a long
    /// row where there are few rows. The library keeps nothing in it from one call to the next: one workspace with the
    /// largest size that any call asks for serves all calls of a stream, of every op. Calls that may run at the same
    /// time need a workspace each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_argmax_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_argmax_params {
    const MIN_SIZE: usize = 248;
}

#[derive(Clone, Copy)]
pub(crate) struct ArgmaxPlan {
    pub x: View,
    pub ids: View,
    pub counters: Option<View>,
    /// The caller gave scratch.
    pub workspace: bool,
}

impl ArgmaxPlan {
    /// The number of blocks that share a row, and the elements of each. There are enough blocks to keep the device busy.
    fn splits(&self, limits: &DeviceLimits) -> [i64; 2] {
        let (rows, n) = (self.x.dim(0), self.x.dim(1));
        let tuning = &limits.tuning.argmax;
        let wanted = tuning.blocks_per_sm * i64::from(limits.sm_count) / rows.max(1);
        if rows == 0 || n < tuning.split_row || wanted < 2 {
            return [1, n];
        }
        let splits = wanted.min(n / tuning.split_elements).min(ARGMAX_SPLITS);
        // The chunk is a multiple of what a block takes in one round.
        let round = 8 * ARGMAX_SPLIT_THREADS;
        let chunk = ceil_div(ceil_div(n, splits), round) * round;
        [ceil_div(n, chunk), chunk]
    }

    /// Whether several blocks share a row.
    fn split(&self, limits: &DeviceLimits) -> Takes {
        only(self.workspace, "calls with a workspace")?;
        only(self.splits(limits)[0] > 1, "few long rows")
    }

    fn vec8(&self) -> bool {
        vec8([Some(&self.x)])
    }
}

/// Checks scores: `[rows, n]`, n at least 1.
pub(super) fn scores(view: View) -> Result<View> {
    let max = i64::from(i32::MAX);
    view.expect_dtype(Dtype::FLOATS)?
        .expect_rank(2..=2)?
        .expect_dim(0, 0..=max)?
        .expect_dim(1, 1..=max / 2)?
        .expect_dense_rows()?;
    Ok(view)
}

/// Checks integers: `[count]`.
pub(super) fn integers(view: View, count: i64, what: &str) -> Result<View> {
    view.expect_dtype(&[Dtype::I32])?
        .expect_shape(&[count], what)?
        .expect_dense_rows()?;
    Ok(view)
}

/// Checks the integers that the launch increases: `[m]`.
pub(super) fn counters(view: View) -> Result<View> {
    view.expect_rank(1..=1)?;
    integers(view, view.dim(0), "[m]")
}

pub(crate) struct Argmax;

impl Op for Argmax {
    const NAME: &'static str = "argmax";
    type Params = reflex_argmax_params;
    type Plan = ArgmaxPlan;

    fn plan(p: &reflex_argmax_params) -> Result<ArgmaxPlan> {
        expect_reserved(p.reserved)?;
        let x = scores(View::required("x", &p.x)?)?;
        let ids = integers(View::required("ids", &p.ids)?, x.dim(0), "[rows] of x")?;
        let counters = View::optional("counters", &p.counters)?.map(counters).transpose()?;
        Ok(ArgmaxPlan {
            x,
            ids,
            counters,
            workspace: !p.workspace.is_null() || p.workspace_size > 0,
        })
    }

    fn operands<'a>(plan: &'a ArgmaxPlan, to: &mut Operands<'a>) {
        to.read(&plan.x);
        to.write(&plan.ids, InPlace::NO);
        to.write(plan.counters.as_ref(), InPlace::NO);
    }

    fn is_empty(plan: &ArgmaxPlan) -> bool {
        // Counters advance also when there is no row.
        plan.x.is_empty() && plan.counters.is_none_or(|c| c.is_empty())
    }

    fn candidates() -> &'static [Candidate<ArgmaxPlan>] {
        &CANDIDATES
    }

    workspace_fields!(reflex_argmax_params);
}

static SPLIT_VEC8: Kernel = Kernel::new("argmax", c"reflex_argmax_split_vec8").dependent();
static SPLIT: Kernel = Kernel::new("argmax", c"reflex_argmax_split_scalar").dependent();
static COMBINE: Kernel = Kernel::new("argmax", c"reflex_argmax_combine").dependent();

static VEC8: Kernel = Kernel::new("argmax", c"reflex_argmax_vec8").dependent();
static SCALAR: Kernel = Kernel::new("argmax", c"reflex_argmax_scalar").dependent();

static CANDIDATES: [Candidate<ArgmaxPlan>; 4] = [
    Candidate::new(
        "split_vec8",
        |p, limits| p.split(limits).and(only(p.vec8(), FOR_VEC8)),
        |p, to| schedule_split(p, to, &SPLIT_VEC8),
    ),
    Candidate::new(
        "split",
        |p, limits| p.split(limits),
        |p, to| schedule_split(p, to, &SPLIT),
    ),
    Candidate::new(
        "vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule(p, to, &VEC8, 8),
    ),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR, 1)),
];

kernel_args! {
    struct ArgmaxArgs {
        x: *const u8,
        ids: *mut u8,
        counters: *mut u8,
        partial: *mut c_void,
        x_stride: i64,
        rows: i64,
        counter_count: i64,
        n: i32,
        x_type: u32,
        splits: i32,
        chunk: i32,
    } size 72, chunk at 68
}

impl ArgmaxArgs {
    fn new(p: &ArgmaxPlan, partial: *mut c_void, [splits, chunk]: [i64; 2]) -> ArgmaxArgs {
        ArgmaxArgs {
            x: p.x.data,
            ids: p.ids.data,
            counters: data(&p.counters),
            partial,
            x_stride: p.x.stride(0),
            rows: p.x.dim(0),
            counter_count: p.counters.map_or(0, |v| v.dim(0)),
            n: p.x.dim(1) as i32,
            x_type: p.x.dtype.abi().0,
            splits: splits as i32,
            chunk: chunk as i32,
        }
    }
}

fn schedule(p: &ArgmaxPlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let (rows, n) = (p.x.dim(0), p.x.dim(1));
    let threads = ((n / per_thread + 31) / 32 * 32).clamp(64, ARGMAX_THREADS);
    let args = ArgmaxArgs::new(p, std::ptr::null_mut(), [1, n]);
    to.main(kernel, Grid::new([rows.max(1), 1, 1], threads as u32)?, &args);
    Ok(())
}

fn schedule_split(p: &ArgmaxPlan, to: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    let splits = p.splits(to.limits());
    let (rows, threads) = (p.x.dim(0), ARGMAX_SPLIT_THREADS as u32);
    let partial = to.book(
        "the greatest of each split",
        (rows * splits[0]) as usize * size_of::<u64>(),
    );
    let args = ArgmaxArgs::new(p, partial.cast(), splits);
    to.main(kernel, Grid::new([rows * splits[0], 1, 1], threads)?, &args);
    let threads = ceil_div(splits[0], 32) * 32;
    to.launch(&COMBINE, Grid::new([rows, 1, 1], threads as u32)?, &args);
    Ok(())
}

/// Finds the index of the greatest element of each row.
///
/// `ids[r] = min { i : x[r, i] = max_j x[r, j] }`. -0 equals 0, NaN counts as less than everything, and a row that is
/// NaN throughout gives 0. Then `counters[i] += 1` for every i, where 2^31 - 1 becomes -2^31.
///
/// Shapes and types: see `reflex_argmax_params`; `ids` and `counters` are dense. Counters advance also when there are
/// no rows. What other launches read of them is ordered by the stream.
///
/// Aliasing: no two of `x`, `ids`, `counters` and `workspace` share a byte. Workspace: it is optional. With it several
/// blocks share a long row where there are few rows, and a second launch combines their results, which is faster and
/// gives the same ids. Its contents need not be kept, and launches that may run at the same time need one each. The
/// call is asynchronous on `stream`, capturable and thread-safe.
///
/// Limits: n is 1 to 2^30 - 1, and there are at most 2^31 - 1 rows. Infinity is greater than every other element, and
/// minus infinity is greater than NaN alone.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Argmax>(context, params, stream)
}

/// Sets `*bytes` to the scratch with which `reflex_argmax` is fastest for these params on this context. It is 0 where
/// scratch would not help, and on the CPU backend. The function does not look at the workspace fields of the params.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax_workspace_size(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<Argmax>(context, params, bytes)
}

/// Says by its status whether `reflex_argmax` would take these params on this context. It does the validation and the
/// selection of `reflex_argmax`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax_supported(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
) -> reflex_status {
    call::supported::<Argmax>(context, params)
}

/// Sets `*name` to the kernel that `reflex_argmax` would launch first. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Argmax>(context, params, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(rows: i64, n: i64, sm_count: u32) -> [i64; 2] {
        let tensor = |dtype, rank, shape| reflex_tensor {
            data: 256 as *mut c_void,
            dtype,
            rank,
            shape,
            stride: [0; 4],
        };
        let view = |name, tensor| View::required(name, &tensor).expect("a view");
        let plan = ArgmaxPlan {
            x: view("x", tensor(Dtype::F32.abi(), 2, [rows, n, 0, 0])),
            ids: view("ids", tensor(Dtype::I32.abi(), 1, [rows, 0, 0, 0])),
            counters: None,
            workspace: true,
        };
        let limits = DeviceLimits {
            sm_count,
            ..Default::default()
        };
        plan.splits(&limits)
    }

    #[test]
    fn splits_cover_the_row_and_none_is_empty() {
        for sm_count in [8, 16, 132] {
            for n in [32001, 32768, 32769, 151_936, 262_144, i64::from(i32::MAX / 2)] {
                for rows in [0, 1, 3, 8, 100, 1 << 20] {
                    let [splits, chunk] = splits(rows, n, sm_count);
                    assert!((1..=ARGMAX_SPLITS).contains(&splits));
                    assert!(
                        splits * chunk >= n && (splits - 1) * chunk < n,
                        "{splits} of {chunk} for {n}"
                    );
                    assert!(i32::try_from(splits * chunk).is_ok() && (splits == 1 || chunk % 8 == 0));
                }
            }
        }
    }

    #[test]
    fn few_long_rows_are_split() {
        assert_eq!(splits(1, 32000, 132)[0], 1);
        assert_eq!(splits(300, 151_936, 132)[0], 1);
        assert!((24..=64).contains(&splits(1, 151_936, 132)[0]));
        assert!((8..=16).contains(&splits(1, 151_936, 8)[0]));
    }
}
