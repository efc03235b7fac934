//! Weight formats: how the blocks of each expand to f32, and which bit of them lies where in a packed tile. What else there is to know of a
//! format stands in its row of `kernels/formats.def`.

mod k_quants;
pub(crate) mod packed;
pub(crate) mod panels;
mod small;
mod tables;

use crate::abi::BlockFormat;
use half::f16;
use k_quants::*;
use packed::{Element, Scales};
use small::*;
use tables::*;

/// One format: implemented by the type that is named as its row of `kernels/formats.def`, with that row's sizes.
trait Format<const BYTES: usize, const ELEMENTS: usize> {
    /// The bytes of a block, to count blocks with.
    const STEP: usize = BYTES;

    /// A block as f32, bit for bit as the GGUF specification's reference does it: scales are widened to f32, every product and difference is
    /// rounded to f32.
    fn expand(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]);

    /// Where bit `bit` of the quant of element `e` of 32-element block `b` lies in the native blocks of 256 elements.
    fn native_quant(b: usize, e: usize, bit: usize) -> usize;

    /// Where it lies in a tile: one of the planes of `packed`.
    const PLANE: fn(&Element, bit: usize) -> usize;

    /// Says of every bit of a row's scales where it lies on either side.
    fn scales(row: &mut Scales);
}

macro_rules! dispatch {
    ($({
        $NAME:ident $name:ident $lower:literal $number:ident $c_name:literal $packed_name:literal
        $ggml:literal $elements:literal $bytes:literal $($facts:tt)*
    })*) => {
        /// Elements `first..first + out.len()` of a weight row, both ends multiples of the block.
        ///
        /// # Safety
        /// The elements lie in memory that may be read.
        pub(crate) unsafe fn dequantize(row: *const u8, format: BlockFormat, first: usize, out: &mut [f32]) {
            let start = row.wrapping_add(first / format.elements() * format.bytes());
            // SAFETY: as here.
            unsafe {
                match format {
                    $(BlockFormat::$NAME => blocks(start, out, <$name as Format<$bytes, $elements>>::expand),)*
                }
            }
        }

        fn native_quant(format: BlockFormat, b: usize, e: usize, bit: usize) -> usize {
            match format {
                $(BlockFormat::$NAME => <$name as Format<$bytes, $elements>>::native_quant(b, e, bit),)*
            }
        }

        fn packed_quant(format: BlockFormat, element: &Element, bit: usize) -> usize {
            match format {
                $(BlockFormat::$NAME => <$name as Format<$bytes, $elements>>::PLANE(element, bit),)*
            }
        }

        fn scales(format: BlockFormat, row: &mut Scales) {
            match format {
                $(BlockFormat::$NAME => <$name as Format<$bytes, $elements>>::scales(row),)*
            }
        }
    };
}
block_formats!(dispatch);

unsafe fn blocks<const BYTES: usize, const ELEMENTS: usize>(
    mut from: *const u8,
    out: &mut [f32],
    expand: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    let (chunks, rest) = out.as_chunks_mut::<ELEMENTS>();
    debug_assert!(rest.is_empty());
    for chunk in chunks {
        expand(unsafe { &*from.cast::<[u8; BYTES]>() }, chunk);
        from = from.wrapping_add(BYTES);
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Bit `bit` of byte `byte`, counted from the beginning.
const fn at(byte: usize, bit: usize) -> usize {
    8 * byte + bit
}

/// A nibble from byte `start` on: byte l holds element l low and element l + 16 high.
fn nibble(start: usize, e: usize, bit: usize) -> usize {
    at(start + e % 16, e / 16 * 4 + bit)
}
