#!/usr/bin/env python3
"""Calls of the system that fail once, in the real server: reads and writes, syncs, opens and accepts, renames, starts of threads and children.

Usage: tests/trust/syscalls.py [--quick] [--seed N] [--all] [--only SCENARIO] [--class NAME]

EINTR, EAGAIN and parts of reads and writes are seen by nobody. Other errors may cost the request they meet an answer of 5xx or its connection, an item an attempt, or the
process its life with a sentence: what clients were told stays true, jobs come to their end, and an fsync that failed ends the process. --all takes every point of every
scenario; without it there are at most 10 of each kind in each.
"""
import collections
import errno
import random
import sys

import scenarios
from injection import ALL, CLASSES, Faulty, Sweep, Witness, points_of
from scorecard import Scorecard

WANTED = ('upload', 'submit', 'claim', 'finish', 'stream', 'cancel', 'follow', 'crash', 'lookers', 'forget', 'again')
PIECE = 'a part'
SEEN_BY_NOBODY = [('read-socket', errno.EINTR), ('read-socket', errno.EAGAIN), ('read-socket', PIECE), ('write-socket', errno.EINTR), ('write-socket', errno.EAGAIN),
                  ('write-socket', PIECE), ('write-file', errno.EINTR), ('write-file', PIECE), ('read-file', errno.EINTR), ('read-file', PIECE),
                  ('wait', errno.EINTR), ('read-other', errno.EINTR), ('write-other', errno.EINTR), ('accept', errno.EMFILE), ('accept', errno.ECONNABORTED), ('accept', errno.EINTR)]
SURVIVED = [('write-file', errno.EIO), ('write-file', errno.ENOSPC), ('read-file', errno.EIO), ('write-socket', errno.ECONNRESET), ('read-socket', errno.ECONNRESET),
            ('sync', errno.EIO), ('sync', errno.ENOSPC), ('open', errno.EMFILE), ('open', errno.ENOMEM), ('name', errno.EIO), ('name', errno.ENOSPC), ('start', errno.EAGAIN),
            ('map', errno.ENOMEM), ('stat', errno.EIO)]
POINTS, QUICK_RUNS, QUICK_STARTS, RUNS_MIN = 10, 26, 6, 1000


def how(what):
    return {'error': 0, 'piece': True} if what == PIECE else {'error': what}


def name_of(kind, what):
    return f'{kind} {what if what == PIECE else errno.errorcode[what]}'


def plan(counts, kinds, limit, chance):
    """[(class, error, strict, point)] of one scenario."""
    runs = []
    for group, strict in ((SEEN_BY_NOBODY, True), (SURVIVED, False)):
        for kind, what in group:
            if kinds in (None, kind):
                runs += [(kind, what, strict, point) for point in points_of(counts[kind], limit, chance)]
    return runs


def see_the_stop(witness, server):
    """A sync of the log that failed is never tried again: what the disk holds is unknown, and the process ends at once."""
    witness.syncs += 1
    witness.await_end(server)
    if server.alive():
        witness.unstopped += 1
        witness.complain('the server goes on behind a sync of its log that failed', server)


def run_one(sweep, witness, tally, kind, what, strict, point):
    """Fails one call; whether it was reached."""
    server = sweep.server
    sweep.again(f'{name_of(kind, what)} {point}', classes=CLASSES.index(kind), first=point, strict=strict, **how(what))
    reached = server.control.failed > 0
    if reached:
        tally[name_of(kind, what)] += 1
    if kind == 'sync' and reached and any(line.startswith('libsqlite3') for line in server.control.spot()[1:]):
        see_the_stop(witness, server)
    witness.settle(server)
    witness.strict = False
    return reached


def starts(witness, tally, chance, limit, kinds):
    """The same for a server that starts with work left over."""
    server, witness.jobs = Faulty(), {}
    told = witness.submit(server, [scenarios.image('o.jpg', sleep_ms=400), scenarios.image('p.jpg', result=scenarios.SMALL)], ['"said":"small"'])
    server.kill()
    witness.context = 'a start, nothing fails'
    status, said = server.start_armed([], first=ALL)
    if status is not None:
        witness.complain(f'the start came to nothing: {status} {said}', server)
    runs = plan(server.control.counts(), kinds, None if limit is None else max(limit, 1), chance)
    for kind, what, strict, point in chance.sample(runs, min(QUICK_STARTS, len(runs))) if limit == 0 else runs:
        if server.alive():
            server.kill()
        witness.context = f'a start, {name_of(kind, what)} {point}'
        status, said = server.start_armed(CLASSES.index(kind), first=point, **how(what))
        tally[name_of(kind, what)] += server.control.failed > 0
        if status is not None and strict:
            witness.complain(f'the start came to nothing: {status} {said}', server)
        elif status is not None:
            witness.fate(server, status, said)
    if not server.alive():
        server.start()
    witness.open = [told]
    witness.settle(server)
    witness.context = 'starts, at the end'
    witness.audit(server)
    server.drop()


def main():
    card = Scorecard('syscalls', __doc__)
    card.parser.add_argument('--all', action='store_true', help='every point')
    card.parser.add_argument('--points', type=int, default=POINTS)
    card.parser.add_argument('--only')
    card.parser.add_argument('--class', dest='kind')
    options = card.begin()
    chance, tally, witness = random.Random(options.seed), collections.Counter(), Witness(options.seed)
    witness.syncs = witness.unstopped = 0
    names = [name for name in WANTED if options.only in (None, name)]
    for name in names:
        sweep = Sweep(witness, getattr(scenarios, name), getattr(scenarios, name + '_ready', None))
        runs = plan(sweep.count(None), options.kind, None if options.all or options.quick else options.points, chance)
        if options.quick:
            runs = chance.sample(runs, min(len(runs), QUICK_RUNS // len(names)))
        reached = sum(run_one(sweep, witness, tally, *run) for run in runs)
        sweep.end()
        card.row(f'calls that failed in {name}', reached, f'of {len(runs)} wanted')
    if options.only in (None, 'restart'):
        starts(witness, tally, chance, 0 if options.quick else None if options.all else options.points, options.kind)
    for what, times in sorted(tally.items()):
        card.row(f'    {what}', times)
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    ended with {status}', times)
    for status, times in sorted(witness.answers.items(), key=str):
        card.row(f'    answers {status}', times)
    if witness.syncs:
        card.row('syncs of the log that failed, after which the server went on', witness.unstopped, f'of {witness.syncs}', bar=0)
    total = sum(tally.values())
    card.row('failed calls after which something was wrong', len(witness.wrong), f'of {total}', bar=0)
    least = 20 if options.quick else RUNS_MIN
    card.row('failed calls', total, bar=f'{least:,} at least', good=total >= least or bool(options.only or options.kind))
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
