"""Read an event file without any of the code that wrote it: TFRecord framing, CRC-32C and protobuf's wire
format by hand, PNG through zlib. Prints one JSON object an event. Standard library only."""
import json
import math
import struct
import sys
import zlib


def divided(byte):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 & -(byte & 1))
    return byte


TABLE = [divided(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC catalogues


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        assert at + 12 <= len(data), "torn record header"
        length, crc = struct.unpack_from("<QI", data, at)
        assert masked(data[at : at + 8]) == crc, "CRC of a length"
        body = data[at + 12 : at + 12 + length]
        assert len(body) == length and at + 16 + length <= len(data), "torn record"
        assert masked(body) == struct.unpack_from("<I", data, at + 12 + length)[0], "CRC of data"
        at += 16 + length
        yield body


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def message(data):
    """Fields of a message: {number: [values]}."""
    fields = {}
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = data[at : at + 8], at + 8
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
            assert len(value) == length
        elif kind == 5:
            value, at = data[at : at + 4], at + 4
        else:
            raise AssertionError(f"wire type {kind}")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def paeth(a, b, c):
    p = a + b - c
    distances = (abs(p - a), abs(p - b), abs(p - c))
    return (a, b, c)[distances.index(min(distances))]


def grey_png(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, header = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        at += 12 + length
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
    width, height, depth, colour = header[:4]
    assert (depth, colour, header[6]) == (8, 0, 0), "8-bit grey, not interlaced"
    raw = zlib.decompress(packed)
    above = [0] * width
    pixels = []
    for y in range(height):
        kind = raw[y * (width + 1)]
        line = list(raw[y * (width + 1) + 1 : (y + 1) * (width + 1)])
        for x in range(width):
            left = line[x - 1] if x else 0
            corner = above[x - 1] if x else 0
            line[x] = (line[x] + (0, left, above[x], (left + above[x]) // 2, paeth(left, above[x], corner))[kind]) & 255
        pixels += line
        above = line
    return width, height, pixels


def text(value):
    return value.decode("utf-8")


def event(data):
    fields = message(data)
    out = {"wall_time": struct.unpack("<d", fields[1][0])[0], "step": fields.get(2, [0])[0]}
    if 3 in fields:
        out["file_version"] = text(fields[3][0])
    if 7 in fields:
        out["session_status"] = message(fields[7][0])[1][0]
    if 5 in fields:
        (raw,) = message(fields[5][0])[1]
        value = message(raw)
        out["tag"] = text(value[1][0])
        if 2 in value:
            number = struct.unpack("<f", value[2][0])[0]
            out["scalar"] = number if math.isfinite(number) else str(number)
        if 4 in value:
            image = message(value[4][0])
            width, height, pixels = grey_png(image[4][0])
            assert (image[1][0], image[2][0], image[3][0]) == (height, width, 1)
            out.update(width=width, height=height, pixels=pixels)
        if 8 in value:
            tensor = message(value[8][0])
            assert tensor[1][0] == 7
            assert message(message(tensor[2][0])[2][0])[1][0] == 1
            out["text"] = text(tensor[8][0])
            out["plugin"] = text(message(message(value[9][0])[1][0])[1][0])
    return out


for record in records(sys.argv[1]):
    print(json.dumps(event(record)))
