"""The tables: losses first, nothing stale, and the committed page is what tables.py writes. Needs nothing but Python."""

import pathlib
import re
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import rows
import tables

ENVIRONMENT = {"gpu": "A GPU", "archs": "90a", "sm_count": 132, "device_sm_count": 132, "commit": "0123abcdef", "time": "2026-11-20T22:02:53Z"}
MATMUL = {"op": "matmul", "name": "shape", "shape": {"m": 1, "n": 4096, "k": 14336}, "dtype": "Q4_K_PACKED", "batch": 1, "compute": "int8",
          "us": 8.5, "gb_s": 100.0, "read_ceiling_fraction": 0.5, "bytes_per_clock_sm": 20.0}
NORM = {"op": "norm", "name": "attn", "shape": {"rows": 1}, "dtype": "F32", "batch": 1, "us": 2.0, "gb_s": 4.0, "read_ceiling_fraction": 0.04}
PEER = {**NORM, "peer": "torch", "note": "all F16", "ours_us": 2.0, "us": 4.0, "ratio": 2.0}
DECODE = {"op": "model", "name": "decode", "shape": {"tokens": 64, "depth": 0}, "dtype": "Q4_K", "batch": 1, "tokens_per_second": 900.5}


def report(results, kind="ops", **environment):
    return {"kind": kind, "environment": {**ENVIRONMENT, **environment}, "ceiling": {"read_gb_s": 4566.0}, "results": results}


def tables_of(**files):
    """Tables of {name: report}."""
    by_kind = {kind: [] for kind in ("peers", "model", "ops")}
    for name, one in files.items():
        by_kind[one["kind"]].append((pathlib.Path("results/gpu", f"{name}.json"), one))
    return tables.tables(by_kind)


def lines(text):
    """The first cell of each line of the tables."""
    return [line.split(" | ")[0][2:] for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]


class Tables(unittest.TestCase):
    def test_caption(self):
        text = tables_of(a=report([MATMUL]))["gpu/a"]
        self.assertTrue(text.startswith("A GPU, 132 SMs; commit 0123abcd, 2026-11-20; kernels for `90a`; read ceiling 4,566 GB/s (`gpu/a.json`).\n"))
        self.assertIn("; a projection for small GPUs; ", tables_of(a=report([MATMUL], sm_count=8))["gpu/a"])

    def test_furthest_from_the_ceiling_first(self):
        text = tables_of(a=report([MATMUL, {**MATMUL, "dtype": "Q6_K_PACKED", "read_ceiling_fraction": 0.25}]))["gpu/a"]
        self.assertEqual(lines(text)[1:], ["4096x14336, Q6_K packed", "4096x14336, Q4_K packed"])
        self.assertIn("| 8.50 | 100.0 | 25% | 20.0 |", text)

    def test_losses_first_and_the_fastest_peer(self):
        slow, fast = {**PEER, "us": 5.0}, {**PEER, "peer": "FlashInfer", "us": 3.0, "ratio": 1.5}
        lost = {**PEER, "op": "add", "ratio": 0.5, "us": 1.0}
        text = tables_of(p=report([slow, fast, lost], kind="peers"))["gpu/p"]
        self.assertEqual(lines(text), ["op", "add (attn), 1 row, F32", "norm (attn), 1 row, F32"])
        self.assertIn("| 2.00 | FlashInfer (all F16) | 3.00 | 1.50 |", text)

    def test_products_beside_a_peer(self):
        peer = {**MATMUL, "dtype": "F16", "compute": "exact", "peer": "cuBLAS", "note": "activations F16", "ours_us": 9.0, "us": 4.5, "ratio": 0.5}
        text = tables_of(p=report([peer, {**peer, "dtype": "F32", "note": "activations F32", "ratio": 2.0}], kind="peers"))["gpu/p"]
        self.assertIn("| exact products: ours, cuBLAS in us; ratio | F16 (activations F16) | F32 (activations F32) |", text)
        self.assertIn("| 4096x14336, 1 row | 9.00, 4.50; 0.50 | 9.00, 4.50; 2.00 |", text)
        self.assertIn("; cuBLAS: activations F16 (", tables_of(p=report([peer], kind="peers"))["gpu/p"])

    def test_several_rows(self):
        text = tables_of(a=report([MATMUL, {**MATMUL, "batch": 8, "us": 12.0}, {**MATMUL, "dtype": "Q8_0_PACKED", "batch": 8}]))["gpu/a"]
        self.assertIn("| 1 row | 8 rows |", text)
        self.assertIn("| 4096x14336, Q4_K packed | 8.50, 50% | 12.0, 50% |", text)
        self.assertIn("| 4096x14336, Q8_0 packed | - | 8.50, 50% |", text)

    def test_what_was_measured_again_is_left_out(self):
        new = report([{**MATMUL, "us": 7.0}], time="2026-11-25T00:00:00Z")
        self.assertEqual(list(tables_of(old=report([MATMUL]), new=new)), ["gpu/new"])

    def test_what_stands_beside_a_peer_is_in_its_table(self):
        other = {**NORM, "op": "rope"}
        got = tables_of(a=report([NORM, other, {**other, "dtype": "F16", "read_ceiling_fraction": 0.0001}]), p=report([PEER], kind="peers"))
        self.assertEqual(lines(got["gpu/a"])[1:], ["rope (attn), 1 row, F16"])
        self.assertIn("| below 0.1% |", got["gpu/a"])

    def test_models(self):
        peer = {**DECODE, "peer": "llama.cpp", "tokens_per_second": 300.0, "ours_tokens_per_second": 900.5, "ratio": 3.0}
        many = {**DECODE, "batch": 8, "tokens_per_second": 4000.0, "tokens_per_joule": 10.0}
        got = tables_of(m=report([many, DECODE, DECODE], kind="model"), p=report([peer], kind="peers"))
        self.assertEqual(list(got), ["gpu/m"])
        self.assertEqual(lines(got["gpu/m"])[1:], ["decode at an empty context", "decode of 8 sequences at an empty context"])
        self.assertIn("| 900.5 | 300.0 | 3.00 | - |", got["gpu/m"])
        self.assertIn("| 4,000 | - | - | 10.0 |", got["gpu/m"])
        self.assertIn("; peer: llama.cpp (", got["gpu/m"])
        # Measured against another commit's figure.
        self.assertNotIn("300.0", tables_of(m=report([DECODE], kind="model", commit="4567"), p=report([peer], kind="peers"))["gpu/m"])

    def test_no_more_rows_than_fit(self):
        text = tables_of(a=report([{**MATMUL, "shape": {"m": 1, "n": 16 * n, "k": 256}} for n in range(1, 31)]))["gpu/a"]
        self.assertEqual(len(lines(text)), 1 + tables.MOST_ROWS)
        self.assertTrue(text.endswith("\n\n5 more rows are in the file.\n"))


class Page(unittest.TestCase):
    def test_what_lies_between_the_comments_is_replaced(self):
        page = "a\n<!-- table: x/y -->\nold\n<!-- end of table -->\nb\n"
        new = tables.written(page, {"x/y": "new\n"})
        self.assertEqual(new, page.replace("old", "new"))
        self.assertEqual(tables.written(new, {"x/y": "new\n"}), new)

    def test_faults(self):
        place = "<!-- table: x/y -->\n<!-- end of table -->\n"
        for page, fault in ((place, "no result file gives a table x/y"), (2 * place.replace("x/y", "z"), "z is there twice"),
                            ("<!-- table: z -->\n", "do not come in pairs"), (place + tables.END, "do not come in pairs")):
            with self.assertRaisesRegex(ValueError, fault):
                tables.written(page, {"z": ""})

    def test_the_committed_page(self):
        by_kind, refused = rows.read(ROOT / "benches/results")
        self.assertEqual(refused, 0)
        texts = tables.tables(by_kind)
        page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
        self.assertEqual(page, tables.written(page, texts), "run ./dev plot")
        self.assertEqual({name for name, _ in tables.PLACE.findall(page)}, set(texts))
        for _, text in tables.PLACE.findall(page):
            self.assertRegex(text.splitlines()[0], r"^NVIDIA .*, \d+ SMs; commit [0-9a-f]{8}, 2\d{3}-\d\d-\d\d; ")
            for one in re.split(r"\n\n", text):
                self.assertLessEqual(len(lines(one)), 1 + tables.MOST_ROWS)


if __name__ == "__main__":
    unittest.main()
