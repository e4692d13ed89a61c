"""wsp-train as a whole command: stops and resumes, ranks, locks, messages, weights in Python."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

import support

tools = pathlib.Path(os.environ["WSP_TOOLS_DIR"])
make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
scratch = tempfile.TemporaryDirectory(prefix="wsp-train-")
root = pathlib.Path(scratch.name)
data = root / "data"
subprocess.run([make, data, "24", "8", "64"], check=True)
base = [str(data), "--encoder", "tinynet", "--image-size", "160", "--batch", "12",
        "--samples-per-epoch", "120", "--epochs", "2", "--seed", "3", "--device", "cpu", "--workers", "1",
        "--hold-back", "0.2"]


def command(*extra):
    rate = [] if "--lr" in extra else ["--lr", "1e-3"]
    return [str(tools / "wsp-train"), *base, *rate, *map(str, extra)]


def run(*extra, code=0, env=None):
    done = subprocess.run(command(*extra), capture_output=True, text=True, timeout=300,
                          env={**os.environ, **(env or {})})
    assert done.returncode == code, (extra, done.returncode, done.stdout, done.stderr)
    return done


def tensors(path):
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    kinds = {"F32": np.float32, "I64": np.int64, "U8": np.uint8}
    return {name: np.frombuffer(raw[8 + size:][slice(*entry["data_offsets"])], kinds[entry["dtype"]])
            for name, entry in header.items() if name != "__metadata__"}


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


# A whole run, its machine-readable result and its files.
result = json.loads(run("--out", root / "whole", "--json").stdout)
assert result["steps"] == 20 and result["first_loss"] > 0 and result["last_loss"] > 0, result
assert 0 <= result["best_probe"] <= 1, result
for name in ("config.resolved.json", "run.json", "metrics.jsonl", "encoder.safetensors", "tensorboard"):
    assert (root / "whole" / name).exists(), name
assert any(b'"temperature"' in path.read_bytes() for path in (root / "whole/tensorboard").iterdir() if path.is_file()), \
    "the configuration stands among TensorBoard's texts"
kinds = {line["kind"] for line in lines(root / "whole/metrics.jsonl")}
assert kinds == {"train", "epoch", "probe"}, kinds
train_line = [line for line in lines(root / "whole/metrics.jsonl") if line["kind"] == "train"][-1]
for field in ("loss", "lr", "gradient_norm", "effective_positives", "kernel_entropy", "alignment", "uniformity",
              "rank_me", "embedding_std", "slices_per_s", "wait_share"):
    assert isinstance(train_line[field], (int, float)), (field, train_line)

# SIGTERM leaves a checkpoint and 143; --resume ends with the same bits.
process = subprocess.Popen(command("--out", root / "stopped"), stderr=subprocess.PIPE, text=True)
deadline = time.time() + 120
while not (root / "stopped/metrics.jsonl").exists() or \
        not any(line["kind"] == "train" for line in lines(root / "stopped/metrics.jsonl")):
    assert time.time() < deadline and process.poll() is None, process.communicate()
    time.sleep(0.02)
second = subprocess.run(command("--out", root / "stopped", "--resume"), capture_output=True, text=True)
assert second.returncode == 5 and "another run" in second.stderr, second
process.send_signal(signal.SIGTERM)
_, errors = process.communicate(timeout=120)
assert process.returncode == 143 and "--resume" in errors, (process.returncode, errors)
run("--out", root / "stopped", "--resume")
last = "checkpoints/step-000000020.safetensors"
assert (root / "stopped" / last).read_bytes() == (root / "whole" / last).read_bytes(), "resumed differs"

# What terminals and batch systems send is a stop with a checkpoint too, and may come again while it is written.
for notice in (signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU):
    name = root / notice.name
    process = subprocess.Popen(command("--out", name, "--max-steps", "20"), stderr=subprocess.PIPE, text=True)
    while not (name / "metrics.jsonl").exists() or not any(line["kind"] == "train" for line in lines(name / "metrics.jsonl")):
        assert time.time() < deadline + 240 and process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(notice)
    time.sleep(0.01)
    process.send_signal(notice)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + notice and "--resume" in errors, (notice, process.returncode, errors)
    assert list((name / "checkpoints").glob("step-*.safetensors")), notice

# A finished run is extended; the learning rate then follows the longer schedule, and less is not asked for by mistake.
extended = ("--out", root / "extended", "--probe-every", "0", "--log-every", "1")
run(*extended, "--max-steps", "4")
run(*extended, "--max-steps", "4", "--resume")
assert "max-steps: was 4, is 3" in run(*extended, "--max-steps", "3", "--resume", code=2).stderr
done = run(*extended, "--max-steps", "8", "--resume")
assert "extended" in done.stderr and "after 4 of 8 steps" in done.stderr, done.stderr
told = [line for line in lines(root / "extended/metrics.jsonl") if line["kind"] == "train"]
assert [line["step"] for line in told] == list(range(1, 9)), told
rates = [line["lr"] for line in told]
assert rates[3] < rates[2] and rates[4] > rates[3] and rates[7] < rates[6], rates

# The best weights and their score are one: lost or of another epoch, they are made again from their checkpoint.
best = root / "whole/encoder-best.safetensors"
if best.exists():
    kept = best.read_bytes()
    for broken in (None, (root / "extended/encoder.safetensors").read_bytes()):
        best.unlink() if broken is None else best.write_bytes(broken)
        run("--out", root / "whole", "--resume")
        assert best.read_bytes() == kept, "best weights differ from those whose score the checkpoint holds"

# Weights that are not finite are refused by name.
raw = bytearray((root / "whole/encoder.safetensors").read_bytes())
raw[-4:] = np.float32(np.nan).tobytes()
(root / "nan.safetensors").write_bytes(support.sealed(bytes(raw)))
assert "not finite" in run("--out", root / "x", "--init", root / "nan.safetensors", code=6).stderr

# A killed process holds no lock; a flipped checkpoint is passed over; a cut one too.
process = subprocess.Popen(command("--out", root / "killed", "--checkpoint-every", "2"), stderr=subprocess.PIPE)
while len(list((root / "killed/checkpoints").glob("step-*.safetensors"))) < 2:
    assert time.time() < deadline + 120 and process.poll() is None, process.communicate()
    time.sleep(0.02)
process.kill()
process.wait()
newest = sorted((root / "killed/checkpoints").glob("step-*.safetensors"))[-1]
raw = bytearray(newest.read_bytes())
raw[len(raw) // 2] ^= 1
newest.write_bytes(raw)
done = run("--out", root / "killed", "--resume")
assert "damaged" in done.stderr, done.stderr
assert (root / "killed" / last).read_bytes() == (root / "whole" / last).read_bytes(), "resumed after kill differs"
for path in (root / "killed/checkpoints").glob("*.safetensors"):  # the best one too
    path.write_bytes(path.read_bytes()[:1000])
done = run("--out", root / "killed", "--resume", code=6)
assert "--force" in done.stderr, done.stderr

# Messages and exit codes.
assert "--resume" in run("--out", root / "whole", code=5).stderr
assert "temperature: was 0.1, is 0.5" in run("--out", root / "whole", "--resume", "--temperature", "0.5", code=2).stderr
assert "stage" in run("--out", root / "x", "--label", "grade", code=2).stderr
assert "wsp" in run("--out", root / "x", "--method", "magic", code=2).stderr
assert not (root / "x").exists()
nothing = subprocess.run([tools / "wsp-train", root / "absent", "--out", root / "x"], capture_output=True, text=True)
assert nothing.returncode == 4, nothing
run("--out", root / "whole", "--resume", "--device", "cuda:99", code=2)
sealed = root / "file"
sealed.write_text("")
assert run("--out", sealed / "run", code=5)


# Two and three ranks on this machine give the loss and the weights of one process.
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ranks(count, out, *more, steps=6, victim=None, how=signal.SIGKILL):
    port = free_port()
    started = []
    for rank in range(count):
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
               "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(command("--out", out, "--max-steps", steps, "--threads", "1", "--timeout", "60",
                                                "--log-every", "1", "--probe-every", "0", "--optimizer", "sgd", *more),
                                        env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    if victim is not None:
        limit = time.time() + 120
        while not (out / "metrics.jsonl").exists() or not lines(out / "metrics.jsonl"):
            assert time.time() < limit, [p.poll() for p in started]
            time.sleep(0.02)
        started[victim].send_signal(how)
    outputs = [process.communicate(timeout=240) for process in started]
    return [process.returncode for process in started], outputs


# At a usual learning rate steps amplify float32's rounding some twentyfold each, by how much depends on the processor; at this
# one they do not (1e-6 was seen), and a gradient that were counted twice would move the loss by 2e-5 in the first step.
SMALL_STEPS = ("--lr", "1e-5")
run("--out", root / "one", "--max-steps", "6", "--log-every", "1", "--probe-every", "0", "--optimizer", "sgd", *SMALL_STEPS)
gloo = True
for count in (2, 3):
    out = root / f"ranks-{count}"
    codes, outputs = ranks(count, out, *SMALL_STEPS)
    if any("neither Gloo nor NCCL" in error for _, error in outputs):
        print("*** built without Gloo: several ranks were NOT tested ***", file=sys.stderr)
        gloo = False
        break
    assert codes == [0] * count, (codes, outputs)
    alone = [line for line in lines(root / "one/metrics.jsonl") if line["kind"] == "train"]
    together = [line for line in lines(out / "metrics.jsonl") if line["kind"] == "train"]
    assert len(alone) == len(together) == 6
    # Equal to 1e-6 while the weights are; later ones differ by float32 rounding (step_test compares in float64).
    for step, (a, b) in enumerate(zip(alone, together)):
        assert abs(a["loss"] - b["loss"]) < (1e-6 if step == 0 else 5e-6) * a["loss"], (count, step, a["loss"], b["loss"])
    first, other = alone[0]["gradient_norm"], together[0]["gradient_norm"]
    assert abs(first - other) < 1e-5 * first, (count, first, other)
    one, many = tensors(root / "one/encoder.safetensors"), tensors(out / "encoder.safetensors")
    assert one.keys() == many.keys()
if gloo:
    codes, outputs = ranks(2, root / "victim", steps=20, victim=1)
    assert codes[0] == 1 and codes[1] == -signal.SIGKILL, (codes, outputs)
    assert "another rank" in outputs[0][1], outputs[0]
    # A signal to one rank stops all of them behind a checkpoint; together they go on as if nothing had been.
    codes, outputs = ranks(2, root / "whole-2", steps=20)
    assert codes == [0, 0], (codes, outputs)
    codes, outputs = ranks(2, root / "stopped-2", steps=20, victim=1, how=signal.SIGTERM)
    assert codes == [143, 143], (codes, outputs)
    codes, outputs = ranks(2, root / "stopped-2", "--resume", steps=20)
    assert codes == [0, 0], (codes, outputs)
    assert (root / "stopped-2" / last).read_bytes() == (root / "whole-2" / last).read_bytes(), "ranks: resumed differs"
    # Stopped between the batches of a step, within an epoch and at its end (10 batches): every rank's part of the gradient is kept.
    for count, points, extra in ((2, (8, 10), ()), (2, (8,), ("--micro-batch", "2")), (3, (10,), ("--micro-batch", "3"))):
        name = "-".join(("sums", str(count), *extra)).replace("--", "")
        extra = ("--accumulate", "3", "--checkpoint-every", "4", "--keep", "100", *extra)
        codes, outputs = ranks(count, root / name, *extra, steps=14)
        assert codes == [0] * count, (codes, outputs)
        last = "checkpoints/step-000000014.safetensors"
        whole = (root / name / last).read_bytes()
        for point in points:
            for checkpoint in (root / name / "checkpoints").glob("step-*.safetensors"):
                if int(checkpoint.stem[5:]) > point:
                    checkpoint.unlink()
            codes, outputs = ranks(count, root / name, "--resume", *extra, steps=14)
            assert codes == [0] * count and f"after {point} of 14 steps" in outputs[0][1], (codes, outputs)
            assert (root / name / last).read_bytes() == whole, (name, point, "ranks: resumed differs")
        shutil.rmtree(root / name)  # a gigabyte
    # Damaged slices are counted over all ranks; without --skip-corrupt all of them stop with the code of damage.
    damaged = root / "damaged"
    shutil.copytree(data, damaged)
    for shard in damaged.glob("state-*/shards/*.h5"):
        raw = bytearray(shard.read_bytes())
        for at in range(len(raw) // 4, len(raw) // 2, 4096):
            raw[at] ^= 1
        shard.write_bytes(raw)
    base[0] = str(damaged)
    run("--out", root / "skips", "--skip-corrupt", "--max-steps", "20", "--probe-every", "0", "--optimizer", "sgd")
    codes, outputs = ranks(2, root / "skips-2", "--skip-corrupt", steps=20)
    assert codes == [0, 0], (codes, outputs)
    counts = [[line["corrupt_slices"] for line in lines(root / name / "metrics.jsonl") if line["kind"] == "epoch"]
              for name in ("skips", "skips-2")]
    assert counts[0] == counts[1] and counts[0][0] > 0, counts
    codes, outputs = ranks(2, root / "strict-2", steps=20)
    assert 6 in codes and 0 not in codes, (codes, outputs)

print("train: whole, stopped, killed, damaged, refused, ranks: ok")
