//! The op `sample`: a token drawn from each row of logits.

use super::argmax::{counters, integers, scores};
use super::call;
use super::fields::{expect_not_negative, expect_reserved};
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, data, vec8};
use super::schedule::{Candidate, Schedule, only};
use super::workspace::workspace_fields;
use crate::abi::{Dtype, Error, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::SAMPLE_THREADS;
use crate::cuda::{Grid, Kernel, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::{c_char, c_void};

/// Operands of `reflex_sample`. The settings of all rows are fields; an operand with a setting for each row takes the
/// place of the field. What such an operand holds is read on the device, at each replay of a captured graph, so that it
/// cannot be refused: what is outside of the range of the field is clamped to it, and a NaN counts as 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_sample_params {
    pub struct_size: u32,
    /// The divisor of the logits that survive the filters. It is finite and not negative; 0 takes the greatest logit
    /// and draws nothing.
    pub temperature: f32,
    /// The number of greatest logits that are kept; 0 keeps all. On a tie the lower index is kept.
    pub top_k: u32,
    /// The probability, 0 to 1, that the kept tokens reach together: the smallest set of most probable tokens that
    /// reaches it is kept. 0 or 1 keeps all.
    pub top_p: f32,
    /// The fraction of the greatest probability, 0 to 1, that a token needs to be kept; 0 keeps all.
    pub min_p: f32,
    pub reserved: u32,
    /// The key of the random numbers.
    pub seed: u64,
    /// `[rows, n]`, F32, F16 or BF16, n at least 1. NaN counts as minus infinity.
    pub logits: reflex_tensor,
    /// Optional, `[rows]`, I32, read on the device: the random number of a row depends on seed, row and this. Give the
    /// position, so that every step of a replayed graph draws anew. When absent, it is 0.
    pub steps: reflex_tensor,
    /// `[rows]`, I32: receives the drawn token of each row.
    pub ids: reflex_tensor,
    /// Optional, `[m]`, I32, dense, any m: every element is increased by one (2^31 - 1 becomes -2^31) once the draw is
    /// done. Counters need not belong to rows: a decode step has its positions and lengths there. They may begin with
    /// `steps`.
    pub counters: reflex_tensor,
    /// Scratch of `reflex_sample_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0. The
    /// library keeps nothing in it from one call to the next: one workspace with the largest size that any call asks
    /// for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// Optional, `[rows, 2]`, I32, dense: the seed of each row, its lower 32 bits first. An array of `uint64_t` has
    /// this form.
    pub seeds: reflex_tensor,
    /// Optional, `[rows]`, F32: the temperature of each row.
    pub temperatures: reflex_tensor,
    /// Optional, `[rows]`, I32: the top_k of each row. A negative one keeps all, as 0 does.
    pub top_ks: reflex_tensor,
    /// Optional, `[rows]`, F32: the top_p of each row.
    pub top_ps: reflex_tensor,
    /// Optional, `[rows]`, F32: the min_p of each row.
    pub min_ps: reflex_tensor,
    /// Optional, `[rows]`, I32, taken as unsigned: the key of each row, which takes the place of the row's number in
    /// its random number. With it a request draws the same tokens in whatever row of whatever batch it is. Rows of the
    /// same key, seed and step draw the same random number.
    pub row_keys: reflex_tensor,
}

impl Default for reflex_sample_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_sample_params {
    const MIN_SIZE: usize = 368;
}

/// The settings by which a row is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    /// The greatest logit is taken, without a draw.
    pub greedy: bool,
    /// The factor that turns the distance to the greatest logit into the binary exponent of a weight.
    pub scale: f32,
    /// It is less than n; 0 turns the filter off.
    pub top_k: u32,
    /// In units of 2^-32; 0 turns the filter off.
    pub top_p: u64,
    /// The least weight that is kept, relative to the greatest, in units of 2^-32.
    pub min_weight: u64,
    pub seed: u64,
}

/// Numbers within their ranges become those of a `Choice`; `sample_choose` of the kernel file does the same.
impl Choice {
    pub fn temperature(self, temperature: f32) -> Choice {
        let scale = std::f64::consts::LOG2_E / f64::from(temperature);
        Choice {
            greedy: temperature == 0.0,
            scale: (scale as f32).min(f32::MAX),
            ..self
        }
    }

    pub fn top_k(self, top_k: u32, n: i64) -> Choice {
        let top_k = if i64::from(top_k) < n { top_k } else { 0 };
        Choice { top_k, ..self }
    }

    pub fn top_p(self, top_p: f32) -> Choice {
        let top_p = match top_p {
            0.0 | 1.0 => 0,
            // However small it is, the filter is not off.
            _ => fraction(top_p).max(1),
        };
        Choice { top_p, ..self }
    }

    pub fn min_p(self, min_p: f32) -> Choice {
        Choice {
            min_weight: fraction(min_p),
            ..self
        }
    }
}

/// A number from 0 to 1 in units of 2^-32.
fn fraction(value: f32) -> u64 {
    (f64::from(value) * 4294967296.0).round() as u64
}

/// Settings of each row, which take the place of the call's.
#[derive(Clone, Copy)]
pub(crate) struct RowChoices {
    pub seeds: Option<View>,
    pub temperatures: Option<View>,
    pub top_ks: Option<View>,
    pub top_ps: Option<View>,
    pub min_ps: Option<View>,
    pub row_keys: Option<View>,
}

impl RowChoices {
    fn new(p: &reflex_sample_params, rows: i64) -> Result<RowChoices> {
        let operand = |field, tensor, dtype: Dtype| {
            let view = View::optional(field, tensor)?;
            if let Some(view) = &view {
                view.expect_dtype(&[dtype])?
                    .expect_shape(&[rows], "[rows] of logits")?
                    .expect_dense_rows()?;
            }
            Ok(view)
        };
        let seeds = |view: View| {
            view.expect_dtype(&[Dtype::I32])?
                .expect_shape(&[rows, 2], "[rows] of logits, 2")?
                .expect_dense_rows()?;
            match view.is_contiguous() {
                true => Ok(view),
                false => Err(Error::invalid(format!(
                    "seeds.stride[0] is {}, expected 8 (seeds are dense)",
                    view.stride(0)
                ))),
            }
        };
        Ok(RowChoices {
            seeds: View::optional("seeds", &p.seeds)?.map(seeds).transpose()?,
            temperatures: operand("temperatures", &p.temperatures, Dtype::F32)?,
            top_ks: operand("top_ks", &p.top_ks, Dtype::I32)?,
            top_ps: operand("top_ps", &p.top_ps, Dtype::F32)?,
            min_ps: operand("min_ps", &p.min_ps, Dtype::F32)?,
            row_keys: operand("row_keys", &p.row_keys, Dtype::I32)?,
        })
    }

    fn all(&self) -> [Option<&View>; 6] {
        [
            self.seeds.as_ref(),
            self.temperatures.as_ref(),
            self.top_ks.as_ref(),
            self.top_ps.as_ref(),
            self.min_ps.as_ref(),
            self.row_keys.as_ref(),
        ]
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SamplePlan {
    /// The settings of rows that have none of their own.
    pub choice: Choice,
    pub of_rows: RowChoices,
    pub logits: View,
    pub steps: Option<View>,
    pub ids: View,
    pub counters: Option<View>,
}

impl SamplePlan {
    fn vec8(&self) -> bool {
        vec8([Some(&self.logits)])
    }
}

pub(crate) struct Sample;

fn expect_fraction(field: &str, value: f32) -> Result<()> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(Error::invalid(format!("{field} is {value}, expected 0 to 1"))),
    }
}

impl Op for Sample {
    const NAME: &'static str = "sample";
    type Params = reflex_sample_params;
    type Plan = SamplePlan;

    fn plan(p: &reflex_sample_params) -> Result<SamplePlan> {
        expect_reserved(p.reserved)?;
        expect_not_negative("temperature", p.temperature)?;
        expect_fraction("top_p", p.top_p)?;
        expect_fraction("min_p", p.min_p)?;
        let logits = scores(View::required("logits", &p.logits)?)?;
        let (rows, n) = (logits.dim(0), logits.dim(1));
        let steps = View::optional("steps", &p.steps)?
            .map(|view| integers(view, rows, "[rows] of logits"))
            .transpose()?;
        let of_rows = RowChoices::new(p, rows)?;
        let ids = integers(View::required("ids", &p.ids)?, rows, "[rows] of logits")?;
        let counters = View::optional("counters", &p.counters)?.map(counters).transpose()?;
        Ok(SamplePlan {
            choice: Choice {
                greedy: true,
                scale: 0.0,
                top_k: 0,
                top_p: 0,
                min_weight: 0,
                seed: p.seed,
            }
            .temperature(p.temperature)
            .top_k(p.top_k, n)
            .top_p(p.top_p)
            .min_p(p.min_p),
            of_rows,
            logits,
            steps,
            ids,
            counters,
        })
    }

    fn operands<'a>(plan: &'a SamplePlan, to: &mut Operands<'a>) {
        // Row i reads its step before it advances counter i.
        const BEGINS: InPlace = InPlace::where_it(
            &["steps"],
            |counters, steps| counters.data == steps.data && counters.dim(0) >= steps.dim(0),
            "to begin with",
        );
        to.read(&plan.logits).read(plan.steps.as_ref());
        for choice in plan.of_rows.all() {
            to.read(choice);
        }
        to.write(&plan.ids, InPlace::NO);
        to.write(plan.counters.as_ref(), BEGINS);
    }

    fn is_empty(plan: &SamplePlan) -> bool {
        // Counters advance also when there is no row.
        plan.logits.is_empty() && plan.counters.is_none_or(|c| c.is_empty())
    }

    fn candidates() -> &'static [Candidate<SamplePlan>] {
        &CANDIDATES
    }

    workspace_fields!(reflex_sample_params);
}

static VEC8: Kernel = Kernel::new("sample", c"reflex_sample_vec8").dependent();
static SCALAR: Kernel = Kernel::new("sample", c"reflex_sample_scalar").dependent();

static CANDIDATES: [Candidate<SamplePlan>; 2] = [
    Candidate::new("vec8", |p, _| only(p.vec8(), FOR_VEC8), |p, to| schedule(p, to, &VEC8)),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR)),
];

kernel_args! {
    struct SampleArgs {
        logits: *const u8,
        steps: *const u8,
        ids: *mut u8,
        counters: *mut u8,
        seeds: *const u8,
        temperatures: *const u8,
        top_ks: *const u8,
        top_ps: *const u8,
        min_ps: *const u8,
        row_keys: *const u8,
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
    } size 152, logits_type at 148
}

fn schedule(p: &SamplePlan, to: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    let (rows, n) = (p.logits.dim(0), p.logits.dim(1));
    let (choice, of_rows) = (&p.choice, &p.of_rows);
    let args = SampleArgs {
        logits: p.logits.data,
        steps: data(&p.steps),
        ids: p.ids.data,
        counters: data(&p.counters),
        seeds: data(&of_rows.seeds),
        temperatures: data(&of_rows.temperatures),
        top_ks: data(&of_rows.top_ks),
        top_ps: data(&of_rows.top_ps),
        min_ps: data(&of_rows.min_ps),
        row_keys: data(&of_rows.row_keys),
        row_stride: p.logits.stride(0),
        rows,
        counter_count: p.counters.map_or(0, |v| v.dim(0)),
        seed: choice.seed,
        top_p: choice.top_p,
        min_weight: choice.min_weight,
        scale: choice.scale,
        n: n as i32,
        top_k: choice.top_k,
        index_bits: 64 - (n - 1).leading_zeros(),
        greedy: u32::from(choice.greedy),
        logits_type: p.logits.dtype.abi().0,
    };
    to.main(kernel, Grid::new([rows.max(1), 1, 1], SAMPLE_THREADS as u32)?, &args);
    Ok(())
}

/// Draws a token from each row of logits.
///
/// A row passes these steps in order: NaN becomes minus infinity; `top_k` keeps that many greatest logits; `top_p`
/// keeps the smallest set of most probable tokens whose probability, under the softmax of what is left, reaches it;
/// `min_p` keeps tokens with at least that fraction of the greatest probability; the logits that are left are divided
/// by `temperature`, and one token is drawn from their softmax. Of equal logits the one of lower index counts as
/// greater. Every filter keeps at least one token. Temperature 0 takes the greatest logit. If logits are infinite,
/// these alone are candidates, all equally probable. A row without any logit above minus infinity gives 0.
///
/// Exactness: a probability is the integer `e^(logit - greatest)` in units of 2^-32 (0 below 2^-34), and sums are
/// exact. The draw compares `floor(r * sum / 2^64)` with the running sum in index order: the token is the first whose
/// running sum, its own weight included, is greater. The same params give the same tokens on every run, device and
/// backend.
///
/// The random number: r is `x1 * 2^32 + x0`, of the four words x0 to x3 that Philox4x32-10 gives for the key (the
/// seed's lower 32 bits, its upper 32 bits) and the counter (the row's number or its `row_keys`, 0, `steps` as
/// unsigned, 0). So `row_keys` of 0, 1, 2, .. are the same as the row numbers. With `row_keys`, a row's draw depends on
/// its own logits, settings, key and step alone, never on its place or on the other rows.
///
/// Settings of rows are clamped, since they are read on the device, where nothing can be refused: a temperature that is
/// negative or NaN counts as 0, and an infinite one as the greatest number; a negative top_k counts as 0; a top_p or
/// min_p counts as 0 where it is below 0 or NaN, and as 1 where it is above 1.
///
/// After the draw `counters[i] += 1` for every i, where 2^31 - 1 becomes -2^31.
///
/// Shapes and types: see `reflex_sample_params`; all operands but `logits` are dense. Counters advance also when there
/// are no rows.
///
/// Aliasing: `counters` may begin with `steps`, of which this launch sees the old values. `ids` and `counters` share no
/// other byte with an input, with one another or with themselves. Workspace: the op needs none at present; ask
/// `reflex_sample_workspace_size`. A workspace that is given shares no byte with an operand. The call is asynchronous
/// on `stream`, capturable and thread-safe.
///
/// Limits: n is 1 to 2^30 - 1, and there are at most 2^31 - 1 rows.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Holtzman et al., "The Curious Case of
/// Neural Text Degeneration", 2019; Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024; Salmon et al.,
/// "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample(
    context: *const reflex_context,
    params: *const reflex_sample_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Sample>(context, params, stream)
}

/// Says by its status whether `reflex_sample` would take these params on this context. It does the validation and the
/// selection of `reflex_sample`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample_supported(
    context: *const reflex_context,
    params: *const reflex_sample_params,
) -> reflex_status {
    call::supported::<Sample>(context, params)
}

/// Sets `*bytes` to the scratch that `reflex_sample` needs for these params on this context. The function does not look
/// at the workspace fields of the params.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample_workspace_size(
    context: *const reflex_context,
    params: *const reflex_sample_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<Sample>(context, params, bytes)
}

/// Sets `*name` to the kernel that `reflex_sample` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_sample_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_sample_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Sample>(context, params, name)
}
