"""Ratings reach the training: what the page of wsp-qa saves is taken by wsp-train --exclude and wsp-ingest --exclude-cases, said,
recorded and checked; what does not fit is refused by name, before anything is written."""
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
    support.run("wsp-train", "redraw", work / "fewer", "--dataset", dataset, "--epoch", 0, "--step", 0, "--sheet", sheet)
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
        else:
            print("*** wsp-train is not built: --exclude was not tested ***")
        print("ratings: refused, said, recorded, taken")


main()
