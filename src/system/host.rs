//! Facts about the host from procfs.

use crate::abi::{Error, REFLEX_INTERNAL, Result};

/// Available and total memory in bytes.
pub(crate) fn host_memory() -> Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo")
        .map_err(|e| Error::new(REFLEX_INTERNAL, format!("/proc/meminfo: {e}")))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .map(|kib| kib * 1024)
    };
    match (field("MemAvailable:"), field("MemTotal:")) {
        (Some(available), Some(total)) => Ok((available, total)),
        _ => Err(Error::new(
            REFLEX_INTERNAL,
            "/proc/meminfo has no MemAvailable and MemTotal",
        )),
    }
}

/// The processor's name, `"CPU"` where the system does not tell.
pub(crate) fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Model"))
        .and_then(|line| line.split(':').nth(1))
        .map_or_else(|| "CPU".to_string(), |name| name.trim().to_string())
}
