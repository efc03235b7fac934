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
        p.y = io.output(Spec::new(REFLEX_DTYPE_F32, &[1, 16]).offset(1));
        assert_eq!(name(&p), "reflex_embedding");
    });
}
