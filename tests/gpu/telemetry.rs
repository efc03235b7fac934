//! Telemetry and profile of the GPU that is here.

use crate::support::*;
use reflex_infer::*;
use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::time::Duration;

fn sized<T>() -> T {
    let mut value: T = unsafe { std::mem::zeroed() };
    unsafe { (&raw mut value).cast::<u32>().write(size_of::<T>() as u32) };
    value
}

fn text(field: &[c_char]) -> String {
    unsafe { CStr::from_ptr(field.as_ptr()) }.to_string_lossy().into_owned()
}

pub fn tests(suite: &mut Suite) {
    suite.test("telemetry/profile", |env| {
        let info = env.device_info();
        let mut profile: reflex_hardware_profile = sized();
        ok(reflex_get_hardware_profile(env.context, &mut profile));
        assert_ne!(profile.device_class, REFLEX_DEVICE_CLASS_UNKNOWN);
        assert_eq!(
            (profile.sm, profile.sm_count, profile.integrated),
            (info.sm, info.sm_count, info.integrated)
        );
        assert_eq!(profile.memory_bytes, info.total_memory);
        // 20 GB/s is below Orin Nano, 20 TB/s above everything.
        assert!(
            (20e9..20e12).contains(&profile.memory_bandwidth),
            "{} B/s",
            profile.memory_bandwidth
        );
    });
    suite.test("telemetry/read", |env| {
        let mut t: reflex_telemetry = sized();
        ok(reflex_telemetry_read(env.context, &mut t));
        assert!(t.cuda_driver >= 12020, "{}", t.cuda_driver);
        assert!(
            t.power_w > 0.0 && t.power_w < 2000.0,
            "{} W by {}",
            t.power_w,
            text(&t.power_rail)
        );
        assert!(t.gpu_clock_mhz >= 0.0 && t.gpu_clock_mhz <= t.gpu_clock_limit_mhz * 1.01);
        assert!(t.hottest_c > 0.0 && t.hottest_c < 120.0, "{}", t.hottest_c);
        // After an over-current event a Jetson's files do not tell.
        assert!(t.throttle != REFLEX_THROTTLE_UNKNOWN || t.over_current_events > 0);
        assert!(t.memory_used > 0 && t.memory_free > 0);
        assert_eq!(t.memory_used + t.memory_free, t.memory_total);
        if env.device_info().integrated == 0 {
            assert!(!text(&t.driver_version).is_empty());
            assert!(t.memory_clock_mhz > 0.0 && t.gpu_temperature_c > 0.0);
            assert!((0.0..=100.0).contains(&t.gpu_utilization));
            assert!((0.0..=100.0).contains(&t.memory_utilization));
        } else {
            assert!(t.memory_utilization.is_nan(), "{}", t.memory_utilization);
        }
    });
    suite.test("telemetry/energy", |env| {
        let mut sampler = null_mut();
        ok(reflex_telemetry_sampler_create(env.context, 20, &mut sampler));
        ok(reflex_telemetry_sampler_start(sampler));
        std::thread::sleep(Duration::from_millis(1500));
        let mut energy: reflex_energy = sized();
        ok(reflex_telemetry_sampler_stop(sampler, &mut energy));
        reflex_telemetry_sampler_destroy(sampler);
        assert_ne!(energy.source, REFLEX_ENERGY_SOURCE_NONE);
        assert!(energy.seconds >= 1.5 && energy.samples >= 10, "{energy:?}");
        assert!(energy.mean_power_w > 0.0 && energy.mean_power_w < 2000.0, "{energy:?}");
        assert!((energy.joules / energy.seconds - energy.mean_power_w).abs() < 1e-9 * energy.mean_power_w);
    });
}
