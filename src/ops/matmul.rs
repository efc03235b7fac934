use super::op::{self, ANY_SM, Op, Variant, Workspace};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_context, reflex_status, reflex_stream, reflex_tensor};
use crate::cpu::{self, CpuBackend};
use crate::cuda::{Cuda, Grid, Kernel, ceil_div, kernel_args};
use std::ffi::{CStr, c_char, c_void};

/// A row's result does not depend, bit for bit, on how many other rows there are.
pub const REFLEX_MATMUL_BATCH_INVARIANT: u32 = 1;

/// Operands of `reflex_matmul`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_matmul_params {
    pub struct_size: u32,
    /// `REFLEX_MATMUL_*` bits.
    pub flags: u32,
    /// `[rows, k]`, F32, F16 or BF16.
    pub x: reflex_tensor,
    /// `[n, k]`, any weight type; for alignment of block formats see `reflex_matmul`.
    pub weight: reflex_tensor,
    /// Optional, `[n]`, F32, F16 or BF16.
    pub bias: reflex_tensor,
    /// Optional, `[rows, n]`, F32, F16 or BF16: added to the product. May be `y` itself.
    pub residual: reflex_tensor,
    /// `[rows, n]`, F32, F16 or BF16.
    pub y: reflex_tensor,
    /// Scratch of `reflex_matmul_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_matmul_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_matmul_params {
    const NAME: &'static str = "reflex_matmul_params";
    const MIN_SIZE: usize = 424;
}

#[derive(Clone, Copy)]
pub(crate) struct MatmulPlan {
    pub rows: i64,
    pub n: i64,
    pub k: i64,
    pub batch_invariant: bool,
    pub x: View,
    pub weight: View,
    pub bias: Option<View>,
    pub residual: Option<View>,
    pub y: View,
}

impl MatmulPlan {
    /// Up to this many rows the weights are what there is to read: a matrix-vector product.
    const FEW_ROWS: i64 = 8;
    /// Up to this many rows the larger tile would be mostly empty.
    const SMALL_TILE_ROWS: i64 = 64;

    fn x_vec(&self) -> bool {
        self.k % 8 == 0 && self.x.rows_aligned(16)
    }

    fn weight_vec(&self) -> bool {
        self.weight.dtype.is_block() || self.k % 8 == 0 && self.weight.rows_aligned(16)
    }

    /// Every vector kernel sums in the same order; the tiles have another one, and round to TF32.
    fn vector(&self) -> bool {
        self.rows <= Self::FEW_ROWS || self.batch_invariant
    }

    fn wide_vector(&self) -> bool {
        self.vector() && self.x_vec() && self.weight_vec()
    }
}

struct Matmul;

impl Op for Matmul {
    const NAME: &'static str = "matmul";
    type Params = reflex_matmul_params;
    type Plan = MatmulPlan;

    fn plan(p: &reflex_matmul_params) -> Result<MatmulPlan> {
        let op = Self::NAME;
        if p.flags & !REFLEX_MATMUL_BATCH_INVARIANT != 0 {
            return Err(Error::invalid(format!(
                "{op}: flags is {:#x}, expected REFLEX_MATMUL_* bits ({REFLEX_MATMUL_BATCH_INVARIANT:#x})",
                p.flags
            )));
        }
        const LARGEST: i64 = 1 << 30;
        let x = View::required(op, "x", &p.x)?
            .expect_dtype(Dtype::FLOATS)?
            .expect_rank(2..=2)?
            .expect_dense_rows()?
            .expect_dim(0, 0..=LARGEST)?
            .expect_dim(1, 0..=LARGEST)?;
        let (rows, k) = (x.dim(0), x.dim(1));
        let weight = View::required(op, "weight", &p.weight)?
            .expect_dtype(Dtype::WEIGHTS)?
            .expect_rank(2..=2)?;
        let n = weight.dim(0);
        let weight = weight
            .expect_shape(&[n, k], "[n], [k] of x")?
            .expect_dense_rows()?
            .expect_aligned_blocks()?
            .expect_dim(0, 0..=LARGEST)?;
        let bias = View::optional(op, "bias", &p.bias)?
            .map(|bias| {
                bias.expect_dtype(Dtype::FLOATS)?
                    .expect_shape(&[n], "[n] of weight")?
                    .expect_dense_rows()
            })
            .transpose()?;
        let like_y = |view: View| {
            view.expect_dtype(Dtype::FLOATS)?
                .expect_shape(&[rows, n], "[rows] of x, [n] of weight")?
                .expect_dense_rows()
        };
        let residual = View::optional(op, "residual", &p.residual)?.map(like_y).transpose()?;
        let mut y = like_y(View::required(op, "y", &p.y)?)?
            .expect_writable()?
            .expect_apart(&x)?
            .expect_apart(&weight)?;
        if let Some(bias) = &bias {
            y = y.expect_apart(bias)?;
        }
        if let Some(residual) = &residual {
            y = y.expect_in_place_or_apart(residual)?;
        }
        Ok(MatmulPlan {
            rows,
            n,
            k,
            batch_invariant: p.flags & REFLEX_MATMUL_BATCH_INVARIANT != 0,
            x,
            weight,
            bias,
            residual,
            y,
        })
    }

    fn is_empty(plan: &MatmulPlan) -> bool {
        plan.y.is_empty()
    }

    fn variants() -> &'static [Variant<MatmulPlan>] {
        &VARIANTS
    }

    fn cpu(plan: &MatmulPlan, cpu: &CpuBackend) {
        cpu::matmul::matmul(plan, cpu);
    }

    fn workspace(params: &reflex_matmul_params) -> Workspace {
        Workspace {
            data: params.workspace,
            bytes: params.workspace_size,
        }
    }
}

const fn symbol(bytes: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a kernel's name ends in its only zero byte"),
    }
}

/// One kernel of one format: its file and name, when it applies, and the rows and outputs that a block makes.
macro_rules! variant {
    ($dtype:ident, $format:literal, $kernel:literal, $rows:literal x $outputs:literal, $threads:literal, $matches:expr) => {{
        static KERNEL: Kernel = Kernel::new(
            concat!("matmul_", $format),
            symbol(concat!("reflex_matmul_", $format, "_", $kernel, "\0")),
        );
        const MATCHES: fn(&MatmulPlan) -> bool = $matches;
        Variant {
            kernel: &KERNEL,
            min_sm: 75,
            max_sm: ANY_SM,
            matches: |p, _| p.weight.dtype == Dtype::$dtype && MATCHES(p),
            launch: |p, cuda, _| launch(p, cuda, &KERNEL, [$rows, $outputs], $threads),
        }
    }};
}

macro_rules! variants {
    ($($dtype:ident $format:literal),*) => {
        [$(
            variant!($dtype, $format, "vector1", 1 x 8, 128, |p| p.rows == 1 && p.wide_vector()),
            variant!($dtype, $format, "vector2", 2 x 8, 128, |p| p.rows == 2 && p.wide_vector()),
            variant!($dtype, $format, "vector4", 4 x 8, 128, |p| p.rows <= 4 && p.wide_vector()),
            variant!($dtype, $format, "vector8", 8 x 8, 128, |p| p.wide_vector()),
            variant!($dtype, $format, "vector_any", 1 x 8, 128, |p| p.vector()),
            variant!($dtype, $format, "tile32", 32 x 64, 128, |p| p.rows <= MatmulPlan::SMALL_TILE_ROWS),
            variant!($dtype, $format, "tile128", 128 x 64, 256, |_| true),
        )*]
    };
}

static VARIANTS: [Variant<MatmulPlan>; 112] = variants!(
    F32 "f32", F16 "f16", BF16 "bf16", Q4_0 "q4_0", Q8_0 "q8_0", Q4_K "q4_k", Q5_K "q5_k", Q6_K "q6_k",
    Q4_1 "q4_1", Q5_0 "q5_0", Q5_1 "q5_1", Q2_K "q2_k", Q3_K "q3_k", IQ4_NL "iq4_nl", IQ4_XS "iq4_xs", MXFP4 "mxfp4"
);

kernel_args! {
    struct MatmulArgs {
        x: *const u8,
        weight: *const u8,
        bias: *const u8,
        residual: *const u8,
        y: *mut u8,
        x_stride: i64,
        weight_stride: i64,
        residual_stride: i64,
        y_stride: i64,
        rows: i32,
        n: i32,
        k: i32,
        x_type: u32,
        bias_type: u32,
        residual_type: u32,
        y_type: u32,
        x_vec: i32,
        weight_vec: i32,
        row_groups: i32,
    } size 112, row_groups at 108
}

/// `block` is the rows and outputs that a thread block makes.
fn launch(p: &MatmulPlan, cuda: &Cuda, kernel: &'static Kernel, block: [i64; 2], threads: u32) -> Result<()> {
    let data = |v: &Option<View>| v.map_or(std::ptr::null(), |v| v.data.cast_const());
    let dtype = |v: &Option<View>| v.map_or(0, |v| v.dtype.abi().0);
    let row_groups = ceil_div(p.rows, block[0]);
    let args = MatmulArgs {
        x: p.x.data,
        weight: p.weight.data,
        bias: data(&p.bias),
        residual: data(&p.residual),
        y: p.y.data,
        x_stride: p.x.stride(0),
        weight_stride: p.weight.stride(0),
        residual_stride: p.residual.map_or(0, |v| v.stride(0)),
        y_stride: p.y.stride(0),
        rows: p.rows as i32,
        n: p.n as i32,
        k: p.k as i32,
        x_type: p.x.dtype.abi().0,
        bias_type: dtype(&p.bias),
        residual_type: dtype(&p.residual),
        y_type: p.y.dtype.abi().0,
        x_vec: i32::from(p.x_vec()),
        weight_vec: i32::from(p.weight_vec()),
        row_groups: row_groups as i32,
    };
    let blocks = row_groups * ceil_div(p.n, block[1]);
    cuda.launch(kernel, Grid::new([blocks, 1, 1], threads)?, &args)
}

/// Rows of x times the transpose of a weight matrix: a linear layer.
///
/// `y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]`
///
/// Shapes and types: see `reflex_matmul_params`. Sums are f32. Up to 8 rows, and any number with
/// `REFLEX_MATMUL_BATCH_INVARIANT`, products are f32 too, of weights expanded to f32. More rows are multiplied on tensor
/// cores where there are any for it (SM 8.0): both factors are rounded to TF32 first, each by at most 2^-11 of itself.
/// `k = 0` gives bias + residual, or zeros.
///
/// `REFLEX_MATMUL_BATCH_INVARIANT`: a row's result has the same bits in a call of one row and in a call of many. It costs
/// the tensor cores: the weights are read again for every 8 rows.
///
/// Alignment: elements. The data of a block format is 16-byte aligned, and its row stride a multiple of the power of two,
/// up to 16, that divides a block's bytes; contiguous rows have it. Rows of x and of plain weights that are 16-byte
/// aligned, with k a multiple of 8, are read faster. Rows are dense; row strides are free otherwise.
///
/// Aliasing: `y` may be exactly `residual`; it overlaps nothing else. Workspace: see `reflex_matmul_workspace_size`.
/// Asynchronous on `stream`, capturable, thread-safe. A NaN in a row of x makes that row of y NaN.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    stream: reflex_stream,
) -> reflex_status {
    op::launch::<Matmul>(context, params, stream)
}

/// Bytes of scratch that `reflex_matmul` needs for these params on this context; the workspace fields are not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_workspace_size(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    bytes: *mut usize,
) -> reflex_status {
    op::workspace_size::<Matmul>(context, params, bytes)
}

/// Whether `reflex_matmul` would take these params on this context: its own validation and selection, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_supported(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
) -> reflex_status {
    op::supported::<Matmul>(context, params)
}

/// Name of the kernel that `reflex_matmul` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    name: *mut *const c_char,
) -> reflex_status {
    op::selected_kernel::<Matmul>(context, params, name)
}
