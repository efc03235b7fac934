//! Random calls of every op, right and wrong ones: what `_supported` says of a call is what the launch then does.

use super::blocks::{BLOCKS, WEIGHTS};
use super::env::{Env, last_error, ok, status_name};
use super::packed::packed;
use super::random::Random;
use reflex_infer::*;
use std::collections::BTreeMap;
use std::ffi::c_void;

/// Bytes that an operand and all that its strides reach lie in, and the number of places for them.
const SLOT: usize = 1 << 18;
const SLOTS: usize = 24;
const WORKSPACE: usize = 1 << 24;
const FLOATS: [reflex_dtype; 3] = [REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16];

/// Makes operands in memory that holds all of them, whatever their strides.
pub struct Maker<'e> {
    env: &'e Env,
    pub random: Random,
    arena: *mut c_void,
    workspace: *mut c_void,
    slot: usize,
    made: Vec<reflex_tensor>,
    /// Whether something may be wrong with this call's operands.
    wild: bool,
}

impl<'e> Maker<'e> {
    fn new(env: &'e Env, seed: u64) -> Maker<'e> {
        let mut random = Random::new(seed);
        let arena = env.malloc(SLOT * SLOTS);
        // Numbers of every kind: indices are nothing that a kernel may rely on.
        env.upload(arena, &random.bytes(SLOT * SLOTS));
        Maker {
            env,
            random,
            arena,
            workspace: env.malloc(WORKSPACE),
            slot: 0,
            made: Vec::new(),
            wild: false,
        }
    }

    fn begin(&mut self) {
        self.slot = 0;
        self.made.clear();
        self.wild = self.one_in(2);
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    /// What happens once in `n` times to operands of calls in which something may be wrong.
    pub fn mishap(&mut self, n: u64) -> bool {
        self.wild && self.one_in(n)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize]
    }

    pub fn float(&mut self) -> reflex_dtype {
        match self.mishap(60) {
            true => self.pick(&[REFLEX_DTYPE_I32, REFLEX_DTYPE_Q4_0, REFLEX_DTYPE_NONE]),
            false => self.pick(&FLOATS),
        }
    }

    pub fn float_or_act_i8(&mut self) -> reflex_dtype {
        if self.one_in(3) {
            REFLEX_DTYPE_ACT_I8
        } else {
            self.float()
        }
    }

    /// Small, and 0 now and then.
    pub fn dim(&mut self) -> i64 {
        self.pick(&[0, 1, 1, 2, 2, 3, 4, 5, 7, 9, 17])
    }

    /// Of a last dimension; often a multiple of 32.
    pub fn width(&mut self) -> i64 {
        self.pick(&[0, 1, 2, 7, 8, 31, 32, 32, 64, 64, 96, 128, 160, 256])
    }

    /// An operand of this shape, now and then of another one.
    pub fn tensor(&mut self, dtype: reflex_dtype, shape: &[i64]) -> reflex_tensor {
        let mut dims = shape.to_vec();
        if self.mishap(40) {
            let i = self.random.below(dims.len() as u64) as usize;
            dims[i] = self.dim();
        }
        let block = i64::from(reflex_dtype_block_bytes(dtype)).max(1);
        let elements = i64::from(reflex_dtype_block_elements(dtype)).max(1);
        let mut tensor = reflex_tensor {
            data: std::ptr::null_mut(),
            dtype,
            rank: dims.len() as u32,
            shape: [0; 4],
            stride: [0; 4],
        };
        tensor.shape[..dims.len()].copy_from_slice(&dims);
        let stride = self.strides(&dims, block, elements);
        tensor.stride[..dims.len()].copy_from_slice(&stride);
        let counts = dims
            .iter()
            .enumerate()
            .map(|(i, &n)| if i + 1 == dims.len() { n / elements } else { n });
        let reach = counts
            .zip(&stride)
            .try_fold(block, |sum, (n, &s)| s.checked_mul((n - 1).max(0))?.checked_add(sum));
        // What does not fit is contiguous.
        let fits = |reach: i64| (0..(SLOT / 2) as i64).contains(&reach);
        if !dims.contains(&0) && !reach.is_some_and(fits) {
            tensor.stride = [0; 4];
        }
        tensor.data = self.place(block, dims.last().map_or(1, |&n| n / elements * block));
        self.made.push(tensor);
        tensor
    }

    fn strides(&mut self, dims: &[i64], block: i64, elements: i64) -> Vec<i64> {
        let rank = dims.len();
        let kind = self.random.below(if self.wild { 40 } else { 27 });
        let mut stride = vec![0; rank];
        if kind < 16 {
            return stride;
        }
        let gap = match kind {
            16..27 => self.pick(&[0, 16, 32, 48]),
            27..32 => self.pick(&[2, 4, 6, 8, 12, 18]),
            _ => 0,
        };
        let mut step = block;
        for i in (0..rank).rev() {
            stride[i] = step;
            let count = if i + 1 == rank { dims[i] / elements } else { dims[i] };
            step = step * count.max(1) + if i + 1 == rank { gap } else { 0 };
        }
        let i = self.random.below(rank as u64) as usize;
        match kind {
            // Broadcast, rows that overlap, rows and columns exchanged.
            32..34 => stride[0] = 0,
            34..36 => stride[0] /= 2,
            36 if rank > 2 => stride.swap(0, 1),
            // No strides at all, and those that nobody may have but a tensor without elements.
            37 => stride[i] = self.pick(&[1, 3, 7, 1 << 40]),
            38 => stride[i] = -stride[i],
            39 => stride[i] = i64::MAX - 3,
            _ => {}
        }
        stride
    }

    /// Where an operand begins: a place of its own, or one that another has.
    fn place(&mut self, block: i64, row: i64) -> *mut c_void {
        if !self.made.is_empty() && self.mishap(8) {
            let other = self.made[self.random.below(self.made.len() as u64) as usize];
            let shift = self.pick(&[0, 0, 16, block, row, 2 * row, 64]);
            return other.data.wrapping_byte_add(shift as usize);
        }
        self.slot += 1;
        let shift = match self.random.below(if self.wild { 30 } else { 28 }) {
            0..20 => 0,
            20..28 => self.pick(&[16, 32, 48, 80]),
            _ => self.pick(&[1, 2, 3]),
        };
        self.arena.wrapping_byte_add((self.slot - 1) * SLOT + shift as usize)
    }

    /// The same view, or one of its own.
    pub fn in_place(&mut self, of: reflex_tensor, dtype: reflex_dtype) -> reflex_tensor {
        if self.one_in(3) {
            return of;
        }
        let shape = of.shape;
        self.tensor(dtype, &shape[..of.rank as usize])
    }

    pub fn optional(&mut self, make: impl FnOnce(&mut Self) -> reflex_tensor) -> reflex_tensor {
        if self.one_in(2) {
            make(self)
        } else {
            reflex_tensor::default()
        }
    }

    pub fn floats(&mut self, shape: &[i64]) -> reflex_tensor {
        let dtype = self.float();
        self.tensor(dtype, shape)
    }

    pub fn ints(&mut self, count: i64) -> reflex_tensor {
        self.tensor(REFLEX_DTYPE_I32, &[count])
    }

    /// Any shape of rank 1 to 4.
    pub fn shape(&mut self) -> Vec<i64> {
        let rank = 1 + self.random.below(4) as usize;
        let mut shape: Vec<i64> = (0..rank).map(|_| self.dim().min(5)).collect();
        shape[rank - 1] = self.width();
        shape
    }

    pub fn weight(&mut self, n: i64, k: i64) -> reflex_tensor {
        let dtype = match self.one_in(3) {
            true => self.pick(&WEIGHTS),
            false => self.pick(&BLOCKS),
        };
        let is_block = reflex_dtype_block_elements(dtype) > 1;
        let dtype = if is_block && self.one_in(2) {
            packed(dtype)
        } else {
            dtype
        };
        self.tensor(dtype, &[n, k])
    }
}

/// Of one op: calls that were taken, those of them with nothing to do, calls that were refused.
#[derive(Default, Debug)]
pub struct Seen {
    pub taken: u32,
    pub empty: u32,
    pub refused: BTreeMap<String, u32>,
}

pub type Launcher<P> = extern "C" fn(*const reflex_context, *const P, reflex_stream) -> reflex_status;
pub type Supported<P> = extern "C" fn(*const reflex_context, *const P) -> reflex_status;
pub type WorkspaceSize<P> = extern "C" fn(*const reflex_context, *const P, *mut usize) -> reflex_status;

/// Sizes of heads that kernels of their own take, and others.
pub const HEADS: [i64; 7] = [8, 32, 64, 64, 128, 128, 40];

/// The `Scratch` of params with the usual fields.
macro_rules! scratch {
    ($size:expr, $optional:literal) => {
        Some(Scratch {
            size: $size,
            set: |p, data, bytes| (p.workspace, p.workspace_size) = (data, bytes),
            optional: $optional,
        })
    };
}
pub(crate) use scratch;

/// How an op takes its workspace.
pub struct Scratch<P> {
    pub size: WorkspaceSize<P>,
    pub set: fn(&mut P, *mut c_void, usize),
    /// Without one it does the same.
    pub optional: bool,
}

pub struct Calls<'e> {
    maker: Maker<'e>,
    count: u32,
    seen: BTreeMap<&'static str, Seen>,
}

impl Calls<'_> {
    /// `count` calls of one op. What `make` leaves in a params struct is valid or nearly so.
    pub fn op<P: Copy + Default>(
        &mut self,
        name: &'static str,
        (launch, supported): (Launcher<P>, Supported<P>),
        scratch: Option<Scratch<P>>,
        make: impl Fn(&mut Maker, &mut P),
    ) {
        let mut seen = Seen::default();
        for call in 0..self.count {
            let m = &mut self.maker;
            m.begin();
            let mut p = P::default();
            // SAFETY: every params struct begins with its size.
            unsafe { (&raw mut p).cast::<u32>().write(size_of::<P>() as u32) };
            make(m, &mut p);
            let says = supported(m.env.context, &p);
            let said = last_error();
            let mut want = says;
            if let Some(scratch) = &scratch {
                let mut need = 0;
                let sized = (scratch.size)(m.env.context, &p, &mut need);
                assert_eq!(
                    sized == REFLEX_SUCCESS || sized == REFLEX_UNSUPPORTED,
                    says == REFLEX_SUCCESS || says == REFLEX_UNSUPPORTED,
                    "{name} {call}"
                );
                if need > WORKSPACE {
                    continue;
                }
                let (data, bytes, status) = match m.random.below(12) {
                    0 => (
                        std::ptr::null_mut(),
                        0,
                        if scratch.optional {
                            REFLEX_SUCCESS
                        } else {
                            REFLEX_WORKSPACE_TOO_SMALL
                        },
                    ),
                    1 => (m.workspace, need.saturating_sub(1), REFLEX_WORKSPACE_TOO_SMALL),
                    2 => (m.workspace.wrapping_byte_add(128), need, REFLEX_MISALIGNED),
                    3 => (m.workspace, WORKSPACE, REFLEX_SUCCESS),
                    _ => (m.workspace, need, REFLEX_SUCCESS),
                };
                (scratch.set)(&mut p, data, bytes);
                if need > 0 && says == REFLEX_SUCCESS {
                    want = status;
                }
            }
            let got = launch(m.env.context, &p, m.env.stream);
            let message = last_error();
            assert_eq!(
                status_name(got),
                status_name(want),
                "{name}, call {call}: the launch says `{message}`, _supported `{said}`: {:#?}",
                m.made
            );
            match got {
                REFLEX_SUCCESS => {
                    seen.taken += 1;
                    seen.empty += u32::from(m.made.iter().any(|t| t.shape[..t.rank as usize].contains(&0)));
                }
                _ => {
                    assert!(
                        message.starts_with(&format!("{name}: ")),
                        "`{message}` does not name {name}"
                    );
                    *seen.refused.entry(status_name(got)).or_default() += 1;
                }
            }
            // An illegal access shows in the call that made it.
            ok(reflex_stream_synchronize(m.env.context, m.env.stream));
        }
        self.seen.insert(name, seen);
    }
}

/// `count` random calls of every op: the launch does what `_supported` says, but for a workspace that is missing.
pub fn random_calls(env: &Env, seed: u64, count: u32) {
    let mut calls = Calls {
        maker: Maker::new(env, seed),
        count,
        seen: BTreeMap::new(),
    };
    for make in super::cases::call_makers() {
        make(&mut calls);
    }
    for (name, seen) in &calls.seen {
        // Every kind of call came up, or the test would prove little.
        let refused: u32 = seen.refused.values().sum();
        assert!(seen.taken > count / 4, "{name}: {seen:?}");
        assert!(seen.empty > count / 100, "{name}: {seen:?}");
        assert!(refused > count / 20, "{name}: {seen:?}");
    }
    assert!(
        OPS.iter().all(|op| calls.seen.contains_key(op.name)),
        "{:?}",
        calls.seen.keys()
    );
    for memory in [calls.maker.arena, calls.maker.workspace] {
        ok(reflex_device_free(env.context, memory));
    }
}
