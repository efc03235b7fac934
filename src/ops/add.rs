//! The op `add`: the sum of two tensors.

use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, Rows, vec8};
use super::schedule::{Candidate, Schedule, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::cuda::{Kernel, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// Operands of `reflex_add`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_add_params {
    pub struct_size: u32,
    /// The factor of `b`. It is finite and may be negative; 0 selects 1.
    pub scale: f32,
    /// `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    pub a: reflex_tensor,
    /// The shape of `a`, or `[n]`, which is added to every row.
    pub b: reflex_tensor,
    /// The shape of `a`. It may be `a` itself, or `b` itself when `b` has the shape of `a`.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_add_params {
    const MIN_SIZE: usize = 248;
}

#[derive(Clone, Copy)]
pub(crate) struct AddPlan {
    pub rows: Rows,
    pub n: i64,
    pub scale: f32,
    pub a: View,
    /// It has the shape of `a`, or is one row for all rows of `a`.
    pub b: View,
    pub y: View,
}

impl AddPlan {
    /// A plan of views whose types and shapes go together.
    pub fn of(a: View, b: View, scale: f32, y: View) -> Result<AddPlan> {
        let last = a.rank() - 1;
        Ok(AddPlan {
            rows: Rows::of(&a)?,
            n: a.dim(last),
            scale,
            a,
            b,
            y,
        })
    }

    fn vec8(&self) -> bool {
        vec8([Some(&self.a), Some(&self.b), Some(&self.y)])
    }
}

pub(crate) struct Add;

impl Op for Add {
    const NAME: &'static str = "add";
    type Params = reflex_add_params;
    type Plan = AddPlan;

    fn plan(p: &reflex_add_params) -> Result<AddPlan> {
        if !p.scale.is_finite() {
            return Err(Error::invalid(format!(
                "scale is {}, expected a finite number",
                p.scale
            )));
        }
        let a = View::required("a", &p.a)?;
        a.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        let last = a.rank() - 1;
        let b = View::required("b", &p.b)?;
        b.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        if b.dims() != [a.dim(last)] {
            b.expect_shape(a.dims(), "the shape of a, or [n]")?;
        }
        let y = View::required("y", &p.y)?;
        y.expect_dtype(Dtype::FLOATS)?
            .expect_shape(a.dims(), "the shape of a")?
            .expect_dense_rows()?;
        AddPlan::of(a, b, if p.scale == 0.0 { 1.0 } else { p.scale }, y)
    }

    fn operands<'a>(plan: &'a AddPlan, to: &mut Operands<'a>) {
        to.read(&plan.a).read(&plan.b);
        // A row that serves all the others is no view of their shape: it may not be one of them.
        to.write(&plan.y, InPlace::of(&["a", "b"]));
    }

    fn is_empty(plan: &AddPlan) -> bool {
        plan.a.is_empty()
    }

    fn candidates() -> &'static [Candidate<AddPlan>] {
        &CANDIDATES
    }
}

static VEC8: Kernel = Kernel::new("add", c"reflex_add_vec8").dependent();
static SCALAR: Kernel = Kernel::new("add", c"reflex_add_scalar").dependent();

static CANDIDATES: [Candidate<AddPlan>; 2] = [
    Candidate::new(
        "vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule(p, to, &VEC8, 8),
    ),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR, 1)),
];

kernel_args! {
    struct AddArgs {
        a: *const u8,
        b: *const u8,
        y: *mut u8,
        a_stride: [i64; 3],
        b_stride: [i64; 3],
        y_stride: [i64; 3],
        extent1: i32,
        extent2: i32,
        n: i32,
        chunks: i32,
        a_type: u32,
        b_type: u32,
        y_type: u32,
        scale: f32,
    } size 128, scale at 124
}

fn schedule(p: &AddPlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let (grid, chunks) = p.rows.elementwise(p.n, per_thread)?;
    let args = AddArgs {
        a: p.a.data,
        b: p.b.data,
        y: p.y.data,
        a_stride: Rows::strides(&p.a),
        // All strides are 0 for a broadcast row.
        b_stride: Rows::strides(&p.b),
        y_stride: Rows::strides(&p.y),
        extent1: p.rows.extent[1],
        extent2: p.rows.extent[2],
        n: p.n as i32,
        chunks,
        a_type: p.a.dtype.abi().0,
        b_type: p.b.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
        scale: p.scale,
    };
    to.main(kernel, grid, &args);
    Ok(())
}

/// Adds a scaled tensor to another: a residual, or a bias on every row.
///
/// `y = a + scale * b`. The sum is rounded once in f32 (fused multiply-add), and then to the type of `y`.
///
/// Shapes and types: see `reflex_add_params`; every operand may have its own float type.
///
/// Aliasing: `y` may be exactly `a`, or exactly `b` when that has the shape of `a` (in place). It shares no other byte
/// with either, nor with itself. The op needs no workspace. The call is asynchronous on `stream`, capturable and
/// thread-safe.
///
/// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows. Infinities and NaN follow IEEE
/// 754.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_add(
    context: *const reflex_context,
    params: *const reflex_add_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Add>(context, params, stream)
}

/// Says by its status whether `reflex_add` would take these params on this context. It does the validation and the
/// selection of `reflex_add`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_add_supported(
    context: *const reflex_context,
    params: *const reflex_add_params,
) -> reflex_status {
    call::supported::<Add>(context, params)
}

/// Sets `*name` to the kernel that `reflex_add` would launch. The name is a static string: `"cpu"` on the CPU backend,
/// `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_add_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_add_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Add>(context, params, name)
}
