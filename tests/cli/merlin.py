"""docs/MERLIN.md's commands on a phantom tree of Merlin's and MerlinPlus' layout: masks that run against the scans along z,
two scans of one patient, an arterial scan, a scan without a patient, findings that no report mentions."""
import csv
import os
import pathlib
import subprocess
import textwrap

import support

support.require("numpy", "nibabel", "h5py")
import nibabel
import numpy as np

# study, patient, phase, hepatic_steatosis, ascites, sex; None: MerlinPlus does not list it
STUDIES = [
    ("AC421363e", "Merlin_3375", "portal_venous", 1, -1, "Female"),
    ("AC421363f", "Merlin_3375", "portal_venous", 0, 0, "Female"),
    ("AC4213640", "Merlin_77", "portal_venous", -1, 1, "Male"),
    ("AC4213641", "Merlin_8", "arterial", 1, 1, "Male"),
    ("AC4213642", None, None, 0, 0, None),
    ("AC4213643", "Merlin_9", "portal_venous", 1, 0, "Other"),
]
FINDINGS = ["hepatic_steatosis", "hepatomegaly", "splenomegaly", "ascites", "metastatic_disease"]


def make_tree(cohort, root):
    merlin = root / "merlinabdominalctdataset"
    (merlin / "merlin_data").mkdir(parents=True)
    for i, (study, *_) in enumerate(STUDIES):
        (cohort / "export" / f"subject-{i:04d}.nii.gz").rename(merlin / "merlin_data" / f"{study}.nii.gz")
        mask = nibabel.load(cohort / "truth" / f"subject-{i:04d}.nii.gz")
        flipped = np.asanyarray(mask.dataobj)[:, :, ::-1]
        affine = mask.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (flipped.shape[2] - 1)
        affine[:3, 2] *= -1
        folder = root / "MerlinPlus" / study / "segmentations"
        folder.mkdir(parents=True)
        for organ, voxels in (("liver", flipped > 0), ("spleen", flipped == 0)):
            nibabel.save(nibabel.Nifti1Image(voxels.astype(np.uint8), affine), folder / f"{organ}.nii.gz")
    with open(merlin / "zero_shot_findings_disease_cls.csv", "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["study id", *FINDINGS])
        for study, _, _, steatosis, ascites, _ in STUDIES:
            table.writerow([study, steatosis, 0, -1, ascites, 0])
        table.writerow(["AC42136ff", 0, 0, 0, 0, 0])  # no such scan
    with open(root / "merlin_longitudinal_metadata.csv", "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["Encrypted Accession Number", "Patient ID", "Exam Completed Date", "spacing", "Age", "Gender", "Race",
                        "contrast", "manufacturer", "manufacturermodelname", "kvp", "xraytubecurrent", "phase"])
        for study, patient, phase, _, _, sex in STUDIES:
            if patient:
                table.writerow([study, patient, "2012-01-01", "0.65,0.65,1", "66.703", sex, "Other", "True", "SIEMENS",
                                "SOMATOM Definition", "100.0", "543.0", phase])


def blocks():
    """The shell blocks of the document, in order."""
    lines, inside = [], False
    for line in (support.SOURCE / "docs/MERLIN.md").read_text().splitlines():
        if line.strip().startswith("```"):
            if inside:
                yield textwrap.dedent("\n".join(lines)) + "\n"
            lines, inside = [], not inside
        elif inside:
            lines.append(line)


def run(block, root):
    path = f"{support.BINARIES}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euc", block], cwd=support.SOURCE, capture_output=True, text=True, timeout=600,
                          env={**os.environ, "D": str(root), "PATH": path, "WSP_SITE_KEY": ""})
    support.check(done.returncode == 0, f"{block}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main():
    with support.temporary() as temporary:
        root = pathlib.Path(temporary)
        cohort = root / "cohort"
        support.run("wsp-phantom", "--out", cohort, "--subjects", len(STUDIES), "--seed", 21, "--slices", "24-30", "--size", 96, "--format", "nifti")
        support.run("wsp-ingest", cohort / "export", "--masks", cohort / "truth", "--ids", "keep", "--out", root / "truth")
        make_tree(cohort, root)
        _, join, ingest, train = blocks()
        told = run(join, root)
        support.check("4 portal-venous scans of 3 patients; 2 rows without a scan or a patient" in told, told)
        run(ingest, root)

        truth, cases = support.read_cases(root / "truth"), support.read_cases(root / "merlin")
        expected = {study: (i, patient, steatosis, ascites, {"Female": 0, "Male": 1}.get(sex, -1))
                    for i, (study, patient, phase, steatosis, ascites, sex) in enumerate(STUDIES) if phase == "portal_venous"}
        support.check(set(cases) == set(expected), f"cases {sorted(cases)}")
        subject = {}
        for study, (i, patient, steatosis, ascites, sex) in expected.items():
            case, twin = cases[study], truth[f"subject-{i:04d}"]
            for what in ("image", "mask"):
                support.check(np.array_equal(case[what], twin[what]), f"{study}: its {what} is not the phantom's")
            for column, value in (("label", steatosis), ("ascites", ascites), ("sex", sex), ("splenomegaly", -1)):
                support.check(set(case[column]) == {value}, f"{study}: {column} {set(case[column])}, expected {value}")
            subject.setdefault(patient, set()).update(case["subject"])
        support.check([len(numbers) for numbers in subject.values()] == [1, 1, 1] and len(set.union(*subject.values())) == 3,
                      f"patients and subjects: {subject}")
        if (support.BINARIES / "wsp-train").exists():
            run(train.strip() + " --max-steps 2 --batch 4 --image-size 160 --device cpu", root)
    print("Merlin's layout: 4 of 6 scans, 3 patients, labels and masks as they were given")


main()
