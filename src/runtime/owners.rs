//! Streams of `reflex_stream_create`, which may not be looked into, and the contexts that made them.

use super::cpu::CpuBackend;
use crate::abi::process::Guarded;
use crate::abi::reflex_stream;
use std::collections::BTreeMap;

static OWNERS: Guarded<BTreeMap<usize, u64>> = Guarded::new(BTreeMap::new());

pub(super) fn of(stream: reflex_stream) -> Option<u64> {
    OWNERS.with(|owners| owners.get(&(stream as usize)).copied())
}

pub(super) fn insert(stream: reflex_stream, context: u64) {
    OWNERS.with(|owners| owners.insert(stream as usize, context));
}

pub(super) fn remove(stream: reflex_stream) -> Option<u64> {
    OWNERS.with(|owners| owners.remove(&(stream as usize)))
}

/// The context is gone, and with it its streams.
pub(super) fn forget_context(id: u64) {
    let mut streams = Vec::new();
    OWNERS.with(|owners| {
        owners.retain(|&stream, &mut owner| {
            if owner == id {
                streams.push(stream);
            }
            owner != id
        });
    });
    streams.into_iter().for_each(CpuBackend::drop_capture);
}
