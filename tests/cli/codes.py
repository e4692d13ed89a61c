"""Each disposition and flag that a damaged, odd or mislabelled export must get, on whole commands: a clean phantom is
changed with pydicom in one respect at a time."""
import json
import os
import pathlib
import shutil
import subprocess
import io

import support

support.require("numpy", "pydicom", "PIL")
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate


def changed(source, target, change):
    """A copy of a DICOM series; change(dataset, k) edits slice k, feet first."""
    target.mkdir(parents=True)
    for k, path in enumerate(sorted(source.iterdir())):
        d = pydicom.dcmread(path)
        change(d, k)
        d.save_as(target / path.name)


def ingest(work, export, *extra, expect=0):
    out = work / "ds"
    shutil.rmtree(out, ignore_errors=True)
    done = support.run("wsp-ingest", export, "--out", out, "--ids", "keep", "--masks", work / "cohort" / "truth",
                       "--size", 64, "--shards", 1, "--json", *extra, expect=expect)
    return json.loads(done.stdout)


def scan(export, expect=0):
    return json.loads(support.run("wsp-ingest", "scan", export, "--json", expect=expect).stdout)


def jpeg2000(pixels):
    """A 16-bit JPEG 2000 codestream."""
    data = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16)).save(data, format="JPEG2000", no_jp2=True, irreversible=False)
    return data.getvalue()


def shift(axis, k_changed, mm):
    def change(d, k):
        if k == k_changed:
            position = [float(v) for v in d.ImagePositionPatient]
            position[axis] += mm
            d.ImagePositionPatient = position
    return change


def put(**values):
    def change(d, k):
        for name, value in values.items():
            setattr(d, name, value)
    return change


def colour(d, k):
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, "RGB", 0
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation = 7, 0
    d.PixelData = bytes(d.Rows * d.Columns * 3)


def garbage(d, k):
    d.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    d.PixelData = encapsulate([b"\xff\xd8\xff\xee" + bytes(60)])
    d["PixelData"].is_undefined_length = True


def too_deep(d, k):
    d.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    d.PixelData = encapsulate([jpeg2000(np.arange(d.Rows * d.Columns).reshape(d.Rows, d.Columns) * 9)])
    d["PixelData"].is_undefined_length = True
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation = 7, 0


def series_codes(work, source):
    """What the scan says of a series, or what ingesting it does to its case."""
    table = [
        ("colour", colour, "scan", "NOT_MONOCHROME"),
        ("sideways", shift(0, 5, 12), "scan", "MIXED_GEOMETRY"),
        ("sharp bits", too_deep, "case", "SIGN_MISMATCH"),
        ("garbage", garbage, "case", "DECODE_FAILED"),
        ("uneven", shift(2, 5, 5), "flag", "SPACING_IRREGULAR"),
        ("overlap", put(SliceThickness=60), "flag", "OVERLAPPING_SLICES"),
        ("feet first", put(PatientPosition="FFS"), "flag", "FEET_FIRST"),
        ("placeholder", put(PatientID="ANON"), "flag", "SUBJECT_UNVERIFIED"),
    ]
    for name, change, kind, code in table:
        export = work / name.replace(" ", "_")
        changed(source, export, change)
        if kind == "scan":
            report = scan(export, expect=4)
            found = {s["disposition"] for s in report["series"]}
        elif kind == "case":
            found = set(ingest(work, export, expect=4)["quarantine_codes"])
        else:
            found = set(ingest(work, export)["flags"])
        support.check(code in found, f"{name}: {sorted(found)}, expected {code}")
        shutil.rmtree(export)
    print(len(table), "changed series have their codes")


def case_codes(work):
    """Options and inputs that refuse a case, or make one of it."""
    cohort = work / "cohort"
    one = cohort / "export" / "sub-0000"
    only = lambda summary, code: support.check(summary["quarantine_codes"] == {code: summary["quarantined_cases"]},
                                               f"expected {code}: {summary}")
    only(ingest(work, one, "--memory", "100K", expect=4), "TOO_LARGE")
    only(ingest(work, one, "--min-area-mm2", "1e9", expect=4), "NO_LIVER")
    support.check(ingest(work, one, "--memory", "1M")["cases"] == 1, "1M is enough for a volume of 64 x 64 x 14")
    done = support.run("wsp-ingest", one, "--out", work / "nomask", "--ids", "keep", expect=4)
    support.check("NO_LIVER_MASK" in done.stdout, done.stdout)
    (work / "none").mkdir()
    done = support.run("wsp-ingest", one, "--out", work / "nomask2", "--ids", "keep", "--masks", work / "none", expect=4)
    support.check("--masks holds no" in done.stderr, done.stderr)

    both = work / "both"
    for k, sex in enumerate("FM"):
        source = next((cohort / "export" / f"sub-000{k}").iterdir())
        changed(source, both / sex, put(PatientID="17", PatientSex=sex))
    only(ingest(work, both, expect=4), "SUBJECT_CONFLICT")
    changed(next(one.iterdir()), work / "anon", put(PatientID="ANON"))
    only(ingest(work, work / "anon", "--strict-subjects", expect=4), "SUBJECT_MISSING")

    (work / "labels.csv").write_text("subject,label\nsubject-0000,1\nsubject-0001,2\nsubject-0001,3\n")
    summary = ingest(work, cohort / "export", "--labels", work / "labels.csv")
    support.check(summary["quarantine_codes"] == {"LABEL_AMBIGUOUS": 1} and summary["flags"].get("LABEL_MISSING") == 1
                  and summary["unlabelled_cases"] == 1, f"labels: {summary}")

    (work / "map.json").write_text(json.dumps({
        "name": "map", "version": 1, "subject_map": {"subject-0000": "one", "subject-0002": "one"}}))
    summary = ingest(work, cohort / "export", "--manifest", work / "map.json")
    support.check((summary["cases"], summary["subjects"]) == (3, 2), f"subject_map: {summary}")

    # Two series of one study, and all of them.
    study = work / "study"
    shutil.copytree(next(one.iterdir()), study / "a")
    uid = pydicom.dcmread(next((study / "a").iterdir())).SeriesInstanceUID
    changed(study / "a", study / "b", put(SeriesInstanceUID=uid + ".7", SeriesDescription="ARTERIAL ABD"))
    summary = ingest(work, study)
    support.check((summary["cases"], summary["file_codes"].get("NOT_SELECTED")) == (1, len(list((study / "a").iterdir()))),
                  f"the other series: {summary}")
    shutil.copy(cohort / "truth" / f"{uid}.nii.gz", cohort / "truth" / f"{uid}.7.nii.gz")
    support.check(ingest(work, study, "--all-series")["cases"] == 2, "--all-series")
    # Pins: the worse one by its UID; and one that is nowhere.
    (work / "pins.json").write_text(json.dumps({"name": "pins", "version": 1, "pin_series": [uid + ".7", "1.2.3"]}))
    done = support.run("wsp-ingest", study, "--out", work / "pinned", "--ids", "keep", "--masks", cohort / "truth",
                       "--size", 64, "--manifest", work / "pins.json", "--json")
    summary = json.loads(done.stdout)
    support.check((summary["cases"], summary["unmatched_pins"]) == (1, 1), f"pins: {summary}")
    support.check("1 of 2 series" in done.stderr and "1.2.3" not in done.stderr, f"pins in the log: {done.stderr}")
    (name,) = (p.stem for p in (support.state(work / "pinned") / "cases").iterdir())
    support.check(name == uid + ".7", f"the pinned series is {name}")
    # Weights, ingested: a sharp portal series wins by its phase, and loses without those points.
    changed(study / "a", work / "sharp" / "a", put(ConvolutionKernel="B70f"))
    shutil.copytree(study / "b", work / "sharp" / "b")
    (work / "nophase.json").write_text(json.dumps({"name": "w", "version": 1, "score_weights": {"phase": 0}}))
    for manifest, winner in (([], uid), (["--manifest", work / "nophase.json"], uid + ".7")):
        support.check(ingest(work, work / "sharp", *manifest)["cases"] == 1, "one of two series")
        (name,) = (p.stem for p in (support.state(work / "ds") / "cases").iterdir())
        support.check(name == winner, f"score_weights {manifest}: {name} was taken")
    (cohort / "truth" / f"{uid}.7.nii.gz").unlink()
    # Weights, shown: without the phase's points the arterial copy scores as high as the portal one.
    (work / "weights.json").write_text(json.dumps({"name": "w", "version": 1, "score_weights": {"phase": 0, "mask": 0}}))
    plain = {s["phase"]: s for s in scan(study)["series"]}
    masked = json.loads(support.run("wsp-ingest", "scan", study, "--masks", cohort / "truth", "--json").stdout)["series"]
    gained = {s["phase"]: s["score"] - plain[s["phase"]]["score"] for s in masked}
    support.check(gained["portal"] == 30, f"scan --masks adds {gained}")
    support.check([s["phase"] for s in masked if s["chosen"]] == ["portal"], "the chosen one is shown")
    weighted = json.loads(support.run("wsp-ingest", "scan", study, "--masks", cohort / "truth", "--manifest",
                                      work / "weights.json", "--json").stdout)["series"]
    support.check(len({round(s["score"], 6) for s in weighted}) == 1, f"scan ignores the manifest's weights: {weighted}")


def phases(work):
    """Header and HU decide together which phase a series has."""
    source = next((work / "cohort" / "export" / "sub-0000").iterdir())
    silent = {"SeriesDescription": "ABDOMEN", "ContrastBolusStartTime": "", "AcquisitionTime": ""}

    def native(**words):
        """As before contrast: everything enhanced fades to 50 HU."""
        def change(d, k):
            put(**words)(d, k)
            stored = d.pixel_array.astype(np.int32)
            hu = stored * float(d.RescaleSlope) + float(d.RescaleIntercept)
            stored[hu > 60] = round((50 - float(d.RescaleIntercept)) / float(d.RescaleSlope))
            d.PixelData = stored.astype(d.pixel_array.dtype).tobytes()
        return change

    # change, flag without the option, cases with --require-phase portal
    table = [
        ("portal", put(), False, 1),
        ("silent", put(**silent), False, 1),
        ("delayed", put(SeriesDescription="DELAYED ABD"), True, 0),
        ("silent_native", native(**silent), True, 0),
        ("portal_native", native(), True, 0),
    ]
    for name, change, unsure, cases in table:
        changed(source, work / name, change)
        flags = ingest(work, work / name)["flags"]
        support.check(("PHASE_UNSURE" in flags) == unsure, f"{name}: flags {flags}")
        summary = ingest(work, work / name, "--require-phase", "portal", expect=0 if cases else 4)
        support.check(summary["cases"] == cases, f"{name}: {summary}")
        support.check(cases or summary["quarantine_codes"] == {"PHASE_NOT_PORTAL": 1}, f"{name}: {summary}")


def permission(work):
    source = next((work / "cohort" / "export" / "sub-0000").iterdir())
    export = work / "closed"
    shutil.copytree(source, export)
    (export / "broken").symlink_to(work / "nowhere")
    codes = [f["code"] for f in scan(export, expect=3)["files"]]
    support.check(codes == ["DANGLING_LINK"], f"a broken link: {codes}")
    if os.geteuid() != 0:
        (export / "closed").write_bytes(b"x")
        (export / "closed").chmod(0)
        codes = [f["code"] for f in scan(export, expect=3)["files"]]
        support.check(codes == ["DANGLING_LINK", "PERMISSION_DENIED"], f"a closed file: {codes}")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 3, "--seed", 4, "--slices", "14-14", "--size", 64)
    series_codes(work, next((work / "cohort" / "export" / "sub-0000").iterdir()))
    case_codes(work)
    phases(work)
    permission(work)
print("every code stands where it should")
