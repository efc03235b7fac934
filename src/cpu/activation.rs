//! SiLU and GELU of a gate, times an optional second operand.

use super::element::{load, load_row, store_row};
use crate::ops::Reference;
use crate::ops::activation::{
    ActivationPlan, REFLEX_ACTIVATION_GELU_TANH, REFLEX_ACTIVATION_SILU, reflex_activation_kind,
};
use crate::runtime::CpuBackend;

unsafe extern "C" {
    /// The C library's complementary error function; std has none.
    safe fn erfc(x: f64) -> f64;
}

impl Reference for ActivationPlan {
    fn run(&self, cpu: &CpuBackend) {
        // An exponential costs as much as a few dozen products.
        cpu.for_each(self.rows.count as usize, 32 * self.n as usize, |row| {
            let gate = self.rows.address(&self.gate, row as i64);
            let up = self.up.map(|up| (self.rows.address(&up, row as i64), up.dtype));
            let mut y = vec![0.0f32; self.n as usize];
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            unsafe {
                load_row(gate, self.gate.dtype, &mut y);
                for (i, value) in y.iter_mut().enumerate() {
                    *value = activated(self.kind, *value) * up.map_or(1.0, |(up, dtype)| load(up, dtype, i));
                }
                store_row(self.rows.address(&self.y, row as i64), self.y.dtype, &y);
            }
        });
    }
}

pub(crate) fn activated(kind: reflex_activation_kind, value: f32) -> f32 {
    let function = match kind {
        REFLEX_ACTIVATION_SILU => silu,
        REFLEX_ACTIVATION_GELU_TANH => gelu_tanh,
        _ => gelu_erf,
    };
    let x = f64::from(value);
    // Far below, every function is 0, minus infinity included; NaN stays NaN.
    function(if x < -1e4 { -1e4 } else { x }) as f32
}

/// In f64: this is the reference that kernels are held against.
fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu_tanh(x: f64) -> f64 {
    // (1 + tanh u) / 2 is the logistic function of 2 u, without the cancellation.
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    x / (1.0 + (-2.0 * u).exp())
}

fn gelu_erf(x: f64) -> f64 {
    0.5 * x * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}
