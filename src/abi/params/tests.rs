//! Structs and arrays of callers whose header is older or newer than the library.

use super::*;

/// In its first release it ended before `c`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    a: u64,
    b: u64,
    c: u64,
}

// SAFETY: repr(C), no padding, zero is valid.
unsafe impl Element for Item {
    const MIN_SIZE: usize = 16;
}

/// Elements of `words` 8-byte words each that count up from 1, as an array.
fn read(memory: &[u64], words: usize) -> Result<Array<Item>> {
    let count = (memory.len() / words) as u32;
    read_array("item", memory.as_ptr().cast(), count, 8 * words as u32)
}

fn items(array: &Array<Item>) -> Vec<[u64; 3]> {
    (0..array.len())
        .map(|i| {
            let mut room = MaybeUninit::uninit();
            let item = array.get(i, &mut room);
            [item.a, item.b, item.c]
        })
        .collect()
}

#[test]
fn elements_of_this_header_are_lent() {
    let memory = [1, 2, 3, 4, 5, 6];
    let array = read(&memory, 3).unwrap();
    assert_eq!(items(&array), [[1, 2, 3], [4, 5, 6]]);
    let mut room = MaybeUninit::uninit();
    assert!(std::ptr::eq(array.get(1, &mut room), memory[3..].as_ptr().cast()));
}

#[test]
fn elements_of_an_older_header_end_in_zeros() {
    assert_eq!(
        items(&read(&[1, 2, 3, 4, 5, 6], 2).unwrap()),
        [[1, 2, 0], [3, 4, 0], [5, 6, 0]]
    );
}

#[test]
fn elements_of_a_newer_header_are_taken_where_their_tails_are_zero() {
    assert_eq!(
        items(&read(&[1, 2, 3, 0, 4, 5, 6, 0], 4).unwrap()),
        [[1, 2, 3], [4, 5, 6]]
    );
    for (memory, place) in [
        ([1, 2, 3, 1 << 8, 4, 5, 6, 0], "byte 25 of items[0]"),
        ([1, 2, 3, 0, 4, 5, 6, 1 << 56], "byte 31 of items[1]"),
    ] {
        let error = read(&memory, 4).unwrap_err();
        assert_eq!(error.status, REFLEX_ABI_MISMATCH);
        assert_eq!(
            error.message,
            format!(
                "item_size is 32 and {place} is not zero, but this library knows 24 bytes: it is older than the caller's header"
            )
        );
    }
}

#[test]
fn arrays_that_cannot_be_are_refused() {
    let memory = [0u64; 16];
    let at = |shift: usize| memory.as_ptr().cast::<Item>().wrapping_byte_add(shift);
    let refused = |pointer, count, size, status, message: &str| {
        let error = read_array("item", pointer, count, size).unwrap_err();
        assert_eq!((error.status, error.message.as_str()), (status, message));
    };
    let invalid = REFLEX_INVALID_ARGUMENT;
    refused(std::ptr::null(), 1, 24, invalid, "items is NULL");
    refused(at(0), 0, 24, invalid, "item_count is 0, expected 1 or more");
    let text = format!("items is {:p}, expected a multiple of 8", at(4));
    refused(at(4), 1, 24, REFLEX_MISALIGNED, &text);
    for size in [0, 8, 15, 65537, 1 << 31] {
        let text = format!("item_size is {size}, expected 16 to 65536 (this library's struct has 24 bytes)");
        refused(at(0), 1, size, REFLEX_ABI_MISMATCH, &text);
    }
    let text = "item_size is 28, expected a multiple of 8 (this library's struct has 24 bytes)";
    refused(at(0), 2, 28, REFLEX_ABI_MISMATCH, text);
}
