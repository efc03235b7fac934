//! Checks of the params' fields that are no operands, which many ops have.

use crate::abi::{Error, Result};

/// Checks a reserved field.
pub(super) fn expect_reserved(reserved: u32) -> Result<()> {
    match reserved {
        0 => Ok(()),
        value => Err(Error::invalid(format!("reserved is {value}, expected 0"))),
    }
}

/// Checks a number that is finite and not negative.
pub(super) fn expect_not_negative(field: &str, value: f32) -> Result<()> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "{field} is {value}, expected a finite number, 0 or more"
        ))),
    }
}
