//! What a Jetson's files say: power rails, clocks, temperatures, throttling, power mode and L4T release.
//!
//! Paths are those of the Jetson Linux Developer Guide, "Platform Power and Performance" (r35, r36, r38), of the kernel's
//! hwmon, thermal and devfreq documentation, and of /etc/nvpmodel.conf. JetPack 5, 6 and 7 differ in names alone.

use crate::runtime::root::{Root, entries, number, text};
use std::path::{Path, PathBuf};

/// One channel of a power monitor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rail {
    pub name: String,
    pub watts: f64,
}

/// Power of the whole and of the GPU's rail, each with the name of what was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Power {
    pub total: Option<(f64, String)>,
    pub gpu: Option<Rail>,
}

/// INA3221 on every module; INA238 at Thor's input.
pub(crate) fn rails(root: &Root) -> Vec<Rail> {
    let mut rails = Vec::new();
    for driver in ["ina3221", "ina238"] {
        for device in root.entries(&format!("sys/bus/i2c/drivers/{driver}"), |name| name.contains('-')) {
            for monitor in entries(&device.join("hwmon"), |name| name.starts_with("hwmon")) {
                match driver {
                    "ina3221" => (1..=3).for_each(|channel| rails.extend(ina3221(&monitor, channel))),
                    _ => rails.extend(ina238(&monitor)),
                }
            }
        }
    }
    rails
}

/// Millivolts times milliamperes. A channel that is not connected has the label NC.
fn ina3221(monitor: &Path, channel: u32) -> Option<Rail> {
    let name = text(&monitor.join(format!("in{channel}_label")))?;
    let millivolts = number(&monitor.join(format!("in{channel}_input")))?;
    let milliamperes = number(&monitor.join(format!("curr{channel}_input")))?;
    let watts = millivolts as f64 * milliamperes as f64 * 1e-6;
    (name != "NC" && plausible(watts)).then_some(Rail { name, watts })
}

/// The chip multiplies: microwatts. It has one channel, and hwmon's `label` of the whole chip is its name. Without one
/// nobody knows what it measures: a carrier board may have others beside the one at its input.
fn ina238(monitor: &Path) -> Option<Rail> {
    let watts = number(&monitor.join("power1_input"))? as f64 * 1e-6;
    let name = text(&monitor.join("label"))?;
    plausible(watts).then_some(Rail { name, watts })
}

/// No board draws this much. An idle rail may read a little below zero: the shunt's offset.
fn plausible(watts: f64) -> bool {
    (-10.0..2000.0).contains(&watts)
}

/// What each board's rails sum to. Orin Nano and NX measure the module's input. AGX Orin and Thor measure three rails
/// that together are the module; Thor's developer kit also measures the whole board's input.
pub(crate) fn power(rails: &[Rail]) -> Power {
    let find = |name: &str| rails.iter().find(|rail| rail.name == name).cloned();
    let sum = |names: &[&str]| {
        let parts: Option<Vec<Rail>> = names.iter().map(|name| find(name)).collect();
        parts.map(|parts| (parts.iter().map(|rail| rail.watts).sum(), names.join("+")))
    };
    let total = [
        &["VIN"][..],
        &["VDD_IN"],
        &["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
        &["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"],
    ]
    .into_iter()
    .find_map(sum);
    let gpu = ["VDD_GPU", "VDD_GPU_SOC", "VDD_CPU_GPU_CV"].into_iter().find_map(find);
    Power { total, gpu }
}

/// Clocks in MHz: now, and the limit in force.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Clock {
    pub now: Option<f64>,
    pub limit: Option<f64>,
}

fn hertz(path: &Path) -> Option<f64> {
    // 10 GHz and more is garbage; 0 is a gated clock.
    number(path)
        .filter(|hz| (0..10_000_000_000).contains(hz))
        .map(|hz| hz as f64 * 1e-6)
}

fn devfreq(folder: &Path) -> Clock {
    Clock {
        now: hertz(&folder.join("cur_freq")),
        limit: hertz(&folder.join("max_freq")),
    }
}

/// `gpu-gpc-0` on Thor, `17000000.gpu` on JetPack 6, `17000000.ga10b` on JetPack 5.
fn gpu_folder(root: &Root) -> Option<PathBuf> {
    let is_gpu = |name: &str| name == "gpu-gpc-0" || name.ends_with(".gpu") || name.ends_with(".ga10b");
    root.entries("sys/class/devfreq", is_gpu).into_iter().next()
}

pub(crate) fn gpu_clock(root: &Root) -> Clock {
    gpu_folder(root).map_or(Clock::default(), |folder| devfreq(&folder))
}

/// Percent of the time the GPU was busy; the file is in tenths of it. Thor's driver has no such file.
pub(crate) fn gpu_load(root: &Root) -> Option<f64> {
    let load = number(&gpu_folder(root)?.join("device/load"))?;
    (0..=1000).contains(&load).then(|| load as f64 / 10.0)
}

/// The memory's clock as the memory controller tells it: by BPMP's debugfs on Orin, which only root reads, by devfreq on
/// Thor.
fn memory_controller(root: &Root) -> Clock {
    let debug = root.path("sys/kernel/debug/bpmp/debug/clk/emc");
    let clock = Clock {
        now: hertz(&debug.join("rate")),
        limit: hertz(&debug.join("max_rate")),
    };
    match clock {
        Clock { now: None, limit: None } => devfreq(&root.path("sys/class/devfreq/bwmgr")),
        clock => clock,
    }
}

/// nvpmodel's cap of the memory's clock (0: none), which everybody reads. It is what the power mode asks for, and says
/// nothing of what the firmware gives.
fn memory_cap(root: &Root) -> Option<f64> {
    [
        "sys/kernel/nvpmodel_clk_cap/emc",
        "sys/kernel/nvpmodel_emc_cap/emc_iso_cap",
    ]
    .into_iter()
    .find_map(|path| hertz(&root.path(path)))
    .filter(|&cap| cap > 0.0)
}

pub(crate) fn memory_clock(root: &Root) -> Clock {
    let (clock, cap) = (memory_controller(root), memory_cap(root));
    let limit = match (clock.limit, cap) {
        (Some(limit), Some(cap)) => Some(limit.min(cap)),
        (limit, cap) => limit.or(cap),
    };
    Clock { limit, ..clock }
}

/// Whether an Orin Nano's memory runs at Super clocks, 3199 MHz against 2133.
///
/// The memory controller's word counts where it can be read. Else the firmware has to be Super, which the board says in
/// `compatible` ("...p3767-0005-super"), and the power mode as well: nvpmodel's cap, or without one its modes 25W and
/// MAXN_SUPER. The mode alone proves nothing: Super's nvpmodel.conf is found on firmware that stays at the lower clocks.
pub(crate) fn super_mode(root: &Root) -> bool {
    const ABOVE_PLAIN_MHZ: f64 = 2500.0;
    if memory_controller(root).limit.is_some() {
        return memory_clock(root).limit.is_some_and(|mhz| mhz > ABOVE_PLAIN_MHZ);
    }
    let of_mode = || matches!(power_mode(root), Some((_, Some(name))) if name.contains("SUPER") || name == "25W");
    compatible(root).iter().any(|board| board.contains("-super"))
        && memory_cap(root).map_or_else(of_mode, |mhz| mhz > ABOVE_PLAIN_MHZ)
}

/// The highest of all policies' files of that name, in MHz. cpufreq counts in kHz.
fn cpu_mhz(root: &Root, file: &str) -> Option<f64> {
    root.entries("sys/devices/system/cpu/cpufreq", |name| name.starts_with("policy"))
        .iter()
        .filter_map(|policy| number(&policy.join(file)))
        .filter(|khz| (1..10_000_000).contains(khz))
        .max()
        .map(|khz| khz as f64 * 1e-3)
}

/// The fastest core. The clock that the driver measures is root's to read; what everybody reads is what was asked for.
pub(crate) fn cpu_clock(root: &Root) -> Clock {
    Clock {
        now: cpu_mhz(root, MEASURED).or_else(|| cpu_mhz(root, ASKED_FOR)),
        limit: cpu_mhz(root, "scaling_max_freq"),
    }
}

const MEASURED: &str = "cpuinfo_cur_freq";
const ASKED_FOR: &str = "scaling_cur_freq";

/// Whether the measured clock of the fastest core is far below what was asked for, so that hardware holds it. `None`
/// without the measured clock. What was asked for is read on both sides of the measurement, as the governor may be about
/// to change it.
pub(crate) fn cpu_held_below_request(root: &Root) -> Option<bool> {
    let before = cpu_mhz(root, ASKED_FOR)?;
    let measured = cpu_mhz(root, MEASURED)?;
    let after = cpu_mhz(root, ASKED_FOR)?;
    Some(measured < 0.75 * before.min(after))
}

/// Degrees Celsius.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Temperatures {
    pub gpu: Option<f64>,
    pub cpu: Option<f64>,
    pub hottest: Option<f64>,
}

/// Zones are `GPU-therm` on JetPack 5 and `gpu-thermal` later; a PC's package is `x86_pkg_temp`. A zone whose part is
/// powered down cannot be read, or reads -256 degrees.
pub(crate) fn temperatures(root: &Root) -> Temperatures {
    let mut found = Temperatures::default();
    for zone in root.entries("sys/class/thermal", |name| name.starts_with("thermal_zone")) {
        let degrees = number(&zone.join("temp")).map(|milli| milli as f64 * 1e-3);
        let Some(degrees) = degrees.filter(|degrees| (-55.0..200.0).contains(degrees)) else {
            continue;
        };
        let name = text(&zone.join("type")).unwrap_or_default().to_lowercase();
        let higher = |known: Option<f64>| Some(known.map_or(degrees, |known: f64| known.max(degrees)));
        if name.starts_with("gpu") {
            found.gpu = higher(found.gpu);
        } else if name.starts_with("cpu") || name == "x86_pkg_temp" {
            found.cpu = higher(found.cpu);
        }
        found.hottest = higher(found.hottest);
    }
    found
}

/// Whether software slows a unit down for its temperature; `None` where there are no alerts to read.
pub(crate) fn thermal_throttle(root: &Root) -> Option<bool> {
    root.entries("sys/class/thermal", |name| name.starts_with("cooling_device"))
        .iter()
        .filter(|device| text(&device.join("type")).is_some_and(|kind| kind.ends_with("-throttle-alert")))
        .filter_map(|device| number(&device.join("cur_state")).filter(|state| (0..1000).contains(state)))
        .fold(None, |seen, state| Some(seen.unwrap_or(false) || state > 0))
}

/// Under-voltage and over-current events since boot.
pub(crate) fn over_current_events(root: &Root) -> Option<i64> {
    let is_count = |name: &str| name.starts_with("oc") && name.ends_with("_event_cnt");
    root.entries("sys/class/hwmon", |name| name.starts_with("hwmon"))
        .iter()
        .flat_map(|monitor| entries(monitor, is_count))
        .filter_map(|path| number(&path).filter(|count| (0..=u32::MAX.into()).contains(count)))
        .fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
}

/// nvpmodel's mode: number, and its name where /etc/nvpmodel.conf has it.
pub(crate) fn power_mode(root: &Root) -> Option<(i32, Option<String>)> {
    let status = root.text("var/lib/nvpmodel/status")?;
    let mode = status.split_whitespace().find_map(|word| word.strip_prefix("pmode:"))?;
    let mode: i32 = mode.parse().ok().filter(|&mode| mode >= 0)?;
    let name = root.text("etc/nvpmodel.conf").and_then(|conf| {
        conf.lines()
            .filter_map(|line| line.trim().strip_prefix("< POWER_MODEL ")?.strip_suffix('>'))
            .find(|line| field(line, "ID=").is_some_and(|id| id.parse() == Ok(mode)))
            .and_then(|line| field(line, "NAME=").map(str::to_string))
    });
    Some((mode, name))
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name))
}

/// `36.4.3` of `# R36 (release), REVISION: 4.3, GCID: ...`.
pub(crate) fn l4t(root: &Root) -> Option<String> {
    let release = root.text("etc/nv_tegra_release")?;
    let mut parts = release.lines().next()?.split(',');
    let major: u32 = parts
        .next()?
        .strip_prefix("# R")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let revision = parts.next()?.trim().strip_prefix("REVISION: ")?;
    let digits = |part: &str| !part.is_empty() && part.len() < 4 && part.bytes().all(|b| b.is_ascii_digit());
    (revision.split('.').count() <= 3 && revision.split('.').all(digits)).then(|| format!("{major}.{revision}"))
}

/// JetPack of an L4T release, by NVIDIA's JetPack archive.
pub(crate) fn jetpack(l4t: &str) -> Option<&'static str> {
    const RELEASES: &[(&str, &str)] = &[
        ("34.1.0", "5.0 DP"),
        ("34.1.1", "5.0.1 DP"),
        ("35.1.0", "5.0.2"),
        ("35.2.1", "5.1"),
        ("35.3.1", "5.1.1"),
        ("35.4.1", "5.1.2"),
        ("35.5.0", "5.1.3"),
        ("35.6.0", "5.1.4"),
        ("35.6.1", "5.1.5"),
        ("35.6.2", "5.1.5"),
        ("35.6.3", "5.1.5"),
        ("35.6.4", "5.1.6"),
        ("35.6.5", "5.1.7"),
        ("36.2.0", "6.0 DP"),
        ("36.3.0", "6.0"),
        ("36.4.0", "6.1"),
        ("36.4.2", "6.1 (rev. 1)"),
        ("36.4.3", "6.2"),
        ("36.4.4", "6.2.1"),
        ("36.4.7", "6.2.1"),
        ("36.5.0", "6.2.2"),
        ("36.5.2", "6.2.3"),
        ("38.2.0", "7.0"),
        ("38.2.1", "7.0"),
        ("38.2.2", "7.0"),
        ("38.4.0", "7.1"),
        ("39.0.0", "7.2 EA"),
        ("39.2.0", "7.2"),
        ("39.2.1", "7.2.1"),
        ("39.2.2", "7.2.2"),
    ];
    // `36.3` and `36.3.0` are the same release.
    let padded = if l4t.split('.').count() == 2 {
        format!("{l4t}.0")
    } else {
        l4t.to_string()
    };
    RELEASES
        .iter()
        .find(|(release, _)| *release == padded)
        .map(|(_, jetpack)| *jetpack)
}

/// The board as its device tree calls it.
pub(crate) fn model(root: &Root) -> Option<String> {
    root.text("proc/device-tree/model")
}

/// The names of the board in the device tree, most particular first: `nvidia,p3768-0000+p3767-0005-super`,
/// `nvidia,p3767-0005`, `nvidia,tegra234`.
fn compatible(root: &Root) -> Vec<String> {
    let names = root.text("proc/device-tree/compatible").unwrap_or_default();
    names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect()
}

/// Whether the module has this part number, `p3767-0005` for example. A developer kit that plays another module
/// ("...p3701-0000-as-p3767-0003") has that module's clocks and memory, so it counts as that one.
pub(crate) fn has_part(root: &Root, part: &str) -> bool {
    let names = compatible(root);
    let played: Vec<&str> = names
        .iter()
        .filter_map(|name| Some(name.rsplit_once("-as-")?.1))
        .collect();
    match played.is_empty() {
        true => names.iter().any(|name| name.contains(part)),
        false => played.iter().any(|name| name.contains(part)),
    }
}

/// Version of the kernel's GPU driver, where it is a module that tells.
pub(crate) fn driver(root: &Root) -> Option<String> {
    let version = root.text("sys/module/nvidia/version")?;
    let digits = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (digits && version.contains('.') && version.len() < 32).then_some(version)
}
