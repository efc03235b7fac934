//! Tests that need a GPU: run where there is one, reported as ignored where there is none.

use super::cases::{Descriptor, Tier, cases, problem, read_case};
use super::env::{Env, shared_cpu};
use super::parity::*;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Once, OnceLock};

/// What the caller of the program wants besides the options of libtest.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    /// Full without one.
    pub tier: Option<Tier>,
    /// Nothing but these problems, in a list or not.
    pub cases: Vec<String>,
    /// Print the kernel of each problem, and run none.
    pub kernels: bool,
    /// For libtest.
    rest: Vec<String>,
}

impl Wanted {
    /// `--tier smoke|full`, which the variable REFLEX_TIER gives as well; `--case 'norm rows=3 dim=77'`; `--kernels`.
    pub fn read(arguments: impl IntoIterator<Item = String>, tier: Option<String>) -> Result<Wanted, String> {
        let mut wanted = Wanted {
            tier: tier.map(|text| text.parse()).transpose()?,
            ..Default::default()
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--tier" => wanted.tier = Some(value()?.parse()?),
                "--case" => wanted.cases.push(value()?),
                "--kernels" => wanted.kernels = true,
                _ => wanted.rest.push(argument),
            }
        }
        Ok(wanted)
    }
}

#[derive(Default)]
pub struct Suite {
    wanted: Wanted,
    trials: Vec<Trial>,
    names: HashSet<String>,
    kernels: Vec<Descriptor>,
}

/// One context for the whole run: what an engine has, and what keeps kernels loaded. `None` where there is no usable GPU.
fn shared_cuda() -> Option<&'static Env> {
    static CUDA: OnceLock<Option<Env>> = OnceLock::new();
    CUDA.get_or_init(Env::cuda).as_ref()
}

/// A stream of it for one test: the runner starts tests in parallel.
fn cuda() -> Env {
    shared_cuda().expect("a GPU").beside()
}

/// What a test that panicked said.
pub fn message_of(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.unwrap_or_else(|panic| {
        panic
            .downcast::<&str>()
            .map_or("a panic".into(), |text| text.to_string())
    })
}

/// As `catch_unwind`, without the message and backtrace that the hook prints of a panic in this thread: among the lines of the test runner
/// they would break one in two.
pub fn catch_quietly<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    QUIET.set(false);
    outcome.map_err(message_of)
}

/// Whether a panic says that a candidate was asked for that is not for the problem.
pub fn is_declined(what: &str) -> bool {
    what.contains("REFLEX_IMPL asks for") && what.starts_with("REFLEX_UNSUPPORTED")
}

impl Suite {
    pub fn new(wanted: Wanted) -> Suite {
        Suite {
            wanted,
            ..Default::default()
        }
    }

    fn tier(&self) -> Tier {
        self.wanted.tier.unwrap_or(Tier::Full)
    }

    /// Every problem of an op against the CPU backend, twice, captured, and from two threads.
    pub fn cases(&mut self, op: &str) {
        for case in &cases(op).cases {
            if case.tier <= self.tier() && self.wanted.cases.is_empty() {
                self.case(case.clone());
            }
        }
    }

    fn case(&mut self, case: Descriptor) {
        if self.wanted.kernels {
            self.kernels.push(case);
            return;
        }
        let name = case.to_string();
        self.trial(name.clone(), move || {
            let run = || problem_parity(shared_cpu(), &cuda(), &*problem(&case));
            let Err(what) = catch_quietly(run) else {
                return Ok(Completion::Completed);
            };
            if is_declined(&what) {
                return Ok(Completion::ignored_with(what));
            }
            Err(Failed::from(format!(
                "{what}\nit alone: reflex-gpu-tests --case '{name}'"
            )))
        });
    }

    /// A case that no list can describe, against the CPU backend as those of the lists.
    pub fn parity(
        &mut self,
        name: impl Into<String>,
        tolerance: Tolerance,
        case: impl Fn(&Io) -> Launch + Send + Sync + 'static,
    ) {
        let case = Arc::new(case);
        self.test(name, move |cuda| parity(shared_cpu(), cuda, tolerance, &*case));
    }

    /// Anything else that needs a GPU, in the full tier. The stream is the test's own, the context is not.
    pub fn test(&mut self, name: impl Into<String>, body: impl Fn(&Env) + Send + Sync + 'static) {
        self.test_of(Tier::Full, name, body);
    }

    /// The same in both tiers.
    pub fn smoke_test(&mut self, name: impl Into<String>, body: impl Fn(&Env) + Send + Sync + 'static) {
        self.test_of(Tier::Smoke, name, body);
    }

    fn test_of(&mut self, tier: Tier, name: impl Into<String>, body: impl Fn(&Env) + Send + Sync + 'static) {
        if tier <= self.tier() && self.wanted.cases.is_empty() && !self.wanted.kernels {
            self.trial(name.into(), move || {
                body(&cuda());
                Ok(Completion::Completed)
            });
        }
    }

    /// A report names tests that failed, so a name is given once.
    fn trial(&mut self, name: String, body: impl Fn() -> Result<Completion, Failed> + Send + 'static) {
        assert!(self.names.insert(name.clone()), "two tests are called {name}");
        let trial = Trial::ignorable_test(name, body);
        self.trials.push(trial.with_ignored_flag(shared_cuda().is_none()));
    }

    pub fn run(mut self) -> ExitCode {
        for text in std::mem::take(&mut self.wanted.cases) {
            match read_case(&text) {
                Ok(cases) => cases.into_iter().for_each(|case| self.case(case)),
                Err(what) => return usage(&what),
            }
        }
        if self.wanted.kernels {
            return self.print_kernels();
        }
        let name = std::env::args().next();
        let arguments = Arguments::from_iter(name.into_iter().chain(self.wanted.rest));
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }

    /// Which kernel each problem gets here: to see what the tiers reach.
    fn print_kernels(self) -> ExitCode {
        let Some(cuda) = shared_cuda() else {
            return usage("--kernels needs a GPU");
        };
        for case in self.kernels {
            let problem = problem(&case);
            match problem.declined_by_cuda() {
                Some(words) => println!("none: not {words}\t{case}"),
                None => println!("{}\t{case}", (problem.call(&Io::without_memory(cuda)).kernel)(cuda)),
            }
        }
        ExitCode::SUCCESS
    }
}

/// A wrong option.
pub fn usage(what: &str) -> ExitCode {
    eprintln!("reflex-gpu-tests: {what}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let mut suite = Suite::default();
        suite.test("matmul::one", |_| {});
        suite.test(String::from("matmul::two"), |_| {});
        suite.parity("matmul::three", Tolerance::EXACT, |_| unreachable!());
        for name in ["matmul::one", "matmul::three"] {
            let twice = std::panic::catch_unwind(|| {
                let mut suite = Suite::default();
                suite.parity(name, Tolerance::EXACT, |_| unreachable!());
                suite.test(name, |_| {});
            });
            let message = *twice.unwrap_err().downcast::<String>().expect("a text");
            assert_eq!(message, format!("two tests are called {name}"));
        }
        assert_eq!(suite.trials.len(), 3);
    }

    fn read(arguments: &[&str], tier: Option<&str>) -> Result<Wanted, String> {
        let arguments = arguments.iter().map(|text| text.to_string());
        Wanted::read(arguments, tier.map(str::to_string))
    }

    #[test]
    fn a_tier_is_a_part_of_the_tests() {
        let count = |arguments: &[&str], tier| {
            let mut suite = Suite::new(read(arguments, tier).unwrap());
            suite.cases("norm");
            suite.test("one", |_| {});
            suite.smoke_test("two", |_| {});
            suite.trials.len()
        };
        let full = count(&[], None);
        assert_eq!(full, cases("norm").cases.len() + 2);
        assert_eq!(count(&["--tier", "full"], Some("smoke")), full);
        let smoke = count(&["--tier", "smoke"], None);
        assert_eq!(smoke, count(&[], Some("smoke")));
        assert!(1 < smoke && smoke < full / 3, "{smoke} of {full}");
        assert_eq!(count(&["--case", "norm rows=5"], None), 0, "before run()");
        for (arguments, what) in [
            (["--tier", "slow"], "tier slow: expected smoke or full"),
            (["x", "--case"], "--case needs a value"),
        ] {
            assert_eq!(read(&arguments, None), Err(what.to_string()));
        }
        assert_eq!(read(&["norm", "--exact"], None).unwrap().rest, ["norm", "--exact"]);
    }

    #[test]
    fn a_case_that_cannot_be_read_is_told() {
        let message = read_case("softmin rows=1").unwrap_err();
        assert!(
            message.starts_with("case `softmin rows=1`: expected one of activation, add"),
            "{message}"
        );
        assert_eq!(
            read_case("norm row=1").unwrap_err(),
            "case `norm row=1`: norm has no key row"
        );
        assert_eq!(
            read_case("norm rows=1|2 dim=9").unwrap()[1].to_string(),
            "norm rows=2 dim=9"
        );
    }
}
