#!/usr/bin/env python3
"""The demo: Rivulet's main job on the sample screenshots, one line a result as it comes.

Usage: tools/demo.py [PROGRAM]. The program itself writes JSON Lines; this only prints them for people.
"""
import glob
import json
import os
import subprocess
import sys
import threading
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
SAMPLES = os.path.join('examples', 'decklists')
SECONDS_MAX = 600
SECTIONS = [('legend', 'legend'), ('main_deck', 'main'), ('battlefields', 'battlefields'), ('runes', 'runes'), ('side_deck', 'side')]


def section_counts(deck):
    """`1 legend, 40 main, …` of a decklist."""
    counts = ((sum(card.get('quantity', 0) for card in deck.get(key) or []), word) for key, word in SECTIONS)
    return ', '.join(f'{count} {word}' for count, word in counts if count)


def describe(told):
    """One JSON line of the program as a line for people, and whether it is a success."""
    if 'decklist' not in told:
        return f'not read: {told.get("error")} ({told.get("error_type")})', False
    deck = told['decklist']
    metadata, stats = deck.get('metadata') or {}, deck.get('stats') or {}
    title = metadata.get('deck_name') or metadata.get('legend_name') or 'a deck'
    unknown = len(deck.get('unmatched') or [])
    words = f'{title}: {section_counts(deck)}; {stats.get("matched_cards")} of {stats.get("total_cards")} cards known'
    return words + (f', {unknown} not in the catalogue' if unknown else ''), True


def forward(stream):
    for line in stream:
        print(f'         {line.rstrip()}', flush=True)


def main():
    os.chdir(ROOT)
    program = sys.argv[1] if len(sys.argv) > 1 else os.path.join('build', 'rivulet')
    catalogue = os.path.join(SAMPLES, 'catalogue.csv')
    images = sorted(path for ending in ('jpg', 'jpeg', 'png', 'webp') for path in glob.glob(os.path.join(SAMPLES, '*.' + ending)))
    if not images:
        print(f'demo: no screenshots in {SAMPLES}', file=sys.stderr)
        return 2
    workers = min(os.cpu_count() or 1, 4)
    print(f'\nReading {len(images)} screenshots with {workers} workers; each line comes the moment its image is read.\n', flush=True)
    began = time.monotonic()
    child = subprocess.Popen([program, 'run', 'decklists', '--catalogue', catalogue, '--workers', str(workers), *images],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding='utf-8', errors='replace')
    watchdog = threading.Timer(SECONDS_MAX, child.kill)     # a demo never hangs
    watchdog.daemon = True
    watchdog.start()
    warnings = threading.Thread(target=forward, args=(child.stderr,), daemon=True)
    warnings.start()
    read, refused, first = 0, 0, None
    try:
        for line in child.stdout:
            told = json.loads(line)
            words, good = describe(told)
            elapsed = time.monotonic() - began
            first = elapsed if first is None else first
            read, refused = read + good, refused + (not good)
            print(f'{elapsed:6.2f} s {os.path.basename(str(told.get("filename"))):24} {words}', flush=True)
        status = child.wait()
    except KeyboardInterrupt:
        child.terminate()
        return 130
    finally:
        watchdog.cancel()
        warnings.join(5)
    if status not in (0, 1) or not read:
        print(f'demo: {program} ended with status {status} after {read} results', file=sys.stderr)
        return 1
    elapsed = time.monotonic() - began
    print(f'\n{read} read, {refused} refused (one sample is damaged on purpose); the first after {first:.2f} s, all after {elapsed:.2f} s.\n\n'
          f'The same as a server, with a page to drop images on:\n\n'
          f'    CARD_MAPPING_PATH={catalogue} {program} serve --listen 127.0.0.1:8080 --data data\n\n'
          f'then open http://127.0.0.1:8080/ in a browser.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
