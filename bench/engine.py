#!/usr/bin/env python3
"""What a durable no-op item costs: through the engine with a crew that answers at once, with real worker processes, and in the log alone.

usage: bench/engine.py [--build DIR] [--rounds 5] [--wait 20]

CPU is user and system time of all threads and, where they take part, worker processes. Each figure is the median of the rounds, with the best
beside it: an fsync costs what the disk and its other users make it cost, so CPU varies with their load.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import time

from common import ROOT, Table, median, quiet

ITEMS = 100000
RUN_ITEMS, RUN_WORKERS = 20000, 16


def engine(build, folder, in_flight, items):
    """(CPU µs an item, items a second) of one round."""
    done = subprocess.run([os.path.join(build, 'bench', 'engine_bench'), os.path.join(folder, 'log'), str(items), str(in_flight)],
                          capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return told['cpu_us_per_item'], told['items_per_s']


def log_alone(build, folder):
    """{in flight: (CPU µs an item, bare loop's, ratio to it, ratio to a bare loop with the same pace)}"""
    done = subprocess.run([os.path.join(build, 'bench', 'log_bench'), str(ITEMS), folder], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        in_flight = int(re.match(r'\s*(\d+) in flight', line).group(1))
        cpu = [float(value) for value in re.findall(r'([\d.]+) us', line)]
        ratios = [float(value) for value in re.findall(r'ratio ([\d.]+)', line)]
        found[in_flight] = cpu[0], cpu[1], *ratios
    return found


def run_noop(build, folder, items):
    """(CPU s of program and workers, wall s) of `rivulet run noop` over so many files."""
    path = os.path.join(folder, 'f')
    with open(path, 'w') as file:
        file.write('x')
    began = time.monotonic()
    child = subprocess.Popen([os.path.join(build, 'rivulet'), 'run', 'noop', '--workers', str(RUN_WORKERS), *['f'] * items], cwd=folder,
                             stdout=subprocess.DEVNULL, env=dict(os.environ, TMPDIR=folder))
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0, status
    return used.ru_utime + used.ru_stime, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--wait', type=float, default=20, help='seconds to wait for a quiet moment before each round')
    parser.add_argument('--dir', help='where the logs are written (the temporary folder)')
    options = parser.parse_args()
    table = Table('Durable no-op items')
    loud = 0

    def rounds(measure, *arguments):
        nonlocal loud
        found = []
        for _ in range(options.rounds):
            loud += not quiet(options.wait)
            with tempfile.TemporaryDirectory(dir=options.dir) as folder:
                found.append(measure(options.build, folder, *arguments))
        return found

    for in_flight, bar in ((16, 40), (1, None), (128, None)):
        found = rounds(engine, in_flight, ITEMS if in_flight > 1 else ITEMS // 10)
        cpu = median([one[0] for one in found])
        table.row(f'whole engine, {in_flight} in flight: CPU an item (best {min(one[0] for one in found):.1f}, '
                  f'{max(one[1] for one in found):,.0f} items/s)', cpu, 'µs', bar)
    found = rounds(log_alone)
    for in_flight in (16, 128):
        ratio = median([one[in_flight][2] for one in found])
        paced = median([one[in_flight][3] for one in found])
        table.row(f'the log alone, {in_flight} in flight: CPU an item (best {min(one[in_flight][0] for one in found):.1f})',
                  median([one[in_flight][0] for one in found]), 'µs')
        table.row('    against a bare loop of the same INSERTs in the same transactions', ratio, 'times')
        table.row('    against the same loop with at most one commit a ms, as the log', paced, 'times', 1.2 if in_flight == 16 else None)
    found = []
    for cpu, wall in rounds(run_noop, RUN_ITEMS):
        found.append((cpu, wall))
    base = min(cpu for cpu, _ in rounds(run_noop, 1))
    table.row(f'`rivulet run noop`, {RUN_WORKERS} worker processes, a file each: CPU an item (best '
              f'{(min(cpu for cpu, _ in found) - base) / RUN_ITEMS * 1e6:.0f}, {RUN_ITEMS / min(wall for _, wall in found):,.0f} items/s)',
              (median([cpu for cpu, _ in found]) - base) / RUN_ITEMS * 1e6, 'µs')
    if loud:
        table.note(f'{loud} rounds found no quiet moment in {options.wait:.0f} s: others worked on the machine meanwhile')
    table.end()


if __name__ == '__main__':
    main()
