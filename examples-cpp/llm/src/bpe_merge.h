// The merge loop of byte-pair encoding in O(n log n): symbols in a linked list, candidate pairs in a priority queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <vector>

namespace llm {

// Replaces adjacent symbols until no pair merges: always the pair of lowest rank, the leftmost of equals.
// `find(left, right, rank, result)` says whether two symbols merge, and into what.
template <typename Symbol, typename Find>
void merge_symbols(std::vector<Symbol> &symbols, const Find &find) {
    constexpr uint32_t none = 0xFFFFFFFF;
    const auto count = static_cast<uint32_t>(symbols.size());
    if (count < 2) return;

    struct candidate {
        uint32_t rank, position;
        Symbol left, right, result;
        bool operator>(const candidate &other) const {
            return std::tie(rank, position) > std::tie(other.rank, other.position);
        }
    };
    std::priority_queue<candidate, std::vector<candidate>, std::greater<candidate>> queue;
    std::vector<uint32_t> next(count), previous(count);
    std::vector<bool> dead(count, false);

    const auto offer = [&](uint32_t left) {
        if (left == none || next[left] == none) return;
        candidate pair{0, left, symbols[left], symbols[next[left]], {}};
        if (find(pair.left, pair.right, pair.rank, pair.result)) queue.push(pair);
    };
    for (uint32_t i = 0; i < count; ++i) {
        previous[i] = i == 0 ? none : i - 1;
        next[i] = i + 1 == count ? none : i + 1;
    }
    for (uint32_t i = 0; i < count; ++i) offer(i);

    while (!queue.empty()) {
        const candidate pair = queue.top();
        queue.pop();
        const uint32_t left = pair.position, right = next[left];
        // A merge beside it may have used up either half since the pair was queued.
        if (dead[left] || right == none || !(symbols[left] == pair.left) || !(symbols[right] == pair.right)) continue;
        symbols[left] = pair.result;
        dead[right] = true;
        next[left] = next[right];
        if (next[left] != none) previous[next[left]] = left;
        offer(previous[left]);
        offer(left);
    }

    size_t kept = 0;
    for (uint32_t i = 0; i != none; i = next[i]) symbols[kept++] = symbols[i];
    symbols.resize(kept);
}

}  // namespace llm
