//! What telemetry tells: the struct of a reading, and what its fields mean.

use crate::abi::Params;
use std::ffi::c_char;

/// Nothing runs on the GPU, so its clocks are low.
pub const REFLEX_THROTTLE_IDLE: u32 = 0x1;
/// The clocks are held by a setting.
pub const REFLEX_THROTTLE_CLOCK_SETTING: u32 = 0x2;
/// Software holds the power limit.
pub const REFLEX_THROTTLE_POWER_CAP: u32 = 0x4;
/// Hardware slowed the clocks down, for a temperature, a power brake or a fast power trigger. On Jetson it means that
/// there was an over-current event and that the measured clock of the CPU, which root can read, is far below the
/// requested one.
pub const REFLEX_THROTTLE_HARDWARE: u32 = 0x8;
/// Another GPU of the same boost group is slow.
pub const REFLEX_THROTTLE_SYNC_BOOST: u32 = 0x10;
/// Software slows down for a temperature; on Jetson one of the `*-throttle-alert` cooling devices is active.
pub const REFLEX_THROTTLE_THERMAL: u32 = 0x20;
/// Hardware slows down for a temperature.
pub const REFLEX_THROTTLE_HARDWARE_THERMAL: u32 = 0x40;
/// The power supply asks for less.
pub const REFLEX_THROTTLE_POWER_BRAKE: u32 = 0x80;
/// Jetson's over-current or under-voltage events grew while a sampler ran. `reflex_telemetry_read` never sets this bit:
/// it tells the number of events in `over_current_events`.
pub const REFLEX_THROTTLE_OVER_CURRENT: u32 = 0x100;
/// The reasons are not known. No other bit is set beside this one.
pub const REFLEX_THROTTLE_UNKNOWN: u32 = 0x8000_0000;

/// One reading of `reflex_telemetry_read`. An unknown value is NaN in a float, -1 in a signed integer, "" in a text and
/// `REFLEX_THROTTLE_UNKNOWN` in `throttle`. Texts are zero-terminated UTF-8.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_telemetry {
    pub struct_size: u32,
    /// `REFLEX_THROTTLE_*` bits, 0 for none. On Jetson 0 means that no thermal alert is active and that no over-current
    /// event was counted since boot. After an event the hardware may hold the clocks down, and no file says whether it
    /// does: `REFLEX_THROTTLE_HARDWARE` where the CPU's measured clock shows it, else `REFLEX_THROTTLE_UNKNOWN`.
    pub throttle: u32,
    /// Power mode of a Jetson: the one that nvpmodel set last. Where its service failed, or a reboot is due, the clocks
    /// differ from that mode's; the `*_clock_limit_mhz` of GPU and CPU tell what holds.
    pub power_mode: i32,
    /// CUDA version of the driver as 1000 * major + 10 * minor; -1 on the CPU backend.
    pub cuda_driver: i32,
    /// Power in watts: that of the module on Jetson Orin, of the whole board on Jetson Thor and discrete GPUs, of the
    /// GPU alone on DGX Spark. `power_rail` says which.
    pub power_w: f32,
    /// Power in watts of the narrowest measured rail that feeds the GPU. `gpu_rail` says what else that rail feeds.
    pub gpu_power_w: f32,
    /// Power limit in force in watts; unknown on Jetson.
    pub power_limit_w: f32,
    /// Clock of the SMs in MHz; 0 when gated.
    pub gpu_clock_mhz: f32,
    /// Highest clock in MHz that the present mode allows the SMs.
    pub gpu_clock_limit_mhz: f32,
    /// Clock of the fastest CPU core in MHz. It is the measured one where the driver measures it and root asks, else
    /// the requested one, and the hardware may run far below that.
    pub cpu_clock_mhz: f32,
    /// Highest clock in MHz that the present mode allows the CPU.
    pub cpu_clock_limit_mhz: f32,
    /// Clock of the memory in MHz, with two transfers per clock. On Orin only root can read it.
    pub memory_clock_mhz: f32,
    /// Highest clock of the memory in MHz. On Orin without root it is nvpmodel's cap: the power mode asks for it, but
    /// the firmware may give less.
    pub memory_clock_limit_mhz: f32,
    /// Temperature of the GPU in degrees Celsius.
    pub gpu_temperature_c: f32,
    /// Temperature of the CPU in degrees Celsius.
    pub cpu_temperature_c: f32,
    /// Temperature of the memory in degrees Celsius.
    pub memory_temperature_c: f32,
    /// Temperature of the hottest sensor of the machine or of the GPU, in degrees Celsius.
    pub hottest_c: f32,
    /// Percentage of the time in which the GPU was busy.
    pub gpu_utilization: f32,
    /// Percentage of the time in which the GPU's memory was busy; unknown on integrated GPUs.
    pub memory_utilization: f32,
    pub reserved: u32,
    /// Memory in bytes: that of the whole system on integrated GPUs and on the CPU backend, that of the GPU otherwise.
    pub memory_total: i64,
    /// Bytes of `memory_total` that are in use.
    pub memory_used: i64,
    /// Bytes that a program could still get.
    pub memory_free: i64,
    /// Number of Jetson's over-current and under-voltage events since boot.
    pub over_current_events: i64,
    /// Energy in joules since the driver was loaded, where the GPU counts it.
    pub energy_counter_j: f64,
    /// What `power_w` measures: `"VDD_IN"`, `"VIN"` (with all that the carrier board feeds from it), `"NVML"` or the
    /// rails that it sums, with `+` between them.
    pub power_rail: [c_char; 64],
    /// What `gpu_power_w` measures: `"VDD_GPU"`, `"VDD_GPU_SOC"` (GPU and SoC), `"VDD_CPU_GPU_CV"` (CPU, GPU and
    /// vision).
    pub gpu_rail: [c_char; 32],
    /// Name of `power_mode`, `"MAXN"` for example.
    pub power_mode_name: [c_char; 64],
    /// Jetson Linux release, `"36.4.3"` for example.
    pub l4t_version: [c_char; 32],
    /// JetPack release, `"6.2"` for example; unknown for an L4T release newer than this library.
    pub jetpack_version: [c_char; 32],
    /// GPU driver, `"580.95.05"` for example.
    pub driver_version: [c_char; 64],
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_telemetry {
    const MIN_SIZE: usize = 408;
}
const _: () = assert!(size_of::<reflex_telemetry>() == 408);

impl reflex_telemetry {
    pub(super) fn unknown() -> reflex_telemetry {
        reflex_telemetry {
            struct_size: 0,
            throttle: REFLEX_THROTTLE_UNKNOWN,
            power_mode: -1,
            cuda_driver: -1,
            power_w: f32::NAN,
            gpu_power_w: f32::NAN,
            power_limit_w: f32::NAN,
            gpu_clock_mhz: f32::NAN,
            gpu_clock_limit_mhz: f32::NAN,
            cpu_clock_mhz: f32::NAN,
            cpu_clock_limit_mhz: f32::NAN,
            memory_clock_mhz: f32::NAN,
            memory_clock_limit_mhz: f32::NAN,
            gpu_temperature_c: f32::NAN,
            cpu_temperature_c: f32::NAN,
            memory_temperature_c: f32::NAN,
            hottest_c: f32::NAN,
            gpu_utilization: f32::NAN,
            memory_utilization: f32::NAN,
            reserved: 0,
            memory_total: -1,
            memory_used: -1,
            memory_free: -1,
            over_current_events: -1,
            energy_counter_j: f64::NAN,
            power_rail: [0; 64],
            gpu_rail: [0; 32],
            power_mode_name: [0; 64],
            l4t_version: [0; 32],
            jetpack_version: [0; 32],
            driver_version: [0; 64],
        }
    }
}

/// Writes a text and its terminating zero, cut at a character's boundary where it does not fit.
pub(crate) fn set_text(field: &mut [c_char], text: &str) {
    let most = text.len().min(field.len() - 1);
    let end = (0..=most).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    field.fill(0);
    for (to, &from) in field.iter_mut().zip(&text.as_bytes()[..end]) {
        *to = from as c_char;
    }
}

/// Whether hardware may hold clocks down without a word in any file.
pub(crate) fn after_over_current(events: Option<i64>) -> bool {
    events.is_some_and(|events| events > 0)
}
