"""nnU-Net v2 models as whole commands: results folders converted, masks by wsp-unet predict and wsp-ingest equal to an explicit reference,
and what is not supported refused by name. With WSP_NNUNET_PYTHON (an interpreter that has nnunetv2) nnU-Net itself predicts the same
files, and how far the masks agree is printed and checked."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import support

support.require("numpy", "scipy", "nibabel", "torch")
import nibabel
import numpy as np
import torch

sys.path.insert(0, str(support.SOURCE / "tests" / "preprocess" / "segment"))
import nnunet_models as reference

if not (support.BINARIES / "wsp-ingest-torch").exists():
    support.skip("this build has no Torch in the ingest (WSP_WITH_SEGMENTER=OFF)")


def write_volume(path, hu, spacing, letters):
    """[z][y][x] to the left, back and head as NIfTI whose axes grow as `letters` say."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(hu.transpose(2, 1, 0)), np.diag([-spacing[0], -spacing[1], spacing[2], 1]))
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(letters))
    image = image.as_reoriented(turn)
    support.check("".join(nibabel.aff2axcodes(image.affine)) == letters, "the test's own orientation")
    nibabel.save(image, path)


def read_mask(path):
    image = nibabel.load(path)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("LPS"))
    return np.asarray(image.as_reoriented(turn).dataobj).transpose(2, 1, 0)


def volume():
    """Of int16 HU: smooth, different in every direction, with margins of zeros that are cropped."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (26, 34, 42)), indexing="ij")
    hu = np.round(50 + 100 * np.sin(x / 6 + z / 5) * np.cos(y / 5 - x / 20) + 50 * np.sin(z / 4 + 1) - y).astype(np.int16)
    hu[:2], hu[:, :3], hu[..., -1:] = 0, 0, 0
    return hu, (1.5, 1.25, 2.0)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def predictions(work):
    """Masks of the commands beside the reference's."""
    hu, spacing = volume()
    for name, m in reference.MODELS.items():
        scan = work / f"{name}-scan.nii.gz"
        write_volume(scan, hu, spacing, m["orientation"])
        support.run("wsp-unet", "predict", work / f"{name}.json", scan, "--out", work / "masks", "--no-clean", "--device", "cpu")
        made = read_mask(work / "masks" / f"{name}-scan.nii.gz").astype(bool)
        expected, margin = (a.astype(t) for a, t in zip(reference.predict(name, hu, spacing), (bool, float)))
        clear = margin > 2e-3
        support.check(0.02 < expected.mean() < 0.98 and clear.mean() > 0.99, f"{name}: {expected.mean()} liver, {clear.mean()} clear")
        support.check(np.array_equal(made[clear], expected[clear]), f"{name}: {np.count_nonzero((made != expected)[clear])} clear voxels differ")
        support.check(not np.array_equal(made[:, ::-1], expected), f"{name} looks alike when turned")
    # The orientation of a scan does not matter: the volume is turned to the model's.
    write_volume(work / "turned.nii.gz", hu, spacing, "ASR")
    support.run("wsp-unet", "predict", work / "plain3d.json", work / "turned.nii.gz", "--out", work / "masks", "--no-clean", "--device", "cpu")
    support.check(np.array_equal(read_mask(work / "masks" / "turned.nii.gz"), read_mask(work / "masks" / "plain3d-scan.nii.gz")), "another orientation of the same scan")
    print(f"{len(reference.MODELS)} models: masks equal to the reference's")


def ingested(work):
    hu, spacing = volume()
    (work / "export").mkdir()
    write_volume(work / "export" / "a.nii.gz", hu, spacing, "RAS")
    support.run("wsp-ingest", work / "export", "--out", work / "ds", "--ids", "keep", "--liver-model", work / "plain3d.json", "--device", "cpu", "--size", 64,
                "--slices", "all", "--min-slices", 3, "--coarse-mm", 0, "--mask-cache", "none")
    (facts,) = (json.loads(p.read_text()) for p in (support.state(work / "ds") / "cases").glob("*.json"))
    mask = facts["mask"]
    support.check(mask["source"] == "segmenter" and mask["model"].startswith("Dataset900_Phantom 3d_fullres fold-0-"), f"mask of the case: {mask}")
    support.check(0 < mask["confidence"] <= 1 and mask["liver_ml"] > 0, f"mask of the case: {mask}")
    print("wsp-ingest --liver-model: a mask by", mask["model"])


def refusals(work):
    """What the converter does not support, by name; it writes nothing then."""
    def refused(words, plans=None, dataset=None, *extra):
        folder = work / "spoilt"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(work / "plain3d", folder)
        for file, change in (("plans.json", plans), ("dataset.json", dataset)):
            if change:
                said = json.loads((folder / file).read_text())
                change(said["configurations"]["base"] if file == "plans.json" else said)
                (folder / file).write_text(json.dumps(said))
        refusal = reference.convert(folder, work / "never", "plain3d", *extra)
        support.check(words in refusal, f"expected '{words}': {refusal}")
        support.check(not (work / "never.json").exists() and not (work / "never.safetensors").exists(), f"written in spite of '{words}'")

    arguments = lambda **more: lambda c: c["architecture"]["arch_kwargs"].update(more)
    refused("cascade's second stage", lambda c: c.update(previous_stage="3d_lowres"))
    refused("the normalisation is RescaleTo01Normalization", lambda c: c.update(normalization_schemes=["RescaleTo01Normalization"]))
    refused("use_mask_for_norm", lambda c: c.update(normalization_schemes=["ZScoreNormalization"], use_mask_for_norm=[True]))
    refused("the architecture is PrimusM", lambda c: c["architecture"].update(network_class_name="x.PrimusM"))
    refused("norm_op is torch.nn.BatchNorm3d", arguments(norm_op="torch.nn.BatchNorm3d"))
    refused("nonlin is torch.nn.GELU", arguments(nonlin="torch.nn.GELU"))
    refused("['squeeze'] are not known", arguments(squeeze=1))
    refused("resampling_fn_data is resample_torch_fornnunet", lambda c: c.update(resampling_fn_data="resample_torch_fornnunet"))
    refused("has order 2", lambda c: c["resampling_fn_data_kwargs"].update(order=2))
    refused("the preprocessor is NoResampling", lambda c: c.update(preprocessor_name="NoResampling"))
    refused("takes 2 channels", None, lambda d: d.update(channel_names={"0": "CT", "1": "PET"}))
    refused("has no label spleen", None, None, "--liver", "spleen")
    refused("has 2 heads", None, lambda d: d.update(labels={"background": 0, "liver": 1}))
    refused("no fold_3", None, None, "--fold", "3")
    refused("expected nibabel's letters", None, None, "--orientation", "RAX")
    refused("allows no mirroring", None, None, "--mirror")
    shutil.copytree(work / "plain3d", work / "halved")
    path = work / "halved" / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:1000])
    refusal = reference.convert(work / "halved", work / "never", "plain3d")
    support.check("is no checkpoint" in refusal, f"half a checkpoint: {refusal}")
    done = subprocess.run([sys.executable, reference.CONVERTER, work / "halved", "--out", work / "never", "--orientation", "RAS"], capture_output=True, text=True)
    support.check(done.returncode == 1 and done.stderr.startswith("not converted: ") and "Traceback" not in done.stderr, f"as a command: {done.stderr}")
    print("16 models that are not supported: refused by name")


def harmless(work):
    """A checkpoint whose pickle calls a function: it is converted, and the function is not called."""
    folder, made = work / "calling", work / "called"
    shutil.copytree(work / "plain3d", folder)
    path = folder / "fold_0" / "checkpoint_final.pth"

    class Call:
        def __reduce__(self):
            return os.mkdir, (str(made),)

    torch.save({**torch.load(path), "logging": Call()}, path)
    support.check(b"mkdir" in path.read_bytes() and not made.exists(), "the test's own checkpoint")
    refusal = reference.convert(folder, work / "calling-model", "plain3d")
    support.check(not refusal and not made.exists(), f"a checkpoint that calls: {refusal}")
    support.check((work / "calling-model.safetensors").read_bytes() == (work / "plain3d.safetensors").read_bytes(), "other weights of the same network")
    torch.load(path, weights_only=False)  # the test can fail
    support.check(made.exists(), "the test's own checkpoint calls nothing")


NNUNET = """
import json, os, pathlib, sys
for key in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[key] = sys.argv[1]
import numpy as np, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
folder, scan, out, mirror = sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5] == "1"
predictor = nnUNetPredictor(tile_step_size=0.5, use_gaussian=True, use_mirroring=mirror, perform_everything_on_device=False, device=torch.device("cpu"),
                            allow_tqdm=False)
predictor.initialize_from_trained_model_folder(folder, ("0",), "checkpoint_final.pth")
patch = predictor.configuration_manager.patch_size
window = torch.from_numpy(np.fromfile(sys.argv[6], np.float32).reshape(1, 1, *patch))
predictor.network.eval()
with torch.inference_mode():
    predictor._internal_maybe_mirror_and_predict(window)[0].numpy().tofile(sys.argv[7])
predictor.predict_from_files([[scan]], [out], num_processes_preprocessing=1, num_processes_segmentation_export=1)
"""


def nnunet_itself(work):
    """nnU-Net's own masks and logits. Its sums of windows are in half precision, which alone moves some voxels."""
    python = os.environ.get("WSP_NNUNET_PYTHON")
    if not python:
        print("*** WSP_NNUNET_PYTHON NAMES NO INTERPRETER WITH nnunetv2: the masks were not compared with nnU-Net's own ***", file=sys.stderr)
        return
    hu, spacing = volume()
    (work / "volume.raw").write_bytes(hu.tobytes())
    (work / "volume.json").write_text(json.dumps({"size": hu.shape[::-1], "spacing": spacing, "hu": str(work / "volume.raw")}))
    reference.expect(work, work / "volume.json")
    real = os.environ.get("WSP_TEST_DATA") or support.SOURCE.parent / "shared" / "data"
    ct = pathlib.Path(real) / "liver" / "ts_abdopelvis_3mm_nifti" / "example_ct.nii.gz"
    for name, m in reference.MODELS.items():
        scans = [work / f"{name}-scan.nii.gz"]
        if ct.exists() and name == "plain3d":  # the others' windows are small: minutes
            scans.append(work / f"{name}-ct.nii.gz")
            image = nibabel.load(ct)
            turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(m["orientation"]))
            nibabel.save(image.as_reoriented(turn), scans[1])
            support.run("wsp-unet", "predict", work / f"{name}.json", scans[1], "--out", work / "masks", "--no-clean", "--device", "cpu")
        for scan in scans:
            out = work / "nnunet" / scan.name.removesuffix(".nii.gz")
            out.parent.mkdir(exist_ok=True)
            done = subprocess.run([python, "-c", NNUNET, work, work / name, scan, out, str(int("mirror" in m)), work / f"{name}.input", work / f"{name}.theirs"],
                                  capture_output=True, text=True, env={**os.environ, "nnUNet_n_proc_DA": "1"})
            support.check(done.returncode == 0, f"nnU-Net on {scan.name}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
            label = np.asarray(read_mask(f"{out}.nii.gz"))
            wanted = {v for k in m["liver"] for v in np.atleast_1d(m["labels"][k])}
            theirs, ours = np.isin(label, sorted(wanted)), read_mask(work / "masks" / scan.name).astype(bool)
            differ = np.count_nonzero(theirs != ours)
            logits = np.abs(np.fromfile(work / f"{name}.theirs", np.float32) - np.fromfile(work / f"{name}.logits", np.float32)).max()
            print(f"nnU-Net itself, {name} on {scan.name}: {differ} of {label.size} voxels differ ({100 * differ / label.size:.3f} %), Dice {dice(theirs, ours):.5f}; "
                  f"logits of a window within {logits:.1e}")
            support.check(logits < 1e-4 and dice(theirs, ours) > 0.995 and differ < label.size / 200, f"{name}: not nnU-Net's mask")


with support.temporary() as directory:
    work = pathlib.Path(directory)
    reference.make(work)
    predictions(work)
    ingested(work)
    refusals(work)
    harmless(work)
    nnunet_itself(work)
