//! The plan of a call: its params, checked.

use super::{
    REFLEX_MATMUL_BATCH_INVARIANT, REFLEX_MATMUL_CONSTANT_WEIGHTS, REFLEX_MATMUL_GATED, REFLEX_MATMUL_INT8,
    reflex_matmul_params, reflex_matmul_product,
};
use crate::abi::{Array, Dtype, Error, Result, View, read_array};
use crate::constants::ACT_I8_BLOCK;
use crate::cuda::ceil_div;
use crate::ops::activation::{
    REFLEX_ACTIVATION_GELU_ERF, REFLEX_ACTIVATION_GELU_TANH, REFLEX_ACTIVATION_SILU, reflex_activation_kind,
};
use crate::ops::operands::InPlace;
use std::mem::MaybeUninit;

/// One product: its weight and its epilogue. The second of a gated pair has the y of the first.
#[derive(Clone, Copy)]
pub(crate) struct MatmulPart {
    pub weight: View,
    pub bias: Option<View>,
    pub residual: Option<View>,
    pub y: View,
}

impl MatmulPart {
    pub fn n(&self) -> i64 {
        self.weight.dim(0)
    }
}

/// The outputs of a deferred norm, which a later product reads in place of y: y times the norm's weight, and the sums
/// of squares that the norm divides by.
#[derive(Clone, Copy)]
pub(crate) struct NormedOutput {
    pub weight: View,
    pub y: View,
    pub squares: View,
}

#[derive(Clone, Copy)]
pub(crate) struct MatmulPlan {
    pub rows: i64,
    pub k: i64,
    pub batch_invariant: bool,
    pub constant_weights: bool,
    /// Whether the products are int8, of a quantised x.
    pub int8: bool,
    pub gate: Option<reflex_activation_kind>,
    pub x: View,
    pub norm: Option<View>,
    pub norm_epsilon: f32,
    pub x_squares: Option<View>,
    /// The deferred norm of the first part.
    pub normed: Option<NormedOutput>,
    pub(super) parts: [Option<MatmulPart>; MOST_PRODUCTS],
}

impl MatmulPlan {
    /// Validates the params.
    pub(super) fn new(p: &reflex_matmul_params) -> Result<MatmulPlan> {
        const FLAGS: u32 =
            REFLEX_MATMUL_BATCH_INVARIANT | REFLEX_MATMUL_INT8 | REFLEX_MATMUL_CONSTANT_WEIGHTS | REFLEX_MATMUL_GATED;
        if p.flags & !FLAGS != 0 {
            return Err(Error::invalid(format!(
                "flags is {:#x}, expected REFLEX_MATMUL_* bits ({FLAGS:#x})",
                p.flags
            )));
        }
        for (field, reserved) in [("reserved", p.reserved), ("reserved2", p.reserved2)] {
            if reserved != 0 {
                return Err(Error::invalid(format!("{field} is {reserved}, expected 0")));
            }
        }
        let gate = gate(p)?;
        let x = View::required("x", &p.x)?;
        x.expect_dtype(Dtype::ACTIVATIONS)?
            .expect_rank(2..=2)?
            .expect_dense_rows()?
            .expect_dim(0, 0..=LARGEST)?
            .expect_dim(1, 0..=LARGEST)?;
        let (rows, k) = (x.dim(0), x.dim(1));
        let norm = norm(p, &x)?;
        let products = products(p, gate.is_some())?;
        let mut plan = MatmulPlan {
            rows,
            k,
            batch_invariant: p.flags & REFLEX_MATMUL_BATCH_INVARIANT != 0,
            constant_weights: p.flags & REFLEX_MATMUL_CONSTANT_WEIGHTS != 0,
            int8: false,
            gate,
            x,
            norm,
            norm_epsilon: if p.norm_epsilon == 0.0 { 1e-6 } else { p.norm_epsilon },
            x_squares: None,
            normed: None,
            parts: [None; MOST_PRODUCTS],
        };
        // The parts are filled in place, because a plan has two kilobytes.
        for (i, fields) in FIELDS.iter().enumerate().take(products.len()) {
            let mut room = MaybeUninit::uninit();
            let product = products.get(i, &mut room);
            let gate = plan.gate.and(plan.parts[0].as_ref());
            plan.parts[i] = Some(part(product, fields, &plan.x, gate)?);
        }
        plan.x_squares = x_squares(p, &plan.x)?;
        plan.int8 = chooses_int8(&plan, p.flags & REFLEX_MATMUL_INT8 != 0)?;
        expect_launchable(&plan)?;
        plan.normed = normed_output(p, &plan)?;
        Ok(plan)
    }

    pub fn parts(&self) -> impl Iterator<Item = &MatmulPart> {
        self.parts.iter().flatten()
    }

    pub fn first(&self) -> &MatmulPart {
        self.parts[0].as_ref().expect("a matmul has a weight")
    }
}

/// The most products of a call.
const MOST_PRODUCTS: usize = 3;
const LARGEST: i64 = 1 << 30;
/// The elements of a sum of squares are those of a block of ACT_I8.
pub(crate) const SQUARES: i64 = ACT_I8_BLOCK;
/// The most rows of an int8 product: its blocks of eight rows are counted in a grid dimension, which has at most 65535.
const MOST_INT8_ROWS: i64 = 1 << 18;
/// The most rows for which REFLEX_MATMUL_INT8 selects int8 products where a weight is not packed. More rows would
/// unpack it again and again, and are faster on the tensor cores as TF32, which a batch-invariant product does not use.
const INT8_ROWS: i64 = 64;

/// The names of a product's fields, for messages, and which of them its y may be.
pub(super) struct Fields {
    weight: &'static str,
    data: &'static str,
    bias: &'static str,
    residual: &'static str,
    y: &'static str,
    expert_ids: &'static str,
    pub own_residual: InPlace,
}

macro_rules! fields {
    ($product:literal) => {
        Fields {
            weight: concat!($product, ".weight"),
            data: concat!($product, ".weight.data"),
            bias: concat!($product, ".bias"),
            residual: concat!($product, ".residual"),
            y: concat!($product, ".y"),
            expert_ids: concat!($product, ".expert_ids"),
            own_residual: InPlace::of(&[concat!($product, ".residual")]),
        }
    };
}

pub(super) static FIELDS: [Fields; MOST_PRODUCTS] =
    [fields!("products[0]"), fields!("products[1]"), fields!("products[2]")];

/// Reads the caller's products, and checks that a call takes so many.
fn products(p: &reflex_matmul_params, gated: bool) -> Result<Array<reflex_matmul_product>> {
    let count = p.product_count;
    if gated && count != 2 {
        return Err(Error::invalid(format!(
            "product_count is {count}, expected 2 with REFLEX_MATMUL_GATED"
        )));
    }
    if count as usize > MOST_PRODUCTS {
        return Err(Error::unsupported(format!(
            "product_count is {count}, expected at most {MOST_PRODUCTS}: this library multiplies up to {MOST_PRODUCTS} weights in a call"
        )));
    }
    read_array("product", p.products, count, p.product_size)
}

fn gate(p: &reflex_matmul_params) -> Result<Option<reflex_activation_kind>> {
    let kinds = [
        REFLEX_ACTIVATION_SILU,
        REFLEX_ACTIVATION_GELU_TANH,
        REFLEX_ACTIVATION_GELU_ERF,
    ];
    let gated = p.flags & REFLEX_MATMUL_GATED != 0;
    if gated && !kinds.contains(&p.activation) {
        return Err(Error::invalid(format!(
            "activation is {}, expected a REFLEX_ACTIVATION_*",
            p.activation.0
        )));
    }
    if !gated && p.activation.0 != 0 {
        return Err(Error::invalid(format!(
            "activation is {}, expected 0 without REFLEX_MATMUL_GATED",
            p.activation.0
        )));
    }
    Ok(gated.then_some(p.activation))
}

fn norm(p: &reflex_matmul_params, x: &View) -> Result<Option<View>> {
    let norm = View::optional("norm", &p.norm)?;
    let unused = norm.is_none() && p.x_squares.data.is_null();
    if !p.norm_epsilon.is_finite() || p.norm_epsilon < 0.0 || unused && p.norm_epsilon != 0.0 {
        return Err(Error::invalid(format!(
            "norm_epsilon is {}, expected a finite number from 0 on, and 0 without norm and x_squares",
            p.norm_epsilon
        )));
    }
    let Some(norm) = norm else { return Ok(None) };
    if x.dtype == Dtype::ACT_I8 {
        return Err(Error::invalid("norm.data is set, expected NULL with an x of ACT_I8"));
    }
    norm.expect_dtype(Dtype::FLOATS)?
        .expect_shape(&[x.dim(1)], "[k] of x")?
        .expect_dense_rows()?;
    Ok(Some(norm))
}

fn x_squares(p: &reflex_matmul_params, x: &View) -> Result<Option<View>> {
    let Some(squares) = View::optional("x_squares", &p.x_squares)? else {
        return Ok(None);
    };
    if x.dtype != Dtype::ACT_I8 {
        return Err(Error::invalid(
            "x_squares.data is set, expected NULL unless x is ACT_I8",
        ));
    }
    squares
        .expect_dtype(&[Dtype::F32])?
        .expect_shape(&[x.dim(0), x.dim(1) / SQUARES], "[rows], [k / 32] of x")?
        .expect_dense_rows()?;
    Ok(Some(squares))
}

fn normed_output(p: &reflex_matmul_params, plan: &MatmulPlan) -> Result<Option<NormedOutput>> {
    let fields = [
        ("y_norm", &p.y_norm),
        ("y_normed", &p.y_normed),
        ("y_squares", &p.y_squares),
    ];
    if fields.iter().all(|(_, tensor)| tensor.data.is_null()) {
        return Ok(None);
    }
    if let Some((field, _)) = fields.iter().find(|(_, tensor)| tensor.data.is_null()) {
        return Err(Error::invalid(format!(
            "{field}.data is NULL, expected a pointer: y_norm, y_normed and y_squares go together"
        )));
    }
    let y = &plan.first().y;
    let (rows, n) = (y.dim(0), y.dim(1));
    if n % SQUARES != 0 {
        return Err(Error::invalid(format!(
            "y_norm.data is set and n is {n}, expected a multiple of {SQUARES}"
        )));
    }
    if plan.gate.is_none() && plan.parts().count() > 1 {
        return Err(Error::invalid(format!(
            "y_norm.data is set, expected NULL with a product_count of {}: y of products[0] is the only one",
            plan.parts().count()
        )));
    }
    if !plan.int8 {
        return Err(Error::unsupported(format!(
            "y_norm.data is set, expected NULL unless {}",
            integers_wanted()
        )));
    }
    let [weight, y_normed, squares] = fields.map(|(field, tensor)| View::required(field, tensor));
    let weight = weight?;
    weight
        .expect_dtype(Dtype::FLOATS)?
        .expect_shape(&[n], "[n] of products[0]")?
        .expect_dense_rows()?;
    let output = |view: View, dtype: Dtype, n, what| {
        view.expect_dtype(&[dtype])?
            .expect_shape(&[rows, n], what)?
            .expect_dense_rows()?;
        Ok::<_, Error>(view)
    };
    Ok(Some(NormedOutput {
        weight,
        y: output(y_normed?, Dtype::ACT_I8, n, "the shape of products[0].y")?,
        squares: output(squares?, Dtype::F32, n / SQUARES, "[rows], [n / 32] of products[0].y")?,
    }))
}

/// Checks a product. If it is the second of a gated pair, `gate` is the first, whose shape and y it has.
fn part(product: &reflex_matmul_product, fields: &Fields, x: &View, gate: Option<&MatmulPart>) -> Result<MatmulPart> {
    let (rows, k) = (x.dim(0), x.dim(1));
    let weight = View::weight(fields.data, &product.weight.data)?;
    weight.expect_dtype(Dtype::WEIGHTS)?;
    product
        .weight
        .expect_data_alone(fields.weight, || weight.dtype_name())?;
    if !product.expert_ids.data.is_null() {
        return Err(Error::unsupported(format!(
            "{}.data is set, expected NULL: this library multiplies every row with the whole weight",
            fields.expert_ids
        )));
    }
    weight.expect_rank(2..=2)?;
    let n = gate.map_or(weight.dim(0), MatmulPart::n);
    weight
        .expect_shape(&[n, k], "[n], [k] of x")?
        .expect_dense_rows()?
        .expect_aligned_blocks()?
        .expect_dim(0, 0..=LARGEST)?;
    let bias = View::optional(fields.bias, &product.bias)?;
    if let Some(bias) = &bias {
        bias.expect_dtype(Dtype::FLOATS)?
            .expect_shape(&[n], "[n] of weight")?
            .expect_dense_rows()?;
    }
    if let Some(gate) = gate {
        for (field, tensor) in [(fields.residual, &product.residual), (fields.y, &product.y)] {
            if !tensor.data.is_null() {
                return Err(Error::invalid(format!(
                    "{field}.data is set, expected NULL with REFLEX_MATMUL_GATED"
                )));
            }
        }
        return Ok(MatmulPart {
            weight,
            bias,
            residual: None,
            y: gate.y,
        });
    }
    let like_y = |view: &View, types: &[Dtype]| {
        view.expect_dtype(types)?
            .expect_shape(&[rows, n], "[rows] of x, [n] of weight")?
            .expect_dense_rows()
            .map(drop)
    };
    let residual = View::optional(fields.residual, &product.residual)?;
    residual
        .iter()
        .try_for_each(|residual| like_y(residual, Dtype::FLOATS))?;
    let y = View::required(fields.y, &product.y)?;
    like_y(&y, Dtype::ACTIVATIONS)?;
    Ok(MatmulPart {
        weight,
        bias,
        residual,
        y,
    })
}

/// Checks that an exact product can be launched: with any number of rows it has a block for eight outputs of one row,
/// and the first dimension of a grid has 31 bits.
fn expect_launchable(plan: &MatmulPlan) -> Result<()> {
    let too_many = |part: &&MatmulPart| plan.rows * ceil_div(part.n(), 8) > i64::from(i32::MAX);
    match plan.parts().find(too_many) {
        Some(part) if !plan.int8 => Err(Error::unsupported(format!(
            "{}.shape is {:?}, expected rows * ((n + 7) / 8) of at most {}",
            part.y.field(),
            part.y.dims(),
            i32::MAX
        ))),
        _ => Ok(()),
    }
}

/// The conditions under which a product is int8, for messages.
fn integers_wanted() -> String {
    format!(
        "x is ACT_I8, or REFLEX_MATMUL_INT8 is set, weights are block formats, and they are packed, have at most {INT8_ROWS} rows \
         of x or REFLEX_MATMUL_BATCH_INVARIANT"
    )
}

fn chooses_int8(plan: &MatmulPlan, allowed: bool) -> Result<bool> {
    let quantised = plan.x.dtype == Dtype::ACT_I8;
    let plain = plan.parts().find(|part| !part.weight.dtype.is_block());
    if let (true, Some(part)) = (quantised, plain) {
        return Err(Error::unsupported(format!(
            "{}.dtype is {}, expected a block format with an x of ACT_I8",
            part.weight.field(),
            part.weight.dtype_name()
        )));
    }
    if quantised && plan.rows > MOST_INT8_ROWS {
        return Err(Error::unsupported(format!(
            "x.shape[0] is {}, expected at most {MOST_INT8_ROWS} with an x of ACT_I8",
            plan.rows
        )));
    }
    let allowed = allowed && plain.is_none();
    let int8 = match plan.batch_invariant {
        // The choice is the same for every number of rows, so that too many are refused rather than computed in another
        // way.
        true if allowed && plan.rows > MOST_INT8_ROWS => {
            return Err(Error::unsupported(format!(
                "x.shape[0] is {}, expected at most {MOST_INT8_ROWS} with REFLEX_MATMUL_INT8 and \
                 REFLEX_MATMUL_BATCH_INVARIANT",
                plan.rows
            )));
        }
        true => quantised || allowed,
        false => {
            let packed = plan.parts().all(|part| part.weight.packed);
            quantised || allowed && plan.rows <= if packed { MOST_INT8_ROWS } else { INT8_ROWS }
        }
    };
    if let (false, Some(part)) = (int8, plan.parts().find(|part| part.y.dtype == Dtype::ACT_I8)) {
        return Err(Error::unsupported(format!(
            "{}.dtype is ACT_I8, expected a float type unless {}",
            part.y.field(),
            integers_wanted()
        )));
    }
    Ok(int8)
}
