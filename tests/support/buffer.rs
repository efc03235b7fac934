//! Tensors in guarded memory: every byte that an op must not touch is checked after the launch.

use super::act_i8::{decode_act_i8, encode_act_i8};
use super::env::{Env, ok};
use half::{bf16, f16};
use reflex_infer::*;
use std::borrow::Cow;
use std::ffi::c_void;
use std::sync::Arc;

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

    /// Where the elements lie, in order: byte offsets from the start of the buffer, and the bytes that lie together at each of them.
    fn runs(&self) -> (Vec<usize>, usize) {
        let strides = self.byte_strides();
        let rank = strides.len();
        if (0..rank).any(|i| self.blocks(i) == 0) {
            return (Vec::new(), 0);
        }
        let mut run = self.block_bytes();
        let together = |run: &mut i64, i: usize| {
            let joins = self.blocks(i) == 1 || strides[i] == *run;
            *run *= if joins { self.blocks(i) } else { 1 };
            joins
        };
        let apart = (0..rank).rev().find(|&i| !together(&mut run, i));
        let mut starts = vec![self.offset * self.block_bytes() as usize];
        for (i, stride) in strides.iter().enumerate().take(apart.map_or(0, |last| last + 1)) {
            let steps = (0..self.blocks(i)).map(|k| (k * stride) as usize);
            starts = starts
                .iter()
                .flat_map(|&start| steps.clone().map(move |step| start + step))
                .collect();
        }
        (starts, run as usize)
    }

    /// Of the allocation, guards and all.
    pub fn bytes(&self) -> usize {
        let (starts, run) = self.runs();
        let inside = starts.iter().max().map_or(0, |start| start + run);
        2 * self.guard() + inside.max(1)
    }

    /// The allocation with the elements (blocks) in order, without gaps, in their places.
    pub fn image(&self, contents: &[u8]) -> Vec<u8> {
        let mut image = vec![POISON; self.bytes()];
        if !contents.is_empty() {
            let (starts, run) = self.runs();
            assert_eq!(contents.len(), starts.len() * run, "contents of {self:?}");
            for (chunk, at) in contents.chunks(run).zip(starts) {
                image[self.guard() + at..][..run].copy_from_slice(chunk);
            }
        }
        image
    }

    /// The tensor in an allocation at this address.
    pub fn tensor(&self, base: *mut c_void) -> reflex_tensor {
        let mut shape = [0; 4];
        let mut stride = [0; 4];
        shape[..self.shape.len()].copy_from_slice(&self.shape);
        stride[..self.stride.len()].copy_from_slice(&self.stride);
        let offset = self.guard() + self.offset * self.block_bytes() as usize;
        reflex_tensor {
            data: base.wrapping_byte_add(offset),
            dtype: self.dtype,
            rank: self.shape.len() as u32,
            shape,
            stride,
        }
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
    bytes: usize,
    /// The allocation as it is before a launch; `None`: poison everywhere.
    image: Option<Arc<Vec<u8>>>,
    context: *mut reflex_context,
}

unsafe impl Send for Buffer {}
unsafe impl Sync for Buffer {}

const GUARD: usize = 256;
/// A NaN in every float type and no plausible index.
const POISON: u8 = 0xFF;

impl Buffer {
    /// `image`: see `Spec::image`; of an input and of what is read and written.
    pub fn new(env: &Env, spec: Spec, role: Role, image: Option<Arc<Vec<u8>>>) -> Buffer {
        let bytes = spec.bytes();
        let buffer = Buffer {
            base: env.malloc(bytes),
            spec,
            role,
            bytes,
            image,
            context: env.context,
        };
        buffer.fill(env);
        // Whatever stream the launch is on.
        ok(reflex_stream_synchronize(env.context, env.stream));
        buffer
    }

    fn fill(&self, env: &Env) {
        match &self.image {
            Some(image) => ok(reflex_memcpy(
                env.context,
                self.base,
                image.as_ptr().cast(),
                image.len(),
                env.stream,
            )),
            None => ok(reflex_memset(env.context, self.base, POISON, self.bytes, env.stream)),
        }
    }

    /// As before the first launch, for the next one on the stream of `env`. Inputs are so: `elements` has seen to it.
    pub fn reset(&self, env: &Env) {
        if self.role != Role::Input {
            self.fill(env);
        }
    }

    pub fn tensor(&self) -> reflex_tensor {
        self.spec.tensor(self.base)
    }

    /// The allocation as it is, once the stream has come to it; nothing of a workspace.
    pub fn fetch(&self, env: &Env) -> Vec<u8> {
        if self.role == Role::Workspace {
            return Vec::new();
        }
        let mut bytes = vec![0; self.bytes];
        ok(reflex_memcpy(
            env.context,
            bytes.as_mut_ptr().cast(),
            self.base,
            bytes.len(),
            env.stream,
        ));
        bytes
    }

    /// The elements in order of what was fetched, after checking that nothing else in the buffer changed.
    pub fn elements(&self, bytes: &[u8]) -> Vec<u8> {
        if self.role == Role::Workspace {
            return Vec::new();
        }
        let (starts, run) = self.spec.runs();
        let guard = self.spec.guard();
        let places = starts.into_iter().map(|at| guard + at..guard + at + run);
        let mut elements = Vec::new();
        for place in places.clone() {
            elements.extend_from_slice(&bytes[place]);
        }
        let before = match &self.image {
            Some(image) => Cow::Borrowed(&image[..]),
            None => Cow::Owned(vec![POISON; bytes.len()]),
        };
        let expected = match self.role {
            Role::Input => before,
            _ => {
                let mut expected = before.into_owned();
                places.for_each(|place| expected[place.clone()].copy_from_slice(&bytes[place]));
                Cow::Owned(expected)
            }
        };
        if *bytes != expected[..] {
            let at = bytes.iter().zip(&expected[..]).position(|(now, before)| now != before);
            panic!(
                "{:?} {:?}: byte {} changed, outside what the op may write",
                self.role,
                self.spec,
                at.unwrap_or_default() as i64 - guard as i64
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
        REFLEX_DTYPE_F32 => bytes_of(values, f32::to_le_bytes),
        REFLEX_DTYPE_F16 => bytes_of(values, |v| f16::from_f32(v).to_le_bytes()),
        REFLEX_DTYPE_BF16 => bytes_of(values, |v| bf16::from_f32(v).to_le_bytes()),
        other => panic!("encode: {other:?} is no float type"),
    }
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut all = Vec::with_capacity(N * values.len());
    values.iter().for_each(|&value| all.extend_from_slice(&bytes(value)));
    all
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

/// Values as a type holds them.
pub fn held(dtype: reflex_dtype, values: &[f32]) -> Vec<f32> {
    decode(dtype, &encode(dtype, values))
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
    bytes_of(values, i32::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::env::shared_cpu;
    use super::super::suite::catch_quietly;
    use super::*;

    const F16: reflex_dtype = REFLEX_DTYPE_F16;

    fn read(buffer: &Buffer) -> Vec<u8> {
        buffer.elements(&buffer.fetch(shared_cpu()))
    }

    /// Byte offsets of the elements one by one.
    fn offsets(spec: &Spec) -> Vec<usize> {
        let mut offsets = vec![spec.offset * spec.block_bytes() as usize];
        for (i, stride) in spec.byte_strides().iter().enumerate() {
            let steps: Vec<usize> = (0..spec.blocks(i)).map(|k| (k * stride) as usize).collect();
            offsets = offsets
                .iter()
                .flat_map(|at| steps.iter().map(move |step| at + step))
                .collect();
        }
        offsets
    }

    #[test]
    fn runs_are_the_elements_in_order() {
        for (spec, count) in [
            (Spec::new(F16, &[2, 3, 5]), 1),
            (Spec::new(F16, &[2, 3, 5]).row_gap(0).offset(3), 1),
            (Spec::new(F16, &[2, 3, 5]).row_gap(4), 6),
            (Spec::new(F16, &[7]).row_gap(4), 1),
            (Spec::new(REFLEX_DTYPE_Q4_K, &[3, 512]).row_gap(1), 3),
            // Columns of one matrix, heads before rows, one row for all, one element a row.
            (Spec::new(F16, &[4, 6]).strides(&[2, 8]), 24),
            (Spec::new(F16, &[2, 3, 4, 8]).strides(&[192, 16, 48, 2]), 24),
            (Spec::new(F16, &[3, 8]).strides(&[0, 2]), 3),
            (Spec::new(F16, &[3, 1]).strides(&[64, 2]), 3),
            (Spec::new(F16, &[3, 0]), 0),
            (Spec::new(F16, &[0, 3]).row_gap(2), 0),
        ] {
            let (starts, run) = spec.runs();
            assert_eq!(starts.len(), count, "{spec:?}");
            let size = spec.block_bytes() as usize;
            let elements = starts
                .iter()
                .flat_map(|start| (0..run).step_by(size).map(move |at| start + at));
            assert_eq!(elements.collect::<Vec<_>>(), offsets(&spec), "{spec:?}");
        }
    }

    /// What an op may write is read; anything else that changes is found, to the last byte of the guards.
    #[test]
    fn every_other_byte_is_guarded() {
        let env = shared_cpu();
        let spec = Spec::new(F16, &[2, 3]).row_gap(2).offset(1);
        let image = Arc::new(spec.image(&[7; 12]));
        let rows = [GUARD + 2..GUARD + 8, GUARD + 12..GUARD + 18];
        assert_eq!(image.len(), 2 * GUARD + 18);
        for role in [Role::Input, Role::Output, Role::InOut] {
            let filled = (role != Role::Output).then(|| image.clone());
            let buffer = Buffer::new(env, spec.clone(), role, filled);
            let before = read(&buffer);
            assert_eq!(before, [if role == Role::Output { POISON } else { 7 }; 12]);
            let byte = |at: usize| buffer.base.cast::<u8>().wrapping_add(at);
            for at in 0..image.len() {
                let was = unsafe { byte(at).replace(1) };
                let may = role != Role::Input && rows.iter().any(|row| row.contains(&at));
                let read = catch_quietly(|| read(&buffer));
                assert_eq!(read.is_ok(), may, "{role:?}, byte {at}: {read:?}");
                if let Ok(elements) = read {
                    assert_eq!(elements.iter().filter(|&&byte| byte == 1).count(), 1);
                    buffer.reset(env);
                    assert_eq!(unsafe { byte(at).read() }, was, "{role:?}, byte {at} after a reset");
                }
                unsafe { byte(at).write(was) };
            }
            assert_eq!(read(&buffer), before);
        }
    }
}
