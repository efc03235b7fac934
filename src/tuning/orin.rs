//! Tuning of Jetson Orin. Each number has its source behind it: a file, or what is known of where it comes from. What was not measured there
//! is inherited from data_center.rs, whose numbers are of an H200, and changes with it; `reflex-bench tune` puts measured ones in its place.

use super::{Argmax, Attention, AttentionDecode, Matmul, Norm, Rope, Tuning};

#[rustfmt::skip]
pub(super) static ORIN: Tuning = Tuning {
    matmul: Matmul {
        wide_many_sms: 32, // not measured there: the value of data_center
        wide_blocks_many_sms: 4, // not measured there: the value of data_center
        wide_blocks_few_sms: 2, // not measured there: the value of data_center
        wide_short_blocks: 4, // not measured there: the value of data_center
        long_tiles: 24, // not measured there: the value of data_center
        lone_blocks: 1, // not measured there: the value of data_center
        lone_warps: 12, // not measured there: the value of data_center
        lone_long_warps: 16, // not measured there: the value of data_center
        q4_k_pair_sm: 90, // not measured there: the value of data_center
        q4_k_pair_blocks: 2, // not measured there: the value of data_center
        q4_k_pair_warps: 12, // not measured there: the value of data_center
        warps: 8, // not measured there: the value of data_center
        few_half_blocks: 1, // not measured there: the value of data_center
        few_quarter_blocks: 4, // not measured there: the value of data_center
        columns_half_blocks: 2, // not measured there: the value of data_center
        few_rows: 8, // not measured there: the value of data_center
        few_blocks: 2, // not measured there: the value of data_center
        cluster_sms: 64, // not measured there: the value of data_center
        shared_panels: 8, // not measured there: the value of data_center
        shared_least_panels: 8, // not measured there: the value of data_center
        cluster_blocks: 3, // not measured there: the value of data_center
        in_clusters: [1000, 1000, 887, 910, 834, 773, 796, 910], // not measured there: the value of data_center
        shared_panel: [168, 196, 250], // not measured there: the value of data_center
        shared_x: [1, 1, 7], // not measured there: the value of data_center
        shared_alone: [1471, 1760, 1945], // not measured there: the value of data_center
        shared_block: [5265, 4951, 6304], // not measured there: the value of data_center
        shared_sums: [399, 497, 359], // not measured there: the value of data_center
        shared_joined: [173, 72, 342], // not measured there: the value of data_center
        small_tile_rows: 64, // not measured there: the value of data_center
    },
    attention: Attention {
        large_blocks: 3, // not measured there: the value of data_center
    },
    attention_decode: AttentionDecode {
        cluster_sms: 64, // not measured there: the value of data_center
        cluster_keys: 512, // not measured there: the value of data_center
        ends: 64, // not measured there: the value of data_center
        launch: 128, // not measured there: the value of data_center
        split: 1, // not measured there: the value of data_center
    },
    argmax: Argmax {
        split_row: 32768, // not measured there: the value of data_center
        split_elements: 4096, // not measured there: the value of data_center
        blocks_per_sm: 2, // not measured there: the value of data_center
    },
    rope: Rope {
        blocks_per_sm: 8, // not measured there: the value of data_center
    },
    norm: Norm {
        warp_dim: 512, // not measured there: the value of data_center
    },
};
