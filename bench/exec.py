#!/usr/bin/env python3
"""1,000 items that each start /bin/true: `rivulet run` with a stage exec against GNU parallel, in turn, as many programs at a time in both.

usage: bench/exec.py [--build DIR] [--items 1000] [--rounds 5] [--jobs CORES] [--wait 20]

Wall time of the whole command, its start included; the log of rivulet is on disk, every item durable before it starts and when it has ended. Status 1 when the
median of the rounds' ratios is below 5.
"""
import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from common import ROOT, Table, median, quiet

RATIO_MIN = 5
PIPELINE = """pipeline: nothing
version: 1
stages:
  - exec: { argv: [/bin/true], stdin: none, stdout: none }
"""


def timed(command, **more):
    """(wall s, CPU s of it and of all that it started)"""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, **more)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rivulet(program, folder, items, jobs, number):
    """The same, and all items have succeeded."""
    pipeline, values, results = (os.path.join(folder, name) for name in ('nothing.yaml', 'values.jsonl', 'results'))
    with open(pipeline, 'w') as file:
        file.write(PIPELINE)
    with open(values, 'w') as file:
        file.writelines(f'{i}\n' for i in range(1, items + 1))
    with open(results, 'wb') as out:
        took = timed([program, 'run', pipeline, '--workers', str(jobs), '--data', os.path.join(folder, f'data-{number}'), '--values', values],
                     stdout=out, stderr=subprocess.DEVNULL)
    with open(results) as file:
        assert sum('"result"' in line for line in file) == items
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--items', type=int, default=1000)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--wait', type=float, default=20)
    args = parser.parse_args()
    parallel = shutil.which('parallel')
    if not parallel:
        sys.exit('GNU parallel is not here: apt-get install parallel')
    program = os.path.join(args.build, 'rivulet')
    table = Table(f'{args.items} no-op programs, {args.jobs} at a time, {args.rounds} rounds in turn')
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        if not quiet(args.wait):
            table.note('others were at work meanwhile')
        for number in range(args.rounds):
            ours.append(rivulet(program, folder, args.items, args.jobs, number))
            theirs.append(timed([parallel, '-j', str(args.jobs), '/bin/true', ':::', *map(str, range(1, args.items + 1))], stderr=subprocess.DEVNULL))
    table.row('rivulet: items/s, median', args.items / median([wall for wall, _ in ours]))
    table.row('GNU parallel: items/s, median', args.items / median([wall for wall, _ in theirs]))
    table.row('CPU an item, rivulet and its programs', median([cpu for _, cpu in ours]) / args.items * 1e6, 'us')
    table.row('CPU an item, parallel and its programs', median([cpu for _, cpu in theirs]) / args.items * 1e6, 'us')
    ratios = [there / here for (here, _), (there, _) in zip(ours, theirs)]
    table.note('ratios of the rounds: ' + ', '.join(f'{ratio:.1f}' for ratio in ratios))
    table.row('items/s against GNU parallel, median', median(ratios), 'times', RATIO_MIN, median(ratios) >= RATIO_MIN)
    table.end()


if __name__ == '__main__':
    main()
