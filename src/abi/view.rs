//! A checked operand: what `reflex_tensor` becomes once everything about it was validated.

mod dense;

use self::dense::{Dense, KEEP, row_bits};
use super::dtype::{BlockFormat, Dtype, reflex_dtype};
use super::error::{Error, Result};
use super::status::*;
use super::tensor::reflex_tensor;

/// Known dtype, rank 1..=4, no negative dimension, no overflow, aligned, strides filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    field: &'static str,
    pub data: *mut u8,
    pub dtype: Dtype,
    /// In the layout of docs/packed-weights.md: `row` is a row's address only in the rows after the last panel.
    pub packed: bool,
    rank: u8,
    shape: [i64; 4],
    stride: [i64; 4],
    /// Bytes from `data` to the end of the last block; 0 where there is none.
    reach: i64,
    /// See `is_contiguous`.
    contiguous: bool,
    /// The address and the strides between rows, or-ed: a power of two divides the address of every row where it divides this.
    row_bits: usize,
}

/// What a packed tensor's data is a multiple of.
const PACKED_ALIGNMENT: usize = 16;

// SAFETY: a view is an address and numbers; what may be done with the memory is the caller's contract.
unsafe impl Send for View {}
unsafe impl Sync for View {}

impl View {
    /// An operand that must be there.
    #[inline(always)]
    pub fn required(field: &'static str, tensor: &reflex_tensor) -> Result<View> {
        View::optional(field, tensor)?.ok_or_else(|| View::absent(field))
    }

    /// A weight matrix that must be there and may be packed.
    #[inline(always)]
    pub fn weight(field: &'static str, tensor: &reflex_tensor) -> Result<View> {
        View::parse(field, tensor, true)?.ok_or_else(|| View::absent(field))
    }

    #[cold]
    fn absent(field: &'static str) -> Error {
        Error::invalid(format!("{field}.data is NULL, expected a pointer"))
    }

    /// An operand that may be absent (`data == NULL`). A tensor of zero elements keeps its non-null pointer.
    #[inline(always)]
    pub fn optional(field: &'static str, tensor: &reflex_tensor) -> Result<Option<View>> {
        View::parse(field, tensor, false)
    }

    /// `may_be_packed`: what no operand may be but the weights of the few ops that read packed ones.
    fn parse(field: &'static str, tensor: &reflex_tensor, may_be_packed: bool) -> Result<Option<View>> {
        if tensor.data.is_null() {
            return Ok(None);
        }
        let Some((dtype, packed)) = Dtype::parse(tensor.dtype) else {
            return Err(View::unknown_dtype(field, tensor.dtype));
        };
        let rank = tensor.rank as usize;
        if !(1..=4).contains(&rank) {
            return Err(View::no_rank(field, rank));
        }
        let keep = &KEEP[rank];
        let view = View {
            field,
            data: tensor.data.cast(),
            dtype,
            packed,
            rank: rank as u8,
            shape: std::array::from_fn(|i| tensor.shape[i] & keep[i] | !keep[i] & 1),
            stride: std::array::from_fn(|i| tensor.stride[i] & keep[i]),
            reach: 0,
            contiguous: true,
            row_bits: 0,
        };
        if packed && !may_be_packed {
            return Err(view.packed_here());
        }
        let dense = Dense::of(&view.shape, rank, dtype);
        let view = match dense.is_ordinary && view.stride == [0; 4] {
            true => View {
                stride: dense.stride,
                reach: dense.bytes,
                row_bits: row_bits(view.data, &view.shape, &dense.stride, rank),
                ..view
            },
            false => view.strided(&dense)?,
        };
        // Blocks of a row follow one another.
        let strided = !dtype.is_block() && view.shape[rank - 1] > 1;
        let along = if strided { view.stride[rank - 1] as usize } else { 0 };
        // An alignment is a power of two.
        if (view.row_bits | along) & (dtype.alignment() - 1) != 0 {
            return Err(view.misaligned(rank - usize::from(!strided)));
        }
        if packed {
            view.expect_packable()?;
        }
        Ok(Some(view))
    }

    /// With strides of the caller's, or empty, or with a shape that is checked closely.
    #[inline(never)]
    fn strided(mut self, dense: &Dense) -> Result<View> {
        if !dense.is_ordinary {
            self.check_shape()?;
        }
        if self.is_empty() {
            // Of no elements no stride is wrong.
            self.stride = [0; 4];
            self.stride[self.rank() - 1] = self.dtype.block_bytes() as i64;
        } else if self.stride == [0; 4] {
            self.stride = dense.stride;
            self.reach = dense.bytes;
        } else {
            self.settle_strides(&dense.stride);
            self.check_strides()?;
            self.contiguous = self.has_strides(&dense.stride);
        }
        self.row_bits = self.combined_row_bits();
        Ok(self)
    }

    #[cold]
    fn unknown_dtype(field: &str, dtype: reflex_dtype) -> Error {
        Error::invalid(format!("{field}.dtype is {}", Dtype::unknown(dtype)))
    }

    #[cold]
    fn packed_here(&self) -> Error {
        self.invalid(format!(
            "dtype is {}, which is packed, expected a type that is not (reflex_weights_unpack)",
            self.dtype_name()
        ))
    }

    #[cold]
    fn no_rank(field: &str, rank: usize) -> Error {
        Error::invalid(format!("{field}.rank is {rank}, expected 1 to 4"))
    }

    /// The shape, strides and address of a packed matrix: two dimensions, dense.
    fn expect_packable(&self) -> Result<()> {
        if self.rank() != 2 {
            return Err(self.other_rank(2..=2));
        }
        if !self.is_contiguous() {
            return Err(self.invalid(format!(
                "stride[0] is {}, expected {} (a packed tensor is dense)",
                self.stride[0],
                self.shape[1] / self.dtype.block_elements() as i64 * self.dtype.block_bytes() as i64
            )));
        }
        match (self.data as usize).is_multiple_of(PACKED_ALIGNMENT) {
            true => Ok(()),
            false => Err(self.misaligned_data(PACKED_ALIGNMENT)),
        }
    }

    pub fn expect_packed(&self) -> Result<&View> {
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
    #[cold]
    pub fn invalid(&self, what: String) -> Error {
        Error::invalid(format!("{}.{what}", self.field))
    }

    #[cold]
    fn check_shape(&self) -> Result<()> {
        let elements = self
            .shape
            .iter()
            .try_fold(1i64, |product, &n| product.checked_mul(n.max(1)));
        let (last, block) = (self.shape[self.rank() - 1], self.dtype.block_elements() as i64);
        let bytes = elements.and_then(|n| (n / block).checked_mul(self.dtype.block_bytes() as i64));
        let fits = elements.is_some() && (bytes.is_some() || self.is_empty());
        match fits && self.shape.iter().all(|&n| n >= 0) && last % block == 0 {
            true => Ok(()),
            false => Err(self.bad_shape(elements.is_none())),
        }
    }

    #[cold]
    fn bad_shape(&self, overflows: bool) -> Error {
        if let Some(i) = self.dims().iter().position(|&n| n < 0) {
            return self.invalid(format!("shape[{i}] is {}, expected 0 or more", self.shape[i]));
        }
        let (last, block) = (self.rank() - 1, self.dtype.block_elements() as i64);
        if !overflows && self.shape[last] % block != 0 {
            return self.invalid(format!(
                "shape[{last}] is {}, expected a multiple of {block} ({})",
                self.shape[last],
                self.dtype_name()
            ));
        }
        self.invalid(format!("shape {:?} overflows 64 bits", self.dims()))
    }

    /// A stride that nothing is strided over, as there is one row, element or block, may be any number: it becomes what it is in a
    /// contiguous tensor, so that a kernel that looks ahead of the only row finds an aligned address there, and views of the same
    /// bytes are equal.
    #[inline(always)]
    fn settle_strides(&mut self, dense: &[i64; 4]) {
        for (i, &dense) in dense.iter().enumerate().take(self.rank()) {
            if self.count(i) == 1 {
                self.stride[i] = dense;
            }
        }
    }

    #[inline(always)]
    fn combined_row_bits(&self) -> usize {
        row_bits(self.data, &self.shape, &self.stride, self.rank())
    }

    /// A stride, or else the address, is no multiple of the type's alignment.
    #[cold]
    fn misaligned(&self, strided: usize) -> Error {
        let align = self.dtype.alignment() as i64;
        let misaligned = |&i: &usize| self.shape[i] > 1 && self.stride[i] % align != 0;
        let Some(i) = (0..strided).find(misaligned) else {
            return self.misaligned_data(self.dtype.alignment());
        };
        let why = match self.dtype {
            Dtype::ACT_I8 => " (ACT_I8; contiguous rows have a multiple of 64 elements)",
            _ => "",
        };
        Error::new(
            REFLEX_MISALIGNED,
            format!(
                "{}.stride[{i}] is {}, expected a multiple of {align}{why}",
                self.field, self.stride[i]
            ),
        )
    }

    fn check_strides(&mut self) -> Result<()> {
        let mut end: i64 = self.dtype.block_bytes() as i64;
        for i in 0..self.rank() {
            let stride = self.stride[i];
            if stride < 0 {
                return Err(self.invalid(format!("stride[{i}] is {stride}, expected 0 or more")));
            }
            end = (self.count(i) - 1)
                .checked_mul(stride)
                .and_then(|bytes| end.checked_add(bytes))
                .ok_or_else(|| self.invalid(format!("stride[{i}] is {stride}, which overflows 64 bits")))?;
        }
        let last = self.rank() - 1;
        if self.dtype.is_block() && self.stride[last] != self.dtype.block_bytes() as i64 {
            return Err(self.invalid(format!(
                "stride[{last}] is {}, expected {} ({} blocks are contiguous)",
                self.stride[last],
                self.dtype.block_bytes(),
                self.dtype_name()
            )));
        }
        self.reach = end;
        Ok(())
    }

    /// After a change that keeps every stride in bounds.
    fn measured(mut self) -> View {
        let last: i64 = (0..self.rank()).map(|i| (self.count(i) - 1) * self.stride[i]).sum();
        self.reach = if self.is_empty() {
            0
        } else {
            last + self.dtype.block_bytes() as i64
        };
        self.contiguous = self.has_strides(&self.dense_strides());
        self.row_bits = self.combined_row_bits();
        self
    }

    /// Bytes from `data` to the end of the last block.
    pub fn reach(&self) -> i64 {
        self.reach
    }

    pub fn field(&self) -> &'static str {
        self.field
    }

    pub fn rank(&self) -> usize {
        self.rank.into()
    }

    pub fn dims(&self) -> &[i64] {
        &self.shape[..self.rank()]
    }

    /// Dimension `i`, outermost first.
    pub fn dim(&self, i: usize) -> i64 {
        self.dims()[i]
    }

    /// The elements of a row.
    #[inline(always)]
    pub fn last_dim(&self) -> i64 {
        self.shape[self.rank() - 1]
    }

    /// Byte stride of dimension `i`.
    pub fn stride(&self, i: usize) -> i64 {
        self.stride[..self.rank()][i]
    }

    pub fn strides(&self) -> &[i64] {
        &self.stride[..self.rank()]
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        // Dimensions beyond the rank are 1.
        self.shape.contains(&0)
    }

    /// Address of the row at `index` (all dimensions but the last; missing ones are 0).
    pub fn row(&self, index: &[i64]) -> *mut u8 {
        let offset: i64 = index.iter().zip(&self.stride).map(|(i, s)| i * s).sum();
        self.data.wrapping_offset(offset as isize)
    }

    /// A contiguous view of the same shape elsewhere, of a type that is no block format.
    pub fn contiguous_at(&self, data: *mut u8, dtype: Dtype) -> View {
        let mut view = View { data, dtype, ..*self };
        view.stride = view.dense_strides();
        view.measured()
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
        view.measured()
    }

    /// `count` indices of dimension `i` from `first` on; of a packed matrix whole panels, or all from one on.
    pub fn narrow(&self, i: usize, first: i64, count: i64) -> View {
        let mut part = *self;
        part.data = self.data.wrapping_offset((first * self.stride[i]) as isize);
        part.shape[i] = count;
        part.measured()
    }

    pub fn is_contiguous(&self) -> bool {
        self.contiguous
    }

    fn dense_strides(&self) -> [i64; 4] {
        Dense::of(&self.shape, self.rank(), self.dtype).stride
    }

    #[inline(always)]
    fn has_strides(&self, dense: &[i64; 4]) -> bool {
        self.is_empty() || (0..self.rank()).all(|i| self.shape[i] <= 1 || dense[i] == self.stride[i])
    }

    /// The address of every row is a multiple of `bytes`, a power of two.
    #[inline(always)]
    pub fn rows_aligned(&self, bytes: usize) -> bool {
        self.row_bits & (bytes - 1) == 0
    }

    #[inline(always)]
    pub fn expect_dtype(&self, allowed: &[Dtype]) -> Result<&View> {
        match allowed.contains(&self.dtype) {
            true => Ok(self),
            false => Err(self.other_dtype(allowed)),
        }
    }

    #[cold]
    fn other_dtype(&self, allowed: &[Dtype]) -> Error {
        let names = allowed.iter().map(|d| d.c_name(self.packed).to_str().unwrap_or("?"));
        let names: Vec<&str> = names.collect();
        self.invalid(format!("dtype is {}, expected {}", self.dtype_name(), names.join(", ")))
    }

    /// A GGUF block format.
    pub fn expect_block(&self) -> Result<BlockFormat> {
        self.dtype.block().ok_or_else(|| self.other_dtype(Dtype::BLOCKS))
    }

    #[inline(always)]
    pub fn expect_rank(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<&View> {
        match allowed.contains(&self.rank()) {
            true => Ok(self),
            false => Err(self.other_rank(allowed)),
        }
    }

    #[cold]
    fn other_rank(&self, allowed: std::ops::RangeInclusive<usize>) -> Error {
        let (low, high) = (allowed.start(), allowed.end());
        let range = if low == high {
            low.to_string()
        } else {
            format!("{low} to {high}")
        };
        self.invalid(format!("rank is {}, expected {range}", self.rank()))
    }

    /// Whether the shape is this one. The few numbers are not worth a call of `memcmp`.
    #[inline(always)]
    fn has_shape(&self, shape: &[i64]) -> bool {
        self.rank() == shape.len() && self.shape.iter().zip(shape).all(|(own, other)| own == other)
    }

    /// Exactly this shape; `what` says where it comes from, e.g. "[rows, dim] of x".
    #[inline(always)]
    pub fn expect_shape(&self, shape: &[i64], what: &str) -> Result<&View> {
        match self.has_shape(shape) {
            true => Ok(self),
            false => Err(self.other_shape(shape, what)),
        }
    }

    /// The same; `of` says whose sizes these are.
    #[inline(always)]
    pub fn expect_shape_of(&self, shape: &[i64], what: &str, of: &View) -> Result<&View> {
        match self.has_shape(shape) {
            true => Ok(self),
            false => Err(self.other_shape(shape, &format!("{what} of {}", of.field))),
        }
    }

    #[cold]
    fn other_shape(&self, shape: &[i64], what: &str) -> Error {
        self.invalid(format!("shape is {:?}, expected {shape:?} ({what})", self.dims()))
    }

    /// The last dimension is dense: what every kernel's inner loop wants.
    #[inline(always)]
    pub fn expect_dense_rows(&self) -> Result<&View> {
        let last = self.rank() - 1;
        match self.shape[last] <= 1 || self.stride[last] == self.dtype.block_bytes() as i64 {
            true => Ok(self),
            false => Err(self.scattered_rows()),
        }
    }

    #[cold]
    fn scattered_rows(&self) -> Error {
        let last = self.rank() - 1;
        self.invalid(format!(
            "stride[{last}] is {}, expected {} (elements of a row are contiguous)",
            self.stride[last],
            self.dtype.block_bytes()
        ))
    }

    /// Dimension `i` lies in a range.
    #[inline(always)]
    pub fn expect_dim(&self, i: usize, allowed: std::ops::RangeInclusive<i64>) -> Result<&View> {
        match allowed.contains(&self.dim(i)) {
            true => Ok(self),
            false => Err(self.other_dim(i, allowed)),
        }
    }

    #[cold]
    fn other_dim(&self, i: usize, allowed: std::ops::RangeInclusive<i64>) -> Error {
        self.invalid(format!(
            "shape[{i}] is {}, expected {} to {}",
            self.dim(i),
            allowed.start(),
            allowed.end()
        ))
    }

    #[inline(always)]
    pub fn expect_aligned(&self, bytes: usize) -> Result<&View> {
        match (self.data as usize).is_multiple_of(bytes) {
            true => Ok(self),
            false => Err(self.misaligned_data(bytes)),
        }
    }

    #[cold]
    fn misaligned_data(&self, bytes: usize) -> Error {
        Error::new(
            REFLEX_MISALIGNED,
            format!("{}.data is {:p}, expected a multiple of {bytes}", self.field, self.data),
        )
    }

    /// What kernels' wide loads of block formats need: 16-byte aligned data, and outer strides that keep the blocks of
    /// every row as aligned as those of the first: multiples of the power of two, up to 16, that divides a block's
    /// bytes. Contiguous rows always are. Plain types pass.
    pub fn expect_aligned_blocks(&self) -> Result<&View> {
        const WIDE: usize = 16;
        if !self.dtype.is_block() {
            return Ok(self);
        }
        self.expect_aligned(WIDE)?;
        let bytes = self.dtype.block_bytes();
        let align = WIDE.min(1 << bytes.trailing_zeros()) as i64;
        for i in 0..self.rank() - 1 {
            if self.shape[i] > 1 && self.stride[i] % align != 0 {
                return Err(Error::new(
                    REFLEX_MISALIGNED,
                    format!(
                        "{}.stride[{i}] is {}, expected a multiple of {align} ({})",
                        self.field,
                        self.stride[i],
                        self.dtype_name()
                    ),
                ));
            }
        }
        Ok(self)
    }

    /// Exactly the same view: address, type, shape, and strides where a dimension is larger than 1.
    pub fn is_same(&self, other: &View) -> bool {
        self.data == other.data
            && (self.dtype, self.packed, self.rank, self.shape) == (other.dtype, other.packed, other.rank, other.shape)
            && (0..self.rank()).all(|i| self.shape[i] <= 1 || self.stride[i] == other.stride[i])
    }
}
