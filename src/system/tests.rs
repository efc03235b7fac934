//! The Jetson readers on recorded trees, whole and damaged: see tests/system/trees/README.md.

use super::device_info::DeviceLimits;
use super::profile::*;
use super::root::Root;
use super::telemetry::*;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

const TREES: [&str; 4] = ["orin-nano-jp5", "orin-nano-jp6", "agx-orin-jp6", "thor-jp7"];

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/system/trees")
        .join(name)
}

fn read(name: &str) -> reflex_telemetry {
    Probe::at(Root::at(tree(name))).read()
}

fn text(field: &[c_char]) -> &str {
    unsafe { CStr::from_ptr(field.as_ptr()) }.to_str().expect("UTF-8")
}

#[track_caller]
fn near(value: f32, want: f64) {
    assert!(
        (f64::from(value) - want).abs() < 1e-4 * want.abs().max(1.0),
        "{value}, expected {want}"
    );
}

#[track_caller]
fn versions(t: &reflex_telemetry, want: [&str; 4]) {
    let have = [
        text(&t.power_mode_name),
        text(&t.l4t_version),
        text(&t.jetpack_version),
        text(&t.driver_version),
    ];
    assert_eq!(have, want);
}

#[test]
fn orin_nano_on_jetpack_5() {
    let t = read("orin-nano-jp5");
    near(t.power_w, 5.080 * 1.320);
    near(t.gpu_power_w, 5.072 * 0.480);
    assert_eq!((text(&t.power_rail), text(&t.gpu_rail)), ("VDD_IN", "VDD_CPU_GPU_CV"));
    near(t.gpu_clock_mhz, 306.0);
    near(t.gpu_clock_limit_mhz, 624.75);
    near(t.cpu_clock_mhz, 1190.4);
    near(t.cpu_clock_limit_mhz, 1510.4);
    near(t.memory_clock_mhz, 2133.0);
    near(t.memory_clock_limit_mhz, 2133.0);
    near(t.gpu_temperature_c, 46.718);
    near(t.cpu_temperature_c, 48.031);
    near(t.hottest_c, 48.187);
    near(t.gpu_utilization, 87.3);
    assert_eq!((t.throttle, t.over_current_events, t.power_mode), (0, 2, 0));
    assert_eq!(t.memory_total, 6474604 << 10);
    assert_eq!(t.memory_free, 4321988 << 10);
    assert_eq!(t.memory_used, (6474604 - 4321988) << 10);
    versions(&t, ["15W", "35.4.1", "5.1.2", ""]);
    assert!(t.power_limit_w.is_nan() && t.memory_temperature_c.is_nan() && t.energy_counter_j.is_nan());
}

#[test]
fn orin_nano_super_on_jetpack_6_without_root() {
    let t = read("orin-nano-jp6");
    near(t.power_w, 4.960 * 4.800);
    near(t.gpu_clock_mhz, 1020.0);
    assert!(t.memory_clock_mhz.is_nan(), "debugfs is root's");
    near(t.memory_clock_limit_mhz, 3199.0);
    near(t.gpu_temperature_c, 99.125);
    near(t.gpu_utilization, 100.0);
    assert_eq!(t.throttle, REFLEX_THROTTLE_THERMAL);
    assert_eq!((t.over_current_events, t.power_mode), (52, 2));
    versions(&t, ["MAXN_SUPER", "36.4.3", "6.2", "540.4.0"]);
}

#[test]
fn agx_orin_sums_its_rails() {
    let t = read("agx-orin-jp6");
    near(t.power_w, 19.952 * 1.2 + 19.952 * 0.2 + 5.016);
    near(t.gpu_power_w, 19.952 * 1.2);
    assert_eq!(text(&t.power_rail), "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0");
    assert_eq!(text(&t.gpu_rail), "VDD_GPU_SOC");
    near(t.memory_clock_mhz, 3199.0);
    near(t.memory_clock_limit_mhz, 3199.0);
    near(t.gpu_utilization, 99.5);
    assert_eq!((t.throttle, t.over_current_events), (0, 0));
    versions(&t, ["MAXN", "36.3.0", "6.0", "540.3.0"]);
}

#[test]
fn thor_with_its_gpu_powered_down() {
    let t = read("thor-jp7");
    near(t.power_w, 23.166);
    near(t.gpu_power_w, -0.040 * 9.808);
    assert_eq!((text(&t.power_rail), text(&t.gpu_rail)), ("VIN", "VDD_GPU"));
    assert_eq!(t.gpu_clock_mhz, 0.0);
    near(t.gpu_clock_limit_mhz, 1575.0);
    near(t.memory_clock_mhz, 665.6);
    near(t.memory_clock_limit_mhz, 4266.0);
    assert!(t.gpu_temperature_c.is_nan() && t.gpu_utilization.is_nan());
    near(t.hottest_c, 41.25);
    assert_eq!((t.throttle, t.over_current_events, t.power_mode), (0, 8, 1));
    versions(&t, ["120W", "38.2.0", "7.0", "580.00"]);
}

/// A copy of a tree that a test may damage; gone with its owner.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str) -> Copy {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let copy = Copy(std::env::temp_dir().join(format!("reflex-tree-{}-{number}", std::process::id())));
        let from = tree(name);
        for file in files(&from) {
            let to = copy.0.join(file.strip_prefix(&from).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&file, to).unwrap();
        }
        copy
    }

    fn read(&self) -> reflex_telemetry {
        Probe::at(Root::at(&self.0)).read()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}

type Damage = (&'static str, fn(&Path));

/// What can be wrong with a file. The tests may run as root, who reads everything: a folder in a file's place fails to
/// be read for root too.
fn damages() -> Vec<Damage> {
    fn write(path: &Path, bytes: &[u8]) {
        std::fs::write(path, bytes).unwrap();
    }
    vec![
        ("missing", |path| std::fs::remove_file(path).unwrap()),
        ("no permission", |path| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
            if std::fs::File::open(path).is_ok() {
                std::fs::remove_file(path).unwrap();
                std::fs::create_dir(path).unwrap();
            }
        }),
        ("empty", |path| write(path, b"")),
        ("words", |path| {
            write(path, b"# R (release), REVISION: x, pmode:y < POWER_MODEL ID= >\n")
        }),
        ("no UTF-8", |path| write(path, &[0xFF, 0xFE, 0x00, 0x80, b'1'])),
        ("too large a number", |path| {
            write(path, b"99999999999999999999999999\n")
        }),
        ("i64::MAX", |path| write(path, b"9223372036854775807\n")),
        ("i64::MIN", |path| write(path, b"-9223372036854775808\n")),
        ("a megabyte", |path| write(path, &vec![b'7'; 1 << 20])),
    ]
}

/// Every field with a number and whether it is known.
fn fields(t: &reflex_telemetry) -> Vec<(&'static str, Option<f64>)> {
    let float = |value: f32| (!value.is_nan()).then_some(f64::from(value));
    let int = |value: i64| (value != -1).then_some(value as f64);
    vec![
        ("power_w", float(t.power_w)),
        ("gpu_power_w", float(t.gpu_power_w)),
        ("gpu_clock_mhz", float(t.gpu_clock_mhz)),
        ("gpu_clock_limit_mhz", float(t.gpu_clock_limit_mhz)),
        ("cpu_clock_mhz", float(t.cpu_clock_mhz)),
        ("cpu_clock_limit_mhz", float(t.cpu_clock_limit_mhz)),
        ("memory_clock_mhz", float(t.memory_clock_mhz)),
        ("memory_clock_limit_mhz", float(t.memory_clock_limit_mhz)),
        ("gpu_temperature_c", float(t.gpu_temperature_c)),
        ("cpu_temperature_c", float(t.cpu_temperature_c)),
        ("hottest_c", float(t.hottest_c)),
        ("gpu_utilization", float(t.gpu_utilization)),
        (
            "throttle",
            (t.throttle != REFLEX_THROTTLE_UNKNOWN).then_some(f64::from(t.throttle)),
        ),
        ("power_mode", int(t.power_mode.into())),
        ("memory_total", int(t.memory_total)),
        ("memory_used", int(t.memory_used)),
        ("memory_free", int(t.memory_free)),
    ]
}

fn texts(t: &reflex_telemetry) -> [&str; 6] {
    [
        text(&t.power_rail),
        text(&t.gpu_rail),
        text(&t.power_mode_name),
        text(&t.l4t_version),
        text(&t.jetpack_version),
        text(&t.driver_version),
    ]
}

#[test]
fn a_machine_that_tells_nothing_is_unknown() {
    let nothing = Probe::nothing().read();
    assert!(fields(&nothing).iter().all(|(_, value)| value.is_none()), "{nothing:?}");
    assert_eq!(texts(&nothing), [""; 6]);
    assert_eq!((nothing.over_current_events, nothing.cuda_driver), (-1, -1));
    assert!(nothing.memory_utilization.is_nan() && nothing.power_limit_w.is_nan());
}

/// All files at once: everything is unknown.
#[test]
fn damaged_trees_are_unknown() {
    for name in TREES {
        for (what, damage) in damages() {
            let copy = Copy::of(name);
            files(&copy.0).iter().for_each(|file| damage(file));
            let t = copy.read();
            for (field, value) in fields(&t) {
                assert!(value.is_none(), "{name}, {what}: {field} is {value:?}");
            }
            assert_eq!(texts(&t), [""; 6], "{name}, {what}");
        }
    }
}

/// One file at a time: what does not come from it stays, and what does is unknown or, where several files have a say
/// (the hottest zone, the fastest core, Thor's two ways to measure), comes from the others.
#[test]
fn one_damaged_file_spoils_only_its_own_fields() {
    for name in TREES {
        let copy = Copy::of(name);
        let whole = copy.read();
        for file in files(&copy.0) {
            let bytes = std::fs::read(&file).unwrap();
            // Every other kind keeps the test short; all kinds are tried above.
            for (what, damage) in damages().into_iter().step_by(2) {
                damage(&file);
                let t = copy.read();
                let changed = fields(&t)
                    .iter()
                    .zip(fields(&whole))
                    .filter(|(now, then)| now.1 != then.1)
                    .count();
                assert!(changed <= 4, "{name}, {}, {what}: {t:?}", file.display());
                for ((field, now), (_, then)) in fields(&t).into_iter().zip(fields(&whole)) {
                    let (Some(now), Some(then)) = (now, then) else { continue };
                    let other_source = ["hottest_c", "cpu_clock_mhz", "power_w", "gpu_power_w", "throttle"];
                    assert!(
                        now == then || (other_source.contains(&field) && now.abs() <= then.abs()),
                        "{name}, {}, {what}: {field} is {now}, was {then}",
                        file.display()
                    );
                }
                if file.is_dir() {
                    std::fs::remove_dir(&file).unwrap();
                }
                let _ = std::fs::remove_file(&file);
                std::fs::write(&file, &bytes).unwrap();
            }
        }
    }
}

fn profile(name: &str, sm: u32, sm_count: u32) -> reflex_hardware_profile {
    let root = Root::at(tree(name));
    let limits = DeviceLimits {
        sm,
        sm_count,
        integrated: true,
        ..DeviceLimits::default()
    };
    let memory = root.memory().map_or(0, |(_, total)| total);
    profile_of(&root, "GPU", &limits, memory)
}

#[test]
fn boards_are_told_apart() {
    let nano = profile("orin-nano-jp5", 87, 8);
    assert_eq!(nano.device_class, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB);
    assert_eq!(text(&nano.name), "NVIDIA Orin Nano Developer Kit");
    assert_eq!((nano.memory_bandwidth, nano.memory_bandwidth_super), (68e9, 102e9));
    assert_eq!(
        (nano.sm, nano.sm_count, nano.integrated, nano.memory_bus_bits),
        (87, 8, 1, 128)
    );
    assert_eq!(nano.memory_bytes, 6474604 << 10);
    let nano = profile("orin-nano-jp6", 87, 8);
    assert_eq!(nano.device_class, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB);
    assert_eq!(nano.memory_bandwidth, 102e9, "Super mode");
    let agx = profile("agx-orin-jp6", 87, 16);
    assert_eq!(agx.device_class, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB);
    assert_eq!(agx.memory_bandwidth, 204.8e9);
    for sm in [101, 110] {
        let thor = profile("thor-jp7", sm, 20);
        assert_eq!(thor.device_class, REFLEX_DEVICE_CLASS_THOR_T5000);
        assert_eq!(thor.memory_bandwidth, 273e9);
    }
}

/// Without part numbers: by model and memory. Without either: unknown, and no bandwidth.
#[test]
fn boards_without_part_numbers() {
    let classify = |model: &str, sm_count: u32, gib: u64| {
        let copy = Copy(std::env::temp_dir().join(format!(
            "reflex-model-{}-{}",
            std::process::id(),
            model.len() * 100 + gib as usize
        )));
        std::fs::create_dir_all(copy.0.join("proc/device-tree")).unwrap();
        std::fs::write(copy.0.join("proc/device-tree/model"), format!("{model}\0")).unwrap();
        let limits = DeviceLimits {
            sm: 87,
            sm_count,
            integrated: true,
            ..DeviceLimits::default()
        };
        profile_of(&Root::at(&copy.0), "Orin", &limits, (gib << 30) - (600 << 20))
    };
    for (model, sm_count, gib, class) in [
        (
            "NVIDIA Jetson Orin Nano Developer Kit",
            4,
            4,
            REFLEX_DEVICE_CLASS_ORIN_NANO_4GB,
        ),
        (
            "NVIDIA Jetson Orin Nano Developer Kit",
            8,
            8,
            REFLEX_DEVICE_CLASS_ORIN_NANO_8GB,
        ),
        ("NVIDIA Jetson Orin NX Module", 8, 8, REFLEX_DEVICE_CLASS_ORIN_NX_8GB),
        ("NVIDIA Jetson Orin NX Module", 8, 16, REFLEX_DEVICE_CLASS_ORIN_NX_16GB),
        ("NVIDIA Jetson AGX Orin", 14, 32, REFLEX_DEVICE_CLASS_AGX_ORIN_32GB),
        ("NVIDIA Jetson AGX Orin", 16, 64, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("Somebody's carrier board", 16, 64, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("A box", 8, 8, REFLEX_DEVICE_CLASS_UNKNOWN),
    ] {
        let profile = classify(model, sm_count, gib);
        assert_eq!(profile.device_class, class, "{model}, {sm_count} SMs, {gib} GB");
        assert_eq!(profile.memory_bandwidth > 0.0, class != REFLEX_DEVICE_CLASS_UNKNOWN);
    }
}

#[test]
fn discrete_gpus_by_name_clock_and_bus() {
    let root = Root::at("/nonexistent");
    let h200 = DeviceLimits {
        sm: 90,
        sm_count: 132,
        memory_clock_khz: 3_201_000,
        memory_bus_bits: 6144,
        ..DeviceLimits::default()
    };
    let profile = profile_of(&root, "NVIDIA H200", &h200, 141 << 30);
    assert_eq!(profile.device_class, REFLEX_DEVICE_CLASS_DATA_CENTER);
    assert!(
        (profile.memory_bandwidth - 4.916_736e12).abs() < 1e6,
        "{}",
        profile.memory_bandwidth
    );
    let rtx = DeviceLimits {
        sm: 89,
        memory_clock_khz: 10_501_000,
        memory_bus_bits: 384,
        ..h200
    };
    let profile = profile_of(&root, "NVIDIA GeForce RTX 4090", &rtx, 24 << 30);
    assert_eq!(profile.device_class, REFLEX_DEVICE_CLASS_RTX);
    assert!((profile.memory_bandwidth - 1.008_096e12).abs() < 1e6);
    assert_eq!(
        profile_of(&root, "NVIDIA L4", &rtx, 24 << 30).device_class,
        REFLEX_DEVICE_CLASS_DATA_CENTER
    );
    let spark = DeviceLimits {
        sm: 121,
        integrated: true,
        ..h200
    };
    let profile = profile_of(&root, "NVIDIA GB10", &spark, 119 << 30);
    assert_eq!(
        (profile.device_class, profile.memory_bandwidth),
        (REFLEX_DEVICE_CLASS_SPARK, 273e9)
    );
    assert_eq!(text(&profile.name), "NVIDIA GB10");
}

#[test]
fn texts_are_cut_at_characters() {
    let mut field = [1 as c_char; 8];
    set_text(&mut field, "1234567890");
    assert_eq!(text(&field), "1234567");
    set_text(&mut field, "12345äö");
    assert_eq!(text(&field), "12345ä");
    set_text(&mut field, "123456ä");
    assert_eq!(text(&field), "123456");
    set_text(&mut field, "");
    assert_eq!(text(&field), "");
}
