//! Weights: the one type that every weight matrix of an op has.

use super::error::{Error, Result};
use super::tensor::reflex_tensor;

/// A view of a weight matrix. The memory belongs to the caller; the library never owns it.
///
/// Weights in F32, F16, BF16 and the block formats keep everything in `data`: their other tensors are absent
/// (`data == NULL`), and their `group_size` is 0. The other fields are reserved for formats that store scales apart
/// from the elements. This version knows no such format, and refuses a weight in which one of them is set with
/// `REFLEX_INVALID_ARGUMENT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_weight {
    /// The matrix, `[n, k]`: its elements, or its blocks.
    pub data: reflex_tensor,
    /// Reserved for the scales of groups of elements. It has to be absent.
    pub scales: reflex_tensor,
    /// Reserved for the zero points of groups of elements. It has to be absent.
    pub zeros: reflex_tensor,
    /// Reserved for a scale that all elements share. It has to be absent.
    pub global_scale: reflex_tensor,
    /// Reserved for the order of the columns in formats that sort them. It has to be absent.
    pub order: reflex_tensor,
    /// Reserved for the number of elements of a row that share a scale. It has to be 0.
    pub group_size: u32,
    pub reserved: u32,
}

impl reflex_weight {
    /// Refuses every field but `data`, for formats that keep everything there. Messages call the weight `field` and its
    /// format `format`.
    pub(crate) fn expect_data_alone(&self, field: &str, format: impl Fn() -> &'static str) -> Result<()> {
        let tensors = [
            ("scales", &self.scales),
            ("zeros", &self.zeros),
            ("global_scale", &self.global_scale),
            ("order", &self.order),
        ];
        if let Some((name, _)) = tensors.into_iter().find(|(_, tensor)| !tensor.data.is_null()) {
            return Err(Error::invalid(format!(
                "{field}.{name}.data is set, expected NULL with {}",
                format()
            )));
        }
        for (name, number) in [("group_size", self.group_size), ("reserved", self.reserved)] {
            if number != 0 {
                return Err(Error::invalid(format!(
                    "{field}.{name} is {number}, expected 0 with {}",
                    format()
                )));
            }
        }
        Ok(())
    }
}
