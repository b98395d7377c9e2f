#!/usr/bin/env python3
"""The demo: Rivulet's main job on the sample screenshots, then a pipeline file on recorded answers, one line a result as it comes.

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
# The other sides of the recording; the keys are none.
COLLECTOR_PORT, MODEL_PORT = 18711, 18712
PROFILES_FOLDER = os.path.join('examples', 'profiles')
PROFILES = ['run', os.path.join('examples', 'profiles.yaml'), '--fixtures', os.path.join(PROFILES_FOLDER, 'fixtures'),
            '--values', os.path.join(PROFILES_FOLDER, 'urls.jsonl'), '--params', '{"campaign":"hiking boots, Oslo"}']
PROFILES_ENV = {'COLLECTOR_URL': f'http://127.0.0.1:{COLLECTOR_PORT}', 'LLM_URL': f'http://127.0.0.1:{MODEL_PORT}/v1', 'LLM_MODEL': 'a-model',
                'BRIGHTDATA_API_KEY': 'none', 'OPENAI_API_KEY': 'none'}
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


def describe_batch(told):
    """The same for a batch of profiles."""
    if 'result' not in told:
        return f'failed: {told.get("error")} ({told.get("error_type")})', False
    best = max(told['result'], key=lambda profile: profile['llm']['score'])
    scores = ', '.join(str(profile['llm']['score']) for profile in told['result'])
    return f'{len(told["result"])} profiles, scores {scores}; best: {best["llm"]["summary"]}', True


def forward(stream):
    for line in stream:
        print(f'         {line.rstrip()}', flush=True)


def stream(command, describe, name_of, env=None):
    """Prints each line of the program as it comes. (status, good ones, bad ones, seconds until the first, all seconds)"""
    began = time.monotonic()
    child = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, encoding='utf-8', errors='replace')
    watchdog = threading.Timer(SECONDS_MAX, child.kill)     # a demo never hangs
    watchdog.daemon = True
    watchdog.start()
    warnings = threading.Thread(target=forward, args=(child.stderr,), daemon=True)
    warnings.start()
    good, bad, first = 0, 0, None
    try:
        for line in child.stdout:
            told = json.loads(line)
            words, is_good = describe(told)
            elapsed = time.monotonic() - began
            first = elapsed if first is None else first
            good, bad = good + is_good, bad + (not is_good)
            print(f'{elapsed:6.2f} s {name_of(told):24} {words}', flush=True)
        status = child.wait()
    except KeyboardInterrupt:
        child.terminate()
        raise
    finally:
        watchdog.cancel()
        warnings.join(5)
    if status not in (0, 1) or not good:
        raise SystemExit(f'demo: {" ".join(command[:3])} ended with status {status} after {good} results')
    return good, bad, first, time.monotonic() - began


def screenshots(program, images):
    catalogue = os.path.join(SAMPLES, 'catalogue.csv')
    workers = min(os.cpu_count() or 1, 4)
    print(f'\nReading {len(images)} screenshots with {workers} workers; each line comes the moment its image is read.\n', flush=True)
    read, refused, first, elapsed = stream([program, 'run', 'decklists', '--catalogue', catalogue, '--workers', str(workers), *images], describe,
                                           lambda told: os.path.basename(str(told.get('filename'))))
    print(f'\n{read} read, {refused} refused (one sample is damaged on purpose); the first after {first:.2f} s, all after {elapsed:.2f} s.\n\n'
          f'The same as a server, with a page to drop images on:\n\n'
          f'    CARD_MAPPING_PATH={catalogue} {program} serve --listen 127.0.0.1:8080 --data data\n\n'
          f'then open http://127.0.0.1:8080/ in a browser.')


def profiles(program):
    print('\nA pipeline of a file, examples/profiles.yaml, on recorded answers, with no network: addresses of profiles are collected in batches by a remote\n'
          'side, brought to one shape, scored by a model; each line comes the moment its batch is scored, while others are still being collected.\n', flush=True)
    done, failed, first, elapsed = stream([program, *PROFILES], describe_batch, lambda told: str(told.get('filename')), PROFILES_ENV)
    print(f'\n{done} batches scored, {failed} failed; the first after {first:.2f} s, all after {elapsed:.2f} s.')


def main():
    os.chdir(ROOT)
    program = sys.argv[1] if len(sys.argv) > 1 else os.path.join('build', 'rivulet')
    images = sorted(path for ending in ('jpg', 'jpeg', 'png', 'webp') for path in glob.glob(os.path.join(SAMPLES, '*.' + ending)))
    if not images:
        print(f'demo: no screenshots in {SAMPLES}', file=sys.stderr)
        return 2
    try:
        screenshots(program, images)
        profiles(program)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
