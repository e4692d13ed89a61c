"""bench/gpu: every program of the GPU's table runs, here on the CPU at sizes that mean nothing; without a card the script says
what it would do; the roofline's counts are those of the layers, and `gpu_bench layers` times every stage that it has."""
import json
import os
import pathlib
import subprocess
import sys

import support

BUILD = pathlib.Path(os.environ["WSP_BINARY_DIR"])
SCRIPTS = support.SOURCE / "bench" / "gpu"
DEBIAN_PYTHON = "/usr/bin/python3"  # whose torch the baseline uses


def script(*arguments, expect, **environment):
    done = subprocess.run(["bash", SCRIPTS / "run.sh", *map(str, arguments)], capture_output=True, text=True, timeout=800,
                          env={**os.environ, "WSP_PYTHON": DEBIAN_PYTHON, "WSP_BUILD_DIR": str(BUILD), **environment})
    support.check(done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


# The counts, against a count by hand: TinyNet's second layer on 512 x 512, and twice the batch is twice the work.
sys.path.insert(0, str(SCRIPTS))
import roofline  # noqa: E402

stages = {name: (flops, moved) for name, flops, moved in roofline.stages("tinynet", 64, 512, 2)}
first = (512 - 4) // 2
support.check(stages["conv2 5x5, pool, ReLU, forward"][0] == 2 * 128 * 32 * (first - 4) ** 2 * 16 * 25, stages)
support.check(stages["conv2 5x5, pool, ReLU, backward"][0] == 2 * stages["conv2 5x5, pool, ReLU, forward"][0], stages)
for encoder in ("tinynet", "resnet18"):
    one, two = (sum(f for name, f, _ in roofline.stages(encoder, b, 512, 2) if "conv" in name or "layer" in name) for b in (64, 128))
    support.check(two == 2 * one, (encoder, one, two))
# ResNet-18's published 1.8 G multiply-adds are of three channels at 224 x 224.
forward = sum(f for name, f, _ in roofline.stages("resnet18", 1, 224, 2) if name.endswith("forward")) / 2
forward += 2 * 64 * 112 * 112 * 2 * 49
support.check(abs(forward / 2 / 1.814e9 - 1) < 0.01, forward)
for more in ([], ["--layers"]):
    *rows, whole = json.loads(subprocess.run([sys.executable, SCRIPTS / "roofline.py", "--json", *more], capture_output=True,
                                             check=True).stdout)["rows"]
    support.check(len(rows) == (43 if more else 13), rows)
    support.check(abs(whole["floor_ms"] - sum(r["floor_ms"] for r in rows)) < 1e-9 and abs(whole["floor_ms"] - 8.936) < 1e-3, whole)

script("--nonsense", expect=2)
if subprocess.run(["sh", "-c", "nvidia-smi -L | grep -q ^GPU"], capture_output=True).returncode != 0:
    told = script(expect=77).stdout
    for words in ("NO CUDA CARD", "NOTHING WAS MEASURED", "step, tinynet", "loss, 16,384 rows", "--quick"):
        support.check(words in told, told)

support.require("torch") if sys.executable == DEBIAN_PYTHON else None
with support.temporary() as work:
    out = pathlib.Path(work) / "results"
    # Exit 1: memory is counted on a card only, and our kernels need one: six rows cannot be run.
    # The stages are joined by their names: measure.py has no row of them unless gpu_bench timed just those of roofline.py.
    done = script("--device", "cpu", "--quick", "--out", out, expect=1, WSP_NO_BUILD="1", OMP_WAIT_POLICY="passive")
    results = json.loads((out / "results.json").read_text())
table = {(row["what"], row["against"]): row for row in results["rows"]}
support.check(len(table) == 22, list(table))
for (what, against), row in table.items():
    if "memory" in what or what.startswith("the same"):
        support.check(row["met"] == "not run: memory is counted on a card only", row)
        continue
    if what.startswith("--cuda-"):
        support.check(row["met"] == "not run: needs a card", row)
        continue
    support.check(row["met"] == "not judged" and row["ratio"] is not None and row["ours"] >= 0, row)
    support.check(what in done.stdout.split("== 3/5")[1], done.stdout)
support.check(0 <= table["batch 4,096 in 16 GB", "micro-batch 32"]["ratio"] < 1e-3, table)
for found, rows in zip(results["stages"], (14, 14), strict=True):
    support.check(found["met"] == "measured" and len(found["rows"]) == rows, found)
    support.check(all(row["measured_ms"] > 0 and row["gap"] is None for row in found["rows"]), found)
    whole = found["rows"][-1]
    support.check(3 * whole["measured_ms"] > max(row["measured_ms"] for row in found["rows"][:-1]), found)  # the machine may be busy
    support.check(f"| **whole step** | {whole['GFLOP']:.4g} |" in done.stdout, done.stdout)
support.check("known of 'cpu': --tflops and --gbps" in done.stdout, done.stdout)
support.check(done.stdout.rstrip().endswith("results.json"), "the table comes last")
print(f"{len(table)} rows in {results['facts']['seconds']} s")
