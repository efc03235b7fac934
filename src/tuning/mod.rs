//! Tuning: the numbers that decide between candidates and tilings, a table for each class of devices.

mod data_center;
mod orin;
mod overrides;
mod parameter;
mod thor;

pub(crate) use overrides::Overrides;
use parameter::{Parameter, tuning};

tuning! {
    /// Products.
    matmul: Matmul, "--op matmul" {
        /// A device of more SMs than this is one of many SMs, where time is lost while a launch begins and ends.
        wide_many_sms: i64, 0..=4096 by 1, try [16, 32, 64], with "--compute int8 --layout packed,native --rows 1";
        /// Blocks of four panels for each SM from which a warp takes several panels of one row, on many SMs.
        wide_blocks_many_sms: i64, 1..=64 by 1, try [2, 3, 4, 6, 8], with "--compute int8 --layout packed,native --rows 1";
        /// The same on few SMs.
        wide_blocks_few_sms: i64, 1..=64 by 1, try [1, 2, 3, 4], with "--compute int8 --layout packed,native --rows 1";
        /// Blocks for each SM from which these have two warps instead of four where k is short: more blocks hide one another's ends.
        wide_short_blocks: i64, 1..=64 by 1, try [2, 3, 4, 6, 8], with "--compute int8 --layout packed,native --rows 1";
        /// Tiles of 256 columns beyond which k is long. Eight warps with three tiles each hold 24.
        long_tiles: i64, 1..=4096 by 1, try [12, 16, 24, 32, 48], with "--compute int8 --layout packed,native --rows 1";
        /// Blocks for each SM up to which a block of one row has more than `warps` warps.
        lone_blocks: i64, 0..=16 by 1, try [1, 2], with "--compute int8 --layout packed --rows 1";
        /// Warps of such a block, at most.
        lone_warps: i64, 1..=12 by 1, try [8, 10, 12], with "--compute int8 --layout packed --rows 1";
        /// Warps of such a block of whole panels and a long k, at most.
        lone_long_warps: i64, 1..=16 by 1, try [8, 12, 14, 16], with "--compute int8 --layout packed --rows 1";
        /// Compute capability (major * 10 + minor) from which an SM has room for two blocks of `q4_k_pair_warps`.
        q4_k_pair_sm: i64, 75..=999 by 1, try [80, 87, 90], with "--compute int8 --layout packed --rows 1 --dtype Q4_K";
        /// Blocks for each SM up to which Q4_K alone with a long k has `q4_k_pair_warps` warps.
        q4_k_pair_blocks: i64, 0..=16 by 1, try [1, 2, 3], with "--compute int8 --layout packed --rows 1 --dtype Q4_K";
        /// Warps of such a block, at most.
        q4_k_pair_warps: i64, 1..=12 by 1, try [8, 10, 12], with "--compute int8 --layout packed --rows 1 --dtype Q4_K";
        /// Warps of every other block whose warps share k, at most.
        warps: i64, 1..=8 by 1, try [4, 6, 8], with "--compute int8 --layout packed,native --rows 1,8";
        /// Blocks for each SM beyond which a block of 2 to 16 rows has half of `warps`.
        few_half_blocks: i64, 0..=64 by 1, try [1, 2, 3], with "--compute int8 --layout packed --rows 2,8,16";
        /// Blocks for each SM beyond which it has a quarter of them.
        few_quarter_blocks: i64, 0..=64 by 1, try [2, 3, 4, 6], with "--compute int8 --layout packed --rows 2,8,16";
        /// Blocks for each SM from which a block whose warps convert x for themselves has half of `warps`.
        columns_half_blocks: i64, 0..=64 by 1, try [1, 2, 3], with "--compute int8 --layout native --rows 2,8,16,32,64";
        /// Rows up to which warps take two panels and their own x, however many outputs there are.
        few_rows: i64, 0..=16 by 1, try [4, 8, 12, 16], with "--compute int8 --layout packed --rows 8,12,16";
        /// Blocks for each SM up to which they do so for 16 rows.
        few_blocks: i64, 0..=64 by 1, try [1, 2, 3, 4], with "--compute int8 --layout packed --rows 12,16";
        /// SMs from which blocks may share k as a cluster: on fewer there are blocks enough, and a part of a device may have no room for one.
        cluster_sms: i64, 0..=4096 by 1, try [32, 64, 128], with "--compute int8 --layout packed --rows 16,32,64";
        /// Panels of a block whose warps share x, on fewer SMs than `cluster_sms`.
        shared_panels: i64, 4..=12 by 4, try [4, 8, 12], with "--compute int8 --layout packed --rows 17,32,64";
        /// Panels for each SM from which warps share x on a device of `cluster_sms` SMs whose blocks form no clusters.
        shared_least_panels: i64, 0..=256 by 1, try [4, 8, 16], with "--compute int8 --layout packed --rows 17,32,64";
        /// Blocks for each SM beyond which a launch forms no clusters.
        cluster_blocks: i64, 0..=64 by 1, try [2, 3, 4], with "--compute int8 --layout packed --rows 17,32,64";
        /// Of a thousand SMs those that clusters of 1 to 8 blocks can take: they do not span the parts that the SMs are grouped in.
        in_clusters: [i64; 8], 1..=1000 by 1, try [], with "";
        /// Of 16, 32 and 64 rows, in cycles of an SM: a panel's tile, where an SM has enough to do.
        shared_panel: [i64; 3], 0..=1000000 by 1, try [], with "";
        /// The same: eight columns of a tile of x.
        shared_x: [i64; 3], 0..=1000000 by 1, try [], with "";
        /// The same: a tile of a warp that is alone.
        shared_alone: [i64; 3], 0..=1000000 by 1, try [], with "";
        /// The same: a block's beginning and end.
        shared_block: [i64; 3], 0..=1000000 by 1, try [], with "";
        /// The same: what each share of a block's sums adds.
        shared_sums: [i64; 3], 0..=1000000 by 1, try [], with "";
        /// The same: what another block of its cluster adds.
        shared_joined: [i64; 3], 0..=1000000 by 1, try [], with "";
        /// Rows up to which products that are not in integers take the smaller tile.
        small_tile_rows: i64, 0..=4096 by 1, try [32, 64, 96, 128], with "--compute exact --layout native --rows 32,64,96,128";
    }
    /// Attention of many queries.
    attention: Attention, "--op attention" {
        /// Blocks of 128 query rows for each SM from which blocks have so many.
        large_blocks: i64, 0..=1024 by 1, try [1, 2, 3, 4, 8], with "--rows 128,512,1024,2048";
    }
    /// Attention of one query.
    attention_decode: AttentionDecode, "--op attention_decode" {
        /// SMs from which a cluster of blocks finds room, and splits are there to hide latency.
        cluster_sms: i64, 0..=4096 by 1, try [32, 64, 128], with "--context 1024,4096,16384";
        /// Keys of a block up to which a launch that combines costs more than a cluster.
        cluster_keys: i64, 0..=16777216 by 1, try [256, 512, 1024], with "--context 1024,4096,8192,16384";
        /// What a block needs to begin and to end, in 64ths of a step of its loop over the keys.
        ends: i64, 0..=65536 by 1, try [32, 64, 128], with "--context 1024,4096,16384";
        /// What a launch that combines the splits takes, in the same.
        launch: i64, 0..=65536 by 1, try [64, 128, 256], with "--context 1024,4096,16384";
        /// What each split adds to it, in the same.
        split: i64, 0..=65536 by 1, try [0, 1, 2, 4], with "--context 1024,4096,16384";
    }
    /// The greatest of a row.
    argmax: Argmax, "--op argmax" {
        /// Elements below which a row is one block's: a second launch would cost more than it saves.
        split_row: i64, 1..=2147483647 by 1, try [16384, 32768, 65536], with "--rows 1,4";
        /// Elements that pay for a block.
        split_elements: i64, 1..=16777216 by 1, try [2048, 4096, 8192], with "--rows 1,4";
        /// Blocks of all rows together, for each SM.
        blocks_per_sm: i64, 1..=32 by 1, try [1, 2, 4], with "--rows 1,4";
    }
    /// Rotation.
    rope: Rope, "--op rope" {
        /// Blocks of all tokens together, for each SM: one token is spread over many SMs.
        blocks_per_sm: i64, 1..=64 by 1, try [2, 4, 8, 16], with "--rows 1,8,64,512";
    }
    /// RMS norm.
    norm: Norm, "--op norm" {
        /// Elements up to which a row goes to a warp.
        warp_dim: i64, 0..=3056 by 1, try [256, 512, 1024], with "--rows 1,64,512";
    }
}

impl Tuning {
    /// The table for a device of this compute capability (major * 10 + minor).
    pub fn of(sm: u32, integrated: bool) -> &'static Tuning {
        match (sm, integrated) {
            (87, true) => &orin::ORIN,
            (110, _) => &thor::THOR,
            _ => &data_center::DATA_CENTER,
        }
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        data_center::DATA_CENTER
    }
}

/// The table with each number in turn at the ends of what it may be.
#[cfg(test)]
pub(crate) fn extremes(table: &Tuning) -> Vec<Tuning> {
    let mut all = Vec::new();
    for parameter in PARAMETERS {
        for end in [parameter.range.start(), parameter.range.end()] {
            for place in 0..(parameter.numbers)(&mut { *table }).len() {
                let mut tuning = *table;
                (parameter.numbers)(&mut tuning)[place] = *end;
                all.push(tuning);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
