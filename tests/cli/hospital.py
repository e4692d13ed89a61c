"""A hospital-like phantom export: ingested, verified, reproducible at any thread count and directory order,
free of every planted identifier, and equal to its truth."""
import gzip
import json
import os
import pathlib
import shutil
import zlib

import support

support.require("numpy", "nibabel", "h5py")
import h5py
import nibabel
import numpy as np


def ingest(work, export, out, threads, extra=()):
    return support.run(
        "wsp-ingest", export, "--out", out, "--threads", threads, "--masks", work / "cohort" / "truth",
        "--labels", work / "cohort" / "labels.csv", "--manifest", support.SOURCE / "data-manifests" / "phantom.json",
        "--site-key", work / "site.key", "--shards", 4, "--log-level", "info", *extra,
    )


def haystacks(dataset):
    """Every byte a reader can get at: files as they are, and decompressed pixels."""
    for path in sorted(pathlib.Path(dataset).rglob("*")):
        yield path.name, str(path.relative_to(dataset)).encode()
        if path.is_file():
            yield path.name, path.read_bytes()
    for path in sorted((pathlib.Path(dataset) / "shards").glob("*.h5")):
        with h5py.File(path) as f:
            for name in ("slices/image", "slices/mask"):
                if name in f:
                    for k in range(len(f[name])):
                        yield f"{path.name}:{name}[{k}]", f[name][k].tobytes()


def find(needles, pairs):
    found = []
    for where, data in pairs:
        lower = data.lower()
        for needle in needles:
            for form in (needle.encode(), needle.encode("utf-16-le"), needle.encode("latin-1", "ignore")):
                if len(form) >= 4 and form.lower() in lower:
                    found.append((needle, where))
    return found


def shuffled_copy(source, target):
    """The same tree, its entries created in reverse order."""
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def main(work):
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 6, "--seed", 11, "--slices", "24-30",
                "--size", 256, "--balance", "--hospital")
    export = work / "cohort" / "export"
    (work / "site.key").write_text("5a" * 32 + "\n")
    (work / "site.key").chmod(0o600)

    first = ingest(work, export, work / "one", 1)
    support.run("wsp-ingest", "verify", work / "one")
    reference = support.tree(work / "one")
    for threads in (2, 8):
        ingest(work, export, work / f"t{threads}", threads)
        other = support.tree(work / f"t{threads}")
        support.check(other.keys() == reference.keys(), f"files differ at {threads} threads")
        for name in reference:
            support.check(other[name] == reference[name], f"{name} differs at {threads} threads")
    shuffled_copy(export, work / "shuffled")
    ingest(work, work / "shuffled", work / "order", 2)
    other = support.tree(work / "order")
    for name in reference:
        support.check(other.get(name) == reference[name], f"{name} differs for another directory order")
    print("byte-identical for 1, 2 and 8 threads and another directory order:", len(reference), "files")

    needles = [line for line in (work / "cohort" / "phi.txt").read_text().splitlines() if line]
    support.check(len(needles) == 7 * 6, "phi.txt lists name (two forms), ID, accession, two dates and free-text marker of every patient")
    logs = [("log", (first.stdout + first.stderr).encode())]
    leaks = find(needles, list(haystacks(work / "one")) + logs)
    support.check(not leaks, f"identifiers leaked: {leaks[:5]}")
    # Positive control: the search finds a planted string, also inside a compressed chunk.
    shutil.copytree(work / "one", work / "planted")
    shard = next(p for p in sorted((work / "planted" / "shards").glob("*.h5"))
                 if len(h5py.File(p)["slices/image"]) > 0)
    with h5py.File(shard, "r+") as f:
        image = f["slices/image"]
        row = image[0]
        raw = bytearray(row.tobytes())
        raw[100 : 100 + len(needles[0].encode())] = needles[0].encode()
        image[0] = np.frombuffer(bytes(raw), row.dtype).reshape(row.shape)
    support.check(find(needles[:1], haystacks(work / "planted")), "the search misses a planted identifier")
    print("no planted identifier in", len(reference), "files and every decompressed chunk;", len(needles), "searched")

    # Reconciliation: every input file has one row.
    rows = (work / "one" / "ledger.tsv").read_text().splitlines()[1:]
    files = sum(1 for p in export.rglob("*") if p.is_file())
    masks = sum(1 for p in (work / "cohort" / "truth").rglob("*.nii.gz"))
    support.check(files <= len(rows) <= files + masks, f"{len(rows)} ledger rows for {files} files and {masks} masks")
    counts = json.loads((work / "one" / "dataset.json").read_text())["counts"]
    support.check(counts["cases"] == 6, f"{counts['cases']} cases of 6 patients: " + (work / "one" / "quarantine.tsv").read_text())

    # A second run takes everything over and changes nothing.
    again = ingest(work, export, work / "one", 2, ["--json"])
    support.check(json.loads(again.stdout)["reused_cases"] == counts["cases"], "a rerun made cases again")
    support.check(support.tree(work / "one") == reference, "a rerun changed bytes")
    print("a rerun takes over", counts["cases"], "cases and changes nothing")


with support.temporary() as directory:
    main(pathlib.Path(directory))
