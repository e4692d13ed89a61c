"""The model's mask as a DICOM SEG object, BINARY and LABELMAP: what dciodvfy, pydicom and highdicom say of it, and its way back
through the ingest, as it was and corrected."""
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import support

support.require("numpy", "pydicom", "h5py")
import numpy as np
import pydicom

CT = support.data_dir() / "liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom"
CLASSES = {"BINARY": "1.2.840.10008.5.1.4.1.1.66.4", "LABELMAP": "1.2.840.10008.5.1.4.1.1.66.7"}
BUILTIN = {**os.environ, "WSP_LIVER_MODEL": "builtin"}


def ingest(export, out, *more, env=None, expect=0):
    return support.run("wsp-ingest", export, "--out", out, "--ids", "keep", "--mask-cache", "none", *more, env=env, expect=expect)


def case_of(dataset):
    (path,) = (support.state(dataset) / "cases").glob("*.json")
    return json.loads(path.read_text())


def judge(path, export, kind):
    """What others read of the object."""
    seg = pydicom.dcmread(path)
    frames, source = seg.pixel_array, {}
    for file in export.rglob("*.dcm"):
        head = pydicom.dcmread(file, stop_before_pixels=True)
        source[head.SOPInstanceUID] = head
    head = next(iter(source.values()))
    for word in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        support.check(seg.get(word) == head.get(word), f"{word}: {seg.get(word)}")
    bits = 1 if kind == "BINARY" else 8
    support.check((seg.BitsAllocated, seg.BitsStored, seg.HighBit) == (bits, bits, bits - 1), f"bits {seg.BitsAllocated}, {seg.BitsStored}, {seg.HighBit}")
    support.check(seg.SegmentationType == kind and seg.SOPClassUID == seg.file_meta.MediaStorageSOPClassUID == CLASSES[kind], seg.SOPClassUID)
    support.check(set(np.unique(frames)) == {0, seg.SegmentSequence[0].SegmentNumber}, "labels")
    support.check(seg.SegmentSequence[0].SegmentAlgorithmName.startswith("wsp-liver"), seg.SegmentSequence[0])
    (series,) = seg.ReferencedSeriesSequence
    support.check({i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == set(source), "referenced instances")
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence):
        named = source[groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        support.check(np.allclose(place, named.ImagePositionPatient, atol=1e-3) and frame.any(), f"{place} for {named.ImagePositionPatient}")
    # Each index names an attribute that its frame has, in a functional group of its own or a shared one.
    for place, groups in enumerate(seg.PerFrameFunctionalGroupsSequence, 1):
        support.check(("SegmentIdentificationSequence" in groups or "SegmentIdentificationSequence" in seg.SharedFunctionalGroupsSequence[0]) == (kind == "BINARY"), "segment identification")
        values = np.atleast_1d(groups.FrameContentSequence[0].DimensionIndexValues)
        support.check(len(values) == len(seg.DimensionIndexSequence) == (2 if kind == "BINARY" else 1) and values[-1] == place, f"dimensions {values}")
    # dicom3tools of Debian is older than LABELMAP.
    if kind == "BINARY" and (validator := shutil.which("dciodvfy")):
        told = subprocess.run([validator, "-new", path], capture_output=True, text=True)
        support.check("Error" not in told.stderr and "Segmentation" in told.stderr, told.stderr)
    elif kind == "BINARY":
        print("*** dciodvfy (dicom3tools) is not installed: the object's structure was not checked by it ***", file=sys.stderr)
    try:
        import highdicom
    except ImportError:
        print("*** highdicom is not installed: the object was not read by it ***", file=sys.stderr)
    else:
        volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
        support.check(int(np.asarray(volume.array).astype(bool).sum()) == int(frames.sum()), "highdicom reads another number of voxels")
    return frames


def main():
    with support.temporary() as temporary:
        root = pathlib.Path(temporary)
        export = root / "export/a"
        export.mkdir(parents=True)
        for k, file in enumerate(sorted(p for p in CT.rglob("*") if p.is_file())):
            shutil.copy(file, export / f"{k}.dcm")
        told = ingest(root / "export", root / "model", "--write-seg", root / "segs", env=BUILTIN)
        support.check("1 masks of the model written as DICOM SEG objects" in told.stdout, told.stdout)
        (path,) = (root / "segs").iterdir()
        frames, first = judge(path, export, "BINARY"), path.read_bytes()
        ml = case_of(root / "model")["mask"]["liver_ml"]

        # Run again: nothing is written; where it is gone it comes again, and the dataset stays as it is.
        before, when = support.tree(root / "model"), path.stat().st_mtime_ns
        ingest(root / "export", root / "model", "--write-seg", root / "segs", env=BUILTIN)
        support.check(path.stat().st_mtime_ns == when, "it was written again")
        path.unlink()
        ingest(root / "export", root / "model", "--write-seg", root / "segs", env=BUILTIN)
        again, earlier = pydicom.dcmread(path), pydicom.dcmread(io.BytesIO(first))
        support.check(again.SOPInstanceUID == earlier.SOPInstanceUID and again.PixelData == earlier.PixelData, "another object")
        support.check(support.tree(root / "model") == before, "the dataset changed")

        # An object that is there may be somebody's work: it stays, and that is said.
        path.write_bytes(first)
        made = ingest(root / "export", root / "other", "--write-seg", root / "segs", env=BUILTIN)
        support.check("is there already and is left as it is" in made.stderr and path.read_bytes() == first, made.stderr)

        # Back as it was: every mask the same, without a model.
        shutil.copy(path, root / "export/mask.dcm")
        ingest(root / "export", root / "back", "--liver-model", "none")
        model, back = support.read_cases(root / "model"), support.read_cases(root / "back")
        for name in model:
            support.check(np.array_equal(model[name]["mask"], back[name]["mask"]) and np.array_equal(model[name]["image"], back[name]["image"]), "another mask")
        support.check(case_of(root / "back")["mask"]["liver_ml"] == ml, "another volume")

        # The same as a label map: the same voxels to others and to the ingest.
        ingest(export, root / "binary", "--write-seg", root / "maps", "--seg-type", "labelmap", env=BUILTIN)
        (label_map,) = (root / "maps").iterdir()
        support.check(np.array_equal(judge(label_map, export, "LABELMAP"), frames), "the label map is another mask")
        support.check(pydicom.dcmread(label_map).SOPInstanceUID != earlier.SOPInstanceUID, "two objects of one UID")
        shutil.copy(label_map, root / "export/mask.dcm")
        ingest(root / "export", root / "mapped", "--liver-model", "none")
        mapped = support.read_cases(root / "mapped")
        support.check(mapped.keys() == back.keys() and all(np.array_equal(mapped[n]["mask"], back[n]["mask"]) for n in back), "another mask by the label map")
        told = ingest(root / "export", root / "asked", "--seg-type", "labelmap", expect=2)
        support.check("--write-seg" in told.stderr, told.stderr)

        # Corrected by somebody: the dataset that the model made takes it.
        seg = pydicom.dcmread(path)
        drawn = frames.copy()
        drawn[:, :, : drawn.shape[2] // 3] = 0
        seg.PixelData = np.packbits(drawn.astype(np.uint8).ravel(), bitorder="little").tobytes()
        seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        seg.save_as(root / "export/mask.dcm")
        ingest(root / "export", root / "model", "--write-seg", root / "segs", env=BUILTIN)
        case = case_of(root / "model")
        support.check(case["mask"]["source"] != "segmenter" and "MASK_FROM_BUILTIN_MODEL" not in case["flags"], case["mask"])
        share = case["mask"]["liver_ml"] / ml
        support.check(abs(share - drawn.sum() / frames.sum()) < 1e-3, f"{share} of the volume, drawn {drawn.sum() / frames.sum()}")

        # Names of patients do not belong into the dataset.
        inside = ingest(root / "export", root / "inside", "--write-seg", root / "inside/segs", env=BUILTIN, expect=2)
        support.check("lies in the dataset" in inside.stderr, inside.stderr)
    print("a SEG of the model: there, back and corrected")


main()
