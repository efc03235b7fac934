//! Tests that need a GPU: run where there is one, reported as ignored where there is none.

use super::env::Env;
use super::parity::*;
use libtest_mimic::{Arguments, Trial};
use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
    names: HashSet<String>,
}

/// One context of each backend for the whole run: what an engine has, and what keeps modules loaded.
fn envs() -> Option<&'static (Env, Env)> {
    static ENVS: OnceLock<Option<(Env, Env)>> = OnceLock::new();
    ENVS.get_or_init(|| Env::cuda().map(|cuda| (Env::cpu(), cuda))).as_ref()
}

impl Suite {
    /// `case` against the CPU backend, twice, captured, and from two threads.
    pub fn parity(
        &mut self,
        name: impl Into<String>,
        tolerance: Tolerance,
        case: impl Fn(&Io) -> Launch + Send + Sync + 'static,
    ) {
        let case = Arc::new(case);
        self.test(name, move |_| {
            let (cpu, _) = envs().expect("a GPU");
            // A stream of its own: the runner starts tests in parallel.
            let cuda = Env::cuda().expect("a GPU");
            parity(cpu, &cuda, tolerance, &*case);
        });
    }

    /// Anything else that needs a GPU. A report names tests that failed, so a name is given once.
    pub fn test(&mut self, name: impl Into<String>, body: impl Fn(&Env) + Send + Sync + 'static) {
        let name = name.into();
        assert!(self.names.insert(name.clone()), "two tests are called {name}");
        let trial = Trial::test(name, move || {
            body(&envs().expect("a GPU").1);
            Ok(())
        });
        self.trials.push(trial.with_ignored_flag(envs().is_none()));
    }

    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.trials).exit_code()
    }
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
}
