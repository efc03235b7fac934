//! Facts about the host from procfs.

use super::root::Root;
use crate::abi::{Error, REFLEX_INTERNAL, Result};

/// Available and total memory in bytes.
pub(crate) fn host_memory() -> Result<(u64, u64)> {
    Root::system().memory().ok_or_else(|| {
        Error::new(
            REFLEX_INTERNAL,
            "/proc/meminfo could not be read or has no MemAvailable and MemTotal",
        )
    })
}

/// The processor's name, `"CPU"` where the system does not tell.
pub(crate) fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Model"))
        .and_then(|line| line.split(':').nth(1))
        .map_or_else(|| "CPU".to_string(), |name| name.trim().to_string())
}
