"""What of the peers' adapters can be tested without a GPU and without the peers."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import llamacpp
import method

PERF = """Backend 1/2: CUDA0
  MUL_MAT(type_a=f16,type_b=f32,m=4096,n=1,k=14336,bs=[1,1],nr=[1,1],per=[0,1,2,3],k_v=0,o=1):  8946 runs -   120.50 us/run - 117.44 MFLOP/run - \x1b[1;34m974.6 GFLOPS\x1b[0m
  MUL_MAT(type_a=q4_K,type_b=f32,m=4096,n=512,k=14336,bs=[1,1],nr=[1,1],per=[0,1,2,3],k_v=0,o=1):    90 runs -  350.25 us/run -  60.13 GFLOP/run - \x1b[1;34m171.7 TFLOPS\x1b[0m
  MUL_MAT(type_a=iq2_xs,type_b=f32,m=4096,n=1,k=14336,bs=[1,1],nr=[1,1],per=[0,1,2,3],k_v=0,o=1):  9372 runs -   110.01 us/run - 117.44 MFLOP/run - 1.07 TFLOPS
  MUL_MAT(type_a=f16,type_b=f32,m=16416,n=1,k=128,bs=[8,1],nr=[4,1],per=[0,2,1,3],k_v=0,o=1):  9372 runs -  110.01 us/run - 117.44 MFLOP/run - 1.07 TFLOPS
"""


class Method(unittest.TestCase):
    def test_sets(self):
        sets, flush = method.plan_sets(33e6, 50 << 20, True)
        self.assertGreater(sets * 33e6, 4 * (50 << 20))
        self.assertFalse(flush)
        self.assertEqual(method.plan_sets(1e4, 50 << 20, True), (method.MOST_SETS, True))
        self.assertEqual(method.plan_sets(1e4, 50 << 20, False), (1, False))

    def test_launches(self):
        launches, flush = method.plan_launches(7, False, 20, True)
        self.assertTrue(launches % 7 == 0 and launches * 20 >= method.REPLAY_US and not flush)
        self.assertEqual(method.plan_launches(64, True, 2, True), (64, True))
        self.assertEqual(method.plan_launches(7, False, 15e3, True), (1, True))
        self.assertLessEqual(method.plan_launches(1, False, 0.1, False)[0], method.MOST_LAUNCHES)

    def test_quantile(self):
        self.assertAlmostEqual(method.quantile([1, 2, 3, 4, 5], 0.1), 1.4)
        self.assertEqual(method.quantile([7], 0.9), 7)


class Llama(unittest.TestCase):
    def test_perf_lines(self):
        self.assertEqual(llamacpp.parse_perf(PERF),
                         {("F16", 1, 4096, 14336): 120.50, ("Q4_K", 512, 4096, 14336): 350.25})

    def test_programs(self):
        row = {"op": "matmul", "name": "shape", "model": "", "shape": {"m": 512, "n": 4096, "k": 14336}, "dtype": "Q4_K",
               "activations": "F32", "batch": 512, "context": 0, "sm_count": 132, "us": 175.125, "flops": 6e10,
               "cache": "warm"}
        report = {"schema": "reflex-bench/1", "kind": "ops", "results": [row],
                  "environment": {"gpu": "none", "sm_count": 132, "device_sm_count": 132, "clocks": {}, "driver": "none"}}
        with tempfile.TemporaryDirectory() as folder:
            ours, program, out = (pathlib.Path(folder, name) for name in ("ours.json", "perf", "out.json"))
            ours.write_text(json.dumps(report))
            program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{PERF}\nEOF\n")
            program.chmod(0o755)
            # -S: no site-packages, so that torch is not there on any machine.
            done = subprocess.run([sys.executable, "-S", HERE / "compare.py", "--ours", ours, "--json", out,
                                   "--llama-backend-ops", program], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("torch cannot be imported", done.stderr)
            found = json.loads(out.read_text())
            self.assertEqual([r["ratio"] for r in found["results"]], [2.0])
            self.assertEqual(found["kind"], "peers")
            ours.write_text("{}")
            done = subprocess.run([sys.executable, "-S", HERE / "compare.py", "--ours", ours], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no result file", done.stderr)


if __name__ == "__main__":
    unittest.main()
