//! Tuning of data-centre and desktop GPUs, measured on an H200. Each number has its source behind it: a file, or what is known of where it comes from.

use super::{Argmax, Attention, AttentionDecode, Matmul, Norm, Rope, Tuning};

#[rustfmt::skip]
pub(super) static DATA_CENTER: Tuning = Tuning {
    matmul: Matmul {
        wide_many_sms: 32, // docs/experiments/two-panels-a-warp-on-many-sms.md
        wide_blocks_many_sms: 4, // docs/experiments/two-panels-a-warp-on-many-sms.md; the number itself is in no file
        wide_blocks_few_sms: 2, // docs/experiments/panels-a-warp-on-few-sms.md; the number itself is in no file
        wide_short_blocks: 4, // docs/experiments/panels-a-warp-on-few-sms.md; the number itself is in no file
        long_tiles: 24, // docs/experiments/even-share-of-blocks-one-row.md: between 4096 and 9728 columns
        lone_blocks: 1, // docs/experiments/clusters-that-share-k.md
        lone_warps: 12, // docs/experiments/clusters-that-share-k.md
        lone_long_warps: 16, // docs/experiments/less-code-in-a-token.md
        q4_k_pair_sm: 90, // docs/experiments/one-format-kernel.md
        q4_k_pair_blocks: 2, // docs/experiments/one-format-kernel.md
        q4_k_pair_warps: 12, // docs/experiments/one-format-kernel.md
        warps: 8, // the kernels' most; fewer are in no file
        few_half_blocks: 1, // docs/experiments/few-rows-in-integers.md; the number itself is in no file
        few_quarter_blocks: 4, // docs/experiments/few-rows-in-integers.md; the number itself is in no file
        columns_half_blocks: 2, // in no file
        few_rows: 8, // docs/experiments/x-converted-by-its-own-launch.md
        few_blocks: 2, // docs/experiments/panels-a-warp-few-rows.md
        cluster_sms: 64, // docs/design/matmul.md: 8 of 132 SMs against all; the number itself is in no file
        shared_panels: 8, // several such blocks on each of 8 SMs of an H200 were the fastest, for any number of rows; in no file
        shared_least_panels: 8, // in no file
        cluster_blocks: 3, // in no file
        in_clusters: [1000, 1000, 887, 910, 834, 773, 796, 910], // docs/design/matmul.md: 120 of 132 SMs for four; the others are in no file
        shared_panel: [168, 196, 250], // fitted to times of Q4_K on an H200, which are in no file
        shared_x: [1, 1, 7], // fitted to the same
        shared_alone: [1471, 1760, 1945], // fitted to the same
        shared_block: [5265, 4951, 6304], // fitted to the same
        shared_sums: [399, 497, 359], // fitted to the same
        shared_joined: [173, 72, 342], // fitted to the same
        small_tile_rows: 64, // in no file
    },
    attention: Attention {
        large_blocks: 3, // measured on an H200: docs/design/attention.md
    },
    attention_decode: AttentionDecode {
        cluster_sms: 64, // docs/design/attention.md: 8 of 132 SMs against all; the number itself is in no file
        cluster_keys: 512, // docs/experiments/combination-in-its-own-launch.md: 16 blocks of up to 8192 keys
        ends: 64, // in no file
        launch: 128, // in no file
        split: 1, // in no file
    },
    argmax: Argmax {
        split_row: 32768, // in no file
        split_elements: 4096, // in no file
        blocks_per_sm: 2, // in no file
    },
    rope: Rope {
        blocks_per_sm: 8, // in no file
    },
    norm: Norm {
        warp_dim: 512, // in no file
    },
};
