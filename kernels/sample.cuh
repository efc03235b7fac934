// Draws a token from each row of logits: top-k, top-p, min-p, temperature, in this order. Each row may have numbers of its
// own for them, which the first thread of its block reads.
//
// Every filter but min-p keeps a head of the order (greater value first, lower index first among equals), so all of them
// together are one number, the cut: the order of the last token that is kept. Probabilities are integers, e^(l - max) in
// units of 2^-32, whose sums do not depend on their order: the same token comes out on every run, device and backend.
//
// Layout: rows of `n` contiguous logits, a block of 1024 threads each, n up to 2^30. A row is read twice without top-k
// and top-p (greatest logit, sum of weights) and four times with them: a histogram of distances from the greatest logit
// shows how far the candidates reach, these are gathered and sorted in shared memory, and the cut is found there. Only
// when more than SAMPLE_LIST tokens are candidates is the cut searched for over the whole row, two bits a pass. The draw
// itself needs the row's order: each warp has a contiguous segment, and the one that the draw falls into walks it again.
//
// Bound by what one SM reads from L2.
#pragma once

#include "common/element.cuh"
#include "common/select.cuh"
#include "sample_weight.cuh"

namespace reflex {

constexpr u32 SAMPLE_LIST = 4096;  // candidates that are sorted
constexpr u32 SAMPLE_BINS = 2 * SAMPLE_THREADS;
constexpr float SAMPLE_BINS_PER_UNIT = 64.0f;
constexpr float SAMPLE_REACH = SAMPLE_BINS / SAMPLE_BINS_PER_UNIT;  // what lies further below the greatest has no bin

struct sample_args {
    const void *logits;
    const i32 *steps;  // NULL: 0
    i32 *ids;
    u32 *counters;  // NULL with a count of 0
    // [rows] in the place of the numbers below and of the row's number, or NULL; a seed is two words, the lower one first
    const u32 *seeds;
    const float *temperatures;
    const i32 *top_ks;
    const float *top_ps, *min_ps;
    const u32 *row_keys;
    i64 row_stride, rows, counter_count;
    u64 seed;
    u64 top_p;       // in units of 2^-32; 0: off
    u64 min_weight;  // min_p in units of 2^-32
    float scale;     // log2(e) / temperature
    i32 n;
    u32 top_k;       // less than n; 0: off
    u32 index_bits;  // of n - 1
    u32 greedy;
    u32 logits_type;
};
REFLEX_ARGS_LAYOUT(sample_args, 152, logits_type, 148);

// What one row is drawn by, as in sample_args.
struct sample_choice {
    u64 top_p, min_weight;
    u64 random;
    float scale;
    u32 top_k;
    u32 greedy;
};

struct sample_shared {
    sample_choice choice;
    u64 list[SAMPLE_LIST];  // orders of the candidates
    u64 scratch[WARP];
    u64 cut;
    u32 bins[SAMPLE_BINS];
    u32 count, last_bin, fill;
};

// One row and the ways to go through it.
template <int N, u32 TYPE> struct sample_row {
    const char *x;
    i32 begin, end;  // this warp's segment

    static constexpr i32 WIDTH = N, TILE = WARP * N;

    __device__ __forceinline__ sample_row(const char *x, i32 n) : x(x) {
        constexpr i32 WARPS = SAMPLE_THREADS / WARP;
        const i32 tiles = (n + TILE - 1) / TILE, per_warp = (tiles + WARPS - 1) / WARPS;
        const i64 first = (i64)(threadIdx.x / WARP) * per_warp * TILE;
        begin = (i32)min(first, (i64)n);
        end = (i32)min(first + per_warp * TILE, (i64)n);
    }

    // NaN counts as minus infinity.
    __device__ __forceinline__ void load(i32 i, float (&v)[N]) const {
        load_n<N>(x, TYPE, i, v);
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = v[k] == v[k] ? v[k] : -REFLEX_INF;
    }

    // f(index, logit) for every token, each by one thread. Two loads are under way at once.
    template <typename F> __device__ __forceinline__ void each(F f) const {
        for (i32 i = begin + (i32)(threadIdx.x % WARP) * N; i < end; i += 2 * TILE) {
            float a[N], b[N];
            const bool two = i + TILE < end;
            load(i, a);
            if (two) load(i + TILE, b);
#pragma unroll
            for (int k = 0; k < N; k++) f(i + k, a[k]);
            if (two) {
#pragma unroll
                for (int k = 0; k < N; k++) f(i + TILE + k, b[k]);
            }
        }
    }
};

// By one thread; a barrier is to follow. What the host would refuse is taken as docs/abi.md promises for what is on the
// device: clamped to its range, a NaN as 0.
__device__ __forceinline__ void sample_choose(const sample_args &a, i64 row, sample_choice &c) {
    // Loads first, so that they are under way at once.
    const float temperature = a.temperatures ? a.temperatures[row] : 0.0f;
    const i32 top_k = a.top_ks ? a.top_ks[row] : 0;
    const float top_p = a.top_ps ? a.top_ps[row] : 0.0f, min_p = a.min_ps ? a.min_ps[row] : 0.0f;
    const u32 seed0 = a.seeds ? a.seeds[2 * row] : 0, seed1 = a.seeds ? a.seeds[2 * row + 1] : 0;
    const u64 key = a.row_keys ? a.row_keys[row] : (u64)row;
    const u32 step = a.steps ? (u32)a.steps[row] : 0u;
    c.random = sample_random(a.seeds ? (u64)seed1 << 32 | seed0 : a.seed, key, step);
    c.top_k = a.top_ks ? (top_k > 0 && top_k < a.n ? (u32)top_k : 0) : a.top_k;
    c.top_p = a.top_ps ? sample_top_p(top_p) : a.top_p;
    c.min_weight = a.min_ps ? sample_fraction(min_p) : a.min_weight;
    c.greedy = a.temperatures ? !(temperature > 0.0f) : a.greedy;
    c.scale = a.temperatures ? sample_scale(temperature) : a.scale;
}

// The last order such that the measure of the tokens down to it reaches the target, which the measure of all does.
template <typename Row, typename Measure>
__device__ __forceinline__ u64 sample_search(const sample_args &a, sample_shared &s, const Row &row, u64 target,
                                             Measure measure) {
    u64 found = 0;
    const u32 index_bits = (a.index_bits + 1) / 2 * 2;
    for (i32 shift = 62; shift >= 0; shift -= 2) {
        if (shift == 30) {
            // From here on bits of the complemented index, whose upper ones are set in every order.
            found |= 0xffffffffull & ~((1ull << index_bits) - 1);
            shift = (i32)index_bits - 2;
        }
        const u64 step = 1ull << shift;
        u64 sum[3] = {0, 0, 0};
        row.each([&](i32 i, float l) {
            const u64 order = order_of(order_key(l), i);
            if (order < found + step) return;
            const u64 m = measure(l);
            sum[0] += m;
            if (order >= found + 2 * step) sum[1] += m;
            if (order >= found + 3 * step) sum[2] += m;
        });
        u32 digit = 0;
#pragma unroll
        for (u32 d = 0; d < 3; d++) {
            if (block_sum(sum[d], s.scratch) >= target) digit = d + 1;
        }
        found += digit * step;
    }
    return found;
}

// Sorts list[0 .. count), greatest first. The list is filled up to a power of two.
__device__ __forceinline__ void sample_sort(sample_shared &s, u32 count) {
    u32 size = 1;
    while (size < count) size *= 2;
    for (u32 i = count + threadIdx.x; i < size; i += SAMPLE_THREADS) s.list[i] = 0;
    for (u32 run = 2; run <= size; run *= 2) {
        for (u32 stride = run / 2; stride > 0; stride /= 2) {
            __syncthreads();
            for (u32 i = threadIdx.x; i < size / 2; i += SAMPLE_THREADS) {
                const u32 low = 2 * i - (i & (stride - 1)), high = low + stride;
                const u64 first = s.list[low], second = s.list[high];
                const bool descending = (low & run) == 0;
                if ((first < second) == descending) s.list[low] = second, s.list[high] = first;
            }
        }
    }
    __syncthreads();
}

// Fills the list with candidates: with top-k all tokens down to the bin where their number reaches it, else as many bins
// as fit. Returns their number, 0 when they do not fit. `weights` gets the weight of the row when there is no top-k.
template <typename Row>
__device__ __forceinline__ u32 sample_gather(sample_shared &s, const Row &row, float top, u64 &weights) {
    const u32 t = threadIdx.x;
    s.bins[2 * t] = s.bins[2 * t + 1] = 0;
    if (t == 0) s.count = s.fill = 0;
    const u32 top_k = s.choice.top_k;
    __syncthreads();
    u64 sum = 0;
    row.each([&](i32, float l) {
        const float below = l == top ? 0.0f : top - l;
        if (below < SAMPLE_REACH) atomicAdd(&s.bins[(u32)(below * SAMPLE_BINS_PER_UNIT)], 1u);
        if (top_k == 0) sum += sample_weight(top, l, SAMPLE_LOG2E);
    });
    __syncthreads();
    weights = block_sum(sum, s.scratch);

    // Tokens in the bins up to this thread's two.
    const u32 first = s.bins[2 * t], second = s.bins[2 * t + 1];
    u64 all;
    const u32 after = (u32)block_scan(first + second, s.scratch, all), before = after - first - second;
    if (top_k > 0) {
        if (before < top_k && top_k <= after) {
            const bool one = before + first >= top_k;
            s.last_bin = one ? 2 * t : 2 * t + 1;
            s.count = one ? before + first : after;
        }
    } else if (before <= SAMPLE_LIST && SAMPLE_LIST < after) {
        // 0 tokens when the first bin is too many already; the bin's number does not matter then.
        const bool one = before + first <= SAMPLE_LIST;
        s.last_bin = one ? 2 * t : 2 * t - 1;
        s.count = one ? before + first : before;
    } else if (t == SAMPLE_THREADS - 1 && after <= SAMPLE_LIST) {
        s.last_bin = SAMPLE_BINS - 1;
        s.count = after;
    }
    __syncthreads();
    const u32 count = s.count, last_bin = s.last_bin;
    if (count == 0 || count > SAMPLE_LIST) return 0;
    row.each([&](i32 i, float l) {
        const float below = l == top ? 0.0f : top - l;
        // Where it lands depends on timing; what it is sorted to does not.
        if (below < SAMPLE_REACH && (u32)(below * SAMPLE_BINS_PER_UNIT) <= last_bin)
            s.list[atomicAdd(&s.fill, 1u)] = order_of(order_key(l), i);
    });
    __syncthreads();
    sample_sort(s, count);
    return count;
}

// Order of the last token that top-p keeps among the first `kept` of the list, 0 when they do not reach it. `weights` is
// the weight of the tokens to choose from, or 0 when they are those in the list.
__device__ __forceinline__ u64 sample_top_p_of_list(sample_shared &s, float top, u32 kept, u64 weights) {
    constexpr u32 EACH = SAMPLE_LIST / SAMPLE_THREADS;
    const u32 first = threadIdx.x * EACH;
    u64 weight[EACH], sum = 0, total;
#pragma unroll
    for (u32 k = 0; k < EACH; k++) {
        weight[k] =
            first + k < kept ? sample_weight(top, order_value((u32)(s.list[first + k] >> 32)), SAMPLE_LOG2E) : 0;
        sum += weight[k];
    }
    if (threadIdx.x == 0) s.cut = 0;
    u64 reached = block_scan(sum, s.scratch, total);
    const u64 target = sample_target(s.choice.top_p, weights ? weights : total);
    const u64 before = reached - sum;
    if (before < target && target <= reached) {
        reached = before;
#pragma unroll
        for (u32 k = 0; k < EACH; k++) {
            if (reached < target && reached + weight[k] >= target) s.cut = s.list[first + k];
            reached += weight[k];
        }
    }
    __syncthreads();
    return s.cut;
}

// The order of the last token that top-k and top-p keep.
template <typename Row> __device__ __forceinline__ u64 sample_cut(const sample_args &a, sample_shared &s,
                                                                  const Row &row, float top) {
    u64 weights, cut = 0;
    const u32 count = sample_gather(s, row, top, weights);
    if (count > 0) {
        const u32 kept = s.choice.top_k > 0 ? s.choice.top_k : count;
        if (s.choice.top_p == 0) return s.list[kept - 1];
        cut = sample_top_p_of_list(s, top, kept, weights);
        if (cut != 0) return cut;
    }
    // Too many candidates.
    const auto weight = [&](float l) { return sample_weight(top, l, SAMPLE_LOG2E); };
    if (s.choice.top_k > 0) {
        cut = sample_search(a, s, row, s.choice.top_k, [](float) { return 1ull; });
        if (s.choice.top_p == 0) return cut;
        u64 sum = 0;
        row.each([&](i32 i, float l) {
            if (order_of(order_key(l), i) >= cut) sum += weight(l);
        });
        weights = block_sum(sum, s.scratch);
    }
    return sample_search(a, s, row, sample_target(s.choice.top_p, weights), weight);
}

// The token that the row's random number chooses among those that are kept.
template <typename Row>
__device__ __forceinline__ void sample_draw(sample_shared &s, const Row &row, float top, u64 cut, i32 *id) {
    const u32 lane = threadIdx.x % WARP;
    const auto weight = [&](i32 i, float l) -> u64 {
        if (order_of(order_key(l), i) < cut) return 0;
        if (s.choice.min_weight > 0 && sample_weight(top, l, SAMPLE_LOG2E) < s.choice.min_weight) return 0;
        return sample_weight(top, l, s.choice.scale);
    };
    u64 sum = 0;
    row.each([&](i32 i, float l) { sum += weight(i, l); });
    // Not zero: the greatest logit is kept by every filter and has weight 2^32.
    u64 total;
    const u64 reached = block_scan(sum, s.scratch, total);
    u64 rest = __umul64hi(s.choice.random, total);
    // Sums before this warp's segment and after it.
    const u64 after = __shfl_sync(FULL_MASK, reached, WARP - 1), before = __shfl_sync(FULL_MASK, reached - sum, 0);
    if (rest < before || after <= rest) return;
    rest -= before;
    for (i32 tile = row.begin; tile < row.end; tile += Row::TILE) {
        const i32 i = tile + (i32)lane * Row::WIDTH;
        u64 own[Row::WIDTH], mine = 0;
        float v[Row::WIDTH];
        if (i < row.end) row.load(i, v);
#pragma unroll
        for (int k = 0; k < Row::WIDTH; k++) {
            own[k] = i < row.end ? weight(i + k, v[k]) : 0;
            mine += own[k];
        }
        u64 upto = warp_scan(mine);
        const u64 in_tile = __shfl_sync(FULL_MASK, upto, WARP - 1);
        if (rest >= in_tile) {
            rest -= in_tile;
            continue;
        }
        upto -= mine;
#pragma unroll
        for (int k = 0; k < Row::WIDTH; k++) {
            if (upto <= rest && rest < upto + own[k]) *id = i + k;
            upto += own[k];
        }
        return;
    }
}

template <int N, u32 TYPE> __device__ __forceinline__ void sample_one(const sample_args &a, sample_shared &s,
                                                                      i64 index) {
    const sample_row<N, TYPE> row(static_cast<const char *>(a.logits) + index * a.row_stride, a.n);
    u64 best = 0;
    row.each([&](i32 i, float l) {
        const u64 order = order_of(order_key(l), i);
        if (order > best) best = order;
    });
    best = block_max(best, s.scratch);
    const float top = order_value((u32)(best >> 32));
    // A row of nothing but minus infinity has no probabilities: its first token.
    if (s.choice.greedy || top == -REFLEX_INF) {
        if (threadIdx.x == 0) a.ids[index] = order_index(best);
        return;
    }
    const u64 cut = s.choice.top_k > 0 || s.choice.top_p > 0 ? sample_cut(a, s, row, top) : 0;
    sample_draw(s, row, top, cut, a.ids + index);
}

template <int N> __device__ __forceinline__ void sample(const sample_args &a) {
    __shared__ sample_shared s;
    const i64 row = blockIdx.x;
    if (row < a.rows) {
        if (threadIdx.x == 0) sample_choose(a, row, s.choice);  // read after the barriers of block_max
        if (a.logits_type == F32) sample_one<N, F32>(a, s, row);
        else if (a.logits_type == F16) sample_one<N, F16>(a, s, row);
        else sample_one<N, BF16>(a, s, row);
    }
    advance_counters(a.counters, a.counter_count);
}

}  // namespace reflex
