"""Foreign files are read in processes of their own: one that brings its reader down, or never lets it end, costs itself and a
code; every other case has the bytes that it has without it. Nothing outlives the run."""
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import support

support.require("numpy", "pydicom", "PIL")
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate

VERDICTS = ("dataset.json", "ledger.tsv", "quarantine.tsv")  # where hostile files may leave a trace
SECONDS = 1


def ingest(work, export, out, *extra, masks=None, env=None, expect=0):
    done = support.run("wsp-ingest", export, "--out", out, "--site-key", work / "site.key", "--masks", masks or work / "cohort" / "truth",
                       "--size", 64, "--shards", 2, "--liver-model", "none", "--file-seconds", SECONDS, "--memory", "512M", "--json", *extra, env=env, expect=expect)
    return json.loads(done.stdout)


def cases(dataset):
    return {name: data for name, data in support.tree(dataset).items() if name not in VERDICTS}


def stranger(source, target, who, name, packed=False):
    """A copy of a series as another patient's; `name(k)` names its files, `packed` makes them JPEG 2000."""
    target.mkdir(parents=True)
    for k, path in enumerate(sorted(source.rglob("*.dcm"))):
        d = pydicom.dcmread(path)
        d.PatientID = d.PatientName = who
        for uid in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            setattr(d, uid, getattr(d, uid) + f".{sum(who.encode())}")
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        if packed:
            words = d.pixel_array.astype(np.int32) * int(d.RescaleSlope) + int(d.RescaleIntercept) + 2048
            d.RescaleSlope, d.RescaleIntercept, d.PixelRepresentation = 1, -2048, 0
            data = io.BytesIO()
            Image.fromarray(words.clip(0, 65535).astype(np.uint16)).save(data, format="JPEG2000", no_jp2=True, irreversible=False)
            d.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
            d.PixelData = encapsulate([data.getvalue()])
            d["PixelData"].is_undefined_length = True
            d.BitsAllocated = d.BitsStored = 16
            d.HighBit = 15
            if "PixelPaddingValue" in d:
                del d.PixelPaddingValue
        d.save_as(target / name(k))


def build_shim(work):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        support.skip("no C compiler")
    shim = work / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, support.SOURCE / "tests" / "cli" / "isolation_shim.c", "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(shim), "ASAN_OPTIONS": "verify_asan_link_order=0:handle_segv=0"}


def hostile_export(work, series):
    """The export, and files that attack: as they were found, made or played by the shim."""
    export = work / "hostile"
    shutil.copytree(work / "cohort" / "export", export, copy_function=os.link)
    bad = export / "zz-bad"
    bad.mkdir()
    sources = [support.data_dir() / "corrupt" / "attack"]
    for source in sources:
        shutil.copytree(source, bad / source.name, ignore=shutil.ignore_patterns("*.md", "tilt_3GB", "kernel_dash"))
    one = sorted(series[0].rglob("*.dcm"))[0]
    for word in ("CRASH", "SPIN", "BALLOON", "SLEEP"):
        shutil.copy(one, bad / f"{word}.dcm")
        if word != "SLEEP":
            shutil.copy(one, bad / f"{word}.nii")
    stranger(series[0], bad / "late", "LATE", lambda k: f"LATE-CRASH{k}.dcm" if k == 5 else f"{k}.dcm", packed=True)
    stranger(series[1], bad / "slow", "SLOW", lambda k: f"LATE-SPIN{k}.dcm" if k == 5 else f"{k}.dcm", packed=True)
    return export


def hostile_files(work, env, whole):
    series = sorted(p for p in (work / "cohort" / "export").iterdir() if p.is_dir())
    export = hostile_export(work, series)
    out = work / "attacked"
    told = ingest(work, export, out, env=env)
    rows = [line.split("\t") for line in (support.state(out) / "ledger.tsv").read_text().splitlines()[1:]]
    found = {}
    for row in rows:
        found[row[1]] = found.get(row[1], 0) + 1
    slices = min(len(list(s.rglob("*.dcm"))) for s in series[:2])
    support.check(cases(out) == whole, "hostile files changed other cases")
    # CRASH and BALLOON, SPIN and SLEEP by themselves, and the slices of one series each.
    for code, alone in (("DECODER_CRASHED", 4), ("DECODER_TIMEOUT", 3)):
        support.check(found.get(code, 0) >= alone + slices, f"{code}: {found}")
    quarantine = (support.state(out) / "quarantine.tsv").read_text()
    support.check("DECODER_CRASHED" in quarantine and "signal 11" in quarantine and "DECODER_TIMEOUT" in quarantine, quarantine)
    support.run("wsp-ingest", "verify", out)
    again = ingest(work, export, out, env=env)
    support.check(again["reused_cases"] == told["cases"] and cases(out) == whole, "the rerun differs")
    share = 100 * sum(n for code, n in found.items() if code not in ("USED", "USED_AS_MASK")) / len(rows)
    print(f"hostile files, {share:.0f} % of all: {found}")


def hostile_mask(work, env, whole):
    """A mask that crashes its reader costs its case alone."""
    masks = work / "masks"
    shutil.copytree(work / "cohort" / "truth", masks)
    first = sorted(masks.glob("*.nii.gz"))[0]
    first.rename(masks / "CRASH.nii.gz")
    table = work / "masks.csv"
    rows = {path.name: path for path in masks.glob("[!C]*.nii.gz")} | {first.name: masks / "CRASH.nii.gz"}
    table.write_text("case,mask\n" + "".join(f"{name.removesuffix('.nii.gz')},{path}\n" for name, path in sorted(rows.items())))
    out = work / "masked"
    told = ingest(work, work / "cohort" / "export", out, "--masks-table", table, masks=masks, env=env)
    support.check(told["quarantine_codes"] == {"DECODER_CRASHED": 1}, f"a mask that crashes: {told['quarantine_codes']}")
    made = {name: data for name, data in cases(out).items() if name.startswith(("cases/", "previews/"))}
    support.check(made and all(whole[name] == data for name, data in made.items()), "a crashing mask changed other cases")
    support.check(len(made) < len([n for n in whole if n.startswith(("cases/", "previews/"))]), "no case was lost")


def descendants(pid):
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def endings(work, env):
    """Killed, or asked to stop, while a reader spins: its processes end with the run, and a stop is what it was before."""
    export = work / "spinning"
    shutil.copytree(work / "cohort" / "export", export, copy_function=os.link)
    shutil.copy(next(export.rglob("*.dcm")), export / "SPIN.dcm")
    command = [str(support.BINARIES / "wsp-ingest"), "scan", str(export), "--file-seconds"]
    for seconds, number, code in ((100, signal.SIGKILL, -signal.SIGKILL), (3, signal.SIGINT, 130), (3, signal.SIGTERM, 143)):
        run = subprocess.Popen([*command, str(seconds)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        deadline = time.time() + 20
        while len(children := descendants(run.pid)) < 2 and time.time() < deadline:
            time.sleep(0.02)
        support.check(len(children) >= 2, "no reader was started")
        time.sleep(0.3)
        if number == signal.SIGINT:
            os.killpg(run.pid, number)  # as a terminal does: to every process of the job
        else:
            run.send_signal(number)
        run.communicate(timeout=60)
        support.check(run.returncode == code, f"signal {number}: exit {run.returncode}, expected {code}")
        deadline = time.time() + 5
        while any(map(alive, children)) and time.time() < deadline:
            time.sleep(0.02)
        support.check(not any(map(alive, children)), f"signal {number}: readers live on")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 6, "--seed", 5, "--slices", "12-14", "--size", 64)
    (work / "site.key").write_text("5a" * 32 + "\n")
    (work / "site.key").chmod(0o600)
    ingest(work, work / "cohort" / "export", work / "on")
    ingest(work, work / "cohort" / "export", work / "off", "--isolation", "off")
    support.check(support.tree(work / "on") == support.tree(work / "off"), "--isolation off gives another dataset")
    whole = cases(work / "on")
    env = build_shim(work)
    hostile_files(work, env, whole)
    hostile_mask(work, env, whole)
    endings(work, env)
print("isolation: ok")
