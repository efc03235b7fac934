//! Sizes of element types, rows and tensors, and numbers that are no type.

use crate::support::*;
use reflex_infer::*;
use std::ffi::CStr;
use std::ptr::{null, null_mut};

/// Type, name, elements and bytes of a block, whether it can be packed.
fn types() -> Vec<(reflex_dtype, &'static str, u32, u32, bool)> {
    let plain = [
        (REFLEX_DTYPE_F32, "F32", 1, 4, false),
        (REFLEX_DTYPE_F16, "F16", 1, 2, false),
        (REFLEX_DTYPE_BF16, "BF16", 1, 2, false),
        (REFLEX_DTYPE_I32, "I32", 1, 4, false),
        (REFLEX_DTYPE_ACT_I8, "ACT_I8", 32, 40, false),
    ];
    let blocks = BLOCKS.iter().zip(BLOCK_NAMES).zip(BLOCK_SIZES);
    let blocks = blocks.map(|((&dtype, name), (_, elements, bytes))| (dtype, name, elements, bytes, true));
    plain.into_iter().chain(blocks).collect()
}

fn name(dtype: reflex_dtype) -> String {
    // SAFETY: a static string.
    let name = unsafe { CStr::from_ptr(reflex_dtype_name(dtype)) };
    name.to_str().expect("UTF-8").to_string()
}

/// Every number that is a type, with its row of the table.
fn known() -> Vec<(reflex_dtype, String, u32, u32)> {
    types()
        .into_iter()
        .flat_map(|(dtype, name, elements, bytes, packs)| {
            let other = packs.then(|| (packed(dtype), format!("{name}_PACKED"), elements, bytes));
            [Some((dtype, name.to_string(), elements, bytes)), other]
        })
        .flatten()
        .collect()
}

/// Numbers that are no type: those around the types, with and without the packed bit, and a few with others set.
fn unknown() -> Vec<reflex_dtype> {
    let near = (0..0x200).chain(0x1000..0x1200).chain(0x2000..0x2010);
    let far = [0x8000_0001, 0x1_0001, 0x1_010C, u32::MAX, u32::MAX - 0x1000];
    let known = known();
    near.chain(far)
        .map(reflex_dtype)
        .filter(|number| known.iter().all(|(dtype, ..)| dtype != number))
        .collect()
}

fn row_bytes(dtype: reflex_dtype, elements: i64) -> Result<u64, String> {
    let mut bytes = 77;
    match reflex_dtype_row_bytes(dtype, elements, &mut bytes) {
        REFLEX_SUCCESS => Ok(bytes),
        status => {
            assert_eq!((status, bytes), (REFLEX_INVALID_ARGUMENT, 77));
            Err(last_error())
        }
    }
}

fn tensor_bytes(tensor: &reflex_tensor) -> Result<u64, String> {
    let mut bytes = 77;
    match reflex_tensor_bytes(tensor, &mut bytes) {
        REFLEX_SUCCESS => Ok(bytes),
        status => {
            assert!([REFLEX_INVALID_ARGUMENT, REFLEX_MISALIGNED].contains(&status));
            assert_eq!(bytes, 77);
            Err(last_error())
        }
    }
}

/// A tensor without memory.
fn tensor(dtype: reflex_dtype, shape: &[i64], stride: &[i64]) -> reflex_tensor {
    let mut tensor = reflex_tensor {
        dtype,
        rank: shape.len() as u32,
        ..Default::default()
    };
    tensor.shape[..shape.len()].copy_from_slice(shape);
    tensor.stride[..stride.len()].copy_from_slice(stride);
    tensor
}

#[test]
fn every_type_has_its_sizes() {
    for (dtype, want, elements, bytes) in known() {
        assert_eq!(name(dtype), want);
        assert_eq!(reflex_dtype_block_elements(dtype), elements, "{want}");
        assert_eq!(reflex_dtype_block_bytes(dtype), bytes, "{want}");
        for blocks in [0, 1, 2, 7, 4096, 1 << 40] {
            let row = row_bytes(dtype, blocks * i64::from(elements));
            assert_eq!(row, Ok(blocks as u64 * u64::from(bytes)), "{want}");
        }
    }
    // The numbers of both kinds.
    for (dtype, name, _, _, packs) in types() {
        let own = 1..256;
        assert_eq!(own.contains(&dtype.0), !packs, "{name}");
    }
}

#[test]
fn a_number_that_is_no_type_has_no_size_and_is_named_in_the_error() {
    let env = Env::cpu();
    let unknown = unknown();
    // ggml's Q8_1, a packed float, packed activations, nothing at all.
    for number in [0x109, 0x1001, 0x1005, 0, 0x1000, 0x1109] {
        assert!(unknown.contains(&reflex_dtype(number)), "{number:#x}");
    }
    for dtype in unknown {
        assert_eq!(name(dtype), "unknown", "{:#x}", dtype.0);
        assert_eq!(reflex_dtype_block_elements(dtype), 0, "{:#x}", dtype.0);
        assert_eq!(reflex_dtype_block_bytes(dtype), 0, "{:#x}", dtype.0);
        let number = format!("dtype is {} ({:#x}), which is no REFLEX_DTYPE", dtype.0, dtype.0);
        let message = row_bytes(dtype, 256).unwrap_err();
        assert_eq!(message, format!("reflex_dtype_row_bytes: {number}"));
        let message = tensor_bytes(&tensor(dtype, &[2, 256], &[])).unwrap_err();
        assert_eq!(message, format!("reflex_tensor_bytes: tensor.{number}"));
        let mut bytes = 77;
        let status = reflex_weights_packed_size(dtype, 2, 256, &mut bytes);
        assert_eq!((status, bytes), (REFLEX_INVALID_ARGUMENT, 77));
        assert_eq!(last_error(), format!("reflex_weights_packed_size: {number}"));
        // And in an op.
        let mut memory = [0u64; 512];
        let mut x = tensor(dtype, &[2, 256], &[]);
        x.data = memory.as_mut_ptr().cast();
        let params = reflex_matmul_params {
            struct_size: size_of::<reflex_matmul_params>() as u32,
            x,
            ..Default::default()
        };
        assert_eq!(reflex_matmul_supported(env.context, &params), REFLEX_INVALID_ARGUMENT);
        assert_eq!(last_error(), format!("matmul: x.{number}"));
    }
}

#[test]
fn rows_that_cannot_be_are_refused() {
    for (dtype, name, elements, bytes) in known() {
        let message = row_bytes(dtype, -i64::from(elements)).unwrap_err();
        assert_eq!(
            message,
            format!("reflex_dtype_row_bytes: elements is -{elements}, expected 0 or more")
        );
        if elements > 1 {
            let message = row_bytes(dtype, i64::from(elements) + 1).unwrap_err();
            let want = format!(
                "reflex_dtype_row_bytes: elements is {}, expected a multiple of {elements} ({name})",
                elements + 1
            );
            assert_eq!(message, want);
        }
        let most = i64::MAX / i64::from(elements) * i64::from(elements);
        let want = i128::from(most) / i128::from(elements) * i128::from(bytes);
        match i64::try_from(want) {
            Ok(want) => assert_eq!(row_bytes(dtype, most), Ok(want as u64), "{name}"),
            Err(_) => {
                let message = row_bytes(dtype, most).unwrap_err();
                assert!(message.contains("overflows 64 bits"), "{message}");
            }
        }
    }
    assert_eq!(
        reflex_dtype_row_bytes(REFLEX_DTYPE_F32, 4, null_mut()),
        REFLEX_INVALID_ARGUMENT
    );
    assert_eq!(last_error(), "reflex_dtype_row_bytes: bytes is NULL");
}

/// The byte after the last one of any element, by enumeration.
fn end(t: &reflex_tensor, elements: i64, bytes: i64) -> u64 {
    let rank = t.rank as usize;
    let mut counts = t.shape;
    counts[rank..].fill(1);
    counts[rank - 1] /= elements;
    let mut end = 0;
    for a in 0..counts[0] {
        for b in 0..counts[1] {
            for c in 0..counts[2] {
                for d in 0..counts[3] {
                    let index = [a, b, c, d];
                    let offset: i64 = (0..rank).map(|i| index[i] * t.stride[i]).sum();
                    end = end.max(offset + bytes);
                }
            }
        }
    }
    end as u64
}

#[test]
fn tensors_reach_as_far_as_their_elements() {
    for (dtype, name, elements, bytes, packs) in types() {
        let (elements, bytes) = (i64::from(elements), i64::from(bytes));
        // Rows of two blocks, so that ACT_I8's begin on multiples of 16.
        let row = 2 * elements;
        for shape in [&[row][..], &[3, row], &[2, 3, row], &[2, 1, 3, row], &[0, row], &[4, 0]] {
            let dense = shape.iter().product::<i64>() / elements * bytes;
            assert_eq!(
                tensor_bytes(&tensor(dtype, shape, &[])),
                Ok(dense as u64),
                "{name} {shape:?}"
            );
        }
        if packs {
            let matrix = tensor(packed(dtype), &[17, row], &[]);
            assert_eq!(tensor_bytes(&matrix), Ok((17 * 2 * bytes) as u64), "{name}");
            let mut size = 0;
            assert_eq!(reflex_weights_packed_size(dtype, 17, row, &mut size), REFLEX_SUCCESS);
            assert_eq!(tensor_bytes(&matrix), Ok(size), "{name}");
        }
        // Gaps between rows, rows that interleave, and one row for all.
        for [outer, inner] in [[1600, 320], [320, 960], [0, 320], [320, 0]] {
            let t = tensor(dtype, &[2, 3, row], &[outer, inner, bytes]);
            assert_eq!(tensor_bytes(&t), Ok(end(&t, elements, bytes)), "{name} {outer} {inner}");
        }
    }
    // Elements that are not dense.
    let t = tensor(REFLEX_DTYPE_F32, &[3, 5], &[4, 16]);
    assert_eq!(tensor_bytes(&t), Ok(end(&t, 1, 4)));
    // Memory that is there does not matter.
    let mut t = tensor(REFLEX_DTYPE_F32, &[3, 5], &[]);
    t.data = std::ptr::without_provenance_mut(3);
    assert_eq!(tensor_bytes(&t), Ok(60));
}

#[test]
fn tensors_that_cannot_be_have_no_size() {
    let refused = |t: reflex_tensor, words: &str| {
        let message = tensor_bytes(&t).unwrap_err();
        let want = format!("reflex_tensor_bytes: tensor.{words}");
        assert!(message.starts_with(&want), "`{message}`, expected `{want}`");
    };
    let f32 = REFLEX_DTYPE_F32;
    refused(tensor(f32, &[], &[]), "rank is 0, expected 1 to 4");
    refused(
        reflex_tensor {
            rank: 5,
            ..tensor(f32, &[1], &[])
        },
        "rank is 5, expected 1 to 4",
    );
    refused(tensor(f32, &[2, -1], &[]), "shape[1] is -1, expected 0 or more");
    refused(tensor(f32, &[2, 2], &[-8, 4]), "stride[0] is -8, expected 0 or more");
    refused(
        tensor(f32, &[1 << 40, 1 << 40], &[]),
        "shape [1099511627776, 1099511627776] overflows",
    );
    refused(
        tensor(f32, &[3, 4], &[i64::MAX - 3, 4]),
        "stride[0] is 9223372036854775804, which overflows",
    );
    refused(
        tensor(f32, &[3, 4], &[18, 4]),
        "stride[0] is 18, expected a multiple of 4",
    );
    refused(
        tensor(REFLEX_DTYPE_Q4_K, &[2, 250], &[]),
        "shape[1] is 250, expected a multiple of 256 (Q4_K)",
    );
    refused(
        tensor(packed(REFLEX_DTYPE_Q4_K), &[2, 250], &[]),
        "shape[1] is 250, expected a multiple of 256 (Q4_K_PACKED)",
    );
    refused(
        tensor(packed(REFLEX_DTYPE_Q4_K), &[1, 2, 256], &[]),
        "rank is 3, expected 2",
    );
    refused(
        tensor(packed(REFLEX_DTYPE_Q4_K), &[2, 256], &[160, 144]),
        "stride[0] is 160, expected 144 (a packed tensor is dense)",
    );
    refused(
        tensor(REFLEX_DTYPE_ACT_I8, &[2, 32], &[]),
        "stride[0] is 40, expected a multiple of 16 (ACT_I8;",
    );
    let mut bytes = 0;
    assert_eq!(reflex_tensor_bytes(null(), &mut bytes), REFLEX_INVALID_ARGUMENT);
    assert_eq!(last_error(), "reflex_tensor_bytes: tensor is NULL");
    let t = tensor(f32, &[4], &[]);
    assert_eq!(reflex_tensor_bytes(&t, null_mut()), REFLEX_INVALID_ARGUMENT);
    assert_eq!(last_error(), "reflex_tensor_bytes: bytes is NULL");
}

/// Messages about a type say whether it is packed.
#[test]
fn messages_print_the_packed_bit() {
    let env = Env::cpu();
    // Aligned for packed data.
    let data = env.malloc(1 << 14);
    let at = |dtype, shape: &[i64]| reflex_tensor {
        data,
        ..tensor(dtype, shape, &[])
    };
    let q4 = packed(REFLEX_DTYPE_Q4_K);
    let mut pack = reflex_weights_pack_params {
        struct_size: size_of::<reflex_weights_pack_params>() as u32,
        source: at(REFLEX_DTYPE_Q4_0, &[16, 256]),
        destination: at(q4, &[16, 256]),
        ..Default::default()
    };
    let refused = |params: &reflex_weights_pack_params, want: &str| {
        assert_eq!(
            reflex_weights_pack_supported(env.context, params),
            REFLEX_INVALID_ARGUMENT
        );
        assert!(last_error().contains(want), "{}", last_error());
    };
    refused(&pack, "destination.dtype is Q4_K_PACKED, expected Q4_0_PACKED");
    pack.destination.dtype = REFLEX_DTYPE_Q4_K;
    refused(
        &pack,
        "destination.dtype is Q4_K, expected a block format with REFLEX_DTYPE_PACKED",
    );
    pack.source.dtype = q4;
    refused(&pack, "source.dtype is Q4_K_PACKED, which is packed");
    let product = product_of(at(q4, &[16, 250]), at(REFLEX_DTYPE_F32, &[1, 16]));
    let matmul = MatmulCall::new(0, at(REFLEX_DTYPE_F32, &[1, 250]), &[product]);
    assert_eq!(MatmulCall::supported(env.context, &matmul), REFLEX_INVALID_ARGUMENT);
    assert!(last_error().contains("weight.data.shape[1] is 250, expected a multiple of 256 (Q4_K_PACKED)"));
    ok(reflex_device_free(env.context, data));
}
