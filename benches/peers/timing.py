"""Times a torch callable as reflex-bench times an op: replays of a CUDA graph, going round over sets of operands."""

import statistics
import time

import torch

from method import LEAST_SAMPLES, MOST_SAMPLES, plan_launches, plan_sets, quantile


class Bench:
    """Everything runs on one stream that is not the default one, since graphs need that."""

    def __init__(self, cold=True, seconds=0.15):
        self.cold, self.seconds = cold, seconds
        properties = torch.cuda.get_device_properties(0)
        self.l2_bytes = properties.L2_cache_size
        self.stream = torch.cuda.Stream()
        self.flush_buffer = torch.ones(2 * self.l2_bytes // 4, dtype=torch.int32, device="cuda")

    def flush(self):
        torch.max(self.flush_buffer)

    def read_gb_s(self):
        """What a plain reduction reads: shows on how many SMs torch's kernels run."""
        data = torch.ones(16 * self.l2_bytes // 4, dtype=torch.int32, device="cuda")
        us = self.measure(lambda _: lambda: torch.max(data), 16 * self.l2_bytes)["us"]
        return 16 * self.l2_bytes / us / 1e3

    def measure(self, make_set, set_bytes):
        """`make_set(i)` gives the callable of set i. Microseconds of one call: median and spread."""
        count, flush = plan_sets(set_bytes, self.l2_bytes, self.cold)
        with torch.cuda.stream(self.stream), torch.no_grad():
            calls = [make_set(i) for i in range(count)]
            for call in calls[:3]:
                call()
            self.stream.synchronize()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            probes = min(count, 8)
            start.record()
            for call in calls[:probes]:
                call()
            end.record()
            self.stream.synchronize()
            estimate = max(start.elapsed_time(end) * 1e3 / probes, 0.1)
            launches, flush = plan_launches(count, flush, estimate, self.cold)
            graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream), torch.no_grad():
            for i in range(launches):
                calls[i % count]()
        with torch.cuda.stream(self.stream), torch.no_grad():
            samples = self._sample(graph, flush)
        samples = sorted(us / launches for us in samples)
        return {
            "us": statistics.median(samples),
            "us_min": samples[0],
            "us_p10": quantile(samples, 0.1),
            "us_p90": quantile(samples, 0.9),
            "us_max": samples[-1],
            "samples": len(samples),
            "launches": launches,
            "sets": count,
            "cache": "warm" if not self.cold else "cold (flushed)" if flush else "cold (rotated)",
        }

    def _sample(self, graph, flush):
        def replay(times):
            events = []
            for _ in range(times):
                if flush:
                    self.flush()
                pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
                pair[0].record()
                graph.replay()
                pair[1].record()
                events.append(pair)
            self.stream.synchronize()
            return [start.elapsed_time(end) * 1e3 for start, end in events]

        first = replay(2)  # warm-up
        at_once = 1 if first[-1] * 5 > self.seconds * 1e6 else 5
        samples, begin = [], time.monotonic()
        while len(samples) < LEAST_SAMPLES or (
            time.monotonic() - begin < self.seconds and len(samples) < MOST_SAMPLES
        ):
            samples += replay(at_once)
            if time.monotonic() - begin > 20 * self.seconds:
                break
        return samples
