"""The method of reflex-bench (benches/reflex-bench/src/measure.cpp), as far as it is arithmetic."""

import math

ROTATED_L2 = 4  # cold: the sets together are more than this many times L2 ...
MOST_SETS = 64  # ... or, where they would be more than this, L2 is flushed before every replay
REPLAY_US = 1500.0
LONGEST_REPLAY_US = 20e3
MOST_LAUNCHES = 2048
LEAST_SAMPLES, MOST_SAMPLES = 5, 400


def quantile(ordered, fraction):
    at = fraction * (len(ordered) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def plan_sets(set_bytes, l2_bytes, cold):
    """Number of sets, and whether L2 has to be flushed."""
    if not cold:
        return 1, False
    sets = math.floor(ROTATED_L2 * l2_bytes / max(set_bytes, 1)) + 1
    return (sets, False) if sets <= MOST_SETS else (MOST_SETS, True)


def plan_launches(sets, flush, estimate_us, cold):
    """Launches in one replay, and whether L2 is flushed before it."""
    if cold and sets * estimate_us > LONGEST_REPLAY_US:
        return max(1, min(sets, int(LONGEST_REPLAY_US / estimate_us))), True
    # Later rounds would find what the first has left in L2.
    if flush:
        return sets, True
    rounds = min(math.ceil(REPLAY_US / estimate_us / sets), max(1, MOST_LAUNCHES // sets))
    return sets * max(rounds, 1), False
