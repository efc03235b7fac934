//! What each board's files say.

use super::*;
use crate::runtime::root;
use crate::system::jetson;

/// Name of the power mode, L4T, JetPack, driver.
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
fn orin_nano_super_without_root() {
    let t = read(ORIN_NANO_SUPER);
    near(t.power_w, 8.636);
    near(t.gpu_power_w, 4.952 * 0.4);
    assert_eq!((text(&t.power_rail), text(&t.gpu_rail)), ("VDD_IN", "VDD_CPU_GPU_CV"));
    near(t.gpu_clock_mhz, 1020.0);
    near(t.gpu_clock_limit_mhz, 1020.0);
    near(t.cpu_clock_mhz, 1728.0);
    near(t.cpu_clock_limit_mhz, 1728.0);
    assert!(t.memory_clock_mhz.is_nan(), "debugfs is root's");
    near(t.memory_clock_limit_mhz, 3199.0);
    near(t.gpu_temperature_c, 58.812);
    near(t.cpu_temperature_c, 58.312);
    near(t.hottest_c, 58.937);
    assert_eq!(t.gpu_utilization, 0.0);
    assert_eq!((t.over_current_events, t.power_mode), (-1, 2));
    assert_eq!(t.memory_total, 7727244 << 10);
    assert_eq!(t.memory_free, 5362572 << 10);
    assert_eq!(t.memory_used, (7727244 - 5362572) << 10);
    versions(&t, ["MAXN_SUPER", "39.2.1", "7.2.1", ""]);
    assert!(t.power_limit_w.is_nan() && t.memory_temperature_c.is_nan() && t.energy_counter_j.is_nan());
}

#[test]
fn agx_orin_sums_its_rails() {
    let t = read(AGX_ORIN);
    near(t.power_w, 18.844 * 0.128 + 18.900 * 0.085 + 5.007 * 0.940);
    near(t.gpu_power_w, 2.412);
    assert_eq!(text(&t.power_rail), "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0");
    assert_eq!(text(&t.gpu_rail), "VDD_GPU_SOC");
    assert_eq!((t.gpu_clock_mhz, t.gpu_utilization), (0.0, 0.0));
    near(t.gpu_clock_limit_mhz, 1300.5);
    assert!(t.gpu_temperature_c.is_nan(), "the GPU is gated");
    near(t.cpu_temperature_c, 52.562);
    near(t.hottest_c, 52.562);
    near(t.cpu_clock_mhz, 2201.6);
    assert!(t.memory_clock_limit_mhz.is_nan(), "a cap of 0 is none");
    assert_eq!(t.power_mode, 0);
    versions(&t, ["MAXN", "36.4.4", "6.2.1", ""]);
}

/// The memory's clock is in debugfs, for root.
#[test]
fn agx_orin_read_by_root() {
    let copy = Copy::of(AGX_ORIN);
    let emc = "sys/kernel/debug/bpmp/debug/clk/emc";
    copy.put(&format!("{emc}/rate"), "2133000000\n");
    copy.put(&format!("{emc}/max_rate"), "3199000000\n");
    let t = copy.read();
    near(t.memory_clock_mhz, 2133.0);
    near(t.memory_clock_limit_mhz, 3199.0);
    copy.put("sys/kernel/nvpmodel_clk_cap/emc", "2133000000\n");
    near(copy.read().memory_clock_limit_mhz, 2133.0);
}

#[test]
fn thor_idle() {
    let t = read(THOR_IDLE);
    near(t.power_w, 20.986);
    near(t.gpu_power_w, 19.864 * 0.020);
    assert_eq!((text(&t.power_rail), text(&t.gpu_rail)), ("VIN", "VDD_GPU"));
    near(t.gpu_clock_mhz, 315.0);
    near(t.gpu_clock_limit_mhz, 1575.0);
    near(t.gpu_temperature_c, 48.406);
    assert!(t.gpu_utilization.is_nan(), "no load file: NVML tells");
    // The module says "TempVersion", which is none.
    versions(&t, ["MAXN", "38.2.2", "7.0", ""]);
}

#[test]
fn thor_with_locked_clocks() {
    let t = read(THOR_LOCKED);
    near(t.gpu_clock_mhz, 1575.0);
    near(t.gpu_clock_limit_mhz, 1575.0);
    near(t.memory_clock_mhz, 4266.0);
    near(t.memory_clock_limit_mhz, 4266.0);
    versions(&t, ["MAXN", "39.2.0", "7.2", "595.78"]);
}

#[test]
fn jetpack_5_has_other_names() {
    let copy = Copy::of(ORIN_NANO_SUPER);
    copy.remove("sys/class/devfreq");
    copy.remove("sys/class/thermal");
    let gpu = "sys/class/devfreq/17000000.ga10b";
    copy.put(&format!("{gpu}/cur_freq"), "306000000\n");
    copy.put(&format!("{gpu}/max_freq"), "624750000\n");
    copy.put(&format!("{gpu}/device/load"), "774\n");
    copy.put("sys/class/devfreq/15340000.vic/cur_freq", "115200000\n");
    for (zone, name, milli) in [
        (0, "CPU-therm", "58312"),
        (1, "GPU-therm", "58812"),
        (2, "CV0-therm", "-256000"),
    ] {
        copy.put(&format!("sys/class/thermal/thermal_zone{zone}/type"), name);
        copy.put(&format!("sys/class/thermal/thermal_zone{zone}/temp"), milli);
    }
    copy.put("var/lib/nvpmodel/status", "pmode:0000 fmode:quiet\n");
    let t = copy.read();
    near(t.gpu_clock_mhz, 306.0);
    near(t.gpu_clock_limit_mhz, 624.75);
    near(t.gpu_utilization, 77.4);
    near(t.cpu_temperature_c, 58.312);
    near(t.gpu_temperature_c, 58.812);
    near(t.hottest_c, 58.812);
    assert_eq!((t.power_mode, text(&t.power_mode_name)), (0, "15W"));
}

/// Every release of NVIDIA's archive that the library knows, and none that it does not.
#[test]
fn jetpack_by_l4t() {
    for (l4t, jetpack) in [
        ("34.1.0", "5.0 DP"),
        ("34.1.1", "5.0.1 DP"),
        ("35.4.1", "5.1.2"),
        ("35.6.3", "5.1.5"),
        ("35.6.4", "5.1.6"),
        ("35.6.5", "5.1.7"),
        ("36.3.0", "6.0"),
        ("36.3", "6.0"),
        ("36.4.2", "6.1 (rev. 1)"),
        ("36.4.4", "6.2.1"),
        ("36.5.0", "6.2.2"),
        ("36.5.2", "6.2.3"),
        ("38.2.2", "7.0"),
        ("38.4.0", "7.1"),
        ("39.0.0", "7.2 EA"),
        ("39.2.0", "7.2"),
        ("39.2.1", "7.2.1"),
        ("39.2.2", "7.2.2"),
    ] {
        assert_eq!(jetson::jetpack(l4t), Some(jetpack), "{l4t}");
    }
    for l4t in ["39.2.9", "39.9.0", "99.0.0", "36.4.2.1", ""] {
        assert_eq!(jetson::jetpack(l4t), None, "{l4t}");
    }
    let t = read(T2000);
    versions(&t, ["", "39.2.1", "7.2.1", ""]);
}

/// What nvpmodel wrote last stands, though the clocks are those of another mode.
#[test]
fn the_power_mode_is_nvpmodels_last_word() {
    let copy = Copy::of(ORIN_NANO_SUPER);
    copy.put("var/lib/nvpmodel/status", "pmode:0001\n");
    let t = copy.read();
    assert_eq!((t.power_mode, text(&t.power_mode_name)), (1, "25W"));
    near(t.gpu_clock_limit_mhz, 1020.0);
}

#[test]
fn an_alert_is_thermal_throttling() {
    let copy = Copy::of(ORIN_NANO_SUPER);
    let alert = |number: u32, kind: &str, state: &str| {
        copy.put(&format!("sys/class/thermal/cooling_device{number}/type"), kind);
        copy.put(&format!("sys/class/thermal/cooling_device{number}/cur_state"), state);
    };
    assert_eq!(copy.read().throttle, REFLEX_THROTTLE_UNKNOWN, "no alerts to read");
    alert(0, "pwm-fan", "3\n");
    alert(1, "hot-surface-alert", "1\n");
    assert_eq!(
        copy.read().throttle,
        REFLEX_THROTTLE_UNKNOWN,
        "none of them an alert of a unit"
    );
    alert(2, "gpu-throttle-alert", "0\n");
    assert_eq!(copy.read().throttle, 0);
    alert(3, "soc2-throttle-alert", "1\n");
    assert_eq!(copy.read().throttle, REFLEX_THROTTLE_THERMAL);
}

/// Hardware holds the CPU at 649 MHz of 2601 after an over-current event, and no thermal alert is active.
#[test]
fn an_over_current_event_is_never_no_throttling() {
    let t = read(THOR_OVER_CURRENT);
    near(t.cpu_clock_mhz, 649.0);
    near(t.cpu_clock_limit_mhz, 2601.0);
    assert_eq!((t.throttle, t.over_current_events), (REFLEX_THROTTLE_HARDWARE, 1));
    let copy = Copy::of(THOR_OVER_CURRENT);
    let policies = [0, 2, 4, 6, 8, 10, 12];
    let measured = |policy: u32| format!("sys/devices/system/cpu/cpufreq/policy{policy}/cpuinfo_cur_freq");
    // A CPU that runs as asked, or nearly: the GPU may be held.
    policies
        .iter()
        .for_each(|&policy| copy.put(&measured(policy), "2590000\n"));
    let t = copy.read();
    near(t.cpu_clock_mhz, 2590.0);
    assert_eq!(t.throttle, REFLEX_THROTTLE_UNKNOWN);
    // One measured core tells more than what was asked of the others.
    policies[1..].iter().for_each(|&policy| copy.remove(&measured(policy)));
    copy.put(&measured(0), "242000\n");
    let t = copy.read();
    near(t.cpu_clock_mhz, 242.0);
    assert_eq!(t.throttle, REFLEX_THROTTLE_HARDWARE);
    copy.put("sys/class/thermal/cooling_device1/cur_state", "1\n");
    assert_eq!(copy.read().throttle, REFLEX_THROTTLE_HARDWARE | REFLEX_THROTTLE_THERMAL);
    copy.put("sys/class/thermal/cooling_device1/cur_state", "0\n");
    // Not root.
    copy.remove(&measured(0));
    let t = copy.read();
    near(t.cpu_clock_mhz, 2601.0);
    assert_eq!((t.throttle, t.over_current_events), (REFLEX_THROTTLE_UNKNOWN, 1));
    assert_eq!(Probe::at(copy.root()).sample().throttle, None);
    copy.put("sys/class/hwmon/hwmon6/oc3_event_cnt", "0\n");
    assert_eq!(copy.read().throttle, 0);
    assert_eq!(Probe::at(copy.root()).sample().throttle, Some(0));
    // Without an event a slow core is the governor's business.
    copy.put(&measured(0), "649000\n");
    assert_eq!(copy.read().throttle, 0);
}

/// Tegra's zones answer EAGAIN now and then, and a zone that is powered down always does.
#[test]
fn a_busy_sensor_is_read_again() {
    let tree = tree(ORIN_NANO_SUPER);
    let hottest = tree.join("sys/class/thermal/thermal_zone8/temp");
    let gpu = tree.join("sys/class/thermal/thermal_zone1/temp");
    root::busy::set(hottest.clone(), 1);
    root::busy::set(gpu.clone(), 1);
    let t = read(ORIN_NANO_SUPER);
    near(t.hottest_c, 58.937);
    near(t.gpu_temperature_c, 58.812);
    root::busy::set(hottest, 2);
    root::busy::set(gpu, 2);
    let t = read(ORIN_NANO_SUPER);
    near(t.hottest_c, 58.5);
    assert!(t.gpu_temperature_c.is_nan());
    // Rails as well.
    root::busy::set(
        tree.join("sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon4/curr1_input"),
        1,
    );
    near(read(ORIN_NANO_SUPER).power_w, 8.636);
}

/// An INA238 is called by hwmon's `label`; one without is not the board's input.
#[test]
fn monitors_of_a_carrier_board_are_not_vin() {
    let copy = Copy::of(THOR_IDLE);
    let chip = |address: &str| format!("sys/bus/i2c/drivers/ina238/{address}/hwmon/hwmon9");
    copy.put(&format!("{}/power1_input", chip("2-0041")), "5000000\n");
    near(copy.read().power_w, 20.986);
    copy.put(&format!("{}/label", chip("2-0041")), "12V_FAN\n");
    near(copy.read().power_w, 20.986);
    // Without VIN the module's rails count, and the fan's do not.
    copy.remove("sys/bus/i2c/drivers/ina238/2-0044");
    let t = copy.read();
    assert!(t.power_w.is_nan(), "{} of {}", t.power_w, text(&t.power_rail));
    let monitor = "sys/bus/i2c/drivers/ina3221/2-0040/hwmon/hwmon5";
    copy.put(&format!("{monitor}/in3_label"), "VIN_SYS_5V0\n");
    copy.put(&format!("{monitor}/in3_input"), "5000\n");
    copy.put(&format!("{monitor}/curr3_input"), "1300\n");
    let t = copy.read();
    near(t.power_w, 19.864 * 0.020 + 19.856 * 0.300 + 6.5);
    assert_eq!(text(&t.power_rail), "VDD_GPU+VDD_CPU_SOC_MSS+VIN_SYS_5V0");
}
