#!/usr/bin/env python3
"""Tests summary.py on two small tables in the build script's form."""
import contextlib
import io
import pathlib
import tempfile
import unittest

import summary

IMAGES = """\
arch\tfile\tkernels\tbytes
sm_87\tmatmul_int8_few8\t1\t1000
sm_87\tmatmul_int8_wide\t1\t2000
sm_87\tmatmul_q4_0\t1\t300
sm_87\tnorm\t2\t40
compute_80\tnorm\t2\t77
"""
KERNELS = """\
arch\tfile\tkernel\tregisters\tstatic_shared\tstack\tspill_stores\tspill_loads\tcode
sm_87\tmatmul_int8_few8\ta\t136\t32\t0\t0\t0\t900
sm_87\tmatmul_int8_wide\tb\t160\t16\t8\t4\t8\t1800
sm_87\tmatmul_q4_0\tc\t64\t0\t0\t0\t0\t200
sm_87\tnorm\td\t40\t128\t0\t0\t0\t10
sm_87\tnorm\te\t38\t0\t0\t0\t0\t12
"""


class Summary(unittest.TestCase):
    def run_on(self, files, *arguments):
        out, error = io.StringIO(), io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (pathlib.Path(folder) / name).write_text(text)
            with contextlib.redirect_stderr(error):
                status = summary.main([folder, *arguments], out)
        return status, [line.split() for line in out.getvalue().splitlines()], error.getvalue()

    def test_rows(self):
        status, rows, _ = self.run_on({"kernel-images.tsv": IMAGES, "kernel-resources.tsv": KERNELS})
        self.assertEqual(status, 0)
        self.assertEqual(
            [" ".join(row) for row in rows[1:]],
            [
                "sm_87 matmul_int8 2 3000 2700 160 32 1 12",
                "sm_87 matmul 1 300 200 64 0 0 0",
                "sm_87 norm 2 40 22 40 128 0 0",
                "sm_87 all 5 3340 2922 160 128 1 12",
                "compute_80 norm 2 77 - - - - -",
                "compute_80 all 2 77 - - - - -",
            ],
        )

    def test_each_kernel(self):
        _, rows, _ = self.run_on({"kernel-images.tsv": IMAGES, "kernel-resources.tsv": KERNELS}, "--kernels")
        self.assertIn("sm_87 matmul_int8_wide b 160 16 8 4 8 1800".split(), rows)

    def test_no_kernels(self):
        status, rows, error = self.run_on({})
        self.assertEqual((status, rows), (2, []))
        self.assertIn("kernel-images.tsv", error)


if __name__ == "__main__":
    unittest.main()
