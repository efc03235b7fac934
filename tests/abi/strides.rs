//! Strides over one element or one block, over which nothing is strided: any number is as good as another.

use crate::support::*;
use reflex_infer::*;

const ANY: [i64; 8] = [i64::MIN, i64::MIN + 1, -4, -1, 3, 1 << 40, i64::MAX - 1, i64::MAX];

fn bytes_of(tensor: &reflex_tensor) -> u64 {
    let mut bytes = 0;
    let status = reflex_tensor_bytes(tensor, &mut bytes);
    let (shape, stride) = (tensor.shape, tensor.stride);
    assert_eq!(
        status,
        REFLEX_SUCCESS,
        "{shape:?} by {stride:?} of {}: {}",
        dtype_name(tensor.dtype),
        last_error()
    );
    bytes
}

#[test]
fn a_stride_over_one_is_not_looked_at() {
    let types = [
        REFLEX_DTYPE_F32,
        REFLEX_DTYPE_F16,
        REFLEX_DTYPE_I32,
        REFLEX_DTYPE_ACT_I8,
        REFLEX_DTYPE_Q4_0,
        REFLEX_DTYPE_Q6_K,
        REFLEX_DTYPE_MXFP4,
    ];
    for dtype in types {
        let elements = i64::from(reflex_dtype_block_elements(dtype));
        let block = i64::from(reflex_dtype_block_bytes(dtype));
        for blocks in [1, 2] {
            // Rows at multiples of 16 bytes, as those of ACT_I8 are.
            let row = block * 16;
            for any in ANY {
                let last = if blocks == 1 { any } else { block };
                let tensor = |rank: u32, shape: [i64; 4], stride: [i64; 4]| reflex_tensor {
                    dtype,
                    rank,
                    shape,
                    stride,
                    ..Default::default()
                };
                let n = blocks * elements;
                let (one, three) = ((blocks * block) as u64, (2 * row + blocks * block) as u64);
                assert_eq!(bytes_of(&tensor(1, [n, 0, 0, 0], [last, 0, 0, 0])), one);
                assert_eq!(bytes_of(&tensor(2, [1, n, 0, 0], [any, last, 0, 0])), one);
                assert_eq!(bytes_of(&tensor(4, [1, 1, 1, n], [any, any, any, last])), one);
                assert_eq!(bytes_of(&tensor(4, [1, 3, 1, n], [any, row, any, last])), three);
                // Over two it is.
                let two = tensor(2, [2, n, 0, 0], [any, last, 0, 0]);
                let mut bytes = 0;
                let refused = reflex_tensor_bytes(&two, &mut bytes) != REFLEX_SUCCESS;
                assert!(refused || (3..=1 << 40).contains(&any), "{any}");
            }
        }
    }
    // A packed matrix of one row and one block.
    for any in ANY {
        let tensor = reflex_tensor {
            dtype: packed(REFLEX_DTYPE_Q4_0),
            rank: 2,
            shape: [1, 32, 0, 0],
            stride: [any, any, 0, 0],
            ..Default::default()
        };
        assert_eq!(bytes_of(&tensor), 18);
    }
}

/// A shape is too large where its bytes are, whatever the type.
#[test]
fn sizes_are_exact_up_to_64_bits() {
    let sides = [
        1i64 << 29,
        1 << 30,
        (1 << 31) - 1,
        1 << 31,
        3 << 30,
        (1 << 32) - 1,
        1 << 32,
    ];
    let types = [
        REFLEX_DTYPE_F32,
        REFLEX_DTYPE_BF16,
        REFLEX_DTYPE_ACT_I8,
        REFLEX_DTYPE_Q8_0,
        REFLEX_DTYPE_Q4_0,
    ];
    for dtype in types {
        let elements = i64::from(reflex_dtype_block_elements(dtype));
        let block = i128::from(reflex_dtype_block_bytes(dtype));
        for a in sides {
            for b in sides.map(|b| b / elements * elements) {
                let tensor = reflex_tensor {
                    dtype,
                    rank: 2,
                    shape: [a, b, 0, 0],
                    ..Default::default()
                };
                let row = i128::from(b / elements) * block;
                if dtype == REFLEX_DTYPE_ACT_I8 && row % 16 != 0 {
                    continue;
                }
                let all = i128::from(a) * i128::from(b);
                let mut bytes = 0;
                let status = reflex_tensor_bytes(&tensor, &mut bytes);
                if all <= i64::MAX.into() && i128::from(a) * row <= i64::MAX.into() {
                    assert_eq!(
                        (status, i128::from(bytes)),
                        (REFLEX_SUCCESS, i128::from(a) * row),
                        "{a} {b}"
                    );
                } else {
                    assert_eq!(status, REFLEX_INVALID_ARGUMENT, "{a} {b}");
                    assert!(last_error().contains("overflows 64 bits"), "{}", last_error());
                }
            }
        }
    }
}

/// Ops give the bits that they give with contiguous strides.
#[test]
fn ops_take_any_stride_over_one() {
    let env = Env::cpu();
    let mut random = Random::new(1);
    let x = random.normals(32);
    let weight = random_weights(&mut random, REFLEX_DTYPE_Q4_0, 32);
    let run = |any: Option<i64>| {
        let spec = |dtype, shape: &[i64]| Spec::new(dtype, shape);
        let with = move |mut tensor: reflex_tensor| {
            if let Some(any) = any {
                let rank = tensor.rank as usize;
                let block = i64::from(reflex_dtype_block_elements(tensor.dtype));
                for i in 0..rank {
                    let over_one = tensor.shape[i] == if i + 1 == rank { block } else { 1 };
                    tensor.stride[i] = match over_one {
                        true => any,
                        false => i64::from(reflex_dtype_block_bytes(tensor.dtype)),
                    };
                }
            }
            tensor
        };
        run_once(&env, |io| {
            let product = reflex_matmul_product {
                residual: with(io.input(spec(REFLEX_DTYPE_F32, &[1, 1]), &[2.0])),
                ..product_of(
                    with(io.input_bytes(spec(REFLEX_DTYPE_Q4_0, &[1, 32]), &weight)),
                    with(io.output(spec(REFLEX_DTYPE_F32, &[1, 1]))),
                )
            };
            let p = MatmulCall::new(0, with(io.input(spec(REFLEX_DTYPE_F32, &[1, 32]), &x)), &[product]);
            let norm = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                x: p.x,
                y: with(io.output(spec(REFLEX_DTYPE_ACT_I8, &[1, 32]))),
                ..Default::default()
            };
            Box::new(move |context, stream| match reflex_norm(context, &norm, stream) {
                REFLEX_SUCCESS => MatmulCall::launch(context, &p, stream),
                failed => failed,
            })
        })
    };
    let want = run(None);
    for any in ANY {
        assert_eq!(run(Some(any)), want, "{any}");
    }
}
