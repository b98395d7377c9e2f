#!/usr/bin/env python3
"""A batch of 8 screenshots through `rivulet run decklists` with one worker and with two: CPU an image, memory of a worker, wall time.

usage: bench/batch.py [DIR] [--build DIR] [--rounds 5] [--wait 20]

DIR holds images (or a folder images/ of them) and cards.csv or catalogue.csv; the project's own samples without it. Wall time is the job's,
from its first event to its last: the models are loaded then. The best of the rounds counts for wall time, the median of all images for CPU.
"""
import argparse
import json
import os
import pathlib
import sqlite3
import subprocess
import tempfile
import time

from common import ROOT, Table, median, quiet

BATCH = 8


def find(folder):
    """(images, catalogue)"""
    images = folder / 'images' if (folder / 'images').is_dir() else folder
    files = sorted(str(path) for path in images.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp'))
    files = [path for path in files if 'damaged' not in path]
    catalogue = next(path for path in (folder / 'cards.csv', folder / 'catalogue.csv') if path.exists())
    return (files * BATCH)[:BATCH], str(catalogue)


def peak_mb(pid):
    """The most that a child of the process has had in memory."""
    peak = 0
    for name in os.listdir('/proc'):
        try:
            with open(f'/proc/{name}/status') as file:
                fields = dict(line.split(':', 1) for line in file)
        except (OSError, ValueError):
            continue
        if int(fields['PPid']) == pid and 'VmHWM' in fields:
            peak = max(peak, int(fields['VmHWM'].split()[0]) / 1024)
    return peak


def run(build, workers, images, catalogue):
    """(wall s of the job, wall s of the command, [CPU s an image], peak MB of a worker)"""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        child = subprocess.Popen([os.path.join(build, 'rivulet'), 'run', 'decklists', '--catalogue', catalogue, '--workers', str(workers),
                                  '--data', os.path.join(folder, 'data'), *images], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        peak = 0
        for line in child.stdout:
            assert b'"decklist"' in line, line
            peak = max(peak, peak_mb(child.pid))
        assert child.wait() == 0
        whole = time.monotonic() - began
        base = sqlite3.connect(os.path.join(folder, 'data', 'log.db'))
        first, last = base.execute('SELECT min(at), max(at) FROM event').fetchone()
        cpu = [json.loads(body)['stats']['cpu_ms'] / 1000 for body, in base.execute('SELECT body FROM event WHERE kind = 8')]
        base.close()
    return (last - first) / 1e6, whole, cpu, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dir', nargs='?', type=pathlib.Path, default=pathlib.Path(ROOT, 'examples', 'decklists'))
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--wait', type=float, default=20)
    options = parser.parse_args()
    images, catalogue = find(options.dir)
    table = Table(f'A batch of {BATCH} screenshots ({len(set(images))} different ones)')
    found, loud = {1: [], 2: []}, 0
    for _ in range(options.rounds):
        for workers in found:
            loud += not quiet(options.wait)
            found[workers].append(run(options.build, workers, images, catalogue))
    cpu = {workers: median([one for each in rounds for one in each[2]]) for workers, rounds in found.items()}
    wall = {workers: min(each[0] for each in rounds) for workers, rounds in found.items()}
    table.row('CPU an image, one worker, median', cpu[1], 's', 0.8)
    table.row('CPU an image, two workers, median', cpu[2], 's')
    table.row('    against one worker', cpu[2] / cpu[1], 'times', 1.1)
    table.row('memory of a worker, peak', max(each[3] for rounds in found.values() for each in rounds), 'MB', 200)
    table.row(f'wall time of the batch, one worker, best of {options.rounds}', wall[1], 's')
    table.row(f'wall time of the batch, two workers, best of {options.rounds}', wall[2], 's')
    table.row('    against one worker', wall[2] / wall[1], 'times', 0.6)
    table.row('the whole command, models loaded first, two workers, best', min(each[1] for each in found[2]), 's')
    if loud:
        table.note(f'{loud} runs found no quiet moment in {options.wait:.0f} s: others worked on the machine meanwhile')
    table.end()


if __name__ == '__main__':
    main()
