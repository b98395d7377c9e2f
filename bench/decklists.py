#!/usr/bin/env python3
"""How well, how fast and in how much memory decklists are read, on real screenshots and on poorer copies of them.

usage: bench/decklists.py DIR [--program build/bench/read-decklists] [--engine onnx|tesseract|auto] [--repeat 3]

DIR holds images/ (JPEG, PNG, WebP), truth/ (NAME.json beside each) and cards.csv. Copies are made with ImageMagick in a temporary folder.
A card is right when its section, its English name and its quantity are right. Prints a line for each kind of copy; exit status 1 when a
deck of the first three kinds is not exact or has less than nine tenths of its metadata.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

SECTIONS = ('legend', 'main_deck', 'battlefields', 'runes', 'side_deck')
FIELDS = ('player', 'deck_name', 'event', 'date', 'placement')
KINDS = (                                    # name, ImageMagick's options, has to be exact
    ('as it is', None, True),
    ('half size', ['-resize', '50%', '-quality', '92'], True),
    ('quality 40', ['-quality', '40'], True),
    ('half size, quality 40', ['-resize', '50%', '-quality', '40'], False),
    ('a third', ['-resize', '33.3%', '-quality', '85'], False),
    ('a quarter', ['-resize', '25%', '-quality', '85'], False),
    ('quality 20', ['-quality', '20'], False),
    ('1440 wide', ['-resize', '1440x', '-quality', '90'], False),
    ('gamma 1.12', ['-gamma', '1.12', '-quality', '90'], False),
    ('blur 3', ['-blur', '0x3', '-quality', '90'], False),
)


def cards(deck):
    found = {}
    for section in SECTIONS:
        for card in deck.get(section) or []:
            key = section, card['name_en']
            found[key] = found.get(key, 0) + card['quantity']
    return found


def copies(images, options, folder):
    if options is None:
        return images
    made = []
    for image in images:
        made.append(folder / (image.stem + '.jpg'))
        subprocess.run(['convert', str(image), *options, str(made[-1])], check=True)
    return made


def read(args, images):
    """({stem: decklist}, CPU seconds of each image, peak RSS in MB, images that failed)"""
    command = [args.program, '--engine', args.engine, '--catalogue', str(args.dir / 'cards.csv'), '--repeat', str(args.repeat)]
    run = subprocess.run(command + [str(image) for image in images], capture_output=True, text=True)
    if run.returncode not in (0, 1):
        sys.exit(run.stderr)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    decks = {pathlib.Path(row['filename']).stem: row['decklist'] for row in rows if 'decklist' in row}
    times = [float(value) for value in re.findall(r': ([0-9.]+) s CPU$', run.stderr, re.M)]
    peak = int(re.search(r'peak RSS (\d+) KiB', run.stderr).group(1)) / 1024
    return decks, times, peak, len(rows) - len(decks)


def score(truth, decks):
    """(cards right, cards, wrong extras, decks exact, metadata right, metadata)"""
    sums = [0] * 6
    for stem, want in truth.items():
        have, wanted = cards(decks.get(stem, {})), cards(want)
        right = sum(have.get(key) == quantity for key, quantity in wanted.items())
        extra = sum(key not in wanted for key in have)
        metadata = decks.get(stem, {}).get('metadata', {})
        good = sum(metadata.get(field) == want['metadata'].get(field) for field in FIELDS)
        row = right, len(wanted), extra, right == len(wanted) and not extra, good, len(FIELDS)
        sums = [a + b for a, b in zip(sums, row)]
    return sums


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dir', type=pathlib.Path)
    parser.add_argument('--program', default='build/bench/read-decklists')
    parser.add_argument('--engine', default='onnx', choices=('onnx', 'tesseract', 'auto'))
    parser.add_argument('--repeat', type=int, default=1, help='times each image is read; the CPU time is the median of all')
    args = parser.parse_args()
    images = sorted(path for path in (args.dir / 'images').iterdir() if path.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp'))
    truth = {path.stem: json.loads(path.read_text()) for path in sorted((args.dir / 'truth').glob('*.json'))}
    bad = 0
    print(f'{"copy":24}{"decks exact":>12}{"cards right":>14}{"wrong":>7}{"metadata":>10}{"CPU s median":>14}{"peak MB":>9}')
    for name, options, strict in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            decks, times, peak, failed = read(args, copies(images, options, pathlib.Path(folder)))
        right, total, extra, exact, good, fields = score(truth, decks)
        bad += strict and (exact < len(truth) or extra > 0 or good * 10 < fields * 9)
        print(f'{name:24}{f"{exact}/{len(truth)}":>12}{f"{right}/{total}":>14}{extra:>7}{f"{good}/{fields}":>10}'
              f'{statistics.median(times):>14.3f}{peak:>9.0f}' + (f'  {failed} failed' if failed else ''))
    sys.exit(bad > 0)


main()
