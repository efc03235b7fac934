use super::argmax::{counters, expect_reserved, integers, scores};
use super::op::{self, Op, Variant, Workspace};
use super::rows::{data, vec8};
use crate::abi::{Error, Params, Result, View, reflex_context, reflex_status, reflex_stream, reflex_tensor};
use crate::cpu::{self, CpuBackend};
use crate::cuda::{Cuda, Grid, Kernel, kernel_args};
use std::ffi::{c_char, c_void};

/// Operands of `reflex_sample`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_sample_params {
    pub struct_size: u32,
    /// Divides the logits that survive the filters; 0 takes the greatest logit and draws nothing.
    pub temperature: f32,
    /// Keeps this many greatest logits; 0 keeps all. On a tie the lower index is kept.
    pub top_k: u32,
    /// Keeps the smallest set of most probable tokens whose probability reaches this; 0 or 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens with at least this fraction of the greatest probability; 0 keeps all.
    pub min_p: f32,
    /// 0.
    pub reserved: u32,
    /// Key of the random numbers.
    pub seed: u64,
    /// `[rows, n]`, F32, F16 or BF16, n at least 1. NaN counts as minus infinity.
    pub logits: reflex_tensor,
    /// `[rows]`, I32, read on the device: the random number of a row depends on seed, row and this (give the
    /// position, so that every step of a replayed graph draws anew). Absent: 0.
    pub steps: reflex_tensor,
    /// `[rows]`, I32: the drawn token of each row.
    pub ids: reflex_tensor,
    /// Optional, `[m]`, I32: every element is increased by one (2^31 - 1 becomes -2^31) once the draw is done. May begin with
    /// `steps`.
    pub counters: reflex_tensor,
    /// Scratch of `reflex_sample_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    /// Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    /// of every op. Calls that may run at the same time need one each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_sample_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_sample_params {
    const NAME: &'static str = "reflex_sample_params";
    const MIN_SIZE: usize = 368;
}

#[derive(Clone, Copy)]
pub(crate) struct SamplePlan {
    pub temperature: f32,
    /// Less than n; 0: off.
    pub top_k: u32,
    /// In units of 2^-32; 0: off.
    pub top_p: u64,
    /// Least weight relative to the greatest, in units of 2^-32.
    pub min_weight: u64,
    pub seed: u64,
    pub logits: View,
    pub steps: Option<View>,
    pub ids: View,
    pub counters: Option<View>,
}

impl SamplePlan {
    /// What the distance to the greatest logit is multiplied by to get the binary exponent of a weight.
    pub fn scale(&self) -> f32 {
        let scale = std::f64::consts::LOG2_E / f64::from(self.temperature);
        (scale as f32).min(f32::MAX)
    }

    fn vec8(&self) -> bool {
        vec8([self.logits])
    }
}

struct Sample;

/// A fraction in units of 2^-32.
fn fraction(field: &str, value: f32) -> Result<u64> {
    match value {
        v if (0.0..=1.0).contains(&v) => Ok((f64::from(v) * 4294967296.0).round() as u64),
        _ => Err(Error::invalid(format!(
            "{}: {field} is {value}, expected 0 to 1",
            Sample::NAME
        ))),
    }
}

impl Op for Sample {
    const NAME: &'static str = "sample";
    type Params = reflex_sample_params;
    type Plan = SamplePlan;

    fn plan(p: &reflex_sample_params) -> Result<SamplePlan> {
        let op = Self::NAME;
        expect_reserved(op, p.reserved)?;
        if !(p.temperature.is_finite() && p.temperature >= 0.0) {
            return Err(Error::invalid(format!(
                "{op}: temperature is {}, expected a finite number, 0 or more",
                p.temperature
            )));
        }
        let top_p = match fraction("top_p", p.top_p)? {
            _ if p.top_p == 0.0 || p.top_p == 1.0 => 0,
            // However small, it is not off.
            fraction => fraction.max(1),
        };
        let min_weight = fraction("min_p", p.min_p)?;
        let logits = scores(View::required(op, "logits", &p.logits)?)?;
        let (rows, n) = (logits.dim(0), logits.dim(1));
        let steps = View::optional(op, "steps", &p.steps)?
            .map(|view| integers(view, rows, "[rows] of logits"))
            .transpose()?;
        let mut ids = integers(View::required(op, "ids", &p.ids)?, rows, "[rows] of logits")?
            .expect_writable()?
            .expect_apart(&logits)?;
        if let Some(steps) = &steps {
            ids = ids.expect_apart(steps)?;
        }
        let counters = View::optional(op, "counters", &p.counters)?
            .map(|view| {
                let view = counters(view)?.expect_apart(&logits)?.expect_apart(&ids)?;
                match &steps {
                    // Row i reads its step before it advances counter i, so the one may begin with the other.
                    Some(steps) if view.data == steps.data && view.dim(0) >= steps.dim(0) => Ok(view),
                    Some(steps) => view.expect_apart(steps),
                    None => Ok(view),
                }
            })
            .transpose()?;
        Ok(SamplePlan {
            temperature: p.temperature,
            top_k: if i64::from(p.top_k) < n { p.top_k } else { 0 },
            top_p,
            min_weight,
            seed: p.seed,
            logits,
            steps,
            ids,
            counters,
        })
    }

    fn is_empty(plan: &SamplePlan) -> bool {
        // Counters advance also when there is no row.
        plan.logits.is_empty() && plan.counters.is_none_or(|c| c.is_empty())
    }

    fn variants() -> &'static [Variant<SamplePlan>] {
        &VARIANTS
    }

    fn cpu(plan: &SamplePlan, cpu: &CpuBackend) {
        cpu::sample::sample(plan, cpu);
    }

    fn workspace(params: &reflex_sample_params) -> Workspace {
        Workspace {
            data: params.workspace,
            bytes: params.workspace_size,
        }
    }
}

static VEC8: Kernel = Kernel::new("sample", c"reflex_sample_vec8").dependent();
static SCALAR: Kernel = Kernel::new("sample", c"reflex_sample_scalar").dependent();

static VARIANTS: [Variant<SamplePlan>; 2] = [
    Variant::new(&VEC8, |p, _| p.vec8(), |p, cuda, _| launch(p, cuda, &VEC8)),
    Variant::new(&SCALAR, |_, _| true, |p, cuda, _| launch(p, cuda, &SCALAR)),
];

kernel_args! {
    struct SampleArgs {
        logits: *const u8,
        steps: *const u8,
        ids: *mut u8,
        counters: *mut u8,
        row_stride: i64,
        rows: i64,
        counter_count: i64,
        seed: u64,
        top_p: u64,
        min_weight: u64,
        scale: f32,
        n: i32,
        top_k: u32,
        index_bits: u32,
        greedy: u32,
        logits_type: u32,
    } size 104, logits_type at 100
}

fn launch(p: &SamplePlan, cuda: &Cuda, kernel: &'static Kernel) -> Result<()> {
    /// SAMPLE_THREADS of the kernel file.
    const THREADS: u32 = 1024;
    let (rows, n) = (p.logits.dim(0), p.logits.dim(1));
    let args = SampleArgs {
        logits: p.logits.data,
        steps: data(p.steps),
        ids: p.ids.data,
        counters: data(p.counters),
        row_stride: p.logits.stride(0),
        rows,
        counter_count: p.counters.map_or(0, |v| v.dim(0)),
        seed: p.seed,
        top_p: p.top_p,
        min_weight: p.min_weight,
        scale: p.scale(),
        n: n as i32,
        top_k: p.top_k,
        index_bits: 64 - (n - 1).leading_zeros(),
        greedy: u32::from(p.temperature == 0.0),
        logits_type: p.logits.dtype.abi().0,
    };
    cuda.launch(kernel, Grid::new([rows.max(1), 1, 1], THREADS)?, &args)
}

/// Draws a token from each row of logits.
///
/// In this order: NaN becomes minus infinity; `top_k` keeps that many greatest logits; `top_p` keeps the smallest set of
/// most probable tokens whose probability, under the softmax of what is left, reaches it; `min_p` keeps tokens with at
/// least that fraction of the greatest probability; the logits left are divided by `temperature`, and one token is drawn
/// from their softmax. Of equal logits the one of lower index counts as greater. Every filter keeps at least one token.
/// Temperature 0 takes the greatest logit. With infinite logits these alone are candidates, all equally probable; a row
/// without any logit above minus infinity gives 0.
///
/// Exactly: a probability is the integer `e^(logit - greatest)` in units of 2^-32 (0 below 2^-34), sums are exact, and the
/// draw is `floor(r * sum / 2^64)` against the running sum in index order, with r the first 64 bits of Philox4x32-10: word 0 of
/// its result and 2^32 times word 1. Its key words are (seed mod 2^32, seed / 2^32), its counter words (row mod 2^32,
/// row / 2^32, step, 0). The same params give the same tokens on every run, device and backend.
///
/// Then `counters[i] += 1` for every i, and 2^31 - 1 becomes -2^31.
///
/// Shapes and types: see `reflex_sample_params`; `steps`, `ids` and `counters` are dense. Counters advance also when there
/// are no rows.
///
/// Aliasing: `counters` may begin with `steps`, of which this launch sees the old values; no other overlap. Workspace:
/// none at present; ask `reflex_sample_workspace_size`. Asynchronous on `stream`, capturable, thread-safe.
///
/// Limits: n from 1 to 2^30 - 1, up to 2^31 - 1 rows.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Holtzman et al., "The Curious Case of
/// Neural Text Degeneration", 2019; Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024; Salmon et al., "Parallel
/// Random Numbers: As Easy as 1, 2, 3", 2011.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample(
    context: *const reflex_context,
    params: *const reflex_sample_params,
    stream: reflex_stream,
) -> reflex_status {
    op::launch::<Sample>(context, params, stream)
}

/// Whether `reflex_sample` would take these params on this context: its own validation and selection, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample_supported(
    context: *const reflex_context,
    params: *const reflex_sample_params,
) -> reflex_status {
    op::supported::<Sample>(context, params)
}

/// Bytes of scratch that `reflex_sample` needs for these params on this context; their `workspace` is not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample_workspace_size(
    context: *const reflex_context,
    params: *const reflex_sample_params,
    bytes: *mut usize,
) -> reflex_status {
    op::workspace_size::<Sample>(context, params, bytes)
}

/// Name of the kernel that `reflex_sample` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_sample_params,
    name: *mut *const c_char,
) -> reflex_status {
    op::selected_kernel::<Sample>(context, params, name)
}
