//! What a decode step does before the attention: norms and rotation of q and of the new k, and the append to the
//! caches.

use super::{AttentionDecodePlan, reflex_attention_decode_params};
use crate::abi::{Dtype, Error, Result, View, reflex_tensor};
use crate::constants::{DECODE_STEP_ROWS, DECODE_WARPS};
use crate::cuda::DeviceLimits;
use crate::ops::attention::AttentionCache;
use crate::ops::rope::{
    RopePart, RopePlan, Rotation, expect_head_norm, expect_heads, expect_pairs, norm_epsilon, rotation_params,
};
use crate::ops::schedule::{Takes, only};

/// The part of the work that `reflex_rope` could do, checked.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// k_new and v_new are both there, or neither is.
    pub k_new: Option<View>,
    pub v_new: Option<View>,
    pub rotation: Rotation,
    pub q_norm: Option<View>,
    pub k_norm: Option<View>,
    pub norm_epsilon: f32,
}

impl Step {
    pub const NONE: Step = Step {
        k_new: None,
        v_new: None,
        rotation: Rotation {
            neox: true,
            rotary_dim: 0,
            theta_base: 1.0,
            freq_scale: 1.0,
            magnitude: 1.0,
            positions: None,
            freq_factors: None,
        },
        q_norm: None,
        k_norm: None,
        norm_epsilon: 0.0,
    };

    /// Checks the operands of the step. The result is `None` where the call asks for nothing of it.
    pub fn new(p: &reflex_attention_decode_params, q: &View, cache: &AttentionCache) -> Result<Option<Step>> {
        let rotation = Rotation::new(&rotation_params!(p), Some(cache.dim), cache.batch)?;
        let norm_epsilon = norm_epsilon(p.norm_epsilon)?;
        let row = |field, tensor: &reflex_tensor, dim: i64, what: &str| {
            let view = View::optional(field, tensor)?;
            if let Some(view) = &view {
                expect_heads(view)?;
                view.expect_shape(&[cache.batch, cache.kv_heads, dim], what)?;
            }
            Ok::<_, Error>(view)
        };
        let k_new = row("k_new", &p.k_new, cache.dim, "[batch, kv_heads, head_dim] of cache.k")?;
        let v_new = row(
            "v_new",
            &p.v_new,
            cache.v_dim,
            "[batch, kv_heads, v_head_dim] of cache.v",
        )?;
        let q_norm = View::optional("q_norm", &p.q_norm)?;
        let k_norm = View::optional("k_norm", &p.k_norm)?;
        for norm in [&q_norm, &k_norm].into_iter().flatten() {
            expect_head_norm(norm, cache.dim)?;
        }
        expect_pairs(&[
            (("k_new", k_new.is_some()), ("v_new", v_new.is_some())),
            (("v_new", v_new.is_some()), ("k_new", k_new.is_some())),
            (("k_norm", k_norm.is_some()), ("k_new", k_new.is_some())),
            (
                ("freq_factors", rotation.freq_factors.is_some()),
                ("positions", rotation.positions.is_some()),
            ),
        ])?;
        let step = Step {
            k_new,
            v_new,
            rotation,
            q_norm,
            k_norm,
            norm_epsilon,
        };
        if k_new.is_none() && !step.changes_q() {
            return Ok(None);
        }
        expect_heads(q)?;
        Ok(Some(step))
    }

    /// The inputs besides q.
    pub fn inputs(&self) -> [Option<&View>; 6] {
        let r = &self.rotation;
        [
            self.k_new.as_ref(),
            self.v_new.as_ref(),
            r.positions.as_ref(),
            r.freq_factors.as_ref(),
            self.q_norm.as_ref(),
            self.k_norm.as_ref(),
        ]
    }

    /// Whether the attention reads another q than the call's.
    pub fn changes_q(&self) -> bool {
        self.rotation.positions.is_some() || self.q_norm.is_some()
    }
}

impl AttentionDecodePlan {
    /// The bytes of a q of F32, where the attention reads another one than the call's.
    pub fn q_bytes(&self) -> usize {
        match self.step.is_some_and(|step| step.changes_q()) {
            true => self.q.dims().iter().product::<i64>() as usize * 4,
            false => 0,
        }
    }

    /// Takes the steps for which there are kernels of their own (`decode_step` there): beside a cache of F16, with
    /// heads of `dim` elements.
    pub fn plain(&self, dim: i64, limits: &DeviceLimits) -> Takes {
        let Some(step) = self.step else {
            return Err("a step with an append and a rotation");
        };
        let c = &self.cache;
        c.mma(Dtype::F16, dim, limits)?;
        let f32 = |view: Option<View>| view.is_none_or(|view| view.dtype == Dtype::F32);
        let inputs = [Some(self.q), step.k_new, step.v_new, step.q_norm, step.k_norm];
        // A block prepares its heads and the new rows of k and v at once, with eight elements for each thread.
        let heads = (DECODE_WARPS * 32 / (dim / 8)).min(DECODE_STEP_ROWS + 2);
        let plain = [c.dim, c.v_dim] == [dim, dim]
            && c.group + 2 <= heads
            && step.k_new.is_some()
            && step.rotation.neox
            && step.rotation.positions.is_some()
            && inputs.into_iter().all(f32)
            && self.y.dtype == Dtype::ACT_I8
            && self
                .rope(std::ptr::null_mut())
                .is_some_and(|rope| rope.heads_fit_warps());
        only(
            plain,
            "steps of F32 with a neox rotation, an append, aligned rows and a y of ACT_I8",
        )
    }

    /// The step as a call of rope, whose q goes to the `q_bytes` bytes at `scratch`.
    pub fn rope(&self, scratch: *mut u8) -> Option<RopePlan> {
        let step = self.step.as_ref()?;
        let c = &self.cache;
        let append = |x: View, cache: View, norm| RopePart {
            x,
            out: None,
            cache: Some(cache),
            norm,
        };
        Some(RopePlan {
            tokens: c.batch,
            head_dim: c.dim,
            rotation: step.rotation,
            q: step.changes_q().then(|| RopePart {
                x: self.q,
                out: Some(self.q.contiguous_at(scratch, Dtype::F32)),
                cache: None,
                norm: step.q_norm,
            }),
            k: step.k_new.map(|x| append(x, c.k, step.k_norm)),
            v: step.v_new.map(|x| append(x, c.v, None)),
            cache: step.k_new.map(|_| **c),
            slots: None,
            norm_epsilon: step.norm_epsilon,
            append: step.k_new.is_some(),
        })
    }

    /// The attention that follows that call.
    pub fn after_rope(&self, scratch: *mut u8) -> AttentionDecodePlan {
        let changed = self.step.is_some_and(|step| step.changes_q());
        AttentionDecodePlan {
            q: if changed {
                self.q.contiguous_at(scratch, Dtype::F32)
            } else {
                self.q
            },
            step: None,
            ..*self
        }
    }
}
