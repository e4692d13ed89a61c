"""A label that is a number, from the table through the index to encoders trained on it: what is refused on the way, the
three methods, two ranks, and features in the end."""
import csv
import json
import math
import os
import pathlib
import subprocess

import support

support.require("numpy", "h5py")
import h5py
import numpy as np

scratch = support.temporary()
root = pathlib.Path(scratch.name)
cohort, data = root / "cohort", root / "data"
support.run("wsp-phantom", "--out", cohort, "--subjects", 14, "--seed", 5, "--size", 128, "--slices", "14-18",
            "--balance", "--format", "nifti")
MANIFEST = support.SOURCE / "data-manifests" / "phantom.json"


def ingest(labels, out, manifest=MANIFEST, expect=0):
    return support.run("wsp-ingest", cohort / "export", "--out", out, "--masks", cohort / "truth", "--labels", labels, "--manifest",
                       manifest, "--ids", "keep", "--size", 64, "--shards", 2, expect=expect)


# A number is what the table says, to the last bit, or NaN; in the case's JSON null.
ingest(cohort / "labels.csv", data)
rows = {row["subject"]: row["stiffness_kpa"] for row in csv.DictReader((cohort / "labels.csv").open())}
assert len(rows) == 14 and "" in rows.values() and any("." in text for text in rows.values()), rows
state = support.state(data)
with h5py.File(state / "index.h5") as index:
    assert index.attrs["continuous_names"].decode() == "stiffness_kpa"
    subjects, values = index["cases/subject"][:], index["cases/stiffness_kpa"][:]
    of_slice = index["slices/stiffness_kpa"][:]
    assert values.dtype == of_slice.dtype == np.float64
    assert np.array_equal(of_slice, values[index["slices/case"][:]], equal_nan=True)
for subject, value in zip(subjects, values):
    text = rows[subject.decode()]
    assert (math.isnan(value) if text == "" else value == float(text)), (subject, text, value)
for path in (state / "cases").iterdir():
    case = json.loads(path.read_text())
    assert case["continuous"] == {"stiffness_kpa": float(rows[case["subject"]]) if rows[case["subject"]] else None}, path
assert json.loads((data / "dataset.json").read_text())["continuous_names"] == ["stiffness_kpa"]
support.run("wsp-ingest", "verify", data)
unknown = sum(text == "" for text in rows.values())

# What is no number alone is refused by row and column, before anything is written.
lines = (cohort / "labels.csv").read_text().splitlines()
for bad in ('"7,3"', "7.3kPa", "7.3 kPa", "inf", "nan", "1e999"):
    (root / "bad.csv").write_text("\n".join([*lines[:3], ",".join([*lines[3].split(",")[:-1], bad]), *lines[4:]]) + "\n")
    done = ingest(root / "bad.csv", root / "refused", expect=2)
    assert "row 3" in done.stderr and "'stiffness_kpa'" in done.stderr and "without a unit" in done.stderr, done.stderr
    told = support.run("wsp-ingest", "init", "--check", MANIFEST, "--labels", root / "bad.csv", expect=2)
    assert "no number in row 3" in told.stderr + told.stdout, told
    assert not (root / "refused").exists()

# A cohort of numbers alone has no classes, and trains all the same.
alone = {"name": "alone", "version": 1, "subject_pattern": "(subject-[0-9]+)", "continuous": [{"name": "stiffness_kpa"}]}
(root / "alone.json").write_text(json.dumps(alone))
ingest(cohort / "labels.csv", root / "alone", manifest=root / "alone.json")


def train(out, *more, dataset=data, expect=0, env=None):
    return support.run("wsp-train", dataset, "--out", out, "--encoder", "resnet18", "--norm", "group", "--image-size", 48, "--batch", 6,
                       "--samples-per-epoch", 24, "--epochs", 1, "--lr", "1e-4", "--seed", 3, "--device", "cpu", "--workers", 1,
                       "--threads", 1, "--log-every", 1, "--no-tensorboard", *(() if "--hold-back" in more else ("--hold-back", "0")), *more, expect=expect, env=env)


def losses(out):
    told = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in told if line["kind"] == "train"]


methods = {"yaware": "stiffness_kpa:3", "lexp": "stiffness_kpa:3", "rnc": "stiffness_kpa"}
for method, continuous in methods.items():
    done = train(root / method, "--method", method, "--continuous", continuous)
    assert f"{unknown} case" in done.stderr and "without a value in label column 'stiffness_kpa'" in done.stderr, done.stderr
    assert (root / method / "encoder.safetensors").exists() and len(losses(root / method)) == 4
    assert all(math.isfinite(loss) and loss > 0 for loss in losses(root / method)), losses(root / method)
    config = json.loads((root / method / "config.resolved.json").read_text())
    assert config["continuous"] == continuous and config["temperature"] == (2 if method == "rnc" else 0.1), config
    other = "stiffness_kpa:4" if ":" in continuous else "metavir"
    again = train(root / method, "--method", method, "--continuous", other, "--resume", expect=2)
    assert f"--continuous: was \"{continuous}\"" in again.stderr, again.stderr
train(root / "of-numbers", "--method", "rnc", "--continuous", "stiffness_kpa", "--hold-back", "0.2", dataset=root / "alone")
support.run("wsp-eval", "embed", data, "--weights", root / "rnc" / "encoder.safetensors", "--out", root / "rnc.h5")

# The report shows it: per case, its spread, as a field of Croissant, in the card.
support.run_any("wsp-qa", data, "--slice-size", 0)
table = [line.split("\t") for line in (data / "qa" / "group.tsv").read_text().splitlines()]
place = table[0].index("number_stiffness_kpa")
shown = {row[1]: row[place] for row in table[1:]}
assert shown == {subject: (str(float(rows[subject])).removesuffix(".0") if rows[subject] else "") for subject in shown}, shown
known = sorted(float(v) for v in shown.values() if v)
spread = json.loads((data / "qa" / "dataset_fingerprint.json").read_text())["numbers"]["stiffness_kpa"]
assert spread["n"] == len(known) and abs(spread["min"] - known[0]) < 1e-4 and abs(spread["max"] - known[-1]) < 1e-4, spread
fields = json.loads((data / "qa" / "croissant.json").read_text())["recordSet"][0]["field"]
assert {f["name"]: f["dataType"] for f in fields}["number_stiffness_kpa"] == "sc:Float", fields
assert "| stiffness_kpa |" in (data / "qa" / "dataset_card.md").read_text()

# What a method asks for, by name.
assert "NAME:SIGMA" in train(root / "x", "--method", "yaware", expect=2).stderr
assert "NAME:SIGMA" in train(root / "x", "--method", "lexp", "--continuous", "stiffness_kpa", expect=2).stderr
assert "compares ranks" in train(root / "x", "--method", "rnc", "--continuous", "stiffness_kpa:3", expect=2).stderr
assert "does not learn from it" in train(root / "x", "--continuous", "stiffness_kpa:3", expect=2).stderr
assert "stiffness_kpa" in train(root / "x", "--method", "rnc", "--continuous", "kpa", expect=2).stderr
assert not (root / "x").exists()

# Two ranks have the loss of one process: each sees the numbers of the whole batch.
for method, continuous in methods.items():
    port, ranks = support.free_port(), []
    for rank in range(2):
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        ranks.append(subprocess.Popen([support.BINARIES / "wsp-train", data, "--out", root / f"{method}-2", "--encoder", "resnet18",
                                       "--norm", "group", "--image-size", "48", "--batch", "6", "--samples-per-epoch", "24", "--epochs", "1",
                                       "--lr", "1e-4", "--seed", "3", "--device", "cpu", "--workers", "1", "--threads", "1", "--hold-back", "0",
                                       "--log-every", "1", "--no-tensorboard", "--timeout", "60", "--method", method, "--continuous", continuous],
                                      env=env, stderr=subprocess.PIPE, text=True))
    told = [process.communicate(timeout=240)[1] for process in ranks]
    if any("neither Gloo nor NCCL" in text for text in told):
        print("*** built without Gloo: several ranks were NOT tested ***")
        break
    assert [process.returncode for process in ranks] == [0, 0], told
    one, two = losses(root / method), losses(root / f"{method}-2")
    assert len(one) == len(two) and abs(one[0] - two[0]) < 1e-6 * one[0], (method, one, two)
    assert all(abs(a - b) < 1e-3 * a for a, b in zip(one, two)), (method, one, two)
