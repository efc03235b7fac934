//! The rule on memory that operands share, the same for every op.
//!
//! An output may be exactly one of the op's inputs, the same view, where the op says so. Apart from that, an output
//! shares no byte with another operand, and no element of it shares one with another element of it. The workspace
//! shares no byte with any operand. Views may interleave where they share no byte.

use super::workspace::Workspace;
use crate::abi::{Error, Result, View};
use smallvec::SmallVec;

/// An op with more of them allocates memory for their list.
const MOST: usize = 24;

/// What a launch reads and writes.
#[derive(Default)]
pub(crate) struct Operands<'a>(SmallVec<[Operand<'a>; MOST]>);

#[derive(Clone, Copy)]
struct Operand<'a> {
    view: &'a View,
    written: Option<InPlace>,
    extent: (u128, u128),
}

/// The inputs that an output may share its bytes with, by the names of their fields, and how it may do so.
#[derive(Clone, Copy)]
pub(crate) struct InPlace {
    inputs: &'static [&'static str],
    fits: fn(&View, &View) -> bool,
    /// For messages.
    how: &'static str,
}

impl InPlace {
    /// For outputs that share no byte with any input.
    pub const NO: InPlace = InPlace::of(&[]);

    /// For outputs that may be exactly the same view as one of these inputs.
    pub const fn of(inputs: &'static [&'static str]) -> InPlace {
        InPlace {
            inputs,
            fits: View::is_same,
            how: "exactly",
        }
    }

    /// For outputs with another rule.
    pub const fn where_it(
        inputs: &'static [&'static str],
        fits: fn(&View, &View) -> bool,
        how: &'static str,
    ) -> InPlace {
        InPlace { inputs, fits, how }
    }
}

impl<'a> Operands<'a> {
    #[inline(always)]
    pub fn new() -> Operands<'a> {
        Operands::default()
    }

    fn add(&mut self, view: impl Into<Option<&'a View>>, written: Option<InPlace>) -> &mut Self {
        if let Some(view) = view.into() {
            let extent = view.extent();
            self.0.push(Operand { view, written, extent });
        }
        self
    }

    /// Adds an input that may be absent.
    pub fn read(&mut self, view: impl Into<Option<&'a View>>) -> &mut Self {
        self.add(view, None)
    }

    /// Adds an output that may be absent.
    pub fn write(&mut self, view: impl Into<Option<&'a View>>, in_place: InPlace) -> &mut Self {
        self.add(view, Some(in_place))
    }

    pub fn check(&self) -> Result<()> {
        for (i, output) in self.0.iter().enumerate() {
            let Some(in_place) = &output.written else { continue };
            output.expect_apart_from_itself()?;
            for (j, other) in self.0.iter().enumerate() {
                // Of two outputs the message names the later one.
                if i != j && (other.written.is_none() || j < i) {
                    output.expect_apart(other, in_place)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that the workspace, with the size that the caller gives, shares no byte with an operand.
    pub fn check_workspace(&self, workspace: &Workspace) -> Result<()> {
        let start = workspace.data as u128;
        let end = start + workspace.bytes as u128;
        for operand in &self.0 {
            let view = operand.view;
            if start.max(operand.extent.0) < end.min(operand.extent.1) && view.meets_range(start, workspace.bytes) {
                return Err(Error::invalid(format!(
                    "workspace {:p} of {} bytes overlaps {} at {:p}, expected memory of its own",
                    workspace.data,
                    workspace.bytes,
                    view.field(),
                    view.data
                )));
            }
        }
        Ok(())
    }
}

impl Operand<'_> {
    fn expect_apart_from_itself(&self) -> Result<()> {
        if !self.view.overlaps_itself() {
            return Ok(());
        }
        let view = self.view;
        let repeated = (0..view.rank()).find(|&i| view.dim(i) > 1 && view.stride(i) == 0);
        Err(match repeated {
            Some(i) => view.invalid(format!(
                "stride[{i}] is 0 over {} elements, expected an output that does not overlap itself",
                view.dim(i)
            )),
            None => view.invalid(format!(
                "stride is {:?} for shape {:?} of {}, expected an output that does not overlap itself",
                view.strides(),
                view.dims(),
                view.dtype_name()
            )),
        })
    }

    fn expect_apart(&self, other: &Operand, in_place: &InPlace) -> Result<()> {
        let disjoint = self.extent.0 >= other.extent.1 || other.extent.0 >= self.extent.1;
        if disjoint {
            return Ok(());
        }
        let (view, other) = (self.view, other.view);
        let may = in_place.inputs.contains(&other.field());
        if may && (in_place.fits)(view, other) || !view.shares_bytes(other) {
            return Ok(());
        }
        let or = match may {
            true => format!("{} {} (in place) or ", in_place.how, other.field()),
            false => String::new(),
        };
        Err(view.invalid(format!(
            "data {:p} overlaps {} at {:p}, expected {or}memory of its own",
            view.data,
            other.field(),
            other.data
        )))
    }
}
