//! Hardware profiles: what is known of a class of devices, and which class a device is of.

use super::jetson;
use super::reading::set_text;
use crate::abi::{Error, Params, guard, out_struct, reflex_status};
use crate::cuda::DeviceLimits;
use crate::runtime::root::Root;
use crate::runtime::{Backend, reflex_context};
use std::ffi::c_char;

/// The kind of a device: its board where boards differ only by their memory and clocks, its family otherwise.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_device_class(pub u32);

/// This library does not know the kind of the device.
pub const REFLEX_DEVICE_CLASS_UNKNOWN: reflex_device_class = reflex_device_class(0);
/// The CPU backend.
pub const REFLEX_DEVICE_CLASS_CPU: reflex_device_class = reflex_device_class(1);
/// A family: GeForce, RTX and Quadro boards.
pub const REFLEX_DEVICE_CLASS_RTX: reflex_device_class = reflex_device_class(2);
/// A family: A100, H100, H200, B200, L4, L40S, T4 and the like.
pub const REFLEX_DEVICE_CLASS_DATA_CENTER: reflex_device_class = reflex_device_class(3);
/// Jetson Orin Nano 4 GB.
pub const REFLEX_DEVICE_CLASS_ORIN_NANO_4GB: reflex_device_class = reflex_device_class(16);
/// Jetson Orin Nano 8 GB, also the developer kit.
pub const REFLEX_DEVICE_CLASS_ORIN_NANO_8GB: reflex_device_class = reflex_device_class(17);
/// Jetson Orin NX 8 GB.
pub const REFLEX_DEVICE_CLASS_ORIN_NX_8GB: reflex_device_class = reflex_device_class(18);
/// Jetson Orin NX 16 GB.
pub const REFLEX_DEVICE_CLASS_ORIN_NX_16GB: reflex_device_class = reflex_device_class(19);
/// Jetson AGX Orin 32 GB.
pub const REFLEX_DEVICE_CLASS_AGX_ORIN_32GB: reflex_device_class = reflex_device_class(20);
/// Jetson AGX Orin 64 GB, also the developer kit and the industrial module.
pub const REFLEX_DEVICE_CLASS_AGX_ORIN_64GB: reflex_device_class = reflex_device_class(21);
/// Jetson T4000.
pub const REFLEX_DEVICE_CLASS_THOR_T4000: reflex_device_class = reflex_device_class(32);
/// Jetson T5000, also the AGX Thor developer kit.
pub const REFLEX_DEVICE_CLASS_THOR_T5000: reflex_device_class = reflex_device_class(33);
/// DGX Spark and other GB10 machines.
pub const REFLEX_DEVICE_CLASS_SPARK: reflex_device_class = reflex_device_class(48);

/// What an engine plans with: the device, and the nominal bandwidth of its memory. Unknown numbers are 0, unknown names
/// "".
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_hardware_profile {
    pub struct_size: u32,
    /// `REFLEX_DEVICE_CLASS_*`.
    pub device_class: reflex_device_class,
    /// Name of the board, GPU or processor, zero-terminated UTF-8.
    pub name: [c_char; 128],
    /// Compute capability as major * 10 + minor: 87 on Orin.
    pub sm: u32,
    /// Number of streaming multiprocessors. A Jetson's power mode can switch some off; the profile of a class counts
    /// them all.
    pub sm_count: u32,
    /// 1 when the GPU shares the host's memory.
    pub integrated: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Size of the memory in bytes: the data sheet's for a class, what the driver sees for a device.
    pub memory_bytes: u64,
    /// Nominal bandwidth of the memory in bytes per second, for both directions together. Measured reads stay below it.
    pub memory_bandwidth: f64,
    /// The bandwidth in Super mode (JetPack 6.2 and later with Super firmware), on boards where it differs; 0 on
    /// others.
    pub memory_bandwidth_super: f64,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_hardware_profile {
    const MIN_SIZE: usize = 176;
}
const _: () = assert!(size_of::<reflex_hardware_profile>() == 176);

impl reflex_hardware_profile {
    fn new(class: reflex_device_class, name: &str) -> reflex_hardware_profile {
        let mut profile = reflex_hardware_profile {
            struct_size: 0,
            device_class: class,
            name: [0; 128],
            sm: 0,
            sm_count: 0,
            integrated: 0,
            memory_bus_bits: 0,
            memory_bytes: 0,
            memory_bandwidth: 0.0,
            memory_bandwidth_super: 0.0,
        };
        set_text(&mut profile.name, name);
        profile
    }
}

/// One board's data sheet.
struct Board {
    class: reflex_device_class,
    name: &'static str,
    sm: u32,
    sm_count: u32,
    bus_bits: u32,
    memory_gib: u64,
    /// GB/s.
    bandwidth: f64,
    bandwidth_super: f64,
}

const fn board(
    class: reflex_device_class,
    name: &'static str,
    (sm, sm_count): (u32, u32),
    (memory_gib, bus_bits): (u64, u32),
    (bandwidth, bandwidth_super): (f64, f64),
) -> Board {
    Board {
        class,
        name,
        sm,
        sm_count,
        bus_bits,
        memory_gib,
        bandwidth,
        bandwidth_super,
    }
}

/// Sources: Jetson Orin Nano, Orin NX and AGX Orin Series Data Sheets (128 CUDA cores an SM; Super figures from the
/// data sheets' JetPack 6.2 revisions), Jetson T5000/T4000 Modules Data Sheet, DGX Spark Hardware Overview.
/// T4000: 1,536 cores, 64 GB, 273 GB/s; T5000: 2,560 cores, 128 GB, 273 GB/s (also "Accelerate AI Inference for Edge and
/// Robotics with NVIDIA Jetson T4000 and NVIDIA JetPack 7.1", NVIDIA Technical Blog; the driver of a T5000 counts 20 SMs).
/// Orin NX has its full memory clock in every revision: Super mode raises only its GPU clock.
const BOARDS: &[Board] = &[
    board(
        REFLEX_DEVICE_CLASS_ORIN_NANO_4GB,
        "Jetson Orin Nano 4GB",
        (87, 4),
        (4, 64),
        (34.0, 51.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_ORIN_NANO_8GB,
        "Jetson Orin Nano 8GB",
        (87, 8),
        (8, 128),
        (68.0, 102.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_ORIN_NX_8GB,
        "Jetson Orin NX 8GB",
        (87, 8),
        (8, 128),
        (102.4, 0.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_ORIN_NX_16GB,
        "Jetson Orin NX 16GB",
        (87, 8),
        (16, 128),
        (102.4, 0.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_AGX_ORIN_32GB,
        "Jetson AGX Orin 32GB",
        (87, 14),
        (32, 256),
        (204.8, 0.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_AGX_ORIN_64GB,
        "Jetson AGX Orin 64GB",
        (87, 16),
        (64, 256),
        (204.8, 0.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_THOR_T4000,
        "Jetson T4000",
        (110, 12),
        (64, 256),
        (273.0, 0.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_THOR_T5000,
        "Jetson T5000",
        (110, 20),
        (128, 256),
        (273.0, 0.0),
    ),
    board(
        REFLEX_DEVICE_CLASS_SPARK,
        "DGX Spark",
        (121, 48),
        (128, 256),
        (273.0, 0.0),
    ),
];

impl Board {
    fn of(class: reflex_device_class) -> Option<&'static Board> {
        BOARDS.iter().find(|board| board.class == class)
    }

    fn profile(&self) -> reflex_hardware_profile {
        reflex_hardware_profile {
            sm: self.sm,
            sm_count: self.sm_count,
            integrated: 1,
            memory_bus_bits: self.bus_bits,
            memory_bytes: self.memory_gib << 30,
            memory_bandwidth: self.bandwidth * 1e9,
            memory_bandwidth_super: self.bandwidth_super * 1e9,
            ..reflex_hardware_profile::new(self.class, self.name)
        }
    }
}

/// The module's part number in the device tree, where it is there; else the model's name and the size of the memory.
fn orin(root: &Root, sm_count: u32, memory: u64) -> reflex_device_class {
    const MODULES: &[(&str, reflex_device_class)] = &[
        ("p3767-0000", REFLEX_DEVICE_CLASS_ORIN_NX_16GB),
        ("p3767-0001", REFLEX_DEVICE_CLASS_ORIN_NX_8GB),
        ("p3767-0002", REFLEX_DEVICE_CLASS_ORIN_NX_16GB),
        ("p3767-0003", REFLEX_DEVICE_CLASS_ORIN_NANO_8GB),
        ("p3767-0004", REFLEX_DEVICE_CLASS_ORIN_NANO_4GB),
        ("p3767-0005", REFLEX_DEVICE_CLASS_ORIN_NANO_8GB),
        // The IGX Orin kit's module.
        ("p3701-0002", REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("p3701-0004", REFLEX_DEVICE_CLASS_AGX_ORIN_32GB),
        ("p3701-0005", REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("p3701-0008", REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
    ];
    if let Some((_, class)) = MODULES.iter().find(|(part, _)| jetson::has_part(root, part)) {
        return *class;
    }
    // The firmware keeps some of the memory: 8 GB show as 7.4 GiB.
    let by_memory = |limit_gib: u64, small, large| if memory < limit_gib << 30 { small } else { large };
    let model = jetson::model(root).unwrap_or_default();
    // p3701-0000 is the AGX Orin kit's module, with 32 GB in the first kits and 64 in later ones.
    if jetson::has_part(root, "p3701-0000") || model.contains("AGX Orin") || sm_count > 8 {
        by_memory(48, REFLEX_DEVICE_CLASS_AGX_ORIN_32GB, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB)
    } else if model.contains("Orin NX") {
        by_memory(12, REFLEX_DEVICE_CLASS_ORIN_NX_8GB, REFLEX_DEVICE_CLASS_ORIN_NX_16GB)
    } else if model.contains("Orin Nano") {
        by_memory(6, REFLEX_DEVICE_CLASS_ORIN_NANO_4GB, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB)
    } else {
        REFLEX_DEVICE_CLASS_UNKNOWN
    }
}

/// By the module's part number, else by memory: of modules that are announced (T3000 with 32 GB, T2000 with 16) the part
/// numbers are not known, and they are neither a T4000 nor a T5000.
fn thor(root: &Root, memory: u64) -> reflex_device_class {
    let gib = |gib: u64| gib << 30;
    if jetson::has_part(root, "p3834-0008") {
        REFLEX_DEVICE_CLASS_THOR_T5000
    } else if jetson::has_part(root, "p3834-0000") {
        REFLEX_DEVICE_CLASS_THOR_T4000
    } else if memory >= gib(96) {
        REFLEX_DEVICE_CLASS_THOR_T5000
    } else if memory >= gib(48) {
        REFLEX_DEVICE_CLASS_THOR_T4000
    } else {
        REFLEX_DEVICE_CLASS_UNKNOWN
    }
}

/// Memory of every Thor module is LPDDR5X at 8533 MT/s; they differ in the width of its bus.
const THOR_MEMORY_KHZ: u32 = 4_266_000;

/// Compute capability of Thor, and what CUDA 12 drivers call it.
const THOR: u32 = 110;
const THOR_CUDA_12: u32 = 101;

fn classify(root: &Root, name: &str, limits: &DeviceLimits, memory: u64) -> reflex_device_class {
    let is_rtx = || {
        ["GeForce", "RTX", "GTX", "Quadro", "TITAN"]
            .iter()
            .any(|word| name.contains(word))
    };
    match (limits.integrated, limits.sm) {
        (true, 87) => orin(root, limits.sm_count, memory),
        (true, THOR_CUDA_12 | THOR) => thor(root, memory),
        (true, 121) => REFLEX_DEVICE_CLASS_SPARK,
        (true, _) => REFLEX_DEVICE_CLASS_UNKNOWN,
        (false, _) if is_rtx() => REFLEX_DEVICE_CLASS_RTX,
        (false, _) => REFLEX_DEVICE_CLASS_DATA_CENTER,
    }
}

/// The memory's clock on a device that is no known board.
fn memory_clock_khz(limits: &DeviceLimits) -> Option<u32> {
    match (limits.integrated, limits.sm) {
        (false, _) => Some(limits.memory_clock_khz),
        // The bus is as wide as the driver says: CUDA 13.2's does, CUDA 13.0's says 0, which leaves it unknown.
        (true, THOR_CUDA_12 | THOR) => Some(THOR_MEMORY_KHZ),
        // Orin's driver reports clocks that are not its memory's.
        (true, _) => None,
    }
}

pub(crate) fn profile_of(root: &Root, name: &str, limits: &DeviceLimits, memory: u64) -> reflex_hardware_profile {
    let class = classify(root, name, limits, memory);
    let board = Board::of(class).map(Board::profile);
    let model = jetson::model(root).filter(|_| limits.integrated);
    let mut profile = reflex_hardware_profile {
        sm: limits.sm,
        sm_count: limits.sm_count,
        integrated: u32::from(limits.integrated),
        memory_bytes: memory,
        ..reflex_hardware_profile::new(class, model.as_deref().unwrap_or(name))
    };
    if let Some(board) = board {
        profile.memory_bus_bits = board.memory_bus_bits;
        profile.memory_bandwidth_super = board.memory_bandwidth_super;
        profile.memory_bandwidth = board.memory_bandwidth;
        if board.memory_bandwidth_super > 0.0 && jetson::super_mode(root) {
            profile.memory_bandwidth = board.memory_bandwidth_super;
        }
    } else if let Some(khz) = memory_clock_khz(limits) {
        // Two transfers a clock, as the driver counts the clock of every kind of memory.
        profile.memory_bus_bits = limits.memory_bus_bits;
        profile.memory_bandwidth = 2e3 * f64::from(khz) * f64::from(limits.memory_bus_bits) / 8.0;
    }
    profile
}

/// Fills `*out` with the profile of the context's device: class, SMs, memory and nominal bandwidth.
///
/// The bandwidth of a known board (Jetson, Spark) is its data sheet's; an Orin Nano with Super firmware has that of the
/// power mode in force. For other GPUs it is 2 * memory clock * bus width / 8, as the driver reports these, and for a
/// Thor module that this library does not know it is 2 * 4266 MHz * bus width / 8. On the CPU backend it is unknown
/// (0).
///
/// The caller sets `out->struct_size`; no more than that is written. Thread-safe.
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_get_hardware_profile(
    context: *const reflex_context,
    out: *mut reflex_hardware_profile,
) -> reflex_status {
    guard("reflex_get_hardware_profile", || {
        let out = out_struct("out", out)?;
        let profile = match &reflex_context::get(context)?.backend {
            Backend::Cpu(cpu) => reflex_hardware_profile {
                sm_count: cpu.threads() as u32,
                integrated: 1,
                memory_bytes: crate::runtime::host_memory()?.1,
                ..reflex_hardware_profile::new(REFLEX_DEVICE_CLASS_CPU, &crate::runtime::cpu_name())
            },
            Backend::Cuda(cuda) => profile_of(&Root::system(), &cuda.name, &cuda.device_limits, cuda.total_memory),
        };
        out.write(profile);
        Ok(())
    })
}

/// Fills `*out` with what the data sheet of a board says, so that an engine can plan for one that is not here.
///
/// `REFLEX_DEVICE_CLASS_CPU`, `_RTX`, `_DATA_CENTER` and `_UNKNOWN` are no boards and give `REFLEX_UNSUPPORTED`.
/// The caller sets `out->struct_size`; no more than that is written. Thread-safe.
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`. Since 0.1.
/// Source: NVIDIA's module data sheets.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_get_hardware_profile_of_class(
    device_class: reflex_device_class,
    out: *mut reflex_hardware_profile,
) -> reflex_status {
    guard("reflex_get_hardware_profile_of_class", || {
        let out = out_struct("out", out)?;
        match (device_class, Board::of(device_class)) {
            (_, Some(board)) => {
                out.write(board.profile());
                Ok(())
            }
            (reflex_device_class(class @ 0..=3), None) => Err(Error::unsupported(format!(
                "device_class is {class}, a family and no board: it has no profile of its own"
            ))),
            (reflex_device_class(class), None) => Err(Error::invalid(format!(
                "device_class is {class}, which is no REFLEX_DEVICE_CLASS"
            ))),
        }
    })
}
