"""wsp-eval import: what embed exported comes back to the bit; anyone's features, with a dataset and without; what is no matrix
and no table of slices is refused by name."""
import json
import os
import pathlib
import subprocess

import numpy as np

import support

make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
scratch = support.temporary()
root = pathlib.Path(scratch.name)
subprocess.run([make, root / "data", "24", "5", "64"], check=True)


def run(*arguments, code=0):
    return support.run("wsp-eval", *arguments, expect=code)


def probe(file, *more):
    return json.loads(run("probe", file, "--label", "label", "--positive", "2,3", "--folds", "4", "--permutations", "19", "--divisions", "10", "--json", *more).stdout)


# Export, import: the same file, hence the same probe; and again after the rows were shuffled.
support.run("wsp-train", root / "data", "--out", root / "run", "--method", "random", "--encoder", "resnet18", "--image-size", "48")
run("embed", root / "data", "--weights", root / "run/encoder.safetensors", "--out", root / "f.h5", "--npy")
npy, tsv, facts = (root / "f.h5.npy" / name for name in ("features.npy", "slices.tsv", "facts.json"))
run("import", npy, tsv, "--facts", facts, "--out", root / "back.h5")
assert (root / "back.h5").read_bytes() == (root / "f.h5").read_bytes()
assert probe(root / "back.h5") == probe(root / "f.h5")
x = np.load(npy)
lines = tsv.read_text().splitlines()
header, rows = lines[0].split("\t"), [line.split("\t") for line in lines[1:]]
assert header[:3] == ["case", "slice", "subject"] and header[-3:] == ["label", "stage", "number:stiffness_kpa"], header


def write(name, matrix, table, columns=header, separator="\t"):
    np.save(root / f"{name}.npy", matrix)
    (root / f"{name}.tsv").write_text("\n".join(separator.join(map(str, row)) for row in [columns, *table]) + "\n")
    return root / f"{name}.npy", root / f"{name}.tsv"


order = np.random.default_rng(1).permutation(len(rows))
shuffled = write("shuffled", x[order], [rows[i] for i in order])
run("import", *shuffled, "--facts", facts, "--out", root / "shuffled.h5")
assert probe(root / "shuffled.h5") == probe(root / "f.h5")

# With the dataset a row needs case and slice only. float64 is rounded to float32.
named = write("named", x[order].astype(np.float64), [rows[i][:2] for i in order], header[:2])
made = json.loads(run("import", *named, "--dataset", root / "data", "--name", "other", "--out", root / "named.h5", "--json").stdout)
assert made["slices"] == 120 and made["labels"] == ["label", "stage"] and made["facts"]["encoder"] == "other", made
assert probe(root / "named.h5")["alone"][0]["predictions"] == probe(root / "f.h5")["alone"][0]["predictions"]
paired = probe(root / "named.h5", "--against", root / "f.h5")["against"]
assert paired["auc_difference"] == 0 and paired["p"] == 1, paired
assert "different encoders" in run("probe", root / "named.h5", root / "f.h5", "--label", "label", "--positive", "2", code=2).stderr
part = write("part", x[:50], [row[:2] for row in rows[:50]], header[:2])
assert json.loads(run("import", *part, "--dataset", root / "data", "--name", "other", "--out", root / "part.h5", "--json").stdout)["cases"] == 10
told = run("import", *write("stranger", x[:1], [["nobody", 0]], header[:2]), "--dataset", root / "data", "--name", "e", "--out", root / "x.h5", code=2).stderr
assert "row 1 (line 2 of the file), column 'case': expected a case of the dataset" in told, told
told = run("import", *write("beyond", x[:1], [[rows[0][0], 999]], header[:2]), "--dataset", root / "data", "--name", "e", "--out", root / "x.h5", code=2).stderr
assert "column 'slice': expected one that the dataset keeps" in told, told
told = run("import", *write("twice", x[:2], [rows[0][:2]] * 2, header[:2]), "--dataset", root / "data", "--name", "e", "--out", root / "x.h5", code=2).stderr
assert "every slice once" in told, told

# Anyone's features, as the three lines of docs/EVALUATION.md write them.
text = (support.SOURCE / "docs/EVALUATION.md").read_text()
example = text[text.index("```python\n") + 10:]
example = example[:example.index("```")]
rng = np.random.default_rng(2)
subjects = [f"p{i // 6:02d}" for i in range(240)]
diagnosis = [i // 6 % 2 for i in range(240)]
features = rng.normal(size=(240, 16)) + np.array(diagnosis)[:, None]
os.chdir(root)
exec(example, {"features": features, "subjects": subjects, "diagnosis": diagnosis})
run("import", "features.npy", "slices.tsv", "--name", "my-encoder", "--out", "own.h5")
found = json.loads(run("probe", "own.h5", "--label", "diagnosis", "--positive", "1", "--permutations", "0", "--divisions", "10", "--json").stdout)["alone"][0]
assert found["subjects"] == 40 and found["positive"] == 20 and found["slices"] == 240 and found["auc"]["mean"] > 0.95, found["auc"]

# Column by column, as numpy.save writes a transposed matrix, they are the same features.
np.save("columns.npy", np.asfortranarray(np.load("features.npy")))
assert np.load("columns.npy").flags.f_contiguous and not np.load("columns.npy").flags.c_contiguous
run("import", "columns.npy", "slices.tsv", "--name", "my-encoder", "--out", "columns.h5")
again = json.loads(run("probe", "columns.h5", "--label", "diagnosis", "--positive", "1", "--permutations", "0", "--divisions", "10", "--json").stdout)["alone"][0]
assert again["auc"] == found["auc"] and again["predictions"] == found["predictions"], (again["auc"], found["auc"])

# What is no matrix of features.
good = [["a", 0], ["b", 1]]


def refused(matrix, why, raw=None, table=good, columns=("subject", "label")):
    files = write("bad", matrix, table, columns)
    if raw is not None:
        files[0].write_bytes(raw)
    told = run("import", *files, "--name", "e", "--out", root / "bad.h5", code=2).stderr
    assert why in told, (why, told)
    assert not (root / "bad.h5").exists()


two = np.ones((2, 3), np.float32)
refused(two.astype(int), "type '<i8'; expected '<f4' (float32) or '<f8'")
refused(two.astype(np.float16), "type '<f2'")
refused(two.astype(">f4"), "type '>f4'")
refused(np.ones(2, complex), "type '<c16'")
refused(np.array([("a", 1.0)], dtype=[("x", "U1"), ("y", "f4")]), "type [(")
refused(np.ones(2, np.float32), "shape (2,)")
refused(np.ones((2, 3, 4), np.float32), "shape (2, 3, 4)")
refused(np.ones((0, 3), np.float32), "shape (0, 3)")
refused(np.ones((3, 3), np.float32), "has 3 rows")
refused(np.array([[1, 2], [3, np.nan]]), "nan in row 1, column 1")
refused(np.array([[1, np.inf], [3, 4]], np.float32), "inf in row 0, column 1")
refused(np.array([[1, 1e300], [3, 4]]), "in row 0, column 1")  # no float32
whole = (root / "f.h5.npy/features.npy").read_bytes()
refused(two, "not written whole", whole[:-1])
refused(two, "not written whole", whole + b"\0")
refused(two, "ends within its header", whole[:40])
refused(two, "is no .npy file", b"PK\x03\x04" + whole)
refused(two, "is no .npy file", b"")
refused(two, "not those of", whole[:10] + whole[10:128].replace(b"(120, ", b"(999999999999999, ").ljust(118)[:118])
assert "expected a .npy file" in run("import", root / "absent.npy", tsv, "--name", "e", "--out", root / "bad.h5", code=4).stderr
# What is no table of slices.
refused(two, "no column 'subject'", columns=("patient", "label"))
refused(two, "column 'label': expected a class", table=[["a", "F3"], ["b", 1]])
refused(two, "column 'label': expected a class", table=[["a", 0.5], ["b", 1]])
refused(two, "column 'label': expected the same as in the other rows of its case", table=[["a", 0], ["a", 1]])
refused(two, "column 'subject': expected a name", table=[["", 0], ["b", 1]])
refused(two, "stands twice", columns=("subject", "subject"))
refused(two, "no name of a label", columns=("subject", "file name"))
refused(two, "column 'depth': expected a number", columns=("subject", "depth"), table=[["a", "low"], ["b", 0.5]])
refused(two, "column 'trained_on'", columns=("subject", "trained_on"), table=[["a", 2], ["b", 0]])
refused(two, "every slice of a case once", columns=("subject", "slice"), table=[["a", 2], ["a", 2]])
assert "--name is required" in run("import", npy, tsv, "--out", root / "bad.h5", code=2).stderr
assert "exists" in run("import", npy, tsv, "--facts", facts, "--out", root / "back.h5", code=5).stderr
(root / "odd.json").write_text('{"encoder": "e", "colour": "red"}')
assert "'colour' is unknown" in run("import", npy, tsv, "--facts", root / "odd.json", "--out", root / "bad.h5", code=2).stderr
# Without pixels equal features stand for equal ones; --pretraining needs them.
assert "import them with --dataset" in run("probe", "own.h5", "--label", "diagnosis", "--positive", "1", "--pretraining", root / "data", code=2).stderr

# The manifest's words, from the hospital's table to the probe: no class is guessed from how a word ends.
if not (support.BINARIES / "wsp-ingest").exists():
    print("*** this build has no wsp-ingest: the words of a manifest were not tried ***")
    raise SystemExit
import nibabel

(root / "export").mkdir()
(root / "masks").mkdir()
stages = ("F4", "none", "F1", "severe")  # severe is 3, F4 is 2
table = ["file,fibrosis,calls"]
for number in range(16):
    volume = rng.integers(0, 90, (24, 24, 12)).astype(np.int16)
    mask = np.zeros(volume.shape, np.uint8)
    mask[6:18, 6:18, 2:10] = 1
    for folder, voxels in (("export", volume), ("masks", mask)):
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([5, 5, 5, 1])), root / folder / f"v{number:02d}.nii.gz")
    table.append(f"v{number:02d}.nii.gz,{stages[number % 4]},{number % 2}")
(root / "scores.csv").write_text("\n".join(table) + "\n")
words = {"none": 0, "F1": 1, "F4": 2, "severe": 3}
(root / "manifest.json").write_text(json.dumps({"name": "hospital", "version": 1, "key": "path", "key_column": "file",
    "labels": [{"name": "label", "column": "fibrosis", "values": words}, {"name": "calls", "column": "calls"}]}))
support.run("wsp-ingest", root / "export", "--out", root / "hospital", "--ids", "keep", "--masks", root / "masks", "--size", "64",
            "--labels", root / "scores.csv", "--manifest", root / "manifest.json")
described = json.loads((root / "hospital/dataset.json").read_text())
assert described["words"] == {"label": words}, described.get("words")
allowed = json.loads((support.SOURCE / "schemas/dataset.schema.json").read_text())["properties"]
assert set(described) <= set(allowed), set(described) - set(allowed)
run("embed", root / "hospital", "--weights", root / "run/encoder.safetensors", "--out", root / "hospital.h5", "--npy")
asked = ("--label", "label", "--folds", "2", "--permutations", "0", "--no-shortcuts", "--divisions", "5")
named, numbered = (json.loads(run("probe", root / "hospital.h5", *asked, "--positive", p, "--json").stdout) for p in ("F4,severe", "2,3"))
assert named == numbered and named["alone"][0]["positive"] == 8
for unknown in ("F3", "4,F9"):
    told = run("probe", root / "hospital.h5", *asked, "--positive", unknown, code=2).stderr
    assert f"--positive is '{unknown}'" in told and "the manifest's words F1, F4, none, severe" in told, told
files = [root / "hospital.h5.npy" / name for name in ("features.npy", "slices.tsv", "facts.json")]
run("import", *files[:2], "--facts", files[2], "--out", root / "hospital-back.h5")
assert (root / "hospital-back.h5").read_bytes() == (root / "hospital.h5").read_bytes(), "words are lost on the way"
print("eval_import: export and import, words, datasets, tables, refusals: ok")
