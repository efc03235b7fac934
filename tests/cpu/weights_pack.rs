use crate::support::*;
use reflex_infer::*;
use std::ptr::null_mut;

/// What one launch makes of the source's bytes.
fn convert(env: &Env, case: PackCase, bytes: &[u8]) -> Vec<u8> {
    run_once_bytes(env, |io| case.launch(io, bytes)).remove(0)
}

fn columns(dtype: reflex_dtype) -> &'static [i64] {
    match reflex_dtype_block_elements(dtype) {
        32 => &[32, 96, 256, 288, 896],
        _ => &[256, 768],
    }
}

#[test]
fn unpacking_gives_back_every_bit() {
    let env = Env::cpu();
    let mut random = Random::new(5);
    for dtype in BLOCKS {
        for &k in columns(dtype) {
            for n in [1, 15, 16, 17, 33] {
                // Any bytes: NaN scales and all.
                let bytes = random.bytes(matrix_bytes(dtype, n, k));
                let mut packed = Vec::new();
                for (gap, in_place) in [(0, false), (3, false), (0, true)] {
                    let case = PackCase {
                        gap,
                        in_place,
                        ..PackCase::new(dtype, n, k, Direction::Pack)
                    };
                    let got = convert(&env, case, &bytes);
                    assert!(packed.is_empty() || got == packed, "{case:?}");
                    packed = got;
                    let case = PackCase {
                        direction: Direction::Unpack,
                        ..case
                    };
                    assert!(convert(&env, case, &packed) == bytes, "{case:?}");
                }
                // A whole tile never stays as it is; the rows after the last panel always do.
                assert_eq!(packed != bytes, n >= 16 && k >= 256, "{dtype:?} [{n}, {k}]");
                let left = matrix_bytes(dtype, n / 16 * 16, k);
                assert!(packed[left..] == bytes[left..], "{dtype:?} [{n}, {k}]");
            }
        }
    }
}

/// The natural unsigned quant of element `x` of 256, from the GGUF block.
fn quant(dtype: reflex_dtype, run: &[u8], x: usize) -> u32 {
    let (b, e) = (x / 32, x % 32);
    let small = &run[b * run.len() / 8..];
    let nibble = |from: &[u8]| u32::from(if e < 16 { from[e] & 15 } else { from[e - 16] >> 4 });
    let word = |from: &[u8]| u32::from_le_bytes(from[..4].try_into().unwrap());
    let byte = |i: usize| u32::from(run[i]);
    let crumb = |at: usize| (byte(at + 32 * (b / 4) + e) >> (2 * (b % 4))) & 3;
    match dtype {
        REFLEX_DTYPE_Q4_0 | REFLEX_DTYPE_IQ4_NL => nibble(&small[2..]),
        REFLEX_DTYPE_Q4_1 => nibble(&small[4..]),
        REFLEX_DTYPE_Q5_0 => nibble(&small[6..]) + 16 * ((word(&small[2..]) >> e) & 1),
        REFLEX_DTYPE_Q5_1 => nibble(&small[8..]) + 16 * ((word(&small[4..]) >> e) & 1),
        REFLEX_DTYPE_Q8_0 => u32::from(small[2 + e]),
        REFLEX_DTYPE_Q2_K => crumb(16),
        REFLEX_DTYPE_TQ2_0 => crumb(0),
        REFLEX_DTYPE_Q3_K => crumb(32) + 4 * ((byte(e) >> b) & 1),
        REFLEX_DTYPE_Q4_K => (byte(16 + 32 * (b / 2) + e) >> (4 * (b % 2))) & 15,
        REFLEX_DTYPE_Q5_K => ((byte(48 + 32 * (b / 2) + e) >> (4 * (b % 2))) & 15) + 16 * ((byte(16 + e) >> b) & 1),
        REFLEX_DTYPE_Q6_K => {
            let low = byte(64 * (b / 4) + 32 * (b % 2) + e) >> (4 * (b % 4 / 2));
            (low & 15) + 16 * crumb(128)
        }
        REFLEX_DTYPE_IQ4_XS => nibble(&run[8 + 16 * b..]),
        REFLEX_DTYPE_MXFP4 => nibble(&small[1..]),
        other => panic!("{other:?}"),
    }
}

/// The words of one lane about one row, chunk by chunk, as docs/packed-weights.md writes them down.
/// `q(b, i)` is the quant of the word's element i in block b.
fn words(dtype: reflex_dtype, q: impl Fn(usize, usize) -> u32) -> Vec<u32> {
    let sum = |terms: &mut dyn Iterator<Item = u32>| terms.fold(0, |sum, term| sum | term);
    let fours = || 0..4usize;
    let eights = || (0..8usize).flat_map(|b| (0..4usize).map(move |i| (b, i)));
    // Even and odd blocks of a pair, at the low and the high nibble of byte i.
    let nibbles = |even: &dyn Fn(u32) -> u32, odd: &dyn Fn(u32) -> u32| -> Vec<u32> {
        fours()
            .map(|j| sum(&mut fours().map(|i| even(q(2 * j, i)) << (8 * i) | odd(q(2 * j + 1, i)) << (8 * i + 4))))
            .collect()
    };
    let crumbs = |low: &dyn Fn(usize, u32) -> u32| -> Vec<u32> {
        (0..2)
            .map(|jj| {
                let terms = |s: usize| fours().map(move |i| (s, i));
                sum(&mut fours()
                    .flat_map(terms)
                    .map(|(s, i)| low(s, q(4 * jj + s, i)) << (8 * i + 2 * s)))
            })
            .collect()
    };
    match dtype {
        REFLEX_DTYPE_Q8_0 => (0..8).map(|b| sum(&mut fours().map(|i| q(b, i) << (8 * i)))).collect(),
        REFLEX_DTYPE_Q4_0 | REFLEX_DTYPE_Q4_1 | REFLEX_DTYPE_Q4_K => nibbles(&|q| q, &|q| q),
        REFLEX_DTYPE_IQ4_NL | REFLEX_DTYPE_IQ4_XS | REFLEX_DTYPE_MXFP4 => fours()
            .map(|j| sum(&mut fours().map(|i| q(2 * j, i) << (4 * i) | q(2 * j + 1, i) << (16 + 4 * i))))
            .collect(),
        REFLEX_DTYPE_Q5_0 | REFLEX_DTYPE_Q5_1 | REFLEX_DTYPE_Q5_K => {
            let mut chunks = nibbles(&|q| q & 15, &|q| q >> 1);
            chunks.push(sum(&mut eights().map(|(b, i)| match b % 2 {
                0 => (q(b, i) >> 4) << ((8 * i + 4 + b) % 32),
                _ => (q(b, i) & 1) << ((8 * i + 2 + b) % 32),
            })));
            chunks
        }
        REFLEX_DTYPE_Q6_K => {
            let mut chunks = nibbles(&|q| q & 15, &|q| q >> 2);
            for jj in 0..2 {
                chunks.push(sum(&mut eights().filter(|(b, _)| b / 4 == jj).map(|(b, i)| {
                    let pair = if b % 2 == 0 { q(b, i) >> 4 } else { q(b, i) & 3 };
                    pair << ((8 * i + [4, 2, 8, 6][b % 4]) % 32)
                })));
            }
            chunks
        }
        REFLEX_DTYPE_Q2_K | REFLEX_DTYPE_TQ2_0 => crumbs(&|_, q| q),
        REFLEX_DTYPE_Q3_K => {
            let mut chunks = crumbs(&|s, q| if s < 2 { q & 3 } else { q >> 1 });
            chunks.push(sum(&mut eights().map(|(b, i)| {
                let bit = if b % 4 < 2 { q(b, i) >> 2 } else { q(b, i) & 1 };
                bit << ((8 * i + 4 * (b / 4) + [2, 4, 3, 5][b % 4]) % 32)
            })));
            chunks
        }
        other => panic!("{other:?}"),
    }
}

/// Sixteen or eight numbers of six bits in twelve bytes, as GGUF has them: Q4_K's eight scales and then eight minima, or
/// Q3_K's sixteen scales.
fn six_bits(dtype: reflex_dtype, run: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| match dtype {
        REFLEX_DTYPE_Q3_K => {
            let s = &run[96..108];
            ((s[i % 8] >> (4 * (i / 8))) & 15) | (((s[8 + i % 4] >> (2 * (i / 4))) & 3) << 4)
        }
        _ => {
            let (s, j, minimum) = (&run[4..16], i % 8, i / 8);
            match j {
                0..4 => s[j + 4 * minimum] & 63,
                _ => ((s[j + 4] >> (4 * minimum)) & 15) | ((s[j - 4 + 4 * minimum] >> 6) << 4),
            }
        }
    })
}

/// The scales of lane 4g + t: offsets in the section after the quants, and the bytes there. `run[half]`: 256 elements of
/// rows g and g + 8.
fn scales(dtype: reflex_dtype, run: [&[u8]; 2], g: usize, t: usize) -> Vec<(usize, Vec<u8>)> {
    let lane = 4 * g + t;
    // Of the two blocks of each row, `length` bytes from their first one on.
    let heads = |length: usize| -> Vec<u8> {
        let step = run[0].len() / 8;
        let starts = [(0, 2 * t), (0, 2 * t + 1), (1, 2 * t), (1, 2 * t + 1)];
        starts
            .iter()
            .flat_map(|&(half, b)| run[half][b * step..][..length].to_vec())
            .collect()
    };
    let both = |range: std::ops::Range<usize>| [&run[0][range.clone()], &run[1][range]].concat();
    let fields = |pick: [usize; 4]| {
        let f = run.map(|run| pick.map(|i| six_bits(dtype, run)[i]));
        let bytes: Vec<u8> = (0..4).map(|i| f[0][i] | (f[1][i] & 3) << 6).collect();
        let nibbles = (0..4).fold(0u16, |word, i| word | u16::from(f[1][i] >> 2) << (4 * i));
        vec![(lane * 4, bytes), (128 + lane * 2, nibbles.to_le_bytes().to_vec())]
    };
    match dtype {
        REFLEX_DTYPE_Q4_0 | REFLEX_DTYPE_Q5_0 | REFLEX_DTYPE_Q8_0 | REFLEX_DTYPE_IQ4_NL => vec![(lane * 8, heads(2))],
        REFLEX_DTYPE_Q4_1 | REFLEX_DTYPE_Q5_1 => vec![(lane * 16, heads(4))],
        REFLEX_DTYPE_MXFP4 => vec![(lane * 4, heads(1))],
        REFLEX_DTYPE_Q4_K | REFLEX_DTYPE_Q5_K => {
            let mut parts = fields([2 * t, 2 * t + 1, 8 + 2 * t, 8 + 2 * t + 1]);
            parts.push((192 + g * 8, both(0..4)));
            parts
        }
        REFLEX_DTYPE_Q3_K => {
            let mut parts = fields([4 * t, 4 * t + 1, 4 * t + 2, 4 * t + 3]);
            parts.push((192 + g * 4, both(108..110)));
            parts
        }
        REFLEX_DTYPE_Q6_K => vec![
            (lane * 8, both(192 + 4 * t..196 + 4 * t)),
            (256 + g * 4, both(208..210)),
        ],
        REFLEX_DTYPE_Q2_K => vec![(lane * 8, both(4 * t..4 * t + 4)), (256 + g * 8, both(80..84))],
        REFLEX_DTYPE_TQ2_0 => vec![(g * 4, both(64..66))],
        REFLEX_DTYPE_IQ4_XS => {
            let low = |half: usize, b: usize| (run[half][4 + b / 2] >> (4 * (b % 2))) & 15;
            let high = |half: usize, b: usize| (run[half][2 + b / 4] >> (2 * (b % 4))) & 3;
            let nibbles = (0..2)
                .map(|half| low(half, 2 * t) | low(half, 2 * t + 1) << 4)
                .collect();
            let pairs = (0..2).fold(0, |byte, half| {
                byte | (high(half, 2 * t) | high(half, 2 * t + 1) << 2) << (4 * half)
            });
            vec![(lane * 2, nibbles), (64 + lane, vec![pairs]), (96 + g * 4, both(0..2))]
        }
        other => panic!("{other:?}"),
    }
}

/// Word by word against the document, for a matrix of two panels, two tiles and, where there can be one, a tail.
#[test]
fn the_layout_is_the_documented_one() {
    let env = Env::cpu();
    for dtype in BLOCKS {
        let k = if reflex_dtype_block_elements(dtype) == 32 {
            608
        } else {
            512
        };
        let n = 35;
        let bytes = Random::new(u64::from(dtype.0)).bytes(matrix_bytes(dtype, n, k));
        let packed = convert(&env, PackCase::new(dtype, n, k, Direction::Pack), &bytes);
        let row_bytes = matrix_bytes(dtype, 1, k);
        let run_bytes = matrix_bytes(dtype, 1, 256);
        let split = [REFLEX_DTYPE_Q2_K, REFLEX_DTYPE_Q3_K, REFLEX_DTYPE_Q6_K].contains(&dtype);
        for (panel, s, g, t) in (0..128).map(|i| (i / 64, i / 32 % 2, i / 4 % 8, i % 4)) {
            let run = |half: usize| &bytes[(16 * panel + g + 8 * half) * row_bytes + s * run_bytes..][..run_bytes];
            let tile = &packed[16 * panel * row_bytes + 16 * s * run_bytes..][..16 * run_bytes];
            let mut section = 0;
            for (w, half) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let e = |i: usize| if split { 16 * w + 4 * t + i } else { 8 * t + 4 * w + i };
                let want = words(dtype, |b, i| quant(dtype, run(half), 32 * b + e(i)));
                section = 512 * want.len();
                for (chunk, want) in want.into_iter().enumerate() {
                    let at = 512 * chunk + 16 * (4 * g + t) + 4 * (2 * w + half);
                    let got = u32::from_le_bytes(tile[at..at + 4].try_into().unwrap());
                    assert!(
                        got == want,
                        "{}: panel {panel} tile {s} lane {g}, {t} word {w} half {half} chunk {chunk} is {got:#010x}, expected {want:#010x}",
                        dtype_name(dtype)
                    );
                }
            }
            for (at, want) in scales(dtype, [run(0), run(1)], g, t) {
                assert_eq!(
                    tile[section + at..][..want.len()],
                    want,
                    "{}: scales at {at}",
                    dtype_name(dtype)
                );
            }
        }
        // The last blocks of each row, native.
        let tail = row_bytes - 2 * run_bytes;
        for row in 0..32 {
            let at = row / 16 * 16 * row_bytes + 32 * run_bytes + row % 16 * tail;
            assert_eq!(
                packed[at..at + tail],
                bytes[(row + 1) * row_bytes - tail..(row + 1) * row_bytes]
            );
        }
    }
}

#[test]
fn an_embedding_reads_packed_tables() {
    let env = Env::cpu();
    for dtype in BLOCKS {
        for &k in columns(dtype) {
            let n = 37;
            let bytes = Random::new(9).bytes(matrix_bytes(dtype, n, k));
            let packed_bytes = convert(&env, PackCase::new(dtype, n, k, Direction::Pack), &bytes);
            let want = expand(&env, dtype, n as usize, k as usize, &bytes);
            let got = expand(&env, packed(dtype), n as usize, k as usize, &packed_bytes);
            let same = got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} [{n}, {k}]", dtype_name(dtype));
        }
    }
}

#[test]
fn names_and_sizes_of_packed_types() {
    for dtype in BLOCKS {
        assert_eq!(dtype_name(packed(dtype)), format!("{}_packed", dtype_name(dtype)));
        assert_eq!(reflex_dtype_block_bytes(packed(dtype)), reflex_dtype_block_bytes(dtype));
        assert_eq!(
            reflex_dtype_block_elements(packed(dtype)),
            reflex_dtype_block_elements(dtype)
        );
        for dtype in [dtype, packed(dtype)] {
            let mut bytes = 0;
            ok(reflex_weights_packed_size(dtype, 33, 512, &mut bytes));
            assert_eq!(bytes, matrix_bytes(dtype, 33, 512) as u64);
            ok(reflex_weights_packed_size(dtype, 0, 512, &mut bytes));
            assert_eq!(bytes, 0);
        }
    }
    for plain in [
        REFLEX_DTYPE_F32,
        REFLEX_DTYPE_I32,
        REFLEX_DTYPE_ACT_I8,
        REFLEX_DTYPE_NONE,
    ] {
        assert_eq!(dtype_name(packed(plain)), "unknown");
        assert_eq!(reflex_dtype_block_bytes(packed(plain)), 0);
        assert_eq!(reflex_dtype_block_elements(packed(plain)), 0);
    }
    let refused = |dtype: reflex_dtype, n: i64, k: i64, word: &str| {
        let mut bytes = 77;
        let status = reflex_weights_packed_size(dtype, n, k, &mut bytes);
        let message = last_error();
        assert!(status == REFLEX_INVALID_ARGUMENT && message.contains(word), "{message}");
        assert_eq!(bytes, 77);
    };
    refused(REFLEX_DTYPE_F16, 1, 256, "dtype is F16, expected a GGUF block format");
    refused(
        REFLEX_DTYPE_ACT_I8,
        1,
        256,
        "dtype is ACT_I8, expected a GGUF block format",
    );
    refused(packed(REFLEX_DTYPE_F16), 1, 256, "dtype is 4098");
    refused(reflex_dtype(0x1FF), 1, 256, "dtype is 511");
    refused(REFLEX_DTYPE_Q4_K, 1, 128, "k is 128, expected a multiple of 256");
    refused(REFLEX_DTYPE_Q8_0, 1, 33, "k is 33, expected a multiple of 32");
    refused(REFLEX_DTYPE_Q4_K, -1, 256, "n is -1");
    refused(REFLEX_DTYPE_Q4_K, 1, -256, "k is -256");
    refused(REFLEX_DTYPE_Q8_0, i64::MAX, 1 << 40, "overflows");
    let mut bytes = 0;
    ok(reflex_weights_packed_size(
        REFLEX_DTYPE_Q8_0,
        i64::MAX / 34,
        32,
        &mut bytes,
    ));
    assert_eq!(bytes, (i64::MAX / 34 * 34) as u64);
}

#[test]
fn bad_input_is_refused() {
    let env = Env::cpu();
    let (native, dense) = (REFLEX_DTYPE_Q4_K, packed(REFLEX_DTYPE_Q4_K));
    let case = |change: &dyn Fn(&mut reflex_weights_pack_params)| {
        refused(&env, |io| {
            let bytes = matrix_bytes(native, 17, 512);
            let mut p = reflex_weights_pack_params {
                struct_size: size_of::<reflex_weights_pack_params>() as u32,
                source: io.input_bytes(Spec::new(native, &[17, 512]).row_gap(1), &vec![0; bytes]),
                destination: io.output(Spec::new(dense, &[17, 512])),
                ..Default::default()
            };
            change(&mut p);
            Box::new(move |context, stream| reflex_weights_pack(context, &p, stream))
        })
    };
    let expect = |(status, message): (reflex_status, String), want: reflex_status, field: &str| {
        assert!(
            status == want && message.contains(&format!("weights_pack: {field}")),
            "{message}"
        );
    };
    let invalid = REFLEX_INVALID_ARGUMENT;
    expect(case(&|p| p.reserved = 1), invalid, "reserved is 1");
    expect(case(&|p| p.source.data = null_mut()), invalid, "source.data");
    expect(case(&|p| p.destination.data = null_mut()), invalid, "destination.data");
    expect(
        case(&|p| p.source.dtype = dense),
        invalid,
        "source.dtype is Q4_K_PACKED, which is packed",
    );
    expect(
        case(&|p| p.source.dtype = REFLEX_DTYPE_I32),
        invalid,
        "source.dtype is I32",
    );
    expect(
        case(&|p| (p.source.dtype, p.source.stride) = (REFLEX_DTYPE_F16, [0; 4])),
        invalid,
        "source.dtype is F16",
    );
    expect(
        case(&|p| p.destination.dtype = native),
        invalid,
        "destination.dtype is Q4_K",
    );
    expect(
        case(&|p| p.destination.dtype = packed(REFLEX_DTYPE_Q6_K)),
        invalid,
        "destination.dtype is Q6_K",
    );
    expect(
        case(&|p| p.destination.dtype = packed(REFLEX_DTYPE_F32)),
        invalid,
        "destination.dtype is 4097",
    );
    expect(case(&|p| p.destination.shape[0] = 16), invalid, "destination.shape");
    expect(case(&|p| p.destination.shape[1] = 256), invalid, "destination.shape");
    expect(
        case(&|p| (p.source.rank, p.source.shape, p.source.stride) = (3, [1, 17, 512, 0], [0; 4])),
        invalid,
        "source.rank is 3",
    );
    expect(
        case(&|p| (p.destination.rank, p.destination.shape) = (3, [1, 17, 512, 0])),
        invalid,
        "destination.rank is 3",
    );
    expect(
        case(&|p| p.destination.stride = [432, 144, 0, 0]),
        invalid,
        "destination.stride[0] is 432",
    );
    expect(
        case(&|p| p.destination.data = p.destination.data.wrapping_byte_add(2)),
        REFLEX_MISALIGNED,
        "destination.data",
    );
    expect(
        case(&|p| p.source.data = p.source.data.wrapping_byte_add(1)),
        REFLEX_MISALIGNED,
        "source.data",
    );
    // In place wants dense rows; anything between is neither.
    expect(
        case(&|p| p.destination.data = p.source.data),
        invalid,
        "destination.data",
    );
    expect(
        case(&|p| p.destination.data = p.source.data.wrapping_byte_add(16)),
        invalid,
        "destination.data",
    );

    let (status, message) = refused(&env, |io| {
        let bytes = matrix_bytes(native, 16, 256);
        let p = reflex_weights_unpack_params {
            struct_size: size_of::<reflex_weights_unpack_params>() as u32,
            source: io.input_bytes(Spec::new(native, &[16, 256]), &vec![0; bytes]),
            destination: io.output(Spec::new(native, &[16, 256])),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_weights_unpack(context, &p, stream))
    });
    assert!(
        status == invalid && message.contains("weights_unpack: source.dtype is Q4_K, expected a block format with"),
        "{message}"
    );
}

#[test]
fn an_empty_matrix_is_nothing_to_do() {
    let env = Env::cpu();
    for (n, k) in [(0, 256), (16, 0)] {
        for direction in [Direction::Pack, Direction::Unpack] {
            let case = PackCase::new(REFLEX_DTYPE_Q4_K, n, k, direction);
            assert!(convert(&env, case, &[]).is_empty());
        }
    }
}
