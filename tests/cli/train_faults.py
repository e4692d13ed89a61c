"""wsp-train where things go wrong: a diverging run, a full disk, no memory, Ctrl-C; and its options by file and by preset."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import time

tools = pathlib.Path(os.environ["WSP_TOOLS_DIR"])
make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
scratch = tempfile.TemporaryDirectory(prefix="wsp-train-")
root = pathlib.Path(scratch.name)
data = root / "data"
subprocess.run([make, data, "24", "8", "64"], check=True)
base = [str(data), "--encoder", "resnet18", "--norm", "group", "--samples-per-epoch", "36",
        "--device", "cpu", "--workers", "1", "--no-tensorboard", "--log-every", "1"]


def command(*extra):
    given = {"--epochs": 3, "--batch": 12, "--image-size": 48, "--hold-back": 0.2}
    return [str(tools / "wsp-train"), *base, *(str(v) for kv in given.items() if kv[0] not in extra for v in kv), *map(str, extra)]


def run(*extra, code=0, limit=None):
    """limit: (what of setrlimit, bytes)."""
    def lower():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(limit[0], (limit[1], limit[1]))
    done = subprocess.run(command(*extra), capture_output=True, text=True, timeout=300, preexec_fn=lower if limit else None)
    assert done.returncode == code, (extra, done.returncode, done.stdout, done.stderr)
    return done


def lines(name, kind):
    return [line for line in map(json.loads, (root / name / "metrics.jsonl").read_text().splitlines()) if line["kind"] == kind]


# A run that diverges stops with what to do, and nothing that is not finite is kept.
done = run("--out", root / "diverges", "--optimizer", "sgd", "--lr", "1e30", code=1)
assert "not finite at step" in done.stderr and "--clip-norm" in done.stderr, done.stderr
assert not (root / "diverges/encoder.safetensors").exists()
assert not list((root / "diverges").glob("checkpoints/*.safetensors")), "it diverged in the first epoch"

# --patience: weights that hardly move make no better probe than the first epoch's.
done = run("--out", root / "patient", "--epochs", "9", "--lr", "1e-12", "--patience", "2")
assert "stopped early: no better probe for 2 epochs" in done.stderr, done.stderr
assert len(lines("patient", "probe")) == 4, lines("patient", "probe")
assert (root / "patient/encoder.safetensors").exists()

# Ctrl-C is SIGTERM with another code, and is resumed likewise: also out of the probe that ends an epoch. (Where the signal comes
# later than the probe the run goes on to the next step: the result is the same.)
def interrupted(name, kind, number, *extra):
    process = subprocess.Popen(command("--out", root / name, *extra), stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while not (root / name / "metrics.jsonl").exists() or len(lines(name, kind)) < number:
        assert time.time() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in errors, (process.returncode, errors)
    state = max((root / name / "checkpoints").glob("step-*.safetensors")).read_bytes()
    run("--out", root / name, "--resume", *extra)
    return b'probe_due\\":true' in state


def told(name):
    times = ("slices_per_s", "wait_share")
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in (root / name / "metrics.jsonl").read_text().splitlines()]


run("--out", root / "whole")
interrupted("interrupted", "train", 1)
assert (root / "interrupted/encoder.safetensors").read_bytes() == (root / "whole/encoder.safetensors").read_bytes()
assert told("interrupted") == told("whole")
large = ("--image-size", 160, "--hold-back", 0.4)
run("--out", root / "large", *large)
in_probe = interrupted("probing", "epoch", 2, *large)
for name in ("encoder.safetensors", "checkpoints/step-000000009.safetensors"):
    assert (root / "probing" / name).read_bytes() == (root / "large" / name).read_bytes(), name
assert told("probing") == told("large"), (told("probing"), told("large"))
print("stopped within the probe" if in_probe else "the probe was over before the signal came")

# A disk that is full at the checkpoint (here: no file may grow beyond 1 MiB): no half file, and the run can be made again.
done = run("--out", root / "full", "--checkpoint-every", "1", code=5, limit=(resource.RLIMIT_FSIZE, 1 << 20))
assert "checkpoints" in done.stderr, done.stderr
assert not list((root / "full/checkpoints").glob("*.safetensors")), "half a checkpoint was published"
done = run("--out", root / "full", "--resume")
assert (root / "full/encoder.safetensors").read_bytes() == (root / "whole/encoder.safetensors").read_bytes()

# No memory for the step: what would fit is said. (Its first two activations are 0.8 GB each.) Libraries, of CUDA gigabytes, are
# mapped beside what is left for it.
loaded = subprocess.run(["ldd", tools / "wsp-train"], capture_output=True, text=True).stdout
libraries = sum(pathlib.Path(word).stat().st_size for word in loaded.split() if word.startswith("/"))
done = run("--out", root / "small", "--batch", "19", "--image-size", "512", "--max-steps", "1", code=1,
           limit=(resource.RLIMIT_AS, libraries + (6 << 28)))
assert "memory" in done.stderr and "--micro-batch" in done.stderr, done.stderr
assert not (root / "small/encoder.safetensors").exists()

# The preset and a file of options; the command line wins.
run("--out", root / "published", "--preset", "published", "--max-steps", "1", "--sigma", "0.5")
resolved = json.loads((root / "published/config.resolved.json").read_text())
assert (resolved["learning_rate"], resolved["weight_decay"], resolved["normalisation"]) == (1e-5, 1e-5, "reference"), resolved
assert resolved["sigma"] == 0.5, "the command line wins over the preset"
options = root / "options.json"
options.write_text(json.dumps({"temperature": 0.2, "sigma": 0.3}))
run("--out", root / "file", "--config", options, "--max-steps", "1", "--sigma", "0.4")
resolved = json.loads((root / "file/config.resolved.json").read_text())
assert (resolved["temperature"], resolved["sigma"]) == (0.2, 0.4), resolved
options.write_text(json.dumps({"temprature": 0.2}))
assert "temprature" in run("--out", root / "typo", "--config", options, code=2).stderr and not (root / "typo").exists()
# What a run records is a --config that trains the same again, from every field that an option gives.
def plainly(*words, code=0):
    done = subprocess.run([str(tools / "wsp-train"), *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done


usual = ("--device", "cpu", "--no-tensorboard", "--probe-every", "0")
others = {"--method": "simclr", "--encoder": "resnet18", "--norm": "group", "--depth": "liver", "--temperature": 0.3, "--sigma": 0.4,
          "--kernel": "laplacian", "--normalisation": "reference", "--momentum": 0.9, "--barlow-lambda": 0.01, "--hold-back": 0.2,
          "--image-size": 32, "--batch": 4, "--samples-per-epoch": 16, "--epochs": 2, "--max-steps": 2, "--augment-probability": 0.4,
          "--max-angle": 10, "--max-shift": 0.1, "--min-crop-area": 0.6, "--max-crop-area": 0.8, "--optimizer": "sgd", "--lr": 0.01,
          "--weight-decay": 0.001, "--warmup-epochs": 0.5, "--clip-norm": 1, "--accumulate": 2, "--micro-batch": 2, "--loss-tile": 2,
          "--seed": 9}
plainly(data, *usual, "--out", root / "first", *[x for pair in others.items() for x in pair], "--no-flips", "--include-flagged",
        "--include-unlabelled", "--skip-corrupt", "--deterministic")
done = plainly("run", data, *usual, "--out", root / "again", "--config", root / "first/config.resolved.json")
assert "leaves to the command line: --init FILE" not in done.stderr and "the dataset" in done.stderr, done.stderr
first, again = ((root / name / "config.resolved.json").read_text() for name in ("first", "again"))
assert first == again, (first, again)
plainly(data, *usual, "--out", root / "plain", "--encoder", "resnet34", "--image-size", 48, "--batch", 12, "--samples-per-epoch", 36,
        "--max-steps", 1)
plain = json.loads((root / "plain/config.resolved.json").read_text())
same = {name for name, value in json.loads(first).items() if plain[name] == value}
assert same <= {"format", "version", "label", "kernel_columns", "continuous", "splits", "subjects", "exclude", "positive", "precision",
                "channels_last", "cuda_kernels", "init_sha256", "dataset_sha256", "ranks"}, f"left at their defaults: {same}"
half = json.loads(first) | {"flip_x": True}
options.write_text(json.dumps(half))
assert "half of --no-flips" in plainly(data, "--out", root / "half", "--config", options, code=2).stderr
options.write_text(json.dumps(json.loads(first) | {"subjects": ["sub-1"]}))
assert "'subjects'" in plainly(data, "--out", root / "half", "--config", options, code=2).stderr and not (root / "half").exists()
# Verbs: what redraw does not use it does not take; run is meant where none stands.
done = plainly("redraw", root / "first", "--dataset", data, "--epoch", 0, "--step", 0, "--out", root / "sheet", "--lr", 5, code=2)
assert "redraw takes no --lr" in done.stderr, done.stderr
print("train faults: ok")
