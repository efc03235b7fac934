//! Another board's limits on this device, for benches: `REFLEX_AS=orin-nano`. Calls are planned for the board's SMs, and a launch asks
//! for so much shared memory that no more of its blocks share an SM than on the board. Clocks, caches and bandwidth stay the device's.

use super::limits::DeviceLimits;
use crate::abi::{Error, Result};
use crate::tuning::Tuning;

/// A board and an SM of it.
#[derive(Debug)]
pub(crate) struct Board {
    pub name: &'static str,
    pub sm: u32,
    pub sm_count: u32,
    /// Bytes that an SM has, and the most that a block may ask for.
    shared: u32,
    shared_per_block: u32,
    threads: u32,
    blocks: u32,
}

/// CUDA C++ Programming Guide, technical specifications of compute capability 8.7.
const fn orin(name: &'static str, sm_count: u32) -> Board {
    Board {
        name,
        sm: 87,
        sm_count,
        shared: 164 << 10,
        shared_per_block: 163 << 10,
        threads: 1536,
        blocks: 16,
    }
}

static BOARDS: [Board; 3] = [orin("orin-nano", 8), orin("orin-nx", 8), orin("agx-orin", 16)];

/// Of an SM, from Turing on.
const REGISTERS: u32 = 1 << 16;
/// What the driver keeps of an SM's shared memory for each block, from SM 8.0 on.
const RESERVED: u32 = 1024;

/// A kernel on a board.
#[derive(Clone, Copy, Debug)]
pub(super) struct Emulated {
    pub board: &'static Board,
    /// Of a thread.
    pub registers: u32,
    /// Shared memory that the kernel declares.
    pub declared: u32,
}

impl Emulated {
    /// Blocks of so many threads that share an SM of the board, at most.
    fn resident(&self, threads: u32, dynamic: u32) -> u32 {
        let (board, warps) = (self.board, threads.div_ceil(32));
        // A warp's registers come 256 at a time.
        let by_registers = REGISTERS / ((self.registers * 32).next_multiple_of(256).max(256) * warps);
        let by_shared = board.shared / (self.declared + dynamic + RESERVED);
        let by_threads = board.threads / (warps * 32);
        by_registers.min(by_shared).min(by_threads).min(board.blocks).max(1)
    }

    /// Dynamic shared memory with which an SM of the device has room for as many blocks of so many threads as one of the board, at least
    /// `dynamic`.
    pub fn padded(&self, threads: u32, dynamic: u32, device: &DeviceLimits) -> u32 {
        let room = device.shared_per_block + RESERVED;
        let resident = self.resident(threads, dynamic);
        let least = (room / (resident + 1)).saturating_sub(RESERVED + self.declared) / 128 * 128 + 128;
        dynamic.max(least.min(device.shared_per_block - self.declared))
    }
}

impl Board {
    /// The board that the environment asks for.
    pub fn from_environment() -> Result<Option<&'static Board>> {
        match std::env::var("REFLEX_AS") {
            Ok(name) => Board::named(&name).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn named(name: &str) -> Result<&'static Board> {
        let names = || BOARDS.iter().map(|board| board.name).collect::<Vec<_>>().join(", ");
        let found = BOARDS.iter().find(|board| board.name == name);
        found.ok_or_else(|| Error::invalid(format!("REFLEX_AS is {name:?}, expected one of {}", names())))
    }

    /// What calls are planned for on the board.
    pub fn limits(&self, device: &DeviceLimits) -> DeviceLimits {
        DeviceLimits {
            sm: self.sm,
            sm_count: self.sm_count,
            shared_per_block: self.shared_per_block,
            wgmma: false,
            // Every board is a Jetson.
            tuning: *Tuning::of(self.sm, true),
            ..*device
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h200() -> DeviceLimits {
        DeviceLimits {
            sm: 90,
            sm_count: 132,
            wgmma: true,
            shared_per_block: 227 << 10,
            l2_bytes: 60 << 20,
            integrated: false,
            core_clock_khz: 0,
            memory_clock_khz: 0,
            memory_bus_bits: 0,
            tuning: Tuning::default(),
        }
    }

    /// Blocks that an SM of the H200 has room for by shared memory.
    fn room(declared: u32, dynamic: u32) -> u32 {
        (h200().shared_per_block + RESERVED) / (declared + dynamic + RESERVED)
    }

    #[test]
    fn as_many_blocks_share_an_sm_as_on_the_board() {
        let orin = Board::named("orin-nano").unwrap();
        for (threads, registers, declared, dynamic, resident) in [
            (128, 32, 0, 0, 12),
            (64, 32, 0, 0, 16),
            (256, 128, 0, 50 << 10, 2),
            (256, 40, 1024, 50 << 10, 3),
            (256, 80, 1024, 70 << 10, 2),
            (384, 128, 0, 160 << 10, 1),
            (512, 255, 0, 0, 1),
        ] {
            let kernel = Emulated {
                board: orin,
                registers,
                declared,
            };
            assert_eq!(kernel.resident(threads, dynamic), resident, "{kernel:?}");
            let padded = kernel.padded(threads, dynamic, &h200());
            assert!(padded >= dynamic, "{kernel:?}");
            assert!(padded + declared <= h200().shared_per_block, "{kernel:?}: {padded}");
            assert_eq!(room(declared, padded), resident, "{kernel:?}: {padded}");
        }
    }

    #[test]
    fn a_board_is_known_or_refused_by_name() {
        assert_eq!(Board::named("agx-orin").unwrap().limits(&h200()).sm_count, 16);
        let tuning = Board::named("orin-nano").unwrap().limits(&h200()).tuning;
        assert_eq!(tuning, *Tuning::of(87, true));
        let error = Board::named("orin").unwrap_err();
        assert!(
            error.message.contains("expected one of orin-nano, orin-nx, agx-orin"),
            "{}",
            error.message
        );
    }
}
