"""Write the fixed corpus of every fuzz target: python3 seeds.py OUT. Small sound files, and some that once took a run down."""
import json
import pathlib
import struct
import sys
import zlib

out = pathlib.Path(sys.argv[1])
source = pathlib.Path(__file__).resolve().parents[2]


def seed(target, name, data):
    (out / target).mkdir(parents=True, exist_ok=True)
    (out / target / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def dicom(body, syntax=b"1.2.840.10008.1.2.1\0"):
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax
    return bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta + body


uid = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0"
item = b"\x08\x00\x40\x11SQ\0\0\x1c\0\0\0\xfe\xff\x00\xe0\x14\0\0\0\x08\x00\x60\x00CS\x02\x00CT\x28\x00\x10\x00US\x02\x00\x10\x00"[:-2]
deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
packer = zlib.compressobj(9, zlib.DEFLATED, -15)
seed("structure", "flat", dicom(uid + b"\x28\x00\x10\x00US\x02\x00\x10\x00"))
seed("structure", "sequence", dicom(uid + item))
seed("structure", "nested", dicom(uid + deep * 70))
seed("structure", "deflated", dicom(packer.compress(uid + deep * 70) + packer.flush(), b"1.2.840.10008.1.2.1.99"))
seed("structure", "implicit", dicom(b"\x08\x00\x16\x00\x1a\0\0\x001.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.2\0"))
seed("structure", "big", dicom(b"\x00\x08\x00\x16UI\x00\x1a1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.2.2\0"))

grid = ("NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n"
        "space directions: (1,0,0) (0,1,0) (0,0,5)\nkinds: domain domain domain\nspace origin: (0,0,0)\n")
seed("nrrd", "raw", (grid + "endian: little\nencoding: raw\n\n").encode() + bytes(16))
seed("nrrd", "text", grid + "encoding: ascii\n\n1 2 3 4 5 6 7 8\n")
seed("nrrd", "hex", grid + "endian: big\nencoding: hex\n\n" + "00" * 16)
seed("nrrd", "gzip", (grid + "endian: little\nencoding: gzip\n\n").encode() + zlib.compress(bytes(16), 9))
seed("nrrd", "list", grid + "endian: little\nencoding: raw\ndata file: LIST\na.raw\nb.raw\n")
seed("nrrd", "pattern", grid + "endian: little\nencoding: raw\ndata file: x_%03d.raw 1 2 1\n")
seed("nrrd", "outside", grid + "endian: little\nencoding: raw\ndata file: /etc/hostname\n")
seed("nrrd", "origin", grid.replace("(0,0,0)", "(" + "9" * 4000 + ",0,0)") + "encoding: raw\n\n")
seed("nrrd", "units", grid + 'space units: "mm" "mm" "cm"\nSegment0_Name:=liver\nSegment0_LabelValue:=2\nSegment0_ID:=s\nencoding: ascii\n\n' + "1 " * 8)


def nifti(second):
    header = bytearray(544 if second else 352)
    if second:
        struct.pack_into("<i", header, 0, 540)
        header[4:12] = b"n+2\0\r\n\x1a\n"
        struct.pack_into("<hh8q", header, 12, 4, 16, 3, 2, 2, 2, 1, 1, 1, 1)
        struct.pack_into("<8d", header, 104, 1, 1, 1, 5, 0, 0, 0, 0)
        struct.pack_into("<qdd", header, 168, 544, 1, 0)
        struct.pack_into("<ii", header, 344, 0, 1)
        for k in range(3):
            struct.pack_into("<d", header, 400 + 32 * k + 8 * k, 5 if k == 2 else 1)
    else:
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, 3, 2, 2, 2, 1, 1, 1, 1)
        struct.pack_into("<hh", header, 70, 4, 16)
        struct.pack_into("<8f", header, 76, 1, 1, 1, 5, 0, 0, 0, 0)
        struct.pack_into("<fff", header, 108, 352, 1, 0)
        struct.pack_into("<hh6f", header, 252, 1, 1, 0, 0, 0, 0, 0, 0)
        for k in range(3):
            struct.pack_into("<f", header, 280 + 16 * k + 4 * k, 5 if k == 2 else 1)
        header[344:348] = b"n+1\0"
    return bytes(header) + bytes(16)


seed("nifti", "one", nifti(False))
seed("nifti", "two", nifti(True))
packer = zlib.compressobj(9, zlib.DEFLATED, 31)
seed("nifti", "gzip", packer.compress(nifti(False)) + packer.flush())

for name in ("phantom.json", "hospital-template.json"):
    seed("manifest", name, (source / "data-manifests" / name).read_bytes())
seed("manifest", "map", '{"name": "x", "subject_map": {"a": "b"}, "liver_labels": [1, 2]}')
rows = ("subject,radiological,metavir,ishak,reader,stiffness_kpa\nsubject-0000,none,F0,0,1,7.3\n"
        "subject-0001,severe,F4,6,1,\n")
seed("labels", "comma", rows)
seed("labels", "semicolon", "\ufeff" + rows.replace(",", ";"))
seed("labels", "quoted", rows.replace("none", '"none"').replace("\n", "\r\n"))

entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
seed("safetensors", "one", json.dumps({"__metadata__": {"wsp.encoder": "tinynet", "wsp.sha256": "0" * 64}, "a": entry}))
seed("safetensors", "two", json.dumps({"a": {**entry, "shape": [2], "data_offsets": [0, 8]}, "b": {**entry, "shape": [4], "data_offsets": [8, 24]}}))
seed("safetensors", "empty", json.dumps({"a": {**entry, "shape": [0, 2 ** 62], "data_offsets": [0, 0]}, "b": entry}))
