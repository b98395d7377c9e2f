#!/usr/bin/env python3
"""Draw the sample decklists, write those given as text, and put the truth beside each.

usage: render.py [--only NAME] [FOLDER]

FOLDER is examples/decklists unless given. The same sources and fonts give the same files. Needs Pillow (python3-pil)
and Noto Sans CJK (fonts-noto-cjk).
"""
import argparse
import io
import json
import pathlib

import decks
import page
from PIL import Image

QUALITY = 86
BYTES_MAX = 1_000_000


def encode(image, spec):
    """The file's bytes: format by its suffix, then whatever the sample does to the file itself."""
    out, suffix = io.BytesIO(), pathlib.Path(spec["file"]).suffix
    if spec.get("scale"):
        image = image.resize((round(image.width * spec["scale"]), round(image.height * spec["scale"])), Image.LANCZOS)
    if suffix == ".png":
        image.save(out, "PNG", optimize=True)
    elif suffix == ".webp":
        image.save(out, "WEBP", quality=spec["quality"], method=4)
    else:
        options = {}
        if spec.get("orientation"):
            exif = Image.Exif()
            exif[0x0112] = spec["orientation"]
            options["exif"] = exif.tobytes()
            image = image.transpose(Image.ROTATE_90)
        image.save(out, "JPEG", quality=spec.get("quality", QUALITY), subsampling="4:2:0", optimize=True, **options)
    data = out.getvalue()
    return data[: len(data) * 2 // 5] if spec.get("damaged") else data


def write(path, data, truth):
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(truth, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="draw only the files whose name contains this")
    options.add_argument("folder", nargs="?", type=pathlib.Path, default=decks.catalogue_path().parent)
    chosen = options.parse_args()
    (chosen.folder / "text").mkdir(parents=True, exist_ok=True)
    cards = decks.read_catalogue(decks.catalogue_path())
    for spec in decks.DECKS:
        if chosen.only not in spec["file"]:
            continue
        deck, truth = decks.load(spec, cards)
        image = page.draw_page(deck)
        data = encode(image, spec)
        if len(data) >= BYTES_MAX:
            raise SystemExit(f"{spec['file']} would have {len(data)} bytes, more than the {BYTES_MAX} that a sample may have")
        write(chosen.folder / spec["file"], data, truth)
        print(f"{spec['file']}: {image.width} x {image.height}, {len(data)} bytes")
    for spec in decks.TEXTS:
        if chosen.only in spec["file"]:
            write(chosen.folder / "text" / spec["file"], *decks.load_text(spec, cards))
            print(f"text/{spec['file']}")


if __name__ == "__main__":
    main()
