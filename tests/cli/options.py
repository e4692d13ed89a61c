"""The options that no other test uses: each must do what --help says, on a whole command."""
import json
import pathlib

import support

support.require("numpy", "h5py", "nibabel")
import nibabel
import numpy as np


def ingest(work, name, *extra, expect=0, first=()):
    export, masks = work / "nifti" / "export", work / "nifti" / "truth"
    return support.run("wsp-ingest", *first, *([] if first else [export]), "--out", work / name, "--ids", "keep",
                       "--masks", masks, "--size", 64, "--shards", 1, "--json", *extra, expect=expect)


def slices(work, name):
    (case,) = (json.loads(p.read_text()) for p in (support.state(work / name) / "cases").iterdir())
    return case["slices"]


def kept_slices(work):
    ingest(work, "central")
    base = slices(work, "central")
    length = base["liver_last"] - base["liver_first"] + 1
    support.check(base["kept_count"] == max(1, 700 * length // 1000), f"central 70 %: {base}")
    ingest(work, "half", "--central-fraction", 0.5)
    half = slices(work, "half")
    support.check(half["kept_count"] == max(1, 500 * length // 1000), f"--central-fraction 0.5: {half}")
    ingest(work, "all", "--slices", "all")
    every = slices(work, "all")
    support.check((every["kept_first"], every["kept_count"]) == (0, every["acquired"]), f"--slices all: {every}")
    (case,) = support.read_cases(work / "all").values()
    support.check(list(case["source_index"]) == list(range(every["acquired"])), "--slices all keeps every slice")
    # The end slices of the extent hold less liver than its middle.
    areas = json.loads(next((support.state(work / "all") / "cases").iterdir()).read_text())["profile"]["liver_mm2"]
    most = sorted(areas)[-3] - 1
    ingest(work, "wide", "--min-area-mm2", most)
    wide = slices(work, "wide")
    expected = [k for k, a in enumerate(areas) if a >= most]
    support.check((wide["liver_first"], wide["liver_last"]) == (expected[0], expected[-1]), f"--min-area-mm2: {wide}")


def window(work):
    ingest(work, "window", "--window", 0, 120)
    (narrow,), (usual,) = (support.read_cases(work / n).values() for n in ("window", "central"))
    support.check(np.array_equal(narrow["image"], np.clip(usual["image"], 0, 120)), "--window 0 120")
    config = json.loads((work / "window" / "dataset.json").read_text())["config"]
    support.check(config["window_hu"] == [0, 120], f"config {config}")
    ingest(work, "bad", "--window", 50, 10, expect=2)


def clean_masks(work):
    path = next((work / "nifti" / "truth").glob("*.nii.gz"))
    image = nibabel.load(path)
    mask = np.asanyarray(image.dataobj).copy()
    held = int(mask.sum())
    z = mask.shape[2] // 2
    mask[:2, :2, z] = 1
    dirty = work / "dirty"
    dirty.mkdir()
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), dirty / path.name)
    export = next((work / "nifti" / "export").iterdir())

    def volume(name, *extra):
        support.run("wsp-ingest", export, "--out", work / name, "--ids", "keep", "--masks", dirty, "--slices", "all",
                    "--size", 64, *extra)
        (case,) = support.read_cases(work / name).values()
        return int(case["mask"].sum()), json.loads((work / name / "dataset.json").read_text())["flags"]

    support.check(volume("as_given")[0] == held + 4, "a given mask is taken as it is")
    cleaned, flags = volume("cleaned", "--clean-masks")
    # The speck is gone; a hole of the phantom's own liver may be filled.
    support.check(held <= cleaned < held + 4 and flags.get("MASK_CLEANED") == 1, f"--clean-masks: {cleaned} of {held}, {flags}")


def labels_and_rois(work):
    """A value per use: what follows is the export."""
    export = work / "nifti" / "export"
    ingest(work, "l1", first=("--liver-label", "1", export))
    ingest(work, "l2", first=("--liver-label", "1,2", export))
    ingest(work, "l3", first=("--liver-label", "1", "--liver-label", "2", export))
    for name, expected in (("l1", [1]), ("l2", [1, 2]), ("l3", [1, 2])):
        found = json.loads((work / name / "dataset.json").read_text())["config"]["liver_labels"]
        support.check(found == expected, f"{name}: liver_labels {found}")
    ingest(work, "r1", first=("--liver-roi", "foie", export))
    ingest(work, "r2", first=("--liver-roi", "foie,leber", "--liver-roi", "fegato", export))
    for name, expected in (("r1", ["foie"]), ("r2", ["foie", "leber", "fegato"])):
        found = json.loads((work / name / "dataset.json").read_text())["config"]["liver_roi"]
        support.check(found == expected, f"{name}: liver_roi {found}")
    (work / "list.json").write_text('{"liver-label": [1, 2]}')
    ingest(work, "l4", "--config", work / "list.json")
    found = json.loads((work / "l4" / "dataset.json").read_text())["config"]["liver_labels"]
    support.check(found == [1, 2], f"--config: liver_labels {found}")


def quarantine_limit(work):
    for limit, code in ((0, 3), (1, 0)):
        support.run("wsp-ingest", work / "two", "--out", work / f"limit{limit}", "--ids", "keep", "--masks",
                    work / "nifti" / "truth", "--size", 64, "--max-quarantined", limit, expect=code)


def split_column(work):
    (subject,) = (p.name.removesuffix(".nii.gz") for p in (work / "nifti" / "export").iterdir())
    (work / "split.json").write_text(json.dumps({
        "name": "split", "version": 1, "split_column": "part", "subject_map": {}, "subject_pattern": "(subject)-"}))
    (work / "split.csv").write_text(f"subject,label,part\n{subject},2,val\n")
    (work / "split.csv").write_text("subject,label,part\nsubject,2,val\n")
    ingest(work, "split", "--manifest", work / "split.json", "--labels", work / "split.csv")
    (case,) = support.read_cases(work / "split").values()
    support.check({support.text(v) for v in case["split"]} == {"val"} and set(case["label"]) == {2}, "the split column")


def commands(work):
    """Subcommands take what they use and refuse what they would ignore."""
    export = work / "nifti" / "export"

    def fails(words, *arguments):
        done = support.run("wsp-ingest", *arguments, expect=2)
        support.check(words in done.stderr, f"{arguments}: expected '{words}' in {done.stderr}")

    fails("verify takes no --window", "verify", work / "central", "--window", 0, 100)
    fails("scan takes no --labels", "scan", export, "--labels", work / "split.csv")
    fails("scan takes no --out", "scan", "--out=x", export)
    for command in ("scan", "verify"):
        text = support.run("wsp-ingest", command, "--help").stdout
        support.check(all(o in text for o in ("--json", "--threads", "--log-level", "--config")), f"{command} --help")
    fails(f"scan takes no '{work / 'two'}'", "scan", export, work / "two")
    fails("make takes no --pixels", export, "--out", work / "no", "--ids", "keep", "--pixels")
    fails("make takes no 'B'", export, "B", "--out", work / "no", "--ids", "keep")
    fails("expected one of make, plan, scan, init, merge, verify")
    support.check(not (work / "no").exists(), "a refused command made something")
    # make is meant where no verb stands, also behind common options.
    for name, words in (("usual", []), ("said", ["make"])):
        support.run("wsp-ingest", "--threads", 1, "--log-level=warn", *words, export, "--out", work / name, "--ids", "keep",
                    "--masks", work / "nifti" / "truth", "--size", 64, "--shards", 1)
    usual, said = ((work / n / "dataset.json").read_text() for n in ("usual", "said"))
    support.check(usual == said, "make and no verb differ")
    # A configuration made for the ingest serves the scan.
    (work / "both.json").write_text(json.dumps({"ids": "keep", "codec": "zstd", "min-slices": 99}))
    report = json.loads(support.run("wsp-ingest", "scan", export, "--json", "--config", work / "both.json", expect=4).stdout)
    support.check(report["series"][0]["disposition"] == "TOO_FEW_SLICES", "scan --config")
    support.run("wsp-ingest", "scan", export, "--min-slices", 5, "--config", work / "both.json")
    for text, name in (('{"bogus": 1}', "bogus"), ('{"scan": {"bogus": 1}}', "scan/bogus"), ('{"x": {"y": 1}}', "x/y")):
        (work / "bogus.json").write_text(text)
        done = support.run("wsp-ingest", "scan", export, "--config", work / "bogus.json", expect=2)
        support.check(f"'{name}'" in done.stderr and "INI" not in done.stderr, f"unknown config name: {done.stderr}")
    text = support.run("wsp-ingest", "scan", export).stdout
    support.check("normal (0.0000, 0.0000, 1.0000)" in text and "chosen" in text, f"scan as text: {text}")


def recorded(work):
    """What a dataset records is a --config that makes it again, with all that was not a default."""
    others = ("--window", -50, 150, "--central-fraction", 0.5, "--min-area-mm2", 20, "--codec", "zstd", "--min-slices", 3, "--tilt",
              "reject", "--gaps", "reject", "--hu", "trust", "--all-series", "--clean-masks", "--mask-objects", "ignore",
              "--liver-roi", "foie,leber", "--liver-label", "1,3", "--follow-links", "--exclude", "*.txt",
              "--liver-model", "none")
    first = ingest(work, "first", *others)
    config = json.loads((work / "first" / "dataset.json").read_text())["config"]
    plain = json.loads((work / "central" / "dataset.json").read_text())["config"]
    same = {name for name in config if config[name] == plain[name]}
    support.check(same <= {"ids", "manifest", "tool_version", "data_epoch", "size", "shards", "slices", "require_phase", "compare_masks",
                           "segmenter", "strict_subjects"}, f"options that the test leaves at their defaults: {same}")
    again = support.run("wsp-ingest", work / "nifti" / "export", "--out", work / "again", "--masks", work / "nifti" / "truth",
                        "--config", work / "first" / "dataset.json", "--liver-model", "none", "--json")
    support.check((work / "again" / "dataset.json").read_bytes() == (work / "first" / "dataset.json").read_bytes(),
                  f"another dataset: {first.stdout} {again.stdout} {again.stderr}")
    # The usual case: nothing but defaults, of which some are empty lists.
    support.run("wsp-ingest", work / "nifti" / "export", "--out", work / "plain", "--masks", work / "nifti" / "truth",
                "--config", work / "central" / "dataset.json")
    support.check((work / "plain" / "dataset.json").read_bytes() == (work / "central" / "dataset.json").read_bytes(), "defaults again")
    # Underscores are dashes, inside a verb too.
    (work / "under.json").write_text(json.dumps({"min_slices": 99, "scan": {"trust": 1}}))
    done = support.run("wsp-ingest", "scan", work / "nifti" / "export", "--config", work / "under.json", expect=2)
    support.check("'scan/trust'" in done.stderr, done.stderr)
    (work / "under.json").write_text(json.dumps({"scan": {"min_slices": 99}}))
    support.run("wsp-ingest", "scan", work / "nifti" / "export", "--config", work / "under.json", expect=4)


def phantom(work):
    made = json.loads(support.run("wsp-phantom", "--out", work / "clean", "--subjects", 1, "--size", 32, "--slices", "3-3",
                                  "--clean", "--json").stdout)
    support.check(made["subjects"] == 1 and pathlib.Path(made["labels"]).exists() and "phi" not in made, f"--json: {made}")
    support.check(len(list(pathlib.Path(made["export"]).rglob("*.dcm"))) == 3, "--clean writes one series of 3 slices")
    support.run("wsp-phantom", "--out", work / "no", "--clean", "--hospital", expect=2)
    support.run("wsp-phantom", "--out", work / "no", "--format", "nifti", "--hospital", expect=2)
    image = nibabel.load(next((work / "nifti" / "export").iterdir()))
    support.check(image.shape == (64, 64, 14) and image.get_data_dtype() == np.int16, "--format nifti")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    common = ("--seed", 6, "--slices", "14-14", "--size", 64, "--format", "nifti")
    support.run("wsp-phantom", "--out", work / "nifti", "--subjects", 1, *common)
    support.run("wsp-phantom", "--out", work / "pair", "--subjects", 2, *common)
    (work / "pair" / "export").rename(work / "two")
    kept_slices(work)
    window(work)
    clean_masks(work)
    labels_and_rois(work)
    quarantine_limit(work)
    split_column(work)
    commands(work)
    recorded(work)
    phantom(work)
print("every option does what it says")
