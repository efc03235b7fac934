//! A checked operand: what `reflex_tensor` becomes once everything about it was validated.

use super::dtype::Dtype;
use super::error::{Error, Result};
use super::status::*;
use super::tensor::reflex_tensor;

/// Known dtype, rank 1..=4, no negative dimension, no overflow, aligned, strides filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    op: &'static str,
    field: &'static str,
    pub data: *mut u8,
    pub dtype: Dtype,
    /// In the layout of docs/packed-weights.md: `row` is a row's address only in the rows after the last panel.
    pub packed: bool,
    rank: usize,
    shape: [i64; 4],
    stride: [i64; 4],
}

/// What a packed tensor's data is a multiple of.
const PACKED_ALIGNMENT: usize = 16;

// SAFETY: a view is an address and numbers; what may be done with the memory is the caller's contract.
unsafe impl Send for View {}
unsafe impl Sync for View {}

impl View {
    /// An operand that must be there.
    pub fn required(op: &'static str, field: &'static str, tensor: &reflex_tensor) -> Result<View> {
        View::optional(op, field, tensor)?.ok_or_else(|| View::absent(op, field))
    }

    /// A weight matrix that must be there and may be packed.
    pub fn weight(op: &'static str, field: &'static str, tensor: &reflex_tensor) -> Result<View> {
        View::parse(op, field, tensor, true)?.ok_or_else(|| View::absent(op, field))
    }

    fn absent(op: &'static str, field: &'static str) -> Error {
        Error::invalid(format!("{op}: {field}.data is NULL, expected a pointer"))
    }

    /// An operand that may be absent (`data == NULL`). A tensor of zero elements keeps its non-null pointer.
    pub fn optional(op: &'static str, field: &'static str, tensor: &reflex_tensor) -> Result<Option<View>> {
        View::parse(op, field, tensor, false)
    }

    /// `may_be_packed`: what no operand may be but the weights of the few ops that read packed ones.
    fn parse(
        op: &'static str,
        field: &'static str,
        tensor: &reflex_tensor,
        may_be_packed: bool,
    ) -> Result<Option<View>> {
        if tensor.data.is_null() {
            return Ok(None);
        }
        let (dtype, packed) = Dtype::parse(tensor.dtype)
            .ok_or_else(|| Error::invalid(format!("{op}: {field}.dtype is {}", Dtype::unknown(tensor.dtype))))?;
        let rank = tensor.rank as usize;
        if !(1..=4).contains(&rank) {
            return Err(Error::invalid(format!("{op}: {field}.rank is {rank}, expected 1 to 4")));
        }
        let mut view = View {
            op,
            field,
            data: tensor.data.cast(),
            dtype,
            packed,
            rank,
            shape: [1; 4],
            stride: [0; 4],
        };
        if packed && !may_be_packed {
            return Err(view.invalid(format!(
                "dtype is {}, which is packed, expected a type that is not (reflex_weights_unpack)",
                view.dtype_name()
            )));
        }
        view.shape[..rank].copy_from_slice(&tensor.shape[..rank]);
        view.stride[..rank].copy_from_slice(&tensor.stride[..rank]);
        view.check_shape()?;
        if view.is_empty() {
            // Of no elements no stride is wrong.
            view.stride = [0; 4];
            view.stride[rank - 1] = dtype.block_bytes() as i64;
        } else if view.stride[..rank].iter().all(|&s| s == 0) {
            view.fill_contiguous()?;
        } else {
            view.settle_strides()?;
            view.check_strides()?;
        }
        view.check_stride_alignment()?;
        let align = dtype.alignment();
        if !(view.data as usize).is_multiple_of(align) {
            return Err(Error::new(
                REFLEX_MISALIGNED,
                format!("{op}: {field}.data is {:p}, expected a multiple of {align}", view.data),
            ));
        }
        if packed {
            view = view.expect_packable()?.expect_aligned(PACKED_ALIGNMENT)?;
        }
        Ok(Some(view))
    }

    /// The shape and strides of a packed matrix: two dimensions, dense.
    fn expect_packable(self) -> Result<View> {
        let view = self.expect_rank(2..=2)?;
        if view.is_contiguous() {
            return Ok(view);
        }
        Err(view.invalid(format!(
            "stride[0] is {}, expected {} (a packed tensor is dense)",
            view.stride[0],
            view.shape[1] / view.dtype.block_elements() as i64 * view.dtype.block_bytes() as i64
        )))
    }

    pub fn expect_packed(self) -> Result<View> {
        if self.packed {
            return Ok(self);
        }
        Err(self.invalid(format!(
            "dtype is {}, expected a block format with REFLEX_DTYPE_PACKED",
            self.dtype_name()
        )))
    }

    /// The type's name as `reflex_dtype_name` gives it.
    pub fn dtype_name(&self) -> &'static str {
        self.dtype.c_name(self.packed).to_str().unwrap_or("?")
    }

    /// An error that names op and field; `what` begins with the rest of the field's name.
    pub fn invalid(&self, what: String) -> Error {
        Error::invalid(format!("{}: {}.{what}", self.op, self.field))
    }

    fn check_shape(&self) -> Result<()> {
        let mut elements: i64 = 1;
        for (i, &n) in self.dims().iter().enumerate() {
            if n < 0 {
                return Err(self.invalid(format!("shape[{i}] is {n}, expected 0 or more")));
            }
            elements = elements
                .checked_mul(n.max(1))
                .ok_or_else(|| self.invalid(format!("shape {:?} overflows 64 bits", self.dims())))?;
        }
        // Of the contiguous tensor, in 128 bits, which hold any number of elements of 63.
        let blocks: i128 = (0..self.rank).map(|i| i128::from(self.count(i).max(1))).product();
        if !self.is_empty() && blocks * self.dtype.block_bytes() as i128 > i64::MAX.into() {
            return Err(self.invalid(format!("shape {:?} overflows 64 bits", self.dims())));
        }
        let block = self.dtype.block_elements() as i64;
        let last = self.dims()[self.rank - 1];
        if last % block != 0 {
            return Err(self.invalid(format!(
                "shape[{}] is {last}, expected a multiple of {block} ({})",
                self.rank - 1,
                self.dtype_name()
            )));
        }
        Ok(())
    }

    fn fill_contiguous(&mut self) -> Result<()> {
        let mut step = self.dtype.block_bytes() as i64;
        for i in (0..self.rank).rev() {
            self.stride[i] = step;
            step = step
                .checked_mul(self.count(i).max(1))
                .ok_or_else(|| self.invalid(format!("shape {:?} overflows 64 bits", self.dims())))?;
        }
        Ok(())
    }

    /// A stride that nothing is strided over, as there is one row, element or block, may be any number: it becomes what it is in a
    /// contiguous tensor, so that a kernel that looks ahead of the only row finds an aligned address there, and views of the same
    /// bytes are equal.
    fn settle_strides(&mut self) -> Result<()> {
        let mut dense = *self;
        dense.fill_contiguous()?;
        for i in (0..self.rank).filter(|&i| dense.count(i) == 1) {
            self.stride[i] = dense.stride[i];
        }
        Ok(())
    }

    fn check_stride_alignment(&self) -> Result<()> {
        let align = self.dtype.alignment() as i64;
        // Blocks of a row follow one another.
        let strided = self.rank - usize::from(self.dtype.is_block());
        let misaligned = |&i: &usize| self.shape[i] > 1 && self.stride[i] % align != 0;
        match (0..strided).find(misaligned) {
            Some(i) => {
                let why = match self.dtype {
                    Dtype::ACT_I8 => " (ACT_I8; contiguous rows have a multiple of 64 elements)",
                    _ => "",
                };
                Err(Error::new(
                    REFLEX_MISALIGNED,
                    format!(
                        "{}: {}.stride[{i}] is {}, expected a multiple of {align}{why}",
                        self.op, self.field, self.stride[i]
                    ),
                ))
            }
            None => Ok(()),
        }
    }

    fn check_strides(&self) -> Result<()> {
        let mut end: i64 = self.dtype.block_bytes() as i64;
        for i in 0..self.rank {
            let stride = self.stride[i];
            if stride < 0 {
                return Err(self.invalid(format!("stride[{i}] is {stride}, expected 0 or more")));
            }
            end = (self.count(i) - 1)
                .checked_mul(stride)
                .and_then(|bytes| end.checked_add(bytes))
                .ok_or_else(|| self.invalid(format!("stride[{i}] is {stride}, which overflows 64 bits")))?;
        }
        let last = self.rank - 1;
        if self.dtype.is_block() && self.stride[last] != self.dtype.block_bytes() as i64 {
            return Err(self.invalid(format!(
                "stride[{last}] is {}, expected {} ({} blocks are contiguous)",
                self.stride[last],
                self.dtype.block_bytes(),
                self.dtype_name()
            )));
        }
        Ok(())
    }

    pub fn field(&self) -> &'static str {
        self.field
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn dims(&self) -> &[i64] {
        &self.shape[..self.rank]
    }

    /// Dimension `i`, outermost first.
    pub fn dim(&self, i: usize) -> i64 {
        self.dims()[i]
    }

    /// Byte stride of dimension `i`.
    pub fn stride(&self, i: usize) -> i64 {
        self.stride[..self.rank][i]
    }

    pub fn strides(&self) -> &[i64] {
        &self.stride[..self.rank]
    }

    pub fn is_empty(&self) -> bool {
        self.dims().contains(&0)
    }

    /// Address of the row at `index` (all dimensions but the last; missing ones are 0).
    pub fn row(&self, index: &[i64]) -> *mut u8 {
        let offset: i64 = index.iter().zip(&self.stride).map(|(i, s)| i * s).sum();
        self.data.wrapping_offset(offset as isize)
    }

    /// A contiguous view of the same shape elsewhere, of a type that is no block format.
    pub fn contiguous_at(&self, data: *mut u8, dtype: Dtype) -> View {
        let mut view = View { data, dtype, ..*self };
        let mut step = dtype.block_bytes() as i64;
        for i in (0..self.rank).rev() {
            view.stride[i] = step;
            step *= self.shape[i];
        }
        view
    }

    /// A matrix of the same shape elsewhere, of a type that is not packed, with rows `stride` bytes apart.
    pub fn matrix_at(&self, data: *mut u8, dtype: Dtype, stride: i64) -> View {
        let mut view = View {
            data,
            dtype,
            packed: false,
            ..*self
        };
        view.stride[..2].copy_from_slice(&[stride, dtype.block_bytes() as i64]);
        view
    }

    /// `count` indices of dimension `i` from `first` on; of a packed matrix whole panels, or all from one on.
    pub fn narrow(&self, i: usize, first: i64, count: i64) -> View {
        let mut part = *self;
        part.data = self.data.wrapping_offset((first * self.stride[i]) as isize);
        part.shape[i] = count;
        part
    }

    pub fn is_contiguous(&self) -> bool {
        let mut dense = *self;
        self.is_empty()
            || dense.fill_contiguous().is_ok()
                && (0..self.rank).all(|i| self.shape[i] <= 1 || dense.stride[i] == self.stride[i])
    }

    /// The pointer and every stride but the last are multiples of `bytes`, and the last dimension is dense.
    pub fn rows_aligned(&self, bytes: usize) -> bool {
        (self.data as usize).is_multiple_of(bytes)
            && (0..self.rank - 1).all(|i| self.shape[i] <= 1 || self.stride[i] % bytes as i64 == 0)
    }

    pub fn expect_dtype(self, allowed: &[Dtype]) -> Result<View> {
        if allowed.contains(&self.dtype) {
            return Ok(self);
        }
        let names = allowed.iter().map(|d| d.c_name(self.packed).to_str().unwrap_or("?"));
        let names: Vec<&str> = names.collect();
        Err(self.invalid(format!("dtype is {}, expected {}", self.dtype_name(), names.join(", "))))
    }

    pub fn expect_rank(self, allowed: std::ops::RangeInclusive<usize>) -> Result<View> {
        if allowed.contains(&self.rank) {
            return Ok(self);
        }
        let (low, high) = (allowed.start(), allowed.end());
        let range = if low == high {
            low.to_string()
        } else {
            format!("{low} to {high}")
        };
        Err(self.invalid(format!("rank is {}, expected {range}", self.rank)))
    }

    /// Exactly this shape; `what` says where it comes from, e.g. "[rows, dim] of x".
    pub fn expect_shape(self, shape: &[i64], what: &str) -> Result<View> {
        if self.dims() == shape {
            return Ok(self);
        }
        Err(self.invalid(format!("shape is {:?}, expected {shape:?} ({what})", self.dims())))
    }

    /// The last dimension is dense: what every kernel's inner loop wants.
    pub fn expect_dense_rows(self) -> Result<View> {
        let last = self.rank - 1;
        let want = self.dtype.block_bytes() as i64;
        if self.shape[last] <= 1 || self.stride[last] == want {
            return Ok(self);
        }
        Err(self.invalid(format!(
            "stride[{last}] is {}, expected {want} (elements of a row are contiguous)",
            self.stride[last]
        )))
    }

    /// Dimension `i` lies in a range.
    pub fn expect_dim(self, i: usize, allowed: std::ops::RangeInclusive<i64>) -> Result<View> {
        if allowed.contains(&self.dim(i)) {
            return Ok(self);
        }
        Err(self.invalid(format!(
            "shape[{i}] is {}, expected {} to {}",
            self.dim(i),
            allowed.start(),
            allowed.end()
        )))
    }

    pub fn expect_aligned(self, bytes: usize) -> Result<View> {
        if (self.data as usize).is_multiple_of(bytes) {
            return Ok(self);
        }
        Err(Error::new(
            REFLEX_MISALIGNED,
            format!(
                "{}: {}.data is {:p}, expected a multiple of {bytes}",
                self.op, self.field, self.data
            ),
        ))
    }

    /// What kernels' wide loads of block formats need: 16-byte aligned data, and outer strides that keep the blocks of
    /// every row as aligned as those of the first: multiples of the power of two, up to 16, that divides a block's
    /// bytes. Contiguous rows always are. Plain types pass.
    pub fn expect_aligned_blocks(self) -> Result<View> {
        const WIDE: usize = 16;
        if !self.dtype.is_block() {
            return Ok(self);
        }
        let view = self.expect_aligned(WIDE)?;
        let bytes = self.dtype.block_bytes();
        let align = WIDE.min(1 << bytes.trailing_zeros()) as i64;
        for i in 0..self.rank - 1 {
            if self.shape[i] > 1 && self.stride[i] % align != 0 {
                return Err(Error::new(
                    REFLEX_MISALIGNED,
                    format!(
                        "{}: {}.stride[{i}] is {}, expected a multiple of {align} ({})",
                        self.op,
                        self.field,
                        self.stride[i],
                        self.dtype_name()
                    ),
                ));
            }
        }
        Ok(view)
    }

    /// Exactly the same view: address, type, shape, and strides where a dimension is larger than 1.
    pub fn is_same(&self, other: &View) -> bool {
        self.data == other.data
            && (self.dtype, self.packed, self.dims()) == (other.dtype, other.packed, other.dims())
            && (0..self.rank).all(|i| self.shape[i] <= 1 || self.stride[i] == other.stride[i])
    }
}
