use crate::cases::each_case;
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

fn base() -> reflex_quantize_params {
    reflex_quantize_params {
        struct_size: size_of::<reflex_quantize_params>() as u32,
        ..Default::default()
    }
}

/// Rows of `k` elements on the CPU backend, as bytes.
fn quantized(x: &[f32], k: usize) -> Vec<u8> {
    let env = Env::cpu();
    let io = Io::new(&env);
    let shape = [(x.len() / k) as i64, k as i64];
    let p = reflex_quantize_params {
        x: io.input(Spec::new(F32, &shape), x),
        y: io.output(Spec::new(ACT_I8, &shape)),
        ..base()
    };
    ok(reflex_quantize(env.context, &p, env.stream));
    io.read().remove(1)
}

fn one_block(x: [f32; 32]) -> Q8Block {
    act_i8_blocks(&quantized(&x, 32), 32)[0]
}

/// Every problem of `cases/quantize.txt`, bit for bit, against the format's definition as the tests write it down.
#[test]
fn equals_the_definition() {
    let env = Env::cpu();
    each_case(
        "quantize",
        Tier::Full,
        "quantize::equals_the_definition",
        |descriptor| {
            let case = QuantizeCase::read(descriptor);
            let x = decode(case.x, &encode(case.x, &case.contents()));
            let k = *case.shape.last().expect("a dimension") as usize;
            let got = run_once_bytes(&env, |io| case.call(io).launch).remove(0);
            assert!(got == encode_act_i8(&x, k));
            if x.iter().all(|v| v.is_finite() && v.abs() < 100.0) {
                let want: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
                assert_quantized(&decode_act_i8(&got, k), &want, Tolerance::new(0.0, 1e-6));
            }
        },
    );
}

#[test]
fn every_bit_is_as_specified() {
    let mut random = Random::new(2);
    let mut x = Vec::new();
    // Every magnitude a float has, and any bits at all: among them NaN, infinities and denormals.
    for exponent in -150..128 {
        x.extend((0..32).map(|_| random.normal() * 2f32.powi(exponent)));
    }
    x.extend((0..32 * 200).map(|_| f32::from_bits(random.bits() as u32)));
    x.extend((0..32 * 64).map(|i| f32::from_bits(0x027F_0000 + 997 * i)));
    x.resize(x.len().next_multiple_of(64), 0.0);
    for k in [64, 192, x.len()] {
        let x = &x[..x.len() / k * k];
        assert!(quantized(x, k) == encode_act_i8(x, k), "k = {k}");
    }
}

#[test]
fn ties_go_to_even() {
    // The scale is exactly 1.
    let mut x = [0.0; 32];
    x[..8].copy_from_slice(&[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]);
    x[16..19].copy_from_slice(&[-126.5, -127.0, 3.499]);
    let block = one_block(x);
    assert_eq!(block.d, 1.0);
    assert_eq!(block.q[..8], [127, 0, 2, 2, 0, -2, -2, 126]);
    assert_eq!(block.q[16..19], [-126, -127, 3]);
    assert_eq!(block.sums, [127 + 2 + 2 - 2 - 2 + 126, -126 - 127 + 3]);
}

#[test]
fn sums_reach_their_ends() {
    let x = std::array::from_fn(|i| if i < 16 { -3.0 } else { 3.0 });
    let block = one_block(x);
    assert_eq!(block.sums, [-16 * 127, 16 * 127]);
}

#[test]
fn blocks_without_a_finite_scale() {
    let zero = one_block([-0.0; 32]);
    assert_eq!((zero.d.to_bits(), zero.q, zero.sums), (0, [0; 32], [0; 2]));

    // 127 / a overflows from here on down.
    let smallest = 127.0 / f32::MAX;
    let kept = one_block([smallest; 32]);
    assert!(kept.d > 0.0 && kept.q == [127; 32]);
    for tiny in [smallest.next_down(), f32::MIN_POSITIVE, 1e-40, f32::from_bits(1)] {
        let block = one_block([tiny; 32]);
        assert_eq!((block.d.to_bits(), block.q, block.sums), (0, [0; 32], [0; 2]), "{tiny}");
    }
    let largest = one_block([f32::MIN; 32]);
    assert_eq!((largest.d, largest.q), (f32::MAX / 127.0, [-127; 32]));

    let mut x = [1.0; 32];
    (x[3], x[30]) = (f32::INFINITY, f32::NEG_INFINITY);
    let block = one_block(x);
    let want = std::array::from_fn(|i| [0, 127, -127][usize::from(i == 3) + 2 * usize::from(i == 30)]);
    assert_eq!((block.d, block.q, block.sums), (f32::INFINITY, want, [127, -127]));

    x[17] = -f32::NAN;
    let block = one_block(x);
    assert_eq!((block.d.to_bits(), block.q, block.sums), (0x7FC0_0000, [0; 32], [0; 2]));
}

#[test]
fn a_block_knows_nothing_of_its_neighbours() {
    let mut x = Random::new(3).normals(128);
    let alone = quantized(&x[64..96], 32);
    x[5] = f32::NAN;
    x[40] = f32::INFINITY;
    let bytes = quantized(&x, 128);
    assert_eq!(bytes[64..96], alone[..32]);
    assert_eq!(bytes[128 + 16..128 + 24], alone[32..]);
}

#[test]
fn nothing_to_do_is_success() {
    let env = Env::cpu();
    for shape in [[4, 0], [0, 64]] {
        let outputs = run_once(&env, |io| {
            let p = reflex_quantize_params {
                x: io.input(Spec::new(F32, &shape), &[]),
                y: io.output(Spec::new(ACT_I8, &shape)),
                ..base()
            };
            Box::new(move |context, stream| reflex_quantize(context, &p, stream))
        });
        assert_eq!(outputs, [Vec::<f32>::new()]);
    }
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_quantize_params, &Io);
    let (invalid, misaligned) = (REFLEX_INVALID_ARGUMENT, REFLEX_MISALIGNED);
    let cases: [(reflex_status, &str, Change); 13] = [
        (invalid, "reserved is 1", |p, _| p.reserved = 1),
        (invalid, "x.data is NULL", |p, _| p.x = reflex_tensor::default()),
        (invalid, "y.data is NULL", |p, _| p.y = reflex_tensor::default()),
        (invalid, "x.dtype is ACT_I8", |p, _| p.x = p.y),
        (invalid, "y.dtype is F32, expected ACT_I8", |p, _| p.y.dtype = F32),
        (invalid, "y.dtype is Q8_0, expected ACT_I8", |p, _| {
            p.y.dtype = REFLEX_DTYPE_Q8_0
        }),
        (invalid, "y.shape is [2, 128]", |p, _| p.y.shape[1] = 128),
        (
            invalid,
            "y.shape[1] is 48, expected a multiple of 32 (ACT_I8)",
            |p, _| (p.x.shape[1], p.y.shape[1]) = (48, 48),
        ),
        (invalid, "y.stride[1] is 48, expected 40", |p, _| {
            p.y.stride = [96, 48, 0, 0]
        }),
        (invalid, "y.stride[0] is 0", |p, _| p.y.stride = [0, 40, 0, 0]),
        (invalid, "overlaps x", |p, _| p.y.data = p.x.data),
        (misaligned, "y.data", |p, _| p.y.data = p.y.data.wrapping_byte_add(8)),
        (misaligned, "y.stride[0] is 88, expected a multiple of 16", |p, _| {
            p.y.stride = [88, 40, 0, 0]
        }),
    ];
    let env = Env::cpu();
    for (want, words, change) in cases {
        let (status, message) = refused(&env, |io| {
            let mut p = reflex_quantize_params {
                x: io.input(Spec::new(F32, &[2, 64]), &[1.0; 128]),
                y: io.output(Spec::new(ACT_I8, &[2, 64])),
                ..base()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_quantize(context, &p, stream))
        });
        assert_eq!(status_name(status), status_name(want), "{message}");
        assert!(
            message.starts_with("quantize: ") && message.contains(words),
            "`{message}` does not say `{words}`"
        );
    }
}

/// Rows of an odd number of blocks lie side by side only where there is one of them.
#[test]
fn contiguous_rows_are_aligned() {
    let env = Env::cpu();
    let io = Io::new(&env);
    let x = Random::new(4).normals(2 * 96);
    let mut p = reflex_quantize_params {
        x: io.input(Spec::new(F32, &[1, 2, 96]), &x),
        y: io.output(Spec::new(ACT_I8, &[1, 2, 96]).row_gap(1)),
        ..base()
    };
    ok(reflex_quantize(env.context, &p, env.stream));
    assert!(io.read()[1] == encode_act_i8(&x, 96));
    p.y.stride = [0; 4];
    let status = reflex_quantize(env.context, &p, env.stream);
    assert_eq!(status_name(status), status_name(REFLEX_MISALIGNED));
    assert!(
        last_error().contains("y.stride[1] is 120, expected a multiple of 16"),
        "{}",
        last_error()
    );
    (p.x.shape[1], p.y.shape[1]) = (1, 1);
    ok(reflex_quantize(env.context, &p, env.stream));
}
