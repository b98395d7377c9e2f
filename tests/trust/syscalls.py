#!/usr/bin/env python3
"""Calls of the system that fail once, in the real server: reads and writes, syncs, opens, accepts and watches, renames, starts of threads and children.

Usage: tests/trust/syscalls.py [--quick] [--seed N] [--first] [--only SCENARIO] [--class NAME]

Of each scenario every call path fails with each error that its kind may have, at its first call and at its last (--first: at its first only): see paths.py.

EINTR, EAGAIN and parts of reads and writes are seen by nobody. Other errors may cost the request they meet an answer of 5xx or its connection, an item an attempt, or the
process its life with a sentence: what clients were told stays true, jobs come to their end, and an fsync that failed ends the process. A descriptor that the kernel does
not watch (no memory, or as many watches as fs.epoll.max_user_watches allows) costs no running server its life. Calls that fail in a worker are the part `inside`.
"""
import errno
import sys

from injection import CLASSES, Witness
from paths import PIECE, Ways
from scorecard import Scorecard

WANTED = ('upload', 'submit', 'claim', 'finish', 'stream', 'cancel', 'follow', 'crash', 'lookers', 'forget', 'again', 'call', 'new upload', 'new finish', 'starts', 'births')
SEEN_BY_NOBODY = [('read-socket', errno.EINTR), ('read-socket', errno.EAGAIN), ('read-socket', PIECE), ('write-socket', errno.EINTR), ('write-socket', errno.EAGAIN),
                  ('write-socket', PIECE), ('write-file', errno.EINTR), ('write-file', PIECE), ('read-file', errno.EINTR), ('read-file', PIECE),
                  ('wait', errno.EINTR), ('read-other', errno.EINTR), ('write-other', errno.EINTR), ('accept', errno.EMFILE), ('accept', errno.ECONNABORTED), ('accept', errno.EINTR)]
SURVIVED = [('write-file', errno.EIO), ('write-file', errno.ENOSPC), ('read-file', errno.EIO), ('write-socket', errno.ECONNRESET), ('read-socket', errno.ECONNRESET),
            ('sync', errno.EIO), ('sync', errno.ENOSPC), ('open', errno.EMFILE), ('open', errno.ENOMEM), ('name', errno.EIO), ('name', errno.ENOSPC), ('start', errno.EAGAIN),
            ('map', errno.ENOMEM), ('stat', errno.EIO), ('watch', errno.ENOMEM), ('watch', errno.ENOSPC)]
QUICK_POINTS, QUICK_MIN, RUNS_MIN = 2, 20, 1000


def errors_of(kind):
    """What a call of this kind may fail with: [(error, whether nobody may see it)]"""
    return [(what, strict) for group, strict in ((SEEN_BY_NOBODY, True), (SURVIVED, False)) for one, what in group if one == kind]


def main():
    card = Scorecard('syscalls', __doc__)
    card.parser.add_argument('--first', action='store_true', help='no last calls')
    card.parser.add_argument('--only')
    card.parser.add_argument('--class', dest='kind')
    options = card.begin()
    witness = Witness(options.seed)
    classes = [number for number, kind in enumerate(CLASSES) if errors_of(kind) and options.kind in (None, kind)]
    ways = Ways(witness, classes, errors_of, options.seed, QUICK_POINTS if options.quick else None, not options.first)
    total = ways.run([name for name in WANTED if options.only in (None, name)])
    missed = ways.rows(card, 'calls')
    for what, times in sorted(ways.tally.items()):
        card.row(f'    {what}', times)
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    ended with {status}', times)
    for status, times in sorted(witness.answers.items(), key=str):
        card.row(f'    answers {status}', times)
    if witness.syncs:
        card.row('syncs of the log that failed, after which the server went on', witness.unstopped, f'of {witness.syncs}', bar=0)
    card.row('call paths that did not come again, and were not tried', missed)
    card.row('failed calls after which something was wrong', len(witness.wrong), f'of {total}', bar=0)
    least = QUICK_MIN if options.quick else RUNS_MIN
    card.row('failed calls', total, bar=f'{least:,} at least', good=total >= least or bool(options.only or options.kind))
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
