use crate::cases::{each_case, wanted_tier};
use crate::support::*;
use reflex_infer::*;
use std::path::Path;

/// Blocks and their elements, as tests/golden/generate.py writes them.
fn golden(dtype: reflex_dtype) -> (Vec<u8>, Vec<f32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.bin", dtype_name(dtype)));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let count = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let (blocks, values) = bytes[4..].split_at(count * reflex_dtype_block_bytes(dtype) as usize);
    let values = decode(REFLEX_DTYPE_F32, values);
    assert_eq!(values.len(), count * reflex_dtype_block_elements(dtype) as usize);
    (blocks.to_vec(), values)
}

#[test]
fn blocks_are_expanded_bit_for_bit() {
    let env = Env::cpu();
    for dtype in WEIGHTS.into_iter().filter(|&d| reflex_dtype_block_elements(d) > 1) {
        let (blocks, want) = golden(dtype);
        let got = expand(&env, dtype, 1, want.len(), &blocks);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!(
                got.to_bits() == want.to_bits(),
                "{}: element {i} is {got:e}, expected {want:e}",
                dtype_name(dtype)
            );
        }
    }
}

/// Problems of `cases/embedding.txt`: rows of the expanded table, scaled and rounded once, and NaN where there is no row.
#[test]
fn problems_are_rows_of_the_table() {
    let env = Env::cpu();
    each_case(
        "embedding",
        wanted_tier(),
        "embedding::problems_are_rows_of_the_table",
        |descriptor| {
            let case = EmbeddingCase::read(descriptor);
            let (vocab, dim) = (case.vocab as usize, case.dim as usize);
            let table = expand(&env, case.table, vocab, dim, &case.native_bytes());
            let scale = if case.scale == 0.0 { 1.0 } else { case.scale };
            let y = run_once(&env, |io| case.call(io).launch).remove(0);
            for (row, &id) in y.chunks(dim).zip(&case.ids) {
                let known = usize::try_from(id).ok().filter(|&id| id < vocab);
                let Some(id) = known else {
                    assert!(row.iter().all(|v| v.is_nan()), "row {id} is not there");
                    continue;
                };
                let want: Vec<f32> = table[id * dim..][..dim].iter().map(|v| scale * v).collect();
                let want = decode(case.y, &encode(case.y, &want));
                let same = row.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "row {id}: {row:?}, expected {want:?}");
            }
        },
    );
}

/// Row strides keep every block as aligned as those of the first row, and need no more than that.
#[test]
fn strides_keep_blocks_aligned() {
    let env = Env::cpu();
    for dtype in WEIGHTS.into_iter().filter(|&d| reflex_dtype_block_elements(d) > 1) {
        let (elements, bytes) = (reflex_dtype_block_elements(dtype), reflex_dtype_block_bytes(dtype));
        let align = 16.min(1 << bytes.trailing_zeros());
        let dim = i64::from(elements);
        let row = random_weights(&mut Random::new(1), dtype, dim as usize);
        let case = |stride: u32, io: &Io| -> Launch {
            let spec = Spec::new(dtype, &[2, dim]).strides(&[i64::from(stride), i64::from(bytes)]);
            let p = reflex_embedding_params {
                struct_size: size_of::<reflex_embedding_params>() as u32,
                table: io.input_bytes(spec, &row.repeat(2)),
                ids: io.ints(&[1, 0]),
                y: io.output(Spec::new(REFLEX_DTYPE_F32, &[2, dim])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_embedding(context, &p, stream))
        };
        let got = run_once(&env, |io| case(bytes + align, io)).remove(0);
        assert_eq!(got, expand(&env, dtype, 2, dim as usize, &row.repeat(2)));
        if align > 1 {
            let (status, message) = refused(&env, |io| case(bytes + align / 2, io));
            assert!(
                status == REFLEX_MISALIGNED && message.contains("embedding: table.stride[0]"),
                "{}: {message}",
                dtype_name(dtype)
            );
        }
    }
}

/// The block formats' largest, smallest and subnormal scales give the products that f32 gives.
#[test]
fn extreme_scales_stay_numbers() {
    let env = Env::cpu();
    for dtype in WEIGHTS {
        let bytes = extreme_weights(&mut Random::new(2), dtype, 1 << 14);
        let values = expand(&env, dtype, 1, 1 << 14, &bytes);
        let overflows = dtype == REFLEX_DTYPE_MXFP4;
        assert!(values.iter().all(|v| v.is_finite() || overflows && v.is_infinite()));
    }
}

#[test]
fn plain_types_are_exact() {
    let env = Env::cpu();
    let values = Random::new(1).normals(3 * 17);
    for dtype in [REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16] {
        let bytes = encode(dtype, &values);
        assert_eq!(expand(&env, dtype, 3, 17, &bytes), decode(dtype, &bytes));
    }
}

#[test]
fn ids_choose_scaled_rows_and_bad_ids_give_nan() {
    let table: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let outputs = run_once(&Env::cpu(), |io| {
        let p = reflex_embedding_params {
            struct_size: size_of::<reflex_embedding_params>() as u32,
            scale: 2.0,
            table: io.input(Spec::new(REFLEX_DTYPE_F32, &[4, 3]).row_gap(2), &table),
            ids: io.ints(&[3, -1, 0, 4, 3, i32::MAX, i32::MIN]),
            y: io.output(Spec::new(REFLEX_DTYPE_F16, &[7, 3]).row_gap(1)),
        };
        Box::new(move |context, stream| reflex_embedding(context, &p, stream))
    });
    for (row, want) in [Some(9), None, Some(0), None, Some(9), None, None]
        .into_iter()
        .enumerate()
    {
        for i in 0..3 {
            let got = outputs[0][3 * row + i];
            match want {
                Some(first) => assert_eq!(got, 2.0 * (first + i) as f32),
                None => assert!(got.is_nan()),
            }
        }
    }
}

#[test]
fn an_empty_table_gives_nan_and_no_ids_give_nothing() {
    let run = |vocab: i64, ids: &'static [i32]| {
        run_once(&Env::cpu(), move |io| {
            let p = reflex_embedding_params {
                struct_size: size_of::<reflex_embedding_params>() as u32,
                table: io.input(Spec::new(REFLEX_DTYPE_F32, &[vocab, 2]), &vec![1.0; 2 * vocab as usize]),
                ids: io.ints(ids),
                y: io.output(Spec::new(REFLEX_DTYPE_F32, &[ids.len() as i64, 2])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_embedding(context, &p, stream))
        })
        .remove(0)
    };
    assert!(run(0, &[0]).iter().all(|v| v.is_nan()));
    assert!(run(3, &[]).is_empty());
}

#[test]
fn bad_input_is_refused() {
    let env = Env::cpu();
    let case = |change: &dyn Fn(&mut reflex_embedding_params)| {
        refused(&env, |io| {
            let mut p = reflex_embedding_params {
                struct_size: size_of::<reflex_embedding_params>() as u32,
                table: io.input_bytes(Spec::new(REFLEX_DTYPE_Q4_K, &[2, 256]), &[0; 288]),
                ids: io.ints(&[0, 1, 0]),
                y: io.output(Spec::new(REFLEX_DTYPE_F32, &[3, 256])),
                ..Default::default()
            };
            change(&mut p);
            Box::new(move |context, stream| reflex_embedding(context, &p, stream))
        })
    };
    let expect = |(status, message): (reflex_status, String), want: reflex_status, field: &str| {
        assert!(
            status == want && message.contains(&format!("embedding: {field}")),
            "{message}"
        );
    };
    let invalid = REFLEX_INVALID_ARGUMENT;
    expect(case(&|p| p.scale = f32::NAN), invalid, "scale");
    expect(case(&|p| p.scale = f32::INFINITY), invalid, "scale");
    expect(case(&|p| p.table.data = std::ptr::null_mut()), invalid, "table.data");
    expect(case(&|p| p.ids.data = std::ptr::null_mut()), invalid, "ids.data");
    expect(case(&|p| p.y.data = std::ptr::null_mut()), invalid, "y.data");
    expect(case(&|p| p.table.dtype = REFLEX_DTYPE_I32), invalid, "table.dtype");
    expect(case(&|p| p.table.dtype = reflex_dtype(77)), invalid, "table.dtype");
    expect(
        case(&|p| (p.table.rank, p.table.shape) = (3, [1, 2, 256, 0])),
        invalid,
        "table.rank",
    );
    expect(case(&|p| p.table.shape[1] = 100), invalid, "table.shape[1]");
    expect(case(&|p| p.ids.dtype = REFLEX_DTYPE_F32), invalid, "ids.dtype");
    expect(case(&|p| p.ids.rank = 2), invalid, "ids.rank");
    expect(case(&|p| p.y.dtype = REFLEX_DTYPE_Q4_K), invalid, "y.dtype");
    expect(case(&|p| p.y.shape[0] = 2), invalid, "y.shape");
    expect(case(&|p| p.y.shape[1] = 255), invalid, "y.shape");
    expect(case(&|p| p.y.data = p.ids.data), invalid, "y.data");
    expect(
        case(&|p| p.table.data = p.table.data.wrapping_byte_add(8)),
        REFLEX_MISALIGNED,
        "table.data",
    );
    expect(
        case(&|p| p.table.stride = [146, 144, 0, 0]),
        REFLEX_MISALIGNED,
        "table.stride[0]",
    );
}
