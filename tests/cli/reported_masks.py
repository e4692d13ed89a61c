"""Masks on other planes than the CT, and whose masks they are: the inputs made after public reports, by whole commands."""
import csv
import json
import pathlib
import shutil

import support

support.require("pydicom", "numpy", "h5py")
import numpy as np
import pydicom

TABLE = {  # folder -> code, or (ml, flags, source)
    "00-control": (619.25, [], "seg"),
    "30b-control-tall": (1335.24, [], "seg"),
    "30c-striped-tall": (1335.24, ["MASK_RESAMPLED"], "seg"),
    "14b-seg-thin": (617.75, ["MASK_RESAMPLED"], "seg"),
    "12-rtstruct-un-64k": (619.25, [], "rtstruct"),
    "14i-seg-no-references": (619.25, [], "seg"),
    "13i-names-nonliver": "NO_LIVER_SEGMENT",
    "13g-names-prv": "NO_LIVER_SEGMENT",
}


def ingest(export, out, *options, expect=None):
    return support.run("wsp-ingest", export, "--out", out, "--ids", "keep", "--window", "-32768", "32767", "--slices", "all",
                       "--size", "64", "--codec", "gzip", *options, expect=expect)


def case_of(out):
    (path,) = (support.state(out) / "cases").glob("*.json")
    return json.loads(path.read_text())


def refused(out):
    with open(support.state(out) / "quarantine.tsv") as f:
        return [(r["code"], r["detail"]) for r in csv.DictReader(f, delimiter="\t")]


def expect_case(name, out, ml, flags, source):
    case = case_of(out)
    support.check(abs(case["mask"]["liver_ml"] - ml) < 0.01, f"{name}: {case['mask']['liver_ml']} ml, expected {ml}")
    support.check(case["flags"] == flags, f"{name}: {case['flags']}, expected {flags}")
    support.check(case["mask"]["source"] == source, f"{name}: from {case['mask']['source']}")


def areas(out):
    return np.array(case_of(out)["profile"]["liver_mm2"])


def edited(folder, work, name, edit):
    """A copy of an export whose SEG or RTSTRUCT was changed by `edit`."""
    copy = work / name
    shutil.copytree(folder, copy)
    for path in copy.rglob("*.dcm"):
        d = pydicom.dcmread(path)
        if d.Modality in ("SEG", "RTSTRUCT"):
            edit(d)
            d.save_as(path)
    return copy


def rows(data, work):
    for name, expected in TABLE.items():
        out = work / name
        if isinstance(expected, str):
            ingest(data / name / "in", out, expect=4)
            support.check([code for code, _ in refused(out)] == [expected], f"{name}: {refused(out)}")
            support.check("--liver-roi" in refused(out)[0][1], f"{name}: {refused(out)}")
        else:
            ingest(data / name / "in", out)
            expect_case(name, out, *expected)


def every_second(data, work):
    """Row 13: every second plane of an ellipsoid of which the thin SEG of row 14b holds every one."""
    name = "13-rtstruct-every-second"
    ingest(data / name / "in", work / name)
    case = case_of(work / name)
    support.check(case["flags"] == ["MASK_INTERPOLATED"], f"{name}: {case['flags']}")
    thin = pydicom.dcmread(data / "14b-seg-thin" / "in" / "seg.dcm")
    truth = np.zeros((40, 64, 64), bool)
    for pixels, group in zip(thin.pixel_array, thin.PerFrameFunctionalGroupsSequence):
        truth[round(float(group.PlanePositionSequence[0].ImagePositionPatient[2]) / 2.5)] = pixels > 0
    (found,) = support.read_cases(work / name).values()
    mask = np.asarray(found["mask"]) > 0
    support.check(mask.shape == truth.shape, f"{name}: {mask.shape}")
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    support.check(dice > 0.98, f"{name}: Dice {dice}")
    support.check((mask[2:37:2] == truth[2:37:2]).all(), f"{name}: what was drawn changed")
    support.check(abs(case["mask"]["liver_ml"] / 617.75 - 1) < 0.02, f"{name}: {case['mask']['liver_ml']} ml")


def gaps(data, work):
    """A contour or a frame is gone from the middle: nothing is invented, and it is said."""

    def without_contours(d):
        sequence = d.ROIContourSequence[0].ContourSequence
        del sequence[7:9]

    out = work / "gap-rt"
    ingest(edited(data / "13-rtstruct-every-second" / "in", work, "gap-rt-in", without_contours), out)
    case = case_of(out)
    support.check(case["flags"] == ["LIVER_FRAGMENTED", "MASK_GAPS", "MASK_INTERPOLATED"], f"gap-rt: {case['flags']}")
    support.check((areas(out)[15:19] == 0).all(), f"gap-rt: {areas(out)}")

    def thin_stripes(d):  # the grid's own distance is the CT's: its absent frames are empty
        measures = d.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = measures.SliceThickness = "2.5"

    out = work / "stripes"
    ingest(edited(data / "30c-striped-tall" / "in", work, "stripes-in", thin_stripes), out)
    expect_case("stripes", out, 667.62, ["MASK_GAPS"], "seg")


def names(data, work):
    """The user names the liver."""
    ingest(data / "13i-names-nonliver" / "in", work / "leber", "--liver-roi", "LEBER")
    expect_case("leber", work / "leber", 619.25, [], "rtstruct")
    ingest(data / "13g-names-prv" / "in", work / "zliver", "--liver-roi", "zliver")
    expect_case("zliver", work / "zliver", 619.25, [], "rtstruct")


def whose(data, work):
    """A mask object of another patient, and one that fits two series."""

    def other(d):
        d.PatientID = "P0002"

    out = work / "other"
    ingest(edited(data / "00-control" / "in", work, "other-in", other), out, expect=4)
    support.check([code for code, _ in refused(out)] == ["MASK_BAD_REFERENCE"], f"other: {refused(out)}")
    out = work / "other-unreferenced"
    ingest(edited(data / "14i-seg-no-references" / "in", work, "other-unreferenced-in", other), out, expect=4)
    support.check([code for code, _ in refused(out)] == ["NO_LIVER_MASK"], f"other-unreferenced: {refused(out)}")

    two = work / "two-in"
    shutil.copytree(data / "14i-seg-no-references" / "in", two)
    for path in sorted((two / "ct").glob("*.dcm")):  # a second phase on the same grid
        d = pydicom.dcmread(path)
        d.SeriesInstanceUID += ".7"
        d.SOPInstanceUID += ".7"
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        d.SeriesDescription = "ARTERIAL"
        d.save_as(path.with_name("b" + path.name))
    out = work / "two"
    ingest(two, out, expect=4)
    with open(support.state(out) / "ledger.tsv") as f:
        codes = {line.rstrip("\n").split("\t")[1] for line in f}
    support.check("MASK_AMBIGUOUS" in codes, f"two: {codes}")
    scan = json.loads(support.run("wsp-ingest", "scan", two, "--json").stdout)
    support.check(scan["codes"].get("MASK_AMBIGUOUS") == 1, f"two: {scan['codes']}")


with support.temporary() as folder:
    data, work = support.data_dir() / "reported", pathlib.Path(folder)
    if not data.exists():
        support.skip("the reported inputs are absent")
    for check in (rows, every_second, gaps, names, whose):
        check(data, work)
