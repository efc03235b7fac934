//! Launches of the two directions of packing.

use super::buffer::Spec;
use super::cases::Call;
use super::env::shared_cpu;
use super::parity::{Io, Launch, run_once_bytes};
use reflex_infer::*;

pub const fn packed(dtype: reflex_dtype) -> reflex_dtype {
    reflex_dtype(dtype.0 | REFLEX_DTYPE_PACKED.0)
}

/// Bytes of a `[n, k]` matrix.
pub fn matrix_bytes(dtype: reflex_dtype, n: i64, k: i64) -> usize {
    let blocks = k / i64::from(reflex_dtype_block_elements(dtype));
    (n * blocks * i64::from(reflex_dtype_block_bytes(dtype))) as usize
}

/// Native rows of a `[n, k]` matrix, as reflex_weights_pack lays them out.
pub fn packed_bytes(dtype: reflex_dtype, n: i64, k: i64, native: &[u8]) -> Vec<u8> {
    let pack = PackCase::new(dtype, n, k, Direction::Pack);
    run_once_bytes(shared_cpu(), |io| pack.launch(io, native)).remove(0)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Pack,
    Unpack,
}

/// `[n, k]` of one format in one direction.
#[derive(Clone, Copy, Debug)]
pub struct PackCase {
    pub dtype: reflex_dtype,
    pub n: i64,
    pub k: i64,
    /// Blocks between the native rows.
    pub gap: i64,
    /// Blocks before the native matrix.
    pub offset: usize,
    pub in_place: bool,
    pub direction: Direction,
}

impl PackCase {
    pub fn new(dtype: reflex_dtype, n: i64, k: i64, direction: Direction) -> PackCase {
        PackCase {
            dtype,
            n,
            k,
            gap: 0,
            offset: 0,
            in_place: false,
            direction,
        }
    }

    /// `bytes`: the source's rows without gaps.
    pub fn launch(self, io: &Io, bytes: &[u8]) -> Launch {
        self.call(io, || bytes.to_vec()).launch
    }

    /// The same, with the kernel that it is.
    pub fn call(self, io: &Io, bytes: impl FnOnce() -> Vec<u8>) -> Call {
        let native = Spec::new(self.dtype, &[self.n, self.k])
            .row_gap(self.gap)
            .offset(self.offset);
        let dense = Spec::new(packed(self.dtype), &[self.n, self.k]);
        let (from, to) = match self.direction {
            Direction::Pack => (native, dense),
            Direction::Unpack => (dense, native),
        };
        let (source, destination) = match self.in_place {
            true => {
                let source = io.in_out_bytes_of(from, bytes);
                (
                    source,
                    reflex_tensor {
                        dtype: to.dtype,
                        ..source
                    },
                )
            }
            false => (io.input_bytes_of(from, bytes), io.output(to)),
        };
        macro_rules! launch {
            ($params:ident, $op:ident, $workspace_size:ident, $kernel:ident) => {{
                let mut p = $params {
                    struct_size: size_of::<$params>() as u32,
                    source,
                    destination,
                    ..Default::default()
                };
                super::ok($workspace_size(io.env.context, &p, &mut p.workspace_size));
                p.workspace = io.workspace(p.workspace_size);
                Call::new(p, $op, $kernel)
            }};
        }
        match self.direction {
            Direction::Pack => launch!(
                reflex_weights_pack_params,
                reflex_weights_pack,
                reflex_weights_pack_workspace_size,
                reflex_weights_pack_selected_kernel
            ),
            Direction::Unpack => launch!(
                reflex_weights_unpack_params,
                reflex_weights_unpack,
                reflex_weights_unpack_workspace_size,
                reflex_weights_unpack_selected_kernel
            ),
        }
    }
}
