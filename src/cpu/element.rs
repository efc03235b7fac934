//! Reading and writing activations as f32, whatever their type.

use super::act_i8;
use crate::abi::Dtype;
use crate::format::dequantize;
use half::{bf16, f16};

/// Element `index` of the row at `row`.
///
/// # Safety
/// The element lies in memory that may be read, aligned for `dtype`, which is a float type.
pub(crate) unsafe fn load(row: *const u8, dtype: Dtype, index: usize) -> f32 {
    unsafe {
        match dtype {
            Dtype::F32 => row.cast::<f32>().add(index).read(),
            Dtype::F16 => row.cast::<f16>().add(index).read().to_f32(),
            Dtype::BF16 => row.cast::<bf16>().add(index).read().to_f32(),
            other => unreachable!("{} is no float type", other.name()),
        }
    }
}

/// Rounds to nearest even, like the device's conversions.
///
/// # Safety
/// As `load`, for writing.
pub(crate) unsafe fn store(row: *mut u8, dtype: Dtype, index: usize, value: f32) {
    unsafe {
        match dtype {
            Dtype::F32 => row.cast::<f32>().add(index).write(value),
            Dtype::F16 => row.cast::<f16>().add(index).write(f16::from_f32(value)),
            Dtype::BF16 => row.cast::<bf16>().add(index).write(bf16::from_f32(value)),
            other => unreachable!("{} is no float type", other.name()),
        }
    }
}

/// A whole row of activations as f32, ACT_I8 too, with the host's conversion instructions where it has them.
///
/// # Safety
/// As `load`, for `out.len()` elements.
pub(crate) unsafe fn load_row(row: *const u8, dtype: Dtype, out: &mut [f32]) {
    use half::slice::HalfFloatSliceExt;
    use std::slice::from_raw_parts;
    unsafe {
        match dtype {
            Dtype::F32 => out.copy_from_slice(from_raw_parts(row.cast(), out.len())),
            Dtype::F16 => from_raw_parts(row.cast::<f16>(), out.len()).convert_to_f32_slice(out),
            Dtype::BF16 => from_raw_parts(row.cast::<bf16>(), out.len()).convert_to_f32_slice(out),
            Dtype::ACT_I8 => act_i8::load(row, out),
            other => unreachable!("{} is no float type", other.name()),
        }
    }
}

/// Elements `first..first + out.len()` of a weight row as f32. For block formats both ends are multiples of the block.
///
/// # Safety
/// The elements lie in memory that may be read, aligned for `dtype`.
pub(crate) unsafe fn load_weights(row: *const u8, dtype: Dtype, first: usize, out: &mut [f32]) {
    unsafe {
        match dtype.block() {
            Some(format) => dequantize(row, format, first, out),
            None => load_row(row.wrapping_add(first * dtype.block_bytes()), dtype, out),
        }
    }
}

/// A whole row of activations, ACT_I8 too.
///
/// # Safety
/// As `store`, for `values.len()` elements.
pub(crate) unsafe fn store_row(row: *mut u8, dtype: Dtype, values: &[f32]) {
    unsafe {
        match dtype {
            Dtype::ACT_I8 => act_i8::store(row, values.len(), 0, values),
            _ => (values.iter().enumerate()).for_each(|(i, &value)| store(row, dtype, i, value)),
        }
    }
}
