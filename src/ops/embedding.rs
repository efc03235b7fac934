//! The op `embedding`: rows of a table by ids.

use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, vec8};
use super::schedule::{Candidate, Schedule, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::EMBEDDING_THREADS;
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// Operands of `reflex_embedding`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_embedding_params {
    pub struct_size: u32,
    /// The factor of every element. It is finite and may be negative; 0 selects 1.
    pub scale: f32,
    /// `[vocab, dim]`, any weight type, packed or not. `reflex_embedding` says how block formats are aligned.
    pub table: reflex_tensor,
    /// `[tokens]`, I32, read on the device. An id outside the table gives a row of NaN.
    pub ids: reflex_tensor,
    /// `[tokens, dim]`, F32, F16 or BF16.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_embedding_params {
    const MIN_SIZE: usize = 248;
}

#[derive(Clone, Copy)]
pub(crate) struct EmbeddingPlan {
    pub scale: f32,
    pub table: View,
    pub ids: View,
    pub y: View,
}

impl EmbeddingPlan {
    fn vec8(&self) -> bool {
        vec8([Some(&self.y)])
    }
}

pub(crate) struct Embedding;

impl Op for Embedding {
    const NAME: &'static str = "embedding";
    type Params = reflex_embedding_params;
    type Plan = EmbeddingPlan;

    fn plan(p: &reflex_embedding_params) -> Result<EmbeddingPlan> {
        if !p.scale.is_finite() {
            return Err(Error::invalid(format!(
                "scale is {}, expected a finite number",
                p.scale
            )));
        }
        let table = View::weight("table", &p.table)?;
        table
            .expect_dtype(Dtype::WEIGHTS)?
            .expect_rank(2..=2)?
            .expect_dense_rows()?
            .expect_aligned_blocks()?
            .expect_dim(1, 0..=1 << 30)?;
        let ids = View::required("ids", &p.ids)?;
        ids.expect_dtype(&[Dtype::I32])?.expect_rank(1..=1)?;
        let y = View::required("y", &p.y)?;
        y.expect_dtype(Dtype::FLOATS)?
            .expect_shape(&[ids.dim(0), table.dim(1)], "[tokens] of ids, [dim] of table")?
            .expect_dense_rows()?;
        Ok(EmbeddingPlan {
            scale: if p.scale == 0.0 { 1.0 } else { p.scale },
            table,
            ids,
            y,
        })
    }

    fn operands<'a>(plan: &'a EmbeddingPlan, to: &mut Operands<'a>) {
        to.read(&plan.table).read(&plan.ids);
        to.write(&plan.y, InPlace::NO);
    }

    fn is_empty(plan: &EmbeddingPlan) -> bool {
        plan.y.is_empty()
    }

    fn candidates() -> &'static [Candidate<EmbeddingPlan>] {
        &CANDIDATES
    }
}

static VEC8: Kernel = Kernel::new("embedding", c"reflex_embedding_vec8").dependent();
static SCALAR: Kernel = Kernel::new("embedding", c"reflex_embedding").dependent();
static PACKED_VEC8: Kernel = Kernel::new("embedding", c"reflex_embedding_packed_vec8").dependent();
static PACKED: Kernel = Kernel::new("embedding", c"reflex_embedding_packed").dependent();

const NATIVE: &str = "tables that are not packed";
const PACKED_TABLES: &str = "packed tables";

static CANDIDATES: [Candidate<EmbeddingPlan>; 4] = [
    Candidate::new(
        "vec8",
        |p, _| only(!p.table.packed, NATIVE).and(only(p.vec8(), FOR_VEC8)),
        |p, to| schedule(p, to, &VEC8),
    ),
    Candidate::new(
        "scalar",
        |p, _| only(!p.table.packed, NATIVE),
        |p, to| schedule(p, to, &SCALAR),
    ),
    Candidate::new(
        "packed_vec8",
        |p, _| only(p.table.packed, PACKED_TABLES).and(only(p.vec8(), FOR_VEC8)),
        |p, to| schedule(p, to, &PACKED_VEC8),
    ),
    Candidate::new(
        "packed_scalar",
        |p, _| only(p.table.packed, PACKED_TABLES),
        |p, to| schedule(p, to, &PACKED),
    ),
];

kernel_args! {
    struct EmbeddingArgs {
        table: *const u8,
        ids: *const u8,
        y: *mut u8,
        table_stride: i64,
        id_stride: i64,
        y_stride: i64,
        vocab: i64,
        tokens: i64,
        dim: i32,
        pieces: i32,
        table_type: u32,
        y_type: u32,
        scale: f32,
        table_vec: i32,
    } size 88, table_vec at 84
}

fn schedule(p: &EmbeddingPlan, to: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    let (tokens, dim) = (p.y.dim(0), p.y.dim(1));
    let pieces = ceil_div(dim, 8);
    let args = EmbeddingArgs {
        table: p.table.data,
        ids: p.ids.data,
        y: p.y.data,
        table_stride: p.table.stride(0),
        id_stride: p.ids.stride(0),
        y_stride: p.y.stride(0),
        vocab: p.table.dim(0),
        tokens,
        dim: dim as i32,
        pieces: pieces as i32,
        table_type: p.table.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
        scale: p.scale,
        table_vec: i32::from(dim % 8 == 0 && p.table.rows_aligned(16)),
    };
    // The product cannot overflow: y, which has as many elements, was checked.
    let grid = Grid::new(
        [ceil_div(tokens * pieces, EMBEDDING_THREADS), 1, 1],
        EMBEDDING_THREADS as u32,
    )?;
    to.main(kernel, grid, &args);
    Ok(())
}

/// Gathers the rows of a table that ids name.
///
/// `y[t] = scale * table[ids[t]]`. An id below 0, or one that is not below `vocab`, gives a row of NaN.
///
/// Shapes and types: see `reflex_embedding_params`. Block formats are expanded bit for bit as the GGUF reference does
/// it, multiplied by `scale` in f32, and rounded to nearest even to the type of `y`. Rows are dense; row strides are
/// free.
///
/// Alignment: every operand is aligned to its elements. The data of a block format is 16-byte aligned. Its row stride
/// is a multiple of the power of two, up to 16, that divides the bytes of a block, as the stride of contiguous rows is.
/// A packed table (`reflex_weights_pack`) gives the same bits as the native one. `y` shares no byte with the table, the
/// ids or itself. The op needs no workspace. The call is asynchronous on `stream`, capturable (the ids are read when
/// the kernel runs) and thread-safe.
///
/// Limits: dim is at most 2^30. Infinities and NaN of the table reach y, multiplied by `scale` as IEEE 754 defines it.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
#[unsafe(no_mangle)]
pub extern "C" fn reflex_embedding(
    context: *const reflex_context,
    params: *const reflex_embedding_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Embedding>(context, params, stream)
}

/// Says by its status whether `reflex_embedding` would take these params on this context. It does the validation and
/// the selection of `reflex_embedding`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_embedding_supported(
    context: *const reflex_context,
    params: *const reflex_embedding_params,
) -> reflex_status {
    call::supported::<Embedding>(context, params)
}

/// Sets `*name` to the kernel that `reflex_embedding` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_embedding_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_embedding_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Embedding>(context, params, name)
}
