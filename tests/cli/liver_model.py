"""A TorchScript model in the ingest, as whole commands: masks on the volume's grid to the voxel on every real CT, the same bytes
at any number of threads and after SIGKILL, given masks first, and errors before the first case."""
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import support

support.require("numpy", "h5py", "nibabel", "scipy", "torch")
import nibabel
import numpy as np
import scipy.ndimage as ndimage
import torch

sys.path.insert(0, str(support.SOURCE / "tests" / "preprocess" / "segment"))
import models

if not (support.BINARIES / "wsp-ingest-torch").exists():
    support.skip("this build has no Torch in the ingest (WSP_WITH_SEGMENTER=OFF)")


def ingest(export, out, model, *extra, expect=0):
    device = [] if "--device" in extra else ["--device", "cpu"]
    return support.run("wsp-ingest", export, "--out", out, "--ids", "keep", "--liver-model", model, *device, *extra, expect=expect)


def cases_json(dataset):
    return {p.stem: json.loads(p.read_text()) for p in sorted((support.state(dataset) / "cases").glob("*.json"))}


def band(model, hu):
    """The model's mask [z][y][x] of HU, before clean-up."""
    x = (np.clip(hu, -100, 400).astype(np.float32) + 100) / np.float32(500)
    with torch.no_grad():
        return np.concatenate([torch.sigmoid(model(torch.from_numpy(s[None, None])))[0].numpy() for s in x]) >= 0.5


def cleaned(mask, pixel_mm2):
    """Specks of each slice, the largest component, holes of each slice."""
    mask = mask.copy()
    for k, plane in enumerate(mask):
        labels, n = ndimage.label(plane, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=n + 1)
        sizes[0] = 0
        speck = (sizes * 10 < sizes.max()) & (sizes * pixel_mm2 < 100)
        mask[k] &= ~speck[labels]
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    mask = labels == sizes.argmax()
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def real_ct(data, work, descriptor, model):
    """Every CT of the data from end to end; then those that have slices of liver's HU, each stored in a matrix as large as its own, where
    the dataset holds the HU that the model saw on the native grid."""
    ingest(data, work / "all", descriptor, "--all-series", "--min-slices", 3, "--size", 64, "--mask-cache", "none",
           expect=3)  # archives and voxels without a header lie there too
    support.run("wsp-ingest", "verify", work / "all")
    ran = cases_json(work / "all")
    support.check(len(ran) >= 12, f"only {len(ran)} cases of the test data")
    alone = work / "dcmqi"  # without its DICOM SEG
    alone.mkdir()
    for name in ("01.dcm", "02.dcm", "03.dcm"):
        shutil.copy(data / "liver" / "dcmqi_ct3slice_with_dicomseg" / name, alone)
    compared = sum(on_the_grid(export, size, work / f"grid{i}", descriptor, model) for i, (export, size) in enumerate((
        (data / "liver" / "cptac_pda_C3L-00189_ge_5mm_portal_dicom", 512), (data / "liver" / "lidc_0314_philips_1mm_FFS_dicom_lower60", 512),
        (alone, 512), (data / "liver" / "ts_abdopelvis_3mm_nifti" / "upper_crop_30", 122),
        (data / "geometry" / "ge_hispeed_tilt+18.5_variable_spacing", 611), (data / "geometry" / "philips_ingenuity_tilt-18.5_phantom_16of54", 537))))
    support.check(compared >= 6, f"only {compared} cases were compared")
    print(f"real CT: {len(ran)} cases from end to end, {compared} of them equal to the model's own masks to the voxel")


def on_the_grid(export, size, out, descriptor, model):
    """Compares the cases whose matrix fills the size; returns how many."""
    ingest(export, out, descriptor, "--all-series", "--min-slices", 3, "--slices", "all", "--size", size, "--coarse-mm", 0, "--mask-cache", "none")
    facts, compared = cases_json(out), 0
    for name, case in support.read_cases(out).items():
        width, height, _ = facts[name]["geometry"]["size"]
        if max(width, height) != size or facts[name]["mask"]["source"] != "segmenter":
            continue
        top, left = (size - height) // 2, (size - width) // 2
        inside = (slice(None), slice(top, top + height), slice(left, left + width))
        check_case(name, facts[name], case["image"][inside], case["mask"][inside], model)
        support.check(case["mask"].sum() == case["mask"][inside].sum(), f"{name} has liver beside its volume")
        compared += 1
    return compared


def check_case(name, facts, image, stored, model):
    pixel, mask = facts["geometry"]["spacing_mm"], facts["mask"]
    raw = band(model, image)
    expected = cleaned(raw, pixel[0] * pixel[1])
    support.check(np.array_equal(stored, expected), f"mask of {name}: {np.count_nonzero(stored != expected)} voxels differ")
    # The comparison can fail: a flip or a transposition of the mask is another.
    for other in (expected[:, ::-1], expected[:, :, ::-1], expected[::-1], expected.transpose(0, 2, 1)):
        support.check(not np.array_equal(stored, other), f"{name} looks alike when turned")
    # What the case says of its mask.
    areas = expected.sum((1, 2)) * pixel[0] * pixel[1]
    rows = np.flatnonzero(areas >= 100)
    support.check([facts["slices"]["liver_first"], facts["slices"]["liver_last"]] == [rows[0], rows[-1]], f"extent of {name}")
    whole = np.ones((3, 3, 3))
    support.check(mask["components"] == ndimage.label(expected, whole)[1], f"components of {name}: {mask['components']}")
    support.check(mask["predicted_components"] == ndimage.label(raw, whole)[1], f"predicted components of {name}")
    z, y, x = (np.flatnonzero(expected.any(a)) for a in ((1, 2), (0, 2), (0, 1)))
    last = np.array(expected.shape) - 1
    ends = {"right": x[0] == 0, "left": x[-1] == last[2], "anterior": y[0] == 0, "posterior": y[-1] == last[1], "foot": z[0] == 0,
            "head": z[-1] == last[0]}
    support.check(set(mask["border_contact"]) == {k for k, v in ends.items() if v}, f"border contact of {name}: {mask['border_contact']}")
    support.check(0.5 <= mask["mean_probability"] <= 1 and 0 < mask["confidence"] <= 1, f"confidence of {name}: {mask}")
    support.check(mask["model"] == "band 1" and (mask["confidence"] < 0.7) == ("confidence" in mask["doubts"]) and bool(mask["doubts"]) == ("MASK_UNSURE" in facts["flags"]), f"{name}: {mask}")
    hu = image[expected]
    if hu.min() > -100 and hu.max() < 400:  # else the window has cut the HU
        support.check(abs(mask["mean_hu"] - hu.mean()) < 0.01, f"mean HU of {name}: {mask['mean_hu']}, expected {hu.mean()}")


def native_grid(data, work, descriptor, model):
    """TotalSegmentator's CT, read by nibabel; given masks win; Dice with them."""
    source = data / "liver" / "ts_abdopelvis_3mm_nifti"
    for folder, name in (("ts", "example_ct.nii.gz"), ("given", "example_seg_fast_force_split.nii.gz")):
        (work / folder).mkdir()
        shutil.copy(source / name, work / folder / "ts.nii.gz")
    lps = lambda path: np.ascontiguousarray(np.round(np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj))[::-1, ::-1].transpose(2, 1, 0))
    hu, given = lps(work / "ts" / "ts.nii.gz"), lps(work / "given" / "ts.nii.gz") == 5
    expected = cleaned(band(model, hu), 9.0)
    options = ("--size", 122, "--slices", "all", "--coarse-mm", 0, "--mask-cache", work / "cache")
    ingest(work / "ts", work / "ts_model", descriptor, *options)
    (case,) = support.read_cases(work / "ts_model").values()
    rows = slice(10, 111)  # 101 rows in 122
    support.check(np.array_equal(case["image"][:, rows], np.clip(hu, -100, 400)), "the stored HU are not the file's")
    support.check(np.array_equal(case["mask"][:, rows], expected) and case["mask"].sum() == expected.sum(), "the mask is not on the volume's grid")

    done = ingest(work / "ts", work / "ts_given", descriptor, *options, "--masks", work / "given", "--liver-label", 5, "--compare-masks", "--json")
    (case,), (facts,) = support.read_cases(work / "ts_given").values(), cases_json(work / "ts_given").values()
    support.check(np.array_equal(case["mask"][:, rows], given) and facts["mask"]["source"] == "file", "--masks does not win")
    dice = 2 * np.count_nonzero(given & expected) / (given.sum() + expected.sum())
    (row,) = json.loads(done.stdout)["comparisons"]
    support.check(abs(row["dice"] - dice) < 1e-4 and abs(row["model_ml"] - expected.sum() * 0.027) < 0.01, f"Dice {row}, expected {dice}")
    header, line = (support.state(work / "ts_given") / "mask_comparison.tsv").read_text().splitlines()
    told = dict(zip(header.split("\t"), line.split("\t")))
    support.check(abs(float(told["dice"]) - dice) < 1e-4 and told["given"] == "file", f"mask_comparison.tsv: {told}")
    support.check("mask_comparison.tsv" in json.loads((work / "ts_given" / "dataset.json").read_text())["files"], "no hash of mask_comparison.tsv")
    support.run("wsp-ingest", "verify", work / "ts_given")
    print(f"native grid to the voxel; the given mask wins, Dice {dice:.4f}")


def phantom(work):
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 6, "--seed", 11, "--slices", "20-24", "--size", 96, "--format", "nifti")
    return work / "cohort" / "export", work / "cohort" / "truth"


def threads_and_sources(work, descriptor):
    """The same bytes at 1 and 4 threads; each case's own mask before the model's."""
    export, truth = phantom(work)
    for n in (1, 4):
        ingest(export, work / f"t{n}", descriptor, "--size", 96, "--mask-cache", "none", "--threads", n)
    support.check(support.tree(work / "t1") == support.tree(work / "t4"), "1 and 4 threads give different bytes")
    (work / "half").mkdir()
    for path in sorted(truth.glob("*.nii.gz"))[:3]:
        shutil.copy(path, work / "half")
    done = ingest(export, work / "mixed", descriptor, "--size", 96, "--masks", work / "half", "--mask-cache", "none", "--compare-masks", "--json")
    sources = collections.Counter(c["mask"]["source"] for c in cases_json(work / "mixed").values())
    support.check(sources == {"file": 3, "segmenter": 3}, f"mask sources: {sources}")
    support.check(len(json.loads(done.stdout)["comparisons"]) == 3, f"compared: {done.stdout}")
    print("equal bytes at 1 and 4 threads; 3 given masks, 3 of the model")


def killed(work, descriptor):
    """SIGKILL between cases: the cache has the masks that were made, and the end is the one of an undisturbed run."""
    export, cache = work / "cohort" / "export", work / "killed-cache"
    options = ("--size", 96, "--shards", 1, "--threads", 1, "--mask-cache", cache)
    command = [str(support.BINARIES / "wsp-ingest"), export, "--out", work / "killed", "--ids", "keep", "--liver-model", descriptor, *options]
    process = subprocess.Popen([str(c) for c in command], stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while process.poll() is None and time.time() < deadline and len(list(cache.glob("*.wspmask"))) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    support.check(process.wait(timeout=60) == -signal.SIGKILL, "the run ended before it was killed")
    made = {p: p.stat().st_mtime_ns for p in cache.glob("*.wspmask")}
    support.check(2 <= len(made) < 6, f"{len(made)} masks in the cache of 6 cases")
    ingest(export, work / "killed", descriptor, *options)
    support.check({p: p.stat().st_mtime_ns for p in made} == made, "a mask of the cache was made again")
    support.check(len(list(cache.glob("*.wspmask"))) == 6, "not every mask is in the cache")
    ingest(export, work / "whole", descriptor, "--size", 96, "--shards", 1, "--mask-cache", "none")
    support.check(support.tree(work / "killed") == support.tree(work / "whole"), "a resumed run differs from an undisturbed one")

    # Another dataset of the same volumes asks no model; another model asks anew; a damaged mask is made again.
    victim, *others = sorted(cache.glob("*.wspmask"))
    victim.write_bytes(victim.read_bytes()[:-40] + bytes(40))
    made = {p: p.stat().st_mtime_ns for p in others}
    done = ingest(export, work / "again", descriptor, "--size", 64, "--mask-cache", cache)
    support.check("unusable and is made again" in done.stderr, f"a damaged mask is not told of: {done.stderr}")
    support.check({p: p.stat().st_mtime_ns for p in others} == made and len(list(cache.iterdir())) == 6, "the cache was not used")
    ingest(export, work / "other", descriptor, "--size", 64, "--coarse-mm", 0, "--mask-cache", cache)
    support.check(len(list(cache.iterdir())) == 12, "another way of running the model takes the same masks")
    support.check(all(p.stat().st_mode & 0o777 == 0o600 for p in cache.iterdir()), "masks can be read by others")
    # Without --mask-cache they stand in the user's cache.
    os.environ["XDG_CACHE_HOME"] = str(work / "home")
    ingest(export, work / "usual", descriptor, "--size", 64)
    support.check(len(list((work / "home" / "wsp" / "masks").iterdir())) == 6, "no masks below XDG_CACHE_HOME")
    print("killed and resumed: equal bytes, nothing predicted twice")


def errors(work):
    export = work / "cohort" / "export"

    def refused(words, descriptor, *extra):
        done = ingest(export, work / "never", descriptor, *extra, expect=2)
        support.check(words in done.stderr and "cases to read" not in done.stderr, f"{descriptor}: expected '{words}' in {done.stderr}")
        support.check(not (work / "never").exists(), f"{descriptor}: the dataset was begun")

    refused("absent.json", work / "absent.json")
    refused("crashes on a small input", work / "models" / "crashes.json")
    refused("has the shape", work / "models" / "wrong_shape.json")
    refused("expected auto, cpu", work / "models" / "band.json", "--device", "gpu")
    refused("--precision fp16 needs a CUDA card", work / "models" / "band.json", "--precision", "fp16")
    (work / "models" / "raises.ts").write_bytes(b"not what the descriptor says")
    refused("expected SHA-256", work / "models" / "raises.json")
    done = support.run("wsp-ingest", export, "--out", work / "never", "--ids", "keep", "--compare-masks", expect=2)
    support.check("--liver-model" in done.stderr, f"--compare-masks alone: {done.stderr}")
    # What only a real slice shows is the case's trouble.
    ingest(export, work / "bad", work / "models" / "shape_by_content.json", "--mask-cache", "none", "--size", 96, expect=4)
    codes = {line.split("\t")[2] for line in (support.state(work / "bad") / "quarantine.tsv").read_text().splitlines() if line.startswith("case")}
    support.check(codes == {"SEGMENTER_BAD_OUTPUT"}, f"codes of a model with a wrong shape: {codes}")

    # So is a model that throws or asks for too much there, in its own words but for paths; and a mask of other labels.
    def detail(name, expected, *extra):
        out = work / f"bad-{name}"
        ingest(export, out, work / "models" / f"{name}.json", "--mask-cache", "none", "--size", 96, *extra, expect=4)
        rows = [line.split("\t") for line in (support.state(out) / "quarantine.tsv").read_text().splitlines() if line.startswith("case")]
        support.check(rows and all(expected in row[3] and "see the detail" != row[4] for row in rows), f"{name}: {rows[:1]}")
        support.check(not any("/home" in row[3] for row in rows), f"{name}: a path in {rows[:1]}")
        return rows

    support.check(detail("raises_by_content", "no room for 96 columns in (path)")[0][2] == "SEGMENTER_FAILED", "the code of a model that throws")
    support.check(detail("grows_by_content", "no memory")[0][2] == "SEGMENTER_FAILED", "the code of a lack of memory")
    rows = detail("band", "the mask file holds the value 1, none of --liver-label 5", "--masks", work / "cohort" / "truth", "--liver-label", 5)
    support.check(rows[0][2] == "NO_LIVER" and "--liver-label" in rows[0][4], rows[0])
    rows = detail("finds_nothing", "the model found no liver")
    support.check(rows[0][2] == "NO_LIVER" and "descriptor" in rows[0][4], rows[0])
    done = ingest(export, work / "uncompared", work / "models" / "band.json", "--compare-masks", "--size", 64)
    support.check("0 cases have a given mask" in done.stderr, f"--compare-masks without masks: {done.stderr}")

    # The program without Torch, alone: an ingest node.
    alone = work / "node" / "wsp-ingest"
    alone.parent.mkdir()
    shutil.copy(support.BINARIES / "wsp-ingest", alone)
    needed = subprocess.run(["readelf", "-d", alone], capture_output=True, text=True, check=True).stdout
    support.check("[libstdc++" in needed and "[libtorch" not in needed and "[libc10" not in needed, f"wsp-ingest needs Torch: {needed}")
    for extra, code in ((["--liver-model", work / "models" / "band.json"], 2), (["--masks", work / "cohort" / "truth"], 0)):
        done = subprocess.run([str(v) for v in (alone, export, "--out", work / "node" / "ds", "--ids", "keep", "--size", 64, *extra)],
                              capture_output=True, text=True, timeout=600)
        support.check(done.returncode == code, f"an ingest without Torch, {extra}: {done.returncode} {done.stderr}")
        support.check(code == 0 or "built without LibTorch" in done.stderr, f"an ingest without Torch says {done.stderr}")
    print("a model that cannot run is found before the first case")


def processes_below(pid):
    """The names of the processes that PID has started, and that those have, by their numbers."""
    lines = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True).stdout.splitlines()
    names = dict(line.split(maxsplit=1) for line in lines)
    for below in [processes_below(child) for child in names]:
        names |= below
    return names


def alive(pid):
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def hanging(work):
    """A model that never returns: one signal ends its probe and takes the probing process along; in a case the second one does."""
    def start(name):
        command = [str(support.BINARIES / "wsp-ingest"), work / "cohort" / "export", "--out", work / "hung", "--ids", "keep", "--device", "cpu",
                   "--liver-model", work / "models" / f"{name}.json", "--mask-cache", "none", "--size", 96, "--threads", 1]
        return subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)

    def wait_until(true):
        deadline = time.time() + 60
        while not true():
            support.check(time.time() < deadline, "waited a minute in vain")
            time.sleep(0.05)

    def probing(process):
        """All its processes, once the one that tries the model is among them (readers of files are others)."""
        wait_until(lambda: "wsp-probe" in processes_below(process.pid).values())
        time.sleep(1)
        return processes_below(process.pid)

    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = start("hangs")
        children = probing(process)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        support.check(process.returncode == code and "still being tried" in said, f"{process.returncode} {said}")
        support.check(not any(alive(child) for child in children), f"left behind, one of {children}")
    process = start("hangs")
    children = probing(process)
    process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: not any(alive(child) for child in children))
    process = start("hangs_by_content")
    wait_until(lambda: (work / "hung").exists())
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    support.check(process.poll() is None, "it does not hang")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    support.check(process.returncode == -signal.SIGINT, f"the second signal: {process.returncode}")
    print("a model that never returns: ended by a signal, nothing left behind")


torch.set_num_threads(1)
with support.temporary() as directory:
    work = pathlib.Path(directory)
    os.environ["XDG_CACHE_HOME"] = str(work / "unused")
    models.make(work / "models", "band", "below", "wrong_shape", "shape_by_content", "raises", "crashes", "hangs", "hangs_by_content", "raises_by_content", "grows_by_content", "finds_nothing")
    descriptor, model = work / "models" / "band.json", torch.jit.load(str(work / "models" / "band.ts"))
    data = pathlib.Path(os.environ.get("WSP_TEST_DATA") or support.SOURCE.parent / "shared" / "data")
    threads_and_sources(work, work / "models" / "below.json")
    killed(work, descriptor)
    errors(work)
    hanging(work)
    if not (data / "MANIFEST.md").exists():
        support.skip("test data absent: set WSP_TEST_DATA; phantoms alone were run")
    real_ct(data, work, descriptor, model)
    native_grid(data, work, descriptor, model)
