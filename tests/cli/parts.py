"""Parts of an export, made by four processes at once, joined: the dataset of a single run, byte for byte."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import support

N = 4


def command(work, out, *extra, export=None):
    return ["wsp-ingest", export or work / "cohort" / "export", "--out", out, "--masks", work / "cohort" / "truth", "--manifest",
            support.SOURCE / "data-manifests" / "phantom.json", "--labels", work / "cohort" / "labels.csv", "--new-site-key",
            work / "site.key", "--size", 64, "--shards", 4, "--liver-model", "none", "--threads", 1, *extra]


def make_parts(work, *extra, parts=range(1, N + 1), **keywords):
    """All at once, and all first runs: they share the new site key."""
    processes = []
    for k in parts:
        tool, *rest = command(work, work / f"part{k}", "--part", f"{k}/{N}", "--json", *extra, **keywords)
        processes.append(subprocess.Popen([str(support.BINARIES / tool), *map(str, rest)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ends = [(*p.communicate(timeout=300), p.returncode) for p in processes]
    for out, err, code in ends:
        support.check(code == 0, f"exit {code}: {err}")
    return [json.loads(out) for out, _, _ in ends]


def merge(work, out, parts=range(1, N + 1), expect=0, *extra):
    return support.run("wsp-ingest", "merge", out, *(work / f"part{k}" for k in parts), "--json", *extra, expect=expect)


def check_equal(work):
    told = make_parts(work)
    cases = [t["cases"] for t in told]
    for k in range(1, N + 1):
        support.run("wsp-ingest", "verify", work / f"part{k}")
    made = json.loads(merge(work, work / "merged").stdout)
    support.run("wsp-ingest", "verify", work / "merged")
    support.run(*command(work, work / "single"))
    support.check(support.tree(work / "merged") == support.tree(work / "single"), "the merged dataset differs from a single run's")
    support.check(sum(cases) == made["cases"] and sum(c > 0 for c in cases) > 1, f"cases by part: {cases} of {made}")
    subjects = [{c["subject"] for c in map(json.loads, (p.read_text() for p in (support.state(work / f"part{k}") / "cases").iterdir()))}
                for k in range(1, N + 1)]
    support.check(all(not (a & b) for i, a in enumerate(subjects) for b in subjects[:i]), "a subject falls to two parts")
    print(f"{cases} cases in {N} parts, made at once: merged, they are a single run's dataset")

    # Again: nothing changes, and the single command goes on from the merged dataset.
    merge(work, work / "merged", (3, 1, 4, 2))
    again = json.loads(support.run(*command(work, work / "merged", "--json")).stdout)
    support.check(again["reused_cases"] == made["cases"], f"the merged dataset is not gone on with: {again}")
    support.check(support.tree(work / "merged") == support.tree(work / "single"), "a rerun changed the merged dataset")
    return subjects


def check_stable(work, subjects):
    """A subject more changes one part alone, and its neighbours stay where they are."""
    export = work / "less"
    shutil.copytree(work / "cohort" / "export", export)
    shutil.rmtree(sorted(p for p in export.iterdir() if p.is_dir())[0])
    for k in range(1, N + 1):
        support.run_any(*command(work, work / f"less{k}", "--part", f"{k}/{N}", export=export))
        now = {json.loads(p.read_text())["subject"] for p in (support.state(work / f"less{k}") / "cases").iterdir()}
        support.check(now <= subjects[k - 1], f"subjects moved to part {k}")


def check_saved_scan(work):
    """Headers that a dry run saved: the same datasets without reading them; a file that changed since is read again."""
    saved, export = work / "headers.scan", work / "less"
    support.run("wsp-ingest", "plan", export, "--quick", "--liver-model", "none", "--save", saved)
    support.check(saved.stat().st_mode & 0o777 == 0o600, "others may read the names in a saved scan")

    def ingest(name, *extra):
        done = support.run_any(*command(work, work / name, "--part", "1/2", *extra, export=export))
        support.check(done.returncode == 0, done.stderr)
        told = re.search(r"the headers of (\d+) of (\d+) files", done.stderr)
        return support.tree(work / name), told and int(told[1])

    plain, none = ingest("plain")
    dicom = len(list(export.rglob("*.dcm")))
    taken, count = ingest("taken", "--saved-scan", saved)
    support.check(none is None and count == dicom, f"{count} headers of {dicom} DICOM files were taken")
    support.check(taken == plain, "another dataset by saved headers")
    # Another patient in one file, of the same length and with the old time of change: only the file system's own time tells.
    path = sorted(export.rglob("*.dcm"))[0]
    before, data = path.stat(), path.read_bytes()
    at = data.index(b"PN", data.index(b"\x10\x00\x10\x00")) + 4
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed, _ = ingest("changed")
    seen, count = ingest("seen", "--saved-scan", saved)
    support.check(count == dicom - 1 and seen == changed, f"{count} of {dicom} headers after a change; equal: {seen == changed}")
    good = saved.read_bytes()
    for bad, code in ((good[:-1], 6), (good[:2000] + bytes([good[2000] ^ 1]) + good[2001:], 6), (b"wsp-scan 1 0.0.0 1.1.1\n" + good, 2), (b"notes", 2)):
        saved.write_bytes(bad)
        support.run(*command(work, work / "bad", "--saved-scan", saved), expect=code)
    support.run(*command(work, work / "bad", "--saved-scan", work / "absent"), expect=4)
    support.check(not (work / "bad").exists(), "a refused scan left something")
    print(f"{dicom} headers read once: the same dataset; a changed file is read again, damage is refused")


def check_refusals(work):
    def refused(words, *arguments, **keywords):
        done = merge(work, work / "wrong", *arguments, expect=2, **keywords)
        support.check(words in done.stderr, f"expected '{words}': {done.stderr}")
        support.check(not (work / "wrong").exists(), "a refused merge left something")

    refused("missing: 3", (1, 2, 4))
    refused("given twice", (1, 2, 2, 3, 4))
    support.run("wsp-ingest", "merge", work / "wrong", work / "single", expect=2)
    support.run(*command(work, work / "part2", "--part", "3/4"), expect=5)
    support.run(*command(work, work / "part2"), expect=5)
    shutil.copytree(work / "part2", work / "kept")
    shutil.rmtree(work / "part2")
    support.run_any(*command(work, work / "part2", "--part", "2/4", "--window", 0, 300))
    refused("other options")
    shutil.rmtree(work / "part2")
    # The export grew between the parts.
    extra = work / "grown"
    shutil.copytree(work / "cohort" / "export", extra)
    (extra / "more.txt").write_text("new")
    support.run_any(*command(work, work / "part2", "--part", "2/4", export=extra))
    refused("the export changed")
    shutil.rmtree(work / "part2")
    shutil.copytree(work / "kept", work / "part2")
    # Damage in a part is found, and what stands stays.
    before = support.tree(work / "merged")
    victim = next(k for k in range(1, N + 1) if any((support.state(work / f"part{k}") / "cases").iterdir()))
    path = sorted((support.state(work / f"part{victim}") / "cases").iterdir())[0]
    path.write_text(path.read_text() + " ")
    support.check("differs from its hash" in merge(work, work / "merged", expect=6).stderr, "a damaged part")
    support.check(support.standing(work / "merged") == before, "a merge that failed changed the dataset")
    # A shard of an earlier state is sound by itself; the case that it lacks is missed.
    path.write_text(path.read_text()[:-1])
    shards = support.state(work / f"part{victim}") / "shards"
    for subject in sorted(p.name for p in (work / "cohort" / "export").iterdir() if p.is_dir()):
        less, fewer = work / f"without-{subject}", work / f"part-without-{subject}"
        shutil.copytree(work / "cohort" / "export", less)
        shutil.rmtree(less / subject)
        support.run_any(*command(work, fewer, "--part", f"{victim}/{N}", export=less))
        stale = [p for p in (support.state(fewer) / "shards").iterdir() if p.read_bytes() != (shards / p.name).read_bytes()]
        if stale:  # the subject is one of this part
            break
    kept = {p.name: (shards / p.name).read_bytes() for p in stale}
    for p in stale:
        (shards / p.name).write_bytes(p.read_bytes())
    support.check("dataset.json counts others" in merge(work, work / "merged", expect=6).stderr, "a stale shard")
    support.check(support.standing(work / "merged") == before, "a merge that failed changed the dataset")
    for name, data in kept.items():
        (shards / name).write_bytes(data)
    merge(work, work / "merged")
    for wrong in ("0/4", "5/4", "2", "2/", "a/4", "2/4x", "-1/4", "slurm"):
        support.run(*command(work, work / "none", "--part", wrong), expect=2)
    support.check(not (work / "none").exists(), "a wrong --part left something")


def check_slurm(work):
    """A job array whose tasks count from 0."""
    tool, *rest = command(work, work / "slurm", "--part", "slurm")
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3", "SLURM_ARRAY_TASK_COUNT": "4"}
    done = support.run_any(tool, *rest, env=environment)
    support.check(done.returncode == 0, done.stderr)
    support.check(support.tree(work / "slurm") == support.tree(work / "part2"), "the second task of four is not part 2/4")
    gaps = {**environment, "SLURM_ARRAY_TASK_MAX": "6"}
    support.check(support.run_any(tool, *rest, env=gaps).returncode == 2, "an array with gaps")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 9, "--seed", 6, "--slices", "12-14", "--size", 64)
    # Of all kinds: a file that is none, a mask of nobody, a series that is cut short.
    (work / "cohort" / "export" / "notes.txt").write_text("not an image")
    slices = sorted((work / "cohort" / "export").rglob("*.dcm"))
    slices[5].write_bytes(slices[5].read_bytes()[:-100])
    found = check_equal(work)
    check_stable(work, found)
    check_saved_scan(work)
    check_slurm(work)
    check_refusals(work)
