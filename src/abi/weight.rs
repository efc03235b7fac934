//! Weights: the one type that every weight matrix of an op has.

use super::error::{Error, Result};
use super::tensor::reflex_tensor;

/// A view of a weight matrix: the caller's memory, never owned by the library.
///
/// F32, F16, BF16 and the block formats have all that belongs to them in `data`: the other tensors are absent (`data == NULL`), and
/// `group_size` is 0. The other fields are the places of formats that keep scales apart from their elements. This version knows no such
/// format, and refuses a weight in which one of them is set with `REFLEX_INVALID_ARGUMENT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_weight {
    /// `[n, k]`, elements or blocks.
    pub data: reflex_tensor,
    /// Place of the scales of groups of elements. Absent.
    pub scales: reflex_tensor,
    /// Place of the zero points of groups of elements. Absent.
    pub zeros: reflex_tensor,
    /// Place of a scale that all elements share. Absent.
    pub global_scale: reflex_tensor,
    /// Place of the order of the columns, for formats that sort them. Absent.
    pub order: reflex_tensor,
    /// Place of the number of elements of a row that share a scale. 0.
    pub group_size: u32,
    pub reserved: u32,
}

impl reflex_weight {
    /// Refuses what a weight of a format does not have that keeps everything in `data`. Messages call the weight `field` and its
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
