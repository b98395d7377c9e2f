#!/usr/bin/env python3
"""What is fed to the parsers: every input that was ever kept, and for the whole figure each target under libFuzzer for a while.

Usage: tests/trust/fuzz.py [--quick] [--seconds N] [TARGET]...

--quick tries the kept inputs (tests/fuzz/corpus, tests/fuzz/found) in the build that RIVULET_BUILD names. Without it the targets are built by clang as well
and run for --seconds (20) each. tests/fuzz/LEDGER.md has what was executed in all.
"""
import os
import re
import subprocess
import sys

from scorecard import BUILD, ROOT, Scorecard

REPLAY = os.path.join(BUILD, 'tests', 'fuzz', 'fuzz-replay')


def replay(card):
    done = subprocess.run([REPLAY, os.path.join(ROOT, 'tests', 'fuzz'), *card.options.targets], cwd=ROOT, text=True, errors='replace',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    last = re.search(r'(\d+) passed, (\d+) failed\s*$', done.stdout)
    passed, failed = (int(last.group(1)), int(last.group(2))) if last else (0, 1)
    if done.returncode or failed:
        print(done.stdout)
    card.row('kept inputs that hold', passed, 'inputs', good=passed > 0)
    card.row('kept inputs that break', failed + (done.returncode != 0 and not failed), '', bar=0)


def search(card):
    run = subprocess.Popen(['sh', 'tests/fuzz/run.sh', *card.options.targets], cwd=ROOT, text=True, errors='replace', stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, env={**os.environ, 'TIME': str(card.options.seconds)})
    total, broken = 0, 0
    for line in run.stdout:
        told = re.match(r'(\w+): (\d+) executions', line)
        if told:
            total += int(told.group(2))
            card.row(f'executions of {told.group(1)}', int(told.group(2)), f'in {card.options.seconds} s')
        else:
            print('      ', line.rstrip(), flush=True)
            broken += bool(re.match(r'\w+ FAILED', line))
    status = run.wait()
    card.row('executions', total, '', good=total > 0)
    card.row('findings', broken + (status != 0 and not broken), '', bar=0)
    with open(os.path.join(ROOT, 'tests', 'fuzz', 'LEDGER.md'), encoding='utf-8') as ledger:
        sums = re.search(r'^\| all \| ([\d,]+) \|', ledger.read(), re.M)
    if sums:
        card.row('executions in the ledger', int(sums.group(1).replace(',', '')))


def main():
    card = Scorecard('fuzz', __doc__)
    card.parser.add_argument('--seconds', type=int, default=20, help='of each target')
    card.parser.add_argument('targets', nargs='*', metavar='TARGET')
    card.begin()
    replay(card)
    if not card.options.quick:
        search(card)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
