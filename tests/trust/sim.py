#!/usr/bin/env python3
"""Lives of the real store and engine over a log that loses what was not synced, one seed a life; and deliberate bugs that they must catch.

Usage: tests/trust/sim.py [--quick] [--seed N] [--lives N]
"""
import os
import re
import subprocess
import sys

from scorecard import BUILD, ROOT, Scorecard

LIVES, LIVES_QUICK, MUTANTS_MIN = 100_000, 1000, 10


def main():
    card = Scorecard('sim', __doc__)
    card.parser.add_argument('--lives', type=int)
    options = card.begin()
    lives = options.lives or (LIVES_QUICK if options.quick else LIVES)
    told = subprocess.run([os.path.join(BUILD, 'sim'), '--seeds', str(lives), '--seed', str(options.seed)], capture_output=True, text=True)
    lines = told.stdout.splitlines()
    card.row(f'lives of the simulator from seed {options.seed}', lives, bar=lives, good=told.returncode == 0 and lines[-1:] == [f'{lives} passed, 0 failed'])
    for count, what in re.findall(r'(\d+) ([a-z ]+)', lines[0] if told.returncode == 0 else ''):
        if what in ('events', 'power cuts', 'late words', 'adopted', 'records'):
            card.row(f'    {what}', int(count))
    if told.returncode:
        card.note(told.stdout[-3000:] + told.stderr[-1000:])
    if not options.quick:
        told = subprocess.run([sys.executable, os.path.join(ROOT, 'tools', 'mutants.py'), '--build', BUILD], capture_output=True, text=True)
        passed, failed = map(int, re.fullmatch(r'(\d+) passed, (\d+) failed', told.stdout.splitlines()[-1]).groups())
        card.row('deliberate bugs that the simulator catches', passed, f'of {passed + failed}', bar=f'all, {MUTANTS_MIN} at least',
                 good=not failed and passed >= MUTANTS_MIN)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
