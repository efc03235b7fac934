"""The charts: all labels can be read, nothing is drawn twice, and the page shows what is drawn. Needs tools/requirements/plot.txt."""

import collections
import copy
import json
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import labels
import plot

plt = plot.plt

ENVIRONMENT = {
    "gpu": "A GPU", "driver": "1.0", "toolkit": "NVRTC 13.0", "arch": "sm_90", "archs": "90a", "power_mode": "700 W",
    "clocks": {"sm_mhz": 1980, "memory_mhz": 3201}, "temperature_c": 40, "sm_count": 8, "device_sm_count": 132,
    "commit": "0123abcd", "time": "2026-11-20T22:02:53Z",
}
MATMUL = {"op": "matmul", "name": "shape", "model": "", "shape": {"m": 1, "n": 4096, "k": 14336}, "dtype": "Q4_K", "batch": 1,
          "context": 0, "us": 50.0, "bytes": 1e6, "flops": 1e6, "tflop_s": 1.0, "bytes_per_clock_sm": 20.0}


def report(rows, kind="ops", **environment):
    return {"kind": kind, "environment": {**ENVIRONMENT, **environment}, "ceiling": {"read_gb_s": 100.0}, "results": rows}


def texts(figure):
    return [label.get_text() for label in labels.drawn_labels(figure)]


class Labels(unittest.TestCase):
    def setUp(self):
        self.figure, self.axes = plt.subplots(figsize=(5, 4))
        self.figure.tight_layout()

    def tearDown(self):
        plt.close(self.figure)

    def faults(self):
        return " / ".join(labels.label_faults(self.figure))

    def test_a_plain_figure_is_fine(self):
        self.axes.text(0.2, 0.2, "one")
        self.axes.text(0.2, 0.8, "two")
        self.axes.set_xlim(0.5, 1.5)
        self.assertEqual(self.faults().count("frame"), 2)
        self.axes.set_xlim(0, 1)
        self.assertEqual(self.faults(), "")

    def test_labels_on_one_another(self):
        self.axes.text(0.2, 0.2, "one")
        self.axes.text(0.21, 0.21, "two")
        self.assertIn("`two` and `one` overlap", self.faults())

    def test_a_label_beyond_its_frame(self):
        self.axes.text(0.95, 0.5, "a long label")
        self.assertIn("`a long label` is beyond the frame", self.faults())

    def test_a_label_beyond_the_figure(self):
        self.axes.set_ylabel("y")
        self.axes.yaxis.set_label_coords(-0.5, 0.5)
        self.assertIn("`y` is beyond the figure", self.faults())

    def test_a_label_under_the_legend(self):
        self.axes.plot([0, 1], [0, 1], label="a line")
        self.axes.legend(loc="upper left")
        self.assertEqual(self.faults(), "")
        # Beside the legend's text, on its line.
        self.axes.annotate("x", (0.03, 0.94), xycoords="axes fraction")
        self.assertIn("`x` is under the legend", self.faults())

    def test_a_faulty_chart_is_not_saved(self):
        self.axes.text(0.95, 0.5, "a label so long that no layout can make room for it in the frame")
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(ValueError, "beyond the frame"):
                plot.finish(self.figure, pathlib.Path(folder), [ENVIRONMENT], "chart")
            self.assertEqual(list(pathlib.Path(folder).iterdir()), [])


class Rows(unittest.TestCase):
    def test_what_was_measured_last_counts(self):
        old, new = report([MATMUL]), report([{**MATMUL, "us": 40.0}], time="2026-11-25T00:00:00Z")
        other = {**MATMUL, "compute": "int8"}
        for reports in ([old, new], [new, old]):
            self.assertEqual([row["us"] for row, _ in plot.newest(reports)], [40.0])
        self.assertEqual(len(plot.newest([report([MATMUL, other]), new])), 2)

    def test_no_row_twice(self):
        with self.assertRaises(AssertionError):
            plot.bars("title", "axis", ["a", "a"], [1, 2], ["red", "red"])

    def test_model_names(self):
        for name, want in (("qwen3-4b", "Qwen3-4B"), ("llama-3.2-1b", "Llama-3.2-1B"), ("smollm2-135m", "Smollm2-135m")):
            self.assertEqual(plot.model_title(name), want)
        rows = [{"model": ""}]
        self.assertEqual(plot.model_name(pathlib.Path("model-qwen3-4b-8sm.json"), {"results": rows}), "qwen3-4b")
        self.assertEqual(plot.model_name(pathlib.Path("model.json"), {"results": [{"model": "Own"}]}), "Own")


class Published(unittest.TestCase):
    """Charts of the result files of this repository."""

    @classmethod
    def setUpClass(cls):
        cls.figures, finish = {}, plot.finish

        def keep(figure, *arguments):
            path = finish(figure, *arguments)
            cls.figures[path.name] = figure
            return path

        cls.by_kind, cls.refused = plot.read(ROOT / "benches/results")
        # Figures stay open to be looked at. Drawing raises where labels overlap or do not fit.
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(plot, "finish", keep), mock.patch.object(plt, "close"):
            plot.draw(cls.by_kind, pathlib.Path(folder))
            cls.drawn = {path.name for path in pathlib.Path(folder).iterdir()}

    @classmethod
    def tearDownClass(cls):
        plt.close("all")

    def test_nothing_is_refused_and_something_drawn(self):
        self.assertEqual(self.refused, 0)
        self.assertGreaterEqual(len(self.drawn), 8)

    def test_the_page_shows_what_is_drawn(self):
        page = (ROOT / "docs/performance.md").read_text()
        shown = re.findall(r"!\[[^\]]+\]\(images/([^)]+)\)", page)
        self.assertEqual(collections.Counter(shown), collections.Counter(self.drawn))
        self.assertEqual({path.name for path in (ROOT / "docs/images").iterdir()}, self.drawn)

    def test_titles_say_what_where_and_when(self):
        for name, figure in self.figures.items():
            title = figure.axes[0].get_title()
            self.assertRegex(title, r"H200", name)
            self.assertRegex(title, r"\b8 SMs|132 SMs", name)
            self.assertRegex(title, r"2026-\d\d-\d\d", name)
            if "-model-" in name:
                self.assertIn("Qwen3-4B", title, name)

    def test_ratios_have_an_axis_that_says_so(self):
        for name, figure in self.figures.items():
            if "-peers-" in name:
                self.assertRegex(figure.axes[0].get_xlabel(), r"^speed-up over \w.*, log scale: above 1 reflex-infer is faster$")
                self.assertEqual(figure.axes[0].get_xscale(), "log")

    def test_no_peer_is_drawn_twice(self):
        seen = collections.Counter()
        for name, figure in self.figures.items():
            if "-peers-" in name:
                sms = name.rsplit("-", 2)[1]
                rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
                seen.update((sms, row) for row in rows)
        self.assertGreater(len(seen), 100)
        self.assertEqual([row for row, times in seen.items() if times > 1], [])

    def test_figures_are_the_files(self):
        """The value beside each bar is the file's, of the newest file that has it."""
        figure = self.figures["nvidia-h200-peers-model-132-sms.png"]
        rows = json.loads((ROOT / "benches/results/h200/peers-model.json").read_text())["results"]
        shown = texts(figure)
        for row in rows:
            self.assertIn(f"{row['ratio']:.3g}", shown)

    def test_crowded_labels_are_refused(self):
        by_kind = copy.deepcopy(dict(self.by_kind))
        path, crowded = by_kind["model"][0]
        rows = [row for row in crowded["results"] if row["name"] == "decode"]
        crowded["results"] = rows + [{**rows[0], "shape": {**rows[0]["shape"], "depth": rows[0]["shape"]["depth"] + 1}}]
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(ValueError, "overlap"):
                plot.model("qwen3-4b", crowded, pathlib.Path(folder))


if __name__ == "__main__":
    unittest.main()
