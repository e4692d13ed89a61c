"""What must never happen to a user's data: a typo takes no dataset away, no secret lands in one, two runs share none,
a crosswalk overwrites nothing, stale bytes are made again, and a signal is obeyed."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import support


def command(work, out, *extra):
    return ["wsp-ingest", work / "cohort" / "export", "--out", out, "--masks", work / "cohort" / "truth", "--manifest",
            support.SOURCE / "data-manifests" / "phantom.json", "--labels", work / "cohort" / "labels.csv", "--site-key",
            work / "site.key", "--size", 64, "--shards", 2, *extra]


def fails(code, words, *arguments):
    done = support.run(*arguments, expect=code)
    support.check(words in done.stderr, f"{arguments}: expected '{words}' in: {done.stderr}")


def replaced(arguments, option, value):
    arguments = list(arguments)
    arguments[arguments.index(option) + 1] = value
    return arguments


def typos(work):
    """Whatever is wrong with an input is found before the dataset is touched."""
    out = work / "ds"
    support.run(*command(work, out))
    whole = support.tree(out)
    (work / "empty").mkdir()
    (work / "text").mkdir()
    (work / "text" / "a.txt").write_text("no image\n")
    (work / "bad.json").write_text('{"name": 7}')
    (work / "bad.csv").write_text("subject,radiological,metavir,ishak,reader,stiffness_kpa\nsubject-0000,Jane Roe,,,,\n")
    again = command(work, out)
    wrong = [
        (2, "label table", replaced(again, "--labels", work / "nofile.csv")),
        (2, "row 1", replaced(again, "--labels", work / "bad.csv")),
        (4, "mask directory", replaced(again, "--masks", work / "nomasks")),
        (4, "no mask for any", replaced(again, "--masks", work / "empty")),
        (2, "manifest", replaced(again, "--manifest", work / "bad.json")),
        (2, "site key", replaced(again, "--site-key", work / "nokey")),
        (4, "does not exist", [again[0], work / "nowhere", *again[2:]]),
        (4, "no file", [again[0], work / "empty", *again[2:]]),
        (4, "left as it is", [again[0], work / "text", *again[2:]]),
        (5, "crosswalk", [*again, "--crosswalk", work / "nowhere" / "x.tsv"]),
    ]
    for code, words, arguments in wrong:
        for force in ([], ["--force"]):
            fails(code, words, *arguments, *force)
            support.check(support.tree(out) == whole, f"{words} {force}: the dataset was touched")
    support.check("Roe" not in support.run(*wrong[1][2], expect=2).stderr, "a cell of the label table stands in the log")
    # A first run that failed leaves nothing in the way of the right one.
    fails(2, "label table", *replaced(command(work, work / "first"), "--labels", work / "nofile.csv"))
    support.check(not (work / "first").exists(), "a failed first run left its output behind")
    print("no typo touches a dataset:", 2 * len(wrong), "tried")


def places(work):
    """Keys, crosswalks and inputs have no place in a dataset, nor secrets in an export."""
    out, export = work / "ds", work / "cohort" / "export"
    whole = support.tree(out)
    keyless = [a for a in command(work, out) if a not in ("--site-key", work / "site.key")]
    for option in ("--new-site-key", "--site-key", "--crosswalk"):
        given = keyless if "key" in option else command(work, out)
        fails(2, "inside the dataset", *given, option, out / "secret")
        fails(2, "inside the dataset", *given, option, out / ".." / "ds" / "cases" / "secret")
        fails(2, "inside the export", *given, option, export / "secret")
    (work / "link").symlink_to(out)
    fails(2, "inside the dataset", *keyless, "--new-site-key", work / "link" / "site.key")
    for option in ("--masks", "--labels", "--manifest"):
        fails(2, "inside the dataset", *replaced(command(work, out), option, out / "cases"))
    support.check(support.tree(out) == whole, "a refused place was written to")
    support.check(not list(export.rglob("secret")), "a secret landed in the export")


def crosswalk(work):
    """Written last and replaced when ours; every row is one row, and every input has one."""
    out, path, masks = work / "walked", work / "x.tsv", work / "maskcopy"
    shutil.copytree(work / "cohort" / "truth", masks)
    (masks / "un\tused.nii.gz").write_bytes(b"x")
    odd = work / "oddexport"
    shutil.copytree(work / "cohort" / "export", odd)
    (odd / "tab\tand\nline.txt").write_text("a file name that a table cannot hold\n")
    arguments = replaced(command(work, out, "--crosswalk", path), "--masks", masks)
    arguments[1] = odd
    (work / "thesis.txt").write_text("three years\n")
    fails(5, "no crosswalk", *arguments[:-1], work / "thesis.txt")
    support.check((work / "thesis.txt").read_text() == "three years\n", "a foreign file was overwritten")
    for _ in range(2):
        support.run(*arguments)
    support.check(path.stat().st_mode & 0o777 == 0o600, "the crosswalk's mode is not 0600")
    lines = path.read_text().split("\n")
    support.check(lines[0] == "pseudonym\toriginal" and lines[-1] == "", "header or last line")
    rows = dict(line.split("\t") for line in lines[1:-1])
    support.check(rows.get(next(k for k, v in rows.items() if "and" in v)) == "tab\\tand\\nline.txt", "escaped name")
    hashes = [line.split("\t")[0] for line in (support.state(out) / "ledger.tsv").read_text().splitlines()[1:]]
    absent = [h for h in hashes if h not in rows]
    support.check(not absent, f"{len(absent)} rows of the ledger have no way back")
    used = [v for k, v in rows.items() if v.startswith("masks/")]
    support.check(len(used) == len(list(masks.iterdir())), f"files of --masks in the crosswalk: {used}")
    cases = {p.stem for p in (support.state(out) / "cases").iterdir()}
    subjects = {json.loads(p.read_text())["subject"] for p in (support.state(out) / "cases").iterdir()}
    support.check(cases | subjects <= set(rows), "cases and subjects have no way back")
    support.check({rows[s] for s in subjects} == {f"subject-{i:04d}" for i in range(3)}, "subjects lead elsewhere")
    print("the crosswalk leads back from", len(rows), "names")


def renamed_label(work):
    """The name of a label is a part of each case: a rename makes the cases again."""
    manifest = json.loads((support.SOURCE / "data-manifests" / "phantom.json").read_text())
    manifest["labels"][3]["name"] = "call"
    (work / "renamed.json").write_text(json.dumps(manifest))
    arguments = replaced(command(work, work / "ds", "--json"), "--manifest", work / "renamed.json")
    done = json.loads(support.run(*arguments).stdout)
    support.check(done["reused_cases"] == 0, "cases were taken over under the old label name")
    for path in (support.state(work / "ds") / "cases").iterdir():
        labels = json.loads(path.read_text())["labels"]
        support.check("call" in labels and "reader" not in labels, f"labels {labels}")
    support.run("wsp-ingest", "verify", work / "ds")


def two_at_once(work):
    out = work / "shared"
    processes = []
    for _ in range(2):
        tool, *arguments = command(work, out)
        processes.append(subprocess.Popen([str(support.BINARIES / tool), *map(str, arguments)], stderr=subprocess.PIPE,
                                          stdout=subprocess.DEVNULL, text=True))
    ends = [(p.communicate(timeout=300)[1], p.returncode) for p in processes]
    codes = sorted(code for _, code in ends)
    support.check(codes in ([0, 5], [0, 0]), f"exit codes {codes}: {ends}")  # one after the other is right too
    if codes == [0, 5]:
        support.check(any("another run" in message for message, _ in ends), f"{ends}")
    support.run("wsp-ingest", "verify", out)


def signals(work):
    """SIGTERM while `scan --pixels` reads: 143, soon. It is sent once the tool listens for it."""
    many = work / "many"
    many.mkdir()
    volume = next((work / "cohort" / "nifti" / "export").iterdir())
    for i in range(3000):
        os.link(volume, many / f"v{i}.nii.gz")
    process = subprocess.Popen([str(support.BINARIES / "wsp-ingest"), "scan", str(many), "--pixels"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    listening = False
    while process.poll() is None and time.time() < deadline and not listening:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        listening = bool(caught >> (signal.SIGTERM - 1) & 1)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=60)
    support.check(process.returncode == 143, f"exit {process.returncode} after SIGTERM: {messages}")
    support.check("nothing was written" in messages, messages)


with support.temporary() as directory:
    work = pathlib.Path(directory)
    phantom = ("--seed", 3, "--slices", "12-14", "--size", 64)
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 3, *phantom)
    support.run("wsp-phantom", "--out", work / "cohort" / "nifti", "--subjects", 1, "--format", "nifti", *phantom)
    (work / "site.key").write_text("5a" * 32 + "\n")
    (work / "site.key").chmod(0o600)
    typos(work)
    places(work)
    crosswalk(work)
    renamed_label(work)
    two_at_once(work)
    signals(work)
print("data are safe from typos, misplaced secrets, parallel runs and signals")
