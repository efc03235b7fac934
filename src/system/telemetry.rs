use super::jetson;
use super::nvml::{DeviceNames, NvmlDevice};
use super::root::Root;
use crate::abi::{Backend, Context, Params, guard, out_struct, reflex_context, reflex_status};
use std::ffi::c_char;

/// Nothing runs on the GPU, so its clocks are low.
pub const REFLEX_THROTTLE_IDLE: u32 = 0x1;
/// The clocks are held by a setting.
pub const REFLEX_THROTTLE_CLOCK_SETTING: u32 = 0x2;
/// Software holds the power limit.
pub const REFLEX_THROTTLE_POWER_CAP: u32 = 0x4;
/// Hardware slowed the clocks down: temperature, power brake or a fast power trigger. On Jetson: there was an
/// over-current event, and the measured clock of the CPU, which root reads, is far below what was asked for.
pub const REFLEX_THROTTLE_HARDWARE: u32 = 0x8;
/// Another GPU of the same boost group is slow.
pub const REFLEX_THROTTLE_SYNC_BOOST: u32 = 0x10;
/// Software slows down for a temperature; on Jetson one of the `*-throttle-alert` cooling devices is active.
pub const REFLEX_THROTTLE_THERMAL: u32 = 0x20;
/// Hardware slows down for a temperature.
pub const REFLEX_THROTTLE_HARDWARE_THERMAL: u32 = 0x40;
/// The power supply asks for less.
pub const REFLEX_THROTTLE_POWER_BRAKE: u32 = 0x80;
/// Jetson's over-current or under-voltage events grew while a sampler ran. Never set by `reflex_telemetry_read`, which
/// has `over_current_events`.
pub const REFLEX_THROTTLE_OVER_CURRENT: u32 = 0x100;
/// The reasons are not known. Alone: no other bit is set.
pub const REFLEX_THROTTLE_UNKNOWN: u32 = 0x8000_0000;

/// One reading of `reflex_telemetry_read`. Unknown is NaN in a float, -1 in a signed integer, "" in a text and
/// `REFLEX_THROTTLE_UNKNOWN` in `throttle`. Texts are zero-terminated UTF-8.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_telemetry {
    pub struct_size: u32,
    /// `REFLEX_THROTTLE_*` bits, 0 for none. On Jetson 0 means that no thermal alert is active and that no over-current
    /// event was counted since boot. After an event the hardware may hold the clocks down, and no file says whether it
    /// does: `REFLEX_THROTTLE_HARDWARE` where the CPU's measured clock shows it, else `REFLEX_THROTTLE_UNKNOWN`.
    pub throttle: u32,
    /// nvpmodel's mode of a Jetson: what nvpmodel set last. Where its service failed, or a reboot is due, the clocks are
    /// other ones; the `*_clock_limit_mhz` of GPU and CPU tell the truth.
    pub power_mode: i32,
    /// CUDA version of the driver as 1000 * major + 10 * minor; -1 on the CPU backend.
    pub cuda_driver: i32,
    /// Watts: the module on Jetson Orin, the whole board on Jetson Thor and discrete GPUs, the GPU alone on DGX Spark;
    /// `power_rail` says which.
    pub power_w: f32,
    /// Watts of the narrowest measured rail that feeds the GPU. `gpu_rail` says what else it feeds.
    pub gpu_power_w: f32,
    /// Power limit in force in watts; unknown on Jetson.
    pub power_limit_w: f32,
    /// Clock of the SMs in MHz; 0 when gated.
    pub gpu_clock_mhz: f32,
    /// Highest clock that the present mode allows.
    pub gpu_clock_limit_mhz: f32,
    /// Clock of the fastest core in MHz: as measured where the driver measures it and root asks, else what was asked for,
    /// which hardware may be far below.
    pub cpu_clock_mhz: f32,
    pub cpu_clock_limit_mhz: f32,
    /// Clock of the memory in MHz; on Orin readable by root only. Two transfers a clock.
    pub memory_clock_mhz: f32,
    /// On Orin without root it is nvpmodel's cap: what the power mode asks for, not what the firmware gives.
    pub memory_clock_limit_mhz: f32,
    /// Degrees Celsius.
    pub gpu_temperature_c: f32,
    pub cpu_temperature_c: f32,
    pub memory_temperature_c: f32,
    /// The hottest sensor of the machine or of the GPU.
    pub hottest_c: f32,
    /// Percent of the time the GPU was busy.
    pub gpu_utilization: f32,
    /// Percent of the time the GPU's memory was busy; unknown on integrated GPUs.
    pub memory_utilization: f32,
    pub reserved: u32,
    /// Bytes: of the whole system on integrated GPUs and on the CPU backend, of the GPU otherwise.
    pub memory_total: i64,
    pub memory_used: i64,
    /// What a program could still get.
    pub memory_free: i64,
    /// Jetson's over-current and under-voltage events since boot.
    pub over_current_events: i64,
    /// Joules since the driver was loaded, where the GPU counts them.
    pub energy_counter_j: f64,
    /// What `power_w` measures: `"VDD_IN"`, `"VIN"` (with all that the carrier board feeds from it), `"NVML"` or the rails
    /// that it sums, with `+` between them.
    pub power_rail: [c_char; 64],
    /// What `gpu_power_w` measures: `"VDD_GPU"`, `"VDD_GPU_SOC"` (GPU and SoC), `"VDD_CPU_GPU_CV"` (CPU, GPU and vision).
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
    fn unknown() -> reflex_telemetry {
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

/// Reads one device. Keeps no reference to the context, so that a sampler's thread may hold it.
pub(crate) struct Probe {
    root: Root,
    /// The GPU has its own memory and board: the host's files do not speak of it.
    discrete: bool,
    cuda_driver: i32,
    nvml: Option<NvmlDevice>,
}

/// What a sampler reads each period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub power: Option<f64>,
    pub gpu_power: Option<f64>,
    pub energy_counter: Option<f64>,
    pub throttle: Option<u32>,
    pub hottest: Option<f64>,
    pub over_current_events: Option<i64>,
}

impl Probe {
    pub fn new(context: &Context) -> Probe {
        match &context.backend {
            Backend::Cpu(_) => Probe::at(Root::system()),
            Backend::Cuda(cuda) => Probe {
                root: Root::system(),
                discrete: !cuda.device_limits.integrated,
                cuda_driver: crate::cuda::driver_version().unwrap_or(-1),
                nvml: NvmlDevice::find(&DeviceNames {
                    pci_bus_id: cuda.pci_bus_id(),
                    uuid: cuda.uuid(),
                    integrated: cuda.device_limits.integrated.then(|| cuda.name.clone()),
                }),
            },
        }
    }

    /// The host alone.
    pub fn at(root: Root) -> Probe {
        Probe {
            root,
            discrete: false,
            cuda_driver: -1,
            nvml: None,
        }
    }

    /// A machine that tells nothing.
    #[cfg(test)]
    pub fn nothing() -> Probe {
        Probe::at(Root::at("/nonexistent"))
    }

    /// Whether it was made for a context of the CUDA backend, and may ask a library of the GPU's driver.
    pub fn is_of_gpu(&self) -> bool {
        self.cuda_driver >= 0 || self.nvml.is_some()
    }

    pub fn read(&self) -> reflex_telemetry {
        let mut out = reflex_telemetry::unknown();
        out.cuda_driver = self.cuda_driver;
        let degrees = jetson::temperatures(&self.root);
        out.cpu_temperature_c = float(degrees.cpu);
        out.hottest_c = float(degrees.hottest);
        self.read_host(&mut out);
        if !self.discrete {
            out.gpu_temperature_c = float(degrees.gpu);
            self.read_integrated(&mut out);
        }
        if let Some(nvml) = &self.nvml {
            nvml.fill(&mut out, self.discrete);
        }
        out
    }

    fn read_host(&self, out: &mut reflex_telemetry) {
        let root = &self.root;
        (out.cpu_clock_mhz, out.cpu_clock_limit_mhz) = mhz(jetson::cpu_clock(root));
        if let Some((mode, name)) = jetson::power_mode(root) {
            out.power_mode = mode;
            set_text(&mut out.power_mode_name, &name.unwrap_or_default());
        }
        if let Some(l4t) = jetson::l4t(root) {
            set_text(&mut out.jetpack_version, jetson::jetpack(&l4t).unwrap_or_default());
            set_text(&mut out.l4t_version, &l4t);
        }
        set_text(&mut out.driver_version, &jetson::driver(root).unwrap_or_default());
    }

    fn read_integrated(&self, out: &mut reflex_telemetry) {
        let root = &self.root;
        let power = jetson::power(&jetson::rails(root));
        if let Some((watts, rails)) = power.total {
            out.power_w = watts as f32;
            set_text(&mut out.power_rail, &rails);
        }
        if let Some(rail) = power.gpu {
            out.gpu_power_w = rail.watts as f32;
            set_text(&mut out.gpu_rail, &rail.name);
        }
        (out.gpu_clock_mhz, out.gpu_clock_limit_mhz) = mhz(jetson::gpu_clock(root));
        (out.memory_clock_mhz, out.memory_clock_limit_mhz) = mhz(jetson::memory_clock(root));
        out.gpu_utilization = float(jetson::gpu_load(root));
        let events = jetson::over_current_events(root);
        out.over_current_events = events.unwrap_or(-1);
        out.throttle = throttle(root, events).unwrap_or(REFLEX_THROTTLE_UNKNOWN);
        if let Some((available, total)) = root.memory() {
            out.memory_total = total as i64;
            out.memory_free = available as i64;
            out.memory_used = (total - available) as i64;
        }
    }

    pub fn sample(&self) -> Sample {
        let nvml = self.nvml.as_ref();
        let board = match self.discrete {
            true => jetson::Power::default(),
            false => jetson::power(&jetson::rails(&self.root)),
        };
        let of_gpu = nvml.and_then(NvmlDevice::temperature);
        let (hottest, throttle, events) = match self.discrete {
            true => (of_gpu, nvml.and_then(NvmlDevice::throttle), None),
            false => {
                let events = jetson::over_current_events(&self.root);
                let of_nvml = || nvml.filter(|_| !after_over_current(events))?.throttle();
                (
                    jetson::temperatures(&self.root).hottest.or(of_gpu),
                    throttle(&self.root, events).or_else(of_nvml),
                    events,
                )
            }
        };
        // A counter of the GPU alone is no measure of a Jetson module whose input is measured.
        let energy_counter = match board.total {
            Some(_) => None,
            None => nvml.and_then(NvmlDevice::energy),
        };
        Sample {
            power: board.total.map(|(watts, _)| watts).or_else(|| nvml?.power()),
            gpu_power: board.gpu.map(|rail| rail.watts),
            energy_counter,
            throttle,
            hottest,
            over_current_events: events,
        }
    }
}

/// Whether hardware may hold clocks down without a word in any file.
pub(crate) fn after_over_current(events: Option<i64>) -> bool {
    events.is_some_and(|events| events > 0)
}

/// The `REFLEX_THROTTLE_*` bits of a Jetson's files.
fn throttle(root: &Root, events: Option<i64>) -> Option<u32> {
    let hot = jetson::thermal_throttle(root);
    let held = after_over_current(events).then(|| jetson::cpu_held_below_request(root));
    match (hot, held) {
        (Some(true), Some(Some(true))) => Some(REFLEX_THROTTLE_THERMAL | REFLEX_THROTTLE_HARDWARE),
        (Some(true), _) => Some(REFLEX_THROTTLE_THERMAL),
        (_, Some(Some(true))) => Some(REFLEX_THROTTLE_HARDWARE),
        // A CPU that runs as asked says nothing of the GPU.
        (_, Some(_)) => None,
        (hot, None) => hot.map(|_| 0),
    }
}

fn float(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

fn mhz(clock: jetson::Clock) -> (f32, f32) {
    (float(clock.now), float(clock.limit))
}

/// Reads power, clocks, temperatures, throttling, memory, utilisation and versions of the context's device now.
///
/// The caller sets `out->struct_size`; no more than that is written. A field that this machine does not tell, or tells
/// only to root, is unknown: see `reflex_telemetry`. That is no error, and on a machine that tells nothing all are.
/// Jetson is read from sysfs and procfs, other GPUs through NVML, which is opened on first use; on the CPU backend NVML
/// is not asked. NVML's power is an average over up to a second on most GPUs.
///
/// Takes from some 100 microseconds to some milliseconds, and tens on first use: not for the inner loop of an engine.
/// No CUDA work is started or waited for. Any thread may call it at any time.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
/// Source: Jetson Linux Developer Guide, Platform Power and Performance; NVML API Reference.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_telemetry_read(context: *const reflex_context, out: *mut reflex_telemetry) -> reflex_status {
    const NAME: &str = "reflex_telemetry_read";
    guard(NAME, || {
        let out = out_struct(NAME, "out", out)?;
        let context = reflex_context::get(NAME, context)?;
        let mut telemetry = Probe::new(context).read();
        if let Backend::Cuda(cuda) = &context.backend
            && telemetry.memory_total < 0
            && let Ok((free, total)) = cuda.memory_info()
        {
            telemetry.memory_total = total as i64;
            telemetry.memory_free = free as i64;
            telemetry.memory_used = total.saturating_sub(free) as i64;
        }
        out.write(telemetry);
        Ok(())
    })
}
