//! Sizes of rows and tensors in bytes.

use super::dtype::{Dtype, reflex_dtype};
use super::error::{Error, Result};
use super::guard::guard;
use super::params::out_pointer;
use super::status::reflex_status;
use super::tensor::reflex_tensor;
use super::view::View;

/// Bytes of one row of `elements` elements whose blocks follow one another: `elements / block_elements * block_bytes`.
///
/// This is what contiguous strides are made of. A packed matrix of n rows has n times as many bytes, though its rows do
/// not lie one after the other. Where several rows of `REFLEX_DTYPE_ACT_I8` follow one another, the stride between them
/// is this rounded up to a multiple of 16.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT` for a NULL `bytes`, a number that is no type, an `elements` that is negative or
/// no multiple of the type's block, and more bytes than an `int64_t` counts; `REFLEX_MISALIGNED`. `*bytes` is set only
/// on success. Thread-safe. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_dtype_row_bytes(dtype: reflex_dtype, elements: i64, bytes: *mut u64) -> reflex_status {
    guard("reflex_dtype_row_bytes", || {
        out_pointer("bytes", bytes)?;
        let (known, packed) =
            Dtype::parse(dtype).ok_or_else(|| Error::invalid(format!("dtype is {}", Dtype::unknown(dtype))))?;
        let size = known.row_bytes(packed, "elements", elements)?;
        // SAFETY: checked above.
        unsafe { bytes.write(size) };
        Ok(())
    })
}

/// Bytes from `tensor->data` to the end of the last byte that its shape and strides reach, with the gaps between rows.
/// An allocation for the tensor has to be that large. 0 where a dimension is 0.
///
/// `tensor->data` is not looked at and may be NULL, so that the size can be asked before there is memory. Type, rank,
/// shape and strides are what an op expects: all-zero strides are contiguous, a packed type is a dense matrix.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT` for a NULL `tensor` or `bytes` and for a type, rank, shape or stride that every
/// op refuses, `REFLEX_MISALIGNED` for a stride that is. `*bytes` is set only on success. Thread-safe. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_tensor_bytes(tensor: *const reflex_tensor, bytes: *mut u64) -> reflex_status {
    guard("reflex_tensor_bytes", || {
        out_pointer("tensor", tensor.cast_mut())?;
        out_pointer("bytes", bytes)?;
        // SAFETY: the caller's tensor, checked above.
        let mut tensor = unsafe { tensor.read() };
        // Any address that is aligned for every type: only numbers are judged here.
        tensor.data = std::ptr::without_provenance_mut(256);
        let (start, end) = View::weight("tensor", &tensor)?.extent();
        let size = (end - start) as u64;
        // SAFETY: checked above.
        unsafe { bytes.write(size) };
        Ok(())
    })
}

impl Dtype {
    /// Bytes of a row of so many elements; messages name `function`, `field` and the type, packed or not.
    pub fn row_bytes(self, packed: bool, field: &str, elements: i64) -> Result<u64> {
        let block = self.block_elements() as i64;
        let name = self.c_name(packed).to_str().unwrap_or("?");
        if elements < 0 {
            return Err(Error::invalid(format!("{field} is {elements}, expected 0 or more")));
        }
        if elements % block != 0 {
            return Err(Error::invalid(format!(
                "{field} is {elements}, expected a multiple of {block} ({name})"
            )));
        }
        (elements / block)
            .checked_mul(self.block_bytes() as i64)
            .map(|bytes| bytes as u64)
            .ok_or_else(|| Error::invalid(format!("{field} is {elements}, which overflows 64 bits ({name})")))
    }
}
