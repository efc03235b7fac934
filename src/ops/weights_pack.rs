//! The ops `weights_pack` and `weights_unpack`: conversion of weights between the arrangement of a GGUF file and the
//! packed one.

use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::schedule::{Candidate, Schedule, only};
use super::workspace::workspace_fields;
use crate::abi::{
    BlockFormat, Dtype, Error, Params, Result, View, guard, out_pointer, reflex_dtype, reflex_status, reflex_stream,
    reflex_tensor,
};
use crate::constants::{WEIGHTS_PACK_SHARES, WEIGHTS_PACK_THREADS};
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args, symbol};
use crate::format::panels::Panels;
use crate::runtime::reflex_context;
use std::ffi::{c_char, c_void};

/// Operands of `reflex_weights_pack`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_weights_pack_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// `[n, k]`, a block format; row strides are free.
    pub source: reflex_tensor,
    /// `[n, k]`, the format of `source` with `REFLEX_DTYPE_PACKED`; dense, data 16-byte aligned. To pack in place, give
    /// it the data of `source`, which then has to be dense.
    pub destination: reflex_tensor,
    /// Scratch of `reflex_weights_pack_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0. The
    /// library keeps nothing in it from one call to the next: one workspace with the largest size that any call asks
    /// for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_weights_pack_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_weights_pack_params {
    const MIN_SIZE: usize = 184;
}

/// Operands of `reflex_weights_unpack`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_weights_unpack_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// `[n, k]`, a block format with `REFLEX_DTYPE_PACKED`; dense, data 16-byte aligned.
    pub source: reflex_tensor,
    /// `[n, k]`, the format of `source` without `REFLEX_DTYPE_PACKED`; row strides are free. To unpack in place, give
    /// it the data of `source` and dense rows.
    pub destination: reflex_tensor,
    /// Scratch of `reflex_weights_unpack_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0.
    /// The library keeps nothing in it from one call to the next: one workspace with the largest size that any call
    /// asks for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_weights_unpack_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_weights_unpack_params {
    const MIN_SIZE: usize = 184;
}

/// A plan of either direction.
#[derive(Clone, Copy)]
pub(crate) struct WeightsPackPlan {
    pub native: View,
    pub packed: View,
    pub panels: Panels,
    pub in_place: bool,
    pub direction: Direction,
}

/// The arrangement that is the source: native for `Pack`, packed for `Unpack`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Pack,
    Unpack,
}

impl WeightsPackPlan {
    /// A plan of views of the same type and shape that share no byte.
    pub fn of(format: BlockFormat, native: View, packed: View, direction: Direction) -> WeightsPackPlan {
        WeightsPackPlan {
            native,
            packed,
            panels: Panels::of(format, &packed),
            in_place: false,
            direction,
        }
    }

    fn new(reserved: u32, source: View, destination: View, direction: Direction) -> Result<WeightsPackPlan> {
        if reserved != 0 {
            return Err(Error::invalid(format!("reserved is {reserved}, expected 0")));
        }
        const LARGEST: i64 = 1 << 30;
        let format = source.expect_block()?;
        source
            .expect_rank(2..=2)?
            .expect_dim(0, 0..=LARGEST)?
            .expect_dim(1, 0..=LARGEST)?;
        let (native, packed) = match direction {
            Direction::Pack => (source, destination),
            Direction::Unpack => (destination, source),
        };
        // First whether the right one is packed: the message about the format then names the type to give.
        packed.expect_packed()?;
        destination
            .expect_dtype(&[source.dtype])?
            .expect_shape(source.dims(), "the shape of source")?;
        let in_place = native.data == packed.data && native.is_contiguous();
        Ok(WeightsPackPlan {
            in_place,
            ..WeightsPackPlan::of(format, native, packed, direction)
        })
    }

    /// The operands of either direction; they differ in which of the two is written.
    fn operands<'a>(source: &'a View, destination: &'a View, to: &mut Operands<'a>) {
        const DENSE: InPlace = InPlace::where_it(
            &["source"],
            |destination, source| {
                destination.data == source.data && destination.is_contiguous() && source.is_contiguous()
            },
            "the address and dense rows of",
        );
        to.read(source);
        to.write(destination, DENSE);
    }

    /// Whether there is nothing to write, or, in place, nothing to move, because no panel has a tile.
    fn is_empty(&self) -> bool {
        let no_tiles = self.panels.count() == 0 || self.panels.tiles() == 0;
        self.packed.is_empty() || self.in_place && no_tiles
    }

    /// The number of panels that go through the workspace at a time when in place, about 16 MiB.
    fn panels_at_a_time(&self) -> i64 {
        const BYTES: i64 = 16 << 20;
        (BYTES / self.panels.bytes()).clamp(1, self.panels.count())
    }

    /// Source and destination, from what stands for the native and the packed side.
    fn way<T>(&self, native: T, packed: T) -> (T, T) {
        match self.direction {
            Direction::Pack => (native, packed),
            Direction::Unpack => (packed, native),
        }
    }
}

pub(crate) struct WeightsPack;

impl Op for WeightsPack {
    const NAME: &'static str = "weights_pack";
    type Params = reflex_weights_pack_params;
    type Plan = WeightsPackPlan;

    fn plan(p: &reflex_weights_pack_params) -> Result<WeightsPackPlan> {
        let source = View::required("source", &p.source)?;
        let destination = View::weight("destination", &p.destination)?;
        WeightsPackPlan::new(p.reserved, source, destination, Direction::Pack)
    }

    fn operands<'a>(plan: &'a WeightsPackPlan, to: &mut Operands<'a>) {
        WeightsPackPlan::operands(&plan.native, &plan.packed, to);
    }

    fn is_empty(plan: &WeightsPackPlan) -> bool {
        plan.is_empty()
    }

    fn candidates() -> &'static [Candidate<WeightsPackPlan>] {
        &PACK
    }

    workspace_fields!(reflex_weights_pack_params);
}

pub(crate) struct WeightsUnpack;

impl Op for WeightsUnpack {
    const NAME: &'static str = "weights_unpack";
    type Params = reflex_weights_unpack_params;
    type Plan = WeightsPackPlan;

    fn plan(p: &reflex_weights_unpack_params) -> Result<WeightsPackPlan> {
        let source = View::weight("source", &p.source)?;
        let destination = View::required("destination", &p.destination)?;
        WeightsPackPlan::new(p.reserved, source, destination, Direction::Unpack)
    }

    fn operands<'a>(plan: &'a WeightsPackPlan, to: &mut Operands<'a>) {
        WeightsPackPlan::operands(&plan.packed, &plan.native, to);
    }

    fn is_empty(plan: &WeightsPackPlan) -> bool {
        plan.is_empty()
    }

    fn candidates() -> &'static [Candidate<WeightsPackPlan>] {
        &UNPACK
    }

    workspace_fields!(reflex_weights_unpack_params);
}

/// Each format has a kernel.
macro_rules! candidates {
    ($prefix:literal: $($NAME:ident $name:literal),*) => {
        [$({
            static KERNEL: Kernel = Kernel::new("weights_pack", symbol(concat!($prefix, $name, "\0")));
            Candidate::new(
                $name,
                |p, _| only(p.panels.format == BlockFormat::$NAME, concat!("weights of ", stringify!($NAME))),
                |p, to| plan_launches(p, to, &KERNEL),
            )
        }),*]
    };
}

macro_rules! pack {
    ($({ $NAME:ident $type:ident $name:literal $($facts:tt)* })*) => {
        candidates!("reflex_weights_pack_": $($NAME $name),*)
    };
}
macro_rules! unpack {
    ($({ $NAME:ident $type:ident $name:literal $($facts:tt)* })*) => {
        candidates!("reflex_weights_unpack_": $($NAME $name),*)
    };
}

static PACK: [Candidate<WeightsPackPlan>; BlockFormat::ALL.len()] = block_formats!(pack);
static UNPACK: [Candidate<WeightsPackPlan>; BlockFormat::ALL.len()] = block_formats!(unpack);

static COPY: Kernel = Kernel::new("weights_pack", c"reflex_weights_pack_copy");

kernel_args! {
    struct WeightsPackArgs {
        source: *const u8,
        destination: *mut u8,
        row_stride: i64,
        panel_bytes: i64,
        panels: i64,
        tiles: i64,
    } size 48, tiles at 40
}

kernel_args! {
    struct WeightsPackCopyArgs {
        source: *const u8,
        destination: *mut u8,
        source_panel: i64,
        source_row: i64,
        destination_panel: i64,
        destination_row: i64,
        units: i64,
        count: i64,
        rows: i32,
        unit: i32,
    } size 72, unit at 68
}

/// Rows in panels, for the copy: the first address, and the byte strides of panels and rows.
#[derive(Clone, Copy)]
struct Lines {
    data: *mut u8,
    panel: i64,
    row: i64,
}

impl Lines {
    fn skip(self, bytes: i64) -> Lines {
        Lines {
            data: self.data.wrapping_offset(bytes as isize),
            ..self
        }
    }
}

/// Copies `bytes` bytes of each of `rows` rows of each of `panels` panels.
fn copy(schedule: &mut Schedule, from: Lines, to: Lines, panels: i64, rows: i64, bytes: i64) -> Result<()> {
    if panels == 0 || rows == 0 || bytes == 0 {
        return Ok(());
    }
    let addresses = [from.data as i64, to.data as i64, bytes];
    let strides = [from.panel, from.row, to.panel, to.row];
    let fits = |unit: &i64| addresses.iter().chain(&strides).all(|v| v % unit == 0);
    let unit = [16, 4, 2].into_iter().find(fits).unwrap_or(1);
    let units = bytes / unit;
    let args = WeightsPackCopyArgs {
        source: from.data,
        destination: to.data,
        source_panel: from.panel,
        source_row: from.row,
        destination_panel: to.panel,
        destination_row: to.row,
        units,
        count: panels * rows * units,
        rows: rows as i32,
        unit: unit as i32,
    };
    let grid = Grid::new(
        [ceil_div(args.count, WEIGHTS_PACK_THREADS), 1, 1],
        WEIGHTS_PACK_THREADS as u32,
    )?;
    schedule.launch(&COPY, grid, &args);
    Ok(())
}

/// Moves complete panels between places that do not overlap. `native` has the stride of the rows.
fn move_panels(
    p: &WeightsPackPlan,
    schedule: &mut Schedule,
    kernel: &'static Kernel,
    native: Lines,
    packed: *mut u8,
    panels: i64,
) -> Result<()> {
    let sizes = p.panels;
    let (source, destination) = p.way(native.data, packed);
    if panels > 0 && sizes.tiles() > 0 {
        let args = WeightsPackArgs {
            source,
            destination,
            row_stride: native.row,
            panel_bytes: sizes.bytes(),
            panels,
            tiles: sizes.tiles(),
        };
        let blocks = ceil_div(panels * sizes.tiles() * WEIGHTS_PACK_SHARES, WEIGHTS_PACK_THREADS);
        schedule.launch(kernel, Grid::new([blocks, 1, 1], WEIGHTS_PACK_THREADS as u32)?, &args);
    }
    let tiles_bytes = sizes.tiles() * sizes.run_bytes();
    let native_tail = native.skip(tiles_bytes);
    let packed_tail = Lines {
        data: packed,
        panel: sizes.bytes(),
        row: sizes.tail_bytes(),
    };
    let packed_tail = packed_tail.skip(Panels::ROWS * tiles_bytes);
    let (from, to) = p.way(native_tail, packed_tail);
    copy(schedule, from, to, panels, Panels::ROWS, sizes.tail_bytes())
}

fn plan_launches(p: &WeightsPackPlan, schedule: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    schedule.names(kernel);
    let sizes = p.panels;
    let rows_of = |data: *mut u8, row: i64| Lines {
        data,
        panel: Panels::ROWS * row,
        row,
    };
    let native = rows_of(p.native.data, p.native.stride(0));
    if !p.in_place {
        move_panels(p, schedule, kernel, native, p.packed.data, sizes.count())?;
        // The rows that are left are native on both sides.
        let row = sizes.row_bytes();
        let native = native.skip(sizes.count() * native.panel);
        let packed = rows_of(p.packed.data, row).skip(sizes.count() * sizes.bytes());
        let (from, to) = p.way(native, packed);
        return copy(schedule, from, to, 1, sizes.rows_left(), row);
    }
    let chunk = p.panels_at_a_time();
    let scratch = schedule.book("panels in flight", (chunk * sizes.bytes()) as usize);
    let scratch = rows_of(scratch, sizes.row_bytes());
    let mut first = 0;
    while first < sizes.count() {
        let panels = chunk.min(sizes.count() - first);
        let here = native.skip(first * sizes.bytes());
        copy(schedule, here, scratch, 1, 1, panels * sizes.bytes())?;
        let (native, packed) = match p.direction {
            Direction::Pack => (scratch, here.data),
            Direction::Unpack => (here, scratch.data),
        };
        move_panels(p, schedule, kernel, native, packed, panels)?;
        first += panels;
    }
    Ok(())
}

/// Sets `*bytes` to the size of a packed `[n, k]` matrix, which is that of the native one. `dtype` may have
/// `REFLEX_DTYPE_PACKED` or not.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT` for a type that is not a GGUF block format, negative sizes, a `k` that is not a
/// multiple of the block, and more bytes than 64 bits count; `REFLEX_MISALIGNED`. Thread-safe. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_packed_size(dtype: reflex_dtype, n: i64, k: i64, bytes: *mut u64) -> reflex_status {
    guard("reflex_weights_packed_size", || {
        out_pointer("bytes", bytes)?;
        let (block, packed) =
            Dtype::parse(dtype).ok_or_else(|| Error::invalid(format!("dtype is {}", Dtype::unknown(dtype))))?;
        if block.block().is_none() {
            return Err(Error::invalid(format!(
                "dtype is {}, expected a GGUF block format",
                block.name()
            )));
        }
        if n < 0 {
            return Err(Error::invalid(format!("n is {n}, expected 0 or more")));
        }
        let size = block
            .row_bytes(packed, "k", k)?
            .checked_mul(n as u64)
            .ok_or_else(|| Error::invalid(format!("[{n}, {k}] overflows 64 bits")))?;
        // SAFETY: checked above.
        unsafe { bytes.write(size) };
        Ok(())
    })
}

/// Arranges the blocks of a weight matrix as matrix products read them fastest. An engine packs its weights once, when
/// it loads a model.
///
/// The result has the bits of `source`, each exactly once, in the order of docs/packed-weights.md: panels of 16 rows,
/// divided into tiles of 256 columns. Sizes do not change, and `reflex_weights_unpack` gives the native matrix back bit
/// for bit. `reflex_matmul` and `reflex_embedding` take packed weights in place of native ones; no other op does.
///
/// Shapes and types: see `reflex_weights_pack_params`. Alignment: packed data is aligned to 16 bytes. Native data and
/// its row stride are aligned as the format's blocks are (to 2 bytes, MXFP4 to 1).
///
/// Aliasing: `destination.data` may be `source.data` when `source` is dense (in place, through the workspace).
/// Otherwise the two share no byte. Workspace: see `reflex_weights_pack_workspace_size`; it shares no byte with either.
/// The call is asynchronous on `stream`, capturable and thread-safe. In place it takes several launches, and what reads
/// the weights must not run at the same time.
///
/// Limits: n and k are at most 2^30.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_pack(
    context: *const reflex_context,
    params: *const reflex_weights_pack_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<WeightsPack>(context, params, stream)
}

/// Sets `*bytes` to the scratch that `reflex_weights_pack` needs for these params on this context. It is 0 when the
/// data pointers differ, and at most about 16 MiB (or one panel of 16 rows) when they are the same. The function does
/// not look at the workspace fields of the params.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_pack_workspace_size(
    context: *const reflex_context,
    params: *const reflex_weights_pack_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<WeightsPack>(context, params, bytes)
}

/// Says by its status whether `reflex_weights_pack` would take these params on this context. It does the validation and
/// the selection of `reflex_weights_pack`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_pack_supported(
    context: *const reflex_context,
    params: *const reflex_weights_pack_params,
) -> reflex_status {
    call::supported::<WeightsPack>(context, params)
}

/// Sets `*name` to the kernel that `reflex_weights_pack` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to move.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_pack_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_weights_pack_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<WeightsPack>(context, params, name)
}

/// Gives back the native matrix that `reflex_weights_pack` was given, bit for bit.
///
/// Shapes and types: see `reflex_weights_unpack_params`. Alignment: packed data is aligned to 16 bytes. Native data and
/// its row stride are aligned as the format's blocks are (to 2 bytes, MXFP4 to 1). Bytes between the rows of
/// `destination` are not written.
///
/// Aliasing: `destination.data` may be `source.data` when `destination` is dense (in place, through the workspace).
/// Otherwise the two share no byte, nor does `destination` with itself. Workspace: see
/// `reflex_weights_unpack_workspace_size`; it shares no byte with either. The call is asynchronous on `stream`,
/// capturable and thread-safe.
///
/// Limits: n and k are at most 2^30.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_unpack(
    context: *const reflex_context,
    params: *const reflex_weights_unpack_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<WeightsUnpack>(context, params, stream)
}

/// Sets `*bytes` to the scratch that `reflex_weights_unpack` needs for these params on this context. The sizes are
/// those that `reflex_weights_pack_workspace_size` gives for packing.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_unpack_workspace_size(
    context: *const reflex_context,
    params: *const reflex_weights_unpack_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<WeightsUnpack>(context, params, bytes)
}

/// Says by its status whether `reflex_weights_unpack` would take these params on this context. It does the validation
/// and the selection of `reflex_weights_unpack`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_unpack_supported(
    context: *const reflex_context,
    params: *const reflex_weights_unpack_params,
) -> reflex_status {
    call::supported::<WeightsUnpack>(context, params)
}

/// Sets `*name` to the kernel that `reflex_weights_unpack` would launch. The name is a static string: `"cpu"` on the
/// CPU backend, `"none"` when there is nothing to move.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_weights_unpack_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_weights_unpack_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<WeightsUnpack>(context, params, name)
}
