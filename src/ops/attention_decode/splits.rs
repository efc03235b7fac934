//! Into how many splits the keys of a sequence are divided, and which launch combines their results.

use super::AttentionDecodePlan;
use crate::constants::{
    DECODE_BLOCKS_64, DECODE_BLOCKS_128, DECODE_BLOCKS_256, DECODE_CLUSTER, DECODE_KEYS, DECODE_MMA_ROWS, DECODE_SPLITS,
};
use crate::cuda::DeviceLimits;
use crate::cuda::ceil_div;
use crate::tuning;

impl AttentionDecodePlan {
    /// The number of blocks of the tensor core kernels that an SM runs at once.
    fn blocks_per_sm(&self) -> i64 {
        match self.cache.dim.max(self.cache.v_dim) {
            ..=64 => DECODE_BLOCKS_64,
            65..=128 => DECODE_BLOCKS_128,
            _ => DECODE_BLOCKS_256,
        }
    }

    /// The number of blocks where keys are not split.
    fn blocks(&self) -> i64 {
        let c = &self.cache;
        c.batch * c.kv_heads * ceil_div(c.group, DECODE_MMA_ROWS)
    }

    /// The number of blocks that share the keys of a sequence, where a launch of its own combines them. It depends on
    /// shapes and the device alone: lengths lie in device memory, and addresses may differ between the question for the
    /// workspace and the launch.
    pub fn splits(&self, limits: &DeviceLimits) -> i64 {
        splits(
            self.blocks(),
            self.cache.capacity,
            i64::from(limits.sm_count) * self.blocks_per_sm(),
            &limits.tuning.attention_decode,
        )
    }

    /// The number of blocks that share the keys of a sequence as a cluster of at most `most`, which combines them
    /// itself. It is `None` where more splits than that are worth a launch.
    pub fn cluster(&self, limits: &DeviceLimits, most: i64) -> Option<i64> {
        if i64::from(limits.sm_count) < limits.tuning.attention_decode.cluster_sms || most < 2 {
            return None;
        }
        cluster(
            self.blocks(),
            self.cache.capacity,
            i64::from(limits.sm_count),
            most.min(DECODE_CLUSTER),
            &limits.tuning.attention_decode,
        )
    }

    /// The bytes of the partial sums, and the bytes of these together with the maxima and sums of weights.
    pub fn partial_bytes(&self, splits: i64) -> [usize; 2] {
        if splits == 1 {
            return [0, 0];
        }
        let c = &self.cache;
        let partials = (c.batch * c.kv_heads * c.group) as usize * splits as usize;
        // A saturated size is one for which no buffer is large enough.
        let [sums, ml] = [c.v_dim as usize * 4, 8].map(|size| partials.saturating_mul(size));
        [sums, sums.saturating_add(ml)]
    }
}

/// The number of splits with which a device that runs `slots` blocks at once finishes first. There are `blocks` blocks
/// without a split, and every sequence fills its cache.
fn splits(blocks: i64, capacity: i64, slots: i64, tuning: &tuning::AttentionDecode) -> i64 {
    /// Costs are in 64ths of the time that a block needs for one step of its loop.
    const STEP: i64 = 64;
    let [ends, launch, split] = [tuning.ends, tuning.launch, tuning.split].map(i64::from);
    let steps = ceil_div(capacity, DECODE_KEYS).max(1);
    let slots = slots.max(1);
    // A cost that saturates is one of more blocks than a launch can have.
    (1..=steps.min(DECODE_SPLITS))
        .min_by_key(|&splits| {
            let waves = ceil_div(blocks.saturating_mul(splits), slots);
            let combine = if splits == 1 { 0 } else { launch + split * splits };
            waves
                .saturating_mul(ceil_div(steps, splits) * STEP + ends)
                .saturating_add(combine)
        })
        .unwrap_or(1)
}

/// The largest cluster with which no block has to wait for others to end. With many keys, more blocks at once are worth
/// the launch that combines them.
fn cluster(blocks: i64, capacity: i64, sms: i64, most: i64, tuning: &tuning::AttentionDecode) -> Option<i64> {
    let steps = ceil_div(capacity, DECODE_KEYS).max(1);
    let mut cluster = 1;
    while 2 * cluster <= most && cluster < steps && 2 * cluster * blocks <= sms {
        cluster *= 2;
    }
    (capacity <= tuning.cluster_keys * cluster).then_some(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::Tuning;

    fn splits(blocks: i64, capacity: i64, slots: i64) -> i64 {
        super::splits(blocks, capacity, slots, &Tuning::default().attention_decode)
    }

    fn cluster(blocks: i64, capacity: i64, sms: i64, most: i64) -> Option<i64> {
        super::cluster(blocks, capacity, sms, most, &Tuning::default().attention_decode)
    }

    #[test]
    fn splits_fill_small_and_large_devices() {
        // The devices are Orin Nano, AGX Orin and H200, with three blocks for each SM; there are 8 kv heads and one
        // sequence.
        for sms in [8, 16, 132] {
            for capacity in [4096, 131072] {
                let blocks = 8 * splits(8, capacity, sms * 3);
                assert!((sms..=sms * 3).contains(&blocks), "{blocks} blocks for {sms} SMs");
            }
        }
    }

    #[test]
    fn no_split_where_it_does_not_pay() {
        assert_eq!(splits(8, 0, 24), 1);
        assert_eq!(splits(8, 64, 396), 1);
        // There are as many blocks as the device has room for.
        assert_eq!(splits(396, 4096, 396), 1);
        assert!((1..=DECODE_SPLITS).contains(&splits(i64::MAX >> 4, 1 << 30, 1)));
        assert!((1..=DECODE_SPLITS).contains(&splits(1, 1 << 30, i64::from(u32::MAX))));
    }

    #[test]
    fn a_cluster_has_few_keys_a_block() {
        assert_eq!(cluster(8, 4096, 132, 16), Some(16));
        assert_eq!(cluster(8, 4096, 132, 8), Some(8));
        assert_eq!(cluster(8, 16384, 132, 16), None);
        assert_eq!(cluster(8, 100, 132, 16), Some(2));
        assert_eq!(cluster(2, 0, 132, 16), Some(1));
        assert_eq!(cluster(100, 200, 132, 16), Some(1));
        assert_eq!(cluster(1000, 131072, 132, 16), None);
    }

    #[test]
    fn an_uneven_number_of_blocks_is_evened_out() {
        // 300 blocks of 264 at a time are two waves, the second nearly empty.
        let n = splits(300, 32768, 264);
        let last_wave = (300 * n - 1) % 264 + 1;
        assert!((2..16).contains(&n) && last_wave > 200, "{n}");
    }
}
