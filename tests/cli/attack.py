"""Files made to take a run down: each costs itself and a code, within seconds and within --memory, and the others are read.
The known ones come from the shared data, the rest is made here."""
import gzip
import json
import os
import pathlib
import resource
import shutil
import struct
import subprocess
import sys
import zlib

import support

support.require("numpy", "pydicom")
SECONDS, MEBIBYTES = 120, 1024


def bounded(tool, *arguments, memory=MEBIBYTES):
    """Run a tool; it must end by itself in time, and have held no more than `memory` MiB."""
    command = [str(support.BINARIES / tool), *map(str, arguments)]
    code = ("import resource, subprocess, sys\n"
            f"done = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout={SECONDS})\n"
            "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024\n"
            "import json; print(json.dumps([done.returncode, done.stdout, done.stderr, peak]))")
    outer = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    support.check(outer.returncode == 0, f"{command}: {outer.stderr[-300:]}")
    status, out, err, peak = json.loads(outer.stdout)
    support.check(status in (0, 1, 2, 3, 4, 5, 6), f"{command}: exit {status}: {err}")
    support.check(peak <= memory, f"{command}: held {peak} MiB")
    return status, out, err, peak


def codes(export, *extra):
    status, out, err, _ = bounded("wsp-ingest", "scan", export, "--json", *extra)
    return {f["path"]: (f["code"], f.get("detail", "")) for f in json.loads(out)["files"]}


def ingest(work, export, *extra, memory=MEBIBYTES):
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    status, text, err, peak = bounded("wsp-ingest", export, "--out", out, "--ids", "keep", "--size", 64, "--shards", 1, "--liver-model", "none",
                                      "--min-slices", 1, "--json", *extra, memory=memory)
    support.check(status in (0, 3, 4), f"exit {status}: {err}")
    rows = [line.split("\t") for line in (support.state(out) / "ledger.tsv").read_text().splitlines()[1:]]
    return json.loads(text), {r[1] for r in rows}, (support.state(out) / "quarantine.tsv").read_text(), peak


def known(work):
    attack = support.data_dir() / "corrupt" / "attack"
    expected = {"jpeg_TEM_hang": {"DECODE_FAILED"}, "kernel_dash": {"NO_LIVER_MASK"}, "nested_10000": {"UNREADABLE"},
                "nrrd_long_origin": {"BAD_HEADER"}, "nrrd_outside_file": {"BAD_HEADER"}, "seg_bomb": {"TOO_LARGE"},
                "tilt_3GB": {"TOO_LARGE"}, "fuzzed.nrrd": {"BAD_HEADER"}}
    for name, wanted in expected.items():
        _, found, quarantine, peak = ingest(work, attack / name, "--memory", "256M")
        support.check(found == wanted, f"{name}: {found}, expected {wanted}: {quarantine}")
        print(f"{name}: {', '.join(found)}, {peak} MiB")


def part10(dataset, syntax):
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax
    return bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta + dataset


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def structures(work):
    """Deflated data hide no nesting and do not swell without bound."""
    export = work / "structures"
    export.mkdir()
    syntax = b"1.2.840.10008.1.2.1.99"
    start = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0"
    nested = (b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20000
    (export / "deep.dcm").write_bytes(part10(deflated(start + nested), syntax))
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = [bomb.compress(start + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", 2 << 30))]
    packed += [bomb.compress(bytes(1 << 20)) for _ in range(1 << 11)]
    (export / "bomb.dcm").write_bytes(part10(b"".join(packed) + bomb.flush(), syntax))
    (export / "many.dcm").write_bytes(part10(start + b"\x09\x00\x10\x10UN\0\0\0\0\0\0" * 4_200_000, b"1.2.840.10008.1.2.1\0"))
    found = codes(export)
    support.check(found["deep.dcm"][0] == "UNREADABLE" and "nested" in found["deep.dcm"][1], f"{found['deep.dcm']}")
    support.check(found["bomb.dcm"][0] == "TOO_LARGE", f"{found['bomb.dcm']}")
    support.check(found["many.dcm"][0] == "UNREADABLE" and "elements" in found["many.dcm"][1], f"{found['many.dcm']}")


def element(tag, vr, value):
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    return head + (b"\0\0" + struct.pack("<I", len(value)) if vr in (b"SQ", b"OW", b"OB") else struct.pack("<H", len(value))) + value


def item(*elements):
    body = b"".join(elements)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(body)) + body


def enhanced(frames, groups, rle, side):
    """An enhanced CT of `frames` frames of side x side pixels; `groups` are the items of its per-frame groups."""
    ds = lambda text: text.encode()
    shared = item(element(0x00289145, b"SQ", item(element(0x00281052, b"DS", b"0"), element(0x00281053, b"DS", b"1"), element(0x00281054, b"LO", b"HU"))),
                  element(0x00209116, b"SQ", item(element(0x00200037, b"DS", rb"1\0\0\0\1\0"))),
                  element(0x00289110, b"SQ", item(element(0x00180050, b"DS", b"1"), element(0x00280030, b"DS", rb"1\1"))))
    us = lambda n: struct.pack("<H", n)
    head = b"".join([element(0x00080008, b"CS", rb"ORIGINAL\PRIMARY\VOLUME\NONE"), element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2.1"),
                     element(0x00080018, b"UI", b"1.2.3.4"), element(0x00080060, b"CS", b"CT"), element(0x00100020, b"LO", b"P1"),
                     element(0x0020000D, b"UI", b"1.2.3"), element(0x0020000E, b"UI", b"1.2.3.1"), element(0x00200052, b"UI", b"1.2.3.9"),
                     element(0x00280002, b"US", us(1)), element(0x00280004, b"CS", b"MONOCHROME2"), element(0x00280008, b"IS", ds(str(frames))),
                     element(0x00280010, b"US", us(side)), element(0x00280011, b"US", us(side)), element(0x00280100, b"US", us(16)),
                     element(0x00280101, b"US", us(16)), element(0x00280102, b"US", us(15)), element(0x00280103, b"US", us(1)),
                     element(0x52009229, b"SQ", shared), element(0x52009230, b"SQ", b"".join(groups))])
    words = struct.pack(f"<{side * side}h", *[(37 * i) % 900 - 500 for i in range(side * side)])
    if not rle:
        return part10(head + element(0x7FE00010, b"OW", words * frames), b"1.2.840.10008.1.2.1\0")

    def packbits(data):
        parts = [bytes([len(data[i:i + 128]) - 1]) + data[i:i + 128] for i in range(0, len(data), 128)]
        return b"".join(parts) + b"\0" * (len(b"".join(parts)) % 2)

    high, low = packbits(words[1::2]), packbits(words[0::2])
    frame = struct.pack("<16I", 2, 64, 64 + len(high), *[0] * 13) + high + low
    fragment = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame
    pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\0\0\0\0" + fragment * frames + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return part10(head + pixels, b"1.2.840.10008.1.2.5")


def many_frames(work):
    """Time grows with the number of frames, not with its square."""
    export = work / "frames"
    export.mkdir()
    (export / "empty.dcm").write_bytes(enhanced(100_000, [item()] * 100_000, False, 2))
    found = json.loads(bounded("wsp-ingest", "scan", export, "--json")[1])["codes"]
    support.check(found == {"NO_POSITION": 1}, f"100,000 empty groups: {found}")
    (export / "empty.dcm").unlink()
    n = 4000
    groups = [item(element(0x00209113, b"SQ", item(element(0x00200032, b"DS", rb"0\0\%.2f" % (i * 0.25))))) for i in range(n)]
    (export / "rle.dcm").write_bytes(enhanced(n, groups, True, 16))
    _, found, quarantine, _ = ingest(work, export)
    support.check(found == {"NO_LIVER_MASK"}, f"{n} frames of RLE: {found}: {quarantine}")


def nifti(shape, dtype_code, bits, body):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, dtype_code, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 5, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<hh", header, 252, 0, 1)
    for k in range(3):
        struct.pack_into("<f", header, 280 + 16 * k + 4 * k, 5 if k == 2 else 1)
    header[344:348] = b"n+1\0"
    return bytes(header) + body


def swollen_mask(work):
    """A megabyte of gzip that is a gigabyte of mask is refused by its header; --memory is a bound."""
    cohort = work / "cohort"
    support.run("wsp-phantom", "--out", cohort, "--subjects", 2, "--seed", 3, "--slices", "12-14", "--size", 64)
    masks = work / "masks"
    shutil.copytree(cohort / "truth", masks)
    victim = sorted(masks.glob("*.nii*"))[0]
    victim = victim.rename(victim.with_name(victim.name.removesuffix(".gz") + ".gz"))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(nifti((1024, 1024, 1000), 2, 8, b""))] + [packer.compress(bytes(1 << 20)) for _ in range(1000)]
    victim.write_bytes(b"".join(parts) + packer.flush())
    summary, _, quarantine, peak = ingest(work, cohort / "export", "--masks", masks, "--memory", "512M")
    support.check(summary["cases"] == 1 and "TOO_LARGE" in quarantine and "for its mask" in quarantine, f"{summary}: {quarantine}")
    print(f"{victim.stat().st_size >> 10} KiB of gzipped mask: TOO_LARGE, {peak} MiB")


def named_syntax(work):
    """Text in place of a transfer syntax UID goes nowhere."""
    export = work / "syntax"
    export.mkdir()
    body = enhanced(1, [item()], False, 2)
    for i, syntax in enumerate((b"DOE^JANE 19481203 ", b"1.2.3.19481203")):
        data = part10(body[body.index(b"\x08\x00\x08\x00CS"):], syntax)
        (export / f"{i}.dcm").write_bytes(data)
    shutil.rmtree(work / "out", ignore_errors=True)
    _, out, err, _ = bounded("wsp-ingest", export, "--out", work / "out", "--ids", "keep", "--liver-model", "none")
    text = out + err + "".join(p.read_text() for p in (work / "out").rglob("*.tsv"))
    support.check("19481203" not in text and "JANE" not in text, text)


with support.temporary() as directory:
    work = pathlib.Path(directory)
    known(work)
    structures(work)
    many_frames(work)
    swollen_mask(work)
    named_syntax(work)
print("files made to take a run down cost themselves and a code")
