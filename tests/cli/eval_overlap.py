"""wsp-eval where an encoder was trained on those whom it is evaluated on, and options that do not go together."""
import json
import os
import pathlib
import subprocess

import support

make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
scratch = support.temporary()
root = pathlib.Path(scratch.name)
check = support.check


def dataset(name, subjects, first, prefix=""):
    subprocess.run([make, root / name, str(subjects), "5", "64", str(first), prefix], check=True)


def train(data, out, *more):
    support.run("wsp-train", root / data, "--out", root / out, "--encoder", "resnet18", "--image-size", "48", "--batch", "8", "--samples-per-epoch", "16",
                "--epochs", "1", "--probe-every", "0", "--no-tensorboard", *more)
    return root / out / "encoder.safetensors"


def run(*arguments, code=0):
    return support.run("wsp-eval", *arguments, expect=code)


def split(weights):
    raw = weights.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def marks(weights):
    return set(json.loads(split(weights)[0]["__metadata__"]["wsp.trained_on"]))


def without_marks(weights, out):
    """As an earlier version wrote them, which had no hash either."""
    header, data = split(weights)
    del header["__metadata__"]["wsp.trained_on"], header["__metadata__"]["wsp.sha256"]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return out


dataset("data", 24, 0)
dataset("others", 16, 100)
dataset("renamed", 8, 4, "other-")  # the pictures of 8 subjects of data under other names
trained = train("data", "run", "--hold-back", "0.25")
old = without_marks(trained, root / "old.safetensors")

# Weights know by half a hash on whom they were trained: not on those held back; after --init on all of both trainings; a
# random encoder on nobody. A resumed run says the same.
check(len(marks(trained)) == 16 and not any("sub" in mark for mark in marks(trained)), f"16 of 24: {marks(trained)}")
further = train("others", "further", "--hold-back", "0", "--init", trained)
check(len(marks(further)) == 32 and marks(further) > marks(trained), "those of --init too")
check(marks(train("data", "random", "--method", "random")) == set(), "a random encoder was trained on nobody")
check("wsp.trained_on" not in split(train("others", "unknown", "--init", old))[0]["__metadata__"], "--init weights that do not say")
whole = trained.read_bytes()
trained.unlink()
train("data", "run", "--hold-back", "0.25", "--resume")
check(trained.read_bytes() == whole, "a resumed run gives other weights")


def embed(data, weights, out, *more):
    run("embed", root / data, "--weights", weights, "--out", root / out, *more)
    return root / out


ask = ("--label", "label", "--positive", "2,3", "--folds", "2", "--divisions", "20")
quick = (*ask, "--permutations", "0", "--no-shortcuts")


def probe(features, *more, code=0):
    done = run("probe", features, *quick, *more, *(() if code else ("--json",)), code=code)
    return done.stderr if code else json.loads(done.stdout)


# The encoder's own dataset: refused, and flagged where it is asked for all the same.
own = embed("data", trained, "own.h5")
said = probe(own, code=2)
check("trained on 16 of the 24 subjects of data" in said and "--allow-overlap" in said, said)
flagged = probe(own, "--allow-overlap")["alone"][0]
check("16 of the 24" in flagged["overlap"][0], flagged.get("overlap"))
check("flattered" in run("probe", own, *quick, "--allow-overlap").stdout, "the text says it too")
check("overlap" not in probe(embed("data", root / "random/encoder.safetensors", "random.h5"))["alone"][0], "a random encoder")
# Weights that do not say: the whole dataset is known by its hash; another one with --pretraining only.
bare = embed("data", old, "bare.h5")
check("trained on data itself" in probe(bare, code=2), "the hashes are equal")
check("trained on data itself" in probe(bare, "--allow-overlap")["alone"][0]["overlap"][0], "flagged")
stranger = embed("others", old, "stranger.h5")
check("do not say on whom" in run("probe", stranger, *quick).stderr, "a hint of --pretraining")
checked = probe(stranger, "--pretraining", root / "data")
check("overlap" not in checked["alone"][0], checked)
# Another dataset than the features name gives no safety.
check("is not the dataset" in probe(stranger, "--pretraining", root / "others", code=2), "a wrong --pretraining")
probe(stranger, "--pretraining", root / "absent", code=4)
# The same pixels under other names, at the size at which they were embedded.
copies = embed("renamed", trained, "copies.h5")
check("overlap" not in probe(copies)["alone"][0], "names alone do not tell")
said = probe(copies, "--pretraining", root / "data", code=2)
check("8 volumes of renamed have the same pixels as volumes of data" in said, said)
check("8 volumes" in probe(copies, "--pretraining", root / "data", "--allow-overlap")["alone"][0]["overlap"][0], "flagged")
# The other encoder of a comparison, and both of an aggregate.
check("trained on 16" in probe(root / "random.h5", "--against", own, code=2), "--against")
both = probe(own, embed("others", trained, "new.h5"), "--allow-overlap")
check("overlap" in both["alone"][0] and "overlap" not in both["alone"][1] and "16 of the 24" in both["aggregated"]["overlap"][0], "the aggregate")

# Figure and prediction warn and flag.
check("trained on 16" in run("pca", own, "--label", "label", "--positive", "2,3", "--out", root / "figure").stderr, "pca warns")
check("overlap" in json.loads((root / "figure/pca.json").read_text()), "pca.json")
probe(own, "--allow-overlap", "--save", root / "P.json", "--refits", "100")
done = run("predict", root / "data", "--weights", trained, "--probe", root / "P.json", "--out", root / "predicted", "--json")
check("trained on 16" in done.stderr and "16 of the 24" in json.loads(done.stdout)["overlap"][0], done.stderr)
done = run("predict", root / "others", "--weights", trained, "--probe", root / "P.json", "--out", root / "new", "--json")
check("trained on" not in done.stderr and "overlap" not in json.loads(done.stdout), done.stderr)

# Fine-tuning from it: refused, flagged; a --norm group encoder starts a --norm group network.
small = ("--encoder", "resnet18", "--image-size", "48", "--batch", "8", "--samples-per-epoch", "16", "--epochs", "1")
tune = ("finetune", root / "data", *ask, *small)
said = run(*tune, "--init", trained, "--out", root / "tuned", code=2).stderr
check("trained on 16 of the 24" in said and not (root / "tuned").exists(), said)
check("trained on data itself" in run(*tune, "--init", old, "--out", root / "tuned", code=2).stderr, "old weights")
tuned = json.loads(run(*tune, "--init", trained, "--out", root / "tuned", "--allow-overlap", "--json").stdout)
check("16 of the 24" in tuned["overlap"][0], tuned.get("overlap"))
grouped = train("others", "grouped", "--norm", "group", "--method", "random")
run(*tune, "--init", grouped, "--out", root / "group", code=2)
check("overlap" not in json.loads(run(*tune, "--init", grouped, "--norm", "group", "--out", root / "group", "--json").stdout), "--norm group")
# Its result is replaced by --force alone; complete folds are taken over.
stamp = (root / "group/fold-0/encoder.safetensors").stat().st_mtime_ns
again = (*tune, "--init", grouped, "--norm", "group", "--out", root / "group")
check("finetune.json exists" in run(*again, code=5).stderr, "finetune.json was there")
run(*again, "--force")
check((root / "group/fold-0/encoder.safetensors").stat().st_mtime_ns == stamp, "--force trains complete folds anew")

# A plan's given weights may have seen an evaluation.
plan = {"name": "seen", "version": 1, "evaluations": [{"name": "D1", "dataset": "data", "label": "label", "positive": "2,3"}], "methods": ["imagenet"],
        "backbones": ["resnet18"], "seeds": [1], "weights": {"resnet18": "run/encoder.safetensors"}, "train": {"image_size": 48},
        "probe": {"folds": 2, "permutations": 0, "divisions": 10}}
(root / "plan.json").write_text(json.dumps(plan))
said = run("table", root / "plan.json", "--root", root, "--out", root / "seen", code=2).stderr
check("the plan's weights of resnet18" in said and "16 of the 24" in said, said)

# A precision that there is not; options that do not go together or would do nothing.
check("one of fp32" in run("embed", root / "data", "--weights", trained, "--out", root / "half.h5", "--precision", "half", code=2).stderr, "--precision")
check(not (root / "half.h5").exists(), "half.h5 was written")
check("one of fp32" in run("predict", root / "others", "--weights", trained, "--probe", root / "P.json", "--out", root / "half", "--precision", "half",
                           code=2).stderr, "--precision of predict")
unseen = root / "random.h5"
two = ("--label", "stage", "--positive", "2,3")
check("give one" in run("probe", root / "new.h5", own, *quick, "--allow-overlap", "--against", own, code=2).stderr, "--against beside two files")
check("2 --label for one dataset" in run("finetune", root / "others", *ask, *two, *small, "--out", root / "x", code=2).stderr, "finetune --label twice")
check("2 --label for one dataset" in run("pca", unseen, *ask[:4], *two, "--out", root / "x", code=2).stderr, "pca --label twice")
check("--C" in run("probe", unseen, *quick, "--knn", "3", "--C", "cv", code=2).stderr, "--knn with --C")
check("--save" in run("probe", unseen, *quick, "--refits", "100", code=2).stderr, "--refits without --save")
table = ("table", root / "plan.json", "--root", root, "--out", root / "x")
for pair in (("--job", "0", "--tables-only"), ("--list", "--job", "0"), ("--list", "--tables-only")):
    check("excludes" in run(*table, *pair, code=2).stderr, str(pair))
check(not (root / "x").exists(), "something was written")
print("eval_overlap: weights, probe, figure, prediction, finetune, plan, options: ok")
