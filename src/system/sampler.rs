//! A thread that reads telemetry each period, and what it makes of the readings: energy, means and extremes.

use super::reading::{REFLEX_THROTTLE_OVER_CURRENT, REFLEX_THROTTLE_UNKNOWN};
use super::telemetry::{Probe, Sample};
use crate::abi::handle::{self, Handle};
use crate::abi::process::{self, PerProcess};
use crate::abi::thread::Thread;
use crate::abi::{Error, Params, REFLEX_INTERNAL, Result, guard, out_pointer, out_struct, reflex_status};
use crate::runtime::reflex_context;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where the joules of a `reflex_energy` come from.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_energy_source(pub u32);

/// Nothing here measures power.
pub const REFLEX_ENERGY_SOURCE_NONE: reflex_energy_source = reflex_energy_source(0);
/// The joules are the integral of power samples (trapezoid rule).
pub const REFLEX_ENERGY_SOURCE_SAMPLES: reflex_energy_source = reflex_energy_source(1);
/// The joules are the difference of the GPU's own energy counter (NVML), which is updated some ten times a second.
pub const REFLEX_ENERGY_SOURCE_COUNTER: reflex_energy_source = reflex_energy_source(2);

/// What a sampler saw between start and stop. An unknown number is NaN, unknown reasons are `REFLEX_THROTTLE_UNKNOWN`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_energy {
    pub struct_size: u32,
    /// Where `joules` comes from: `REFLEX_ENERGY_SOURCE_*`.
    pub source: reflex_energy_source,
    /// Energy in joules of what `power_w` of `reflex_telemetry` measures.
    pub joules: f64,
    /// Energy in joules of the rail that `gpu_power_w` measures, from power samples.
    pub gpu_joules: f64,
    /// Seconds from the first reading to the last.
    pub seconds: f64,
    /// Mean power in watts: joules / seconds.
    pub mean_power_w: f64,
    /// Highest power sample in watts.
    pub max_power_w: f64,
    /// Number of readings with a known power.
    pub samples: u64,
    /// `REFLEX_THROTTLE_*` bits of all readings together.
    pub throttle: u32,
    /// Highest temperature of all readings in degrees Celsius.
    pub hottest_c: f32,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_energy {
    const MIN_SIZE: usize = 64;
}
const _: () = assert!(size_of::<reflex_energy>() == 64);

/// The integral of a power over time by the trapezoid rule. Readings without a value are bridged.
#[derive(Clone, Copy, Default)]
struct Integral {
    last: Option<(Instant, f64)>,
    joules: f64,
    seconds: f64,
    most: f64,
    count: u64,
}

impl Integral {
    fn add(&mut self, at: Instant, watts: Option<f64>) {
        let Some(watts) = watts else { return };
        if let Some((before, previous)) = self.last {
            let seconds = at.saturating_duration_since(before).as_secs_f64();
            self.joules += 0.5 * (previous + watts) * seconds;
            self.seconds += seconds;
        }
        self.most = if self.count == 0 { watts } else { self.most.max(watts) };
        self.count += 1;
        self.last = Some((at, watts));
    }

    /// Where the first or the last readings had no value, their time counts at the mean of the others.
    fn joules_over(&self, seconds: f64) -> Option<f64> {
        (self.count >= 2 && self.seconds > 0.0).then(|| self.joules / self.seconds * seconds)
    }
}

/// Everything between start and stop.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    first: (Instant, Sample),
    last: (Instant, Sample),
    power: Integral,
    gpu_power: Integral,
    throttle: Option<u32>,
    hottest: f64,
}

impl Meter {
    pub fn new(at: Instant, sample: Sample) -> Meter {
        let mut meter = Meter {
            first: (at, sample),
            last: (at, sample),
            power: Integral::default(),
            gpu_power: Integral::default(),
            throttle: None,
            hottest: f64::NAN,
        };
        meter.add(at, sample);
        meter
    }

    pub fn add(&mut self, at: Instant, sample: Sample) {
        if at < self.last.0 {
            // Two threads read at the same time; the later reading counts.
            return;
        }
        self.last = (at, sample);
        self.power.add(at, sample.power);
        self.gpu_power.add(at, sample.gpu_power);
        self.hottest = self.hottest.max(sample.hottest.unwrap_or(f64::NAN));
        if let Some(reasons) = sample.throttle {
            self.throttle = Some(self.throttle.unwrap_or(0) | reasons);
        }
    }

    pub fn energy(&self) -> reflex_energy {
        let seconds = self.last.0.duration_since(self.first.0).as_secs_f64();
        let grown = |field: fn(&Sample) -> Option<f64>| Some(field(&self.last.1)? - field(&self.first.1)?);
        let counted = grown(|sample| sample.energy_counter).filter(|&joules| joules > 0.0);
        let sampled = self.power.joules_over(seconds);
        let (source, joules) = match (counted, sampled) {
            (Some(joules), _) => (REFLEX_ENERGY_SOURCE_COUNTER, joules),
            (None, Some(joules)) => (REFLEX_ENERGY_SOURCE_SAMPLES, joules),
            (None, None) => (REFLEX_ENERGY_SOURCE_NONE, f64::NAN),
        };
        let events = grown(|sample| sample.over_current_events.map(|events| events as f64));
        let over_current = events.map(|events| if events > 0.0 { REFLEX_THROTTLE_OVER_CURRENT } else { 0 });
        reflex_energy {
            struct_size: 0,
            source,
            joules,
            gpu_joules: self.gpu_power.joules_over(seconds).unwrap_or(f64::NAN),
            seconds,
            mean_power_w: joules / seconds,
            max_power_w: if self.power.count > 0 {
                self.power.most
            } else {
                f64::NAN
            },
            samples: self.power.count,
            throttle: match (self.throttle, over_current) {
                // Events that did not grow say nothing of the hardware's answer to earlier ones.
                (None, None | Some(0)) => REFLEX_THROTTLE_UNKNOWN,
                (throttle, events) => throttle.unwrap_or(0) | events.unwrap_or(0),
            },
            hottest_c: self.hottest as f32,
        }
    }
}

#[derive(Default)]
struct State {
    meter: Option<Meter>,
    quit: bool,
}

struct Shared {
    probe: Arc<Probe>,
    period: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// A panic while the lock was held cannot have left a half-written state worth refusing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: asleep until a start, then one reading each period.
    fn run(&self) {
        let mut state = self.lock();
        while !state.quit {
            if state.meter.is_none() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout(state, self.period);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && !state.quit {
                // A reading takes milliseconds on Jetson: stop and destroy do not wait for it.
                drop(state);
                let sample = self.probe.sample();
                let at = Instant::now();
                state = self.lock();
                if let Some(meter) = &mut state.meter {
                    meter.add(at, sample);
                }
            }
        }
    }
}

/// Measures energy between two moments with a thread of its own. The type is opaque.
pub struct reflex_telemetry_sampler([u8; 0]);

impl Handle for reflex_telemetry_sampler {
    const KIND: handle::Kind = handle::SAMPLER;
    type Body = Sampler;
}

pub(crate) struct Sampler {
    probe: Arc<Probe>,
    period: Duration,
    made_in: u64,
    /// A child process starts a thread of its own, with no interval under way.
    reader: PerProcess<Reader>,
}

struct Reader {
    shared: Arc<Shared>,
    thread: Option<Thread>,
}

impl Reader {
    fn new(probe: Arc<Probe>, period: Duration) -> Result<Reader> {
        let shared = Arc::new(Shared {
            probe,
            period,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = shared.clone();
        let thread = Thread::spawn(c"reflex-sampler", move || {
            // The guard keeps a panic silent, as the library never prints.
            guard("reflex_telemetry_sampler_start", || {
                theirs.run();
                Ok(())
            });
        })
        .map_err(|e| Error::new(REFLEX_INTERNAL, format!("thread: {e}")))?;
        Ok(Reader {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.lock().quit = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

impl Sampler {
    pub(crate) fn new(probe: Probe, period: Duration) -> Result<Sampler> {
        let probe = Arc::new(probe);
        let reader = Reader::new(probe.clone(), period)?;
        Ok(Sampler {
            probe,
            period,
            made_in: process::number(),
            reader: PerProcess::new(reader),
        })
    }

    pub(crate) fn start(&self) -> Result<()> {
        let reader = || Reader::new(self.probe.clone(), self.period);
        let shared = &self.reader.get_or_try_make(reader)?.shared;
        let sample = self.probe.sample();
        let at = Instant::now();
        let mut state = shared.lock();
        if state.meter.is_some() {
            return Err(Error::invalid(
                "the sampler runs already, expected reflex_telemetry_sampler_stop first",
            ));
        }
        state.meter = Some(Meter::new(at, sample));
        drop(state);
        shared.changed.notify_all();
        Ok(())
    }

    pub(crate) fn stop(&self) -> Result<reflex_energy> {
        let idle = || Error::invalid("the sampler does not run, expected reflex_telemetry_sampler_start first");
        let shared = &self.reader.get().ok_or_else(idle)?.shared;
        let sample = self.probe.sample();
        let at = Instant::now();
        let mut meter = shared.lock().meter.take().ok_or_else(idle)?;
        meter.add(at, sample);
        shared.changed.notify_all();
        Ok(meter.energy())
    }

    /// NVML is no more to be asked in a child process than CUDA.
    fn get<'a>(sampler: *const reflex_telemetry_sampler) -> Result<&'a Sampler> {
        let sampler = handle::get("sampler", sampler)?;
        match sampler.probe.is_of_gpu() && sampler.made_in != process::number() {
            true => Err(Error::inherited("sampler")),
            false => Ok(sampler),
        }
    }
}

/// Makes a sampler for the context's device, with a thread that sleeps until `reflex_telemetry_sampler_start`.
///
/// `period_ms`, 1 to 60000, is the time between two readings; 20 to 100 suits: a reading of a Jetson's rails takes some
/// milliseconds, and NVML renews its power some ten times a second. `*out` is set only on success; end the sampler with
/// `reflex_telemetry_sampler_destroy`. It keeps no reference to the context.
///
/// After `fork` a sampler of the CPU backend works in the child too: no interval is under way there, and `start` makes
/// a new thread. A sampler of the CUDA backend gives `REFLEX_CUDA_ERROR` there. The child may destroy either.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_INTERNAL`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_telemetry_sampler_create(
    context: *const reflex_context,
    period_ms: u32,
    out: *mut *mut reflex_telemetry_sampler,
) -> reflex_status {
    guard("reflex_telemetry_sampler_create", || {
        out_pointer("out", out)?;
        let context = reflex_context::get(context)?;
        if !(1..=60_000).contains(&period_ms) {
            return Err(Error::invalid(format!("period_ms is {period_ms}, expected 1 to 60000")));
        }
        let sampler = Sampler::new(Probe::new(context), Duration::from_millis(period_ms.into()))?;
        // SAFETY: checked above.
        unsafe { out.write(handle::create(sampler)) };
        Ok(())
    })
}

/// Begins an interval: the sampler reads once now, then every period. Finish the work that is not to count before, with
/// `reflex_stream_synchronize` for example. Thread-safe; a sampler has one interval at a time.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, also when the sampler runs already. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_telemetry_sampler_start(sampler: *mut reflex_telemetry_sampler) -> reflex_status {
    guard("reflex_telemetry_sampler_start", || Sampler::get(sampler)?.start())
}

/// Ends the interval with a last reading and fills `*out`. Wait for the work that is to count before.
///
/// `joules` is the difference of the GPU's energy counter where it has one, else the sum of (p[i] + p[i+1]) / 2 *
/// (t[i+1] - t[i]) over the power samples; `source` says which. The counter is renewed some ten times a second: measure
/// for a second or more. Where nothing measures power, `joules` is NaN, and that is no error. The sampler may be
/// started again. Thread-safe.
///
/// The caller sets `out->struct_size`; no more than that is written.
/// Statuses: `REFLEX_INVALID_ARGUMENT`, also when the sampler does not run; `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`.
/// Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_telemetry_sampler_stop(
    sampler: *mut reflex_telemetry_sampler,
    out: *mut reflex_energy,
) -> reflex_status {
    guard("reflex_telemetry_sampler_stop", || {
        let out = out_struct("out", out)?;
        out.write(Sampler::get(sampler)?.stop()?);
        Ok(())
    })
}

/// Destroys a sampler, also one that runs, and ends its thread after a reading that is under way. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_telemetry_sampler_destroy(sampler: *mut reflex_telemetry_sampler) {
    guard("reflex_telemetry_sampler_destroy", || match sampler.is_null() {
        true => Ok(()),
        false => handle::take("sampler", sampler).map(drop),
    });
}

#[cfg(test)]
mod tests {
    use super::super::reading::REFLEX_THROTTLE_THERMAL;
    use super::*;
    use crate::runtime::root::Root;

    const NOTHING: Sample = Sample {
        power: None,
        gpu_power: None,
        energy_counter: None,
        throttle: None,
        hottest: None,
        over_current_events: None,
    };

    fn measure(samples: &[(u64, Sample)]) -> reflex_energy {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut meter = Meter::new(at(samples[0].0), samples[0].1);
        samples[1..].iter().for_each(|&(ms, sample)| meter.add(at(ms), sample));
        meter.energy()
    }

    fn watts(power: f64) -> Sample {
        Sample {
            power: Some(power),
            ..NOTHING
        }
    }

    #[test]
    fn joules_are_the_integral_of_power() {
        // 0 to 10 W in one second, then 10 W for two.
        let energy = measure(&[
            (0, watts(0.0)),
            (1000, watts(10.0)),
            (1500, watts(10.0)),
            (3000, watts(10.0)),
        ]);
        assert_eq!(energy.source, REFLEX_ENERGY_SOURCE_SAMPLES);
        assert!((energy.joules - 25.0).abs() < 1e-9, "{}", energy.joules);
        assert_eq!((energy.seconds, energy.max_power_w, energy.samples), (3.0, 10.0, 4));
        assert!((energy.mean_power_w - 25.0 / 3.0).abs() < 1e-9);
        assert!(energy.gpu_joules.is_nan() && energy.hottest_c.is_nan());
        assert_eq!(energy.throttle, REFLEX_THROTTLE_UNKNOWN);
    }

    #[test]
    fn readings_that_fail_are_bridged() {
        let energy = measure(&[(0, watts(4.0)), (1000, NOTHING), (2000, watts(8.0))]);
        assert!((energy.joules - 12.0).abs() < 1e-9);
        // The unknown last second counts at the mean of the others.
        let energy = measure(&[(0, watts(4.0)), (1000, watts(4.0)), (2000, NOTHING)]);
        assert!((energy.joules - 8.0).abs() < 1e-9);
        assert_eq!(energy.samples, 2);
        // A reading that comes late counts for nothing.
        let energy = measure(&[(0, watts(4.0)), (2000, watts(4.0)), (1000, watts(400.0))]);
        assert!((energy.joules - 8.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_known_is_unknown() {
        for samples in [
            &[(0, NOTHING), (1000, NOTHING)][..],
            &[(0, watts(5.0)), (1000, NOTHING)],
        ] {
            let energy = measure(samples);
            assert_eq!(energy.source, REFLEX_ENERGY_SOURCE_NONE);
            assert!(energy.joules.is_nan() && energy.mean_power_w.is_nan());
            assert_eq!(energy.seconds, 1.0);
        }
    }

    #[test]
    fn the_gpus_own_counter_goes_first() {
        let counted = |power: f64, joules: f64| Sample {
            energy_counter: Some(joules),
            ..watts(power)
        };
        let energy = measure(&[(0, counted(100.0, 5000.0)), (1000, counted(300.0, 5250.0))]);
        assert_eq!((energy.source, energy.joules), (REFLEX_ENERGY_SOURCE_COUNTER, 250.0));
        assert_eq!((energy.mean_power_w, energy.max_power_w), (250.0, 300.0));
        // A counter that was not renewed, or began anew with the driver, says nothing.
        for last in [5000.0, 3.0] {
            let energy = measure(&[(0, counted(100.0, 5000.0)), (1000, counted(300.0, last))]);
            assert_eq!((energy.source, energy.joules), (REFLEX_ENERGY_SOURCE_SAMPLES, 200.0));
        }
    }

    #[test]
    fn reasons_add_up_and_events_show() {
        let seen = |throttle: u32, events: i64, degrees: f64| Sample {
            throttle: Some(throttle),
            over_current_events: Some(events),
            hottest: Some(degrees),
            gpu_power: Some(3.0),
            ..NOTHING
        };
        let energy = measure(&[
            (0, seen(0, 7, 50.0)),
            (500, seen(REFLEX_THROTTLE_THERMAL, 7, 61.5)),
            (1000, seen(0, 9, 60.0)),
        ]);
        assert_eq!(energy.throttle, REFLEX_THROTTLE_THERMAL | REFLEX_THROTTLE_OVER_CURRENT);
        assert_eq!((energy.hottest_c, energy.gpu_joules), (61.5, 3.0));
        assert_eq!(measure(&[(0, seen(0, 0, 50.0)), (1000, seen(0, 0, 50.0))]).throttle, 0);
        // After events, that none came since does not mean that nothing throttles.
        let after = |events: i64| Sample {
            throttle: None,
            ..seen(0, events, 50.0)
        };
        let energy = measure(&[(0, after(7)), (1000, after(7))]);
        assert_eq!(energy.throttle, REFLEX_THROTTLE_UNKNOWN);
        let energy = measure(&[(0, seen(0, 0, 50.0)), (1000, after(1))]);
        assert_eq!(energy.throttle, REFLEX_THROTTLE_OVER_CURRENT);
        let energy = measure(&[(0, after(7)), (1000, after(8))]);
        assert_eq!(energy.throttle, REFLEX_THROTTLE_OVER_CURRENT);
    }

    #[test]
    fn a_sampler_measures_a_jetson_and_its_thread_ends() {
        let tree = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/system/trees/orin-nano-8gb-jp7.2.1-maxn-super"
        );
        let sampler = Sampler::new(Probe::at(Root::at(tree)), Duration::from_millis(5)).unwrap();
        let alive = Arc::downgrade(&sampler.reader.get().unwrap().shared);
        for _ in 0..2 {
            assert!(sampler.stop().is_err());
            sampler.start().unwrap();
            assert!(sampler.start().is_err());
            std::thread::sleep(Duration::from_millis(120));
            let energy = sampler.stop().unwrap();
            // Start, stop, and what the thread read between them.
            assert!(energy.samples >= 4, "{} samples", energy.samples);
            assert!(energy.seconds >= 0.12);
            assert!((energy.joules / energy.seconds - 4.952 * 1.744).abs() < 1e-6);
            assert!((energy.gpu_joules / energy.seconds - 4.952 * 0.400).abs() < 1e-6);
            assert_eq!(energy.throttle, REFLEX_THROTTLE_UNKNOWN, "no alerts to read");
        }
        // Also while it runs.
        sampler.start().unwrap();
        drop(sampler);
        assert!(alive.upgrade().is_none(), "the thread is still there");
    }
}
