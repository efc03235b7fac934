"""What of the peers' adapters can be tested without a GPU and without the peers."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import llamacpp
import method
import mps

# Lines as ggml 0.25.3 prints them.
COLUMNS = ("test_time, build_commit, backend_name, op_name, op_params, test_mode, supported, passed, error_message, time_us, flops, "
           "bandwidth_gb_s, memory_kb, n_runs, device_description, backend_reg_name")


def perf_line(op_params, time_us="206.250000", memory_kb="32328", op="MUL_MAT", supported="1", mode="perf"):
    values = ("2026-11-20T19:34:42Z", "unknown", "CUDA0", op, op_params, mode, supported, supported, "", time_us, "569417000000.5",
              "0.000000", memory_kb, "853", "", "")
    return f"INSERT INTO test_backend_ops ({COLUMNS}) VALUES ('" + "', '".join(values) + "');\n"


def plain(dtype, rows, k=14336, per="[0,1,2,3]", more="k_v=0,o=1,src_overlap=0,m_v=0,pad=0"):
    return f"type_a={dtype},type_b=f32,m=4096,n={rows},k={k},bs=[1,1],nr=[1,1],per={per},{more}"


PERF = ("CREATE TABLE IF NOT EXISTS test_backend_ops (\n  test_time TEXT,\n  build_commit TEXT\n);\n\n"
        + perf_line(plain("q4_K", 1)) + perf_line(plain("q4_K", 512), "5363.25", "43840") + perf_line(plain("mxfp4", 8), "350.5", "30600")
        # None of these is one of the plain matmuls.
        + perf_line(plain("iq2_xs", 1)) + perf_line(plain("q4_K", 2, k=4096)) + perf_line(plain("q5_K", 1, per="[0,2,1,3]"))
        + perf_line(plain("q5_K", 1, more="k_v=0,o=2,src_overlap=0,m_v=0,pad=0")) + perf_line(plain("q5_K", 1), supported="0")
        + perf_line(plain("q5_K", 1), op="MUL_MAT_ID") + perf_line("type_a=f32,type_b=f32,m=4096,n=1,k=14336", op="MUL_MAT_HADAMARD"))
VERSION = "version: 0.5.0-dev (build 0, commit unknown)"


def program(folder, name, body):
    path = pathlib.Path(folder, name)
    path.write_text(f"#!{sys.executable} -S\nimport json, os, sys\nargv = sys.argv[1:]\n"
                    f"open(os.path.join({folder!r}, 'calls'), 'a').write(' '.join([{name!r}, *argv]) + '\\n')\n{body}")
    path.chmod(0o755)
    return path


# Says what it was asked on which share of the GPU; the SMs are those of a device of 132.
BENCH = """
share = float(os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", 100))
device = int(132 * share / 100)
count = int(argv[argv.index("--sm-count") + 1]) if "--sm-count" in argv else device
row = {"activations": "F32", "context": 0, "sm_count": count, "name": "shape", "model": "tiny", "batch": 1}
rows = []
if argv[0] == "model":
    rows = [dict(row, op="model", name=name, dtype="Q4_K", shape={"tokens": tokens, "depth": depth}, tokens_per_second=20.0)
            for name, tokens, depth in (("prefill", 512, 0), ("decode", 64, 0), ("decode", 64, 4096))]
else:
    for at, word in enumerate(argv):
        if word == "--shapes":
            m, n, k = map(int, argv[at + 1].split(","))
            rows.append(dict(row, op="matmul", dtype="Q4_K", shape={"m": m, "n": n, "k": k}, batch=m, us=103.125, flops=6e10,
                             cache="warm" if "--warm" in argv else "cold (rotated)"))
report = {"schema": "reflex-bench/1", "kind": argv[0], "results": rows,
          "environment": {"gpu": "none", "sm_count": count, "device_sm_count": device, "clocks": {}, "driver": "none"}}
json.dump(report, open(argv[argv.index("--json") + 1], "w"))
"""
LLAMA_BENCH = f"""
if argv == ["--version"]:
    sys.exit(print({VERSION!r}, file=sys.stderr))
def listed(option):
    return [int(n) for n in (argv[argv.index(option) + 1] if option in argv else "0").split(",")]
rows = [dict(n_prompt=p, n_gen=0, n_depth=0, avg_ts=40.0, stddev_ts=0.5) for p in listed("-p") if p]
rows += [dict(n_prompt=0, n_gen=n, n_depth=d, avg_ts=10.0, stddev_ts=0.5) for n in listed("-n") if n for d in listed("-d")]
print(json.dumps(rows))
"""
# The daemon's control program: -d starts it, "quit" on its input ends it.
MPS_CONTROL = """
place = os.path.join(os.environ["CUDA_MPS_PIPE_DIRECTORY"], "control")
if argv == ["-d"]:
    open(place, "w").close()
else:
    assert sys.stdin.read() == "quit\\n"
    os.unlink(place)
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


class Mps(unittest.TestCase):
    def test_percentage(self):
        for count, device in ((8, 132), (16, 132), (2, 20), (14, 16), (1, 1000)):
            share = mps.percentage(count, device)
            self.assertGreaterEqual(share * device / 100, count)
            self.assertLess((share - 0.1) * device / 100, count)

    def test_all_is_no_limit(self):
        with mps.limited(132, 132) as environment:
            self.assertEqual(environment, {})


class Llama(unittest.TestCase):
    def test_perf_lines(self):
        self.assertEqual(llamacpp.parse_perf(PERF), {
            ("Q4_K", 1): {"us": 206.25, "runs": 853, "bytes": 32328 * 1024},
            ("Q4_K", 512): {"us": 5363.25, "runs": 853, "bytes": 43840 * 1024},
            ("MXFP4", 8): {"us": 350.5, "runs": 853, "bytes": 30600 * 1024}})

    def test_what_perf_is_asked(self):
        with tempfile.TemporaryDirectory() as folder:
            perf = program(folder, "perf", f"print({PERF!r})")
            llamacpp.matmuls(str(perf), (1, 512), ("Q4_K", "IQ4_NL", "F16"))
            words = pathlib.Path(folder, "calls").read_text().split()
            self.assertEqual(words[1:6], ["perf", "-o", "MUL_MAT", "-b", "CUDA0"])
            asked = words[words.index("-p") + 1]
            for case in (plain("q4_K", 1), plain("iq4_nl", 512), plain("f16", 1)):
                self.assertRegex(case, asked)
            for case in (plain("bf16", 1), plain("q4_K", 51), plain("q4_K", 1, k=4096)):
                self.assertNotRegex(case, asked)

    def test_programs_that_fail(self):
        with tempfile.TemporaryDirectory() as folder:
            silent, broken = program(folder, "silent", ""), program(folder, "broken", "sys.exit('error: invalid device: CUDA0')")
            for what, reason in ((silent, "no matmul on CUDA0"), (broken, "invalid device"), ("/nonexistent/x", "No such file")):
                with self.assertRaisesRegex(llamacpp.PeerError, reason):
                    llamacpp.matmuls(str(what))
            with self.assertRaisesRegex(llamacpp.PeerError, "no JSON"):
                llamacpp.model(str(silent), "m.gguf", [512], [], 0)


class Compare(unittest.TestCase):
    """compare.py with programs that answer as the real ones do."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        self.bench = program(self.folder, "reflex-bench", BENCH)
        self.perf = program(self.folder, "test-backend-ops", f"print({PERF!r})")
        self.llama_bench = program(self.folder, "llama-bench", LLAMA_BENCH)
        self.out = pathlib.Path(self.folder, "out.json")

    def compare(self, *words):
        # Nothing of the machine's own: it may have MPS.
        environment = dict(os.environ, PATH=self.folder)
        environment.pop("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", None)
        # -S: no site-packages, so that torch is not there on any machine.
        return subprocess.run([sys.executable, "-S", HERE / "compare.py", *map(str, words)], capture_output=True, text=True,
                              env=environment)

    def one_run(self, *words):
        return self.compare("--bench", self.bench, "--ours", pathlib.Path(self.folder, "ours.json"), "--json", self.out,
                            "--llama-backend-ops", self.perf, "--llama-bench", self.llama_bench, "--model", "m.gguf", *words)

    def results(self):
        report = json.loads(self.out.read_text())
        self.assertEqual((report["schema"], report["kind"]), ("reflex-bench/1", "peers"))
        self.assertEqual(report["environment"]["peers"], {"llama.cpp": VERSION.removeprefix("version: ")})
        return {(row["name"], row["dtype"], *row["shape"].values()): row for row in report["results"]}

    def test_one_run(self):
        done = self.one_run("--", "--shapes", "1,64,256")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("torch cannot be imported", done.stderr)
        rows = self.results()
        row = rows["shape", "Q4_K", 1, 4096, 14336]
        self.assertEqual((row["ratio"], row["ours_us"], row["ours_cache"], row["us"]), (2.0, 103.125, "warm", 206.25))
        self.assertAlmostEqual(row["gb_s"], 32328 * 1024 / 206.25e3)
        # Theirs is told where ours has no such type.
        row = rows["shape", "MXFP4", 8, 4096, 14336]
        self.assertEqual((row["us"], "ratio" in row), (350.5, False))
        self.assertEqual((rows["prefill", "Q4_K", 512, 0]["ratio"], rows["decode", "Q4_K", 64, 4096]["ratio"]), (0.5, 2.0))
        self.assertEqual({row["sm_count"] for row in rows.values()}, {132})
        self.assertEqual(sum("mps" in line for line in pathlib.Path(self.folder, "calls").read_text().split("\n")), 0)

    def test_one_run_on_some_sms(self):
        program(self.folder, mps.CONTROL, MPS_CONTROL)
        done = self.one_run("--sm-count", "8", "--", "--shapes", "1,64,256")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = self.results()
        self.assertEqual({row["sm_count"] for row in rows.values()}, {8})
        self.assertTrue(all("MPS 6.1%" in row["note"] for row in rows.values()))
        calls = [line.strip() for line in pathlib.Path(self.folder, "calls").read_text().split("\n")]
        self.assertEqual([line for line in calls if line.startswith(mps.CONTROL)], [mps.CONTROL + " -d", mps.CONTROL])
        self.assertTrue(calls[0].startswith("reflex-bench ops") and calls[0].endswith("--sm-count 8"))

    def test_a_peer_that_fails_costs_no_other_result(self):
        program(self.folder, "test-backend-ops", "sys.exit(1)")
        done = self.one_run()
        self.assertEqual(done.returncode, 1)
        self.assertIn("ended with status 1", done.stderr)
        self.assertEqual({key[0] for key in self.results()}, {"prefill", "decode"})

    def test_without_mps(self):
        done = self.one_run("--sm-count", "8")
        self.assertEqual(done.returncode, 1)
        self.assertIn(mps.CONTROL, done.stderr)
        self.assertEqual(json.loads(self.out.read_text())["results"], [])

    def test_mps_that_limits_nothing_is_noticed(self):
        program(self.folder, mps.CONTROL, MPS_CONTROL)
        program(self.folder, "reflex-bench", BENCH.replace("share = ", "share = 100 or "))
        done = self.one_run("--sm-count", "8")
        self.assertEqual(done.returncode, 1)
        self.assertIn("was measured on 132 SMs, --ours on 8", done.stderr)

    def test_wrong_files_and_usage(self):
        ours = pathlib.Path(self.folder, "ours.json")
        ours.write_text("{}")
        done = self.compare("--ours", ours)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no result file", done.stderr)
        for words in ((), ("--ours", ours, "--llama-bench", "x"), ("--ours", ours, "--llama-backend-ops", "x"),
                      ("--ours", ours, "--llama-rows", "7"), ("--ours", ours, "--llama-dtypes", "Q9_K"), ("--bench", "x")):
            self.assertEqual(self.compare(*words).returncode, 2, words)


if __name__ == "__main__":
    unittest.main()
