"""wsp-eval as a whole command: embed, probe, pca, save and predict, a plan; guards and exit codes."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree

import numpy as np

import support

tools = pathlib.Path(os.environ["WSP_TOOLS_DIR"])
make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
scratch = tempfile.TemporaryDirectory(prefix="wsp-eval-")
root = pathlib.Path(scratch.name)
subprocess.run([make, root / "data", "24", "5", "64"], check=True)
# What the manifest's words were: --positive is checked against them.
described = json.loads((root / "data/dataset.json").read_text())
described["words"] = {"label": {"none": 0, "mild": 1, "F3": 2, "F4": 3}}
(root / "data/dataset.json").write_text(json.dumps(described))


def run(*arguments, code=0, tool="wsp-eval"):
    done = subprocess.run([tools / tool, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done


for seed in (1, 2):
    run(root / "data", "--out", root / f"run{seed}", "--method", "random", "--encoder", "resnet18", "--image-size", "48", "--seed", seed, tool="wsp-train")
weights = root / "run1/encoder.safetensors"
features = root / "f.h5"

# embed: shapes, order, hash; the file that Python reads says the same; nothing is overwritten.
made = json.loads(run("embed", root / "data", "--weights", weights, "--out", features, "--npy", "--projector", "--json").stdout)
assert made["slices"] == 120 and made["cases"] == 24, made
x = np.load(root / "f.h5.npy/features.npy")
rows = [line.split("\t") for line in (root / "f.h5.npy/slices.tsv").read_text().splitlines()]
assert x.shape == (120, made["dimensions"]) and x.dtype == np.float32 and len(rows) == 121
assert rows[0][:3] == ["case", "slice", "subject"] and rows[0][-3:] == ["label", "stage", "number:stiffness_kpa"], rows[0]
assert (root / "f.h5.tensorboard").exists()
assert run("embed", root / "data", "--weights", weights, "--out", features, code=5)
run("embed", root / "data", "--weights", weights, "--out", root / "again.h5", "--batch", "7", "--threads", "1")
# By its earlier name, with a word.
assert "--weights" in run("embed", root / "data", "--encoder", weights, "--out", root / "earlier.h5").stderr
assert (root / "earlier.h5").read_bytes() == features.read_bytes()
assert "--weights is required" in run("embed", root / "data", "--out", root / "none.h5", code=2).stderr
try:
    import h5py
    with h5py.File(features) as f, h5py.File(root / "again.h5") as g:
        assert np.array_equal(f["slices/features"][:], x)
        assert np.allclose(g["slices/features"][:], x, rtol=1e-4, atol=1e-5), "the batch shows in the features"
        assert len(f["slices/case"]) == 120 and len(f["cases/name"]) == 24
except ImportError:
    print("*** python3-h5py is absent: the feature file was not read by it ***")

# Bounds and words say what lists say.
listed, bound, named = (json.loads(run("probe", features, "--label", "label", f"--positive={p}", "--folds", "4", "--permutations", "0", "--no-shortcuts", "--json").stdout)
                 for p in ("2,3", ">=2", "F3,F4"))
assert listed == bound == named
assert "the manifest's words F3, F4, mild, none" in run("probe", features, "--label", "label", "--positive", "F2", code=2).stderr
unknown = {"name": "t", "version": 1, "evaluations": [{"name": "D1", "dataset": "data", "label": "label", "positive": "F2"}], "methods": ["random"],
           "backbones": ["resnet18"], "seeds": [1]}
(root / "unknown.json").write_text(json.dumps(unknown))
assert "the manifest's words F3" in run("table", root / "unknown.json", "--root", root, "--out", root / "y", code=2).stderr

# probe: the folds' AUC by scikit-learn's own fits where there is one.
common = ["--label", "LABEL", "--positive", "2,3", "--folds", "4", "--seed", "5", "--divisions", "20"]
found = json.loads(run("probe", features, *common, "--permutations", "19", "--json").stdout)["alone"][0]
assert found["subjects"] == 24 and found["positive"] == 12, found
predictions = found["predictions"]
try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    subject = np.array([r[2] for r in rows[1:]])
    truth = {p["subject"]: p["truth"] for p in predictions}
    fold = {p["subject"]: p["fold"] for p in predictions}
    y, k = np.array([truth[s] for s in subject]), np.array([fold[s] for s in subject])
    wide = x.astype(float)
    for f in range(4):
        scaler = StandardScaler().fit(wide[k != f])
        model = LogisticRegression(tol=1e-8, max_iter=100000).fit(scaler.transform(wide[k != f]), y[k != f])
        p = model.predict_proba(scaler.transform(wide[k == f]))[:, 1]
        for s in set(subject[k == f]):
            ours = next(q["probability"][0] for q in predictions if q["subject"] == s)
            # scikit-learn's L-BFGS stops some 1e-5 before the optimum.
            assert abs(ours - p[subject[k == f] == s].mean()) < 1e-3, (f, s, ours)
except ImportError:
    print("*** python3-sklearn is absent: the probe was not compared with it ***")
run("probe", features, *common, "--C", "cv", "--permutations", "0", "--repeats", "2", "--no-shortcuts")
run("probe", features, *common, "--knn", "5", "--permutations", "0", "--no-shortcuts")

def handled(pid, number):
    """Whether a process catches a signal yet."""
    caught, = re.findall(r"^SigCgt:\s*(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(caught, 16) >> (number - 1) & 1


# A signal in the middle of thousands of fits ends the probe at once, with the signal's code; a second file is as large as people's.
rng = np.random.default_rng(1)
np.save(root / "large.npy", rng.normal(size=(300 * 8, 512)).astype(np.float32))
(root / "large.tsv").write_text("subject\tlabel\n" + "".join(f"p{i // 8:03d}\t{i // 8 % 3}\n" for i in range(300 * 8)))
run("import", root / "large.npy", root / "large.tsv", "--name", "noise", "--out", root / "large.h5")
for file in (features, root / "large.h5"):
    for number in (signal.SIGTERM, signal.SIGINT):
        for attempt in range(3):
            process = subprocess.Popen([tools / "wsp-eval", "probe", file, *common, "--permutations", "1000000", "--no-shortcuts", "--threads", "4"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            while not handled(process.pid, number):
                time.sleep(0.02)
            time.sleep(1 + 0.7 * attempt)
            process.send_signal(number)
            told = process.communicate(timeout=120)[1]
            assert process.returncode == 128 + number and "stopped as asked" in told, (file, process.returncode, told)

# Weights that are not finite, and features that overflow, are refused, and no file is left.
given = weights.read_bytes()
length = int.from_bytes(given[:8], "little")
head = json.loads(given[8:8 + length])
convolutions = [entry["data_offsets"] for name, entry in head.items() if name != "__metadata__" and len(entry["shape"]) == 4]
for value, places, code, told in ((np.nan, convolutions[:1], 6, "the weights hold values that are not finite"),
                                  (np.inf, convolutions[:1], 6, "the weights hold values that are not finite"),
                                  (1e15, convolutions, 1, "the encoder's features are not finite")):
    spoilt = bytearray(given)
    for begin, end in places:
        spoilt[8 + length + begin:8 + length + end] = np.full((end - begin) // 4, value, np.float32).tobytes()
    (root / "spoilt.safetensors").write_bytes(support.sealed(bytes(spoilt)))
    error = run("embed", root / "data", "--weights", root / "spoilt.safetensors", "--out", root / "spoilt.h5", code=code).stderr
    assert told in error and not list(root.glob("spoilt.h5*")), (value, error)

# Guards.
assert "at most" in run("probe", features, *common[:4], "--folds", "13", code=2).stderr
assert "label, stage" in run("probe", features, "--label", "grade", "--positive", "1", code=2).stderr
for bad in ("not 3", "-1", ".4", ">=x", "2, 3", "2;3"):
    assert "expected classes such as" in run("probe", features, "--label", "stage", f"--positive={bad}", code=2).stderr, bad
assert "all 24 subjects" in run("probe", features, "--label", "label", "--positive", "9", code=2).stderr
run("probe", features, *common, "--permutations", "0", "--no-shortcuts", "--pretraining", root / "data")  # a random encoder was trained on nobody
assert "no case of data has" in run("probe", features, "--label", "label", "--positive", "2,9", "--folds", "4", "--permutations", "0", "--no-shortcuts").stderr
assert "--reader is" in run("probe", features, *common, "--reader", "nope", code=2).stderr
assert "0 or 1" in run("probe", features, *common, "--reader", "stage", code=2).stderr
assert "--knn is 100" in run("probe", features, *common, "--knn", "100", code=2).stderr
run("probe", root / "absent.h5", *common, code=4)
damaged = bytearray(features.read_bytes())
damaged[len(damaged) // 2] ^= 1
(root / "damaged.h5").write_bytes(damaged)
run("probe", root / "damaged.h5", *common, code=6)
shutil.copytree(root / "data", root / "copy")
run("embed", root / "copy", "--weights", weights, "--out", root / "copy.h5")
assert "volumes stand in" in run("probe", features, root / "copy.h5", *common, code=2).stderr
run("embed", root / "data", "--weights", root / "run2/encoder.safetensors", "--out", root / "other.h5")
assert "different encoders" in run("probe", features, root / "other.h5", *common, code=2).stderr
paired = json.loads(run("probe", features, *common, "--permutations", "0", "--against", root / "other.h5", "--json").stdout)
assert paired["against"]["interval"][0] <= paired["against"]["auc_difference"] <= paired["against"]["interval"][1], paired["against"]

# A saved probe predicts: on its own cohort the probability stands in its interval; another encoder is refused.
run("probe", features, *common, "--permutations", "0", "--no-shortcuts", "--save", root / "P.json", "--refits", "100")
assert "exists" in run("probe", features, *common, "--permutations", "0", "--save", root / "P.json", code=5).stderr
assert "--knn" in run("probe", features, *common, "--knn", "5", "--save", root / "Q.json", code=2).stderr
said = run("predict", root / "data", "--weights", weights, "--probe", root / "P.json", "--out", root / "predicted").stderr
assert "24 of 24 patients are of the cohort" in said, said
assert "exists" in run("predict", root / "data", "--weights", weights, "--probe", root / "P.json", "--out", root / "predicted", code=5).stderr
subjects = json.loads((root / "predicted/predictions.json").read_text())["subjects"]
assert len(subjects) == 24 and all(0 <= s["interval"][0] <= s["interval"][1] <= 1 for s in subjects)
saved = json.loads((root / "P.json").read_text())
source, = saved["cohort"]["datasets"]
assert source["subjects"] == 24 and source["positive"] == "2,3" and len(saved["cohort"]["subject_hashes"]) == 24, source
z = (x.astype(float) - saved["model"]["mean"]) / saved["model"]["scale"]
p = 1 / (1 + np.exp(-(z @ saved["model"]["coefficients"] + saved["model"]["intercept"])))
for s in subjects:
    assert abs(p[[r[2] == s["subject"] for r in rows[1:]]].mean() - s["probability"]) < 1e-6, s
assert "encoder_sha256" in run("predict", root / "data", "--weights", root / "run2/encoder.safetensors", "--probe",
                               root / "P.json", "--out", root / "x", code=2).stderr

# Subgroups: of a label, and what is no column.
parted = json.loads(run("probe", features, *common, "--permutations", "0", "--no-shortcuts", "--by", "label", "--json").stdout)["alone"][0]["subgroups"]
assert [g["name"] for g in parted] == ["label none", "label mild", "label F3", "label F4"] and all(g["subjects"] == 6 and g["auc"] is None for g in parted), parted
assert "expected one of kernel, scanner" in run("probe", features, *common, "--by", "colour", code=2).stderr

# Pictures are XML; nothing is overwritten; the verdict stands in text and JSON.
pictured = run("probe", features, *common, "--permutations", "0", "--no-shortcuts", "--sensitivity", "0.8", "--figures", root / "figures")
assert "verdict" in pictured.stdout and "24 subjects, 12 of them positive" in pictured.stdout, pictured.stdout
assert "exists" in run("probe", features, *common, "--permutations", "0", "--no-shortcuts", "--figures", root / "figures", code=5).stderr
picture = xml.etree.ElementTree.parse(root / "figures/diagnostics-data.svg")
words = [e.text for e in picture.iter("{http://www.w3.org/2000/svg}text")]
point = found["operating_points"]["youden"]
assert all(str(point[what]) in words for what in ("true_positive", "false_positive", "true_negative", "false_negative")), (point, words)
assert point["true_positive"] + point["false_negative"] == 12 and found["operating_points"]["stated_sensitivity"] == 0.9
truth = np.array([p["truth"] for p in predictions]) == 1
scores = np.array([p["probability"][0] for p in predictions])
best = max((scores[truth] >= t).mean() + (scores[~truth] < t).mean() for t in scores)
assert abs(point["sensitivity"] + point["specificity"] - best) < 1e-12, (point, best)
roc = found["roc"]
assert len(roc["sensitivity"]) == len(roc["low"]) == 51 and all(a <= b <= c for a, b, c in zip(roc["low"], roc["sensitivity"], roc["high"]))

# The figure.
run("pca", features, "--label", "label", "--positive", "2,3", "--out", root / "figure")
assert "exists" in run("pca", features, "--label", "label", "--positive", "2,3", "--out", root / "figure", code=5).stderr
run("pca", features, "--label", "label", "--positive", "2,3", "--out", root / "figure", "--force")
assert "cannot make the directory" in run("pca", features, "--label", "label", "--positive", "2,3", "--out", features / "x", code=5).stderr
assert "<circle" in (root / "figure/pca.svg").read_text()

# A plan: every cell once, the second run takes all over, another plan is refused, shared subjects too.
plan = {"name": "test", "version": 1, "evaluations": [{"name": "D1", "dataset": "data", "label": "label", "positive": "2,3"}],
        "methods": ["supervised", "random", "wsp"], "backbones": ["resnet18"], "seeds": [1, 2],
        "train": {"image_size": 48, "batch": 8, "samples_per_epoch": 16, "epochs": 1}, "probe": {"folds": 2, "permutations": 0, "divisions": 10}}
(root / "plan.json").write_text(json.dumps(plan))
listed = run("table", root / "plan.json", "--root", root, "--out", root / "results", "--list").stdout
assert listed.count("\n") == 4 and "wsp" not in listed, listed  # there is no dataset to pretrain on
run("table", root / "plan.json", "--root", root, "--out", root / "results", "--job", "2")
table = json.loads(run("table", root / "plan.json", "--root", root, "--out", root / "results", "--json").stdout)
assert [row[0] for row in table[0]["rows"]] == ["supervised", "random", "wsp"] and table[0]["rows"][2][2] == "-", table[0]
stamp = (root / "results/cells/random-resnet18-s1/cell.json").stat().st_mtime_ns
before = (root / "results/results.md").read_bytes()
run("table", root / "plan.json", "--root", root, "--out", root / "results")
assert (root / "results/cells/random-resnet18-s1/cell.json").stat().st_mtime_ns == stamp
assert (root / "results/results.md").read_bytes() == before
run("table", root / "plan.json", "--root", root / "absent", "--out", root / "results", "--tables-only")
assert (root / "results/results.md").read_bytes() == before
for name in ("auc.tsv", "results.html", "results.json"):
    assert (root / "results" / name).exists(), name
page = (root / "results/results.html").read_text()
shown = re.findall(r'<img[^>]* src="([^"]+)" alt="[^"]+"', page)
assert "forest-D1.svg" in shown and sum("diagnostics-D1" in place for place in shown) == 2, shown
for place in shown:
    xml.etree.ElementTree.parse(root / "results" / place)
assert 'class="verdict"' in page and "24 subjects, 12 positive" in page and "prefers-color-scheme" in page
plan["probe"]["folds"] = 3
(root / "plan.json").write_text(json.dumps(plan))
assert "another plan" in run("table", root / "plan.json", "--root", root, "--out", root / "results", code=2).stderr
plan["pretraining"] = {"dataset": "data"}
(root / "plan.json").write_text(json.dumps(plan))
assert "stand in the pretraining" in run("table", root / "plan.json", "--root", root, "--out", root / "y", code=2).stderr
plan["train"]["magic"] = 1
(root / "plan.json").write_text(json.dumps(plan))
assert "magic" in run("table", root / "plan.json", "--root", root, "--out", root / "y", code=2).stderr
plan["methods"] = ["magic"]
(root / "plan.json").write_text(json.dumps(plan))
assert "unknown" in run("table", root / "plan.json", "--root", root, "--out", root / "y", code=2).stderr
print("eval: embed, probe, guards, predict, figure, plan: ok")
