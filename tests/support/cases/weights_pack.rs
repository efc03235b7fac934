//! `cases/weights_pack.txt`: reflex_weights_pack, and back.

use super::*;
use crate::support::*;

#[derive(Clone, Debug)]
pub struct Case(PackCase);

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let dtype = d.dtype("dtype");
        let direction = &[("pack", Direction::Pack), ("unpack", Direction::Unpack)];
        Case(PackCase {
            dtype,
            n: d.number("n"),
            k: d.elements("k", dtype),
            gap: d.number("gap"),
            offset: d.number("offset"),
            in_place: d.flag("in_place"),
            direction: d.one_of("direction", direction),
        })
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let bytes = matrix_bytes(self.0.dtype, self.0.n, self.0.k);
        // Any bytes: NaN scales and all.
        self.0.call(io, &Random::new(self.0.n as u64).bytes(bytes))
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.0.dtype)
    }
}
