"""Random exports of phantoms with the dirt of hospitals, and their truth, for shuffled.py: blanked and reused IDs, passes woven into
one series, values on other scales, masks and label rows whose names fit several patients or studies."""
import collections
import copy
import json
import pathlib
import random

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

import support

SIZE, POOL = 64, 14
PHASES = {"arterial": 30, "portal": 60, "delayed": 45}
KINDS_OF_PASS = ["AcquisitionNumber", "SeriesNumber", "ImageType", "ContrastBolusAgent", "AcquisitionTime", "ConvolutionKernel",
                 "KVP", "SeriesDescription", "nothing"]


class Volume:
    """One acquisition: HU and liver [z, y, x] (feet to head, to posterior, to left), and whose it is."""

    def __init__(self, hu, mask, origin, spacing):
        self.hu, self.mask, self.origin, self.spacing = hu, mask, origin, spacing


def read_pool(work, seed):
    """Phantoms as pydicom and nibabel read them."""
    support.run("wsp-phantom", "--out", work / "pool", "--subjects", POOL, "--seed", seed, "--slices", "12-18", "--size", SIZE)
    pool = []
    for folder in sorted((work / "pool" / "export").iterdir()):
        slices = sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda d: float(d.ImagePositionPatient[2]))
        z = [float(d.ImagePositionPatient[2]) for d in slices]
        hu = np.stack([d.pixel_array.astype(np.int32) * int(d.RescaleSlope) + int(d.RescaleIntercept) for d in slices]).astype(np.int16)
        image = nibabel.as_closest_canonical(nibabel.load(work / "pool" / "truth" / f"{slices[0].SeriesInstanceUID}.nii.gz"))
        mask = np.asarray(image.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1].astype(np.uint8)
        spacing = (float(slices[0].PixelSpacing[1]), float(slices[0].PixelSpacing[0]), round(z[1] - z[0], 4))
        pool.append((Volume(hu, mask, [float(v) for v in slices[0].ImagePositionPatient], spacing), slices[0]))
    return pool


class Export:
    """A random export, its masks and label table, and the truth of each."""

    def __init__(self, seed, pool, root):
        self.r, self.root = random.Random(seed), root
        self.export, self.masks = root / "export", root / "masks"
        self.export.mkdir(parents=True)
        self.masks.mkdir()
        self.pool = self.r.sample(pool, len(pool))
        self.volumes, self.dirt, self.rows, self.sound = [], [], [], []
        self.uid = f"1.2.826.0.1.3680043.10.77.{seed + 1}"
        self.layout = self.r.choice(["tree", "tree", "flat", "numbered"])
        self.format = self.r.choice(["dicom", "dicom", "dicom", "nifti"])
        self.key = self.r.choice(["patient_id", "patient_id", "accession", "path"]) if self.format == "dicom" else self.r.choice(["patient_id", "path"])
        self.count = 0
        self.persons = self.draw_persons()
        for person in self.persons:
            self.write_person(person)
        self.sound = [v for v in self.sound if not v.person.get("also")]
        self.write_labels()

    def note(self, *words):
        self.dirt.append(" ".join(map(str, words)))

    def draw_persons(self):
        r = self.r
        persons = []
        for n in range(r.randint(2, 4)):
            persons.append(dict(n=n, id=r.choice(["471", "00471", f"P{n}", f"{n + 1}", f"{n + 1}0", f"PAT-{n}", f"{1000 + n}"]), sex=r.choice("FM"),
                                birth=f"19{r.randint(20, 90)}0{r.randint(1, 9)}11", label=r.randint(0, 4), issuer=r.choice(["", "", "A"])))
        ids = collections.Counter(p["id"] for p in persons)
        for p in persons:
            if ids[p["id"]] > 1:
                p["reused"] = True
            if self.r.random() < 0.25:
                p["id"] = r.choice(["", "ANON", "000000", "Anonymous", " "])
                self.note("person", p["n"], "has the ID", repr(p["id"]))
        return persons

    def take_body(self, phase, person, study):
        """A phantom of its own for every study; its phases differ in contrast, noise and place."""
        body, header = self.pool[study["body"]]
        v = Volume(body.hu.copy(), body.mask.copy(), list(body.origin), body.spacing)
        noise = np.random.default_rng(self.r.randrange(1 << 30)).integers(-4, 5, v.hu.shape)
        v.hu = (v.hu + noise).astype(np.int16)
        if phase != "portal":
            enhanced = v.hu > 60
            v.hu[enhanced] -= PHASES["portal"] - PHASES[phase]
            shift = 1 if phase == "arterial" else -1
            v.hu, v.mask = np.roll(v.hu, shift, 2), np.roll(v.mask, shift, 2)
        v.phase, v.person, v.study, v.header = phase, person, study, header
        v.index = len(self.volumes)
        self.volumes.append(v)
        return v

    # -- writing ----------------------------------------------------------------------------------------------------------
    def place(self, volume, k):
        person, study = volume.person, volume.study
        self.count += 1
        if self.layout == "flat":
            return self.export / f"IM{self.r.randrange(10**9):09d}{self.count}"
        if self.layout == "numbered":
            return self.export / f"{volume.index}" / f"{k + 1}.dcm"
        return self.export / f"person{person['n']}" / f"study{study['n']}" / volume.phase / f"{k:03d}.dcm"

    def dataset(self, v, k, series_uid, changes):
        d = copy.deepcopy(v.header)
        person, study = v.person, v.study
        d.PatientID, d.PatientSex, d.PatientBirthDate = person["id"], person["sex"], person["birth"]
        d.PatientName = f"name{person['n']}"
        if person["issuer"]:
            d.IssuerOfPatientID = person["issuer"]
        d.StudyInstanceUID, d.SeriesInstanceUID = study["uid"], series_uid
        d.AccessionNumber = study["accession"]
        d.FrameOfReferenceUID = study["uid"] + ".9"
        d.SOPInstanceUID = f"{self.uid}.{v.index}.{k + 1}"
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        d.SeriesDescription = f"{v.phase.upper()} ABD"
        d.AcquisitionTime = f"10{2 + 2 * list(PHASES).index(v.phase):02d}{k % 60:02d}"
        for key in ("ContrastBolusStartTime",):
            if key in d:
                delattr(d, key)
        d.SliceThickness = f"{v.spacing[2]:.4f}"
        d.ImagePositionPatient = [v.origin[0], v.origin[1], round(v.origin[2] + k * v.spacing[2], 4)]
        d.InstanceNumber = k + 1
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.RescaleSlope, d.RescaleIntercept = "1", "-1024"
        d.PixelData = (v.hu[k].astype(np.int32) + 1024).astype(np.int16).tobytes()
        for key, value in changes.items():
            setattr(d, key, value)
        return d

    def write_dicom(self, v, series_uid, changes=None, each=None):
        v.series_uid = series_uid
        for k in range(len(v.hu)):
            d = self.dataset(v, k, series_uid, changes or {})
            if each is not None:
                each(d, k)
            path = self.place(v, k)
            path.parent.mkdir(parents=True, exist_ok=True)
            d.save_as(path)

    def write_nifti(self, v, path, values=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = (v.hu if values is None else values).transpose(2, 1, 0)[::-1, ::-1]
        self.save(path, data, v)

    @staticmethod
    def save(path, data, v):
        nx, ny = data.shape[:2]
        affine = np.diag([*v.spacing, 1.0])
        affine[:3, 3] = [-(v.origin[0] + (nx - 1) * v.spacing[0]), -(v.origin[1] + (ny - 1) * v.spacing[1]), v.origin[2]]
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(np.ascontiguousarray(data), affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)

    def write_mask(self, v, name):
        path = self.masks / name
        if path.exists():  # another volume's mask has this name already: that one stays
            return
        self.save(path, v.mask.transpose(2, 1, 0)[::-1, ::-1], v)

    def write_seg(self, v, series_uid):
        frames = [k for k in range(len(v.mask)) if v.mask[k].any()]
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
        meta.MediaStorageSOPInstanceUID = f"{self.uid}.{v.index}.0"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID, d.Modality = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, "SEG"
        d.PatientID, d.PatientSex, d.PatientBirthDate = v.person["id"], v.person["sex"], v.person["birth"]
        if v.person["issuer"]:
            d.IssuerOfPatientID = v.person["issuer"]
        d.StudyInstanceUID, d.SeriesInstanceUID = v.study["uid"], f"{self.uid}.{v.index}.8"
        d.FrameOfReferenceUID = v.study["uid"] + ".9"
        d.SegmentationType, d.Rows, d.Columns, d.NumberOfFrames = "BINARY", SIZE, SIZE, len(frames)
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated = d.BitsStored = 1
        d.HighBit = d.PixelRepresentation = 0
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "10200004", "SCT", "Liver"
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel, segment.SegmentedPropertyTypeCodeSequence = 1, "Liver", Sequence([code])
        d.SegmentSequence = Sequence([segment])
        measures, orientation, shared = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = [v.spacing[1], v.spacing[0]], f"{v.spacing[2]:.4f}"
        measures.SpacingBetweenSlices = f"{v.spacing[2]:.4f}"
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
        d.SharedFunctionalGroupsSequence = Sequence([shared])
        groups, instances = [], []
        for k in frames:
            position, number, source, derivation, group = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [v.origin[0], v.origin[1], round(v.origin[2] + k * v.spacing[2], 4)]
            number.ReferencedSegmentNumber = 1
            source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{self.uid}.{v.index}.{k + 1}"
            derivation.SourceImageSequence = Sequence([source])
            group.PlanePositionSequence, group.SegmentIdentificationSequence = Sequence([position]), Sequence([number])
            group.DerivationImageSequence = Sequence([derivation])
            groups.append(group)
            instance = Dataset()
            instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID
            instances.append(instance)
        d.PerFrameFunctionalGroupsSequence = Sequence(groups)
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedInstanceSequence = series_uid, Sequence(instances)
        d.ReferencedSeriesSequence = Sequence([series])
        bits = np.packbits(np.concatenate([v.mask[k].ravel() for k in frames]), bitorder="little").tobytes()
        d.PixelData = bits + b"\0" * (len(bits) % 2)
        d["PixelData"].VR = "OB"
        d.is_little_endian, d.is_implicit_VR = True, False
        path = self.export / f"seg{v.index}.dcm"
        d.save_as(path, write_like_original=False)

    # -- what happens in hospitals ----------------------------------------------------------------------------------------
    def write_person(self, person):
        for n in range(self.r.choice([1, 1, 1, 2])):
            if not self.pool[len(self.volumes_by_study()):]:
                return
            study = dict(n=n, uid=f"{self.uid}.{10 * person['n'] + n + 1}00", accession=f"AC{person['n']}{n}", body=len(self.volumes_by_study()), label=person["label"])
            phases = ["portal"] if self.r.random() < 0.5 else self.r.sample(list(PHASES), self.r.choice([2, 3]))
            study["volumes"] = [self.take_body(p, person, study) for p in phases]
            person.setdefault("studies", []).append(study)
            (self.write_nifti_study if self.format == "nifti" else self.write_dicom_study)(study)

    def volumes_by_study(self):
        return {v.study["body"] for v in self.volumes}

    def write_nifti_study(self, study):
        r = self.r
        person = study["volumes"][0].person
        site = r.choice(["siteA", "siteB"])
        for v in study["volumes"]:
            stem = r.choice([f"{person['n']}_{study['n']}_{v.phase}", f"{v.index:03d}", "001", f"{v.index}", f"case.{v.index}"])
            v.stem = f"{site}/{stem}"
            if (self.export / f"{v.stem}.nii.gz").exists():
                v.stem += f"-{v.index}"
            value = r.choice(["hu"] * 7 + ["unit", "grey", "stored", "thousandth"])
            values = {"hu": None, "unit": np.clip((v.hu + 1000.0) / 2000, 0, 1), "grey": np.clip((v.hu + 160) * 255.0 / 400, 0, 255).astype(np.int16),
                      "stored": (v.hu + 1024).astype(np.int16), "thousandth": v.hu / 1000.0}[value]
            if value != "hu":
                self.note("volume", v.index, "has values", value)
            self.write_nifti(v, self.export / f"{v.stem}.nii.gz", values)
            where = r.choice(["path", "stem", "export", "none", "totalsegmentator"])
            self.note("volume", v.index, v.stem, "mask", where)
            if where == "path":
                self.write_mask(v, f"{v.stem}.nii.gz")
            elif where == "stem":
                self.write_mask(v, pathlib.PurePath(v.stem).name + ".nii.gz")
            elif where == "totalsegmentator":
                self.write_mask(v, f"{v.stem}/liver.nii.gz")
            elif where == "export":
                self.save(self.export / f"{v.stem}_seg.nii.gz", v.mask.transpose(2, 1, 0)[::-1, ::-1], v)
            if value == "hu" and where == "path":
                self.sound.append(v)

    def write_dicom_study(self, study):
        r = self.r
        volumes = study["volumes"]
        woven = len(volumes) > 1 and r.random() < 0.5
        if woven:
            self.weave(study)
        for v in volumes:
            if not woven:
                self.write_dicom(v, f"{self.uid}.{v.index}", *self.value_dirt(v))
            where = r.choice(["seg", "seg", "uid", "patient", "patient", "none"])
            self.note("volume", v.index, v.phase, "of person", v.person["n"], "study", study["n"], "mask", where)
            if where == "seg":
                self.write_seg(v, v.series_uid)
            elif where == "uid":
                self.write_mask(v, f"{v.series_uid}.nii.gz")
            elif where == "patient" and v.person["id"].strip():
                self.write_mask(v, f"{v.person['id']}.nii.gz")
                v.person["also"] = True  # a second mask, it may be, of the person's other volumes
            if where in ("seg", "uid") and not woven and not hasattr(v, "dirty") and len(volumes) == 1 and not v.person.get("reused") and v.person["id"].strip():
                self.sound.append(v)

    def weave(self, study):
        """Passes of one study under one series UID, shifted by a part of the slice distance."""
        kind = self.r.choice(KINDS_OF_PASS)
        self.note("study", study["uid"][-2:], "woven, told apart by", kind)
        volumes = study["volumes"]
        uid = f"{self.uid}.{volumes[0].index}"
        step = round(volumes[0].spacing[2] * self.r.choice([0.3, 0.4, 0.5]), 4)
        for n, v in enumerate(volumes):
            v.dirty = True
            v.origin[2] = round(v.origin[2] + n * step, 4)
            values = dict(AcquisitionNumber=n + 1, SeriesNumber=n + 1, ImageType=["ORIGINAL", "PRIMARY", "AXIAL", f"PASS{n}"], KVP=str(80 + 20 * n),
                          ContrastBolusAgent="" if n == 0 else f"AGENT{n}", AcquisitionTime=f"1{n}0000", ConvolutionKernel=["B30f", "B70f", "B20f"][n],
                          SeriesDescription=f"{v.phase.upper()} ABD")
            common = dict(AcquisitionNumber=1, SeriesNumber=1, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], KVP="120", ContrastBolusAgent="IOHEXOL",
                          AcquisitionTime="100000", ConvolutionKernel="B30f", SeriesDescription="PORTAL ABD")
            if kind in common:
                common[kind] = values[kind]
            self.write_dicom(v, uid, common)

    def value_dirt(self, v):
        kind = self.r.choice(["none"] * 8 + ["missing", "some missing", "type", "comma", "un"])
        if kind == "none":
            return {}, None
        self.note("volume", v.index, "rescale", kind)
        v.dirty = True
        if kind == "missing":
            def each(d, k):
                del d.RescaleIntercept, d.RescaleSlope
        elif kind == "some missing":
            def each(d, k):
                if k % 3 == 0:
                    del d.RescaleIntercept, d.RescaleSlope
        elif kind == "type":
            def each(d, k):
                d.RescaleType = "Z_EFF"
        elif kind == "comma":
            def each(d, k):
                d.add_new("RescaleSlope", "LO", "1,5")
                d.add_new("RescaleSlope", "DS", None)
                d["RescaleSlope"] = pydicom.DataElement(0x00281053, "LO", "1,5")
        else:
            def each(d, k):
                d["RescaleIntercept"] = pydicom.DataElement(0x00281052, "UN", b"-1024 ")
        return {}, each

    def write_labels(self):
        """Rows keyed as the manifest says; some lost their zeros, some stand twice, some are of nobody here."""
        r = self.r
        rows = []
        for v in self.volumes:
            if self.format == "nifti":
                key = pathlib.PurePath(v.stem).name if r.random() < 0.6 else v.stem
            else:
                key = {"patient_id": v.person["id"], "accession": v.study["accession"], "path": str(v.index)}[self.key]
            rows.append((key, v.person["label"]))
        rows = list(dict.fromkeys(rows))
        if r.random() < 0.3:
            rows = [(k.lstrip("0") or k, label) for k, label in rows]
            self.note("the table lost leading zeros")
        # A row that is lost leaves a case without a label; but not where another's row has come to bear its key.
        keys = [k for k, _ in rows]
        rows = [(k, label) for k, label in rows if k.strip() and (keys.count(k) > 1 or r.random() < 0.9)]
        # Rows of nobody here, whose keys look like those of somebody.
        own = {p["id"] for p in self.persons} | {str(v.index) for v in self.volumes} | {pathlib.PurePath(getattr(v, "stem", "")).name for v in self.volumes}
        strangers = {form for k in keys for form in (k + "0", "0" + k, k.lower() + "x", k[:-1], "siteC/" + k)} - own - set(keys)
        rows += [(k, r.randint(0, 4)) for k in sorted(strangers) if k.strip() and r.random() < 0.2]
        self.rows = rows
        if not rows:
            return
        (self.root / "labels.csv").write_text("subject,label\n" + "".join(f"{k},{v}\n" for k, v in rows))
        manifest = {"name": "m", "version": 1, "key": self.key, "key_column": "subject", "labels": [{"name": "label", "column": "label"}]}
        if self.key == "path":
            manifest["path_pattern"] = r"([^/]+)/[^/]+$" if self.format == "dicom" else r"([^/]+?)(?:\.nii)?(?:\.gz)?$"
        (self.root / "manifest.json").write_text(json.dumps(manifest))
