//! Candidates that are asked for by name, in tests and benches: `REFLEX_IMPL=norm:block,matmul:int8_columns`.

use crate::abi::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// Op and candidate of each entry, and how often one was chosen.
#[derive(Debug, Default)]
pub(crate) struct Forced(Vec<(String, String)>, AtomicU64);

impl Forced {
    /// What the environment asks for.
    pub fn from_environment() -> Result<Forced> {
        match std::env::var("REFLEX_IMPL") {
            Ok(text) => Forced::parse(&text),
            Err(_) => Ok(Forced::default()),
        }
    }

    pub fn parse(text: &str) -> Result<Forced> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let parsed = entries.map(|entry| match entry.split_once(':') {
            Some((op, candidate)) if !op.is_empty() && !candidate.is_empty() => {
                Ok((op.to_string(), candidate.to_string()))
            }
            _ => Err(Error::invalid(format!(
                "REFLEX_IMPL is {text:?}, expected op:candidate, several with commas between them"
            ))),
        });
        parsed
            .collect::<Result<_>>()
            .map(|entries| Forced(entries, AtomicU64::new(0)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn candidate(&self, op: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == op);
        found.map(|(_, candidate)| candidate.as_str())
    }

    /// Called when a call gets what was asked for.
    pub fn count(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counted(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    /// The ops that are named.
    pub fn ops(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(op, _)| op.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_ops_and_candidates() {
        let forced = Forced::parse("norm:block, matmul:int8_columns,").unwrap();
        assert_eq!(forced.candidate("norm"), Some("block"));
        assert_eq!(forced.candidate("matmul"), Some("int8_columns"));
        assert_eq!(forced.candidate("add"), None);
        assert!(Forced::parse("").unwrap().is_empty());
        for bad in ["norm", "norm:", ":block", "norm:block,add"] {
            let error = Forced::parse(bad).unwrap_err();
            assert!(error.message.contains("expected op:candidate"), "{}", error.message);
        }
    }
}
