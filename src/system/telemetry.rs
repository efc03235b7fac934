//! Reads the sensors of a device, wherever this machine has them.

use super::jetson;
use super::nvml::{DeviceNames, NvmlDevice};
use super::reading::*;
use crate::abi::{guard, out_struct, reflex_status};
use crate::runtime::root::Root;
use crate::runtime::{Backend, Context, reflex_context};

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
/// only to root, is unknown: see `reflex_telemetry`. That is no error, even where every field is unknown.
/// Jetson is read from sysfs and procfs, other GPUs through NVML, which is opened on first use; on the CPU backend NVML
/// is not asked. NVML's power is an average over up to a second on most GPUs.
///
/// The call takes from some 100 microseconds to some milliseconds, and tens of milliseconds on first use: it is not for
/// the inner loop of an engine. It starts no CUDA work and waits for none. Any thread may call it at any time.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
/// Source: Jetson Linux Developer Guide, Platform Power and Performance; NVML API Reference.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_telemetry_read(context: *const reflex_context, out: *mut reflex_telemetry) -> reflex_status {
    guard("reflex_telemetry_read", || {
        let out = out_struct("out", out)?;
        let context = reflex_context::get(context)?;
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
