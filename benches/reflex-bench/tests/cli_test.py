"""The program as a user meets it: cli_test.py REFLEX-BENCH."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
TABLE = ROOT / "src/tuning/data_center.rs"
OPS = {op["name"] for op in json.loads((ROOT / "include/reflex/api.json").read_text())["ops"]}
PROGRAM = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "reflex-bench").resolve()


def run(*words):
    # With no GPU visible the tests are the same on every machine.
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES="")
    for name in ("REFLEX_AS", "REFLEX_IMPL", "REFLEX_TUNING"):
        environment.pop(name, None)
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=300, env=environment)


class Messages(unittest.TestCase):
    def one_line(self, status, *words):
        got = run(*words)
        self.assertEqual(got.returncode, status, got)
        self.assertEqual(got.stdout, "")
        self.assertEqual(got.stderr.count("\n"), 1, got.stderr)
        self.assertTrue(got.stderr.startswith("reflex-bench: "), got.stderr)
        return got.stderr

    def test_help(self):
        got = run("--help")
        self.assertEqual(got.returncode, 0)
        self.assertTrue(got.stdout.startswith("usage: reflex-bench"))
        for op in OPS:
            self.assertRegex(got.stdout, rf"\b{op}\b")

    def test_wrong_usage(self):
        self.assertIn("--fast", self.one_line(2, "ops", "--fast"))
        self.one_line(2)
        self.one_line(2, "model")
        self.assertIn("expected one of activation, add", self.one_line(2, "ops", "--op", "softmin"))
        self.assertIn("expected one of orin-nano", self.one_line(2, "ops", "--as", "orin"))
        self.assertIn("--backend cuda", self.one_line(2, "ops", "--as", "orin-nano", "--backend", "cpu"))

    def test_what_the_library_is_asked_for(self):
        cpu = ["ops", "--backend", "cpu", "--op", "norm", "--shapes", "tiny"]
        self.assertIn("sets norm.warp, expected one of", self.one_line(1, *cpu, "--tuning", "norm.warp=1"))
        self.assertIn("a whole number from 0 to 3056", self.one_line(1, *cpu, "--tuning", "norm.warp_dim=4000"))
        self.assertIn("expected op:candidate", self.one_line(1, *cpu, "--impl", "norm"))

    def test_a_table_has_every_entry(self):
        self.one_line(1, "tune", "--table", "/nonexistent", "--backend", "cpu")
        self.assertIn("the table has no matmul.", self.one_line(1, "tune", "--table", __file__, "--backend", "cpu"))

    def test_wrong_case(self):
        self.assertIn("norm has no key row", self.one_line(2, "check", "--case", "norm row=3"))
        self.assertIn("expected one of smoke, full", self.one_line(2, "check", "--tier", "slow"))
        self.assertIn("checked, not measured", self.one_line(2, "ops", "--case", "norm gap=3"))
        self.assertIn("sets up no norm with values=special",
                      self.one_line(2, "check", "--backend", "cpu", "--case", "norm values=special"))
        self.assertIn("expected a format, a number",
                      self.one_line(2, "check", "--backend", "cpu", "--case", "matmul weight=q8_0 rows=1 n=8 k=64 others=q9:8"))

    def test_without_a_gpu(self):
        self.assertIn("cannot check", self.one_line(2, "check"))
        self.assertIn("cannot measure ops", self.one_line(2, "ops"))
        self.assertIn("cannot measure ops", self.one_line(2, "ops", "--as", "orin-nano"))
        self.assertIn("cannot measure tune", self.one_line(2, "tune", "--table", TABLE))
        self.assertIn("cannot measure ceiling", self.one_line(2, "ceiling", "--sm-count", "8"))
        with tempfile.NamedTemporaryFile() as model:
            self.assertIn("cannot measure model", self.one_line(2, "model", model.name, "--llm", "/bin/true"))

    def test_model_needs_its_program(self):
        self.assertIn("--llm", self.one_line(2, "model", "x.gguf", "--llm", "/nonexistent", "--backend", "cpu"))

    def test_wrong_baseline(self):
        self.one_line(1, "ops", "--backend", "cpu", "--compare", "/nonexistent.json")


class Tune(unittest.TestCase):
    def test_every_entry_on_the_cpu(self):
        with tempfile.TemporaryDirectory() as folder:
            report, table = pathlib.Path(folder, "tune.json"), pathlib.Path(folder, "table.rs")
            got = run("tune", "--backend", "cpu", "--table", TABLE, "--shapes", "tiny", "--dtype", "Q4_K", "--seconds",
                      "0.001", "--json", report, "--out", table)
            self.assertEqual(got.returncode, 0, got)
            self.assertIn("NO MEASUREMENT", got.stdout)
            self.assertIn("0 numbers changed", got.stdout)
            # Nothing wins on a CPU.
            self.assertEqual(table.read_text(), TABLE.read_text())
            found = json.loads(report.read_text())
            self.assertEqual(found["kind"], "tune")
            names = {row["parameter"] for row in found["parameters"]}
            self.assertLessEqual({"matmul.warps", "attention_decode.ends", "norm.warp_dim"}, names)
            for row in found["parameters"]:
                self.assertEqual(row["before"], row["after"])
                self.assertTrue(row["cases"] and row["tried"], row)
                self.assertTrue(all(case[str(row["before"])]["median"] > 0 for case in row["cases"]), row)


class EveryCase(unittest.TestCase):
    def test_set_up_on_the_cpu(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = (pathlib.Path(folder, name) for name in ("first.json", "second.json"))
            words = ["ops", "--backend", "cpu", "--shapes", "tiny", "--rows", "1,3", "--context", "40"]
            got = run(*words, "--json", first, "--md", pathlib.Path(folder, "t.md"))
            self.assertEqual(got.returncode, 0, got)
            self.assertIn("NO MEASUREMENT", got.stdout)
            report = json.loads(first.read_text())
            self.assertEqual(report["schema"], "reflex-bench/1")
            self.assertEqual(report["environment"]["backend"], "cpu")
            self.assertEqual({row["op"] for row in report["results"]}, OPS)
            for row in report["results"]:
                self.assertNotIn("error", row)
                self.assertEqual(row["kernel"], "cpu")
                self.assertGreater(row["us"], 0)
            got = run(*words, "--compare", first, "--json", second)
            self.assertEqual(got.returncode, 0, got)
            self.assertIn("vs before", got.stdout)
            self.assertTrue(all(row["speedup"] > 0 for row in json.loads(second.read_text())["results"]))

    def test_layouts_and_computations(self):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "report.json")
            words = ["ops", "--backend", "cpu", "--op", "matmul,embedding", "--shapes", "tiny", "--rows", "1,3",
                     "--dtype", "Q4_K,Q8_0,F16", "--layout", "native,packed", "--compute", "exact,int8,int8_quantize"]
            got = run(*words, "--json", report)
            self.assertEqual(got.returncode, 0, got)
            rows = json.loads(report.read_text())["results"]
            self.assertTrue(all("error" not in row and row["us"] > 0 for row in rows), rows)
            of = lambda field: {row.get(field) for row in rows if row["op"] == "matmul"}
            self.assertEqual(of("dtype"), {"Q4_K", "Q4_K_PACKED", "Q4_K+Q6_K", "Q4_K+Q6_K_PACKED", "Q8_0",
                                           "Q8_0_PACKED", "F16"})
            self.assertEqual(of("compute"), {None, "int8", "int8_quantize"})
            self.assertEqual(of("activations"), {"F32", "ACT_I8"})
            self.assertLessEqual({"attn_qkv", "ffn_gate_up"}, of("name"))

    def test_problems_of_the_lists(self):
        got = run("check", "--backend", "cpu")
        self.assertEqual(got.returncode, 0, got)
        *lines, last = got.stdout.splitlines()
        self.assertRegex(last, "^[0-9]+ more problems are those of reflex-gpu-tests alone$")
        self.assertEqual(len(lines), len(set(lines)))
        for line in lines:
            self.assertRegex(line, r"^test [a-z_]+( [a-z0-9_]+=[^ =]+)+ \.\.\. ok$")
        self.assertGreater(len(lines), 400)
        self.assertEqual({line.split()[1] for line in lines}, {path.stem for path in ROOT.glob("cases/*.txt")})

    def test_described_problems(self):
        words = ["--case", "norm rows=2 dim=64|128 y=act_i8", "--case", "attention_decode heads=4 lengths=700"]
        got = run("check", "--backend", "cpu", *words)
        self.assertEqual(got.stdout, "test norm rows=2 dim=64 y=act_i8 ... ok\ntest norm rows=2 dim=128 y=act_i8 ... ok\n"
                                     "test attention_decode heads=4 lengths=700 ... ok\n")
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "report.json")
            got = run("ops", "--backend", "cpu", *words, "--json", report)
            self.assertEqual(got.returncode, 0, got)
            rows = json.loads(report.read_text())["results"]
            self.assertEqual([row["name"] for row in rows],
                             ["rows=2 dim=64 y=act_i8", "rows=2 dim=128 y=act_i8", "heads=4 lengths=700"])

    def test_the_report_tells_what_the_library_was_asked_for(self):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "report.json")
            got = run("ops", "--backend", "cpu", "--op", "norm", "--shapes", "tiny", "--json", report, "--impl",
                      "norm:block", "--tuning", "norm.warp_dim=64")
            self.assertEqual(got.returncode, 0, got)
            environment = json.loads(report.read_text())["environment"]
            self.assertEqual(environment["impl"], "norm:block")
            self.assertEqual(environment["tuning"], "norm.warp_dim=64")
            self.assertNotIn("as", environment)

    def test_one_shape(self):
        got = run("ops", "--backend", "cpu", "--op", "matmul", "--shapes", "2,64,256", "--dtype", "Q6_K")
        self.assertEqual(got.returncode, 0, got)
        self.assertIn("m=2 n=64 k=256", got.stdout)


if __name__ == "__main__":
    unittest.main()
