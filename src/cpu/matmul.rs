//! Rows of x times the transpose of a weight matrix.

use super::backend::CpuBackend;
use super::blocks::dequantize;
use super::element::{load, load_row, store};
use super::packed::native_row;
use crate::ops::matmul::MatmulPlan;

/// Outputs that share one reading of a row of x.
const OUTPUTS: usize = 4;
/// Stretch of k whose products are summed in f32, in eight lanes of at most 32 each; stretches are summed in f64. The
/// error of a result stays below 36 * 2^-24 of the sum of its products' magnitudes, whatever k is.
const STRETCH: usize = 256;
const LANES: usize = 8;

type Weights = [[f32; STRETCH]; OUTPUTS];

pub(crate) fn matmul(p: &MatmulPlan, cpu: &CpuBackend) {
    let (rows, n, k) = (p.rows as usize, p.n as usize, p.k as usize);
    let mut x = vec![0.0f32; rows * k];
    for (row, out) in x.chunks_exact_mut(k.max(1)).enumerate() {
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
        unsafe { load_row(p.x.row(&[row as i64]), p.x.dtype, out) };
    }
    cpu.for_each(n.div_ceil(OUTPUTS), OUTPUTS * k.max(1) * rows, |block| {
        let first_output = block * OUTPUTS;
        let outputs = OUTPUTS.min(n - first_output);
        let mut weights: Weights = [[0.0; STRETCH]; OUTPUTS];
        let mut sums = vec![[0.0f64; OUTPUTS]; rows];
        let mut unpacked: [Vec<u8>; OUTPUTS] = Default::default();
        let mut weight_rows = [std::ptr::null(); OUTPUTS];
        for (o, scratch) in unpacked[..outputs].iter_mut().enumerate() {
            // SAFETY: as above.
            weight_rows[o] = unsafe { native_row(&p.weight, first_output + o, scratch) };
        }
        for first in (0..k).step_by(STRETCH) {
            let length = STRETCH.min(k - first);
            for (o, weights) in weights[..outputs].iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe { dequantize(weight_rows[o], p.weight.dtype, first, &mut weights[..length]) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                add_products(&x[row * k + first..][..length], &weights, sums);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (o, &sum) in sums[..outputs].iter().enumerate() {
                // SAFETY: as above.
                unsafe { finish(p, row as i64, first_output + o, sum) };
            }
        }
    });
}

/// Every lane is a chain of its own, so that the compiler can use vector instructions without reordering sums.
fn add_products(x: &[f32], weights: &Weights, sums: &mut [f64; OUTPUTS]) {
    let mut lanes = [[0.0f32; LANES]; OUTPUTS];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (i, x) in chunks.iter().enumerate() {
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            let weights: &[f32; LANES] = weights[i * LANES..][..LANES].try_into().unwrap();
            for l in 0..LANES {
                lanes[l] += x[l] * weights[l];
            }
        }
    }
    for (o, sum) in sums.iter_mut().enumerate() {
        let tail = rest.iter().zip(&weights[o][chunks.len() * LANES..]);
        *sum += lanes[o].iter().map(|&v| f64::from(v)).sum::<f64>()
            + tail.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>();
    }
}

/// # Safety
/// The plan's operands may be read and written.
unsafe fn finish(p: &MatmulPlan, row: i64, o: usize, mut sum: f64) {
    unsafe {
        if let Some(bias) = &p.bias {
            sum += f64::from(load(bias.data, bias.dtype, o));
        }
        if let Some(residual) = &p.residual {
            sum += f64::from(load(residual.row(&[row]), residual.dtype, o));
        }
        store(p.y.row(&[row]), p.y.dtype, o, sum as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Dtype, REFLEX_DTYPE_F32, REFLEX_DTYPE_PACKED, View, reflex_dtype, reflex_tensor};
    use crate::cpu::packed::pack_panel;
    use crate::ops::panels::Panels;
    use std::ffi::c_void;

    fn tensor(data: *const c_void, dtype: reflex_dtype, shape: [i64; 2]) -> reflex_tensor {
        reflex_tensor {
            data: data.cast_mut(),
            dtype,
            rank: 2,
            shape: [shape[0], shape[1], 0, 0],
            stride: [0; 4],
        }
    }

    /// The same bits from packed weights as from native ones: panels, rows after the last one, and blocks after the last
    /// tile.
    #[test]
    fn packed_weights_give_the_same_bits() {
        let cpu = CpuBackend::new(2).unwrap();
        for &dtype in Dtype::BLOCKS {
            let (rows, n) = (3, 37);
            let k = if dtype.block_elements() == 32 { 608 } else { 512 };
            let bytes = (n * k) as usize / dtype.block_elements() * dtype.block_bytes();
            // No byte of an f16 here makes it infinite or NaN.
            let native: Vec<u128> = (0..bytes.div_ceil(16) as u128)
                .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835) & (u128::MAX / 255 * 0x3B))
                .collect();
            let weight = tensor(native.as_ptr().cast(), dtype.abi(), [n, k]);
            let weight = View::weight("matmul", "weight", &weight).unwrap();
            let mut packed = native.clone();
            let panels = Panels::of(&weight);
            let panel_bytes = panels.bytes() as usize;
            for panel in 0..panels.count() as usize {
                // SAFETY: whole panels and rows of both matrices.
                unsafe {
                    let length = panels.row_bytes() as usize;
                    let row = |r: usize| std::slice::from_raw_parts(weight.row(&[(16 * panel + r) as i64]), length);
                    let to = packed.as_mut_ptr().cast::<u8>().add(panel * panel_bytes);
                    let to = std::slice::from_raw_parts_mut(to, panel_bytes);
                    pack_panel(dtype, &panels, (0..16).map(row), to);
                }
            }
            let x: Vec<f32> = (0..rows * k).map(|i| (i % 23) as f32 - 11.0).collect();
            let product = |weight: View| {
                let mut y = vec![0.0f32; (rows * n) as usize];
                let view = |data: *const f32, columns| {
                    let tensor = tensor(data.cast(), REFLEX_DTYPE_F32, [rows, columns]);
                    View::required("matmul", "x", &tensor).unwrap()
                };
                let plan = MatmulPlan {
                    rows,
                    n,
                    k,
                    batch_invariant: false,
                    x: view(x.as_ptr(), k),
                    weight,
                    bias: None,
                    residual: None,
                    y: view(y.as_mut_ptr(), n),
                };
                matmul(&plan, &cpu);
                y.iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
            };
            let packed_type = reflex_dtype(dtype.abi().0 | REFLEX_DTYPE_PACKED.0);
            let packed = tensor(packed.as_ptr().cast(), packed_type, [n, k]);
            let packed = View::weight("matmul", "weight", &packed).unwrap();
            let want = product(weight);
            assert!(want.iter().any(|&bits| bits << 1 != 0), "{}", dtype.name());
            assert_eq!(product(packed), want, "{}", dtype.name());
        }
    }
}
