"""Files that nobody would mention: every one of them is named by its code, a run that could not see all says so and ends
with 3, and no string kills a tool."""
import bz2
import gzip
import hashlib
import hmac
import io
import json
import lzma
import os
import pathlib
import shutil
import subprocess
import tarfile
import zipfile

import support

APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
UNSEEN = ("UNREADABLE_DIRECTORY", "PERMISSION_DENIED", "LINK_NOT_FOLLOWED", "DANGLING_LINK", "ARCHIVE", "DATA_WITHOUT_HEADER")
NAMES = [b"one\xff.bin", b"one\xfe.bin", b"line\nfeed", b"\x1b[31mred\x1b]0;title\x07", b"tab\there", "\u202egnp.exe".encode(),
         b"n" * 255, b"back\\slash", b"$(reboot)", b"--json", "Jürgen".encode("latin-1"), "肝.txt".encode()]


def path_hash(relative, key=bytes(32)):
    return hmac.new(key, b"path\0" + relative, hashlib.sha256).hexdigest()[:32]


def scan(export, *extra, expect=0, env=None):
    return json.loads(support.run("wsp-ingest", "scan", export, "--json", *extra, expect=expect, env=env).stdout)


def codes_of(report):
    return {f["path"]: f["code"] for f in report["files"]}


def ingest(work, export, out, *extra, expect=0, masks=None, env=None):
    shutil.rmtree(work / out, ignore_errors=True)
    done = support.run("wsp-ingest", export, "--out", work / out, "--ids", "keep", "--masks", masks or work / "cohort" / "truth",
                       "--size", 64, "--shards", 1, *extra, expect=expect, env=env)
    return done


def ledger(dataset):
    rows = [line.split("\t") for line in (support.state(dataset) / "ledger.tsv").read_text().splitlines()[1:]]
    support.check(len({r[0] for r in rows}) == len(rows), "a path stands twice in the ledger")
    return {r[0]: r for r in rows}


def write(path, data=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def terminal_safe(text):
    return all(c == "\n" or (c.isprintable() and c != "\u202e") for c in text)


def dirt(work, sound):
    """An export with one sound patient, a second behind a link, and all else that lies in exports."""
    export, store = work / "dirty", work / "store"
    shutil.copytree(sound / "sub-0000", export / "A")
    shutil.copytree(sound / "sub-0001", store / "B")
    slice_ = next(p for p in sorted((export / "A").rglob("*")) if p.is_file()).read_bytes()
    expected = {}

    def has(name, code, data=None):
        expected[name] = code
        if data is not None:
            write(pathlib.Path(os.fsdecode(os.fsencode(export) + b"/" + name)), data)

    (export / "B").symlink_to(store / "B")
    (export / "again").symlink_to("A")
    (export / "dangling").symlink_to("nowhere")
    (export / "circle").symlink_to("circle")
    os.mkfifo(export / "fifo")
    for name, code in ((b"B", "LINK_NOT_FOLLOWED"), (b"again", "DUPLICATE_FILE"), (b"dangling", "DANGLING_LINK"),
                       (b"circle", "DANGLING_LINK"), (b"fifo", "NOT_DICOM")):
        has(name, code)
    has(b"mac/._IM1.dcm", "APPLEDOUBLE", APPLE)
    has(b"mac/._v.nii.gz", "APPLEDOUBLE", APPLE)
    has(b"mac/.DS_Store", "NOT_DICOM", b"\0\0\0\1Bud1")
    has(b"mac/Thumbs.db", "NOT_DICOM", b"\xd0\xcf\x11\xe0")
    has(b"mac/empty", "EMPTY_FILE", b"")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as z:
        z.writestr("IM1.dcm", slice_)
    for name in (b"p/1.zip", b"p/zip-without-a-name", b"p/really-zip.dcm", b"p/really-zip.nii.gz"):
        has(name, "ARCHIVE", packed.getvalue())
    has(b"p/letter.docx", "NOT_DICOM", packed.getvalue())
    for mode, name in (("w", b"p/2.tar"), ("w:gz", b"p/3.tgz"), ("w:bz2", b"p/4.tar.bz2"), ("w:xz", b"p/5")):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as t:
            member = tarfile.TarInfo("IM1.dcm")
            member.size = len(slice_)
            t.addfile(member, io.BytesIO(slice_))
        has(name, "ARCHIVE", packed.getvalue())
    for name, data in ((b"p/IM1.dcm.gz", gzip.compress(slice_)), (b"p/v.nii.bz2", bz2.compress(slice_)), (b"p/v.nrrd.xz", lzma.compress(slice_)),
                       (b"p/6.7z", b"7z\xbc\xaf\x27\x1c\0"), (b"p/7.rar", b"Rar!\x1a\x07\0"), (b"p/8.zst", b"\x28\xb5\x2f\xfd"),
                       (b"p/9.iso", bytes(0x8001) + b"CD001"), (b"p/10.zip.001", b"part")):
        has(name, "ARCHIVE", data)
    for name in NAMES:
        has(b"names/" + name, "NOT_DICOM", b"no image")
    return export, expected


def everything_is_named(work, sound):
    export, expected = dirt(work, sound)
    report = scan(export, expect=3)
    found = codes_of(report)
    plain = {n.decode(): c for n, c in expected.items() if support_utf8(n)}
    for name, code in plain.items():
        support.check(found.get(name) == code, f"{name!r} is {found.get(name)}, expected {code}")
    odd = {n for n in found if n not in plain}
    support.check(len(odd) == sum(not support_utf8(n) for n in expected) and r"names/one\xff.bin" in odd and r"names/one\xfe.bin" in odd,
                  f"names that are no UTF-8: {sorted(odd)}")
    unseen = {c: n for c, n in report["codes"].items() if c in UNSEEN}
    support.check(report["unseen"] == unseen and set(unseen) == {"LINK_NOT_FOLLOWED", "DANGLING_LINK", "ARCHIVE"}, f"unseen: {report['unseen']}")
    support.check(report["file_count"] == sum(report["codes"].values()), "the codes' sum is not the number of files")
    text = support.run("wsp-ingest", "scan", export, expect=3).stdout
    support.check(terminal_safe(text), f"scan's text: {text!r}")
    support.check(r"\x1b[31mred" in text and "-> unpack it first" in text, text)

    # The ledger has every file, under its bytes; the summary ends with what was not seen; the data set is the sound one's.
    done = ingest(work, export, "out", "--crosswalk", work / "x.tsv", expect=3)
    rows = ledger(work / "out")
    for name, code in expected.items():
        row = rows.get(path_hash(name))
        support.check(row is not None and row[1] == code, f"{name!r}: {row}, expected {code}")
    tail = done.stdout[done.stdout.index("not all that was given could be seen"):]
    for code, number in unseen.items():
        support.check(f"{code} {number}:" in tail, f"the last lines miss {code} {number}: {tail}")
    support.check(tail.count("->") == len(unseen), f"no remedy: {tail}")
    ways_back = dict(line.split(b"\t") for line in (work / "x.tsv").read_bytes().split(b"\n")[1:-1])
    for name in expected:
        back = ways_back[path_hash(name).encode()]
        escaped = name.replace(b"\\", rb"\\").replace(b"\t", rb"\t").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
        support.check(back == escaped, f"the crosswalk leads to {back!r} instead of {name!r}")
    summary = json.loads(ingest(work, export, "out", "--json", expect=3).stdout)
    support.check(summary["unseen"] == unseen and summary["cases"] == 1, f"summary: {summary}")
    support.run("wsp-ingest", "verify", work / "out")
    alone = work / "alone"
    shutil.copytree(sound / "sub-0000", alone / "A")
    ingest(work, alone, "alone_out")
    for name in ("index.h5", "shards/shard-00.h5"):
        support.check((support.state(work / "out") / name).read_bytes() == (support.state(work / "alone_out") / name).read_bytes(), f"{name} differs for the dirt beside it")

    # As deterministic as without.
    first = (support.state(work / "out") / "ledger.tsv").read_bytes()
    ingest(work, export, "out", "--threads", 1, expect=3)
    support.check((support.state(work / "out") / "ledger.tsv").read_bytes() == first, "the ledger differs at another number of threads")
    print(len(expected), "files and links have their codes in scan and ledger")


def support_utf8(name):
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def links(work, sound):
    """--follow-links sees what is behind them, once; a file behind two links is one."""
    export = work / "linked"
    export.mkdir()
    (export / "A").symlink_to(sound / "sub-0000")
    (export / "B").symlink_to(sound / "sub-0001")
    (export / "B2").symlink_to(sound / "sub-0001")
    (export / "self").symlink_to(".")
    support.check(ingest(work, export, "none", expect=4).stdout.count("LINK_NOT_FOLLOWED") > 0, "no word of the links")
    summary = json.loads(ingest(work, export, "followed", "--follow-links", "--json").stdout)
    support.check(summary["cases"] == 2 and summary["unseen"] == {} and summary["file_codes"]["DUPLICATE_FILE"] == 2, f"followed: {summary}")
    support.check(json.loads((work / "followed" / "dataset.json").read_text())["config"]["follow_links"] is True, "config")
    support.check(scan(export, "--follow-links")["codes"]["DUPLICATE_FILE"] == 2, "scan --follow-links")
    # One NIfTI volume under two names is one subject.
    pair = work / "pair"
    pair.mkdir()
    volume = next((work / "nifti" / "export").iterdir())
    shutil.copy(volume, pair / "v.nii.gz")
    (pair / "w.nii.gz").symlink_to("v.nii.gz")
    report = scan(pair)
    support.check(len(report["series"]) == 1 and codes_of(report) == {"w.nii.gz": "DUPLICATE_FILE"}, f"two names: {report['codes']}")
    # Masks behind a link.
    masks = work / "linked_masks"
    masks.mkdir()
    (masks / "more").symlink_to(work / "cohort" / "truth")
    for name, data in (("notes.txt", b"x"), ("._a.nii.gz", APPLE), ("old.zip", b"PK\x03\x04"), ("seg.dcm", bytes(128) + b"DICM")):
        write(masks / name, data)
    alone = work / "alone"
    report = scan(alone, "--masks", masks, expect=3)
    named = {f["path"]: f["code"] for f in report["mask_files"]}
    wanted = {"more": "LINK_NOT_FOLLOWED", "notes.txt": "NOT_DICOM", "._a.nii.gz": "APPLEDOUBLE", "old.zip": "ARCHIVE", "seg.dcm": "MASK_UNREFERENCED"}
    support.check(named == wanted and report["unseen"] == {"LINK_NOT_FOLLOWED": 1, "ARCHIVE": 1}, f"in --masks: {named}, {report['unseen']}")
    (masks / "old.zip").unlink()
    done = ingest(work, alone, "masked", "--follow-links", masks=masks)
    rows = ledger(work / "masked")
    support.check(rows[path_hash(b"masks/seg.dcm")][1] == "MASK_UNREFERENCED" and "\tUSED_AS_MASK\t" in (support.state(work / "masked") / "ledger.tsv").read_text(),
                  f"masks behind a link: {done.stdout}")
    done = ingest(work, alone, "unmasked", masks=masks, expect=4)
    support.check("LINK_NOT_FOLLOWED 1" in done.stderr and "--follow-links" in done.stderr and not (work / "unmasked").exists(),
                  f"a folder of masks of which nothing can be seen: {done.stderr}")
    print("links: named, followed once, in the export and in --masks")


def excludes(work, sound):
    export = work / "excluding"
    shutil.copytree(sound / "sub-0000", export / "A")
    shutil.copytree(sound / "sub-0001", export / "old" / "B")
    write(export / "old" / "scans.zip", b"PK\x03\x04")
    (export / "old" / "link").symlink_to(work / "cohort")
    files = sum(p.is_file() or p.is_symlink() for p in (export / "old").rglob("*"))
    done = ingest(work, export, "excluded", "--exclude", "old/", "--exclude", "*.nothing", "--json")
    summary = json.loads(done.stdout)
    support.check(summary["cases"] == 1 and summary["file_codes"]["EXCLUDED"] == files and summary["unseen"] == {}, f"--exclude: {summary}")
    support.check("glob 2 of 2 matches nothing" in done.stderr and ".nothing" not in done.stderr, f"a glob that does nothing: {done.stderr}")
    config = json.loads((work / "excluded" / "dataset.json").read_text())["config"]
    support.check(config["exclude"] == ["old/", "*.nothing"], f"config: {config}")
    support.check(ledger(work / "excluded")[path_hash(b"old/scans.zip")][1] == "EXCLUDED", "the ledger does not name what was excluded")
    support.run("wsp-ingest", "verify", work / "excluded")
    support.check(scan(export, "--exclude", "old")["codes"]["EXCLUDED"] == files, "scan --exclude")
    # What is left out shapes no case: the rest is taken over when a glob is added.
    again = support.run("wsp-ingest", export / "A", "--out", work / "grown", "--ids", "keep", "--masks", work / "cohort" / "truth", "--size", 64, "--json")
    again = support.run("wsp-ingest", export / "A", "--out", work / "grown", "--ids", "keep", "--masks", work / "cohort" / "truth", "--size", 64,
                        "--exclude", "*.txt", "--json")
    support.check(json.loads(again.stdout)["reused_cases"] == 1, "a glob made the cases again")
    # Under pseudonyms no glob stands in the dataset: it may name a patient.
    support.run("wsp-ingest", export, "--out", work / "secret", "--new-site-key", work / "key", "--masks", work / "cohort" / "truth", "--size", 64,
                "--exclude", "old/", "--exclude", "DOE*JANE")
    for name, data in support.tree(work / "secret").items():
        support.check(b"DOE" not in data, f"a glob stands in {name}")
    # Masks inside the export, left out as images, serve as masks.
    task = work / "task"
    shutil.copytree(work / "nifti" / "export", task / "imagesTr")
    shutil.copytree(work / "nifti" / "truth", task / "labelsTr")
    done = ingest(work, task, "task_out", "--exclude", "labelsTr/", "--json", masks=task / "labelsTr")
    summary = json.loads(done.stdout)
    volumes = len(list((task / "imagesTr").iterdir()))
    support.check(summary["cases"] == volumes and summary["file_codes"]["USED_AS_MASK"] == volumes, f"masks that are excluded as images: {summary}")
    print("--exclude leaves out, and says so")


def broken_disks(work, sound):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("*** no C compiler: EIO is not tested ***")
        return
    shim = work / "eio.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, support.SOURCE / "tests" / "cli" / "eio_shim.c", "-ldl"], check=True)
    export = work / "disk"
    shutil.copytree(sound / "sub-0000", export / "A")
    shutil.copytree(sound / "sub-0001", export / "B-eio")
    env = {**os.environ, "LD_PRELOAD": str(shim), "WSP_EIO": "/B-eio", "ASAN_OPTIONS": "verify_asan_link_order=0"}
    broken = scan(export, expect=3, env=env)
    entry = [f for f in broken["files"] if f["code"] == "UNREADABLE_DIRECTORY"]
    support.check(len(entry) == 1 and entry[0]["path"].startswith("B-eio") and "Input/output error" in entry[0]["detail"], f"EIO: {broken['files']}")
    # An ingest stops: what the disk does not show would be lost without a word.
    done = ingest(work, export, "disk_out", expect=1, env=env)
    support.check("Nothing was changed" in done.stderr and "--exclude" in done.stderr and not (work / "disk_out").exists(), done.stderr)
    root = scan(export, expect=4, env={**env, "WSP_EIO": str(export)})
    support.check({"path": ".", "code": "UNREADABLE_DIRECTORY", "detail": "broke off after 2 entries: Input/output error"} in root["files"],
                  f"the export itself breaks off: {root['files']}")
    # A file that the disk does not give is not empty, cut or in need of another export.
    slices = sorted(p for p in (export / "A").rglob("*") if p.is_file())
    slices[3].rename(slices[3].with_name("eio-slice"))
    shutil.copy(next((work / "nifti" / "export").iterdir()), export / "eio-volume.nii.gz")
    report = scan(export, expect=3, env={**env, "WSP_EIO": "/eio-"})
    bad = {pathlib.Path(f["path"]).name: (f["code"], f["detail"]) for f in report["files"] if "eio-" in f["path"]}
    support.check(bad == {n: ("PERMISSION_DENIED", "Input/output error") for n in ("eio-slice", "eio-volume.nii.gz")}, f"unreadable files: {bad}")
    print("input/output errors are named, of directories and of files")


def any_string(work, sound):
    """Every tool, given any string in any place, ends with a message and one of its own codes."""
    deep = "d/" * 3000
    strings = [b"\xff\xfe", b"a\nb", b"\x1b[31m", b"n" * 300, deep.encode(), b"/dev/null/x", b" ", b"", b"%s%n{}", b"\xed\xa0\x80", b"[", b"*",
               b"https://x/" + b"a" * 100000]
    (work / "a\nb").mkdir()
    loop = work / "loop"
    loop.symlink_to("loop")
    strings += [os.fsencode(work / "a\nb"), os.fsencode(loop), os.fsencode(work) + b"/\xff"]
    pathlib.Path(os.fsdecode(os.fsencode(work) + b"/\xff")).mkdir()
    export = work / "alone"
    commands = [["wsp-ingest", None, "--out", work / "s1", "--ids", "keep"], ["wsp-ingest", "scan", None], ["wsp-ingest", "scan", None, "--json"],
                ["wsp-ingest", "verify", None], ["wsp-ingest", "verify", None, "--json"],
                ["wsp-ingest", export, "--out", None, "--ids", "keep"], ["wsp-ingest", export, "--out", work / "s2", "--ids", "keep", "--masks", None],
                ["wsp-ingest", export, "--out", work / "s3", "--ids", "keep", "--labels", None],
                ["wsp-ingest", export, "--out", work / "s4", "--ids", "keep", "--manifest", None],
                ["wsp-ingest", export, "--out", work / "s5", "--ids", "keep", "--liver-roi", None],
                ["wsp-ingest", export, "--out", work / "s6", "--ids", "keep", "--exclude", None],
                ["wsp-ingest", export, "--out", work / "s7", "--site-key", None], ["wsp-ingest", export, "--out", work / "s8", "--ids", "keep", "--crosswalk", None],
                ["wsp-ingest", None], ["wsp-ingest", "scan", export, "--config", None],
                ["wsp-qa", None], ["wsp-qa", None, "--json"], ["wsp-qa", work / "out", "--out", None], ["wsp-qa", work / "out", "--rules", None],
                ["wsp-qa", work / "out", "--license", None], ["wsp-qa", work / "out", "--title", None, "--force"], ["wsp-phantom", "--out", None, "--slices", "x"],
                ["wsp-phantom", "--out", work / "ph", "--slices", None]]
    if (support.BINARIES / "wsp-train").exists():
        commands += [["wsp-train", None, "--out", work / "tr"], ["wsp-train", work / "out", "--out", None, "--epochs", "x"], ["wsp-unet", None],
                     ["wsp-unet", "train", None, "--out", work / "un", "--json"], ["wsp-unet", "predict", None, "v.nii", "--out", work / "pr"],
                     ["wsp-unet", "evaluate", None, work / "out", "--out", work / "ev"], ["wsp-eval", None],
                     ["wsp-eval", "table", None, "--root", work, "--out", work / "tb", "--json"]]
    tried = 0
    for command in commands:
        for string in strings:
            arguments = [string if a is None else os.fsencode(str(a)) for a in command[1:]]
            done = subprocess.run([os.fsencode(support.BINARIES / command[0]), *arguments], capture_output=True, timeout=300, cwd=work)
            tried += 1
            where = f"{command} with {string[:60]!r}: exit {done.returncode}: {done.stderr[-400:]!r}"
            support.check(done.returncode in (0, 2, 3, 4, 5, 6) or (done.returncode == 1 and b"cannot use the path" in done.stderr), where)
            support.check(b"unexpected failure" not in done.stderr and b"\x1b[31m" not in done.stdout + done.stderr, where)
            if "--json" in command and done.stdout:
                json.loads(done.stdout)
    print(tried, "commands with strings of every kind end as they should")


def no_case(work):
    """Where no case can be made the screen says why, with numbers and remedies."""
    export = work / "nothing"
    write(export / "a.zip", b"PK\x03\x04")
    write(export / "b.txt", b"x")
    shutil.copytree(work / "alone" / "A", export / "A")
    done = support.run("wsp-ingest", export, "--out", work / "nothing_out", "--ids", "keep", "--size", 64, expect=4)
    for words in ("NO_LIVER_MASK 1:", "--liver-model", "ARCHIVE 1:", "unpack it first", "NOT_DICOM 1:"):
        support.check(words in done.stderr, f"'{words}' is missing: {done.stderr}")
    support.check(done.stderr.index("NO_LIVER_MASK") < done.stderr.index("ARCHIVE"), done.stderr)


def reasons(work):
    """The score's reasons stand in scan's text, within the width of a terminal."""
    report = scan(work / "alone")
    text = support.run("wsp-ingest", "scan", work / "alone").stdout
    flat = " ".join(text.split())
    for series in report["series"]:
        for reason in series["reasons"]:
            words = f"{reason['criterion']} {reason['points']:+.1f} ({reason['why']})"
            support.check(words in flat, f"'{words}' is missing: {text}")
    support.check(max(map(len, text.splitlines())) <= 132, text)


with support.temporary() as directory:
    work = pathlib.Path(directory)
    phantom = ("--seed", 5, "--slices", "14-14", "--size", 64, "--subjects", 2)
    support.run("wsp-phantom", "--out", work / "cohort", *phantom)
    support.run("wsp-phantom", "--out", work / "nifti", "--format", "nifti", *phantom)
    sound = work / "cohort" / "export"
    everything_is_named(work, sound)
    links(work, sound)
    excludes(work, sound)
    broken_disks(work, sound)
    no_case(work)
    reasons(work)
    any_string(work, sound)
print("every file is named, and no string kills a tool")
