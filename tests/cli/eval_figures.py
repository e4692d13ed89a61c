"""The pictures of wsp-eval and the numbers in them, beside scikit-learn and explicit formulas; and how they look in a browser."""
import json
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score, roc_curve

import chromium
import support

SVG = "{http://www.w3.org/2000/svg}"
scratch = support.temporary()
root = pathlib.Path(scratch.name)
rng = np.random.default_rng(4)


def run(*arguments, code=0):
    return support.run("wsp-eval", *arguments, expect=code)


# 130 subjects of 2 to 4 slices; what tells the diagnosis tells it less well at the one maker's.
subjects = [f"p{i:03d}" for i in range(130)]
truth = {s: int(rng.integers(2)) for s in subjects}
lines = ["subject\tslice\tscanner\tphase\tage\tsex\tdiagnosis"]
matrix = []
for i, s in enumerate(subjects):
    centre = rng.normal(size=6) + truth[s] * np.array([1.6 if i % 2 else 0.4, 0, 0, 0, 0, 0])
    for k in range(2 + i % 3):
        matrix.append(centre + rng.normal(size=6) / 2)
        lines.append(f"{s}\t{k}\t{('GE', 'Siemens')[i % 2]}\t{('portal', 'arterial', '')[i % 3]}\t{30 + i % 50}\t{i // 3 % 2}\t{2 * truth[s]}")
np.save(root / "own.npy", np.array(matrix))
(root / "own.tsv").write_text("\n".join(lines) + "\n")
run("import", root / "own.npy", root / "own.tsv", "--name", "mine", "--out", root / "own.h5")
common = ("probe", root / "own.h5", "--label", "diagnosis", "--positive", "2", "--permutations", "0", "--no-shortcuts", "--divisions", "20")
found = json.loads(run(*common, "--repeats", "2", "--figures", root / "figures", "--by", "scanner", "--json").stdout)["alone"][0]
y = np.array([p["truth"] for p in found["predictions"]])
scores = np.array([p["probability"] for p in found["predictions"]]).T
assert scores.shape == (2, 130)

# ROC: at each rate the highest sensitivity of a threshold with no higher one, mean over repeats.
rates = np.array(found["roc"]["false_positive_rate"])
best = []
for repeat in scores:
    wrong, hit, _ = roc_curve(y, repeat, drop_intermediate=False)
    best.append([hit[wrong <= rate + 1e-9].max() for rate in rates])
assert np.allclose(found["roc"]["sensitivity"], np.mean(best, axis=0), atol=1e-12)
wrong, hit, thresholds = roc_curve(y, scores[0], drop_intermediate=False)
points = found["operating_points"]
at = np.argmax(hit - wrong)
assert points["youden"]["threshold"] == thresholds[at] and np.isclose(points["youden"]["sensitivity"], hit[at]), (points, thresholds[at])
at = np.argmax(hit >= 0.9)
assert points["at_sensitivity"]["threshold"] == thresholds[at] and np.isclose(points["at_sensitivity"]["specificity"], 1 - wrong[at])

# Calibration: the dots say what they are.
picture = xml.etree.ElementTree.parse(root / "figures/diagnostics-own.svg").getroot()
dots = [re.fullmatch(r"(\d+) of (\d+) are positive, ([\d.]+) predicted", t.text) for t in picture.iter(f"{SVG}title")]
dots = [(int(d[1]) / int(d[2]), float(d[3]), int(d[2])) for d in dots if d]
part, predicted = calibration_curve(y, scores[0], n_bins=10, strategy="uniform")
assert np.allclose([d[0] for d in dots], part) and np.allclose([d[1] for d in dots], predicted, atol=0.006) and sum(d[2] for d in dots) == 130, dots

# Decision curve: every point that is drawn.
curves = [p for p in picture.iter(f"{SVG}path") if p.get("class") == "s-one" and p.get("stroke-width") == "2"]
curves = [[tuple(map(float, xy)) for xy in re.findall(r"([\d.]+) ([\d.]+)", p.get("d"))] for p in curves]
drawn = [xy for c in curves for xy in c if xy[1] >= 500 and len(c) > 2]  # two points: the legend's line
high = max(0.05, y.mean() * 1.12)
assert len(drawn) > 40
for x_drawn, y_drawn in drawn:
    t = round((x_drawn - 78) / 360, 2)
    called = scores[0] >= t
    benefit = ((called & (y == 1)).sum() - (called & (y == 0)).sum() * t / (1 - t)) / 130
    assert abs(500 + 270 - (benefit + high / 4) / (1.25 * high) * 270 - y_drawn) < 0.06, (t, benefit, y_drawn)
    assert y_drawn <= 770, "below the paper"

# Subgroups: pairs of a maker's within a fold; folds of the second repeat are not in the file.
fold = np.array([p["fold"] for p in found["predictions"]])
maker = np.array([int(p["subject"][1:]) % 2 for p in found["predictions"]])
single = json.loads(run(*common, "--by", "scanner", "--json").stdout)["alone"][0]
assert [g["name"] for g in single["subgroups"]] == ["scanner GE", "scanner Siemens"]
p = np.array([q["probability"][0] for q in single["predictions"]])
for number, group in enumerate(single["subgroups"]):
    inside = [(fold == f) & (maker == number) for f in range(5)]
    pairs = [(y[i] == 1).sum() * (y[i] == 0).sum() for i in inside]
    expected = sum(roc_auc_score(y[i], p[i]) * n for i, n in zip(inside, pairs) if n) / sum(pairs)
    assert abs(group["auc"] - expected) < 1e-12 and group["subjects"] == (maker == number).sum(), (group, expected)
    assert group["interval"][0] < group["auc"] < group["interval"][1]
assert single["subgroups"][1]["auc"] > single["subgroups"][0]["auc"] + 0.1
middle = np.median([30 + i % 50 for i in range(130)])
for column, names in (("phase", ["phase arterial", "phase portal"]), ("SEX", ["sex 0", "sex 1"]), ("age", [f"age up to {middle:g}", f"age above {middle:g}"])):
    parted = json.loads(run(*common, "--by", column, "--json").stdout)["alone"][0]["subgroups"]
    assert [g["name"] for g in parted] == names, parted
    known = 130 - len([i for i in range(130) if i % 3 == 2]) if column == "phase" else 130
    assert sum(g["subjects"] for g in parted) == known, parted
assert "known of no subject" in run(*common, "--by", "kernel", code=2).stderr

# A picture that stands in the way, or two of one name, are told before the fits.
assert "exists" in run(*common, "--figures", root / "figures", code=5).stderr
assert "two results are called own" in run("probe", root / "own.h5", *common[1:], "--figures", root / "two", code=2).stderr
assert not list((root / "two").iterdir())

# A plan's page: one row of a network, three of others with names of every length.
make = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "tests/train/support/make_train_dataset"
names = ("a", "a-foundation-model-for-computed-tomography-large", "radiomics_with_underscores_and_no_place_to_break")
imported = {name: {} for name in names}
plan = {"name": "page", "version": 1, "aggregate": "D1+2", "methods": ["random"], "backbones": ["resnet18"], "seeds": [1], "published": True,
        "evaluations": [{"name": e, "dataset": e, "label": "label", "positive": "2,3"} for e in ("D1", "D2")],
        "train": {"image_size": 48, "batch": 8}, "probe": {"folds": 4, "permutations": 9, "divisions": 10}}
for e, first in (("D1", 0), ("D2", 100)):
    subprocess.run([make, root / e, "24", "5", "64", str(first)], check=True)
(root / "plan.json").write_text(json.dumps(plan))
run("table", root / "plan.json", "--root", root, "--out", root / "page")
for e in ("D1", "D2"):
    run("embed", root / e, "--weights", root / "page/cells/random-resnet18-s1/run/encoder.safetensors", "--out", root / f"{e}.h5", "--npy")
    table = [line.split("\t") for line in (root / f"{e}.h5.npy/slices.tsv").read_text().splitlines()]
    (root / "named.tsv").write_text("\n".join("\t".join(row[:2]) for row in table) + "\n")
    for number, name in enumerate(names):
        np.save(root / "x.npy", rng.normal(size=(len(table) - 1, 8)) + np.array([[number * int(row[-2] in "23")] for row in table[1:]]))
        imported[name][e] = f"{name}-{e}.h5"
        run("import", root / "x.npy", root / "named.tsv", "--dataset", root / e, "--name", name, "--out", root / imported[name][e])
plan["imported"] = imported
(root / "plan.json").write_text(json.dumps(plan))
run("table", root / "plan.json", "--root", root, "--out", root / "page")
(root / "plan.json").write_text(json.dumps({**plan, "imported": {"../up": imported["a"]}}))
assert "../up" in run("table", root / "plan.json", "--root", root, "--out", root / "page", code=2).stderr

# In a browser: the page is as wide as the screen, n and shortcuts are on it, pictures lose no word, and both colour schemes are their own.
INSIDE = """(() => { const box = document.documentElement.viewBox.baseVal;
return [...document.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
return b.left < 0 || b.top < 0 || b.right > box.width || b.bottom > box.height; }).map(t => t.textContent); })()"""
EDGES = """(() => { const all = [...document.querySelectorAll('th')].filter(h => /^(AUC of shortcuts|subjects)/.test(h.textContent));
return all.map(h => h.getBoundingClientRect().right); })()"""
papers = set()
for dark in (False, True):
    for width in (1280, 800):
        with chromium.Browser(width, 900, dark) as browser:
            def show(path):
                browser.call("Page.navigate", url=f"file://{path}")
                browser.wait("document.readyState == 'complete'")

            show(root / "page/results.html")
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            edges = browser.evaluate(EDGES)
            assert len(edges) == 2 and max(edges) <= width, edges
            spilt = browser.evaluate("[...document.querySelectorAll('.table')].map(t => t.scrollWidth - t.clientWidth)")
            assert max(spilt) <= 0, (width, spilt)
            browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            browser.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
            browser.wait("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
            papers.add((dark, browser.evaluate("getComputedStyle(document.body).backgroundColor")))
            for picture in (root / "figures/diagnostics-own.svg", root / "page/forest-D1.svg", root / f"page/cells/{names[1]}-imported-s1/diagnostics-D1+2.svg"):
                show(picture)
                lost = browser.evaluate(INSIDE)
                assert not lost, (picture.name, lost)
                papers.add((dark, browser.evaluate("getComputedStyle(document.querySelector('rect')).fill")))
            assert not browser.errors, browser.errors
assert papers == {(False, "rgb(255, 255, 255)"), (True, "rgb(24, 24, 28)")}, papers
print("eval_figures: ROC, calibration, decision curve, subgroups beside scikit-learn; the page in a browser: ok")
