"""A hospital-like phantom export read by pydicom: every oddity of six patients, a DICOMDIR that names each file, masks that
equal the truth, and a phi.txt that leaves no identifying element out."""
import collections
import hashlib
import json
import pathlib
import warnings

import support

support.require("numpy", "pydicom")
import numpy as np
import pydicom

warnings.simplefilter("ignore")  # the truncated file
SUBJECTS, SIZE = 6, 128
TEXT = {"PN", "LO", "SH", "LT", "ST", "UT", "AE", "DA", "DT", "UC"}
# What says nothing about a person: words of the scanner and of the standard.
TECHNICAL = {
    "Manufacturer", "ConvolutionKernel", "RescaleType", "CodeValue", "CodingSchemeDesignator", "CodeMeaning", "SegmentLabel",
    "ROIName", "StructureSetLabel", "ContentLabel", "PrivateCreator",
    "ImplementationVersionName",
}


def make(out, seed, *extra):
    support.run("wsp-phantom", "--out", out, "--subjects", SUBJECTS, "--seed", seed, "--slices", "12-16", "--size", SIZE, "--hospital", *extra)
    return out


def digest(root):
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def read_all(export):
    """Relative path -> data set, and the files that are none."""
    found, others = {}, []
    for path in sorted(export.rglob("*")):
        if not path.is_file():
            continue
        try:
            data = pydicom.dcmread(path)
            # pydicom 3 reads what is truncated as far as it goes.
            if path.name != "DICOMDIR" and "StudyInstanceUID" not in data:
                raise ValueError("truncated")
            found[str(path.relative_to(export))] = data
        except Exception:  # not DICOM, or truncated
            others.append(path.name)
    return found, others


def elements(dataset):
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)
        else:
            yield element


def check_phi(found, needles):
    """Every text, date, UID and opaque element holds a string of phi.txt, unless it is technical."""
    lower = [n.lower() for n in needles]
    uids = set(needles)
    free, missing = collections.Counter(), []
    for path, dataset in found.items():
        if dataset.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10":
            continue
        for element in [*elements(dataset), *elements(dataset.file_meta)]:
            keyword = element.keyword or f"private {element.tag}"
            values = element.value if element.VM > 1 else [element.value]
            if element.VR == "UI":
                # An instance that no file has is listed by the study that it begins with.
                missing += [(path, keyword, v) for v in values
                            if str(v).startswith("1.2.826.0.1.3680043.10.1234") and not any(str(v).startswith(u) for u in uids)]
                continue
            if element.VR not in TEXT | {"OB", "UN"} or keyword in TECHNICAL or keyword in ("PixelData", "FileMetaInformationVersion"):
                continue
            if element.tag.is_private_creator:
                continue
            for value in values:
                text = (value.decode("latin-1") if isinstance(value, bytes) else str(value)).lower()
                if text and not any(n in text for n in lower):
                    missing.append((path, keyword, text))
                free[keyword] += 1
    support.check(not missing, f"identifying elements without a string of phi.txt: {missing[:5]}")
    return free


def check_dicomdir(export, found):
    directory = found.pop("DICOMDIR")
    support.check(directory.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10", "DICOMDIR's class")
    kinds = collections.Counter(r.DirectoryRecordType for r in directory.DirectoryRecordSequence)
    listed = {}
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            listed["/".join(record.ReferencedFileID)] = record
    loose = {p for p in found if "/COPY/" in p}
    support.check(set(listed) == set(found) - loose, f"the DICOMDIR lists {len(listed)} of {len(found)} files")
    for path, record in listed.items():
        support.check(record.ReferencedSOPInstanceUIDInFile == found[path].SOPInstanceUID, f"the DICOMDIR's instance of {path}")
        support.check(record.ReferencedTransferSyntaxUIDInFile == found[path].file_meta.TransferSyntaxUID, f"syntax of {path}")
    support.check(kinds["PATIENT"] == SUBJECTS and kinds["STUDY"] == SUBJECTS, f"records {dict(kinds)}")
    # The offsets form a tree that holds every record once.
    records = {r.seq_item_tell: r for r in directory.DirectoryRecordSequence}
    hanging = []

    def descend(offset, path):
        while offset:
            record = records[offset]
            hanging.append((path + [record.DirectoryRecordType], record.get("ReferencedFileID")))
            descend(record.OffsetOfReferencedLowerLevelDirectoryEntity, path + [record.DirectoryRecordType])
            offset = record.OffsetOfTheNextDirectoryRecord

    descend(directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, [])
    support.check(len(hanging) == len(records), f"{len(hanging)} of {len(records)} records hang in the tree")
    for path, file in hanging:
        support.check(path[:3] == ["PATIENT", "STUDY", "SERIES"][: len(path)] and (file is not None) == (len(path) == 4), f"a record at {path}")
    return kinds


def check_oddities(root, found, others):
    series = collections.defaultdict(list)
    for path, d in found.items():
        series[d.SeriesInstanceUID].append((path, d))
    modalities = {uid: files[0][1].Modality for uid, files in series.items()}
    ct = {uid: [d for p, d in files if "/COPY/" not in p] for uid, files in series.items() if modalities[uid] == "CT"}
    portal = {uid: ds for uid, ds in ct.items() if ds[0].SeriesNumber == 2}
    support.check(len(portal) == SUBJECTS, f"{len(portal)} portal series")

    def classic(ds):
        return [d for d in ds if d.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"]

    seen = collections.Counter()
    for uid, ds in portal.items():
        truth = json.loads((root / "truth" / f"{uid}.json").read_text())
        d = ds[0]
        seen[f"matrix {d.Rows}"] += 1
        support.check(d.Rows == d.Columns == truth["matrix"], "matrix")
        kernel = d.ConvolutionKernel if classic(ds) else d.SharedFunctionalGroupsSequence[0].CTReconstructionSequence[0].ConvolutionKernel
        support.check(kernel == truth["kernel"], f"kernel {kernel}, truth {truth['kernel']}")
        seen["sharp" if kernel == "B70f" else "soft"] += 1
        seen["enhanced"] += not classic(ds)
        seen[d.file_meta.TransferSyntaxUID.name] += 1
        if not classic(ds):
            continue
        seen["feet first"] += d.PatientPosition == "FFS"
        seen["tilt"] += abs(d.ImageOrientationPatient[5]) > 0.1
        z = sorted(float(x.ImagePositionPatient[2]) for x in ds)
        steps = np.diff(z)
        seen["gap"] += steps.max() > 1.8 * steps.min()
    paths = list(found)
    seen["duplicate"] = sum(p.endswith("COPY/IM77777") for p in paths)
    seen["truncated"] = sum("COPY" in p and not p.endswith("IM77777") for p in paths) + others.count("IM88888")
    for word in ("ARTERIAL", "DELAYED", "THICK", "SCOUT"):
        seen[word] = len({d.SeriesInstanceUID for d in found.values() if word in str(d.get("SeriesDescription"))})
    for modality in ("SEG", "RTSTRUCT", "SR", "OT"):
        seen[modality] = sum(m == modality for m in modalities.values())
    seen["charsets"] = len({str(d.get("SpecificCharacterSet")) for d in found.values()})
    wanted = {
        f"matrix {SIZE}": 4, f"matrix {SIZE * 3 // 2}": 1, f"matrix {SIZE * 25 // 32}": 1, "sharp": 1, "soft": 5, "enhanced": 1,
        "feet first": 1, "tilt": 1, "gap": 1, "duplicate": 1, "truncated": 1, "ARTERIAL": 6, "DELAYED": 3, "THICK": 2, "SCOUT": 6,
        "SEG": 2, "RTSTRUCT": 2, "SR": 6, "OT": 6, "charsets": 4,
    }
    wrong = {k: (seen[k], n) for k, n in wanted.items() if seen[k] != n}
    support.check(not wrong, f"oddities (found, expected): {wrong}")
    syntaxes = {d.file_meta.TransferSyntaxUID for ds in portal.values() for d in ds}
    support.check(len(syntaxes) == 6, f"transfer syntaxes {syntaxes}")
    support.check("Thumbs.db" in others and sum(o.startswith("notes ") for o in others) == SUBJECTS, f"other files {others}")
    return series


def check_masks(root, series):
    """SEG frames and RTSTRUCT contours give the liver of truth/, read with pydicom alone."""
    for files in series.values():
        d = files[0][1]
        if d.Modality == "SEG":
            uid = d.ReferencedSeriesSequence[0].SeriesInstanceUID
            shared = d.SharedFunctionalGroupsSequence[0]
            frames = d.pixel_array.reshape(-1, d.Rows, d.Columns)
            pixels = sum(int(f.sum()) for f, g in zip(frames, d.PerFrameFunctionalGroupsSequence)
                         if g.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1)
            area = pixels * float(np.prod(shared.PixelMeasuresSequence[0].PixelSpacing))
            axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        elif d.Modality == "RTSTRUCT":
            frame = d.ReferencedFrameOfReferenceSequence[0]
            uid = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID
            area, axes = 0.0, np.array(series[uid][0][1].get("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), float)
            for contour in d.ROIContourSequence[0].ContourSequence:
                p = np.array(contour.ContourData, float).reshape(-1, 3)
                # Signed: holes run the other way round.
                area += np.cross(p, np.roll(p, -1, 0)).sum(0) @ np.cross(axes[:3], axes[3:]) / 2
        else:
            continue
        truth = json.loads((root / "truth" / f"{uid}.json").read_text())
        # Slices lie thickness_mm apart along the table: less along a leaning normal.
        ml = abs(area) * truth["thickness_mm"] * np.cross(axes[:3], axes[3:])[2] / 1000
        gap = 1 < len(series[uid]) < len(truth["z_mm"])
        slack = 0.16 if gap else 0.02 if truth["tilted"] else 1e-4
        support.check(abs(ml / truth["liver_ml"] - 1) < slack, f"{d.Modality} holds {ml:.1f} ml, truth {truth['liver_ml']:.1f}")


def main(work):
    root = make(work / "cohort", 4)
    export = root / "export"
    found, others = read_all(export)
    kinds = check_dicomdir(export, found)
    needles = [n for n in (root / "phi.txt").read_text().splitlines() if n]
    for needle in needles:
        support.check(len(needle) >= 4, f"phi.txt lists '{needle}', which is too short to search for")
    listed = set(needles)
    for d in found.values():
        for uid in (d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID, d.get("FrameOfReferenceUID", d.StudyInstanceUID)):
            support.check(str(uid) in listed, f"phi.txt lacks the UID {uid}")
    free = check_phi(found, needles)
    series = check_oddities(root, found, others)
    check_masks(root, series)
    print(f"{len(found)} files, {dict(kinds)}; {len(needles)} strings in phi.txt cover {len(free)} kinds of element")

    # The same options give the same bytes, DICOMDIR included; a fixed matrix is an option.
    support.check(digest(root) == digest(make(work / "again", 4, "--threads", 1)), "the same cohort differs in its bytes")
    fixed, _ = read_all(make(work / "fixed", 4, "--matrix", "fixed") / "export")
    support.check({d.Rows for d in fixed.values() if "Rows" in d} == {SIZE}, "--matrix fixed gives several matrices")


with support.temporary() as directory:
    main(pathlib.Path(directory))
