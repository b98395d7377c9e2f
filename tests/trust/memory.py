#!/usr/bin/env python3
"""Every allocation of the server fails once: while files come in, items are handed out, a job ends, it is looked at, and while the server starts.

Usage: tests/trust/memory.py [--quick] [--seed N] [--only SCENARIO] [--first]

Of each scenario every call path that leads to an allocation fails at its first call and at its last (--first: at its first only): see paths.py.

A failed allocation of a small, fixed size ends the process with one sentence and status 71; one whose size a user chose is answered. After each the server is
started again, and what clients were told is there: jobs come to their end, and readers go on at what they had.
"""
import errno
import random
import sys

import scenarios
from injection import ALLOC, Sweep, Witness, points_of
from paths import Ways
from scorecard import Scorecard

WANTED = ('starts', 'births', 'upload', 'new upload', 'submit', 'claim', 'finish', 'stream')
FIRM = 1 << 18       # LIMIT_FIRM_BYTES
QUICK_POINTS, POINTS_MIN, QUICK_MIN = 6, 1200, 30


def large_ones(card, witness, wanted, chance):
    """Blocks whose size a user chose: refused, and not the end of anybody."""
    sweep, ends = Sweep(witness, scenarios.large), sum(witness.ends.values())
    count = sweep.count(ALLOC, least=FIRM + 1)
    reached = sweep.run('large allocation', ALLOC, points_of(count, wanted, chance), least=FIRM + 1)
    sweep.end()
    card.row('allocations above 256 KiB that failed', reached, f'of {count}')
    card.row('    ends of the server by those that JSON is made of', sum(witness.ends.values()) - ends)
    return reached


def errors_of(_):
    return [(errno.ENOMEM, False)]


def main():
    card = Scorecard('memory', __doc__)
    card.parser.add_argument('--first', action='store_true', help='no last calls')
    card.parser.add_argument('--only')
    options = card.begin()
    witness, large = Witness(options.seed), 0
    ways = Ways(witness, [ALLOC], errors_of, options.seed, QUICK_POINTS if options.quick else None, not options.first)
    reached = ways.run([name for name in WANTED if options.only in (None, name)])
    missed = ways.rows(card, 'allocations')
    if options.only in (None, 'large'):
        large = large_ones(card, witness, QUICK_POINTS if options.quick else None, random.Random(options.seed))
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    ended with {status}', times)
    for status, times in sorted(witness.answers.items(), key=str):
        card.row(f'    answers {status}', times)
    card.row('call paths that did not come again, and were not tried', missed)
    card.row('failed allocations after which something was wrong', len(witness.wrong), f'of {reached + large}', bar=0)
    least = QUICK_MIN if options.quick else POINTS_MIN
    card.row('failed allocations', reached + large, bar=f'{least:,} at least', good=reached + large >= least or bool(options.only))
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
