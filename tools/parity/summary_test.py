"""summary.py keeps what a reader of a parity report needs, and refuses a report that contradicts itself."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import summary

REPORT = {
    "gpu": "NVIDIA A GPU", "driver": "1.0", "compute_capability": "9.0", "bundle": "default", "version": "0.1.0", "archs": "90a",
    "nvrtc": "13.0", "tier": "full", "commit": "0123abcd", "tree": "4567cdef", "time": "2026-11-20T22:02:53Z", "seconds": 10,
    "passed": 3, "failed": 1, "skipped": 1,
    "suites": [
        {"name": "gpu", "passed": 2, "failed": 1, "skipped": 1,
         "tests": {"norm rows=3": "ok", "norm::a": "failed", "add::a": "ok", "add::b": "skipped"}},
        {"name": "examples", "passed": 1, "failed": 0, "skipped": 0, "tests": {"quickstart": "ok"}},
    ],
}
# The line by which `./dev test` compares a report with the sources, as sed in tools/dev/test.sh reads it.
TREE = r'(?m)^ *"tree": "([0-9a-f]+)"'


class Summary(unittest.TestCase):
    def test_what_is_kept(self):
        got = summary.summary_of(REPORT)
        for name in summary.HEADER:
            self.assertEqual(got[name], REPORT[name])
        self.assertEqual(got["suites"], [
            {"name": "gpu", "passed": 2, "failed": 1, "skipped": 1,
             "ops": {"add": {"passed": 1, "failed": 0, "skipped": 1}, "norm": {"passed": 1, "failed": 1, "skipped": 0}},
             "failed_tests": ["norm::a"], "skipped_tests": ["add::b"]},
            {"name": "examples", "passed": 1, "failed": 0, "skipped": 0, "failed_tests": [], "skipped_tests": []},
        ])

    def test_text_is_the_summary(self):
        got = summary.summary_of(REPORT)
        self.assertEqual(json.loads(summary.text_of(got)), got)
        self.assertRegex(summary.text_of(got), TREE)

    def test_paths(self):
        for gpu, bundle, want in (("NVIDIA H200", "default", "h200/parity.json"),
                                  ("NVIDIA H200", "87-virtual", "h200/parity-87-virtual.json"),
                                  ("Orin (nvgpu)", "87;90a", "orin-nvgpu/parity-87_90a.json")):
            self.assertEqual(summary.path_of({"gpu": gpu, "bundle": bundle}), pathlib.Path(want))

    def test_other_files_are_refused(self):
        for name in (*summary.HEADER, "suites"):
            report = copy.deepcopy(REPORT)
            del report[name]
            with self.assertRaisesRegex(ValueError, f'no field "{name}"'):
                summary.summary_of(report)
        with self.assertRaisesRegex(ValueError, "smoke tier"):
            summary.summary_of({**REPORT, "tier": "smoke"})
        with self.assertRaisesRegex(ValueError, "a summary already"):
            summary.summary_of(summary.summary_of(REPORT))

    def test_contradictions_are_refused(self):
        report = copy.deepcopy(REPORT)
        report["suites"][0]["passed"] = 3
        with self.assertRaisesRegex(ValueError, "suite gpu counts 3 passed and names 2"):
            summary.summary_of(report)
        with self.assertRaisesRegex(ValueError, "the report counts 2 failed, its suites 1"):
            summary.summary_of({**REPORT, "failed": 2})

    def test_program(self):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "report.json")

            def run():
                return subprocess.run([sys.executable, HERE / "summary.py", report, "--results", folder], capture_output=True, text=True)

            report.write_text(json.dumps(REPORT))
            path = pathlib.Path(folder, "a-gpu/parity.json")
            self.assertEqual((run().returncode, run().stdout), (0, f"{path}\n"))
            self.assertEqual(json.loads(path.read_text()), summary.summary_of(REPORT))
            report.write_text("{")
            self.assertEqual(run().returncode, 1)

    def test_committed_files_are_summaries(self):
        files = sorted((ROOT / "benches/results").glob("*/parity*.json"))
        self.assertTrue(files)
        for path in files:
            text = path.read_text(encoding="utf-8")
            kept = json.loads(text)
            self.assertEqual(summary.path_of(kept), path.relative_to(ROOT / "benches/results"))
            self.assertEqual(list(kept), [*summary.HEADER, "suites"], path)
            self.assertEqual(text, summary.text_of(kept), path)
            self.assertRegex(text, TREE)
            for suite in kept["suites"]:
                self.assertNotIn("tests", suite, path)
                for status in ("failed", "skipped"):
                    self.assertEqual(len(suite[f"{status}_tests"]), suite[status], path)


if __name__ == "__main__":
    unittest.main()
