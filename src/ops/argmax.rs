use super::op::{self, ANY_SM, Op, Variant};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_context, reflex_status, reflex_stream, reflex_tensor};
use crate::cpu::{self, CpuBackend};
use crate::cuda::{Cuda, Grid, Kernel, kernel_args};
use std::ffi::c_char;

/// Operands of `reflex_argmax`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_argmax_params {
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// `[rows, n]`, F32, F16 or BF16, n at least 1.
    pub x: reflex_tensor,
    /// `[rows]`, I32: index of the greatest element of each row; the lowest index on a tie; NaN counts as less than
    /// everything; 0 when a row is NaN throughout.
    pub ids: reflex_tensor,
    /// Optional, `[m]`, I32: every element is increased by one, after nothing else of this launch reads it. Lets a
    /// captured decode step advance its own positions and lengths.
    pub counters: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_argmax_params {
    const NAME: &'static str = "reflex_argmax_params";
    const MIN_SIZE: usize = 248;
}

#[derive(Clone, Copy)]
pub(crate) struct ArgmaxPlan {
    pub x: View,
    pub ids: View,
    pub counters: Option<View>,
}

impl ArgmaxPlan {
    fn vec8(&self) -> bool {
        self.x.dim(1) % 8 == 0 && self.x.rows_aligned(16)
    }
}

/// The reserved field of a params struct.
pub(super) fn expect_reserved(op: &str, reserved: u32) -> Result<()> {
    match reserved {
        0 => Ok(()),
        value => Err(Error::invalid(format!("{op}: reserved is {value}, expected 0"))),
    }
}

/// `[rows, n]` scores, n at least 1.
pub(super) fn scores(view: View) -> Result<View> {
    let max = i64::from(i32::MAX);
    view.expect_dtype(Dtype::FLOATS)?
        .expect_rank(2..=2)?
        .expect_dim(0, 0..=max)?
        .expect_dim(1, 1..=max / 2)?
        .expect_dense_rows()
}

/// `[count]` integers.
pub(super) fn integers(view: View, count: i64, what: &str) -> Result<View> {
    view.expect_dtype(&[Dtype::I32])?
        .expect_shape(&[count], what)?
        .expect_dense_rows()
}

/// `[m]` integers that the launch increases.
pub(super) fn counters(view: View) -> Result<View> {
    let m = view.dim(0);
    integers(view.expect_rank(1..=1)?, m, "[m]")?.expect_writable()
}

struct Argmax;

impl Op for Argmax {
    const NAME: &'static str = "argmax";
    type Params = reflex_argmax_params;
    type Plan = ArgmaxPlan;

    fn plan(p: &reflex_argmax_params) -> Result<ArgmaxPlan> {
        let op = Self::NAME;
        expect_reserved(op, p.reserved)?;
        let x = scores(View::required(op, "x", &p.x)?)?;
        let ids = integers(View::required(op, "ids", &p.ids)?, x.dim(0), "[rows] of x")?
            .expect_writable()?
            .expect_apart(&x)?;
        let counters = View::optional(op, "counters", &p.counters)?
            .map(|view| counters(view)?.expect_apart(&x)?.expect_apart(&ids))
            .transpose()?;
        Ok(ArgmaxPlan { x, ids, counters })
    }

    fn is_empty(plan: &ArgmaxPlan) -> bool {
        // Counters advance also when there is no row.
        plan.x.is_empty() && plan.counters.is_none_or(|c| c.is_empty())
    }

    fn variants() -> &'static [Variant<ArgmaxPlan>] {
        &VARIANTS
    }

    fn cpu(plan: &ArgmaxPlan, cpu: &CpuBackend) {
        cpu::argmax::argmax(plan, cpu);
    }
}

static VEC8: Kernel = Kernel::new("argmax", c"reflex_argmax_vec8").dependent();
static SCALAR: Kernel = Kernel::new("argmax", c"reflex_argmax_scalar").dependent();

static VARIANTS: [Variant<ArgmaxPlan>; 2] = [
    Variant {
        kernel: &VEC8,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| p.vec8(),
        launch: |p, cuda, _| launch(p, cuda, &VEC8, 8),
    },
    Variant {
        kernel: &SCALAR,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |_, _| true,
        launch: |p, cuda, _| launch(p, cuda, &SCALAR, 1),
    },
];

kernel_args! {
    struct ArgmaxArgs {
        x: *const u8,
        ids: *mut u8,
        counters: *mut u8,
        x_stride: i64,
        rows: i64,
        counter_count: i64,
        n: i32,
        x_type: u32,
    } size 56, x_type at 52
}

fn launch(p: &ArgmaxPlan, cuda: &Cuda, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let (rows, n) = (p.x.dim(0), p.x.dim(1));
    let threads = ((n / per_thread + 31) / 32 * 32).clamp(64, 1024);
    let args = ArgmaxArgs {
        x: p.x.data,
        ids: p.ids.data,
        counters: p.counters.map_or(std::ptr::null_mut(), |v| v.data),
        x_stride: p.x.stride(0),
        rows,
        counter_count: p.counters.map_or(0, |v| v.dim(0)),
        n: n as i32,
        x_type: p.x.dtype.abi().0,
    };
    cuda.launch(kernel, Grid::new([rows.max(1), 1, 1], threads as u32)?, &args)
}

/// Index of the greatest element of each row.
///
/// `ids[r] = min { i : x[r, i] = max_j x[r, j] }`; -0 equals 0; NaN counts as less than everything; 0 when a row is NaN
/// throughout. Then `counters[i] += 1` for every i, wrapping at 2^31.
///
/// Shapes and types: see `reflex_argmax_params`; `ids` and `counters` are dense. Counters advance also when there are no
/// rows. What other launches read of them is ordered by the stream.
///
/// Aliasing: none of `x`, `ids` and `counters` may overlap. No workspace. Asynchronous on `stream`, capturable,
/// thread-safe.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
    stream: reflex_stream,
) -> reflex_status {
    op::launch::<Argmax>(context, params, stream)
}

/// Whether `reflex_argmax` would take these params on this context: its own validation and selection, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax_supported(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
) -> reflex_status {
    op::supported::<Argmax>(context, params)
}

/// Name of the kernel that `reflex_argmax` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_argmax_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_argmax_params,
    name: *mut *const c_char,
) -> reflex_status {
    op::selected_kernel::<Argmax>(context, params, name)
}
