#!/usr/bin/env python3
"""Make the hostile files that the program has to answer with an error, or with a plain result, and nothing else.

usage: hostile.py FOLDER

Writes the files and prints one JSON object a line: {"filename", "content_type", "error_type", "message"}. error_type and
message are regular expressions that the item's error has to match; error_type null means that a result is due. Tests
import write(). Python's standard library only; the same files every time.
"""
import json
import pathlib
import struct
import sys
import zlib

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "decklists"
MIB = 1024 * 1024
EITHER = "^(validation|processing)$"


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data, *chunks, bits=8):
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def deflated_zeros(count):
    packer, out = zlib.compressobj(9), []
    for at in range(0, count, MIB):
        out.append(packer.compress(bytes(min(MIB, count - at))))
    return b"".join(out) + packer.flush()


def png_of_zeros(width, height, *chunks):
    return png(width, height, zlib.compress(bytes((width + 1) * height)), *chunks)


def jpeg_segment(kind, data):
    return b"\xff" + bytes((kind,)) + struct.pack(">H", len(data) + 2) + data


def jpeg_frame(kind, width, height):
    return jpeg_segment(kind, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0))


# One code of one bit, 0, that means "nothing changes": an all-grey picture needs no encoder.
JPEG_TABLES = jpeg_segment(0xDB, b"\0" + b"\1" * 64) + b"".join(
    jpeg_segment(0xC4, bytes((table, 1)) + bytes(15) + b"\0") for table in (0x00, 0x10))


def jpeg_grey(width, height, *segments):
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    scan = jpeg_segment(0xDA, b"\1\1\0\0\x3f\0")
    return (b"\xff\xd8" + b"".join(segments) + JPEG_TABLES + jpeg_frame(0xC0, width, height) + scan
            + bytes((blocks * 2 + 7) // 8) + b"\xff\xd9")


def absurd_exif():
    """An EXIF block whose table counts 65,535 entries, whose values lie 4 GB away and whose orientation is 99."""
    entries = struct.pack(">HHII", 0x0112, 3, 1, 99 << 16) + struct.pack(">HHII", 0x8769, 4, 0xFFFFFFFF, 0xFFFFFFF0)
    tiff = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 65535) + entries + struct.pack(">I", 8)
    return jpeg_segment(0xE1, b"Exif\0\0" + tiff)


def scan_bomb():
    """A progressive picture of 16 megapixels whose 3,000 scans each pass over all of it."""
    scans = b"".join(jpeg_segment(0xDA, b"\1\1\0\0\0" + bytes((0x00 if at == 0 else 0x10,))) for at in range(3000))
    return b"\xff\xd8" + JPEG_TABLES + jpeg_frame(0xC2, 4000, 4000) + scans + b"\xff\xd9"


def webp_lying():
    """The container says 4000 x 3000, the picture in it 16383 x 16383, and the file holds neither."""
    canvas = struct.pack("<I", 0) + (3999).to_bytes(3, "little") + (2999).to_bytes(3, "little")
    bits = 16382 | 16382 << 14
    picture = b"\x2f" + struct.pack("<I", bits) + bytes(27)
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", 0x00FFFFF0) + picture
    return b"RIFF" + struct.pack("<I", 0x7FFFFFF0) + body


def with_segment(data, segment):
    """A JPEG file with one more segment right after its start, where readers look for EXIF first."""
    return data[:2] + segment + data[2:]


def cases():
    """(file name, content type, error_type, message, function that gives the bytes)"""
    sample = (SAMPLES / "10-half-size.jpg").read_bytes()
    damaged = "(?i)truncat|damag|cut|end"
    foreign = "(?i)image"
    return (
        ("truncated.jpg", "image/jpeg", "^processing$", damaged, lambda: sample[: len(sample) // 2]),
        ("only-start.jpg", "image/jpeg", EITHER, damaged, lambda: sample[:11]),
        ("zero-bytes.jpg", "image/jpeg", EITHER, "(?i)empty|image", lambda: b""),
        ("gif-renamed.jpg", "image/jpeg", EITHER, foreign, lambda: b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"),
        ("notes.txt", "text/plain", "^validation$", foreign, lambda: "3x 潮\n".encode() * 50),
        ("text-renamed.png", "image/png", EITHER, foreign, lambda: b"this is no picture\n" * 50),
        ("eleven-megabytes.jpg", "image/jpeg", "^validation$", r"^File size \(11\.0MB\) exceeds maximum \(10MB\)$", lambda: sample + bytes(11 * MIB - len(sample))),
        ("bomb-by-header.png", "image/png", EITHER, "30000", lambda: png(30000, 30000, zlib.compress(bytes(1000)))),
        ("bomb-deflated.png", "image/png", EITHER, "30000", lambda: png(30000, 30000, deflated_zeros(3751 * 30000), bits=1)),
        ("bomb-more-than-said.png", "image/png", EITHER, ".", lambda: png(64, 64, deflated_zeros(128 * MIB))),
        ("bomb-in-text.png", "image/png", EITHER, ".", lambda: png_of_zeros(64, 64, png_chunk(b"zTXt", b"note\0\0" + deflated_zeros(128 * MIB)))),
        ("many-chunks.png", "image/png", EITHER, ".", lambda: png_of_zeros(64, 64, png_chunk(b"tEXt", b"k\0v") * 100000)),
        ("no-size.png", "image/png", EITHER, damaged, lambda: png(0, 0, b"")),
        ("lying.webp", "image/webp", EITHER, ".", webp_lying),
        ("no-deck.jpg", "image/jpeg", EITHER, ".", lambda: jpeg_grey(640, 640)),
        ("two-frames.jpg", "image/jpeg", EITHER, ".", lambda: jpeg_grey(64, 64).replace(JPEG_TABLES, JPEG_TABLES + jpeg_frame(0xC0, 4000, 4000))),
        ("huge-by-header.jpg", "image/jpeg", EITHER, "65500", lambda: jpeg_grey(64, 64).replace(jpeg_frame(0xC0, 64, 64), jpeg_frame(0xC0, 65500, 65500))),
        ("scan-bomb.jpg", "image/jpeg", EITHER, ".", scan_bomb),
        ("absurd-exif.jpg", "image/jpeg", EITHER, ".", lambda: jpeg_grey(64, 64, absurd_exif())),
        ("absurd-exif-around-a-deck.jpg", "image/jpeg", None, None, lambda: with_segment(sample, absurd_exif())),
    )


def write(folder):
    """Write all files into `folder`; their list, in order."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name, content_type, error_type, message, make in cases():
        (folder / name).write_bytes(make())
        out.append(dict(filename=name, content_type=content_type, error_type=error_type, message=message))
    return out


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for row in write(sys.argv[1]):
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
