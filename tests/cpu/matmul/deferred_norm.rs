//! An RMS norm between two products without a launch of its own: `y_norm` of the first, `x_squares` of the second.

use super::case::*;
use crate::support::*;
use reflex_infer::*;

const EPSILON: f32 = 1e-5;

/// What a product leaves for the next one: y, y with the norm's weight as ACT_I8, sums of squares.
struct Left {
    y: Vec<f32>,
    normed: Vec<u8>,
    squares: Vec<f32>,
}

fn weights(n: i64, dtype: reflex_dtype) -> Vec<f32> {
    decode(dtype, &encode(dtype, &Random::new(3).normals(n as usize)))
}

fn leave(env: &Env, case: &Case, norm: reflex_dtype) -> Left {
    let n = case.products[0].n;
    let mut outputs = run_once_bytes(env, |io| {
        let mut p = case.params(io);
        p.y_norm = io.input(Spec::new(norm, &[n]), &weights(n, norm));
        p.y_normed = io.output(act_i8(&[case.rows, n]));
        p.y_squares = io.output(Spec::new(F32, &[case.rows, n / 32]).row_gap(1));
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    let squares = decode(F32, &outputs.pop().unwrap());
    let normed = outputs.pop().unwrap();
    Left {
        y: decode(case.products[0].y, &outputs[0]),
        normed,
        squares,
    }
}

/// The product of what was left: with `squares` normalised, without as it is.
fn take(env: &Env, left: &Left, rows: i64, k: i64, squares: bool, epilogue: bool) -> Vec<f32> {
    let product = Product {
        bias: epilogue.then_some(F32),
        residual: epilogue.then_some(F32),
        ..Product::new(REFLEX_DTYPE_Q4_0, 40)
    };
    let case = Case::new(rows, k, &[product]).x(ACT_I8);
    let outputs = run_once_bytes(env, |io| {
        let mut p = case.params(io);
        p.x = io.input_bytes(act_i8(&[rows, k]), &left.normed);
        if squares {
            p.x_squares = io.input(Spec::new(F32, &[rows, k / 32]).row_gap(2), &left.squares);
            p.norm_epsilon = EPSILON;
        }
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    decode(F32, &outputs[0])
}

fn scales(left: &Left, rows: i64, k: i64) -> Vec<f64> {
    let per_row = (k / 32) as usize;
    (0..rows as usize)
        .map(|row| {
            let sum: f64 = left.squares[row * per_row..][..per_row]
                .iter()
                .map(|&v| f64::from(v))
                .sum();
            1.0 / (sum / k as f64 + f64::from(EPSILON)).sqrt()
        })
        .collect()
}

fn product(n: i64) -> Product {
    Product {
        bias: Some(F32),
        in_place: true,
        ..Product::new(REFLEX_DTYPE_Q4_K, n).packed()
    }
}

#[test]
fn a_product_leaves_its_y_for_a_norm() {
    let env = Env::cpu();
    for rows in [1, 5] {
        for norm in [F32, F16, BF16] {
            for x in [F32, ACT_I8] {
                let case = Case::new(rows, 512, &[product(96)]).x(x).int8();
                let left = leave(&env, &case, norm);
                // y is what it is without, but for one rounding.
                for (y, want) in left.y.iter().zip(decode(F32, &case.run(&env)[0])) {
                    assert!((y - want).abs() <= 1e-6 * want.abs() + 1e-6, "{y} {want}");
                }
                let weighted: Vec<f32> = left
                    .y
                    .iter()
                    .zip(weights(96, norm).iter().cycle())
                    .map(|(y, w)| y * w)
                    .collect();
                assert!(left.normed == encode_act_i8(&weighted, 96), "{rows} rows");
                for (sum, y) in left.squares.iter().zip(left.y.chunks_exact(32)) {
                    let want: f64 = y.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
                    assert_eq!(*sum, want as f32);
                }
                assert_eq!(left.squares.len(), rows as usize * 3);
            }
        }
    }
}

#[test]
fn a_gated_pair_leaves_its_y_too() {
    let env = Env::cpu();
    let gate = Product {
        y: F16,
        ..Product::new(REFLEX_DTYPE_Q5_K, 64)
    };
    let case = Case::new(2, 256, &[gate, Product::new(REFLEX_DTYPE_Q8_0, 64)]).int8();
    let case = case.gated(REFLEX_ACTIVATION_GELU_TANH);
    let exact = Case {
        products: vec![Product { y: F32, ..gate }, case.products[1]],
        ..case.clone()
    };
    // Of y in f32, whatever y is stored as.
    let (half, full) = (leave(&env, &case, F32), leave(&env, &exact, F32));
    assert!(half.normed == full.normed && half.squares == full.squares);
}

#[test]
fn the_next_product_divides_by_the_root_of_the_mean_square() {
    let env = Env::cpu();
    let (rows, k) = (3, 96);
    let left = leave(&env, &Case::new(rows, 512, &[product(k)]).int8(), F32);
    let scales = scales(&left, rows, k);
    for epilogue in [false, true] {
        let plain = take(&env, &left, rows, k, false, false);
        let nothing = vec![0.0; plain.len()];
        let added = match epilogue {
            true => {
                let biased = take(&env, &left, rows, k, false, true);
                biased.iter().zip(&plain).map(|(b, p)| b - p).collect()
            }
            false => nothing,
        };
        let got = take(&env, &left, rows, k, true, epilogue);
        for (i, (&got, (&plain, &added))) in got.iter().zip(plain.iter().zip(&added)).enumerate() {
            let want = f64::from(plain) * scales[i / 40] + f64::from(added);
            let bound = 1e-6 * (f64::from(plain.abs()) + f64::from(added.abs())) + 1e-6;
            assert!((f64::from(got) - want).abs() <= bound, "{i}: {got}, expected {want}");
        }
    }
}

/// The same as the norm op between them, but for the quantisation, whose steps are those of the row before it is divided.
#[test]
fn it_is_a_norm() {
    let env = Env::cpu();
    let (rows, k) = (4, 128);
    let left = leave(&env, &Case::new(rows, 256, &[product(k)]).int8(), F16);
    let want = run_once(&env, |io| {
        let p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            epsilon: EPSILON,
            x: io.input(Spec::new(F32, &[rows, k]), &left.y),
            weight: io.input(Spec::new(F16, &[k]), &weights(k, F16)),
            y: io.output(Spec::new(F32, &[rows, k])),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_norm(context, &p, stream))
    });
    let scales = scales(&left, rows, k);
    let normed = decode_act_i8(&left.normed, k as usize);
    for (i, (block, want)) in normed.chunks(32).zip(want[0].chunks(32)).enumerate() {
        let scale = scales[i / (k as usize / 32)];
        let step = want.iter().fold(0.0, |a: f32, v| a.max(v.abs())) / 127.0;
        for (got, want) in block.iter().zip(want) {
            assert!((got * scale as f32 - want).abs() <= 0.501 * step, "{got} {want} {step}");
        }
    }
}

#[test]
fn nothing_to_do() {
    let env = Env::cpu();
    // No rows, and no k.
    assert!(
        leave(&env, &Case::new(0, 256, &[product(64)]).x(ACT_I8), F32)
            .normed
            .is_empty()
    );
    let left = leave(&env, &Case::new(2, 0, &[product(64)]).x(ACT_I8), F32);
    assert_eq!(left.squares.len(), 4);
}

#[test]
fn bad_input_is_refused() {
    let env = Env::cpu();
    let refusal = |int8: bool, change: &dyn Fn(&mut MatmulCall)| {
        refused(&env, |io| {
            let case = Case::new(2, 256, &[Product::new(REFLEX_DTYPE_Q4_K, 64)]);
            let mut p = if int8 { case.x(ACT_I8) } else { case }.params(io);
            p.y_norm = io.input(Spec::new(F32, &[64]), &[1.0; 64]);
            p.y_normed = io.output(Spec::new(ACT_I8, &[2, 64]));
            p.y_squares = io.output(Spec::new(F32, &[2, 2]));
            p.x_squares = io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]);
            change(&mut p);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    };
    let expect = |(status, message): (reflex_status, String), want: reflex_status, text: &str| {
        assert!(
            status == want && message.contains(&format!("matmul: {text}")),
            "{}: {message}",
            status_name(status)
        );
    };
    let null = std::ptr::null_mut();
    const INVALID: reflex_status = REFLEX_INVALID_ARGUMENT;
    let case = |change: &dyn Fn(&mut MatmulCall)| refusal(true, change);
    expect(case(&|p| p.y_norm.data = null), INVALID, "y_norm.data is NULL");
    expect(case(&|p| p.y_normed.data = null), INVALID, "y_normed.data is NULL");
    expect(case(&|p| p.y_squares.data = null), INVALID, "y_squares.data is NULL");
    expect(case(&|p| p.y_norm.shape[0] = 32), INVALID, "y_norm.shape");
    expect(case(&|p| p.y_norm.dtype = REFLEX_DTYPE_I32), INVALID, "y_norm.dtype");
    expect(case(&|p| p.y_normed.dtype = F32), INVALID, "y_normed.dtype");
    expect(case(&|p| p.y_normed.shape[0] = 1), INVALID, "y_normed.shape");
    expect(case(&|p| p.y_squares.shape[1] = 3), INVALID, "y_squares.shape");
    expect(case(&|p| p.y_squares.dtype = F16), INVALID, "y_squares.dtype");
    expect(case(&|p| p.x_squares.shape[1] = 4), INVALID, "x_squares.shape");
    expect(case(&|p| p.x_squares.dtype = F16), INVALID, "x_squares.dtype");
    expect(case(&|p| p.norm_epsilon = -1.0), INVALID, "norm_epsilon");
    expect(case(&|p| p.norm_epsilon = f32::NAN), INVALID, "norm_epsilon");
    expect(
        case(&|p| p.y_normed.data = p.products[0].weight.data.data),
        INVALID,
        "y_normed.data",
    );
    expect(
        case(&|p| p.y_squares.data = p.x_squares.data),
        INVALID,
        "y_squares.data",
    );
    expect(case(&|p| p.y_squares.data = p.y_normed.data), INVALID, "y_normed.data");
    expect(
        case(&|p| p.y_squares.data = p.products[0].y.data),
        INVALID,
        "y_squares.data",
    );
    expect(
        case(&|p| p.products[0].y.data = p.y_norm.data),
        INVALID,
        "products[0].y.data",
    );
    expect(
        case(&|p| p.y_normed.data = p.y_normed.data.wrapping_byte_add(4)),
        REFLEX_MISALIGNED,
        "y_normed.data",
    );
    expect(
        case(&|p| {
            p.push(p.products[0]);
            p.products[1].y.data = p.products[0].y.data.wrapping_byte_add(1 << 20);
        }),
        INVALID,
        "y_norm.data is set, expected NULL with a product_count of 2: y of products[0] is the only one",
    );
    expect(
        refusal(false, &|_| ()),
        INVALID,
        "x_squares.data is set, expected NULL unless x is ACT_I8",
    );
    expect(
        refusal(false, &|p| p.x_squares = reflex_tensor::default()),
        REFLEX_UNSUPPORTED,
        "y_norm.data is set",
    );
    // A part of a block of 32.
    expect(
        refused(&env, |io| {
            let case = Case::new(2, 256, &[Product::new(REFLEX_DTYPE_Q4_K, 40)]).x(ACT_I8);
            let mut p = case.params(io);
            p.y_norm = io.input(Spec::new(F32, &[40]), &[1.0; 40]);
            p.y_normed = io.output(Spec::new(ACT_I8, &[2, 64]));
            p.y_squares = io.output(Spec::new(F32, &[2, 1]));
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        }),
        INVALID,
        "y_norm.data is set and n is 40, expected a multiple of 32",
    );
}
