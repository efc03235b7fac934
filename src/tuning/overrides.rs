//! Numbers that are asked for by name, in benches: `REFLEX_TUNING=matmul.warps=4,matmul.in_clusters.1=900`.

use super::{PARAMETERS, Parameter, Tuning};
use crate::abi::{Error, Result};

/// Entry, place in it and number.
#[derive(Default)]
pub(crate) struct Overrides(Vec<(&'static Parameter, usize, i64)>);

impl Overrides {
    /// What the environment asks for.
    pub fn from_environment() -> Result<Overrides> {
        match std::env::var("REFLEX_TUNING") {
            Ok(text) => Overrides::parse(&text),
            Err(_) => Ok(Overrides::default()),
        }
    }

    pub fn parse(text: &str) -> Result<Overrides> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let parsed = entries.map(|entry| match entry.split_once('=') {
            Some((name, value)) => parse_entry(name.trim(), value.trim()),
            None => Err(Error::invalid(format!(
                "REFLEX_TUNING is {text:?}, expected name=number, several with commas between them"
            ))),
        });
        parsed.collect::<Result<_>>().map(Overrides)
    }

    /// The table with these numbers in it.
    pub fn apply(&self, table: &Tuning) -> Tuning {
        let mut tuning = *table;
        for (parameter, place, value) in &self.0 {
            (parameter.numbers)(&mut tuning)[*place] = *value;
        }
        tuning
    }
}

fn parse_entry(name: &str, value: &str) -> Result<(&'static Parameter, usize, i64)> {
    let (parameter, place) = find(name)?;
    match value.parse() {
        Ok(number) if parameter.allows(number) => Ok((parameter, place, number)),
        _ => Err(Error::invalid(format!(
            "REFLEX_TUNING sets {name} to {value:?}, expected {}",
            parameter.allowed()
        ))),
    }
}

/// The entry, and the place in it where it has several numbers.
fn find(name: &str) -> Result<(&'static Parameter, usize)> {
    let count = |parameter: &Parameter| (parameter.numbers)(&mut Tuning::default()).len();
    if let Some(parameter) = PARAMETERS.iter().find(|p| p.name == name) {
        return match count(parameter) {
            1 => Ok((parameter, 0)),
            n => Err(Error::invalid(format!(
                "REFLEX_TUNING sets {name}, which has {n} numbers, expected {name}.0 to {name}.{}",
                n - 1
            ))),
        };
    }
    let numbered = name.rsplit_once('.').and_then(|(entry, place)| {
        let parameter = PARAMETERS.iter().find(|p| p.name == entry)?;
        let place = place.parse().ok()?;
        (count(parameter) > 1 && place < count(parameter)).then_some((parameter, place))
    });
    numbered.ok_or_else(|| {
        let names: Vec<&str> = PARAMETERS.iter().map(|p| p.name).collect();
        Error::invalid(format!(
            "REFLEX_TUNING sets {name}, expected one of {}",
            names.join(", ")
        ))
    })
}
