//! Tensors: the one type that every operand of an op has.

use super::dtype::reflex_dtype;
use std::ffi::c_void;

/// A view of an operand: the caller's memory, never owned by the library.
///
/// `data == NULL` means the operand is absent. `shape` and `stride` are outermost first; entries from `rank` on are
/// ignored. Strides are in bytes and not negative; all zero means contiguous. A block format counts elements in
/// `shape`; its last stride is the bytes of one block. Pointers and strides must be multiples of the element size (2
/// for GGUF block formats, 1 for MXFP4, 16 for ACT_I8). A stride over a dimension of size 1, or over the only block of
/// a row, is not looked at and may be any number, if not all are zero. A tensor with a dimension of 0 has no bytes, and
/// none of its strides is looked at.
///
/// An output shares no byte with another operand, and no two elements of an output share one. The one exception is in
/// place: where an op says so, an output may be exactly an input, with the same address, type, shape and strides. Views
/// that interleave without a common byte do not overlap.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_tensor {
    /// Address of the first element: on the device, or on the host with the CPU backend. NULL: the operand is absent.
    pub data: *mut c_void,
    /// `REFLEX_DTYPE_*`.
    pub dtype: reflex_dtype,
    /// Number of dimensions, 1 to 4.
    pub rank: u32,
    /// Elements of each dimension, outermost first.
    pub shape: [i64; 4],
    /// Bytes from one element of each dimension to the next, outermost first; all zero: contiguous.
    pub stride: [i64; 4],
}

impl Default for reflex_tensor {
    fn default() -> Self {
        reflex_tensor {
            data: std::ptr::null_mut(),
            dtype: reflex_dtype(0),
            rank: 0,
            shape: [0; 4],
            stride: [0; 4],
        }
    }
}
