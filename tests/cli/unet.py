"""wsp-unet as a whole command: trains on a phantom cohort, stops and resumes, exports what python3-torch loads, evaluates as
numpy does, and predicts masks on the grid of the file, whichever way its axes run."""
import hashlib
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import support

support.require("h5py", "nibabel", "numpy", "torch")
import h5py
import nibabel
import numpy as np
import torch

scratch = tempfile.TemporaryDirectory(prefix="wsp-unet-")
root = pathlib.Path(scratch.name)
check, run = support.check, support.run


def cohort(name, subjects, seed):
    run("wsp-phantom", "--out", root / name, "--subjects", subjects, "--seed", seed, "--slices", "14-18", "--size", "64",
        "--format", "nifti", "--balance")
    run("wsp-ingest", root / name / "export", "--out", root / f"{name}-data", "--masks", root / name / "truth", "--ids", "keep",
        "--slices", "all", "--size", "64", "--min-slices", "3")
    return root / f"{name}-data"


data = cohort("cohort", 8, 3)
base = [str(data), "--image-size", "32", "--width", "8", "--depth", "2", "--batch", "8", "--samples-per-epoch", "80",
        "--epochs", "6", "--lr", "5e-3", "--hold-back", "0.25", "--seed", "5", "--device", "cpu", "--threads", "1",
        "--log-every", "5"]


def train(*extra, expect=None):
    """The base options, but for those that are given anew."""
    kept = base[:1]
    for name, value in zip(base[1::2], base[2::2]):
        kept += [] if name in extra else [name, value]
    return run("wsp-unet", "train", *kept, *extra, expect=expect)


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


# A whole run: it learns, and leaves what wsp-train leaves.
result = json.loads(train("--out", root / "run", "--json").stdout)
check(result["steps"] == 60 and result["last_loss"] < result["first_loss"] - 0.1, f"no learning: {result}")
check(result["best_dice"] > 0.7, f"validation Dice {result['best_dice']}")
for name in ("config.resolved.json", "run.json", "metrics.jsonl", "unet.safetensors", "unet-best.safetensors", "tensorboard"):
    check((root / "run" / name).exists(), f"{name} is missing")
metrics = lines(root / "run/metrics.jsonl")
check({line["kind"] for line in metrics} == {"train", "epoch", "validation"}, "kinds of metrics.jsonl")
rates = [line["lr"] for line in metrics if line["kind"] == "train"]
check(rates == sorted(rates, reverse=True) and rates[-1] < 0.1 * rates[0], f"learning rates {rates}")
config = json.loads((root / "run/config.resolved.json").read_text())
check(config["stored_size"] == 64 and config["image_size"] == 32, config)

# SIGTERM leaves a checkpoint and 143; another process is kept out; --resume ends with the same bits.
last = "checkpoints/step-000000060.safetensors"
command = [str(support.BINARIES / "wsp-unet"), "train", *base, "--out", str(root / "stopped")]
process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
deadline = time.time() + 120
while not (root / "stopped/metrics.jsonl").exists() or not lines(root / "stopped/metrics.jsonl"):
    check(time.time() < deadline and process.poll() is None, "the run did not start")
    time.sleep(0.02)
process.send_signal(signal.SIGSTOP)  # it must not end while the other one starts
check("another run" in train("--out", root / "stopped", "--resume", expect=5).stderr, "the lock")
process.send_signal(signal.SIGTERM)
process.send_signal(signal.SIGCONT)
_, errors = process.communicate(timeout=120)
check(process.returncode == 143 and "--resume" in errors, f"{process.returncode} {errors}")
done = len(list((root / "stopped/checkpoints").glob("step-*.safetensors")))
check(done > 0 and not (root / "stopped" / last).exists(), "stopped with a checkpoint, before the end")
train("--out", root / "stopped", "--resume")
check((root / "stopped" / last).read_bytes() == (root / "run" / last).read_bytes(), "resumed differs")
timeless = [[{k: v for k, v in line.items() if k not in ("slices_per_s", "wait_share")} for line in lines(root / d / "metrics.jsonl")]
            for d in ("run", "stopped")]
check(timeless[0] == timeless[1], "metrics.jsonl of a resumed run differs")

# The best weights are gone: --resume makes them again, from their own checkpoint.
(root / "stopped/unet-best.safetensors").unlink()
train("--out", root / "stopped", "--resume")
check((root / "stopped/unet-best.safetensors").read_bytes() == (root / "run/unet-best.safetensors").read_bytes(), "the best weights made again differ")

# --init: it begins where the other run ended, says so, and refuses another network. Whom those weights saw counts as seen.
again = json.loads(train("--out", root / "tuned", "--init", root / "run", "--lr", "1e-4", "--epochs", "1", "--seed", "6", "--json").stdout)
check(again["first_loss"] < 0.5 * (result["first_loss"] + result["last_loss"]), f"--init began anew: {again}, first {result}")
tuned = json.loads((root / "tuned/config.resolved.json").read_text())["init_sha256"]
check(tuned == hashlib.sha256((root / "run/unet-best.safetensors").read_bytes()).hexdigest(), "init_sha256")
check("--init" in train("--out", root / "tuned", "--lr", "1e-4", "--epochs", "1", "--seed", "6", "--resume", expect=2).stderr, "resumed without --init")
check("holds another network" in train("--out", root / "x", "--init", root / "run", "--width", "16", expect=2).stderr, "--init of another width")
check(not (root / "x").exists(), "a refused --init leaves nothing")

# What a run records is a --config that trains the same again; the command line wins.
run("wsp-unet", "train", base[0], "--out", root / "recorded", "--device", "cpu", "--config", root / "tuned/config.resolved.json",
    "--init", root / "run", "--max-steps", "1")
recorded = json.loads((root / "recorded/config.resolved.json").read_text())
tuned = json.loads((root / "tuned/config.resolved.json").read_text())
check(recorded.pop("max_steps") == 1 and tuned.pop("max_steps") == 0 and recorded == tuned, f"{recorded} {tuned}")

# Messages and exit codes.
foo = run("wsp-unet", "foo", expect=2).stderr
check("'foo'" in foo and all(name in foo for name in ("train", "export", "evaluate", "predict")), foo)
check("subcommand" in run("wsp-unet", expect=2).stderr, "no subcommand")
check("multiple of 8" in run("wsp-unet", "train", "--help").stdout, "--width")
check("--resume" in train("--out", root / "run", expect=5).stderr, "an earlier run is protected")
check("--width: was 8, is 16" in train("--out", root / "run", "--resume", "--width", "16", expect=2).stderr, "differences")
check("--image-size is 48" in train("--out", root / "x", "--image-size", "48", expect=2).stderr, "image size")
check("is a dataset" in train("--out", data, expect=5).stderr, "a dataset is no run")
central = root / "central"
run("wsp-ingest", root / "cohort/export", "--out", central, "--masks", root / "cohort/truth", "--ids", "keep", "--size", "64",
    "--min-slices", "3")
refused = run("wsp-unet", "train", central, "--out", root / "x", "--image-size", "32", "--depth", "2", expect=4).stderr
check("--slices all" in refused, refused)
check(not (root / "x").exists(), "a refused run leaves nothing")

# Export: a descriptor that names its file by hash, and TorchScript that Python's Torch runs.
descriptor = json.loads(run("wsp-unet", "export", root / "run", "--model", root / "model/liver.json", "--json").stdout)
script = root / "model" / descriptor["file"]
check(hashlib.sha256(script.read_bytes()).hexdigest() == descriptor["sha256"], "SHA-256 of the TorchScript file")
check(json.loads((root / "model/liver.json").read_text()) == descriptor, "the descriptor in the file")
check(descriptor["input"]["dimensions"] == "2.5d" and descriptor["input"]["size"] == [64, 64], descriptor)
run("wsp-unet", "export", root / "run", "--model", root / "model/liver.json", expect=5)
first = script.read_bytes()
run("wsp-unet", "export", root / "run", "--model", root / "model/liver.json", "--force")
check(script.read_bytes() == first, "the same weights give the same bytes")
run("wsp-unet", "export", root / "cohort", "--model", root / "model/other.json", expect=4)

# --init of an exported model: the weights of its run, step for step. Another network, other bytes and other descriptors are refused.
model = root / "model/liver.json"
tune = ("--lr", "1e-4", "--epochs", "1", "--seed", "6", "--max-steps", "3")
of_run = json.loads(train("--out", root / "of-run", "--init", root / "run", *tune, "--json").stdout)
of_model = json.loads(train("--out", root / "of-model", "--init", model, *tune, "--json").stdout)
check(of_model["first_loss"] == of_run["first_loss"] and of_model["last_loss"] == of_run["last_loss"], f"{of_model} {of_run}")
about = json.loads((root / "of-model/config.resolved.json").read_text())
check(about["init_sha256"] == descriptor["sha256"], "init_sha256 of a model")
for extra, said in ((("--width", "16"), "--width 16"), (("--depth", "3"), "missing"), (("--norm", "group"), "unexpected"),
                    (("--neighbours", "0"), '"dimensions":"2d"'), (("--context-mm", "6"), "context_mm")):
    refused = train("--out", root / "x", "--init", model, *tune, *extra, expect=2).stderr
    check("another network" in refused and said in refused, f"--init of a model, {extra}: {refused}")
(root / "broken").mkdir()
for change, said in (({"sha256": "0" * 64}, "expected SHA-256 000"), ({"format": "wsp-nnunet"}, "/format"),
                     ({"input": {**descriptor["input"], "window_hu": [-200, 300]}}, "window_hu")):
    (root / "broken/liver.json").write_text(json.dumps({**descriptor, **change}))
    shutil.copy(script, root / "broken")
    refused = train("--out", root / "x", "--init", root / "broken/liver.json", *tune, expect=2).stderr
    check(said in refused, f"{change}: {refused}")
train("--out", root / "x", "--init", root / "no.json", *tune, expect=2)
# The network that comes with the tools has the defaults' shape.
train("--out", root / "of-builtin", "--init", "builtin", "--width", "16", "--depth", "4", *tune)
about = json.loads((root / "of-builtin/config.resolved.json").read_text())
check(about["init_sha256"] == json.loads((support.SOURCE / "models/liver/liver.json").read_text())["sha256"], "init_sha256 of the builtin")
check(not (root / "x").exists(), "a refused --init leaves nothing")

# A mean of two: what stands beside the run's network must take the same input and be one network. --init begins with the run's.
both = root / "model/both.json"
run("wsp-unet", "export", root / "of-run", "--with", model, "--model", both, "--refine")
mean = json.loads(both.read_text())
check(mean["output"]["activation"] == "none" and (root / "model/both.ts").stat().st_size > 1.9 * script.stat().st_size, "a mean of two")
refused = run("wsp-unet", "export", root / "run", "--with", both, "--model", root / "x.json", expect=2).stderr
check("expected one network" in refused, f"a mean within a mean: {refused}")
refused = run("wsp-unet", "export", root / "run", "--with", root / "broken/liver.json", "--model", root / "x.json", expect=2).stderr
check("window_hu" in refused and not (root / "x.json").exists(), f"--with of another input: {refused}")
of_both = json.loads(train("--out", root / "of-both", "--init", both, *tune, "--json").stdout)
same = json.loads(train("--out", root / "of-second", "--init", root / "of-run", *tune, "--json").stdout)
check(of_both["first_loss"] == same["first_loss"], "--init of a mean")

# Predict: the exported network on slices made here, by hand, gives the same mask as the tool.
volumes = sorted((root / "cohort/export").rglob("*.nii.gz"))
source = volumes[0]
run("wsp-unet", "predict", root / "run", source, "--out", root / "masks", "--no-clean", "--device", "cpu")
written = nibabel.load(root / "masks" / source.name)
image = nibabel.load(source)
check(np.allclose(written.affine, image.affine, atol=1e-4) and written.shape == image.shape, "the file's own grid")
canonical = nibabel.as_closest_canonical(image)  # x to the right, y to anterior, z to the head
hu = np.asanyarray(canonical.dataobj)[::-1, ::-1].astype(np.float32)  # x to the left, y to posterior
x = torch.from_numpy((np.clip(np.rint(hu), -100, 400) + 100) / 500).permute(2, 1, 0)  # [z, rows, columns]
padded = torch.cat([x[:1], x, x[-1:]])
stack = torch.stack([padded[i:i + len(x)] for i in range(3)], 1)
with torch.no_grad():
    probability = torch.jit.load(str(script))(stack).sigmoid()[:, 0].numpy()
mask = np.asanyarray(nibabel.as_closest_canonical(written).dataobj)[::-1, ::-1].transpose(2, 1, 0)
unsure = np.abs(probability - 0.5) < 1e-5
check(mask.sum() > 500, f"{mask.sum()} voxels of liver: too few to prove anything")
check(np.array_equal(mask[~unsure] != 0, probability[~unsure] >= 0.5), "predict is the exported network, voxel by voxel")

# Slices at distances in mm: the network that was trained so, on slices chosen here, gives the same mask.
result = json.loads(train("--out", root / "far", "--context-mm", "20,60", "--cut-context", "0.3", "--json").stdout)
check(result["best_dice"] > 0.7, f"validation Dice with distant slices {result['best_dice']}")
descriptor = json.loads(run("wsp-unet", "export", root / "far", "--model", root / "far/liver.json", "--json").stdout)
check(descriptor["input"]["context_mm"] == [20, 60] and "neighbours" not in descriptor["input"], descriptor)
run("wsp-unet", "predict", root / "far", source, "--out", root / "far-masks", "--no-clean", "--device", "cpu")
spacing = canonical.header.get_zooms()[2]
away = [math.floor(mm / spacing + 0.5) for mm in (20, 60)]
check(0 < away[0] < away[1], away)
offsets = [-away[1], -away[0], 0, *away]
stack = torch.stack([x[(torch.arange(len(x)) + k).clamp(0, len(x) - 1)] for k in offsets], 1)
with torch.no_grad():
    probability = torch.jit.load(str(root / "far" / descriptor["file"]))(stack).sigmoid()[:, 0].numpy()
mask = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(root / "far-masks" / source.name)).dataobj)
mask = mask[::-1, ::-1].transpose(2, 1, 0)
unsure = np.abs(probability - 0.5) < 1e-5
check(mask.sum() > 500 and np.array_equal(mask[~unsure] != 0, probability[~unsure] >= 0.5), "distant slices, voxel by voxel")
for wrong in (("--context-mm", "60,20"), ("--context-mm", "20", "--neighbours", "1")):
    told = train("--out", root / "x", *wrong, expect=2).stderr
    check("context-mm" in told, told)

# In half precision nearly the same liver; a CPU takes float32 unless it is asked, and cannot do fp16.
run("wsp-unet", "predict", root / "run", source, "--out", root / "half", "--no-clean", "--device", "cpu", "--precision", "bf16")
half = np.asanyarray(nibabel.load(root / "half" / source.name).dataobj) != 0
whole = np.asanyarray(written.dataobj) != 0
agreement = 2 * (half & whole).sum() / (half.sum() + whole.sum())
check(agreement > 0.97 and not np.array_equal(half, whole), f"bf16 and fp32: Dice {agreement}")
run("wsp-unet", "predict", root / "run", source, "--out", root / "plain", "--no-clean", "--device", "cpu", "--precision", "fp32")
check((root / "plain" / source.name).read_bytes() == (root / "masks" / source.name).read_bytes(), "auto is fp32 on a CPU")
for wrong in ("fp16", "int8"):
    told = run("wsp-unet", "predict", root / "run", source, "--out", root / "no", "--device", "cpu", "--precision", wrong, expect=2)
    check("--precision" in told.stderr, told.stderr)

# Turned files give the same mask on their own grid; a grid that must be resampled too.
turned = root / "turned"
turned.mkdir()
for name, codes in (("pir", "PIR"), ("las", "LAS")):
    wanted = nibabel.orientations.axcodes2ornt(codes)
    now = nibabel.io_orientation(image.affine)
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform(now, wanted)), turned / f"{name}.nii.gz")
run("wsp-unet", "predict", root / "run", *sorted(turned.glob("*")), "--out", root / "masks", "--no-clean", "--device", "cpu")
straight = np.asanyarray(nibabel.as_closest_canonical(written).dataobj)
for name in ("pir", "las"):
    other = nibabel.load(root / "masks" / f"{name}.nii.gz")
    check(np.allclose(other.affine, nibabel.load(turned / f"{name}.nii.gz").affine, atol=1e-4), f"grid of {name}")
    check(np.array_equal(np.asanyarray(nibabel.as_closest_canonical(other).dataobj), straight), f"mask of {name}")
wide = np.repeat(np.repeat(np.asanyarray(image.dataobj), 2, 0), 2, 1)
affine = image.affine @ np.diag([0.5, 0.5, 1, 1])
affine[:3, 3] += image.affine[:3, :3] @ [-0.25, -0.25, 0]
nibabel.save(nibabel.Nifti1Image(wide, affine), root / "wide.nii.gz")
run("wsp-unet", "predict", root / "run", root / "wide.nii.gz", "--out", root / "masks", "--no-clean", "--device", "cpu")
fine = np.asanyarray(nibabel.load(root / "masks/wide.nii.gz").dataobj)
coarse = np.asanyarray(written.dataobj)
dice = 2 * (fine & np.repeat(np.repeat(coarse, 2, 0), 2, 1)).sum() / (fine.sum() + 4 * coarse.sum())
check(fine.shape == wide.shape and dice > 0.95, f"on twice the matrix the same liver: Dice {dice}")
run("wsp-unet", "predict", root / "run", root / "wide.nii.gz", "--out", root / "masks", expect=5)
run("wsp-unet", "predict", root / "run", root / "cohort/labels.csv", "--out", root / "masks", expect=2)
check("does not exist" in run("wsp-unet", "predict", root / "run", root / "no.nii.gz", "--out", root / "masks", expect=4).stderr, "no such volume")

# Evaluate: by default the subjects held back; the Dice of a case is that of the masks predicted above.
report = json.loads(run("wsp-unet", "evaluate", root / "run", data, "--out", root / "scores", "--no-clean", "--all",
                        "--device", "cpu", "--json").stdout)
check(report["volumes"] == 8 and report["part"] == "all" and report["trained_on"] == 6, report)
check(json.loads((root / "scores/evaluation.json").read_text()) == report, "evaluation.json")
table = [line.split("\t") for line in (root / "scores/evaluation.tsv").read_text().splitlines()]
check(len(table) == 9 and {len(row) for row in table} == {14}, table[0])
run("wsp-unet", "predict", root / "run", *volumes, "--out", root / "all", "--no-clean", "--device", "cpu")
truths = {path.name: path for path in (root / "cohort/truth").rglob("*.nii.gz")}
expected = []
for path in volumes:
    truth = np.asanyarray(nibabel.load(truths[path.name]).dataobj) != 0
    found = np.asanyarray(nibabel.load(root / "all" / path.name).dataobj) != 0
    expected.append(2 * (truth & found).sum() / (truth.sum() + found.sum()))
found = sorted(case["dice"] for case in report["cases"])
check(np.allclose(found, sorted(expected), atol=2e-3), f"{found} {sorted(expected)}")
mean = report["mean"]["dice"]
check(abs(mean["mean"] - np.mean(found)) < 1e-9 and mean["low"] <= mean["mean"] <= mean["high"], mean)
held = json.loads(run("wsp-unet", "evaluate", root / "run", data, "--device", "cpu", "--json").stdout)
check(held["volumes"] == 2 and held["part"] == "validation", held)
check((held["left_out"], held["trained_on"]) == (6, 0), held)
again = json.loads(run("wsp-unet", "evaluate", root / "run", data, "--device", "cpu", "--json", "--threads", "1").stdout)
check(again == held, "evaluation at another number of threads")
run("wsp-unet", "evaluate", root / "run", data, "--out", root / "scores", "--device", "cpu", expect=5)


def evaluate(dataset, *extra, weights=root / "run", expect=None):
    done = run("wsp-unet", "evaluate", weights, dataset, "--device", "cpu", "--json", *extra, expect=expect)
    return json.loads(done.stdout or "null"), done.stderr


# The same people in another ingest are known by their names; other people who bear them are scored when asked for.
again_data = root / "again-data"
run("wsp-ingest", root / "cohort/export", "--out", again_data, "--masks", root / "cohort/truth", "--ids", "keep", "--slices", "all",
    "--size", "64", "--min-slices", "3", "--codec", "zstd")
reingested, said = evaluate(again_data)
check((reingested["volumes"], reingested["left_out"], reingested["part"]) == (2, 6, "validation"), reingested)
check("6 of its 8 volumes" in said and reingested["cases"] == held["cases"], said)
flattered, said = evaluate(again_data, "--all")
check((flattered["volumes"], flattered["trained_on"]) == (8, 6) and "6 of these 8 volumes" in said, f"{flattered} {said}")
other = cohort("strangers", 3, 99)
strangers, said = evaluate(other, "--all")
check(strangers["volumes"] == 3 and strangers["mean"]["dice"]["mean"] > 0.5, strangers["mean"])
check(f"{strangers['trained_on']} of these 3 volumes" in said, said)

# Weights that do not say on whom they were trained: known in their own dataset, not elsewhere.
raw = (root / "run/unet-best.safetensors").read_bytes()
length = int.from_bytes(raw[:8], "little")
header = json.loads(raw[8:8 + length])
marks = json.loads(header["__metadata__"].pop("wsp.trained_on"))
for name in [name for name in header["__metadata__"] if "sha256" in name or "hash" in name]:
    del header["__metadata__"][name]  # of the file as it was
check(len(marks) == 6 and not any("subject" in mark for mark in marks), f"marks of the subjects: {marks}")
bare = json.dumps(header).encode()
bare += b" " * (-len(bare) % 8)
(root / "old.safetensors").write_bytes(len(bare).to_bytes(8, "little") + bare + raw[8 + length:])
check(evaluate(data, weights=root / "old.safetensors")[0] == held, "older weights on their own dataset")
unknown, said = evaluate(other, weights=root / "old.safetensors")
check(unknown["trained_on"] is None and unknown["volumes"] == 3 and "cannot be known" in said, f"{unknown} {said}")

# Central slices have no ends to find; a model's masks are no truth.
check("--slices all" in evaluate(central, expect=4)[1], "central slices")
check("--slices all" in evaluate(central, "--all", expect=4)[1], "central slices, all of them")
if (support.BINARIES / "wsp-ingest-torch").exists():
    predicted = root / "predicted"
    run("wsp-ingest", root / "strangers/export", "--out", predicted, "--liver-model", root / "model/liver.json", "--ids", "keep", "--slices",
        "all", "--size", "64", "--min-slices", "3", "--mask-cache", "none", "--device", "cpu")
    check("made by a model" in evaluate(predicted, "--all", expect=4)[1], "masks of a model")
    # The same as ONNX: by ONNX Runtime where this build has it, else a word on where it is to be had.
    as_onnx = root / "model/onnx.json"
    said = run("wsp-unet", "export", root / "run", "--model", as_onnx, "--onnx").stdout
    check((root / "model/onnx.onnx").exists() and "ONNX" in said and "--onnx" in run(
        "wsp-unet", "export", root / "run", "--with", model, "--model", root / "model/x.json", "--onnx", expect=2).stderr, said)
    for refused in (train("--out", root / "x", *tune, "--init", as_onnx, expect=2),
                    run("wsp-unet", "export", root / "run", "--model", root / "x.json", "--with", as_onnx, expect=2)):
        check("is an ONNX model" in refused.stderr, refused.stderr)
    check("only wsp-ingest" in run("wsp-unet", "predict", as_onnx, source, "--out", root / "x", expect=2).stderr, "predict by ONNX")
    by_onnx = ("wsp-ingest", root / "strangers/export", "--out", root / "by-onnx", "--liver-model", as_onnx, "--ids", "keep", "--slices",
               "all", "--size", "64", "--min-slices", "3", "--mask-cache", "none")
    if (support.BINARIES / "wsp-ingest-onnx").exists():
        run(*by_onnx)
        masks = {}
        for name in ("predicted", "by-onnx"):
            shards = sorted((support.state(root / name) / "shards").glob("*.h5"))
            masks[name] = np.concatenate([h5py.File(f)["slices/mask"][:] for f in shards])
        other = int((masks["predicted"] != masks["by-onnx"]).sum())
        check(other <= masks["predicted"].sum() / 10000, f"{other} voxels differ by ONNX Runtime")
    else:
        print("*** THIS BUILD LACKS ONNX RUNTIME: the network was not run by it ***", file=sys.stderr)
        refused = run(*by_onnx, expect=2).stderr
        check("libonnxruntime-dev" in refused, refused)
print(f"validation Dice {result['best_dice']:.3f}; strangers {strangers['mean']['dice']['mean']:.3f}")
