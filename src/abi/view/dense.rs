//! The contiguous tensor of a shape, in the few instructions that every operand of every call has to take.

use super::super::dtype::Dtype;

/// By rank, what is kept of a tensor's shape and strides.
pub(super) const KEEP: [[i64; 4]; 5] = [
    [0, 0, 0, 0],
    [-1, 0, 0, 0],
    [-1, -1, 0, 0],
    [-1, -1, -1, 0],
    [-1, -1, -1, -1],
];

/// In a tensor of more bytes the number of elements may overflow where that of bytes does not.
const MANY_BYTES: i64 = i64::MAX >> 8;

/// The contiguous tensor of a shape.
pub(super) struct Dense {
    /// In bytes.
    pub stride: [i64; 4],
    pub bytes: i64,
    /// No dimension is negative, 0 or no number of blocks, and nothing overflows.
    pub is_ordinary: bool,
}

impl Dense {
    pub fn of(shape: &[i64; 4], rank: usize, dtype: Dtype) -> Dense {
        match rank {
            1 => Dense::of_rank::<1>(shape, dtype),
            2 => Dense::of_rank::<2>(shape, dtype),
            3 => Dense::of_rank::<3>(shape, dtype),
            _ => Dense::of_rank::<4>(shape, dtype),
        }
    }

    #[inline(always)]
    fn of_rank<const RANK: usize>(shape: &[i64; 4], dtype: Dtype) -> Dense {
        let (mut stride, mut bytes) = ([0; 4], dtype.block_bytes() as i64);
        let (mut overflows, mut least, shift) = (false, 1, dtype.block_shift());
        for i in (0..RANK).rev() {
            stride[i] = bytes;
            let blocks = if i + 1 == RANK { shape[i] >> shift } else { shape[i] };
            let (product, overflowed) = bytes.overflowing_mul(blocks.max(1));
            bytes = product;
            overflows |= overflowed;
            least = least.min(shape[i]);
        }
        let partial = shape[RANK - 1] & ((1 << shift) - 1);
        Dense {
            stride,
            bytes,
            is_ordinary: !overflows && least > 0 && partial == 0 && bytes <= MANY_BYTES,
        }
    }
}

/// See the view's field of this name.
#[inline(always)]
pub(super) fn row_bits(data: *mut u8, shape: &[i64; 4], stride: &[i64; 4], rank: usize) -> usize {
    (0..3)
        .filter(|&i| i + 1 < rank && shape[i] > 1)
        .fold(data as usize, |all, i| all | stride[i] as usize)
}
