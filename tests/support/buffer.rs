//! Tensors in guarded memory: every byte that an op must not touch is checked after the launch.

use super::act_i8::{decode_act_i8, encode_act_i8};
use super::env::Env;
use half::{bf16, f16};
use reflex_infer::*;
use std::ffi::c_void;

/// Shape, type, strides and offset of a test tensor.
#[derive(Clone, Debug)]
pub struct Spec {
    pub dtype: reflex_dtype,
    pub shape: Vec<i64>,
    /// Byte strides; empty: contiguous.
    pub stride: Vec<i64>,
    /// Elements (blocks, for block formats) before the first one: makes odd alignments.
    pub offset: usize,
    /// No guard zones: the allocation is the tensor, and compute-sanitizer sees what is read beside it.
    pub bare: bool,
}

impl Spec {
    pub fn new(dtype: reflex_dtype, shape: &[i64]) -> Spec {
        Spec {
            dtype,
            shape: shape.to_vec(),
            stride: Vec::new(),
            offset: 0,
            bare: false,
        }
    }

    /// Byte strides.
    pub fn strides(mut self, stride: &[i64]) -> Spec {
        self.stride = stride.to_vec();
        self
    }

    /// Rows of the last dimension `gap` elements further apart than they are long; outer dimensions follow.
    pub fn row_gap(self, gap: i64) -> Spec {
        let mut stride = vec![0; self.shape.len()];
        let mut step = self.block_bytes();
        for i in (0..self.shape.len()).rev() {
            stride[i] = step;
            let count = self.blocks(i) + if i == self.shape.len() - 1 { gap } else { 0 };
            step *= count.max(1);
        }
        self.strides(&stride)
    }

    /// The same, but no strides at all, which mean contiguous rows, where there is no gap and no offset.
    pub fn gap(self, gap: i64) -> Spec {
        match (gap, self.offset) {
            (0, 0) => self,
            _ => self.row_gap(gap),
        }
    }

    pub fn offset(mut self, elements: usize) -> Spec {
        self.offset = elements;
        self
    }

    pub fn bare(mut self) -> Spec {
        self.bare = true;
        self
    }

    fn guard(&self) -> usize {
        if self.bare { 0 } else { GUARD }
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    pub fn block_bytes(&self) -> i64 {
        i64::from(reflex_dtype_block_bytes(self.dtype))
    }

    /// Entries of dimension `i`, in blocks for the last one.
    fn blocks(&self, i: usize) -> i64 {
        let last = i == self.shape.len() - 1;
        self.shape[i]
            / if last {
                i64::from(reflex_dtype_block_elements(self.dtype))
            } else {
                1
            }
    }

    /// Values as this tensor's elements in order.
    pub fn encode(&self, values: &[f32]) -> Vec<u8> {
        match self.dtype {
            REFLEX_DTYPE_ACT_I8 => encode_act_i8(values, self.row()),
            dtype => encode(dtype, values),
        }
    }

    pub fn decode(&self, bytes: &[u8]) -> Vec<f32> {
        match self.dtype {
            REFLEX_DTYPE_ACT_I8 => decode_act_i8(bytes, self.row()),
            dtype => decode(dtype, bytes),
        }
    }

    /// Elements of the last dimension.
    pub fn row(&self) -> usize {
        *self.shape.last().expect("a dimension") as usize
    }

    fn byte_strides(&self) -> Vec<i64> {
        if self.stride.is_empty() {
            self.clone().row_gap(0).stride
        } else {
            self.stride.clone()
        }
    }

    /// Byte offset of every element (or block) in order, from the start of the buffer.
    fn offsets(&self) -> Vec<usize> {
        let strides = self.byte_strides();
        let mut offsets = vec![self.offset * self.block_bytes() as usize];
        for (i, stride) in strides.iter().enumerate() {
            let count = self.blocks(i);
            offsets = offsets
                .iter()
                .flat_map(|&o| (0..count).map(move |k| o + (k * stride) as usize))
                .collect();
        }
        offsets
    }

    fn bytes(&self) -> usize {
        self.offsets()
            .iter()
            .max()
            .map_or(0, |o| o + self.block_bytes() as usize)
            .max(1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Must not change.
    Input,
    /// Poisoned before each launch, compared after it.
    Output,
    /// Given back its first contents before each launch, compared after it.
    InOut,
    /// Scratch: anything goes.
    Workspace,
}

/// Device memory with guard zones.
pub struct Buffer {
    pub spec: Spec,
    pub role: Role,
    base: *mut c_void,
    /// Guard, contents, guard, as they are before a launch.
    image: Vec<u8>,
    context: *mut reflex_context,
}

unsafe impl Send for Buffer {}
unsafe impl Sync for Buffer {}

const GUARD: usize = 256;
/// A NaN in every float type and no plausible index.
const POISON: u8 = 0xFF;

impl Buffer {
    /// `contents` holds the elements (blocks) in order, without gaps; empty for outputs.
    pub fn new(env: &Env, spec: Spec, role: Role, contents: &[u8]) -> Buffer {
        let size = spec.block_bytes() as usize;
        let guard = spec.guard();
        let mut image = vec![POISON; guard + spec.bytes() + guard];
        if !contents.is_empty() {
            let offsets = spec.offsets();
            assert_eq!(contents.len(), offsets.len() * size, "contents of {spec:?}");
            for (chunk, at) in contents.chunks(size).zip(offsets) {
                image[guard + at..guard + at + size].copy_from_slice(chunk);
            }
        }
        let buffer = Buffer {
            spec,
            role,
            base: env.malloc(image.len()),
            image,
            context: env.context,
        };
        buffer.reset(env);
        buffer
    }

    pub fn reset(&self, env: &Env) {
        env.upload(self.base, &self.image);
    }

    pub fn tensor(&self) -> reflex_tensor {
        let mut shape = [0; 4];
        let mut stride = [0; 4];
        shape[..self.spec.shape.len()].copy_from_slice(&self.spec.shape);
        stride[..self.spec.stride.len()].copy_from_slice(&self.spec.stride);
        let offset = self.spec.guard() + self.spec.offset * self.spec.block_bytes() as usize;
        reflex_tensor {
            data: self.base.wrapping_byte_add(offset),
            dtype: self.spec.dtype,
            rank: self.spec.shape.len() as u32,
            shape,
            stride,
        }
    }

    /// The elements in order, after checking that nothing else in the buffer changed.
    pub fn read(&self, env: &Env) -> Vec<u8> {
        let mut bytes = vec![0; self.image.len()];
        env.download(self.base, &mut bytes);
        if self.role == Role::Workspace {
            return Vec::new();
        }
        let size = self.spec.block_bytes() as usize;
        let mut elements = Vec::new();
        let mut inside = vec![false; bytes.len()];
        let guard = self.spec.guard();
        for at in self.spec.offsets() {
            let range = guard + at..guard + at + size;
            elements.extend_from_slice(&bytes[range.clone()]);
            inside[range].fill(true);
        }
        for (i, (&now, &before)) in bytes.iter().zip(&self.image).enumerate() {
            let may_change = inside[i] && self.role != Role::Input;
            assert!(
                may_change || now == before,
                "{:?} {:?}: byte {} changed, outside what the op may write",
                self.role,
                self.spec,
                i as i64 - guard as i64
            );
        }
        elements
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let _ = reflex_device_free(self.context, self.base);
    }
}

/// Values as elements of a float type or I32.
pub fn encode(dtype: reflex_dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        REFLEX_DTYPE_F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        REFLEX_DTYPE_F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        REFLEX_DTYPE_BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        other => panic!("encode: {other:?} is no float type"),
    }
}

pub fn decode(dtype: reflex_dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        REFLEX_DTYPE_F32 => bytes
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        REFLEX_DTYPE_F16 => bytes
            .chunks(2)
            .map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32())
            .collect(),
        REFLEX_DTYPE_BF16 => bytes
            .chunks(2)
            .map(|b| bf16::from_le_bytes(b.try_into().unwrap()).to_f32())
            .collect(),
        REFLEX_DTYPE_I32 => bytes
            .chunks(4)
            .map(|b| i32::from_le_bytes(b.try_into().unwrap()) as f32)
            .collect(),
        other => panic!("decode: {other:?}"),
    }
}

/// What rounding to a type may change, relative to the number.
pub fn half_step(dtype: reflex_dtype) -> f64 {
    match dtype {
        REFLEX_DTYPE_F16 => 1.0 / 2048.0,
        REFLEX_DTYPE_BF16 => 1.0 / 256.0,
        _ => 0.0,
    }
}

pub fn encode_ints(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
