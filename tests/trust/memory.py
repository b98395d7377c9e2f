#!/usr/bin/env python3
"""Every allocation of the server fails once: while files come in, items are handed out, a job ends, it is looked at, and while the server starts.

Usage: tests/trust/memory.py [--quick] [--seed N] [--all] [--only SCENARIO]

Of each scenario up to 200 points are taken, and 500 of a start, each at random in its stretch; --all takes every one.

A failed allocation of a small, fixed size ends the process with one sentence and status 71; one whose size a user chose is answered. After each the server is
started again, and what clients were told is there: jobs come to their end, and readers go on at what they had.
"""
import random
import sys

import scenarios
from injection import ALL, ALLOC, Faulty, Sweep, Witness, points_of
from scorecard import Scorecard

WANTED = ('upload', 'submit', 'claim', 'finish', 'stream')
FIRM = 1 << 18       # LIMIT_FIRM_BYTES
QUICK_POINTS, POINTS, QUICK_STARTS, STARTS = 6, 200, 8, 500


def starts(witness, chance, wanted):
    """A server that has jobs to go on with is started, and memory is gone. (points, points reached)"""
    server, witness.jobs = Faulty(), {}
    told = witness.submit(server, [scenarios.image('o.jpg', sleep_ms=400), scenarios.image('p.jpg', result=scenarios.SMALL)], ['"said":"small"'])
    done = witness.submit(server, [scenarios.image('q.jpg', pad=scenarios.LARGE)], [])
    witness.read(done)
    reached = 0
    server.kill()
    witness.context = 'a start, nothing fails'
    status, said = server.start_armed(ALLOC, first=ALL)
    if status is not None:
        witness.complain(f'the start came to nothing: {status} {said}', server)
    count = server.control.seen
    for point in points_of(count, wanted, chance):
        if server.alive():
            server.kill()
        witness.context = f'a start, allocation {point}'
        witness.points += 1
        status, said = server.start_armed(ALLOC, first=point)
        reached += server.control.failed > 0
        if status is not None:
            witness.fate(server, status, said)
        elif 'rror' in said:
            witness.complain(f'it started and said {said}', server)
    if not server.alive():
        server.start()
    witness.open = [told, done]
    witness.settle(server)
    witness.context = 'starts, at the end'
    witness.audit(server)
    server.drop()
    return count, reached


def large_ones(card, witness, wanted, chance):
    """Blocks whose size a user chose: refused, and not the end of anybody."""
    sweep, ends = Sweep(witness, scenarios.large), sum(witness.ends.values())
    count = sweep.count(ALLOC, least=FIRM + 1)
    reached = sweep.run('large allocation', ALLOC, points_of(count, wanted, chance), least=FIRM + 1)
    sweep.end()
    card.row('allocations above 256 KiB that failed', reached, f'of {count}')
    card.row('    ends of the server by those that JSON is made of', sum(witness.ends.values()) - ends)
    return reached


def main():
    card = Scorecard('memory', __doc__)
    card.parser.add_argument('--all', action='store_true', help='every point')
    card.parser.add_argument('--only')
    options = card.begin()
    chance, all_reached = random.Random(options.seed), 0
    witness = Witness(options.seed)
    for name in [name for name in WANTED if options.only in (None, name)]:
        sweep = Sweep(witness, getattr(scenarios, name), getattr(scenarios, name + '_ready', None))
        count = sweep.count(ALLOC)
        points = points_of(count, QUICK_POINTS if options.quick else None if options.all else POINTS, chance)
        reached = sweep.run('allocation', ALLOC, points)
        sweep.end()
        card.row(f'allocations that failed in {name}', reached, f'of {count}')
        all_reached += reached
    if options.only in (None, 'large'):
        all_reached += large_ones(card, witness, QUICK_POINTS if options.quick else None, chance)
    if options.only in (None, 'restart'):
        count, reached = starts(witness, chance, QUICK_STARTS if options.quick else None if options.all else STARTS)
        card.row('allocations that failed in a restart', reached, f'of {count}')
        all_reached += reached
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    ended with {status}', times)
    for status, times in sorted(witness.answers.items(), key=str):
        card.row(f'    answers {status}', times)
    card.row('failed allocations after which something was wrong', len(witness.wrong), f'of {all_reached}', bar=0)
    card.row('failed allocations', all_reached, bar='30 at least' if options.quick else '1,200 at least', good=all_reached >= (30 if options.quick else 1200) or bool(options.only))
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
