"""A cluster engineer's first day, by the scripts of docs/CLUSTER.md as they stand there: an install tree below a prefix, an ingest as a
job array, the merge, a training of two ranks under Slurm's variables that is told that its time ends, puts itself into the queue
again and goes on; its log is a file. Only paths and sizes are replaced. A launcher of two processes stands in for srun."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import support

TASKS = 8

# Two tasks of one node with the variables that srun gives them; signals go on to all, as Slurm's own do.
SRUN = """#!{python}
import os, signal, subprocess, sys
command = [a for a in sys.argv[1:] if not a.startswith("--kill-on-bad-exit")]
ranks = [subprocess.Popen(command, env={{**os.environ, "SLURM_PROCID": str(r), "SLURM_LOCALID": str(r), "SLURM_STEP_NUM_TASKS": "2"}})
         for r in range(2)]
signal.signal(signal.SIGTERM, lambda *_: [r.send_signal(signal.SIGTERM) for r in ranks])
sys.exit(max(r.wait() for r in ranks))
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$HOME/scontrol.log"
"""


def script(document, words):
    """The one block of shell of a document in which `words` stand."""
    blocks = [b for b in re.findall(r"^```sh\n(.*?)^```$", (support.SOURCE / document).read_text(), re.M | re.S) if words in b]
    support.check(len(blocks) == 1, f"{document}: {len(blocks)} blocks with '{words}'")
    return blocks[0]


def adapted(text, work, **sizes):
    """Paths below /data and /runs, and what makes the job small: each must stand in the script."""
    for told, instead in {"/data/": f"{work}/", **sizes}.items():
        support.check(told in text, f"'{told}' is not in the script:\n{text}")
        text = text.replace(told, instead)
    return text.replace("/runs/", f"{work}/runs/")


def install(work):
    """docs/INSTALL.md's own line, with another prefix."""
    (line,) = re.findall(r"^(cmake --install build/release --prefix) /opt/wsp$", (support.SOURCE / "docs/INSTALL.md").read_text(), re.M)
    subprocess.run([*line.replace("build/release", os.environ["WSP_BINARY_DIR"]).split(), work / "opt"], check=True, stdout=subprocess.DEVNULL)
    (work / "slurm").mkdir()
    for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
        (work / "slurm" / name).write_text(text)
        (work / "slurm" / name).chmod(0o755)
    # A home, a path, and nothing of the build.
    return {"HOME": str(work), "PATH": f"{work}/opt/bin:{work}/slurm:/usr/bin:/bin", "OMP_WAIT_POLICY": "passive", "LANG": "C.UTF-8"}


def ingest(work, environment):
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 12, "--seed", 3, "--slices", "12-14", "--size", 64, "--balance")
    (work / "cohort" / "export").rename(work / "export")
    shutil.copy(work / "cohort" / "labels.csv", work / "labels.csv")
    shutil.copy(work / "opt" / "share" / "wsp" / "data-manifests" / "phantom.json", work / "my.json")
    text = script("docs/CLUSTER.md", "--part slurm")
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", text).groups())
    support.check(last - first + 1 == TASKS, f"the array has tasks {first} to {last}")
    (work / "ingest.sh").write_text(adapted(text, work, **{"--threads 8": f"--threads 1 --size 64 --masks {work}/cohort/truth"}))
    tasks = [subprocess.Popen(["bash", "ingest.sh"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**environment, "SLURM_ARRAY_TASK_ID": str(k), "SLURM_ARRAY_TASK_MIN": str(first),
                                   "SLURM_ARRAY_TASK_MAX": str(last), "SLURM_ARRAY_TASK_COUNT": str(TASKS)})
             for k in range(first, last + 1)]
    for task in tasks:
        log = task.communicate(timeout=300)[0]
        support.check(task.returncode == 0, f"an array task: exit {task.returncode}\n{log}")
        readable(log)
    subprocess.run(["bash", "-c", adapted(script("docs/CLUSTER.md", "wsp-ingest merge /data/dataset"), work)], env=environment, check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["wsp-ingest", "verify", work / "dataset"], env=environment, check=True, stdout=subprocess.DEVNULL)
    cases = json.loads((work / "dataset" / "dataset.json").read_text())["counts"]["cases"]
    support.check(cases == 12, f"the merged dataset has {cases} of 12 cases")
    print(f"an array of {TASKS} tasks, merged: {cases} cases")


def readable(log):
    """A log that a person reads in an editor: lines, no colours, no bar that draws over itself."""
    strange = {c for c in log if not (c == "\n" or c.isprintable())}
    support.check(not strange, f"the log holds {strange}")


def job(work, environment, far_enough):
    """Run the training's job script until what its log gained is `far_enough`; then its time ends. Returns that."""
    log = work / "job.log"  # --open-mode=append
    before = len(log.read_text()) if log.exists() else 0
    with log.open("a") as out:
        batch = subprocess.Popen(["bash", "train.sh"], cwd=work, env={**environment, "SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "localhost"},
                                 stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 240
        while not far_enough(log.read_text()[before:]):
            support.check(batch.poll() is None and time.monotonic() < deadline, f"the job came to nothing:\n{log.read_text()[before:]}")
            time.sleep(0.2)
        # Slurm signals the tasks of the step, not the batch script.
        (srun,) = map(int, subprocess.run(["pgrep", "-P", str(batch.pid)], capture_output=True, text=True, check=True).stdout.split())
        os.kill(srun, signal.SIGTERM)
        code = batch.wait(timeout=120)
    gained = log.read_text()[before:]
    support.check(code == 143, f"the job ended with {code}:\n{gained}")
    return gained


def steps(work):
    lines = [json.loads(line) for line in (work / "runs" / "wsp" / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "train"]


def train(work, environment):
    text = script("docs/CLUSTER.md", "scontrol requeue \"$SLURM_JOB_ID\"")
    (work / "train.sh").write_text(adapted(text, work, **{"--encoder resnet18 --batch 256 --threads 8":
        "--encoder resnet18 --norm group --image-size 48 --batch 8 --threads 1 --device cpu --epochs 100000 --samples-per-epoch 800 --probe-every 0 "
        "--log-every 1 --checkpoint-every 20 --no-tensorboard --hold-back 0"}))
    # Without a terminal a line each 30 s tells how far it is.
    first = job(work, environment, lambda log: re.search(r"^.*\d+/\d+ \w+.* left", log, re.M))
    readable(first)
    support.check(first.count(" left") == 1, f"not one rank tells how far it is:\n{first}")
    done = steps(work)
    support.check((work / "scontrol.log").read_text().split() == ["requeue", "4711"], "the job did not put itself into the queue again")
    second = job(work, environment, lambda log: "going on after" in log and len(steps(work)) > len(done) + 2)
    readable(second)
    after = steps(work)
    support.check(f"going on after {done[-1]} of" in second and after == list(range(1, len(after) + 1)),
                  f"steps to {done[-1]}, then {after[len(done):][:5]}:\n{second}")
    run = json.loads((work / "runs" / "wsp" / "run.json").read_text())
    support.check((run["ranks"], run["launcher"]) == (2, "srun"), f"run.json: {run}")
    print(f"two ranks: {done[-1]} steps, told that time ends, then on to {after[-1]}")


def main():
    with support.temporary() as place:
        work = pathlib.Path(place)
        environment = install(work)
        ingest(work, environment)
        if not (support.BINARIES / "wsp-train").exists():
            support.skip("wsp-train is not built: the training under Slurm's variables was NOT tested")
        train(work, environment)


main()
