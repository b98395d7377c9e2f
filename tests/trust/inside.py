#!/usr/bin/env python3
"""Calls of the system and allocations that fail once inside a worker: while it loads, and while it works on its tasks.

Usage: tests/trust/inside.py [--quick] [--seed N] [--only LIVES] [--class NAME]

The workers of a real server are killed; those that come in their place load, learn and work while one call of theirs fails: workers of items, of expressions and of
programs, with files, long results, hints, jq, names that are matched to a catalogue, and programs of the user's. Every call path fails with each error that its kind
may have, at its first call and at its last, and every path to an allocation at its first: see paths.py. `first` fails what the very first workers of a server do.

A worker may end at it. It costs no more than one attempt of one item, and no item its result: what is told as a result is what is told when nothing fails. The others' items
have theirs, the server never ends and never waits in vain, all workers are there again, and those that went on do all that they did before.
EINTR and parts of reads and writes are seen by nobody. The very first workers may also be what a server ends with, with its sentence.
"""
import collections
import errno
import json
import os
import re
import signal
import sys
import time

import paths
from injection import ALL, ALLOC, CLASSES, END_S, Faulty, Told, Witness
from paths import PIECE, Ways
from rivulet_server import image
from runs import children_of
from scenarios import LARGE, SMALL
from scorecard import ROOT, Scorecard
from survival import DONE, FAILED, LOST, RETRY, Mortal, jpeg

SEEN_BY_NOBODY = [('read-socket', errno.EINTR), ('write-socket', errno.EINTR), ('read-file', errno.EINTR), ('read-file', PIECE), ('write-file', errno.EINTR),
                  ('write-file', PIECE), ('read-other', errno.EINTR), ('write-other', errno.EINTR), ('wait', errno.EINTR)]
SURVIVED = [('read-socket', errno.ECONNRESET), ('write-socket', errno.ECONNRESET), ('write-socket', errno.ENOBUFS), ('read-file', errno.EIO), ('write-file', errno.EIO),
            ('write-file', errno.ENOSPC), ('open', errno.EMFILE), ('open', errno.ENOMEM), ('name', errno.EIO), ('name', errno.ENOSPC), ('start', errno.EAGAIN),
            ('map', errno.ENOMEM), ('stat', errno.ENOMEM), ('alloc', errno.ENOMEM)]
CATALOGUE = os.path.join(ROOT, 'examples', 'decklists', 'catalogue.csv')
TERMS = {'timeout_s': 6, 'attempts': 4, 'backoff_ms': [5, 10]}
FIRST = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], **TERMS}]}
OTHERS = [{'name': 'computed', 'legs': [{'stages': [{'stage': 'jq', 'with': {'program': '{n: .n, twice: (.n * 2), of: [.of[] | ascii_upcase]}'}}, 'noop'], **TERMS}]},
          {'name': 'programs', 'legs': [{'stages': [{'stage': 'exec', 'with': {'argv': ['/bin/cat']}}], **TERMS}]},
          {'name': 'cards', 'legs': [{'stages': ['match'], **TERMS}]}]
WORKERS = 4               # one of items, one of programs, two of expressions
BACK_S = 10
QUICK_POINTS, QUICK_MIN, RUNS_MIN = 4, 2, 400


def errors_of(kind):
    """What a call of this kind may fail with: [(error, whether nobody may see it)]"""
    return [(what, strict) for group, strict in ((SEEN_BY_NOBODY, True), (SURVIVED, False)) for one, what in group if one == kind]


def until(true, seconds):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


class Work:
    """Lives of workers, in a server that outlives them."""

    def __init__(self, witness):
        self.witness = witness
        witness.whole_log, witness.jobs, witness.strict = True, {}, True
        self.server = Faulty(FIRST, children=True, pipelines=OTHERS, CARD_MAPPING_PATH=CATALOGUE)
        self.await_workers()
        self.results, self.weighed = {}, set()
        witness.context = 'nothing fails yet'
        self.do_jobs()

    # ---- what they do

    def values(self, pipeline, *values):
        lines = b''.join(json.dumps(value).encode() + b'\n' for value in values)
        answer = self.server.ask('POST', f'/v1/jobs?pipeline={pipeline}', lines, {'Content-Type': 'application/jsonl'})
        if not self.witness.note(answer, self.server):
            return None
        told = Told(json.loads(answer.body())['id'], 'job', [])
        self.witness.jobs[told.job] = told
        self.witness.open.append(told)
        return told

    def files(self):
        """Their answer is a stream; they come to their end without somebody who reads it."""
        told = self.witness.submit(self.server, [image('a.jpg', result=SMALL, hints=True), image('b.jpg', pad=LARGE), image('c.jpg', content=jpeg(90000)), image('d.jpg', sleep_ms=5)], [])
        if told:
            told.stream.connection.close()
        return told

    def post(self):
        """{name: Told}"""
        programs = [{'n': n, 'text': 'x' * (n * 3000)} for n in range(1, 4)]
        cards = ['1 Warden of the Sluice\n3 Queen of the Ferry\n2 nothing of that kind\n', '3 Queen of the Fery']
        jobs = {'files': self.files(), 'computed': self.values('computed', *({'n': n, 'of': ['a', 'b']} for n in range(3))),
                'programs': self.values('programs', *programs), 'cards': self.values('cards', *cards)}
        until(lambda: all(self.ended(told) for told in jobs.values() if told), END_S)
        return jobs

    def ended(self, told):
        return self.server.document(told.job)['status'] in ('completed', 'error', 'cancelled')

    # ---- what came of it

    def look(self, jobs):
        """[(name, item, type, sentence)] of the attempts that failed. Results are those of the first time."""
        self.witness.settle(self.server)
        lost, query = [], 'SELECT kind, item, body FROM event WHERE job = (SELECT job FROM job WHERE id = ?) ORDER BY pos'
        for name, told in jobs.items():
            if told is None:
                continue
            for kind, item, body in self.server.rows(query, told.job):
                if kind in (RETRY, FAILED):
                    body = json.loads(body)
                    lost.append((kind, name, item, body.get('error_type'), body.get('error')))
                elif kind == DONE:
                    self.compare((name, item), self.server.get(f'/v1/jobs/{told.job}/items/{item}/result').body())
        return lost

    def compare(self, which, result):
        result = re.sub(rb'"decklist_id":"[-0-9a-f]{36}"', b'', result)      # made up anew by each attempt
        if self.results.setdefault(which, result) != result:
            self.witness.complain(f'the result of {which} is {result[:300]} and was {self.results[which][:300]}', self.server)

    def judge(self, lost, strict):
        for kind, name, item, error_type, sentence in lost:
            ended = 'ended' if kind == FAILED else 'was tried again'
            self.witness.answers[f'attempts that {error_type} ended'] += 1
            if strict or error_type == 'timeout' or kind == FAILED or not sentence:
                self.witness.complain(f'item {item} of {name} {ended}: {error_type}, {sentence}', self.server)
        if len(lost) > 1:
            self.witness.complain(f'{len(lost)} attempts were lost: {lost}', self.server)

    def do_jobs(self):
        try:
            return self.look(self.post())
        except LOST as trouble:
            self.witness.complain(f'the server went away: {trouble!r}', self.server)
            self.witness.bury(self.server)
            return []

    # ---- lives

    def all_there(self):
        try:
            return len(children_of(self.server.process.pid)) == WORKERS and self.server.get('/readyz').status == 200
        except LOST:
            return False

    def await_workers(self):
        """All are there, and those of items have loaded."""
        if not until(self.all_there, BACK_S):
            self.witness.complain(f'there are {len(children_of(self.server.process.pid))} workers of {WORKERS}', self.server)

    def end_workers(self):
        """Until the server has seen it: a task that is given to a dead one is an attempt."""
        old = children_of(self.server.process.pid)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        if not until(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in old), BACK_S):
            self.witness.complain('workers that were killed were not reaped', self.server)

    def live(self, name, **plan):
        """What was lost of it."""
        self.witness.context = f'{self.name}, {name}'
        if not self.server.alive():
            self.server.start()
            self.await_workers()
        self.server.arm(**plan)
        self.end_workers()
        return self.do_jobs()

    name = 'work'

    def record(self, classes):
        self.judge(self.live('nothing fails', classes=classes, first=ALL, record=True), True)
        return self.server.control.paths(), self.server.control.seen

    def fail(self, point):
        lost = self.live(str(point), **point.plan())
        hit = self.server.control.hit if self.server.control.failed else 0
        self.judge(lost, point.strict)
        if hit:
            self.await_workers()
            self.witness.context += ', afterwards'
            self.judge(self.do_jobs(), True)
        self.weighed = self.witness.weigh(self.server, self.weighed)
        return hit

    def end(self):
        self.witness.context, self.witness.strict = f'{self.name}, at the end', False
        self.witness.audit(self.server)
        self.server.drop()


class First(Work):
    """Each life is a server's, which ends with a sentence if its first worker cannot load, or works."""

    name = 'first'

    def live(self, name, **plan):
        self.witness.context, server = f'{self.name}, {name}', self.server
        if server.alive():
            server.kill()
        server.told = server.size()
        server.arm(**plan)
        Mortal.start(server)
        for _ in range(2):      # a worker that fails to load is there for a moment
            until(lambda: not server.alive() or self.all_there(), BACK_S)
            time.sleep(0.05)
        if not server.alive():
            self.witness.strict = plan.get('error') == errno.EINTR or plan.get('piece', False)
            self.witness.fate(server, server.fallen(), server.sentences())
            self.witness.strict = True
            server.disarm()
            server.start()
        self.await_workers()
        return self.do_jobs()


def main():
    card = Scorecard('inside', __doc__)
    card.parser.add_argument('--only', choices=('work', 'first'))
    card.parser.add_argument('--class', dest='kind')
    options = card.begin()
    paths.KINDS.update(work=Work, first=First)
    witness, total, missed, tally = Witness(options.seed), 0, 0, collections.Counter()
    calls = [number for number, kind in enumerate(CLASSES) if number != ALLOC and errors_of(kind)]
    kinds = [('calls', calls, ('work', 'first'), True), ('allocations', [ALLOC], ('work',), False)]
    for what, classes, names, both in [('calls', calls, ('work',), True)] if options.quick else kinds:
        wanted = [name for name in names if options.only in (None, name)]
        classes = [number for number in classes if options.kind in (None, CLASSES[number])]
        if not classes or not wanted:
            continue
        ways = Ways(witness, classes, errors_of, options.seed, QUICK_POINTS if options.quick else None, both)
        total += ways.run(wanted)
        missed += ways.rows(card, what)
        tally.update(ways.tally)
    for what, times in sorted(tally.items()):
        card.row(f'    {what}', times)
    for what, times in sorted((what, times) for what, times in witness.answers.items() if isinstance(what, str) and what.startswith('attempts')):
        card.row(f'    {what}', times)
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    servers whose first worker did not load, ended with {status}', times)
    card.row('call paths that did not come again, and were not tried', missed)
    card.row('failed calls after which something was wrong', len(witness.wrong), f'of {total}', bar=0)
    least = QUICK_MIN if options.quick else RUNS_MIN
    card.row('failed calls and allocations inside workers', total, bar=f'{least:,} at least', good=total >= least or bool(options.only or options.kind))
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
