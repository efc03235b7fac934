//! The array of a call's products: its bounds, headers older and newer than the library, and fields kept for later versions.

use super::case::*;
use crate::support::*;
use reflex_infer::*;
use std::ptr::null_mut;

const SIZE: usize = size_of::<reflex_matmul_product>();

fn case() -> Case {
    let product = |n| Product {
        bias: Some(F32),
        ..Product::new(REFLEX_DTYPE_Q4_K, n)
    };
    Case::new(2, 256, &[product(32), product(64), product(16)])
}

/// The refusal of three products, once their params are changed.
fn refusal(change: impl Fn(&mut reflex_matmul_params)) -> (reflex_status, String) {
    let env = Env::cpu();
    let io = Io::new(&env);
    let call = case().params(&io);
    let mut p = call.params();
    change(&mut p);
    refused(&env, |_| {
        Box::new(move |context, stream| reflex_matmul(context, &p, stream))
    })
}

/// The refusal of a call whose products are changed.
fn product_refusal(change: impl Fn(&mut [reflex_matmul_product; 3])) -> (reflex_status, String) {
    refused(&Env::cpu(), |io| {
        let mut call = case().params(io);
        change(&mut call.products);
        Box::new(move |context, stream| MatmulCall::launch(context, &call, stream))
    })
}

#[track_caller]
fn expect((status, message): (reflex_status, String), want: reflex_status, text: &str) {
    assert_eq!(
        (status_name(status), message),
        (status_name(want), format!("matmul: {text}"))
    );
}

#[test]
fn an_array_that_cannot_be_is_refused() {
    let invalid = REFLEX_INVALID_ARGUMENT;
    expect(refusal(|p| p.products = null_mut()), invalid, "products is NULL");
    expect(
        refusal(|p| p.product_count = 0),
        invalid,
        "product_count is 0, expected 1 or more",
    );
    for shift in [1, 4] {
        let (status, message) = refusal(|p| p.products = p.products.wrapping_byte_add(shift));
        assert_eq!(status_name(status), "REFLEX_MISALIGNED");
        assert!(
            message.starts_with("matmul: products is 0x") && message.ends_with(", expected a multiple of 8"),
            "{message}"
        );
    }
}

/// An engine makes several calls instead. Nothing is read: there are but three.
#[test]
fn more_products_than_a_call_takes_are_unsupported() {
    for count in [4, 5, 1 << 31, u32::MAX] {
        expect(
            refusal(|p| p.product_count = count),
            REFLEX_UNSUPPORTED,
            &format!("product_count is {count}, expected at most 3: this library multiplies up to 3 weights in a call"),
        );
    }
}

#[test]
fn the_size_of_a_product_is_that_of_some_header() {
    assert_eq!(SIZE, 728);
    for size in [0, 8, 720, 727, 65537, u32::MAX] {
        expect(
            refusal(|p| p.product_size = size),
            REFLEX_ABI_MISMATCH,
            &format!("product_size is {size}, expected 728 to 65536 (this library's struct has 728 bytes)"),
        );
    }
    expect(
        refusal(|p| p.product_size = 732),
        REFLEX_ABI_MISMATCH,
        "product_size is 732, expected a multiple of 8 (this library's struct has 728 bytes)",
    );
}

/// Products as a newer header has them, with `tail` bytes more.
fn wider(products: &[reflex_matmul_product], tail: usize) -> Vec<u64> {
    let words = (SIZE + tail) / 8;
    let mut memory = vec![0u64; products.len() * words];
    for (product, to) in products.iter().zip(memory.chunks_mut(words)) {
        unsafe { to.as_mut_ptr().cast::<reflex_matmul_product>().write(*product) };
    }
    memory
}

#[test]
fn products_of_a_newer_header_are_taken_where_their_tails_are_zero() {
    let env = Env::cpu();
    let want = case().run(&env);
    for tail in [8, 80, 4096] {
        let launch = |io: &Io, set: Option<usize>| -> Launch {
            let call = case().params(io);
            let mut memory = wider(&call.products, tail);
            if let Some(byte) = set {
                unsafe { memory.as_mut_ptr().cast::<u8>().add(byte).write(1) };
            }
            Box::new(move |context, stream| {
                let p = reflex_matmul_params {
                    products: memory.as_ptr().cast(),
                    product_size: (SIZE + tail) as u32,
                    ..call.params()
                };
                reflex_matmul(context, &p, stream)
            })
        };
        assert!(run_once_bytes(&env, |io| launch(io, None)) == want, "{tail} bytes more");
        for i in 0..3 {
            for byte in [SIZE, SIZE + tail - 1] {
                let size = SIZE + tail;
                expect(
                    refused(&env, |io| launch(io, Some(i * size + byte))),
                    REFLEX_ABI_MISMATCH,
                    &format!(
                        "product_size is {size} and byte {byte} of products[{i}] is not zero, but this library knows 728 bytes: \
                         it is older than the caller's header"
                    ),
                );
            }
        }
    }
}

/// Behind the array is memory that nobody may read.
#[test]
fn nothing_behind_the_products_is_read() {
    let env = Env::cpu();
    let want = case().run(&env);
    const PAGE: usize = 1 << 16;
    for count in 1..=3 {
        let got = run_once_bytes(&env, |io| {
            let call = case().params(io);
            let memory = unsafe {
                let memory = libc::mmap(
                    null_mut(),
                    2 * PAGE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                assert_ne!(memory, libc::MAP_FAILED);
                assert_eq!(libc::mprotect(memory.wrapping_byte_add(PAGE), PAGE, libc::PROT_NONE), 0);
                memory
            };
            let products = memory
                .wrapping_byte_add(PAGE)
                .cast::<reflex_matmul_product>()
                .wrapping_sub(count);
            unsafe { products.copy_from_nonoverlapping(call.products.as_ptr(), count) };
            Box::new(move |context, stream| {
                let p = reflex_matmul_params {
                    products,
                    product_count: count as u32,
                    ..call.params()
                };
                let status = reflex_matmul(context, &p, stream);
                assert_eq!(unsafe { libc::munmap(memory, 2 * PAGE) }, 0);
                status
            })
        });
        assert!(got[..count] == want[..count], "{count} products");
    }
}

#[test]
fn a_captured_call_keeps_no_pointer_to_its_products() {
    let env = Env::cpu();
    let want = case().run(&env);
    let got = run_once_bytes(&env, |io| {
        let call = case().params(io);
        Box::new(move |context, stream| {
            let mut mine = Box::new(call);
            ok(reflex_graph_capture_begin(context, stream));
            let status = MatmulCall::launch(context, &*mine, stream);
            let mut graph = null_mut();
            ok(reflex_graph_capture_end(context, stream, &mut graph));
            // What the params led to is something else by the time of the replay.
            mine.products.fill(reflex_matmul_product::default());
            drop(mine);
            ok(reflex_graph_launch(context, graph, stream));
            ok(reflex_stream_synchronize(context, stream));
            reflex_graph_destroy(graph);
            status
        })
    });
    assert!(got == want);
}

/// Formats of this version have everything in `data`.
#[test]
fn a_weight_has_data_alone() {
    type Field = fn(&mut reflex_weight) -> &mut reflex_tensor;
    let fields: [(&str, Field); 4] = [
        ("scales", |w| &mut w.scales),
        ("zeros", |w| &mut w.zeros),
        ("global_scale", |w| &mut w.global_scale),
        ("order", |w| &mut w.order),
    ];
    let invalid = REFLEX_INVALID_ARGUMENT;
    for i in 0..3 {
        for (name, field) in fields {
            expect(
                product_refusal(|products| *field(&mut products[i].weight) = products[0].bias),
                invalid,
                &format!("products[{i}].weight.{name}.data is set, expected NULL with Q4_K"),
            );
        }
        expect(
            product_refusal(|products| products[i].weight.group_size = 32),
            invalid,
            &format!("products[{i}].weight.group_size is 32, expected 0 with Q4_K"),
        );
        expect(
            product_refusal(|products| products[i].weight.reserved = 7),
            invalid,
            &format!("products[{i}].weight.reserved is 7, expected 0 with Q4_K"),
        );
    }
    // Whatever the format.
    for dtype in WEIGHTS {
        let name = dtype_name(dtype).to_uppercase();
        let refusal = refused(&Env::cpu(), |io| {
            let mut call = Case::new(1, 256, &[Product::new(dtype, 8)]).params(io);
            call.products[0].weight.scales = call.x;
            Box::new(move |context, stream| MatmulCall::launch(context, &call, stream))
        });
        let text = format!("products[0].weight.scales.data is set, expected NULL with {name}");
        expect(refusal, invalid, &text);
    }
}

#[test]
fn a_product_has_no_expert_ids() {
    for i in 0..3 {
        expect(
            product_refusal(|products| products[i].expert_ids = products[i].bias),
            REFLEX_UNSUPPORTED,
            &format!(
                "products[{i}].expert_ids.data is set, expected NULL: this library multiplies every row with the whole weight"
            ),
        );
    }
}

/// A tensor without data is absent, whatever else is in it; so are products behind the last one.
#[test]
fn what_is_absent_is_not_looked_at() {
    let env = Env::cpu();
    let absent = reflex_tensor {
        data: null_mut(),
        dtype: reflex_dtype(999),
        rank: 77,
        shape: [-1; 4],
        stride: [-1; 4],
    };
    let want = case().run(&env);
    let got = run_once_bytes(&env, |io| {
        let mut call = case().params(io);
        for product in &mut call.products {
            let weight = &mut product.weight;
            (weight.scales, weight.zeros, weight.global_scale, weight.order) = (absent, absent, absent, absent);
            (product.residual, product.expert_ids) = (absent, absent);
        }
        call.product_count = 2;
        call.products[2].y.data = null_mut();
        Box::new(move |context, stream| MatmulCall::launch(context, &call, stream))
    });
    assert!(got[..2] == want[..2] && got[2] != want[2]);
}

/// An absent product is no product: there is one less.
#[test]
fn every_product_has_a_weight() {
    for i in 0..3 {
        expect(
            product_refusal(|products| products[i] = reflex_matmul_product::default()),
            REFLEX_INVALID_ARGUMENT,
            &format!("products[{i}].weight.data.data is NULL, expected a pointer"),
        );
    }
}

/// The first version has all fields.
#[test]
fn a_struct_of_no_version_is_refused() {
    assert_eq!(size_of::<reflex_matmul_params>(), 536);
    for size in [424, 528, 535] {
        expect(
            refusal(|p| p.struct_size = size),
            REFLEX_ABI_MISMATCH,
            &format!("struct_size is {size}, expected 536 to 65536 (this library's struct has 536 bytes)"),
        );
    }
}
