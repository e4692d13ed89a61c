"""bench/gpu/measure.py with programs that fail, hang or print nonsense: the other rows are measured and the table is printed."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

MEASURE = pathlib.Path(__file__).resolve().parents[3] / "bench/gpu/measure.py"
STEP = '#!/bin/sh\necho \'{"ms": 2.0, "peak_MiB": 10, "gradient_difference": 0.001}\'\n'


class Measure(unittest.TestCase):
    def measured(self, **programs):
        """Rows by name and side, the exit code and what was printed, with these programs in place of the built ones."""
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            usual = {"bench/train_step_bench": STEP, "python": '#!/bin/sh\necho \'{"ms": 6.0, "peak_MiB": 40, "torch": "2"}\'\n',
                     "bench/gpu/gpu_bench": '#!/bin/sh\necho \'{"ours_ms": 1.0, "theirs_ms": 1.0}\'\n'}
            for name, text in {**usual, **{n.replace("__", "/"): t for n, t in programs.items()}}.items():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_text(text)
                (work / name).chmod(0o755)
            out = work / "results.json"
            done = subprocess.run([sys.executable, MEASURE, "--build", work, "--python", work / "python", "--out", out,
                                   "--budget", "60", "--limit", "2"], capture_output=True, text=True)
            rows = json.loads(out.read_text())["rows"]
        return {(row["what"], row["against"]): row for row in rows}, done.returncode, done.stdout

    def test_what_the_compiled_baseline_cannot_do_costs_its_own_rows_alone(self):
        rows, code, printed = self.measured(
            python='#!/bin/sh\ncase "$*" in *compiled*) echo "no triton" >&2; exit 1;; esac\n'
                   'echo \'{"ms": 6.0, "peak_MiB": 40, "torch": "2"}\'\n')
        self.assertEqual(rows["step, tinynet", "eager, TF32 convolutions"]["ratio"], 3)
        self.assertIn("no triton", rows["step, tinynet", "compiled, bf16"]["met"])
        self.assertEqual(rows["--cuda-graph, resnet18", "step without"]["ratio"], 1)
        self.assertEqual(rows["peak memory, resnet18", "eager"]["ratio"], 0.25)
        self.assertEqual(code, 1)
        self.assertIn("U-Net inference", printed)

    def test_a_program_that_hangs_leaves_time_for_the_rest(self):
        rows, code, printed = self.measured(
            bench__gpu__gpu_bench='#!/bin/sh\n[ $1 != loss ] || exec sleep 30\necho \'{"ours_ms": 1.0, "theirs_ms": 1.0}\'\n')
        self.assertIn("not done in 2 s", rows["loss, 16,384 rows", "its cuBLAS products"]["met"])
        self.assertEqual(rows["U-Net inference", "bare forward"]["met"], "yes")
        self.assertEqual(code, 1)
        self.assertIn("U-Net inference", printed)

    def test_a_program_that_prints_nothing_or_something_else_is_no_end_of_the_table(self):
        for text in ("#!/bin/sh\n", "#!/bin/sh\necho hello\n", "#!/bin/sh\necho '{}'\n"):
            rows, code, printed = self.measured(bench__gpu__gpu_bench=text)
            self.assertTrue(rows["augmentation", "device copy"]["met"].startswith("not run"))
            self.assertEqual(rows["step, resnet18", "compiled, bf16"]["met"], "yes")
            self.assertEqual(code, 1)
            self.assertIn("U-Net inference", printed)


if __name__ == "__main__":
    unittest.main()
