"""wsp-eval table and finetune as a user meets them: stopped and gone on with, changed plans and data, damage, plans that
cannot be computed, and what the tables say."""
import copy
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import support

make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
scratch = support.temporary()
root = pathlib.Path(scratch.name)


def dataset(name, subjects, first, prefix=""):
    shutil.rmtree(root / name, ignore_errors=True)
    subprocess.run([make, root / name, str(subjects), "5", "64", str(first), prefix], check=True)


def run(*arguments, code=0):
    return support.run("wsp-eval", *arguments, expect=code)


def command(plan, out, *more):
    (root / "plan.json").write_text(json.dumps(plan))
    return ("table", root / "plan.json", "--root", root, "--out", root / out, *more)


def table(plan, out, *more, code=0):
    return run(*command(plan, out, *more), code=code)


def cell(out, name):
    return root / out / "cells" / name / "cell.json"


def result(out, name, evaluation="D1"):
    return json.loads(cell(out, name).read_text())["results"][evaluation]


dataset("d1", 24, 0)
dataset("d2", 16, 100)
dataset("pretrain", 12, 200)
evaluation = {"name": "D1", "dataset": "d1", "label": "stage", "positive": "2,3"}
base = {"name": "test", "version": 1, "evaluations": [evaluation], "methods": ["random"], "backbones": ["resnet18"], "seeds": [1],
        "train": {"image_size": 48, "batch": 8, "samples_per_epoch": 16, "epochs": 2, "hold_back": 0.0},
        "probe": {"folds": 2, "permutations": 20, "divisions": 10}}


def plan(**changes):
    return {**copy.deepcopy(base), **copy.deepcopy(changes)}


# A random cell stopped by a signal once its weights stand goes on.
stopped = plan(probe={"folds": 2, "permutations": 400, "divisions": 10})
process = subprocess.Popen([support.BINARIES / "wsp-eval", *map(str, command(stopped, "stopped"))], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
weights = root / "stopped/cells/random-resnet18-s1/run/encoder.safetensors"
while not weights.exists() and process.poll() is None:
    time.sleep(0.002)
process.send_signal(signal.SIGTERM)
assert process.wait(timeout=60) in (0, 143)
cell("stopped", "random-resnet18-s1").unlink(missing_ok=True)
given = weights.read_bytes()
table(stopped, "stopped")
assert weights.read_bytes() == given
(root / "given.safetensors").write_bytes(given)

# Features that others made are one more row, on the same subjects and folds; the same numbers as another row's give the same.
twin = plan(methods=["random"], aggregate="both", evaluations=[{**evaluation, "label": "label"}, {"name": "D2", "dataset": "d2", "label": "label", "positive": "2,3"}])
table(twin, "twin")
for e, data in (("D1", "d1"), ("D2", "d2")):
    run("embed", root / data, "--weights", root / "twin/cells/random-resnet18-s1/run/encoder.safetensors", "--out", root / f"{e}.h5", "--npy")
    run("import", root / f"{e}.h5.npy/features.npy", root / f"{e}.h5.npy/slices.tsv", "--dataset", root / data, "--name", "foreign", "--out", root / f"foreign-{e}.h5")
twin["imported"] = {"foreign": {"D1": "foreign-D1.h5", "D2": "foreign-D2.h5"}}
told = table(twin, "twin").stdout
rows = {t["name"]: t for t in json.loads((root / "twin/results.json").read_text())["tables"]}["auc"]["rows"]
assert [row[:2] for row in rows] == [["random", "resnet18"], ["foreign", "imported"]] and rows[0][2:] == rows[1][2:], rows
for e in ("D1", "D2", "both"):
    assert result("twin", "foreign-imported-s1", e)["predictions"] == result("twin", "random-resnet18-s1", e)["predictions"]
    assert (root / f"twin/forest-{e}.svg").exists() and (root / f"twin/cells/foreign-imported-s1/diagnostics-{e}.svg").exists()
assert table(twin, "twin", "--tables-only").stdout == told
run("import", root / "D1.h5.npy/features.npy", root / "D1.h5.npy/slices.tsv", "--dataset", root / "d1", "--name", "another", "--out", root / "foreign-D1.h5", "--force")
assert "different encoders" in table(twin, "twin", code=2).stderr
twin["imported"] = {"foreign": {"D1": "foreign-D2.h5", "D2": "foreign-D2.h5"}}
assert "import them with --dataset" in table(twin, "twin", code=2).stderr
for wrong, why in (({"foreign": {"D1": "foreign-D1.h5"}}, "lack those of the evaluation D2"), ({"byol": {"D1": "a", "D2": "b"}}, "which is a method"),
                   ({"foreign": {"D1": "absent.h5", "D2": "foreign-D2.h5"}}, "no features at")):
    twin["imported"] = wrong
    assert why in table(twin, "twin", code=4 if "absent.h5" in str(wrong) else 2).stderr, why

# A signal within a cell's fits: its code, no cell, no hang; the same command goes on.
for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
    inside = plan(probe={"folds": 2, "permutations": 1000000, "divisions": 10})
    (root / "inside/cells/random-resnet18-s1/features-D1.h5").unlink(missing_ok=True)  # of the signal before: it tells nothing of this run
    process = subprocess.Popen([support.BINARIES / "wsp-eval", *map(str, command(inside, "inside"))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (root / "inside/cells/random-resnet18-s1/features-D1.h5").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(1.5)
    process.send_signal(number)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == code and "in the cell random-resnet18-s1" in told and "stopped as asked" in told, (process.returncode, told)
    assert not cell("inside", "random-resnet18-s1").exists()

# Every kind of method between its training and cell.json: the same command gives the cell of an undisturbed run.
kinds = plan(methods=["supervised", "random", "imagenet", "wsp"], pretraining={"dataset": "pretrain"},
             weights={"resnet18": "given.safetensors"})
table(kinds, "kinds")
names = [f"{method}-resnet18-s1" for method in kinds["methods"]]
cells = {name: cell("kinds", name).read_bytes() for name in names}
for name in names:
    cell("kinds", name).unlink()
table(kinds, "kinds")
for name in names:
    assert cell("kinds", name).read_bytes() == cells[name], name
# Weights whose checkpoints are gone are trained anew; another training is refused, and --force begins it.
cell("kinds", names[3]).unlink()
shutil.rmtree(cell("kinds", names[3]).parent / "run/checkpoints")
assert "trained anew" in table(kinds, "kinds").stderr
assert cell("kinds", names[3]).read_bytes() == cells[names[3]]
longer = plan(**{**kinds, "train": {**base["train"], "learning_rate": 0.002}})
for name in names:
    cell("kinds", name).unlink()
assert "--force" in table(longer, "kinds", code=2).stderr
assert "begun anew" in table(longer, "kinds", "--force").stderr
assert json.loads(cell("kinds", names[3]).read_text())["specification"]["train"]["learning_rate"] == 0.002

# Methods that learn from a number are rows like any other, each with its own defaults; without the number they are refused.
numbers = plan(methods=["random", "yaware", "lexp", "rnc"], pretraining={"dataset": "pretrain"},
               method_train={"yaware": {"continuous": "stiffness_kpa:3"}, "lexp": {"continuous": "stiffness_kpa:3"},
                             "rnc": {"continuous": "stiffness_kpa"}})
table(numbers, "numbers")
rows = {t["name"]: t for t in json.loads((root / "numbers/results.json").read_text())["tables"]}["auc"]["rows"]
assert [row[0] for row in rows] == numbers["methods"], rows
for method, temperature in (("yaware", 0.1), ("rnc", 2)):
    config = json.loads((root / f"numbers/cells/{method}-resnet18-s1/run/config.resolved.json").read_text())
    assert config["temperature"] == temperature and config["continuous"].startswith("stiffness_kpa"), config
told = table(plan(methods=["rnc"], pretraining={"dataset": "pretrain"}), "no-number", code=2).stderr
assert "rnc-resnet18-s1" in told and "--continuous is missing" in told, told
told = table(plan(methods=["rnc"], pretraining={"dataset": "pretrain"}, method_train={"rnc": {"continuous": "age"}}), "no-number", code=2).stderr
assert "no label column 'age'" in told and "stiffness_kpa" in told, told

# Features of the cases that another label column knows are not taken for those of this one; damaged ones neither.
assert result("stopped", "random-resnet18-s1")["subjects"] == 16
cell("stopped", "random-resnet18-s1").unlink()
whole = plan(evaluations=[{**evaluation, "label": "label"}])
table(whole, "stopped")
assert result("stopped", "random-resnet18-s1")["subjects"] == 24
features = root / "stopped/cells/random-resnet18-s1/features-D1.h5"
features.write_bytes(features.read_bytes()[:3000])
cell("stopped", "random-resnet18-s1").unlink()
assert "embedded anew" in table(whole, "stopped").stderr

# A damaged cell is computed anew; --tables-only says what to do.
path = cell("stopped", "random-resnet18-s1")
good = path.read_bytes()
for damage in (good[: len(good) // 2], b"{}", good.replace(b'"subjects": 24', b'"subjects": 25')):
    assert damage != good
    path.write_bytes(damage)
    assert "without --tables-only" in table(whole, "stopped", "--tables-only", code=6).stderr
    assert "damaged" in table(whole, "stopped").stderr and path.read_bytes() == good
assert "no complete cell" in table(whole, "nowhere", "--tables-only", code=4).stderr

# Another dataset under the same name: refused, and --force computes the cell anew. Weights likewise.
dataset("d1", 22, 0)
told = table(whole, "stopped", code=2).stderr
assert "evaluation D1: SHA-256 was" in told and "--force" in told, told
table(whole, "stopped", "--force")
assert result("stopped", "random-resnet18-s1")["subjects"] == 22
table(whole, "stopped")
dataset("d1", 24, 0)
imagenet = plan(methods=["imagenet"], weights={"resnet18": "given.safetensors"})
table(imagenet, "weights")
support.run("wsp-train", root / "d2", "--out", root / "other", "--method", "random", "--encoder", "resnet18", "--image-size", "48", "--seed", "9")
shutil.copy(root / "other/encoder.safetensors", root / "given.safetensors")
assert "weights: SHA-256 was" in table(imagenet, "weights", code=2).stderr
table(imagenet, "weights", "--force")


# A cell that fails is missing, and the run says so at its end; the others are there, and the tables.
failing = plan(methods=["random", "wsp"], pretraining={"dataset": "pretrain"}, method_train={"wsp": {"learning_rate": 1e30}}, seeds=[1])
told = table(failing, "failing", code=1)
assert "in the cell wsp-resnet18-s1" in told.stderr and "1 of 2 cells failed" in told.stderr, told.stderr
assert cell("failing", "random-resnet18-s1").exists() and not cell("failing", "wsp-resnet18-s1").exists()
assert (root / "failing/results.html").exists()

# What cannot be computed is said before the first cell.
def refused(told, code=2, **changes):
    for name in ("early",):
        shutil.rmtree(root / name, ignore_errors=True)
    error = table(plan(**changes), "early", code=code).stderr
    assert told in error, (told, error)
    assert not (root / "early/cells").exists(), told


d2 = {"name": "D2", "dataset": "d2", "label": "label", "positive": "2,3"}
refused("in the plan's evaluation D2", evaluations=[evaluation, {**d2, "label": "grade"}])
refused("label columns label, stage", evaluations=[evaluation, {**d2, "label": "grade"}])
refused('"reader" is \'radiologist\'', evaluations=[evaluation, {**d2, "reader": "radiologist"}])
refused("fewer than 60 folds", probe={"folds": 60})
refused("nested_c", evaluations=[d2], probe={"folds": 8, "nested_c": True})
refused("all 16 subjects", evaluations=[evaluation, {**d2, "positive": "7"}])
refused("which is no file", methods=["random", "imagenet"], weights={"resnet18": "absent.safetensors"})
refused("image_size is 20", train={"image_size": 20})
refused("epochs", train={"epochs": "many"})
refused("no complete dataset", code=4, evaluations=[evaluation, {**d2, "dataset": "absent"}])
refused("grade", pretraining={"dataset": "pretrain"}, methods=["wsp"], train={"label": "grade"})
refused("in the plan's aggregate both", evaluations=[evaluation, {**d2, "dataset": "d1"}], aggregate="both")
refused("stands twice", seeds=[1, 1])
refused("the probe's \"by\" is 'grade'", probe={"folds": 2, "by": ["grade"]})
refused("stiffness_kpa", probe={"folds": 2, "by": ["grade"]})
refused("the probe's \"by\" kernel: it is known of no subject", probe={"folds": 2, "by": ["kernel"]})
refused("is no plan", probe={"folds": 2, "by": "label"})
# The same pixels under another name, in pretraining and evaluation, and in two evaluations of an aggregate.
dataset("renamed", 8, 4, "other-")
refused("8 volumes stand in renamed and in d1", pretraining={"dataset": "renamed"}, methods=["wsp"])
refused("8 volumes stand in d1 and in renamed", evaluations=[evaluation, {**d2, "dataset": "renamed"}], aggregate="both")
# Compared once for each pair of datasets.
assert len(json.loads((root / "kinds/compared.json").read_text())) == 1

# The last layer's C is chosen in inner folds; another training needs --force; the directory of --out is asked for first.
tune = ("finetune", root / "d1", "--label", "label", "--positive", "2,3", "--folds", "2", "--encoder", "resnet18", "--image-size", "48",
        "--batch", "8", "--samples-per-epoch", "16", "--epochs", "1", "--out", root / "tuned", "--divisions", "20", "--json")
fixed = json.loads(run(*tune).stdout)
chosen = json.loads(run(*tune, "--C", "cv", "--force").stdout)
assert fixed["chosen_c"] == [[1, 1]] and chosen["chosen_c"] != [[1, 1]], chosen["chosen_c"]
assert chosen["predictions"] != fixed["predictions"]
(root / "tuned/finetune.json").unlink()
assert "--force" in run(*tune, "--lr", "0.01", code=2).stderr
assert "begun anew" in run(*tune, "--lr", "0.01", "--force").stderr
# --precision is that of the training and of the features.
(root / "tuned/finetune.json").unlink()
assert '--precision: was "fp32", is "bf16"' in run(*tune, "--lr", "0.01", "--precision", "bf16", code=2).stderr
half = [root / "half" if word == root / "tuned" else word for word in tune]
assert json.loads(run(*half, "--precision", "bf16").stdout)["predictions"] != fixed["predictions"]
assert "needs a CUDA card" in run(*half, "--force", "--precision", "fp16", code=2).stderr
told = run("embed", root / "d1", "--weights", root / "given.safetensors", "--out", root / "nodir/x.h5", code=5).stderr
assert "there is no directory" in told and "nodir" in told, told

# A nested C in a plan reaches the supervised row; what the plan leaves out is said in the log and under the table.
said = plan(evaluations=[{**evaluation, "label": "label"}, d2], aggregate="D1+2", methods=["supervised", "random", "imagenet", "wsp"],
            probe={"folds": 2, "repeats": 2, "nested_c": True, "permutations": 20, "divisions": 10, "by": ["dataset", "stiffness_kpa"]}, published=True)
done = table(said, "said")
assert result("said", "supervised-resnet18-s1")["chosen_c"] == chosen["chosen_c"] or \
    result("said", "supervised-resnet18-s1")["chosen_c"] != [[1, 1]]
notes = ("no pretraining dataset: wsp is", "no ImageNet weights for resnet18", "first of the 2 divisions")
for note in notes:
    assert note in done.stderr and note in done.stdout, note
tables = {t["name"]: t for t in json.loads((root / "said/results.json").read_text())["tables"]}
checks = {tuple(row[:3]): row for row in tables["checks"]["rows"]}
assert set(checks) == {("supervised", "resnet18", "D1"), ("supervised", "resnet18", "D2"), *(("random", "resnet18", e) for e in ("D1", "D2", "D1+2"))}
for e in ("D1", "D2"):
    found = result("said", "random-resnet18-s1", e)
    low, high = found["permutation"]["null_auc"]
    row = checks["random", "resnet18", e]
    assert row[3] == f"{found['subjects']} ({found['positive']})"
    assert row[5] == f"{found['permutation']['p']:.3f}" and row[6] == f"{low:.2f} to {high:.2f}", row
    assert row[7] == ("-" if found["calibration"]["slope"] is None else f"{found['calibration']['slope']:.2f}") and row[10] == f"{found['brier']['mean']:.2f}", row
assert "dataset" in checks["random", "resnet18", "D1+2"][4], checks
# Subgroups: an encoder a row, in every evaluation; one seed's numbers are its cell's. The supervised network has no aggregate.
for e, methods in (("D1", ["supervised", "random"]), ("D2", ["supervised", "random"]), ("D1+2", ["random"])):
    shown = tables[f"subgroups-{e}"]
    assert [row[0] for row in shown["rows"]] == methods and (root / f"said/subgroups-{e}.tsv").exists(), shown
    for row in shown["rows"]:
        parted = result("said", f"{row[0]}-resnet18-s1", e)["subgroups"]
        assert shown["header"] == ["method", "backbone", *(s["name"] for s in parted), "widest gap"], shown["header"]
        assert {s["column"] for s in parted} == {"dataset", "stiffness_kpa"}
        for text, s in zip(row[2:], parted):
            assert text.split(" [")[0] == ("-" if s["auc"] is None else f"{s['auc']:.2f}"), (text, s)
            assert s["interval"][0] is None or text.endswith(f"[{s['interval'][0]:.2f}, {s['interval'][1]:.2f}]"), (text, s)
        known = {}
        for s in parted:
            if s["auc"] is not None:
                known.setdefault(s["column"], []).append(s["auc"])
        gap = max(max(v) - min(v) for v in known.values())
        assert row[-1].split()[0] == (f"{gap:.2f}" if gap > 0 else "-"), (row, gap)
        assert e != "D1+2" or len(known["dataset"]) == 2, known
for page in ("results.html", "results.md"):
    assert "AUC of shuffled diagnoses" in (root / "said" / page).read_text()
assert not any(row[0] == "imagenet" for t in tables.values() for row in t["rows"])
assert tables["balanced-accuracy"]["header"][-1] == "in the paper"
# The paper's balanced accuracy is of D1 alone.
foreign = plan(evaluations=[d2], published=True)
table(foreign, "foreign")
tables = {t["name"]: t for t in json.loads((root / "foreign/results.json").read_text())["tables"]}
assert tables["balanced-accuracy"]["header"] == ["method", "resnet18"] and tables["balanced-accuracy"]["rows"][0][0] == "random"
assert "D2 in the paper" in tables["auc"]["header"]
# Cells of one training share its run; numbers, files and tables stay true. --json is honoured.
twice = plan(pretraining={"dataset": "pretrain"}, methods=["random", "wsp"], sigmas=[0.1, 0.3], ablation={"kernel": ["rbf"]})
listed = [line.split("\t") for line in table(twice, "twice", "--list").stdout.splitlines()]
assert listed == [["0", "random-resnet18-s1"], ["1", "wsp-resnet18-s1"], ["2", "wsp-resnet18-s1-sigma=0.1", "wsp-resnet18-s1"], ["3", "wsp-resnet18-s1-sigma=0.3"],
                  ["4", "wsp-resnet18-s1-rbf,kept,paper", "wsp-resnet18-s1"]], listed
assert json.loads(table(twice, "twice", "--list", "--json").stdout)[2] == {"job": 2, "cell": listed[2][1], "same_as": listed[1][1]}
assert not (root / "twice").exists()
assert "nothing to compute: its training is that of cell 1, wsp-resnet18-s1" in table(twice, "twice", "--job", "2").stdout
assert not (root / "twice/cells").exists()
assert json.loads(table(twice, "twice", "--job", "1", "--json").stdout) == {"job": 1, "cell": "wsp-resnet18-s1", "complete": 3, "cells": 5}
assert json.loads(table(twice, "twice", "--job", "4", "--json").stdout)["same_as"] == "wsp-resnet18-s1"
table(twice, "twice")
assert sorted(p.name for p in (root / "twice/cells").iterdir()) == ["random-resnet18-s1", "wsp-resnet18-s1", "wsp-resnet18-s1-sigma=0.3"]
tables = {t["name"]: t for t in json.loads((root / "twice/results.json").read_text())["tables"]}
shown = tables["auc"]["rows"][1][2]
assert shown != "-" and tables["sigma"]["rows"][0] == ["0.1", shown] and tables["ablation"]["rows"][0][3] == shown, tables
assert tables["sigma"]["rows"][1][1] != "-"
for name, row in (("sigma", "sigma=0.1"), ("ablation", "rbf,kept,paper")):
    assert tables[name]["notes"] == [f"{row} shows the runs of wsp-resnet18-s1, whose training is the same: no repetition of them."], tables[name]
assert not any("missing" in note for note in tables["auc"]["notes"])
# TRIPOD+AI: every item once; what the run knows is there, the rest is the authors'; a dataset that is gone is said to be so.
report = (root / "twice/tripod-ai.md").read_text()
items = re.findall(r"^\*\*(\d+[a-g]?) ", report, re.M)
assert len(items) == 52 == len(set(items)) and all(f"- " in part for part in re.split(r"^\*\*\d.*$", report, flags=re.M)[1:]), items
for name, data in (("pretraining", "pretrain"), ("evaluation D1", "d1")):
    assert f"{name} ({data}): " in report and hashlib.sha256((root / data / "dataset.json").read_bytes()).hexdigest() in report, report
found = result("twice", "wsp-resnet18-s1")
assert f"D1: {found['subjects']} subjects, {found['positive']} with the outcome" in report and "24 files: USED 24; 0 cases quarantined, 24 in the dataset" in report, report
(root / "pretrain").rename(root / "away")
table(twice, "twice", "--tables-only")
assert "pretraining (pretrain): not known here: " in (root / "twice/tripod-ai.md").read_text()
(root / "away").rename(root / "pretrain")
assert table(twice, "twice", "--tables-only", "--json").stdout == table(twice, "twice", "--json").stdout
full = run("table", support.SOURCE / "plans/phantom-full.json", "--out", root / "x", "--list").stdout.splitlines()
assert len(full) == 111 and sum(line.count("\t") == 2 for line in full) == 6, full

print("eval_table: stopped, changed, damaged, refused, finetune, tables: ok")
