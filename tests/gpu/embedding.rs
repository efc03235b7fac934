use crate::support::*;
use reflex_infer::*;

#[derive(Clone, Copy)]
struct Case {
    table: reflex_dtype,
    y: reflex_dtype,
    vocab: i64,
    dim: i64,
    gap: i64,
    y_offset: usize,
    scale: f32,
    weights: fn(&mut Random, reflex_dtype, usize) -> Vec<u8>,
}

impl Case {
    fn launch(self, io: &Io, ids: &[i32]) -> Launch {
        let mut random = Random::new((self.vocab * 31 + self.dim) as u64);
        let bytes = (self.weights)(&mut random, self.table, (self.vocab * self.dim) as usize);
        let p = reflex_embedding_params {
            struct_size: size_of::<reflex_embedding_params>() as u32,
            scale: self.scale,
            table: io.input_bytes(Spec::new(self.table, &[self.vocab, self.dim]).row_gap(self.gap), &bytes),
            ids: io.ints(ids),
            y: io.output(
                Spec::new(self.y, &[ids.len() as i64, self.dim])
                    .row_gap(self.gap)
                    .offset(self.y_offset),
            ),
        };
        Box::new(move |context, stream| reflex_embedding(context, &p, stream))
    }
}

/// Every row of a packed table, and ids that it has not.
fn packed_launch(io: &Io, table: reflex_dtype, shape: [i64; 2], y_offset: usize) -> Launch {
    let [vocab, dim] = shape;
    let native = random_weights(&mut Random::new(11), table, (vocab * dim) as usize);
    let case = PackCase::new(table, vocab, dim, Direction::Pack);
    let bytes = run_once_bytes(&Env::cpu(), |io| case.launch(io, &native)).remove(0);
    let ids: Vec<i32> = (-1..=vocab as i32).rev().collect();
    let p = reflex_embedding_params {
        struct_size: size_of::<reflex_embedding_params>() as u32,
        scale: 1.5,
        table: io.input_bytes(Spec::new(packed(table), &shape), &bytes),
        ids: io.ints(&ids),
        y: io.output(Spec::new(REFLEX_DTYPE_F32, &[ids.len() as i64, dim]).offset(y_offset)),
    };
    Box::new(move |context, stream| reflex_embedding(context, &p, stream))
}

pub fn tests(suite: &mut Suite) {
    // Bit for bit: this is also the test of every format's expansion on the device.
    let exact = Tolerance::EXACT;
    let ids = [4, 0, 1, 1, 6, 3, 2, 5];
    for table in WEIGHTS {
        let name = dtype_name(table);
        let base = Case {
            table,
            y: REFLEX_DTYPE_F32,
            vocab: 7,
            dim: 512,
            gap: 0,
            y_offset: 0,
            scale: 0.0,
            weights: random_weights,
        };
        suite.parity(format!("embedding::{name}"), exact, move |io| base.launch(io, &ids));
        let case = Case {
            dim: 2560,
            scale: 50.5,
            ..base
        };
        suite.parity(format!("embedding::{name}_scaled"), exact, move |io| {
            case.launch(io, &ids)
        });
        // Rows of 5 blocks: blocks of 2 modulo 4 bytes begin at 2 modulo 4 in every second row, those of MXFP4 anywhere.
        let case = Case {
            dim: 1280,
            gap: 1,
            ..base
        };
        suite.parity(format!("embedding::{name}_gaps"), exact, move |io| {
            case.launch(io, &ids)
        });
        let case = Case { y_offset: 1, ..base };
        suite.parity(format!("embedding::{name}_unaligned_y"), exact, move |io| {
            case.launch(io, &ids)
        });
        for y in [REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16] {
            let case = Case { y, ..base };
            suite.parity(format!("embedding::{name}_to_{}", dtype_name(y)), exact, move |io| {
                case.launch(io, &ids)
            });
        }
        let case = Case {
            weights: extreme_weights,
            ..base
        };
        suite.parity(format!("embedding::{name}_extremes"), exact, move |io| {
            case.launch(io, &ids)
        });
        // Ids are the caller's, and not to be trusted.
        suite.parity(format!("embedding::{name}_bad_ids"), exact, move |io| {
            base.launch(io, &[7, -1, 6, i32::MAX, i32::MIN, 0])
        });
    }
    for table in [REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16] {
        for dim in [1, 7, 8, 15, 1001] {
            let case = Case {
                table,
                y: table,
                vocab: 7,
                dim,
                gap: 0,
                y_offset: 0,
                scale: 0.0,
                weights: random_weights,
            };
            suite.parity(
                format!("embedding::{}_dim_{dim}", dtype_name(table)),
                exact,
                move |io| case.launch(io, &ids),
            );
        }
    }
    for table in BLOCKS {
        // Whole tiles alone; 21 rows after two panels and, where there can be some, three blocks after two tiles; no tile.
        let block = i64::from(reflex_dtype_block_elements(table));
        for (vocab, dim, y_offset) in [(32, 512, 0), (37, 512 + 3 * block, 0), (37, 768, 1), (20, block, 0)] {
            suite.parity(
                format!("embedding::{}_packed_{vocab}_{dim}_{y_offset}", dtype_name(table)),
                exact,
                move |io| packed_launch(io, table, [vocab, dim], y_offset),
            );
        }
    }
    let base = Case {
        table: REFLEX_DTYPE_Q6_K,
        y: REFLEX_DTYPE_F32,
        vocab: 5,
        dim: 256,
        gap: 0,
        y_offset: 0,
        scale: 1.0,
        weights: random_weights,
    };
    suite.parity("embedding::no_tokens", exact, move |io| base.launch(io, &[]));
    suite.parity("embedding::many_tokens", exact, move |io| {
        let ids: Vec<i32> = (0..1000).map(|i| i % 5).collect();
        base.launch(io, &ids)
    });
    let empty = Case { vocab: 0, ..base };
    suite.parity("embedding::empty_table", exact, move |io| empty.launch(io, &[0, 1]));

    suite.test("embedding::kernel_follows_alignment", |env| {
        let io = Io::new(env);
        let mut p = reflex_embedding_params {
            struct_size: size_of::<reflex_embedding_params>() as u32,
            table: io.input(Spec::new(REFLEX_DTYPE_F32, &[2, 16]), &[0.0; 32]),
            ids: io.ints(&[0]),
            y: io.output(Spec::new(REFLEX_DTYPE_F32, &[1, 16])),
            ..Default::default()
        };
        let name = |p: &_| selected(env, reflex_embedding_selected_kernel, p);
        assert_eq!(name(&p), "reflex_embedding_vec8");
        let native = p.table;
        p.table.dtype = packed(REFLEX_DTYPE_Q8_0);
        (p.table.shape[1], p.y.shape[1]) = (32, 32);
        assert_eq!(name(&p), "reflex_embedding_packed_vec8");
        (p.table, p.y.shape[1]) = (native, 16);
        p.y = io.output(Spec::new(REFLEX_DTYPE_F32, &[1, 16]).offset(1));
        assert_eq!(name(&p), "reflex_embedding");
    });
}
