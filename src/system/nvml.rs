//! NVIDIA's management library: telemetry of discrete GPUs, and of integrated ones where it knows more than sysfs.
//! libnvidia-ml is opened on first use; without it everything is unknown.

use super::reading::*;
use crate::cuda::has_dynamic_loader;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_MEMORY_TEMP;
use nvml_wrapper::{Device, Nvml};
use std::sync::OnceLock;

/// How CUDA names a device, in the forms NVML understands. Ordinals of the two differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceNames {
    pub pci_bus_id: Option<String>,
    /// `GPU-` and 32 hexadecimal digits.
    pub uuid: Option<String>,
    /// CUDA's name of the device, where it is integrated.
    pub integrated: Option<String>,
}

/// Initialised once and kept: shutting it down would also cost the next reading tens of milliseconds.
fn library() -> Option<&'static Nvml> {
    static LIBRARY: OnceLock<Option<Nvml>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| has_dynamic_loader().then(|| Nvml::init().ok()).flatten())
        .as_ref()
}

/// An integrated GPU may have neither a PCI address nor a UUID that both know. NVML's only device is taken for it when
/// the names agree ("Orin" and "Orin (nvgpu)"): a board can have a discrete GPU as well.
fn only_device(nvml: &'static Nvml, cuda_name: &str) -> Option<Device<'static>> {
    if cuda_name.is_empty() || nvml.device_count().ok()? != 1 {
        return None;
    }
    let device = nvml.device_by_index(0).ok()?;
    let name = device.name().ok()?;
    (name.contains(cuda_name) || (!name.is_empty() && cuda_name.contains(&name))).then_some(device)
}

pub(crate) struct NvmlDevice {
    nvml: &'static Nvml,
    device: Device<'static>,
}

impl NvmlDevice {
    pub fn find(names: &DeviceNames) -> Option<NvmlDevice> {
        NvmlDevice::find_in(library()?, names)
    }

    fn find_in(nvml: &'static Nvml, names: &DeviceNames) -> Option<NvmlDevice> {
        let by_bus = || nvml.device_by_pci_bus_id(names.pci_bus_id.as_deref()?).ok();
        let by_uuid = || nvml.device_by_uuid(names.uuid.as_deref()?).ok();
        // Orin's NVML writes its UUID without the prefix.
        let by_bare_uuid = || nvml.device_by_uuid(names.uuid.as_deref()?.strip_prefix("GPU-")?).ok();
        let device = by_bus()
            .or_else(by_uuid)
            .or_else(by_bare_uuid)
            .or_else(|| only_device(nvml, names.integrated.as_deref()?))?;
        Some(NvmlDevice { nvml, device })
    }

    pub fn power(&self) -> Option<f64> {
        Some(f64::from(self.device.power_usage().ok()?) * 1e-3)
    }

    /// Joules since the driver was loaded.
    pub fn energy(&self) -> Option<f64> {
        Some(self.device.total_energy_consumption().ok()? as f64 * 1e-3)
    }

    pub fn temperature(&self) -> Option<f64> {
        Some(f64::from(self.device.temperature(TemperatureSensor::Gpu).ok()?))
    }

    pub fn memory_temperature(&self) -> Option<f64> {
        let values = self.device.field_values_for(&[FieldId(NVML_FI_DEV_MEMORY_TEMP)]).ok()?;
        let degrees = match values.into_iter().next()?.ok()?.value.ok()? {
            SampleValue::F64(v) => v,
            SampleValue::U32(v) => f64::from(v),
            SampleValue::U64(v) => v as f64,
            SampleValue::I64(v) => v as f64,
        };
        // 0 on boards whose memory has no sensor.
        (0.0 < degrees && degrees < 200.0).then_some(degrees)
    }

    pub fn throttle(&self) -> Option<u32> {
        let reasons = self.device.current_throttle_reasons().ok()?;
        let pairs = [
            (ThrottleReasons::GPU_IDLE, REFLEX_THROTTLE_IDLE),
            (
                ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
                REFLEX_THROTTLE_CLOCK_SETTING,
            ),
            (ThrottleReasons::DISPLAY_CLOCK_SETTING, REFLEX_THROTTLE_CLOCK_SETTING),
            (ThrottleReasons::SW_POWER_CAP, REFLEX_THROTTLE_POWER_CAP),
            (ThrottleReasons::HW_SLOWDOWN, REFLEX_THROTTLE_HARDWARE),
            (ThrottleReasons::SYNC_BOOST, REFLEX_THROTTLE_SYNC_BOOST),
            (ThrottleReasons::SW_THERMAL_SLOWDOWN, REFLEX_THROTTLE_THERMAL),
            (ThrottleReasons::HW_THERMAL_SLOWDOWN, REFLEX_THROTTLE_HARDWARE_THERMAL),
            (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, REFLEX_THROTTLE_POWER_BRAKE),
        ];
        Some(
            pairs
                .into_iter()
                .filter(|(theirs, _)| reasons.contains(*theirs))
                .fold(0, |bits, (_, ours)| bits | ours),
        )
    }

    /// Fills what NVML knows. `own`: the GPU has its own memory and board, so NVML's word goes before the host's files;
    /// else it only fills what those left unknown.
    pub fn fill(&self, out: &mut reflex_telemetry, own: bool) {
        let device = &self.device;
        let mhz = |clock: Clock| device.clock_info(clock).ok().map(f64::from);
        let limit = |clock: Clock| device.max_clock_info(clock).ok().map(f64::from);
        let set = |field: &mut f32, value: Option<f64>| {
            if let Some(value) = value.filter(|_| own || field.is_nan()) {
                *field = value as f32;
            }
        };
        if let Some(power) = self.power().filter(|_| own || out.power_w.is_nan()) {
            out.power_w = power as f32;
            set_text(&mut out.power_rail, "NVML");
        }
        let power_limit = device.enforced_power_limit().ok().map(|mw| f64::from(mw) * 1e-3);
        set(&mut out.power_limit_w, power_limit);
        set(&mut out.gpu_clock_mhz, mhz(Clock::SM));
        set(&mut out.gpu_clock_limit_mhz, limit(Clock::SM));
        set(&mut out.memory_clock_mhz, mhz(Clock::Memory));
        set(&mut out.memory_clock_limit_mhz, limit(Clock::Memory));
        set(&mut out.gpu_temperature_c, self.temperature());
        set(&mut out.memory_temperature_c, self.memory_temperature());
        let busy = device.utilization_rates().ok();
        set(&mut out.gpu_utilization, busy.as_ref().map(|busy| f64::from(busy.gpu)));
        // Of integrated GPUs NVML answers 0 whatever the memory does.
        let memory_busy = busy.as_ref().filter(|_| own).map(|busy| f64::from(busy.memory));
        set(&mut out.memory_utilization, memory_busy);
        for degrees in [out.gpu_temperature_c, out.memory_temperature_c] {
            // `max` keeps the number where the other is NaN.
            out.hottest_c = out.hottest_c.max(degrees);
        }
        let throttle_unknown =
            out.throttle == REFLEX_THROTTLE_UNKNOWN && !after_over_current(Some(out.over_current_events));
        if let Some(reasons) = self.throttle().filter(|_| own || throttle_unknown) {
            out.throttle = reasons;
        }
        if let Some(memory) = device.memory_info().ok().filter(|_| own) {
            out.memory_total = clamp(memory.total);
            out.memory_free = clamp(memory.free);
            // What the driver keeps for itself is used as well.
            out.memory_used = clamp(memory.total.saturating_sub(memory.free));
        }
        if let Some(energy) = self.energy() {
            out.energy_counter_j = energy;
        }
        if let Ok(version) = self.nvml.sys_driver_version() {
            set_text(&mut out.driver_version, &version);
        }
    }
}

fn clamp(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::telemetry::Probe;
    use std::ffi::{CStr, c_char};
    use std::process::Command;

    /// tests/system/nvml.c, compiled and opened as the driver's library would be.
    fn stand_in() -> &'static Nvml {
        static LIBRARY: OnceLock<Nvml> = OnceLock::new();
        LIBRARY.get_or_init(|| compile("desktop", &[]))
    }

    /// The same of an Orin, which has one device that answers nothing but its name and UUID.
    fn stand_in_of_orin() -> &'static Nvml {
        static LIBRARY: OnceLock<Nvml> = OnceLock::new();
        LIBRARY.get_or_init(|| compile("orin", &["-DORIN"]))
    }

    fn compile(name: &str, options: &[&str]) -> Nvml {
        let folder = std::env::temp_dir().join(format!("reflex-nvml-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let library = folder.join("libnvidia-ml.so.1");
        let status = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args(options)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/nvml.c"))
            .status();
        assert!(status.expect("a C compiler").success());
        let nvml = Nvml::builder().lib_path(library.as_os_str()).init().unwrap();
        let _ = std::fs::remove_dir_all(&folder);
        nvml
    }

    fn names(pci_bus_id: &str, uuid: &str, integrated: Option<&str>) -> DeviceNames {
        DeviceNames {
            pci_bus_id: Some(pci_bus_id.into()),
            uuid: Some(uuid.into()),
            integrated: integrated.map(String::from),
        }
    }

    fn find(pci_bus_id: &str, uuid: &str) -> Option<NvmlDevice> {
        NvmlDevice::find_in(stand_in(), &names(pci_bus_id, uuid, None))
    }

    fn unknown() -> reflex_telemetry {
        Probe::nothing().read()
    }

    fn text(field: &[c_char]) -> &str {
        unsafe { CStr::from_ptr(field.as_ptr()) }.to_str().unwrap()
    }

    #[test]
    fn a_discrete_gpu_is_read() {
        let mut t = unknown();
        // Zones of the host that NVML knows nothing of.
        t.hottest_c = 48.0;
        find("0000:01:00.0", "").expect("by bus").fill(&mut t, true);
        assert_eq!(
            (t.power_w, t.power_limit_w, text(&t.power_rail)),
            (123.456, 700.0, "NVML")
        );
        assert_eq!((t.gpu_clock_mhz, t.gpu_clock_limit_mhz), (1755.0, 1980.0));
        assert_eq!((t.memory_clock_mhz, t.memory_clock_limit_mhz), (3201.0, 3202.0));
        assert_eq!(
            (t.gpu_temperature_c, t.memory_temperature_c, t.hottest_c),
            (41.0, 52.0, 52.0)
        );
        assert_eq!((t.gpu_utilization, t.memory_utilization), (97.0, 64.0));
        assert_eq!(t.throttle, REFLEX_THROTTLE_POWER_CAP | REFLEX_THROTTLE_THERMAL);
        assert_eq!(
            (t.memory_total, t.memory_free, t.memory_used),
            (1_000_000, 700_000, 300_000)
        );
        assert_eq!(t.energy_counter_j, 5_000_000.25);
        assert_eq!(text(&t.driver_version), "580.95.05");
        assert!(t.gpu_power_w.is_nan() && t.cpu_clock_mhz.is_nan());
    }

    #[test]
    fn an_integrated_gpu_keeps_what_its_files_say() {
        let mut t = unknown();
        (t.power_w, t.gpu_clock_mhz, t.throttle, t.memory_total) = (23.0, 1575.0, 0, 77);
        set_text(&mut t.power_rail, "VIN");
        find("0000:01:00.0", "").expect("by bus").fill(&mut t, false);
        assert_eq!((t.power_w, text(&t.power_rail), t.gpu_clock_mhz), (23.0, "VIN", 1575.0));
        assert_eq!((t.throttle, t.memory_total), (0, 77));
        // What they do not say comes from NVML.
        assert_eq!((t.gpu_utilization, t.gpu_temperature_c), (97.0, 41.0));
        // But for what NVML answers wrongly of integrated GPUs.
        assert!(t.memory_utilization.is_nan(), "{}", t.memory_utilization);
    }

    /// NVML does not see that a Jetson's hardware holds the clocks after an over-current event.
    #[test]
    fn nvml_does_not_clear_an_over_current_event() {
        for (events, throttle) in [
            (-1, REFLEX_THROTTLE_POWER_CAP | REFLEX_THROTTLE_THERMAL),
            (0, REFLEX_THROTTLE_POWER_CAP | REFLEX_THROTTLE_THERMAL),
            (1, REFLEX_THROTTLE_UNKNOWN),
        ] {
            let mut t = unknown();
            t.over_current_events = events;
            find("0000:01:00.0", "").expect("by bus").fill(&mut t, false);
            assert_eq!(t.throttle, throttle, "{events} events");
        }
    }

    #[test]
    fn a_device_that_supports_nothing_is_unknown() {
        let mut t = unknown();
        let device = find("0000:02:00.0", "").expect("by bus");
        device.fill(&mut t, true);
        for value in [
            t.power_w,
            t.gpu_clock_mhz,
            t.gpu_temperature_c,
            t.hottest_c,
            t.gpu_utilization,
        ] {
            assert!(value.is_nan(), "{t:?}");
        }
        assert_eq!((t.throttle, t.memory_total), (REFLEX_THROTTLE_UNKNOWN, -1));
        assert!(t.energy_counter_j.is_nan() && device.energy().is_none() && device.power().is_none());
        assert_eq!(text(&t.power_rail), "");
    }

    #[test]
    fn devices_are_found_by_bus_then_by_uuid() {
        let uuid = "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f";
        assert!(find("0000:03:00.0", "").is_none());
        assert!(find("0000:03:00.0", uuid).is_some_and(|device| device.power().is_some()));
        assert!(find("0000:02:00.0", uuid).is_some_and(|device| device.power().is_none()));
        assert!(NvmlDevice::find_in(stand_in(), &DeviceNames::default()).is_none());
    }

    #[test]
    fn an_integrated_gpu_is_found_by_its_bare_uuid_or_as_the_only_device() {
        let ours = "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f";
        let other = "GPU-00000000-0000-0000-0000-000000000000";
        let found =
            |uuid: &str, integrated| NvmlDevice::find_in(stand_in_of_orin(), &names("", uuid, integrated)).is_some();
        assert!(found(ours, None), "Orin's NVML writes UUIDs without GPU-");
        assert!(!found(other, None));
        assert!(found(other, Some("Orin")));
        // NVML's only device is another GPU, or one of several.
        assert!(!found(other, Some("NVIDIA Thor")) && !found(other, Some("")));
        assert!(NvmlDevice::find_in(stand_in(), &names("", other, Some("NVIDIA H200"))).is_none());
    }

    /// With or without the driver's library.
    #[test]
    fn a_device_that_is_not_there_is_not_found() {
        let names = DeviceNames {
            pci_bus_id: Some("FFFF:FF:1F.0".into()),
            uuid: Some("GPU-00000000-0000-0000-0000-000000000000".into()),
            integrated: None,
        };
        assert!(NvmlDevice::find(&names).is_none());
        assert!(NvmlDevice::find(&DeviceNames::default()).is_none());
    }
}
