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
        self.0.call(io, || Random::new(self.0.n as u64).bytes(bytes))
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.0.dtype)
    }
}

/// Source and destination, in place now and then; `types`: theirs, of a format.
fn random_pair(m: &mut Maker, types: fn(reflex_dtype) -> [reflex_dtype; 2]) -> (reflex_tensor, reflex_tensor) {
    let shape = [m.pick(&[0, 1, 16, 17, 40]), m.pick(&[0, 32, 256, 256, 512, 544])];
    let [from, to] = types(m.pick(&BLOCKS));
    let source = m.tensor(from, &shape);
    let destination = match m.one_in(4) {
        true => reflex_tensor { dtype: to, ..source },
        false => m.tensor(to, &shape),
    };
    (source, destination)
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "weights_pack",
        (reflex_weights_pack, reflex_weights_pack_supported),
        scratch!(reflex_weights_pack_workspace_size, false),
        |m, p: &mut reflex_weights_pack_params| {
            (p.source, p.destination) = random_pair(m, |dtype| [dtype, packed(dtype)]);
        },
    );
    calls.op(
        "weights_unpack",
        (reflex_weights_unpack, reflex_weights_unpack_supported),
        scratch!(reflex_weights_unpack_workspace_size, false),
        |m, p: &mut reflex_weights_unpack_params| {
            (p.source, p.destination) = random_pair(m, |dtype| [packed(dtype), dtype]);
        },
    );
}
