"""`wsp-ingest plan` says beforehand what the ingest then does, for every input: the cases, their masks, labels, subjects,
flags and slices, what is refused and by which code, every file's code, and the exit code; and it writes nothing."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import support

WIDE_OPEN = ["--ids", "keep", "--window", -32768, 32767, "--slices", "all", "--size", 64, "--codec", "gzip"]


def run(*arguments, home):
    """A tool with a home of its own, whatever it ends with."""
    env = dict(os.environ, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    done = subprocess.run([str(support.BINARIES / "wsp-ingest"), *map(str, arguments)], capture_output=True, text=True,
                          env=env, timeout=600)
    support.check(done.returncode in (0, 3, 4, 5), f"{arguments} ends with {done.returncode}: {done.stderr}")
    return done


def state(*roots):
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for root in roots for p in root.rglob("*")}


def series_of(plan):
    return [s | {"patient": p["patient"], "study": t["study"]}
            for p in plan["patients"] for t in p["studies"] for s in t["series"]]


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def compare(name, work, export, *options, in_full=False):
    """Plan, then ingest, and compare all that they say, `in_full` the text and --quick too; returns both."""
    home, out = work / f"{name}-home", work / f"{name}-ds"
    home.mkdir()
    before = state(export, work)
    planned = run("plan", export, "--json", *options, home=home)
    text = run("plan", export, *options, home=home) if in_full else None
    quick = run("plan", export, "--json", "--quick", *options, home=home) if in_full else None
    support.check(state(export, work) == before, f"{name}: the plan left something behind")
    made = run(export, "--out", out, "--json", *options, home=home)
    support.check(planned.returncode == made.returncode,
                  f"{name}: the plan ends with {planned.returncode}, the ingest with {made.returncode}: {made.stderr}")
    plan = json.loads(planned.stdout)
    if plan["error"]:
        support.check(not (out / "dataset.json").exists() and plan["error"]["exit_code"] == made.returncode and
                      plan["error"]["message"].splitlines()[0] in made.stderr, f"{name}: {plan['error']}, {made.stderr}")
        return plan, None
    dataset = json.loads((out / "dataset.json").read_text())
    series = series_of(plan)

    cases = {json.loads(p.read_text())["name"]: json.loads(p.read_text()) for p in (support.state(out) / "cases").iterdir()}
    taken = {s["case"]: s for s in series if s["verdict"] == "taken"}
    support.check(set(taken) == set(cases), f"{name}: planned {sorted(taken)}, taken {sorted(cases)}")
    for case, told in taken.items():
        is_so = cases[case]
        facts = [(told["subject"], is_so["subject"]), (told["split"], is_so["split"]), (told["labels"], is_so["labels"]),
                 (told.get("continuous"), is_so.get("continuous")),
                 (told["flags"], is_so["flags"]), (told["mask"]["source"], is_so["mask"]["source"]),
                 (told["phase"], is_so["series"]["phase"]), (told["score"], is_so["series"]["score"])
                 if "mask" not in [r["criterion"] for r in told["reasons"]] else (0, 0),
                 (told["kept"], {k: is_so["slices"][k] for k in told["kept"]}),
                 (round(told["mask"]["liver_ml"], 2), round(is_so["mask"]["liver_ml"], 2))]
        support.check(all(abs(a - b) <= 0.02 if isinstance(a, float) else a == b for a, b in facts),
                      f"{name}, {case}: {[f for f in facts if f[0] != f[1]]}")
    refused = sorted((s["case"], s["code"]) for s in series if s["verdict"] == "refused")
    quarantined = sorted((row[1], row[2]) for row in rows(support.state(out) / "quarantine.tsv") if row[0] == "case")
    support.check(refused == quarantined, f"{name}: planned to refuse {refused}, refused {quarantined}")
    support.check(all(s["remedy"] for s in series if s["verdict"] == "refused"), f"{name}: a refusal without a remedy")
    totals = plan["totals"]
    summary = json.loads(made.stdout)
    for key in totals:
        if key != "open_cases":
            support.check(totals[key] == summary[key], f"{name}: {key} {totals[key]} planned, {summary[key]} made")
    support.check(totals["file_codes"] == dataset["dispositions"], f"{name}: {totals['file_codes']}, {dataset['dispositions']}")
    if not in_full:
        return plan, summary
    support.check(text.returncode == made.returncode and text.stdout.startswith("PATIENT / STUDY"), f"{name}: {text.stdout}")
    support.check(all(told["path"] in text.stdout for told in taken.values()), f"{name}: the text lacks a case")
    long = [line for line in text.stdout.splitlines() if len(line) > 80 and max(map(len, line.split())) < 60]
    support.check(not long, f"{name}: lines of more than 80 columns: {long}")
    # By headers alone nothing is certain, and nothing that the headers refuse is taken.
    for s in series_of(json.loads(quick.stdout)):
        support.check(s["verdict"] != "taken", f"{name}: --quick is certain of {s['path']}")
        support.check(s["case"] not in taken or s["verdict"] == "open", f"{name}: --quick refuses {s['path']}")
    return plan, summary


def reported(work):
    """Every input that people reported."""
    folders = [p for p in sorted((support.data_dir() / "reported").iterdir()) if p.is_dir()]
    support.check(len(folders) > 30, f"{len(folders)} folders")
    for folder in folders:
        export = folder / "export" if (folder / "export").is_dir() else folder / "in"
        extra = ["--masks", folder / "masks"] if (folder / "masks").is_dir() else []
        labels = folder / "labels.csv"
        extra += ["--labels", labels] if labels.exists() else []
        plan, summary = compare(folder.name, work, export, *WIDE_OPEN, *extra)
        shutil.rmtree(work / f"{folder.name}-ds", ignore_errors=True)
        print(f"{folder.name:<32} {[s['verdict'] if s['verdict'] == 'taken' else s['code'] for s in series_of(plan)]}")


def cohort(work):
    """Like a PACS dump, with labels, pseudonyms and a dataset that is updated."""
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 6, "--seed", 3, "--slices", "20-24", "--size", 64,
                "--hospital", "--matrix", "fixed")
    export = work / "cohort" / "export"
    options = ["--masks", work / "cohort" / "truth", "--labels", work / "cohort" / "labels.csv", "--manifest",
               support.SOURCE / "data-manifests" / "phantom.json", "--size", 64, "--shards", 2]
    plan, summary = compare("hospital", work, export, *options, "--ids", "keep", in_full=True)
    support.check(summary["cases"] > 3, f"{summary}")
    told = [s for s in series_of(plan) if s["verdict"] == "taken"]
    support.check(all(s["mask"]["paths"] and s["label_rows"] for s in told), f"masks and label rows: {told}")
    table = (work / "cohort" / "labels.csv").read_text().splitlines()
    support.check(all(table[s["label_rows"][0]].split(",")[0] in s["patient"] for s in told), "a row of somebody else")
    compare("portal", work, export, *options, "--ids", "keep", "--require-phase", "portal", "--strict-subjects")
    compare("all-series", work, export, *options, "--ids", "keep", "--all-series", "--mask-objects", "ignore")

    # Without a key no pseudonym is known, and none is made.
    home = work / "home"
    home.mkdir()
    key = ["--new-site-key", work / "key"]
    nameless = json.loads(run("plan", export, "--json", *options, *key, home=home).stdout)
    support.check(not (work / "key").exists(), "the plan made a site key")
    support.check(not nameless["named"] and all(s["case"] is None for s in series_of(nameless)), "names without a key")
    support.check(nameless["totals"]["file_codes"] == plan["totals"]["file_codes"], "the key changes no verdict")
    run(export, "--out", work / "ds", *options, *key, home=home)
    named = json.loads(run("plan", export, "--out", work / "ds", "--json", *options, *key, home=home).stdout)
    names = {p.stem for p in (support.state(work / "ds") / "cases").iterdir()}
    support.check({s["case"] for s in series_of(named) if s["verdict"] == "taken"} == names, "names under the key")

    # What an update would do to a dataset that stands there.
    before = state(work / "ds")
    other = run("plan", export, "--out", work / "ds", *options, *key, "--codec", "zstd", home=home)
    support.check(other.returncode == 5 and "--force" in other.stderr, f"other options: {other.stderr}")
    gone = next(s for s in series_of(named) if s["verdict"] == "taken")
    shutil.move(export / gone["path"].split("/")[0], work / "gone")
    less = run("plan", export, "--out", work / "ds", "--json", *options, *key, home=home)
    support.check(less.returncode == 4 and gone["case"] in less.stderr and "--prune" in less.stderr, f"{less.stderr}")
    support.check([c["case"] for c in json.loads(less.stdout)["totals"]["lost_cases"]] == [gone["case"]], "lost cases")
    support.check(run("plan", export, "--out", work / "ds", *options, *key, "--prune", home=home).returncode in (0, 3),
                  "with --prune")
    support.check(state(work / "ds") == before, "the plan touched the dataset")


def options(work):
    """All options of the ingest, and a --config file; and none of them in `scan`."""
    config = work / "config.json"
    config.write_text('{"ids": "keep", "min-slices": 99}')
    export = support.data_dir() / "reported" / "00-control" / "in"
    home = work / "options-home"
    home.mkdir()
    plan = json.loads(run("plan", export, "--json", "--config", config, home=home).stdout)
    support.check([s["code"] for s in series_of(plan)] == ["TOO_FEW_SLICES"], f"--config: {plan}")
    plan = json.loads(run("plan", export, "--json", "--config", config, "--min-slices", 5, home=home).stdout)
    support.check([s["verdict"] for s in series_of(plan)] == ["taken"], f"the command line wins: {plan}")
    support.run("wsp-ingest", "plan", expect=2)
    support.run("wsp-ingest", "plan", export, "--shards", 12, expect=2)
    names = [set(re.findall(r"^ +(?:-\w,)?(--[\w-]+)", support.run("wsp-ingest", *command, "--help").stdout, re.M))
             for command in (["make"], ["plan"])]
    common = {"--version", "--threads", "--seed", "--log-level", "--json", "--config"}
    support.check(len(names[0]) > 30 and names[0] - names[1] <= common, f"plan lacks {names[0] - names[1] - common}")


with support.temporary() as directory:
    for part in (cohort, options, reported):
        (pathlib.Path(directory) / part.__name__).mkdir()
        part(pathlib.Path(directory) / part.__name__)
        print(part.__name__, "as planned")
