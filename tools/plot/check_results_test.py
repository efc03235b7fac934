"""check_results.py refuses what it should, and nothing else."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import check_results

GOOD = {
    "schema": "reflex-bench/1",
    "kind": "ops",
    "environment": {
        "backend": "cuda", "gpu": "NVIDIA H200", "driver": "580.95", "toolkit": "NVRTC 13.0", "arch": "sm_90",
        "clocks": {"sm_mhz": 1980, "memory_mhz": 3201}, "power_mode": "power limit 700 W", "temperature_c": 40,
        "sm_count": 132, "commit": "0123abc", "time": "2026-11-20T22:02:53Z",
    },
    "results": [{"op": "norm", "shape": {"dim": 8}, "dtype": "F32", "batch": 1, "context": 0, "us": 2.5}],
}


class Check(unittest.TestCase):
    def test_good(self):
        self.assertEqual(check_results.faults_of(GOOD), [])

    def test_each_field_is_needed(self):
        for name in ("gpu", "driver", "toolkit", "arch", "clocks", "power_mode", "temperature_c", "commit", "time"):
            for value in (None, "unknown", ""):
                report = copy.deepcopy(GOOD)
                report["environment"][name] = value
                self.assertTrue(any(name in fault for fault in check_results.faults_of(report)), (name, value))
        for name in ("shape", "dtype", "batch", "context", "us"):
            report = copy.deepcopy(GOOD)
            del report["results"][0][name]
            self.assertTrue(any(name in fault for fault in check_results.faults_of(report)), name)

    def test_not_measured(self):
        for change in ({"backend": "cpu"}, {"commit": "0123abc-dirty"}, {"toolkit": "NVRTC "}):
            report = copy.deepcopy(GOOD)
            report["environment"].update(change)
            self.assertTrue(check_results.faults_of(report), change)

    def test_other_files(self):
        for report in ([], {}, {"schema": "reflex-bench/1"}, {**GOOD, "results": []}, {**GOOD, "results": [1]},
                       {**GOOD, "kind": "guess"}, {**GOOD, "kind": "ceiling"}):
            self.assertTrue(check_results.faults_of(report), report)

    def test_tune(self):
        row = {"parameter": "matmul.warps", "before": 8, "after": 6, "spread": 0.01,
               "tried": [{"number": 6, "times_as_long": 0.9}], "cases": [{"case": "shape m=1"}]}
        report = {**GOOD, "kind": "tune", "parameters": [row]}
        del report["results"]
        self.assertEqual(check_results.faults_of(report), [])
        self.assertTrue(check_results.faults_of({**report, "parameters": []}))
        for name in row:
            without = {key: value for key, value in row.items() if key != name}
            self.assertTrue(any(name in fault for fault in check_results.faults_of({**report, "parameters": [without]})), name)

    def test_program(self):
        with tempfile.TemporaryDirectory() as folder:
            def run():
                return subprocess.run([sys.executable, HERE / "check_results.py", folder], capture_output=True, text=True)

            pathlib.Path(folder, "good.json").write_text(json.dumps(GOOD))
            pathlib.Path(folder, "parity.json").write_text("{}")
            self.assertEqual((run().returncode, run().stdout), (0, "1 result files, 0 refused\n"))
            pathlib.Path(folder, "bad.json").write_text("{")
            self.assertEqual(run().returncode, 1)
            self.assertIn("bad.json", run().stderr)


if __name__ == "__main__":
    unittest.main()
