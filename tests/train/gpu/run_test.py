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
    def run_with(self, seconds=60, kept=30, arguments=(), **programs):
        """Exit code, what was printed, the arguments of measure.py (None where it was not reached)."""
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            usual = {"cmake": QUIET, "ninja": ninja(0), "ctest": QUIET, "nvidia-smi": "#!/bin/sh\necho 'GPU 0: a card'\n",
                     "python": f'#!/bin/sh\ncase "$1" in *measure.py) echo "$@" >{work}/asked;; esac\n'}
            for name, text in {**usual, **{n.replace("_", "-"): t for n, t in programs.items()}}.items():
                (work / name).write_text(text)
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

    def test_the_defaults_keep_two_hundred_seconds_and_end_within_nine_minutes(self):
        text = RUN.read_text()
        total, kept = (int(re.search(rf"\$\{{{name}:-(\d+)\}}", text).group(1)) for name in ("WSP_SECONDS", "WSP_BENCH_SECONDS"))
        self.assertGreaterEqual(kept, 200)
        self.assertLess(total, 540)


if __name__ == "__main__":
    unittest.main()
