"""bench/gpu/measure.py with programs that fail, hang or print nonsense: the other rows are measured and the table is printed; and
its rows of stages, beside the floors of roofline.py and the tables of docs/PERFORMANCE.md."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[3]
MEASURE = SOURCE / "bench/gpu/measure.py"
sys.dont_write_bytecode = True
sys.path.insert(0, str(MEASURE.parent))
import roofline  # noqa: E402

STEP = '#!/bin/sh\necho \'{"ms": 2.0, "peak_MiB": 10, "gradient_difference": 0.001}\'\n'


def gpu_bench(card, forget=None):
    """A stand-in that times every stage as 1, 2, 3, ... ms, but for one that it does not know."""
    return f"""#!{sys.executable} -B
import json, sys
sys.path.insert(0, {str(MEASURE.parent)!r})
import roofline
if sys.argv[1] != "layers":
    print('{{"ours_ms": 1.0, "theirs_ms": 1.0}}')
    sys.exit()
value = lambda name: sys.argv[sys.argv.index(name) + 1]
encoder, batch, size = value("--encoder"), int(value("--batch")), int(value("--size"))
keys = [row["key"] for row in roofline.table(encoder, batch, size, 2) if row["key"] != {forget!r}]
print(json.dumps({{"encoder": encoder, "batch": batch, "size": size, "bytes": 2, "precision": "bf16", "channels_last": True,
                  "card": {card!r}, "stages": [{{"stage": key, "ms": i + 1.0}} for i, key in enumerate(keys)]}}))
"""


class Measure(unittest.TestCase):
    def measured(self, *arguments, earlier=None, budget=60, **programs):
        """Rows by name and side, the exit code and what was printed, with these programs in place of the built ones. The rows of
        stages stand in self.stages, by encoder."""
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            usual = {"bench/train_step_bench": STEP, "python": '#!/bin/sh\necho \'{"ms": 6.0, "peak_MiB": 40, "torch": "2"}\'\n',
                     "bench/gpu/gpu_bench": '#!/bin/sh\necho \'{"ours_ms": 1.0, "theirs_ms": 1.0}\'\n'}
            for name, text in {**usual, **{n.replace("__", "/"): t for n, t in programs.items()}}.items():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_text(text)
                (work / name).chmod(0o755)
            out = work / "results.json"
            if earlier is not None:
                out.write_text(json.dumps(earlier))
            done = subprocess.run([sys.executable, MEASURE, "--build", work, "--python", work / "python", "--out", out,
                                   "--budget", str(budget), "--limit", "2", *arguments], capture_output=True, text=True)
            results = self.results = json.loads(out.read_text())
        rows = results["rows"]
        self.stages = {found["encoder"]: found for found in results["stages"]}
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

    def test_every_stage_stands_beside_the_floor_of_the_card(self):
        _, _, printed = self.measured(bench__gpu__gpu_bench=gpu_bench("NVIDIA H100 PCIe"))
        rows = {row["stage"]: row for row in self.stages["tinynet"]["rows"]}
        self.assertEqual(len(rows), 14)
        back = rows["conv2 5x5, pool, ReLU, backward"]
        flops = 2 * 2 * 128 * 32 * 250 * 250 * 16 * 25  # twice that of the way forward, on 250 x 250 outputs
        self.assertEqual(back["measured_ms"], 5)
        self.assertAlmostEqual(back["floor_ms"], 1000 * flops / 756e12)
        self.assertAlmostEqual(back["gap"], 5 / back["floor_ms"])
        self.assertEqual(rows["whole step"]["measured_ms"], 14)
        self.assertIn(f"| conv2 5x5, pool, ReLU, backward | 409.6 | 720.6 | {back['floor_ms']:.3f} | 5.000 | {5 / back['floor_ms']:.1f} |",
                      printed)
        self.assertIn("on NVIDIA H100 PCIe; floor at 756 TFLOP/s and 2000 GB/s", printed)
        self.assertEqual([row["key"] for row in self.stages["resnet18"]["rows"]][1:5],
                         ["conv1 forward", "conv1 backward", "layer1 forward", "layer1 backward"])
        self.assertLess(printed.index("**whole step**"), printed.index("U-Net inference"))

    def test_a_card_that_nobody_knows_has_no_gap_unless_its_peaks_are_given(self):
        unknown = gpu_bench("NVIDIA H100 80GB HBM3 MIG 1g.10gb")
        _, _, printed = self.measured(bench__gpu__gpu_bench=unknown)
        self.assertIn("no peaks of half precision are known of 'NVIDIA H100 80GB HBM3 MIG 1g.10gb': --tflops and --gbps", printed)
        for row in self.stages["resnet18"]["rows"]:
            self.assertEqual((row["floor_ms"], row["gap"], row["measured_ms"] > 0), (None, None, True))
        self.measured("--tflops", "100", "--gbps", "400", bench__gpu__gpu_bench=unknown)
        copied = self.stages["resnet18"]["rows"][0]
        self.assertEqual(copied["stage"], "augmentation")
        self.assertAlmostEqual(copied["floor_ms"], 1000 * 64 * 512 * 512 * (2 + 2 * 2) / 400e9)

    def test_a_stage_that_is_not_timed_is_not_passed_over(self):
        _, code, printed = self.measured(bench__gpu__gpu_bench=gpu_bench("NVIDIA H200", forget="layer3 backward"))
        self.assertEqual(self.stages["tinynet"]["met"], "measured")
        self.assertIn("roofline.py has", self.stages["resnet18"]["met"])
        self.assertEqual((self.stages["resnet18"]["rows"], code), ([], 1))
        self.assertIn("U-Net inference", printed)


    def test_what_was_measured_under_the_same_key_is_not_measured_again(self):
        _, code, _ = self.measured("--go-on", "one", budget=10)
        self.assertEqual(code, 75, "no program starts with less than 15 s")
        self.measured("--go-on", "one", bench__gpu__gpu_bench=gpu_bench("NVIDIA H200"))
        done = self.results
        none = "#!/bin/sh\necho it was measured again >&2\nexit 1\n"
        nothing = {"bench__train_step_bench": none, "bench__gpu__gpu_bench": none, "python": none}
        rows, _, _ = self.measured("--go-on", "one", earlier=done, **nothing)
        self.assertEqual(rows["loss, 16,384 rows", "its cuBLAS products"]["ratio"], 1)
        self.assertEqual(self.stages, {found["encoder"]: found for found in done["stages"]})
        for key in (["--go-on", "two"], []):
            rows, _, _ = self.measured(*key, earlier=done, **nothing)
            self.assertIn("measured again", rows["loss, 16,384 rows", "its cuBLAS products"]["met"])
        # A row that failed is measured anew; the steps that it needs are those of before.
        done["rows"][0]["met"] = "not run: out of time"
        rows, _, _ = self.measured("--go-on", "one", earlier=done, **nothing)
        self.assertEqual(rows["step, tinynet", "eager, TF32 convolutions"]["ratio"], 3)


class Documented(unittest.TestCase):
    def test_the_stages_and_counts_are_those_of_roofline(self):
        def told(table):
            return [line.split("|")[1:4] for line in table.splitlines()]

        sections = (SOURCE / "docs/PERFORMANCE.md").read_text().split("\n\n")
        found = [told(section) for section in sections if section.startswith("| stage | GFLOP | MB |")]
        self.assertEqual(found, [told(roofline.markdown(roofline.table(encoder, 64, 512, 2))) for encoder in ("tinynet", "resnet18")])


if __name__ == "__main__":
    unittest.main()
