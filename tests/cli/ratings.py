"""Ratings reach the training: what the page of wsp-qa saves is taken by --exclude of wsp-train, wsp-unet and wsp-eval, by a plan and by
wsp-ingest --exclude-cases, said, recorded and checked; what does not fit is refused by name, before anything is written."""
import json
import pathlib

import support

support.require("h5py")
import h5py



def write(path, rows):
    path.write_text("case\trating\n" + "".join(f"{name}\t{rating}\n" for name, rating in rows))
    return path


def cases_of(dataset):
    with h5py.File(support.state(dataset) / "index.h5") as f:
        names = [support.text(n) for n in f["cases/name"][:]]
        return {names[c]: int(y) for c, y in zip(f["slices/case"][:], f["slices/label"][:])}


def refused(tool, arguments, *words):
    done = support.run(tool, *arguments, expect=2)
    for word in words:
        support.check(word in done.stderr, f"{tool}: the refusal does not say '{word}': {done.stderr}")


# What cannot be meant, and the words that say so.
def wrong_files(work, name):
    yield write(work / "unknown.tsv", [(name, "good"), ("no-such-case", "good")]), ("1 of 2 rated cases", "no-such-case")
    yield write(work / "word.tsv", [(name, "exlude")]), ("'exlude'", "row 1")
    yield write(work / "two.tsv", [(name, "good"), (name, "exclude")]), (name, "'good' above")
    (work / "cut.tsv").write_text(f"case\trating\n{name}\texclude\n{name[:3]}")
    yield work / "cut.tsv", ("expected 2", "row 2")
    yield work / "absent.tsv", ("no file",)


def training(work, dataset, cases):
    base = [dataset, "--encoder", "resnet18", "--image-size", "48", "--norm", "group", "--batch", "8", "--samples-per-epoch", "32", "--epochs", "1",
            "--device", "cpu", "--hold-back", "0", "--max-steps", "2"]
    first, second, *others = sorted(cases)
    for path, words in wrong_files(work, first):
        refused("wsp-train", [*base, "--out", work / "never", "--exclude", path], "--exclude", *words)
        support.check(not (work / "never").exists(), f"{path.name}: a run was begun")
    chosen = write(work / "ratings.tsv", [(first, "exclude"), (second, "usable"), (others[0], "exclude")])
    done = support.run("wsp-train", *base, "--out", work / "run", "--exclude", chosen)
    support.check("left out: 2 cases rated exclude" in done.stderr, f"what was left out is not said: {done.stderr}")
    config = json.loads((work / "run" / "config.resolved.json").read_text())
    support.check(config["exclude"] == sorted([first, others[0]]), f"the configuration holds {config['exclude']}")
    # What the ingest left out already is known, and nothing is left to do.
    support.run("wsp-train", work / "new", *base[1:], "--out", work / "again", "--exclude", write(work / "same.tsv", [(first, "exclude")]))
    support.check(json.loads((work / "again" / "config.resolved.json").read_text())["exclude"] == [], "a case that is gone was left out again")
    # Another choice of cases is another run; other words that leave out the same are not.
    other = write(work / "other.tsv", [(first, "exclude")])
    refused("wsp-train", [*base, "--out", work / "run", "--resume", "--exclude", other], "--exclude FILE: was", others[0])
    refused("wsp-train", [*base, "--out", work / "run", "--resume"], "--exclude FILE: was", "is none")
    support.run("wsp-train", *base, "--out", work / "run", "--resume", "--exclude", chosen)
    # A class whose last case goes is no class: the batches are balanced over the others.
    gone = [n for n, y in cases.items() if y == max(cases.values())]
    done = support.run("wsp-train", *base, "--out", work / "fewer", "--method", "supervised", "--exclude",
                       write(work / "class.tsv", [(n, "exclude") for n in gone]))
    support.check(f"{len(gone)} cases rated exclude" in done.stderr, done.stderr)
    sheet = work / "sheet"
    support.run("wsp-train", "redraw", work / "fewer", "--dataset", dataset, "--epoch", 0, "--step", 0, "--out", sheet)
    drawn = json.loads((sheet / "views.json").read_text())
    seen = {cases[row["case"]] for row in drawn}
    support.check(seen == set(cases.values()) - {max(cases.values())}, f"drawn are the classes {seen}")
    done = support.run("wsp-train", *base, "--out", work / "never", "--exclude",
                       write(work / "all.tsv", [(n, "exclude") for n in cases]), expect=4)
    support.check(f"{len(cases)} cases rated exclude" in done.stderr, f"nothing left: {done.stderr}")


def ingest(work, cohort, dataset, arguments, cases):
    first, second, *_ = sorted(cases)
    before = support.tree(dataset)
    for path, words in wrong_files(work, first):
        for command in ((), ("plan",)):
            refused("wsp-ingest", [*command, *arguments, "--out", dataset, "--exclude-cases", path], "--exclude-cases", *words)
    support.check(support.tree(dataset) == before, "a refused ratings file changed the dataset")
    chosen = write(work / "ratings.tsv", [(first, "exclude"), (second, "good")])
    planned = json.loads(support.run("wsp-ingest", "plan", *arguments, "--exclude-cases", chosen, "--json").stdout)
    support.check((planned["totals"]["cases"], planned["totals"]["excluded_cases"]) == (len(cases) - 1, [first]), f"plan: {planned['totals']}")
    done = support.run("wsp-ingest", *arguments, "--out", dataset, "--exclude-cases", chosen)
    support.check(f"1 cases were left out as rated: {first}" in done.stdout, f"not said: {done.stdout}")
    support.check("unchanged cases were taken over" in done.stdout, f"made again: {done.stdout}")
    rest = cases_of(dataset)
    support.check(rest == {n: y for n, y in cases.items() if n != first}, f"cases are {sorted(rest)}")
    description = json.loads((dataset / "dataset.json").read_text())
    support.check(description["config"]["exclude_cases"] == [first], f"config: {description['config'].get('exclude_cases')}")
    ledger = [line.split("\t") for line in (support.state(dataset) / "ledger.tsv").read_text().splitlines()]
    rows = [row for row in ledger if row[3] == first]
    support.check(rows and all(row[1] == "EXCLUDED" and "rated exclude" in row[4] for row in rows), f"the ledger says {rows}")
    support.run("wsp-ingest", "verify", dataset)
    support.run("wsp-qa", dataset, "--fail-on", "never")
    found = (dataset / "qa" / "findings.jsonl").read_text()
    support.check("LEDGER_MISMATCH" not in found, "the ledger does not add up")
    # A new dataset without the case is that one, byte for byte; in parts too; and the case comes back when it is asked for.
    support.run("wsp-ingest", *arguments, "--out", work / "new", "--exclude-cases", chosen)
    strip = lambda tree: {name: data for name, data in tree.items() if not name.startswith("qa/")}
    support.check(strip(support.tree(work / "new")) == strip(support.tree(dataset)), "an update and a new dataset differ")
    for part in (1, 2):
        support.run("wsp-ingest", *arguments, "--out", work / f"part{part}", "--part", f"{part}/2", "--exclude-cases", chosen)
    support.run("wsp-ingest", "merge", work / "merged", work / "part1", work / "part2")
    support.check(cases_of(work / "merged") == rest, "the parts have other cases")
    support.run("wsp-ingest", *arguments, "--out", dataset)
    support.check(cases_of(dataset) == cases, "the case does not come back")


def pseudonyms(work, cohort, arguments):
    """Names are those of the site key: under another one they name nobody, and without one they cannot be told."""
    under = [a for a in arguments if a not in ("--ids", "keep")]
    support.run("wsp-ingest", *under, "--out", work / "secret", "--new-site-key", work / "key")
    name = sorted(cases_of(work / "secret"))[0]
    chosen = write(work / "secret.tsv", [(name, "exclude")])
    support.run("wsp-ingest", *under, "--out", work / "secret", "--site-key", work / "key", "--exclude-cases", chosen)
    support.check(name not in cases_of(work / "secret"), "a pseudonym was not left out")
    refused("wsp-ingest", [*under, "--out", work / "elsewhere", "--new-site-key", work / "key2", "--exclude-cases", chosen], name)
    refused("wsp-ingest", ["plan", *under, "--exclude-cases", chosen], "--site-key")


def unet(work, cohort):
    """Neither trained on nor held back, nor scored afterwards; the evaluation may be given other ratings."""
    volumes = work / "volumes"
    support.run("wsp-ingest", cohort / "export", "--masks", cohort / "truth", "--ids", "keep", "--size", 64, "--slices", "all", "--out", volumes)
    with h5py.File(support.state(volumes) / "index.h5") as f:
        names = sorted(support.text(n) for n in f["cases/name"][:])
    base = [volumes, "--image-size", 32, "--width", 8, "--depth", 2, "--batch", 4, "--samples-per-epoch", 8, "--epochs", 1, "--hold-back", 0.25,
            "--device", "cpu"]
    for path, words in wrong_files(work, names[0]):
        refused("wsp-unet", ["train", *base, "--out", work / "never", "--exclude", path], "--exclude", *words)
        support.check(not (work / "never").exists(), f"{path.name}: a run was begun")
    chosen = write(work / "volumes.tsv", [(names[0], "exclude"), (names[1], "good"), (names[2], "exclude")])
    done = support.run("wsp-unet", "train", *base, "--out", work / "unet", "--exclude", chosen)
    support.check("2 volumes rated exclude" in done.stderr, f"not said: {done.stderr}")
    config = json.loads((work / "unet" / "config.resolved.json").read_text())
    support.check(config["exclude"] == [names[0], names[2]], f"the configuration holds {config['exclude']}")
    refused("wsp-unet", ["train", *base, "--out", work / "unet", "--resume"], "--exclude FILE: was")
    scored = lambda *more: json.loads(support.run("wsp-unet", "evaluate", work / "unet", volumes, "--all", "--resamples", 0, "--json", *more).stdout)
    of = lambda result: sorted(c["case"] for c in result["cases"])
    own = scored()
    support.check(own["excluded"] == [names[0], names[2]] and of(own) == [n for n in names if n not in (names[0], names[2])],
                  f"the training's own ratings are not kept to: {own['excluded']}, {of(own)}")
    other = scored("--exclude", write(work / "one.tsv", [(names[1], "exclude")]))
    support.check(other["excluded"] == [names[1]] and of(other) == [n for n in names if n != names[1]], f"scored: {of(other)}")
    refused("wsp-unet", ["evaluate", work / "unet", volumes, "--exclude", write(work / "x.tsv", [("no-such-case", "good")])], "no-such-case")


def evaluation(work, dataset, cases):
    """The same cases, left out when features are made, when they are probed, and in a plan, give the same features and the same numbers."""
    names = sorted(cases)
    gone = [names[0], names[5]]
    chosen = write(work / "readers.tsv", [(n, "exclude" if n in gone else "usable") for n in names])
    # An encoder of other people.
    cohort = work / "pretraining"
    support.run("wsp-phantom", "--out", cohort, "--subjects", 6, "--seed", 8, "--slices", "24-26", "--size", 64, "--balance", "--format", "nifti")
    support.run("wsp-ingest", cohort / "export", "--masks", cohort / "truth", "--labels", cohort / "labels.csv", "--manifest",
                support.SOURCE / "data-manifests" / "phantom.json", "--new-site-key", work / "other.key", "--size", 64, "--out", work / "seen")
    support.run("wsp-train", work / "seen", "--out", work / "others", "--encoder", "resnet18", "--image-size", 48, "--norm", "group", "--batch", 8,
                "--samples-per-epoch", 16, "--epochs", 1, "--device", "cpu", "--hold-back", 0)
    weights = work / "others" / "encoder.safetensors"
    embed = [dataset, "--weights", weights, "--device", "cpu"]
    for path, words in wrong_files(work, names[0]):
        refused("wsp-eval", ["embed", *embed, "--out", work / "never.h5", "--exclude", path], "--exclude", *words)
        support.check(not (work / "never.h5").exists(), f"{path.name}: features were written")
    done = support.run("wsp-eval", "embed", *embed, "--out", work / "without.h5", "--exclude", chosen)
    support.check("left out: 2 cases rated exclude" in done.stderr, f"not said: {done.stderr}")
    support.run("wsp-eval", "embed", *embed, "--out", work / "with.h5")
    with h5py.File(work / "without.h5") as f, h5py.File(work / "with.h5") as g:
        named = lambda h: [support.text(n) for n in h["cases/name"][:]]
        support.check(sorted(named(f)) == [n for n in names if n not in gone] and sorted(named(g)) == names, f"cases are {named(f)}")
        kept = [named(g)[c] not in gone for c in g["slices/case"][:]]
        support.check((f["slices/features"][:] == g["slices/features"][:][kept]).all(), "the features of the others differ")
        left = dict(zip((support.text(n) for n in f["left_out/name"][:]), (support.text(w) for w in f["left_out/why"][:])))
        support.check(left == dict.fromkeys(gone, "rated") and "left_out" not in g, f"left out: {left}")
    probe = lambda file, *more: json.loads(support.run("wsp-eval", "probe", work / file, "--label", "label", "--positive", ">=1", "--folds", 2,
                                                       "--divisions", 0, "--permutations", 0, "--json", *more).stdout)["alone"][0]
    all_in, left_out, late = probe("with.h5"), probe("without.h5"), probe("with.h5", "--exclude", chosen)
    support.check(all_in["subjects"] == len(names) and "excluded" not in all_in, f"without ratings: {all_in['subjects']} subjects")
    support.check(late == left_out and late["excluded"] == gone and late["subjects"] == len(names) - 2,
                  f"left out of the probe: {late['subjects']} subjects, {late.get('excluded')}; of the features: {left_out['subjects']}")
    support.check(probe("without.h5", "--exclude", chosen) == left_out, "ratings of cases that the features left out already are refused")
    both = ["probe", work / "with.h5", "--label", "label", "--positive", ">=1", "--exclude"]
    refused("wsp-eval", [*both, write(work / "x.tsv", [("no-such-case", "exclude")])], "no-such-case")
    refused("wsp-eval", [*both, chosen, "--exclude", chosen], "2 --exclude for 1 feature files")
    refused("wsp-eval", [*both, write(work / "every.tsv", [(n, "exclude") for n in names])], "every case")
    # A plan: what is trained on and what is judged, each by its own ratings; other words in them, and the cells are of other data.
    seen = sorted(cases_of(work / "seen"))
    write(work / "seen.tsv", [(seen[0], "exclude")])
    plan = {"name": "rated", "version": 1, "pretraining": {"dataset": "seen", "exclude": "seen.tsv"},
            "evaluations": [{"name": "D1", "dataset": "ds", "exclude": "readers.tsv", "label": "label", "positive": ">=1"}],
            "methods": ["wsp", "supervised"], "backbones": ["resnet18"], "seeds": [1],
            "train": {"image_size": 48, "norm": "group", "batch": 8, "samples_per_epoch": 16, "epochs": 1, "hold_back": 0.0},
            "probe": {"folds": 2, "divisions": 0, "permutations": 0}}
    (work / "plan.json").write_text(json.dumps(plan))
    table = ["table", work / "plan.json", "--root", work, "--out", work / "table", "--device", "cpu"]
    support.run("wsp-eval", *table)
    for method in plan["methods"]:
        cell = json.loads((work / "table" / "cells" / f"{method}-resnet18-s1" / "cell.json").read_text())
        judged = cell["results"]["D1"]
        support.check(judged["excluded"] == gone and judged["subjects"] == len(names) - 2, f"{method}: {judged['subjects']} {judged.get('excluded')}")
    config = json.loads((work / "table" / "cells" / "wsp-resnet18-s1" / "run" / "config.resolved.json").read_text())
    support.check(config["exclude"] == [seen[0]], f"the plan's training leaves out {config['exclude']}")
    write(work / "readers.tsv", [(gone[0], "exclude")])
    refused("wsp-eval", table, "ratings of D1")
    write(work / "readers.tsv", [("no-such-case", "exclude")])
    refused("wsp-eval", table, 'the plan\'s "exclude"', "no-such-case")


def main():
    with support.temporary() as place:
        work = pathlib.Path(place)
        cohort, dataset = work / "cohort", work / "ds"
        support.run("wsp-phantom", "--out", cohort, "--subjects", 12, "--seed", 5, "--slices", "24-26", "--size", 64, "--balance", "--format", "nifti")
        arguments = [cohort / "export", "--masks", cohort / "truth", "--labels", cohort / "labels.csv", "--manifest",
                     support.SOURCE / "data-manifests" / "phantom.json", "--ids", "keep", "--size", 64, "--shards", 2]
        support.run("wsp-ingest", *arguments, "--out", dataset)
        cases = cases_of(dataset)
        ingest(work, cohort, dataset, arguments, cases)
        pseudonyms(work, cohort, arguments)
        if (support.BINARIES / "wsp-train").exists():
            training(work, dataset, cases)
            unet(work, cohort)
            evaluation(work, dataset, cases)
        else:
            print("*** wsp-train is not built: --exclude was not tested ***")
        print("ratings: refused, said, recorded, taken")


main()
