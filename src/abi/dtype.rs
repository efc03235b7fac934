//! Element types: their numbers in C, and the facts of their blocks.

use std::ffi::{CStr, c_char};

/// Element type of a tensor. The library's own types are 1..255; GGUF block formats are 0x100 + their ggml type number.
/// A block format counts elements in `shape`; its blocks are contiguous along the last dimension. A GGUF block format with
/// `REFLEX_DTYPE_PACKED` or-ed to it is packed; `REFLEX_DTYPE_ACT_I8` has a row layout of its own. Every other number is no
/// type: ops refuse it with a message that prints it, and its sizes are 0.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_dtype(pub u32);

/// No type: the value of a zeroed tensor.
pub const REFLEX_DTYPE_NONE: reflex_dtype = reflex_dtype(0);
/// IEEE 754 binary32.
pub const REFLEX_DTYPE_F32: reflex_dtype = reflex_dtype(1);
/// IEEE 754 binary16.
pub const REFLEX_DTYPE_F16: reflex_dtype = reflex_dtype(2);
/// bfloat16.
pub const REFLEX_DTYPE_BF16: reflex_dtype = reflex_dtype(3);
/// 32-bit signed integer: token ids, positions, lengths, slots.
pub const REFLEX_DTYPE_I32: reflex_dtype = reflex_dtype(4);
/// Activations in 8 bits with a scale for each 32, written by ops for a matmul to read: 40 bytes for 32 elements, `d * q` each.
/// A row of k elements (a multiple of 32) is k signed bytes q, then k / 32 records of 8 bytes
/// `{ float d; int16_t s0, s1; }`, s0 the sum of the block's first 16 q and s1 of its last 16. Data and strides between
/// rows are multiples of 16, so that contiguous rows, where there are several, have a multiple of 64 elements. ggml's Q8_1
/// (0x109) is another layout and no type of this library.
///
/// For 32 elements x with `a = max |x|`, d is `a / 127`, and q is `x * (127 / a)` rounded to nearest even, in f32. Where
/// `127 / a` is infinite (a below about 3.7e-37), d and q are 0. A NaN among x makes d NaN and q 0. Where a is infinite, d is
/// infinity, q 127 or -127 for the infinities and 0 for the rest.
pub const REFLEX_DTYPE_ACT_I8: reflex_dtype = reflex_dtype(5);
/// GGUF Q4_0: 32 elements in 18 bytes.
pub const REFLEX_DTYPE_Q4_0: reflex_dtype = reflex_dtype(0x102);
/// GGUF Q4_1: 32 elements in 20 bytes.
pub const REFLEX_DTYPE_Q4_1: reflex_dtype = reflex_dtype(0x103);
/// GGUF Q5_0: 32 elements in 22 bytes.
pub const REFLEX_DTYPE_Q5_0: reflex_dtype = reflex_dtype(0x106);
/// GGUF Q5_1: 32 elements in 24 bytes.
pub const REFLEX_DTYPE_Q5_1: reflex_dtype = reflex_dtype(0x107);
/// GGUF Q8_0: 32 elements in 34 bytes.
pub const REFLEX_DTYPE_Q8_0: reflex_dtype = reflex_dtype(0x108);
/// GGUF Q2_K: 256 elements in 84 bytes.
pub const REFLEX_DTYPE_Q2_K: reflex_dtype = reflex_dtype(0x10A);
/// GGUF Q3_K: 256 elements in 110 bytes.
pub const REFLEX_DTYPE_Q3_K: reflex_dtype = reflex_dtype(0x10B);
/// GGUF Q4_K: 256 elements in 144 bytes.
pub const REFLEX_DTYPE_Q4_K: reflex_dtype = reflex_dtype(0x10C);
/// GGUF Q5_K: 256 elements in 176 bytes.
pub const REFLEX_DTYPE_Q5_K: reflex_dtype = reflex_dtype(0x10D);
/// GGUF Q6_K: 256 elements in 210 bytes.
pub const REFLEX_DTYPE_Q6_K: reflex_dtype = reflex_dtype(0x10E);
/// GGUF IQ4_NL: 32 elements in 18 bytes.
pub const REFLEX_DTYPE_IQ4_NL: reflex_dtype = reflex_dtype(0x114);
/// GGUF IQ4_XS: 256 elements in 136 bytes.
pub const REFLEX_DTYPE_IQ4_XS: reflex_dtype = reflex_dtype(0x117);
/// GGUF TQ2_0, quants of -1, 0 and 1: 256 elements in 66 bytes.
pub const REFLEX_DTYPE_TQ2_0: reflex_dtype = reflex_dtype(0x123);
/// GGUF MXFP4, the OCP Microscaling format: 32 elements in 17 bytes.
pub const REFLEX_DTYPE_MXFP4: reflex_dtype = reflex_dtype(0x127);
/// This bit, or-ed to a GGUF block format, says that `reflex_weights_pack` made the tensor. A packed tensor is `[n, k]`
/// and dense, its data is 16-byte aligned, and it has as many bytes as the native one.
pub const REFLEX_DTYPE_PACKED: reflex_dtype = reflex_dtype(0x1000);

/// The type of a tensor in a GGUF file from its ggml type number, `REFLEX_DTYPE_NONE` where this library has none.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_dtype_from_ggml(ggml_type: u32) -> reflex_dtype {
    Dtype::ALL
        .into_iter()
        .find(|d| d.ggml() == Some(ggml_type))
        .map_or(REFLEX_DTYPE_NONE, Dtype::abi)
}

/// The type's name, `"Q4_K"` or `"Q4_K_PACKED"` for example; `"unknown"` for a number that is none. Never null.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_dtype_name(dtype: reflex_dtype) -> *const c_char {
    Dtype::parse(dtype)
        .map_or(c"unknown", |(d, packed)| d.c_name(packed))
        .as_ptr()
}

/// Elements in one block: 1 for plain types, 32 or 256 for block formats, packed or not, 0 for a number that is no type.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_dtype_block_elements(dtype: reflex_dtype) -> u32 {
    Dtype::parse(dtype).map_or(0, |(d, _)| d.block_elements() as u32)
}

/// Bytes of one block (of one element, for plain types), 0 for a number that is no type.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_dtype_block_bytes(dtype: reflex_dtype) -> u32 {
    Dtype::parse(dtype).map_or(0, |(d, _)| d.block_bytes() as u32)
}

/// A row of `kernels/formats.def`.
struct Facts {
    number: reflex_dtype,
    name: &'static CStr,
    packed_name: &'static CStr,
    ggml: u32,
    elements: usize,
    bytes: usize,
    bits: usize,
    group: usize,
}

macro_rules! define {
    ($({
        $NAME:ident $type:ident $lower:literal $number:ident $name:literal $packed_name:literal
        $ggml:literal $elements:literal $bytes:literal $bits:literal $group:literal [$($scales:tt)*]
    })*) => {
        /// The element types inside the library, where `match` must be exhaustive: the library's own, then the block formats.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[allow(non_camel_case_types)]
        #[repr(u8)]
        pub(crate) enum Dtype {
            F32,
            F16,
            BF16,
            I32,
            ACT_I8,
            $($NAME),*
        }

        /// A GGUF block format: `Q4_K` for REFLEX_DTYPE_Q4_K, in the order of `kernels/formats.def`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[allow(non_camel_case_types)]
        pub(crate) enum BlockFormat {
            $($NAME),*
        }

        impl BlockFormat {
            pub const ALL: [BlockFormat; [$($ggml),*].len()] = [$(BlockFormat::$NAME),*];
            const FACTS: [Facts; BlockFormat::ALL.len()] = [$(Facts {
                number: $number,
                name: $name,
                packed_name: $packed_name,
                ggml: $ggml,
                elements: $elements,
                bytes: $bytes,
                bits: $bits,
                group: $group,
            }),*];
        }

        // The header's numbers are written out above for cbindgen.
        $(const _: () = assert!($number.0 == 0x100 + $ggml, "kernels/formats.def has another number");)*

        impl Dtype {
            pub const ALL: [Dtype; 5 + BlockFormat::ALL.len()] =
                [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I32, Dtype::ACT_I8, $(Dtype::$NAME),*];
            /// Weights of a matmul or an embedding.
            pub const WEIGHTS: &'static [Dtype] =
                &[Dtype::F32, Dtype::F16, Dtype::BF16, $(Dtype::$NAME),*];
        }
    };
}
block_formats!(define);

/// The number of types that are no block format.
const FIRST_BLOCK: usize = Dtype::ALL.len() - BlockFormat::ALL.len();

impl BlockFormat {
    const fn facts(self) -> &'static Facts {
        &BlockFormat::FACTS[self as usize]
    }

    /// Elements of a block.
    pub const fn elements(self) -> usize {
        self.facts().elements
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        self.facts().bytes
    }

    /// Bits of a quant, or of a code that is a place in a table.
    pub const fn quant_bits(self) -> usize {
        self.facts().bits
    }

    /// 16 where 16 elements share a scale, else 32.
    pub const fn scale_group(self) -> usize {
        self.facts().group
    }
}

impl Dtype {
    /// Activations to compute with.
    pub const FLOATS: &'static [Dtype] = &[Dtype::F32, Dtype::F16, Dtype::BF16];
    /// Activations as an op may write them for a matmul.
    pub const ACTIVATIONS: &'static [Dtype] = &[Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::ACT_I8];
    /// Weights that can be packed: those after the plain types.
    pub const BLOCKS: &'static [Dtype] = Dtype::WEIGHTS.split_at(Dtype::FLOATS.len()).1;

    /// Number in the ABI, name, ggml type number, elements and bytes of a block.
    const fn row(self) -> (reflex_dtype, &'static CStr, Option<u32>, usize, usize) {
        match self {
            Dtype::F32 => (REFLEX_DTYPE_F32, c"F32", Some(0), 1, 4),
            Dtype::F16 => (REFLEX_DTYPE_F16, c"F16", Some(1), 1, 2),
            Dtype::BF16 => (REFLEX_DTYPE_BF16, c"BF16", Some(30), 1, 2),
            Dtype::I32 => (REFLEX_DTYPE_I32, c"I32", Some(26), 1, 4),
            Dtype::ACT_I8 => (REFLEX_DTYPE_ACT_I8, c"ACT_I8", None, 32, 40),
            _ => {
                let facts = BlockFormat::ALL[self as usize - FIRST_BLOCK].facts();
                (facts.number, facts.name, Some(facts.ggml), facts.elements, facts.bytes)
            }
        }
    }

    /// The format, of types in GGUF blocks.
    pub const fn block(self) -> Option<BlockFormat> {
        match (self as usize).checked_sub(FIRST_BLOCK) {
            Some(format) => Some(BlockFormat::ALL[format]),
            None => None,
        }
    }

    /// The type of a number, and whether `REFLEX_DTYPE_PACKED` is or-ed to it.
    pub fn parse(dtype: reflex_dtype) -> Option<(Dtype, bool)> {
        let packed = dtype.0 & REFLEX_DTYPE_PACKED.0 != 0;
        let native = dtype.0 & !REFLEX_DTYPE_PACKED.0;
        let known = (*BY_NUMBER.get(native as usize)?)?;
        (!packed || known.block().is_some()).then_some((known, packed))
    }

    /// What a message says of a number that is no type.
    pub fn unknown(dtype: reflex_dtype) -> String {
        format!("{} ({:#x}), which is no REFLEX_DTYPE", dtype.0, dtype.0)
    }

    #[inline(always)]
    const fn sizes(self) -> &'static Sizes {
        &SIZES[self as usize]
    }

    #[inline(always)]
    pub const fn abi(self) -> reflex_dtype {
        self.sizes().number
    }

    /// The name that `reflex_dtype_name` gives.
    pub fn c_name(self, packed: bool) -> &'static CStr {
        match self.packed_c_name() {
            Some(name) if packed => name,
            _ => self.row().1,
        }
    }

    /// The name of the native type, for messages.
    pub fn name(self) -> &'static str {
        self.row().1.to_str().unwrap_or("?")
    }

    /// Name of the packed type of a block format.
    const fn packed_c_name(self) -> Option<&'static CStr> {
        match self.block() {
            Some(format) => Some(format.facts().packed_name),
            None => None,
        }
    }

    pub const fn ggml(self) -> Option<u32> {
        self.row().2
    }

    #[inline(always)]
    pub const fn block_elements(self) -> usize {
        1 << self.block_shift()
    }

    /// Elements of a block as a power of two.
    #[inline(always)]
    pub const fn block_shift(self) -> u32 {
        self.sizes().shift
    }

    #[inline(always)]
    pub const fn block_bytes(self) -> usize {
        self.sizes().bytes
    }

    #[inline(always)]
    pub const fn is_block(self) -> bool {
        self.block_shift() > 0
    }

    /// What a pointer and a stride between rows must be a multiple of. GGUF blocks hold 16-bit scales, MXFP4 single bytes.
    #[inline(always)]
    pub const fn alignment(self) -> usize {
        self.sizes().alignment
    }
}

/// What every call asks of the types of its operands: `Dtype::row`, without a jump for each question.
struct Sizes {
    number: reflex_dtype,
    shift: u32,
    bytes: usize,
    alignment: usize,
}

/// In the order of `Dtype::ALL`.
const SIZES: [Sizes; Dtype::ALL.len()] = {
    let mut sizes = [const {
        Sizes {
            number: REFLEX_DTYPE_NONE,
            shift: 0,
            bytes: 0,
            alignment: 0,
        }
    }; Dtype::ALL.len()];
    let mut i = 0;
    while i < sizes.len() {
        let dtype = Dtype::ALL[i];
        let (number, _, _, elements, bytes) = dtype.row();
        assert!(dtype as usize == i && elements.is_power_of_two());
        sizes[i] = Sizes {
            number,
            shift: elements.trailing_zeros(),
            bytes,
            alignment: match dtype {
                Dtype::ACT_I8 => 16,
                _ if elements > 1 => 2 - bytes % 2,
                _ => bytes,
            },
        };
        i += 1;
    }
    sizes
};

/// Types by their number.
static BY_NUMBER: [Option<Dtype>; 0x200] = {
    let mut types = [None; 0x200];
    let mut i = 0;
    while i < Dtype::ALL.len() {
        types[Dtype::ALL[i].row().0.0 as usize] = Some(Dtype::ALL[i]);
        i += 1;
    }
    types
};
