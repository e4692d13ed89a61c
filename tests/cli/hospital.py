"""A hospital-like phantom export: ingested, verified, reproducible at any thread count and directory order,
free of every planted identifier, every file accounted for by its code, and the livers of its SEG and RTSTRUCT objects
equal to those of its truth."""
import collections
import hashlib
import hmac
import json
import pathlib
import shutil

import support

support.require("numpy", "h5py")
import h5py
import numpy as np

SUBJECTS, KEY = 6, "5a" * 32


def ingest(work, export, out, threads, *extra, masks=True, level="info", expect=0):
    mask_options = ["--masks", work / "cohort" / "truth"] if masks else []
    return support.run(
        "wsp-ingest", export, "--out", out, "--threads", threads, *mask_options,
        "--labels", work / "cohort" / "labels.csv", "--manifest", support.SOURCE / "data-manifests" / "phantom.json",
        "--site-key", work / "site.key", "--shards", 4, "--log-level", level, *extra,
        expect=expect,
    )


def texts(*runs):
    return [(f"output of run {i}", (r.stdout + r.stderr).encode()) for i, r in enumerate(runs)]


def haystacks(dataset):
    """Every byte a reader can get at: names, files as they are, and decompressed pixels."""
    for path in sorted(pathlib.Path(dataset).rglob("*")):
        relative = str(path.relative_to(dataset))
        yield f"name of {relative}", relative.encode()
        if path.is_file():
            yield relative, path.read_bytes()
    for path in sorted((support.state(pathlib.Path(dataset)) / "shards").glob("*.h5")):
        with h5py.File(path) as f:
            for name in ("slices/image", "slices/mask"):
                if name in f:
                    for k in range(len(f[name])):
                        yield f"{path.name}:{name}[{k}]", f[name][k].tobytes()


def forms_of(needles):
    """Every way to write a string, shortest strings first; those that hold another need no search of their own."""
    kept = []
    for needle in sorted({n.lower() for n in needles}, key=lambda n: (len(n), n)):
        if not any(k in needle for k in kept):
            kept.append(needle)
    forms = {}
    for needle in kept:
        for form in (needle.encode(), needle.encode("utf-16-le"), needle.encode("latin-1", "ignore"), needle.encode("utf-16-be")):
            if len(form) >= 4:
                forms[form] = needle
    return forms


class Search:
    """Which of the strings stand in which bytes. Bytes that were searched before are not searched again."""

    def __init__(self, needles):
        self.forms = forms_of(needles)
        self.known = {}

    def in_bytes(self, data):
        if data not in self.known:
            lower = data.lower()
            present = set(np.flatnonzero(np.bincount(np.frombuffer(lower, np.uint8), minlength=256)).tolist())
            self.known[data] = [needle for form, needle in self.forms.items() if present.issuperset(form) and form in lower]
        return self.known[data]

    def __call__(self, pairs):
        return [(needle, where) for where, data in pairs for needle in self.in_bytes(data)]


def plant_in_chunk(dataset, text):
    """Write `text` into the first image of a shard, through shuffle and compression; where it went."""
    shard = next(p for p in sorted((support.state(dataset) / "shards").glob("*.h5")) if len(h5py.File(p)["slices/image"]) > 0)
    with h5py.File(shard, "r+") as f:
        rows = f["slices/image"]
        raw = bytearray(rows[0].tobytes())
        raw[100 : 100 + len(text)] = text
        rows[0] = np.frombuffer(bytes(raw), rows.dtype).reshape(rows.shape[1:])
    support.check(text not in shard.read_bytes(), "the planted chunk lies there as it is: no control of the decompression")
    return f"{shard.name}:slices/image[0]"


def positive_controls(work, needles, search, logs):
    """The search finds what is planted, and finds it exactly there."""
    of = {k: next(n for n in needles if n.startswith(k)) for k in ("PID", "Zz", "AC", "1.2.826")}
    accented = next(n for n in needles if any(ord(c) > 127 for c in n) and n.encode("latin-1", "ignore") == n.encode("latin-1", "replace"))

    def control(what, text, change):
        copy = work / "planted"
        shutil.copytree(work / "one", copy)
        where = change(copy)
        found = search([*haystacks(copy), *logs])
        shutil.rmtree(copy)
        support.check(any(w == where for _, w in found), f"the search misses '{text}' planted in {what}: {found}")
        support.check({w for _, w in found} == {where}, f"beside {where} it finds {found}")

    def append(name, data):
        def change(copy):
            path = support.state(copy) / name if isinstance(name, str) else sorted(support.state(copy).glob("cases/*.json"))[0]
            path.write_bytes(path.read_bytes() + data)
            return str(path.relative_to(copy))
        return change

    def rename(copy):
        path = sorted(support.state(copy).glob("previews/*.png"))[0]
        path.rename(path.with_name(f"x{of['Zz'].upper()}.png"))
        return f"name of {path.parent.relative_to(copy)}/x{of['Zz'].upper()}.png"

    control("the ledger", of["PID"], append("ledger.tsv", f"0\tUSED\tused\t\t{of['PID']}\n".encode()))
    control("the ledger, as a UID", of["1.2.826"], append("ledger.tsv", (of["1.2.826"] + ".2.17").encode()))
    control("a case JSON", accented, append(None, accented.encode()))
    control("a case JSON, in Latin-1", accented, append(None, accented.encode("latin-1")))
    control("index.h5, in UTF-16", of["AC"], append("index.h5", of["AC"].encode("utf-16-le")))
    control("a file name", of["Zz"], rename)
    control("a compressed chunk", of["PID"], lambda copy: plant_in_chunk(copy, of["PID"].encode()))
    line = [("a log", logs[0][1] + f"info: reading {of['AC'].lower()}\n".encode())]
    support.check({w for _, w in search(line)} == {"a log"}, "the search misses a string planted in a log")


def path_hash(relative):
    return hmac.new(bytes.fromhex(KEY), b"path\0" + str(relative).encode(), hashlib.sha256).hexdigest()[:32]


def ledger(dataset):
    rows = [line.split("\t") for line in (support.state(dataset) / "ledger.tsv").read_text().splitlines()[1:]]
    support.check(len({r[0] for r in rows}) == len(rows), "a file stands twice in the ledger")
    return {r[0]: r for r in rows}


def expected_codes(relative, files, masks):
    """What becomes of a file, by its place in the export."""
    place, name = relative.parent.name, relative.name
    if name in ("Thumbs.db",) or name.startswith("notes "):
        return {"NOT_DICOM"}
    if name == "DICOMDIR":
        return {"DICOMDIR"}
    if name == "IM88888":
        return {"TRUNCATED_FILE", "UNREADABLE"}
    if place == "COPY" or relative.parent.parent / "COPY" / "IM77777" in files and (place, name) == ("SE00002", "IM00004"):
        return {"USED", "DUPLICATE_FILE"}  # one of the two
    has_object = any(f.parts[:2] == relative.parts[:2] and f.parent.name in ("SE00007", "SE00008") for f in files)
    return {
        "SE00001": {"LOCALIZER"}, "SE00002": {"USED"} if masks or has_object else {"NO_LIVER_MASK"}, "SE00003": {"NOT_SELECTED"},
        "SE00004": {"NOT_SELECTED"}, "SE00005": {"NOT_SELECTED"}, "SE00007": {"MASK_UNREFERENCED"} if masks else {"USED_AS_MASK"},
        "SE00008": {"MASK_UNREFERENCED"} if masks else {"USED_AS_MASK"}, "SE00098": {"SECONDARY_CAPTURE"}, "SE00099": {"NO_PIXELS"},
    }[place]


def reconcile(dataset, export, truth):
    """Every input file has one row with the code that its kind deserves; counts and quarantine agree with the rows."""
    rows = ledger(dataset)
    files = {p.relative_to(export) for p in export.rglob("*") if p.is_file()}
    masks = {p.relative_to(truth) for p in truth.rglob("*") if p.is_file()} if truth else set()
    expected = {path_hash(f): f for f in files} | {path_hash(f"masks/{m}"): m for m in masks}
    support.check(rows.keys() == expected.keys(), f"{len(rows)} ledger rows for {len(files)} files and {len(masks)} masks")
    for key, relative in expected.items():
        codes = ({"USED_AS_MASK" if relative.name.endswith(".nii.gz") else "NOT_DICOM"} if relative in masks
                 else expected_codes(relative, files, bool(truth)))
        support.check(rows[key][1] in codes, f"{relative} is {rows[key][1]}, expected {codes}")
    copies = [rows[path_hash(f)][1] for f in files if f.name == "IM77777" or f.parent.parent / "COPY" / "IM77777" in files
              and (f.parent.name, f.name) == ("SE00002", "IM00004")]
    # A case without a mask is refused with all of its files, but the copy stays a copy.
    support.check(sorted(copies)[0] == "DUPLICATE_FILE" and len(copies) == 2, f"a slice and its copy are {copies}")
    made = json.loads((dataset / "dataset.json").read_text())
    counts = collections.Counter(r[1] for r in rows.values())
    support.check(made["dispositions"] == counts and made["counts"]["files"] == len(rows), f"dataset.json counts {made['dispositions']}, the ledger {counts}")
    by_case = collections.Counter(r[3] for r in rows.values() if r[1] == "USED")
    cases = {p.stem for p in (support.state(dataset) / "cases").glob("*.json")}
    support.check(set(by_case) == cases and len(cases) == made["counts"]["cases"], "cases in the ledger, the dataset and cases/ differ")
    for name in cases:
        used = json.loads((support.state(dataset) / "cases" / f"{name}.json").read_text())["series"]["files"]
        support.check(by_case[name] == used, f"{name} was read from {used} files, the ledger has {by_case[name]}")
    refused = {r[0] for r in rows.values() if r[2] == "rejected"}
    quarantine = [line.split("\t") for line in (support.state(dataset) / "quarantine.tsv").read_text().splitlines()[1:]]
    told = {(q[1], q[2]) for q in quarantine if q[0] == "case"}
    alone = {q[1] for q in quarantine if q[0] == "file"}
    support.check(alone == {k for k in refused if (rows[k][3], rows[k][1]) not in told}, "quarantine.tsv and the ledger's refused files differ")
    return made["counts"], rows


def compare_livers(one, objects):
    """SEG and RTSTRUCT give the voxels of the truth's NIfTI; a tilted truth lies on another grid."""
    sources = collections.Counter()
    truth, found = support.read_cases(one), support.read_cases(objects)
    for name, case in found.items():
        told = json.loads((support.state(objects) / "cases" / f"{name}.json").read_text())
        sources[told["mask"]["source"]] += 1
        support.check(name in truth, "a case has another name without --masks")
        if told["series"]["tilt_deg"] > 1:
            liver = json.loads((support.state(one) / "cases" / f"{name}.json").read_text())["mask"]["liver_ml"]
            support.check(abs(told["mask"]["liver_ml"] / liver - 1) < 0.02, "the tilted liver has another volume")
            continue
        for column in ("source_index", "z_mm", "liver_area_mm2", "image", "mask"):
            support.check(np.array_equal(case[column], truth[name][column]), f"{column} of a {told['mask']['source']} case differs from its truth's")
    support.check(sources == {"seg": 2, "rtstruct": 1}, f"mask sources {sources}")


def shuffled_copy(source, target):
    """The same tree, its entries created in reverse order."""
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def main(work):
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", SUBJECTS, "--seed", 11, "--slices", "24-30",
                "--size", 256, "--balance", "--hospital")
    export = work / "cohort" / "export"
    (work / "site.key").write_text(KEY + "\n")
    (work / "site.key").chmod(0o600)

    first = ingest(work, export, work / "one", 1)
    verified = support.run("wsp-ingest", "verify", work / "one")
    reference = support.tree(work / "one")
    runs = [first, verified]
    for threads, level in ((2, "warn"), (8, "info")):
        runs.append(ingest(work, export, work / f"t{threads}", threads, "--json", level=level))
        other = support.tree(work / f"t{threads}")
        support.check(other.keys() == reference.keys(), f"files differ at {threads} threads")
        for name in reference:
            support.check(other[name] == reference[name], f"{name} differs at {threads} threads")
    shuffled_copy(export, work / "shuffled")
    runs.append(ingest(work, work / "shuffled", work / "order", 2))
    other = support.tree(work / "order")
    for name in reference:
        support.check(other.get(name) == reference[name], f"{name} differs for another directory order")
    print("byte-identical for 1, 2 and 8 threads and another directory order:", len(reference), "files")

    counts, _ = reconcile(work / "one", export, work / "cohort" / "truth")
    support.check(counts["cases"] == SUBJECTS, f"{counts['cases']} cases of {SUBJECTS} patients: " + (support.state(work / "one") / "quarantine.tsv").read_text())

    # Without --masks the SEG and RTSTRUCT objects of three patients are the livers; the others are quarantined.
    objects = ingest(work, export, work / "objects", 2, masks=False)
    runs.append(objects)
    counts_of_objects, _ = reconcile(work / "objects", export, None)
    support.check(counts_of_objects["cases"] == 3 and counts_of_objects["quarantined_cases"] == 3, f"without --masks {counts_of_objects}")
    compare_livers(work / "one", work / "objects")
    ignored = ingest(work, export, work / "ignored", 2, "--mask-objects", "ignore", "--json", masks=False, expect=4)
    runs.append(ignored)
    support.check(json.loads(ignored.stdout)["file_codes"].get("USED_AS_MASK", 0) == 0, "--mask-objects ignore used one")
    print("every file of the export has the code that it deserves; SEG and RTSTRUCT livers equal their truth")

    # A second run takes everything over and changes nothing.
    again = ingest(work, export, work / "one", 2, "--json")
    runs.append(again)
    support.check(json.loads(again.stdout)["reused_cases"] == counts["cases"], "a rerun made cases again")
    support.check(support.tree(work / "one") == reference, "a rerun changed bytes")
    print("a rerun takes over", counts["cases"], "cases and changes nothing")

    needles = [line for line in (work / "cohort" / "phi.txt").read_text().splitlines() if line]
    logs = texts(*runs)
    search = Search(needles)
    leaks = search([*haystacks(work / "one"), *haystacks(work / "objects"), *logs])
    support.check(not leaks, f"identifiers leaked: {leaks[:5]}")
    positive_controls(work, needles, search, logs)
    print(f"none of {len(needles)} planted identifiers in two datasets, every decompressed chunk and {len(logs)} logs; "
          "found where planted: ledger, case JSON, index, file name, chunks, log")


with support.temporary() as directory:
    main(pathlib.Path(directory))
