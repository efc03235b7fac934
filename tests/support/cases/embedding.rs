//! `cases/embedding.txt`.

use super::*;
use crate::support::*;

#[derive(Clone, Debug)]
pub struct Case {
    pub table: reflex_dtype,
    pub packed: bool,
    pub y: reflex_dtype,
    pub vocab: i64,
    pub dim: i64,
    pub scale: f32,
    pub ids: Vec<i32>,
    gap: i64,
    y_offset: usize,
    extreme: bool,
    kernel: String,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let table = d.dtype("table");
        let vocab = d.number("vocab");
        let ids = match d.text("ids") {
            // Every row from the last to the first, and one that is not there at either end.
            "all" => (-1..=vocab as i32).rev().collect(),
            _ => d.list::<i32>("ids").repeat(d.number("repeat")),
        };
        Case {
            table,
            packed: d.flag("packed"),
            y: d.dtype("y"),
            vocab,
            dim: if reflex_dtype_block_elements(table) == 1 {
                d.number("dim")
            } else {
                d.elements("dim", table)
            },
            scale: d.number("scale"),
            ids,
            gap: d.number("gap"),
            y_offset: d.number("y_offset"),
            extreme: d.one_of("values", &[("normal", false), ("extreme", true)]),
            kernel: d.text("kernel").to_string(),
        }
    }

    /// The table's rows without gaps, as GGUF has them.
    pub fn native_bytes(&self) -> Vec<u8> {
        let seed = if self.packed { 11 } else { self.vocab * 31 + self.dim };
        let mut random = Random::new(seed as u64);
        let count = (self.vocab * self.dim) as usize;
        match self.extreme {
            true => extreme_weights(&mut random, self.table, count),
            false => random_weights(&mut random, self.table, count),
        }
    }

    fn table(&self, io: &Io) -> reflex_tensor {
        let shape = [self.vocab, self.dim];
        if !self.packed {
            return io.input_bytes_of(Spec::new(self.table, &shape).row_gap(self.gap), || self.native_bytes());
        }
        io.input_bytes_of(Spec::new(packed(self.table), &shape), || {
            packed_bytes(self.table, self.vocab, self.dim, &self.native_bytes())
        })
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let y = Spec::new(self.y, &[self.ids.len() as i64, self.dim]);
        let y = if self.packed {
            y.gap(self.gap)
        } else {
            y.row_gap(self.gap)
        };
        let p = reflex_embedding_params {
            struct_size: size_of::<reflex_embedding_params>() as u32,
            scale: self.scale,
            table: self.table(io),
            ids: io.ints(&self.ids),
            y: io.output(y.offset(self.y_offset)),
        };
        Call::new(p, reflex_embedding, reflex_embedding_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, 75))
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "embedding",
        (reflex_embedding, reflex_embedding_supported),
        None,
        |m, p: &mut reflex_embedding_params| {
            let (vocab, k, ids) = (m.pick(&[0, 1, 16, 33]), m.pick(&[0, 8, 32, 256, 256, 512]), m.dim());
            p.table = m.weight(vocab, k);
            p.ids = m.ints(ids);
            p.y = m.floats(&[ids, k]);
        },
    );
}
