//! Files that are missing, unreadable or garbage.

use super::*;

fn trees() -> [&'static str; 7] {
    [
        AGX_ORIN,
        ORIN_NANO_SUPER,
        ORIN_NANO_OLD_FIRMWARE,
        THOR_IDLE,
        THOR_OVER_CURRENT,
        THOR_LOCKED,
        T2000,
    ]
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
    for name in trees() {
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
    for name in trees() {
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
