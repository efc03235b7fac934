//! Rotary position embedding of q and k, each head with an optional RMS norm before it, and the append of K and V to a
//! cache.

use super::element::{load, store};
use super::{kv_cache, norm};
use crate::abi::View;
use crate::ops::Reference;
use crate::ops::rope::{RopePart, RopePlan};
use crate::runtime::CpuBackend;

impl Reference for RopePlan {
    fn run(&self, cpu: &CpuBackend) {
        let frequencies: Vec<f64> = (0..self.rotation.rotary_dim as usize / 2)
            .map(|i| self.rotation.frequency(i) / self.rotation.freq_factors.map_or(1.0, |f| divisor(&f, i)))
            .collect();
        let elements: i64 = self
            .parts()
            .into_iter()
            .flatten()
            .map(|part| part.x.dim(1) * part.x.dim(2))
            .sum();
        // A sine costs as much as a few dozen products.
        let work = elements as usize + 32 * frequencies.len();
        cpu.for_each(self.tokens as usize, work, |token| {
            let position = self.rotation.positions.map_or(0, |positions| index(&positions, token));
            let place = self.cache.and_then(|cache| match self.append {
                true => kv_cache::length(&cache, token)
                    .checked_sub(1)
                    .and_then(|last| kv_cache::place(&cache, token, last)),
                false => {
                    let slot = i64::from(self.slots.map_or(position, |slots| index(&slots, token)));
                    let inner = cache.page_size();
                    (0..cache.slots()).contains(&slot).then(|| [slot / inner, slot % inner])
                }
            });
            // An f64 is good to 2^-50 of the angle with the frequency's roundings, which is the bound that infer.h states.
            let rotation: Vec<(f32, f32)> = frequencies
                .iter()
                .map(|f| (f64::from(position) * f).sin_cos())
                .map(|(sin, cos)| {
                    (
                        cos as f32 * self.rotation.magnitude,
                        sin as f32 * self.rotation.magnitude,
                    )
                })
                .collect();
            for part in [self.q, self.k].into_iter().flatten() {
                for head in 0..part.x.dim(1) {
                    rotate_head(self, &rotation, &Head::new(self, &part, token as i64, head, place));
                }
            }
            for part in self.v.into_iter() {
                for head in 0..part.x.dim(1) {
                    Head::new(self, &part, token as i64, head, place).copy(0..part.x.dim(2) as usize);
                }
            }
        });
    }
}

fn divisor(factors: &View, i: usize) -> f64 {
    // SAFETY: the plan checked the shape; the memory is the caller's contract.
    let factor = unsafe { load(factors.data, factors.dtype, i) };
    // As documented: no frequency out of such a factor.
    if factor.is_finite() && factor != 0.0 {
        factor.into()
    } else {
        f64::NAN
    }
}

fn index(view: &View, i: usize) -> i32 {
    // SAFETY: as above; the plan checked type and density.
    unsafe { view.data.cast::<i32>().add(i).read() }
}

/// One head of one token: its source and its destinations, each with its type.
struct Head {
    x: View,
    row: *const u8,
    to: [Option<(*mut u8, View)>; 2],
    /// Weight of the norm, and what it is multiplied by.
    norm: Option<(View, f32)>,
}

impl Head {
    fn new(p: &RopePlan, part: &RopePart, token: i64, head: i64, place: Option<[i64; 2]>) -> Head {
        let out = part.out.map(|v| (v.row(&[token, head]), v));
        let cache = part
            .cache
            .zip(place)
            .map(|(v, [outer, inner])| (v.row(&[outer, inner, head]), v));
        let (x, row) = (part.x, part.x.row(&[token, head]).cast_const());
        let norm = part.norm.map(|weight| {
            let dim = x.dim(2) as usize;
            // SAFETY: the plan checked the shape; the memory is the caller's contract.
            let values = (0..dim).map(|i| unsafe { load(row, x.dtype, i) });
            (weight, norm::scale_of(values, p.norm_epsilon))
        });
        Head {
            x,
            row,
            to: [out, cache],
            norm,
        }
    }

    fn load(&self, i: usize) -> f32 {
        // SAFETY: `i` is below the head's size, which the plan checked for source, norm and destinations alike.
        unsafe {
            let value = load(self.row, self.x.dtype, i);
            match &self.norm {
                Some((weight, scale)) => value * scale * load(weight.data, weight.dtype, i),
                None => value,
            }
        }
    }

    fn store(&self, i: usize, value: f32) {
        for (row, view) in self.to.iter().flatten() {
            // SAFETY: as above.
            unsafe { store(*row, view.dtype, i, value) };
        }
    }

    fn copy(&self, range: std::ops::Range<usize>) {
        range.for_each(|i| self.store(i, self.load(i)));
    }
}

fn rotate_head(p: &RopePlan, rotation: &[(f32, f32)], head: &Head) {
    for (i, (cos, sin)) in rotation.iter().enumerate() {
        let (a, b) = match p.rotation.neox {
            true => (i, i + rotation.len()),
            false => (2 * i, 2 * i + 1),
        };
        let (u, v) = (head.load(a), head.load(b));
        head.store(a, u * cos - v * sin);
        head.store(b, v * cos + u * sin);
    }
    head.copy(p.rotation.rotary_dim as usize..p.head_dim as usize);
}
