"""Nothing stale: whatever a case was made from, a change of it makes the case again, with the bytes of a fresh run; a case
is taken over as a whole or not at all; and cases of a dataset go only with a word."""
import json
import pathlib
import shutil

import support

support.require("numpy", "nibabel")
import nibabel
import numpy as np

SHAPE = (64, 64, 20)


def volume(liver_hu=110):
    """Air, an elliptic body of 40 HU and a liver in it, in int16; and the liver."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    hu = np.full(SHAPE, -1000, np.int16)
    hu[((x - 32) / 28) ** 2 + ((y - 32) / 22) ** 2 < 1] = 40
    liver = ((x - 24) / 12) ** 2 + ((y - 32) / 12) ** 2 + ((z - 10) / 7) ** 2 < 1
    # Fat under the skin, as a body has.
    hu[(((x - 32) / 28) ** 2 + ((y - 32) / 22) ** 2 < 1) & (((x - 32) / 26) ** 2 + ((y - 32) / 20) ** 2 >= 1)] = -100
    hu[liver] = liver_hu
    return hu, liver.astype(np.uint8)


AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])


def save_pair(path, values):
    nibabel.save(nibabel.Nifti1Pair(values, AFFINE), path.with_suffix(".img"))


def save_nifti(path, values):
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)


def save_nhdr(path, values):
    kind = {"int16": "short", "uint8": "uchar"}[str(values.dtype)]
    path.with_suffix(".raw").write_bytes(values.tobytes(order="F"))
    path.write_text("NRRD0004\ntype: %s\ndimension: 3\nspace: left-posterior-superior\nsizes: %d %d %d\n"
                    "space directions: (5,0,0) (0,5,0) (0,0,5)\nkinds: domain domain domain\nendian: little\n"
                    "encoding: raw\nspace origin: (0,0,0)\ndata file: %s\n"
                    % (kind, *values.shape, path.with_suffix(".raw").name))


class Place:
    """An export with masks, and a dataset that is made of them again and again."""

    def __init__(self, work, name):
        self.root = work / name
        self.export, self.masks, self.out = self.root / "export", self.root / "masks", self.root / "ds"
        self.export.mkdir(parents=True)
        self.masks.mkdir()
        self.runs = 0

    def ingest(self, *extra, out=None, expect=0):
        masks = ["--masks", self.masks] if any(self.masks.iterdir()) else []
        done = support.run("wsp-ingest", self.export, "--out", out or self.out, "--ids", "keep", *masks, "--size", 64,
                           "--slices", "all", "--codec", "gzip", "--shards", 1, "--json", *extra, expect=expect)
        done.summary = json.loads(done.stdout) if done.stdout else None
        return done

    def again(self, what, reused):
        """A rerun takes over as many cases as told, verifies, and gives the bytes of a fresh run."""
        summary = self.ingest().summary
        support.check(summary["reused_cases"] == reused, f"{what}: {summary['reused_cases']} cases taken over, not {reused}")
        support.run("wsp-ingest", "verify", self.out)
        self.runs += 1
        fresh = self.root / f"fresh{self.runs}"
        self.ingest(out=fresh)
        support.check(support.tree(self.out) == support.tree(fresh), f"{what}: the rerun differs from a fresh run")


def inputs(work):
    """Every file that is read for a case is in its key."""
    hu, liver = volume()
    other, _ = volume(130)
    smaller = liver.copy()
    smaller[24, 32, 10] = 0

    def check(name, image, save_image, mask, save_mask):
        place = Place(work, name)
        save_image(place.export / image, hu)
        save_mask(place.masks / mask, liver)
        place.ingest()
        support.run("wsp-ingest", "verify", place.out)
        place.again(f"{name}, unchanged", 1)
        headers = {p: p.read_bytes() for p in place.root.glob("[em]*/*hdr")}
        save_image(place.export / image, other)
        place.again(f"{name}, other voxels", 0)
        save_mask(place.masks / mask, smaller)
        place.again(f"{name}, another mask", 0)
        support.check(all(p.read_bytes() == b for p, b in headers.items()), "the test changes data, not headers")
        return place

    check("nifti", "vol.nii.gz", save_nifti, "vol.nii.gz", save_nifti)
    check("pair", "vol.hdr", save_pair, "vol.hdr", save_pair)
    check("nhdr", "vol.nhdr", save_nhdr, "vol.nhdr", save_nhdr)
    mixed = check("mixed", "vol.nii.gz", save_nifti, "vol.nhdr", save_nhdr)

    # The same bytes in another role are another case.
    shutil.rmtree(mixed.masks)
    mixed.masks.mkdir()
    save_nifti(mixed.masks / "vol.nii.gz", liver)
    mixed.again("a mask in another format", 0)
    config = json.loads((mixed.out / "dataset.json").read_text())["config"]
    support.check(config["data_epoch"] >= 1, f"no data epoch in {config}")


def second_mask(work):
    """A second, identical SEG is read too: its coming and going is seen."""
    place = Place(work, "second")
    shutil.copytree(support.data_dir() / "reported" / "00-control" / "in", place.export, dirs_exist_ok=True)
    place.ingest()
    seg = next(place.export.rglob("seg.dcm"))
    shutil.copy(seg, seg.with_name("copy.dcm"))
    place.again("an identical second mask", 0)
    codes = [row.split("\t")[1] for row in (support.state(place.out) / "ledger.tsv").read_text().splitlines()]
    support.check(codes.count("USED_AS_MASK") == 2, f"the ledger names the two masks: {codes}")
    place.again("the same again", 1)
    seg.with_name("copy.dcm").unlink()
    place.again("the second mask is gone", 0)


def parts_of_a_case(work):
    """Shard, JSON and preview are published one by one: what a crash leaves between them is made again."""
    hu, liver = volume()
    place = Place(work, "parts")
    for name in ("a", "b"):
        save_nifti(place.export / f"{name}.nii.gz", hu)
        save_nifti(place.masks / f"{name}.nii.gz", liver)
    place.ingest()
    old = {part: (support.state(place.out) / part).read_bytes() for part in ("cases/a.json", "previews/a.png")}
    half = liver.copy()
    half[24:] = 0
    save_nifti(place.masks / "a.nii.gz", half)
    place.ingest()
    whole, state = support.tree(place.out), support.state(place.out)
    for parts in [[p] for p in old] + [list(old)]:
        (place.out / "dataset.json").unlink()
        for part in parts:
            support.check(whole[part] != old[part], f"the test needs another {part}")
            (state / part).write_bytes(old[part])
        summary = place.ingest().summary
        support.check(summary["reused_cases"] == 1, f"{parts} of an earlier state beside the shard: {summary}")
        support.check(support.tree(place.out) == whole, f"stale {parts} were taken over")
    for part in old:  # damaged, or not there
        for break_it in (lambda p: p.write_bytes(b"{"), lambda p: p.unlink()):
            break_it(state / part)
            support.check(place.ingest().summary["reused_cases"] == 1, f"a damaged {part} was taken over")
            support.check(support.tree(place.out) == whole, f"a damaged {part} stayed")


def losses(work):
    """Cases of a complete dataset go only when they are named, and only with --prune where that is known before."""
    hu, liver = volume()
    place = Place(work, "losses")
    for name in "abcd":
        save_nifti(place.export / f"{name}.nii.gz", hu)
        save_nifti(place.masks / f"{name}.nii.gz", liver)
    place.ingest()
    names = sorted(p.stem for p in (support.state(place.out) / "cases").iterdir())
    whole = support.tree(place.out)

    # 1. Not in the export: nothing is touched.
    (place.export / "a.nii.gz").rename(place.root / "a.nii.gz")
    refused = place.ingest(expect=4)
    support.check(names[0] in refused.stderr and names[1] not in refused.stderr and "--prune" in refused.stderr and
                  "not in this export" in refused.stderr, f"the message names what would go: {refused.stderr}")
    support.check(support.tree(place.out) == whole, "a refused rerun touched the dataset")
    # The interrupted update of a complete dataset holds its cases too.
    (place.out / "dataset.json").rename(place.root / "dataset.json")
    support.check("--prune" in place.ingest(expect=4).stderr, "an interrupted update lost its cases in silence")
    (place.root / "dataset.json").rename(place.out / "dataset.json")

    # 2. Refused by its header: another word.
    whole_b = (place.export / "b.nii.gz").read_bytes()
    (place.export / "b.nii.gz").write_bytes(b"")
    refused = place.ingest(expect=4)
    support.check("2 of the 4 cases" in refused.stderr, f"the count of what would go: {refused.stderr}")
    (place.export / "b.nii.gz").write_bytes(whole_b)

    # 3. With --prune they go, and are named.
    pruned = place.ingest("--prune")
    support.check([c["case"] for c in pruned.summary["lost_cases"]] == names[:1] and pruned.summary["cases"] == 3,
                  f"--prune: {pruned.summary}")
    support.check(not list(place.out.glob(f"*/*/{names[0]}.*")), "the pruned case's files stand")
    support.run("wsp-ingest", "verify", place.out)
    support.check(place.ingest().summary["lost_cases"] == [], "once pruned, nothing is missing")

    # 4. A volume that is cut off is found before anything is touched; a mask only when it is read: then the case goes, by
    # name, and the exit code says so.
    sound = (place.export / "c.nii.gz").read_bytes()
    (place.export / "c.nii.gz").write_bytes(sound[:-4000])
    support.check("TRUNCATED_FILE" in place.ingest(expect=4).stderr, "a volume that is cut off")
    (place.export / "c.nii.gz").write_bytes(sound)
    (place.masks / "c.nii.gz").write_bytes((place.masks / "c.nii.gz").read_bytes()[:-40])
    lost = place.ingest(expect=3)
    (case,) = lost.summary["lost_cases"]
    quarantined = [row.split("\t")[1:3] for row in (support.state(place.out) / "quarantine.tsv").read_text().splitlines()]
    support.check([names[2], case["code"]] in quarantined and case["case"] == names[2], f"a case refused when read: {case}")
    support.run("wsp-ingest", "verify", place.out)

    # 5. A dataset that was never complete has lost nothing; --force replaces what stands there.
    (place.export / "d.nii.gz").rename(place.root / "d.nii.gz")
    forced = place.ingest("--force", "--max-quarantined", 9)
    support.check(forced.summary["cases"] == 1 and forced.summary["lost_cases"] == [], f"--force: {forced.summary}")


with support.temporary() as directory:
    for part in (inputs, second_mask, parts_of_a_case, losses):
        part(pathlib.Path(directory))
        print(part.__name__, "as stated")
