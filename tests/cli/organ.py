"""Another organ than the liver, from ingest to table: the spleens of rich phantoms by their maps of all organs, and one
spleen in a DICOM SEG. Volumes and areas are nibabel's of the same maps."""
import json
import pathlib

import support

support.require("numpy", "nibabel", "h5py")
import nibabel
import numpy as np

SPLEEN, MANIFEST = 5, support.SOURCE / "data-manifests/phantom-spleen.json"


def truth_of(path):
    image = nibabel.load(path)
    voxels = np.asanyarray(image.dataobj) == SPLEEN
    sizes = nibabel.affines.voxel_sizes(image.affine)
    return voxels.sum() * sizes.prod() / 1000, sorted(voxels.sum(axis=(0, 1)) * sizes[0] * sizes[1])


def main():
    with support.temporary() as temporary:
        root = pathlib.Path(temporary)
        support.run("wsp-phantom", "--anatomy", "rich", "--organs", "--out", root / "cohort", "--subjects", 16, "--seed", 6, "--slices", "40-50",
                    "--size", 160, "--balance", "--format", "nifti")
        truth = {}
        for map_of_organs in sorted((root / "cohort/truth").glob("*_organs.nii.gz")):
            name = map_of_organs.name.removesuffix("_organs.nii.gz")
            place = root / "masks" / name / "segmentations"
            place.mkdir(parents=True)
            map_of_organs.rename(place / "spleen.nii.gz")
            (place / "liver.nii.gz").write_bytes((root / "cohort/truth" / f"{name}.nii.gz").read_bytes())
            truth[name] = truth_of(place / "spleen.nii.gz")
        told = support.run("wsp-ingest", root / "cohort/export", "--masks", root / "masks", "--ids", "keep", "--out", root / "spleens", "--manifest", MANIFEST,
                           "--labels", root / "cohort/labels.csv", "--size", 160, "--min-slices", 3, env={**support.os.environ, "WSP_LIVER_MODEL": "builtin"})
        support.check("the manifest's organ is spleen: cases without a mask are left out" in told.stderr, told.stderr)
        dataset = json.loads((root / "spleens/dataset.json").read_text())
        support.check(dataset["config"]["organ"] == {"name": "spleen", "names": [], "codes": ["SCT:78961009", "SRT:T-C3000"], "volume_ml": [40.0, 1500.0]}, dataset["config"])
        support.run("wsp-ingest", "verify", root / "spleens")

        cases = {path.stem: json.loads(path.read_text()) for path in (support.state(root / "spleens") / "cases").glob("*.json")}
        support.check(len(cases) >= 8, f"only {len(cases)} of 16 phantoms show a spleen")
        for name, case in cases.items():
            ml, areas = truth[name]
            support.check(abs(case["mask"]["liver_ml"] - ml) <= 0.01 * ml, f"{name}: {case['mask']['liver_ml']} ml, the map has {ml}")
            support.check(np.allclose(sorted(case["profile"]["liver_mm2"]), areas, rtol=1e-3, atol=1), f"{name}: areas")
            support.check(case["phase_by_hu"]["verdict"] == "unclear", f"{name}: a spleen tells no phase")
            support.check(("LIVER_SMALL" in case["flags"]) == (ml < 40), f"{name}: {case['flags']} of {ml} ml")
        for name, (ml, areas) in truth.items():
            support.check(name in cases or max(areas) < 100 or sum(a >= 100 for a in areas) < 5, f"{name} with {ml} ml of spleen is no case")

        support.run("wsp-qa", root / "spleens", "--fail-on", "never")
        found = [json.loads(line) for line in (root / "spleens/qa/findings.jsonl").read_text().splitlines()]
        codes = {f["code"] for f in found}
        support.check(not codes & {"NOT_PORTAL", "ORIENTATION_FLIPPED", "DEPTH_SPACING"}, f"judged as a liver: {codes}")
        small = {f["case"]: f["detail"] for f in found if f["code"] == "LIVER_SMALL"}
        support.check(set(small) == {n for n in cases if truth[n][0] < 40} and all("expected 40 or more" in d for d in small.values()), f"{small}")

        card, croissant = ((root / "spleens/qa" / name).read_text() for name in ("dataset_card.md", "croissant.json"))
        support.check("| spleen volume |" in card and "| liver" not in card and "research on spleen CT" in card and "spleen masks" in croissant, card)

        # The manifest's limits, another word for the organ, and a model that finds livers.
        manifest = json.loads(MANIFEST.read_text())
        for change, words in (({"volume_ml": [50, 40]}, "the lower first"), ({"codes": ["78961009"]}, "SCHEME:VALUE"), ({"name": "Spleen"}, "name"), ({"colour": 1}, "colour")):
            (root / "wrong.json").write_text(json.dumps({**manifest, "organ": {**manifest["organ"], **change}}))
            refused = support.run("wsp-ingest", root / "cohort/export", "--out", root / "none", "--ids", "keep", "--manifest", root / "wrong.json", expect=2)
            support.check(words in refused.stderr, refused.stderr)
        # Whatever chooses masks is an option: the cases of another word for the organ are not taken over.
        without = {k: v for k, v in manifest.items() if k != "organ"}
        for other in (without, {**without, "organ": {**manifest["organ"], "names": ["milz"]}}, {**without, "organ": {**manifest["organ"], "codes": []}}):
            (root / "other.json").write_text(json.dumps(other))
            changed = support.run("wsp-ingest", root / "cohort/export", "--masks", root / "masks", "--ids", "keep", "--out", root / "spleens", "--manifest", root / "other.json",
                                  "--labels", root / "cohort/labels.csv", "--size", 160, "--min-slices", 3, expect=5)
            support.check("made with other options" in changed.stderr, changed.stderr)

        if (support.BINARIES / "wsp-eval").exists():
            plan = {"name": "spleen", "version": 1, "evaluations": [{"name": "D", "dataset": "spleens", "label": "label", "positive": ">=moderate"}],
                    "methods": ["random"], "backbones": ["tinynet"], "seeds": [1], "train": {"image_size": 160, "batch": 4, "hold_back": 0.0},
                    "probe": {"folds": 2, "permutations": 10, "divisions": 5}}
            (root / "plan.json").write_text(json.dumps(plan))
            support.run("wsp-eval", "table", root / "plan.json", "--root", root, "--out", root / "table")
            rows = {t["name"]: t["rows"] for t in json.loads((root / "table/results.json").read_text())["tables"]}["auc"]
            support.check(len(rows) == 1 and rows[0][2][0] in "01", f"{rows}")
    print(f"{len(cases)} spleens from ingest to table")


main()
