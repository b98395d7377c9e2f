#!/usr/bin/env python3
"""Workers that are killed, that stop past their deadline, and that are late: nothing is done twice, and every late word is refused and counted.

Usage: tests/trust/workers.py [--quick] [--seed N] [--faults N]
"""
import http.client
import json
import os
import random
import signal
import sys
import threading
import time

from scorecard import Scorecard
from ledger import Ledger, Server
from runs import children_of
from survival import DONE, FAILED, RETRY, STARTED

FAULTS, FAULTS_QUICK = 1000, 40
ATTEMPTS, POISON_ATTEMPTS, LATE_TRIES = 12, 4, 20
TERMS = {'timeout_s': 1, 'attempts': ATTEMPTS, 'backoff_ms': [5, 20]}
FIRST = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], **TERMS}]}
COMMON = f'timeout: 1s, retry: {{ attempts: {ATTEMPTS}, backoff: 5ms..20ms }}'
PIPELINES = {
    'legs.json': json.dumps({'name': 'legs', 'in_flight': 4, 'legs': [{'stages': ['noop'], **TERMS}, {'stages': ['jq', 'noop'], **TERMS}]})
    .replace('"jq"', '{"stage":"jq","with":{"program":"."}}'),
    'poison.json': json.dumps({'name': 'poison', 'in_flight': 4, 'legs': [{'stages': ['noop'], **TERMS, 'attempts': POISON_ATTEMPTS}]}),
    'edge.json': json.dumps({'name': 'edge', 'in_flight': 2, 'legs': [{'stages': ['noop'], **TERMS, 'attempts': 2}]}),
    'slow.json': json.dumps({'name': 'slow', 'in_flight': 4, 'legs': [{'stages': ['noop'], **TERMS}]}),
    'programs.yaml': f'''pipeline: programs
version: 1
stages:
  - exec: {{ argv: [/bin/sh, -c, 'sleep 0.02; cat'] }}
    {COMMON.replace(', retry', chr(10) + '    retry')}
''',
    'records.yaml': f'''pipeline: records
version: 1
stages:
  - split: '.[]'
    {COMMON.replace(', retry', chr(10) + '    retry')}
  - jq: '. + {{twice: (.n * 2)}}'
    {COMMON.replace(', retry', chr(10) + '    retry')}
  - jq: 'if .n % 7 == 6 then error("seven") else . end'
    on_error: drop_record
    {COMMON.replace(', retry', chr(10) + '    retry')}
  - gather: {{ sort_by: .n }}
    {COMMON.replace(', retry', chr(10) + '    retry')}
''',
}


def words_of(pid):
    """What a worker is for: "items", "expressions", "programs"."""
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as file:
            words = file.read().split(b'\0')[1:-1]
    except OSError:
        return None
    return words[1].decode() if words[1:] else 'items' if words == [b'worker'] else None


class Faults:
    def __init__(self, server, seed):
        self.server, self.chance, self.count, self.line = server, random.Random(f'{seed} faults'), {}, None

    def note(self, what):
        self.count[what] = self.count.get(what, 0) + 1

    def total(self):
        return sum(self.count.values())

    def hit(self):
        """One fault. A worker that has just gone is none."""
        if self.total() % 10 == 0:
            self.be_late()
            return
        victims = [(pid, words_of(pid)) for pid in children_of(self.server.process.pid)]
        victims = [(pid, words) for pid, words in victims if words]
        if not victims:
            return
        kind = self.chance.choice(sorted({words for _, words in victims}))
        pid = self.chance.choice([pid for pid, words in victims if words == kind])
        number, what = (signal.SIGKILL, 'killed') if self.chance.random() < 0.65 else (signal.SIGSTOP, 'stopped')
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        self.note(f'{what} workers of {kind}')

    def ask(self, method, path, body=None):
        if not self.line:
            self.line = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=20)
        self.line.request(method, path, body=body, headers={'Content-Type': 'application/jsonl'} if body else {})
        answer = self.line.getresponse()
        return json.loads(answer.read())

    def be_late(self):
        """The server stands still for a moment; a cancel comes, and then the outcomes of what it had under way."""
        items = '\n'.join(json.dumps({'noop': {'sleep_ms': 40}, 'n': n}) for n in range(4)).encode()
        job = self.ask('POST', '/v1/jobs?pipeline=slow', items)['id']
        end = time.monotonic() + 1
        while not (document := self.ask('GET', f'/v1/jobs/{job}'))['batches_processing'] and document['completed_at'] is None and time.monotonic() < end:
            pass
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            self.line.request('POST', f'/v1/jobs/{job}/cancel')
            time.sleep(0.08)
        finally:
            self.server.process.send_signal(signal.SIGCONT)
        json.loads(self.line.getresponse().read())
        self.note('jobs cancelled while their workers spoke')


class Edge(threading.Thread):
    """Items that take just as long as their limit: their outcome may come in time, late, or never."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over, self.items = server, False, 0
        self.start()

    def run(self):
        while not self.over:
            body = '\n'.join(json.dumps({'noop': {'sleep_ms': 999 + n % 2}}) for n in range(4)).encode()
            self.server.ask('POST', '/v1/jobs?pipeline=edge', body, {'Content-Type': 'application/jsonl', 'Prefer': 'wait=20'}).body()
            self.items += 4


def poison(server, chance, count):
    """Jobs with an item that kills or outlasts its worker each time: (starts beyond the attempts, ends that are not right)"""
    jobs, over, wrong = {}, 0, 0
    for n in range(count):
        bad = chance.choice(({'crash': True}, {'exit': 3}, {'hang': True}))
        items = [{'n': n}, {'noop': bad}, {'n': -n}]
        answer = server.ask('POST', '/v1/jobs?pipeline=poison', '\n'.join(map(json.dumps, items)).encode(), {'Content-Type': 'application/jsonl'})
        jobs[answer.job] = 'timeout' if 'hang' in bad else 'crash'
        answer.body()
    for job, error_type in jobs.items():
        server.wait_for(job, 'completed', 'error')
        rows = server.rows('SELECT kind, item, body FROM event WHERE job = (SELECT job FROM job WHERE id = ?)', job)
        over += sum(kind == STARTED and item == 1 for kind, item, _ in rows) != POISON_ATTEMPTS
        ends = {item: (kind, json.loads(body).get('error_type')) for kind, item, body in rows if kind in (DONE, FAILED)}
        wrong += ends != {0: (DONE, None), 1: (FAILED, error_type), 2: (DONE, None)}
    return over, wrong


def late_outcomes(server):
    """(refused, taken)"""
    return [server.number(f'rivulet_late_outcomes_total{{outcome="{one}"}}') for one in ('refused', 'taken')]


def main():
    card = Scorecard('workers', __doc__)
    card.parser.add_argument('--faults', type=int)
    options = card.begin()
    wanted = options.faults or (FAULTS_QUICK if options.quick else FAULTS)
    server = Server(FIRST, PIPELINES, MAX_WORKERS=4)
    try:
        over, wrong = poison(server, random.Random(options.seed), 3 if options.quick else 30)
        ledger = Ledger(server, options.seed, 3, 5, ('legs', 'records', 'programs'))
        faults, edge = Faults(server, options.seed), None if options.quick else Edge(server)
        while faults.total() < wanted:
            time.sleep(faults.chance.uniform(0, 0.2))
            faults.hit()
        for _ in range(LATE_TRIES):      # of the few of a check none may have come late
            if any(late_outcomes(server)):
                break
            faults.be_late()
        if edge:
            edge.over = True
            edge.join()
            card.row('    items that took as long as their limit', edge.items)
        ledger.close_books()
        card.row(f'faults of workers under load (seed {options.seed})', faults.total(), bar=wanted, good=faults.total() >= wanted)
        for what, count in sorted(faults.count.items()):
            card.row(f'    {what}', count)
        retries = server.rows(f'SELECT body FROM event WHERE kind = {RETRY}')
        card.row('    attempts that a crash ended', sum('"error_type":"crash"' in body for body, in retries))
        card.row('    attempts that a deadline ended', sum('"error_type":"timeout"' in body for body, in retries))
        refused, taken = late_outcomes(server)
        card.row('late outcomes that were drained from the workers\' sockets and offered', refused + taken, bar='> 0', good=refused + taken > 0)
        card.row('    of them refused, and counted in /metrics', refused, good=not taken)
        card.row('poison items that were started other than their attempts', over, bar=0)
        card.row('poison items that ended otherwise than in an error, or cost another its result', wrong, bar=0)
        ledger.audit(card)
    finally:
        server.give_up()
        try:
            server.close()
        except AssertionError as trouble:
            card.row('the server ended well at last', str(trouble)[:300], good=False)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
