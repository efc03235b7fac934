//! The cache that several ops take: pages, what is refused of it, and callers with another header.

use crate::attention::{Sizes, oracle};
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const I32: reflex_dtype = REFLEX_DTYPE_I32;

const SIZES: Sizes = Sizes {
    b: 2,
    t: 3,
    h: 4,
    g: 2,
    cap: 32,
    d: 16,
    dv: 8,
};
const LENGTHS: [i32; 2] = [29, 20];
const PAGE: usize = 8;

struct Values {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

fn values() -> Values {
    let (s, mut random) = (SIZES, Random::new(21));
    Values {
        q: random.normals(s.b * s.t * s.h * s.d),
        k: random.normals(s.b * s.cap * s.g * s.d),
        v: random.normals(s.b * s.cap * s.g * s.dv),
    }
}

fn pages() -> Pages {
    Pages::new(PAGE, SIZES.cap, &LENGTHS.map(|n| n as usize))
}

/// K and V in pages whose places `pages` knows; what is nobody's is NaN. Both are written where `written`.
fn paged(io: &Io, pages: &Pages, values: &Values, written: bool) -> reflex_kv_cache {
    let s = SIZES;
    let pool = |contiguous: &[f32], dim: usize| {
        let spec = Spec::new(F32, &[pages.count, PAGE, s.g, dim].map(|n| n as i64));
        let values = pages.pool(contiguous, s.g * dim, f32::NAN);
        match written {
            true => io.in_out(spec, &values),
            false => io.input(spec, &values),
        }
    };
    let (k, v) = (pool(&values.k, s.d), pool(&values.v, s.dv));
    reflex_kv_cache {
        block_table: pages.block_table(io),
        ..kv_cache(k, v, io.ints(&LENGTHS))
    }
}

fn attention(io: &Io, q: &[f32], cache: reflex_kv_cache, mask: reflex_attention_mask) -> AttentionCall {
    let s = SIZES;
    let shape = |dim: usize| [s.b, s.t, s.h, dim].map(|n| n as i64);
    let params = reflex_attention_params {
        mask,
        q: io.input(Spec::new(F32, &shape(s.d)), q),
        y: io.output(Spec::new(F32, &shape(s.dv))),
        ..Default::default()
    };
    AttentionCall::new(params, cache)
}

fn close(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(got) - want).abs() <= 1e-5, "{i}: {got} {want}");
    }
}

/// The keys of `keep`, one after the other, of one sequence.
fn kept(contiguous: &[f32], row: usize, keep: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut rows: Vec<f32> = keep.flat_map(|j| contiguous[j * row..][..row].to_vec()).collect();
    rows.resize(SIZES.cap * row, f32::NAN);
    rows
}

#[test]
fn a_page_that_is_not_there_has_no_keys() {
    let (env, s, values) = (Env::cpu(), SIZES, values());
    let rows = [s.g * s.d, s.g * s.dv];
    for nobody in [-1, i32::MIN, i32::MAX, pages().count as i32] {
        for mask in [REFLEX_ATTENTION_CAUSAL, REFLEX_ATTENTION_FULL] {
            // The second page of the first sequence, whose queries see all of it.
            let got = run_once(&env, |io| {
                let mut pages = pages();
                pages.table[1] = nobody;
                let call = attention(io, &values.q, paged(io, &pages, &values, false), mask);
                Box::new(move |context, stream| AttentionCall::launch(context, &call, stream))
            });
            let [k, v] = [(&values.k, rows[0]), (&values.v, rows[1])].map(|(all, row)| {
                let (first, second) = all.split_at(s.cap * row);
                let first = kept(first, row, (0..PAGE).chain(2 * PAGE..s.cap));
                [&first, second].concat()
            });
            let lengths = [29 - PAGE, 20];
            let causal = mask == REFLEX_ATTENTION_CAUSAL;
            close(
                &got[0],
                &oracle(s, &values.q, &k, &v, &lengths, causal, 1.0 / (s.d as f64).sqrt()),
            );
        }
    }
    // A sequence without pages sees nothing, whatever its length is.
    let got = run_once(&env, |io| {
        let mut pages = pages();
        pages.table[..4].fill(-1);
        let call = attention(io, &values.q, paged(io, &pages, &values, false), REFLEX_ATTENTION_FULL);
        Box::new(move |context, stream| AttentionCall::launch(context, &call, stream))
    });
    let (none, some) = got[0].split_at(s.t * s.h * s.dv);
    assert!(none.iter().all(|&v| v == 0.0) && some.iter().all(|&v| v != 0.0));
}

fn step(io: &Io, cache: reflex_kv_cache) -> DecodeCall {
    let s = SIZES;
    let rows = |heads: usize, dim: usize| Spec::new(F32, &[s.b, heads, dim].map(|n| n as i64));
    let ones = |spec: Spec| io.input(spec.clone(), &vec![1.0; spec.elements()]);
    let params = reflex_attention_decode_params {
        q: ones(rows(s.h, s.d)),
        k_new: ones(rows(s.g, s.d)),
        v_new: ones(rows(s.g, s.dv)),
        y: io.output(rows(s.h, s.dv)),
        ..Default::default()
    };
    DecodeCall::new(params, cache)
}

#[test]
fn nothing_is_appended_to_a_page_that_is_not_there() {
    let (env, s, values) = (Env::cpu(), SIZES, values());
    // The last page of the first sequence is nobody's; the second one's is there.
    let mut there = pages();
    there.table[3] = there.count as i32;
    let got = run_once(&env, |io| {
        let call = step(io, paged(io, &there, &values, true));
        Box::new(move |context, stream| DecodeCall::launch(context, &call, stream))
    });
    for (got, contiguous, dim) in [(&got[0], &values.k, s.d), (&got[1], &values.v, s.dv)] {
        let mut want = there.pool(contiguous, s.g * dim, f32::NAN);
        let slot = there.slot(1, LENGTHS[1] as usize - 1) as usize;
        want[slot * s.g * dim..][..s.g * dim].fill(1.0);
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(got.iter().zip(&want).all(same));
    }
    assert!(got[2].iter().all(|v| v.is_finite()));
}

#[test]
fn a_recorded_call_reads_the_block_table_anew() {
    let (env, values) = (Env::cpu(), values());
    let io = Io::new(&env);
    let mut pages = pages();
    let call = attention(
        &io,
        &values.q,
        paged(&io, &pages, &values, false),
        REFLEX_ATTENTION_FULL,
    );
    let bytes = SIZES.b * SIZES.t * SIZES.h * SIZES.dv * 4;
    let graph = env.captured(|| AttentionCall::launch(env.context, &call, env.stream));
    let mut seen = Vec::new();
    // Pages that change places, and none.
    for table in [[1, 0, 2, 3], [0, 1, 2, 3], [3, 2, 1, 0]] {
        let of_first = table.map(|i| pages.table[i]);
        pages.table[..4].copy_from_slice(&of_first);
        env.upload(call.cache.block_table.data, &encode_ints(&pages.table));
        let mut outputs = [0, 1].map(|_| vec![0; bytes]);
        ok(reflex_graph_launch(env.context, graph, env.stream));
        env.download(call.y.data, &mut outputs[0]);
        ok(AttentionCall::launch(env.context, &call, env.stream));
        env.download(call.y.data, &mut outputs[1]);
        let [replayed, fresh] = outputs;
        assert!(replayed == fresh);
        seen.push(replayed);
    }
    reflex_graph_destroy(graph);
    assert!(
        seen[0] == seen[1] && seen[1] != seen[2],
        "the last page is full in part"
    );
}

#[test]
fn keys_and_values_may_have_two_types() {
    let (env, s, values) = (Env::cpu(), SIZES, values());
    for types in [[F32, F16], [F16, F32]] {
        let got = run_once(&env, |io| {
            let spec = |dtype, dim: usize| Spec::new(dtype, &[s.b, s.cap, s.g, dim].map(|n| n as i64));
            let cache = kv_cache(
                io.input(spec(types[0], s.d), &values.k),
                io.input(spec(types[1], s.dv), &values.v),
                io.ints(&LENGTHS),
            );
            let call = attention(io, &values.q, cache, REFLEX_ATTENTION_CAUSAL);
            Box::new(move |context, stream| AttentionCall::launch(context, &call, stream))
        });
        let (k, v) = (held(types[0], &values.k), held(types[1], &values.v));
        let want = oracle(s, &values.q, &k, &v, &[29, 20], true, 1.0 / (s.d as f64).sqrt());
        close(&got[0], &want);
    }
}

type Change = fn(&Io, &mut reflex_kv_cache);

/// What every op refuses of a paged cache.
const REFUSED: &[(reflex_status, &str, Change)] = &[
    (REFLEX_ABI_MISMATCH, "cache.struct_size is 8, expected 488", |_, c| {
        c.struct_size = 8
    }),
    (REFLEX_ABI_MISMATCH, "cache.struct_size is 487", |_, c| {
        c.struct_size = 487
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.flags is 1, expected 0", |_, c| {
        c.flags = 1
    }),
    (
        REFLEX_UNSUPPORTED,
        "cache.k_scale.data is set, expected NULL",
        |_, c| c.k_scale = c.lengths,
    ),
    (
        REFLEX_UNSUPPORTED,
        "cache.v_scale.data is set, expected NULL",
        |_, c| c.v_scale = c.lengths,
    ),
    (REFLEX_INVALID_ARGUMENT, "cache.k.data is NULL", |_, c| {
        c.k = Default::default()
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.v.data is NULL", |_, c| {
        c.v = Default::default()
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.k.rank is 3", |_, c| c.k.rank = 3),
    (REFLEX_INVALID_ARGUMENT, "cache.v.rank is 3", |_, c| c.v.rank = 3),
    (REFLEX_INVALID_ARGUMENT, "cache.k.dtype is I32", |_, c| c.k.dtype = I32),
    (REFLEX_INVALID_ARGUMENT, "cache.v.dtype is Q8_0", |_, c| {
        (c.v.dtype, c.v.shape[3]) = (REFLEX_DTYPE_Q8_0, 32)
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.k.stride[3] is 8", |_, c| {
        c.k.stride = [4096, 512, 256, 8]
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.v.shape is [7, 8", |_, c| {
        c.v.shape[0] = 7
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.v.shape is", |_, c| c.v.shape[1] = 16),
    (REFLEX_INVALID_ARGUMENT, "cache.v.shape is", |_, c| c.v.shape[2] = 1),
    (
        REFLEX_INVALID_ARGUMENT,
        "cache.k.shape[1] is 4, expected a power of two from 8 to 256",
        |_, c| (c.k.shape[1], c.v.shape[1]) = (4, 4),
    ),
    (REFLEX_INVALID_ARGUMENT, "cache.k.shape[1] is 12", |_, c| {
        (c.k.shape[1], c.v.shape[1]) = (12, 12)
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.k.shape[1] is 512", |_, c| {
        (c.k.shape[1], c.v.shape[1]) = (512, 512)
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.block_table.rank is 1", |io, c| {
        c.block_table = io.ints(&[0, 1])
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.block_table.dtype is F32", |_, c| {
        c.block_table.dtype = F32
    }),
    (REFLEX_INVALID_ARGUMENT, "cache.block_table.stride[1] is 8", |_, c| {
        c.block_table.stride = [32, 8, 0, 0]
    }),
    (
        REFLEX_UNSUPPORTED,
        "cache.block_table.shape[1] is 134217729, expected at most 134217728 with pages of 8 keys",
        |_, c| c.block_table.shape[1] = (1 << 27) + 1,
    ),
    (
        REFLEX_INVALID_ARGUMENT,
        "cache.lengths.shape is [3], expected [2] ([batch] of cache.block_table)",
        |io, c| c.lengths = io.ints(&[1, 2, 3]),
    ),
    (REFLEX_INVALID_ARGUMENT, "cache.lengths.dtype is F32", |_, c| {
        c.lengths.dtype = F32
    }),
    (REFLEX_MISALIGNED, "cache.lengths.data", |_, c| {
        c.lengths.data = c.lengths.data.wrapping_byte_add(2)
    }),
];

fn rope(io: &Io, cache: reflex_kv_cache) -> RopeCall {
    let s = SIZES;
    let row = |dim: usize| io.input(Spec::new(F32, &[1, s.g as i64, dim as i64]), &vec![1.0; s.g * dim]);
    let params = reflex_rope_params {
        k: row(s.d),
        v: row(s.dv),
        positions: io.ints(&[0]),
        slots: io.ints(&[0]),
        ..Default::default()
    };
    RopeCall::new(params, cache)
}

#[test]
fn every_op_refuses_what_is_wrong_with_a_cache() {
    let (env, values, pages) = (Env::cpu(), values(), pages());
    for (status, words, change) in REFUSED {
        let cache = |io: &Io| {
            let mut cache = paged(io, &pages, &values, true);
            change(io, &mut cache);
            cache
        };
        expect_refused(&env, "attention", (*status, words), |io| {
            let call = attention(io, &values.q, cache(io), REFLEX_ATTENTION_FULL);
            Box::new(move |context, stream| AttentionCall::launch(context, &call, stream))
        });
        expect_refused(&env, "attention_decode", (*status, words), |io| {
            let call = step(io, cache(io));
            Box::new(move |context, stream| DecodeCall::launch(context, &call, stream))
        });
        expect_refused(&env, "rope", (*status, words), |io| {
            let call = rope(io, cache(io));
            Box::new(move |context, stream| RopeCall::launch(context, &call, stream))
        });
    }
    let batch = "cache.block_table.shape is [1, 4], expected [2, 4] ([batch] of q, [max_pages])";
    expect_refused(&env, "attention", (REFLEX_INVALID_ARGUMENT, batch), |io| {
        let mut cache = paged(io, &pages, &values, true);
        (cache.block_table.shape[0], cache.lengths.shape[0]) = (1, 1);
        let call = attention(io, &values.q, cache, REFLEX_ATTENTION_FULL);
        Box::new(move |context, stream| AttentionCall::launch(context, &call, stream))
    });
}

/// Where the pointer itself is wrong, or leads to a struct of another header.
#[test]
fn the_cache_of_another_header_is_read_as_far_as_both_know_it() {
    let (env, values, pages) = (Env::cpu(), values(), pages());
    let io = Io::new(&env);
    let cache = paged(&io, &pages, &values, false);
    let call = attention(&io, &values.q, cache, REFLEX_ATTENTION_FULL);
    let says = |cache: *const reflex_kv_cache| {
        let params = reflex_attention_params { cache, ..call.params() };
        let status = reflex_attention(env.context, &params, env.stream);
        (status_name(status), last_error())
    };
    let (status, message) = says(std::ptr::null());
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("REFLEX_INVALID_ARGUMENT", "attention: cache is NULL")
    );
    let (status, message) = says(std::ptr::without_provenance(4));
    assert!(
        status == "REFLEX_MISALIGNED" && message.starts_with("attention: cache is 0x4"),
        "{message}"
    );
    // A newer header's struct is 16 bytes longer.
    let mut longer = [0u64; size_of::<reflex_kv_cache>() / 8 + 2];
    unsafe { longer.as_mut_ptr().cast::<reflex_kv_cache>().write(cache) };
    let size = size_of_val(&longer);
    unsafe { longer.as_mut_ptr().cast::<u32>().write(size as u32) };
    assert_eq!(says(longer.as_ptr().cast()).0, "REFLEX_SUCCESS");
    *longer.last_mut().expect("a word") = 1;
    let (status, message) = says(longer.as_ptr().cast());
    let words = format!("attention: cache.struct_size is {size} and byte 496 is not zero");
    assert!(
        status == "REFLEX_ABI_MISMATCH" && message.starts_with(&words),
        "{message}"
    );
}
