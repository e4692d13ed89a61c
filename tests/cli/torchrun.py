"""Ranks that torchrun starts, met in the agent's own rendezvous: where its agent holds the store and where it does not, and started
again by it. WSP_TORCHRUN names the command; without it the Python that runs this, or Debian's, is asked for Torch's module."""
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import support

tools = pathlib.Path(os.environ["WSP_TOOLS_DIR"])
make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"


def makes_stores(python):
    """Debian 14's torchrun makes none: it asks for libuv, which its Torch was built without."""
    store = "import torch.distributed as d; d.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)"
    return "without libuv" not in subprocess.run([python, "-c", store], capture_output=True, text=True).stderr


def launcher():
    """The command, and the version of its Torch where that can be asked."""
    if os.environ.get("WSP_TORCHRUN"):
        return shlex.split(os.environ["WSP_TORCHRUN"]), None
    for python in (sys.executable, "/usr/bin/python3"):
        ask = subprocess.run([python, "-c", "import torch.distributed.run, torch; print(torch.__version__)"],
                             capture_output=True, text=True)
        if ask.returncode == 0 and makes_stores(python):
            return [python, "-m", "torch.distributed.run"], ask.stdout.strip()
    support.skip("no Python with a Torch whose torchrun works: torchrun was NOT tested")


def major(version):
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


torchrun, version = launcher()
# Torch 1's own default for these fails under Python 3.11.
quirk = ["--redirects", "1", "--tee", "1"] if version and version.startswith("1.") else []
scratch = support.temporary()
root = pathlib.Path(scratch.name)
subprocess.run([make, root / "data", "24", "8", "64"], check=True)


def command(name, *more):
    given = ["--encoder", "resnet18", "--image-size", "48", "--norm", "group", "--batch", "12", "--samples-per-epoch", "120",
             "--epochs", "1", "--lr", "1e-5", "--optimizer", "sgd", "--device", "cpu", "--threads", "1", "--timeout", "60",
             "--probe-every", "0", "--log-every", "1", "--checkpoint-every", "1", "--no-tensorboard"]
    return [str(tools / "wsp-train"), str(root / "data"), "--out", str(root / name), *given, *more]


def start(name, *how, more=(), env=None):
    return subprocess.Popen([*torchrun, *quirk, "--nproc_per_node", "2", "--no_python", *how, *command(name, *more)],
                            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})


def lines(name, kind="train"):
    path = root / name / "metrics.jsonl"
    return [line for line in map(json.loads, path.read_text().splitlines() if path.exists() else []) if line["kind"] == kind]


def finished(name, process):
    out, errors = process.communicate(timeout=300)
    if "neither Gloo nor NCCL" in errors:
        support.skip("built without Gloo: torchrun was NOT tested")
    support.check(process.returncode == 0, f"{name}: {process.returncode}\n{out}\n{errors}")


alone = subprocess.run(command("alone"), capture_output=True, text=True)
support.check(alone.returncode == 0, alone.stderr)
built_with = json.loads((root / "alone/run.json").read_text())["torch"]
same = version is None or major(version) == major(built_with)
print(f"torchrun of {version}, wsp-train with {built_with}")


def equal_to_one_process(name):
    for a, b in zip(lines("alone"), lines(name), strict=True):
        support.check(abs(a["loss"] - b["loss"]) < 5e-6 * a["loss"], (name, a, b))


# The agent's store shared by no one: any torchrun with any build.
own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
finished("own", start("own", "--standalone", env=own))
equal_to_one_process("own")
if not same:
    print(f"*** torchrun's Torch is {version}, wsp-train's {built_with}: a store that the agent holds was NOT tested ***", file=sys.stderr)
    sys.exit(0)

# Held by the agent: the static rendezvous in every version, --standalone from 2.4 on.
port = support.free_port()
finished("static", start("static", "--master_port", str(port)))
equal_to_one_process("static")
finished("standalone", start("standalone", "--standalone"))
equal_to_one_process("standalone")

# A rank dies, and the agent starts all of them again in the same store: they go on from the checkpoint.
process = start("again", "--master_port", str(support.free_port()), "--max_restarts", "1", more=("--resume",))
deadline = time.time() + 120
while len(lines("again")) < 2:
    support.check(time.time() < deadline and process.poll() is None, process.stderr)
    time.sleep(0.01)
children = [int(p) for p in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
ranks = [p for p in children if "wsp-train" in pathlib.Path(f"/proc/{p}/cmdline").read_text()]
support.check(len(ranks) == 2, (children, ranks))
os.kill(ranks[-1], signal.SIGKILL)
finished("again", process)
equal_to_one_process("again")
print("torchrun: ok")
