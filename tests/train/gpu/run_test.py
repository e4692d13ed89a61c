"""bench/gpu/run.sh with stand-ins for cmake, ninja, ctest and Python: what the build and the tests leave to the benchmarks."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

RUN = pathlib.Path(__file__).resolve().parents[3] / "bench/gpu/run.sh"
QUIET = "#!/bin/sh\nexit 0\n"


def ninja(seconds, code=0):
    return (f'#!/bin/sh\n[ "$4" = targets ] && echo "gpu_tests: phony" && exit 0\n'
            f'echo "[17/230] Building CXX object a.o"\n[ {seconds} = 0 ] || exec sleep {seconds}\nexit {code}\n')


class Run(unittest.TestCase):
    def run_with(self, seconds=60, kept=30, arguments=(), work=None, **programs):
        """Exit code, what was printed, the arguments of measure.py (None where it was not reached). With `work` what an earlier call
        left there is found again; work/calls has the programs that were called."""
        with tempfile.TemporaryDirectory() as own:
            work = pathlib.Path(work or own)
            (work / "asked").unlink(missing_ok=True)
            (work / "calls").write_text("")
            usual = {"cmake": QUIET, "ninja": ninja(0), "ctest": QUIET, "nvidia-smi": "#!/bin/sh\necho 'GPU 0: a card'\n",
                     "compute-sanitizer": QUIET, "ncu": QUIET,
                     "python": f'#!/bin/sh\ncase "$1" in *measure.py) echo "$@" >{work}/asked;; esac\n'}
            for name, text in {**usual, **{n.replace("_", "-"): t for n, t in programs.items()}}.items():
                shell, _, rest = text.partition("\n")
                (work / name).write_text(f"{shell}\necho {name} >>{work}/calls\n{rest}")
                (work / name).chmod(0o755)
            done = subprocess.run(["bash", RUN, "--out", work / "out", *arguments], capture_output=True, text=True, timeout=100,
                                  env={**os.environ, "PATH": f"{work}:{os.environ['PATH']}", "WSP_PYTHON": str(work / "python"),
                                       "WSP_BUILD_DIR": str(work / "build"), "WSP_SECONDS": str(seconds),
                                       "WSP_BENCH_SECONDS": str(kept)})
            asked = (work / "asked").read_text().split() if (work / "asked").exists() else None
        return done.returncode, done.stdout + done.stderr, asked

    def budget(self, asked):
        return int(asked[asked.index("--budget") + 1])

    def test_what_is_built_leaves_all_the_time_to_the_benchmarks(self):
        code, printed, asked = self.run_with(arguments=("--tflops", "312", "--gbps", "1555"))
        self.assertEqual(code, 0, printed)
        self.assertGreaterEqual(self.budget(asked), 55)
        self.assertEqual(asked[-4:], ["--tflops", "312", "--gbps", "1555"])

    def test_a_build_that_is_not_done_is_said_and_kept_for_the_next_run(self):
        code, printed, asked = self.run_with(seconds=53, ninja=ninja(60))
        self.assertEqual(code, 75, printed)
        self.assertIsNone(asked)
        for words in ("THE BUILD IS NOT DONE", "[17/230]", "run the same command again"):
            self.assertIn(words, printed)

    def test_a_slow_build_and_hanging_tests_leave_the_benchmarks_their_time(self):
        code, printed, asked = self.run_with(seconds=56, kept=34, ninja=ninja(1), ctest="#!/bin/sh\nexec sleep 60\n")
        self.assertEqual(code, 1, printed)
        self.assertGreaterEqual(self.budget(asked), 33)
        self.assertRegex(printed, r"tests were not done in 2\d s; run again")

    def test_a_build_that_fails_measures_what_there_is(self):
        code, printed, asked = self.run_with(ninja=ninja(0, code=1))
        self.assertEqual(code, 1, printed)
        self.assertIn("the build is not complete", printed)
        self.assertIsNotNone(asked)

    def test_a_second_call_goes_on_where_the_first_ended(self):
        with tempfile.TemporaryDirectory() as work:
            calls = lambda: set(pathlib.Path(work, "calls").read_text().split())  # noqa: E731
            late = 'case "$1" in *measure.py) echo "$@" >$(dirname $0)/asked; exit 75;; esac\n'
            code, printed, first = self.run_with(work=work, seconds=40, python=f"#!/bin/sh\n{late}")
            self.assertEqual(code, 75, printed)
            self.assertIn("LEFT FOR THE NEXT CALL: benchmarks", printed)
            code, printed, second = self.run_with(work=work)
            self.assertEqual(code, 0, printed)
            self.assertEqual(first[first.index("--go-on") + 1], second[second.index("--go-on") + 1])
            self.assertEqual(calls() & {"ninja", "ctest"}, set(), "built and tested twice")
            code, printed, third = self.run_with(work=work)
            self.assertEqual((code, third, calls() & {"compute-sanitizer", "ncu", "ctest"}), (0, None, set()), printed)
            code, printed, fourth = self.run_with(work=work, nvidia_smi="#!/bin/sh\necho 'GPU 0: another card'\n")
            self.assertEqual(code, 0, printed)
            self.assertNotEqual(fourth[fourth.index("--go-on") + 1], second[second.index("--go-on") + 1])
            self.assertEqual(calls() & {"ninja", "ctest", "compute-sanitizer", "ncu"},
                             {"ninja", "ctest", "compute-sanitizer", "ncu"})

    def test_what_the_sanitizer_finds_is_a_failure_and_a_profile_that_is_not_allowed_is_none(self):
        code, printed, _ = self.run_with(compute_sanitizer='#!/bin/sh\ncase "$*" in *racecheck*) echo hazard; exit 9;; esac\n')
        self.assertEqual(code, 1, printed)
        self.assertIn("found something or did not end: racecheck", printed)
        code, printed, _ = self.run_with(ncu="#!/bin/sh\necho ERR_NVGPUCTRPERM\nexit 1\n")
        self.assertEqual(code, 0, printed)
        self.assertIn("ERR_NVGPUCTRPERM", printed)

    def test_tests_that_failed_are_told_again_and_not_run_again(self):
        with tempfile.TemporaryDirectory() as work:
            for _ in range(2):
                code, printed, _ = self.run_with(work=work, ctest="#!/bin/sh\nexit 8\n")
                self.assertEqual(code, 1, printed)
                self.assertIn("tests on the card failed", printed)
            self.assertNotIn("ctest", pathlib.Path(work, "calls").read_text())

    def test_the_defaults_keep_two_hundred_seconds_and_end_within_nine_minutes(self):
        text = RUN.read_text()
        total, kept = (int(re.search(rf"\$\{{{name}:-(\d+)\}}", text).group(1)) for name in ("WSP_SECONDS", "WSP_BENCH_SECONDS"))
        self.assertGreaterEqual(kept, 200)
        self.assertLess(total, 540)


if __name__ == "__main__":
    unittest.main()
