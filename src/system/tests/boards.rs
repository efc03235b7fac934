//! Which board it is, and what its data sheet says.

use super::*;
use crate::cuda::DeviceLimits;
use crate::system::profile::*;

fn integrated(sm: u32, sm_count: u32) -> DeviceLimits {
    DeviceLimits {
        sm,
        sm_count,
        integrated: true,
        ..DeviceLimits::default()
    }
}

fn profile_at(root: &Root, limits: DeviceLimits) -> reflex_hardware_profile {
    let memory = root.memory().map_or(0, |(_, total)| total);
    profile_of(root, "GPU", &limits, memory)
}

fn profile(name: &str, sm: u32, sm_count: u32) -> reflex_hardware_profile {
    profile_at(&Root::at(tree(name)), integrated(sm, sm_count))
}

#[test]
fn boards_are_told_apart() {
    let nano = profile(ORIN_NANO_SUPER, 87, 8);
    assert_eq!(nano.device_class, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB);
    assert_eq!((nano.memory_bandwidth, nano.memory_bandwidth_super), (102e9, 102e9));
    assert_eq!(
        (nano.sm, nano.sm_count, nano.integrated, nano.memory_bus_bits),
        (87, 8, 1, 128)
    );
    assert_eq!(nano.memory_bytes, 7727244 << 10);
    let agx = profile(AGX_ORIN, 87, 16);
    assert_eq!(agx.device_class, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB);
    assert_eq!((agx.memory_bandwidth, agx.memory_bus_bits), (204.8e9, 256));
    for sm in [101, 110] {
        for name in [THOR_IDLE, THOR_OVER_CURRENT, THOR_LOCKED] {
            let thor = profile(name, sm, 20);
            assert_eq!(thor.device_class, REFLEX_DEVICE_CLASS_THOR_T5000);
            assert_eq!((thor.memory_bandwidth, thor.memory_bus_bits), (273e9, 256));
        }
    }
}

/// The longest name there is has 65 characters.
#[test]
fn names_are_whole() {
    let name = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super";
    assert_eq!(text(&profile(ORIN_NANO_SUPER, 87, 8).name), name);
    let name = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super";
    let copy = Copy::of(ORIN_NANO_SUPER);
    copy.put("proc/device-tree/model", &format!("{name}\0"));
    assert_eq!(text(&profile_at(&copy.root(), integrated(87, 8)).name), name);
}

/// Modes of nvpmodel are not clocks: where the firmware is not Super, the memory's true rate is not known to be.
#[test]
fn super_bandwidth_needs_super_firmware() {
    let bandwidth = |copy: &Copy| profile_at(&copy.root(), integrated(87, 8)).memory_bandwidth;
    let old = profile(ORIN_NANO_OLD_FIRMWARE, 87, 8);
    assert_eq!(old.device_class, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB);
    assert_eq!((old.memory_bandwidth, old.memory_bandwidth_super), (68e9, 102e9));
    let copy = Copy::of(ORIN_NANO_OLD_FIRMWARE);
    // By the mode's name where there is no cap.
    copy.remove("sys/kernel");
    for mode in ["0", "1", "2", "3"] {
        copy.put("var/lib/nvpmodel/status", &format!("pmode:000{mode}\n"));
        assert_eq!(bandwidth(&copy), 68e9, "mode {mode}");
    }
    // What root reads of the memory controller is no guess.
    let emc = "sys/kernel/debug/bpmp/debug/clk/emc/max_rate";
    copy.put(emc, "3199000000\n");
    assert_eq!(bandwidth(&copy), 102e9);

    let copy = Copy::of(ORIN_NANO_SUPER);
    copy.remove("sys/kernel");
    for (mode, want) in [("0", 68e9), ("1", 102e9), ("2", 102e9)] {
        copy.put("var/lib/nvpmodel/status", &format!("pmode:000{mode}\n"));
        assert_eq!(bandwidth(&copy), want, "mode {mode}");
    }
    copy.put("sys/kernel/nvpmodel_clk_cap/emc", "2133000000\n");
    assert_eq!(bandwidth(&copy), 68e9, "the cap goes before the mode");
    copy.put(emc, "3199000000\n");
    assert_eq!(bandwidth(&copy), 68e9, "the cap holds");
    copy.put("sys/kernel/nvpmodel_clk_cap/emc", "0\n");
    assert_eq!(bandwidth(&copy), 102e9);
    copy.put(emc, "2133000000\n");
    assert_eq!(bandwidth(&copy), 68e9);
}

/// A carrier board has a model text of its own, and a power mode may leave few SMs: the module's part number tells.
#[test]
fn modules_by_part_number() {
    for (compatible, gib, class) in [
        ("p3701-0000", 32, REFLEX_DEVICE_CLASS_AGX_ORIN_32GB),
        ("p3701-0000", 64, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("p3740-0002+p3701-0002", 64, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("p3701-0004", 32, REFLEX_DEVICE_CLASS_AGX_ORIN_32GB),
        ("p3737-0000+p3701-0005", 64, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("p3701-0008", 64, REFLEX_DEVICE_CLASS_AGX_ORIN_64GB),
        ("p3509-0000+p3767-0000", 16, REFLEX_DEVICE_CLASS_ORIN_NX_16GB),
        ("p3768-0000+p3767-0001-super", 8, REFLEX_DEVICE_CLASS_ORIN_NX_8GB),
        ("p3767-0002", 16, REFLEX_DEVICE_CLASS_ORIN_NX_16GB),
        ("p3767-0003", 8, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB),
        ("p3767-0004", 4, REFLEX_DEVICE_CLASS_ORIN_NANO_4GB),
        ("p3768-0000+p3767-0005-super", 8, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB),
        // A kit that plays another module.
        (
            "p3737-0000+p3701-0000-as-p3701-0004",
            32,
            REFLEX_DEVICE_CLASS_AGX_ORIN_32GB,
        ),
        (
            "p3737-0000+p3701-0000-as-p3767-0004",
            4,
            REFLEX_DEVICE_CLASS_ORIN_NANO_4GB,
        ),
        ("p3767-0000-as-p3767-0001", 8, REFLEX_DEVICE_CLASS_ORIN_NX_8GB),
        ("p3767-0000-as-p3767-0003", 8, REFLEX_DEVICE_CLASS_ORIN_NANO_8GB),
        // Nobody knows this one.
        ("p3767-0099", 8, REFLEX_DEVICE_CLASS_UNKNOWN),
    ] {
        let copy = Copy::empty();
        copy.put("proc/device-tree/model", "Somebody's carrier board\0");
        copy.put(
            "proc/device-tree/compatible",
            &format!("somebody,carrier\0nvidia,{compatible}\0nvidia,tegra234\0"),
        );
        for sm_count in [4, 6, 8] {
            let memory = (gib << 30) - (600 << 20);
            let profile = profile_of(&copy.root(), "Orin", &integrated(87, sm_count), memory);
            assert_eq!(profile.device_class, class, "{compatible}, {sm_count} SMs, {gib} GB");
            assert_eq!(profile.memory_bandwidth > 0.0, class != REFLEX_DEVICE_CLASS_UNKNOWN);
        }
    }
}

/// T3000 (32 GB, 12 SMs, 256 bits) and T2000 (16 GB, 8 SMs, 128 bits) are announced, their part numbers are not known.
#[test]
fn thor_modules() {
    for (part, gib, class) in [
        ("p3834-0008", 128, REFLEX_DEVICE_CLASS_THOR_T5000),
        ("p3834-0000", 64, REFLEX_DEVICE_CLASS_THOR_T4000),
        // A part of its memory may be kept from the system.
        ("p3834-0008", 60, REFLEX_DEVICE_CLASS_THOR_T5000),
        ("p3834-0099", 128, REFLEX_DEVICE_CLASS_THOR_T5000),
        ("p3834-0099", 64, REFLEX_DEVICE_CLASS_THOR_T4000),
        ("p3834-0099", 32, REFLEX_DEVICE_CLASS_UNKNOWN),
        ("p3834-0099", 16, REFLEX_DEVICE_CLASS_UNKNOWN),
    ] {
        let copy = Copy::empty();
        let compatible = format!("somebody,carrier\0nvidia,{part}\0nvidia,tegra264\0");
        copy.put("proc/device-tree/compatible", &compatible);
        let memory = (gib << 30) - (6 << 30);
        let profile = profile_of(&copy.root(), "NVIDIA Thor", &integrated(110, 12), memory);
        assert_eq!(profile.device_class, class, "{part}, {gib} GB");
        let bandwidth = if class == REFLEX_DEVICE_CLASS_UNKNOWN {
            0.0
        } else {
            273e9
        };
        assert_eq!(profile.memory_bandwidth, bandwidth, "{part}, {gib} GB");
    }
    for (bits, bandwidth) in [(0, 0.0), (128, 136.512e9), (256, 273.024e9)] {
        let limits = DeviceLimits {
            memory_bus_bits: bits,
            ..integrated(110, 8)
        };
        let thor = profile_at(&Root::at(tree(T2000)), limits);
        assert_eq!(thor.device_class, REFLEX_DEVICE_CLASS_UNKNOWN);
        assert_eq!(text(&thor.name), "NVIDIA Jetson T2000");
        assert_eq!(
            (thor.sm_count, thor.memory_bus_bits, thor.memory_bandwidth),
            (8, bits, bandwidth)
        );
    }
}

/// Without part numbers: by model and memory. Without either: unknown, and no bandwidth.
#[test]
fn boards_without_part_numbers() {
    let classify = |model: &str, sm_count: u32, gib: u64| {
        let copy = Copy::empty();
        copy.put("proc/device-tree/model", &format!("{model}\0"));
        profile_of(
            &copy.root(),
            "Orin",
            &integrated(87, sm_count),
            (gib << 30) - (600 << 20),
        )
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
