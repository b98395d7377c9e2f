#!/usr/bin/env python3
"""One server lives through millions of events while its clock jumps by hours: what it holds stays what it was, but for 2 %, once it is warm.

Usage: tests/trust/soak.py [--quick] [--seed N] [--events N]

Clients send jobs and read each to its end; ended jobs are removed by retention all the while, as the calendar has it. The clock jumps by an hour, forwards
or back, and wanders a day at most.

Resident memory at work is the highest of all bursts so far, and what the heap lost between its pieces: it comes to its height by and by, so the first half of
the run is its warm-up. What is allocated is looked at when all rest, after a tenth and at the end.
"""
import collections
import http.client
import json
import random
import re
import statistics
import sys
import threading
import time

from injection import Faulty
from scorecard import Scorecard

EVENTS, EVENTS_QUICK = 10_000_000, 60_000
ITEMS, FAILING, RETRIED, LARGE, CLIENTS = 4000, 15, 5, 15, 3
HOUR, DAY = 3600, 86400
WORKERS = 32            # of each item the start is synced before it is begun: many at once share a sync
JUMP_EVERY_S = 1.0
FLAT_PERCENT, WARM_TENTHS = 2, 5
REST_S = 11.0           # two looks of the server whether it rests (TIDY_EVERY_US in src/cli/serve.c) fall into it
RETENTION = '30m'
PIPELINE = {'name': 'soak', 'legs': [{'stages': ['noop'], 'timeout_s': 30, 'attempts': 2, 'backoff_ms': [10, 20]}]}

Sample = collections.namedtuple('Sample', 'events server workers descriptors')


def memory_kib(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as file:
        return next((int(line.split()[1]) for line in file if line.startswith('VmRSS:')), 0)


def taken_kib(server):
    """What is allocated in the server."""
    return int(re.search(r'^rivulet_memory_taken_bytes (\d+)', server.get('/metrics').body().decode(), re.MULTILINE).group(1)) // 1024


class Load:
    """Clients that send jobs until so many events are in the log; what was not as it should be stands in `wrong`."""

    def __init__(self, server, seed):
        self.server, self.chance, self.wanted = server, random.Random(seed), 0
        self.events = self.jobs = self.twice = self.overtaken = self.jumps = self.ahead = 0
        self.wrong, self.samples, self.rests, self.lock, self.over = [], [], [], threading.Lock(), threading.Event()

    def items(self, chance):
        """Most do nothing; some fail at once or after another try, or bring a larger result."""
        orders = [{'retry': 'again'}] * RETRIED + [{'fail': 'no'}] * (FAILING - RETRIED) + [{'result': 'x' * chance.randint(1, 100_000)} for _ in range(LARGE)]
        orders += [{}] * (ITEMS - len(orders))
        chance.shuffle(orders)
        return '\n'.join(json.dumps({'noop': order}) for order in orders).encode()

    def job(self, chance):
        """Sends one and reads it to its end."""
        answer = self.server.ask('POST', '/v1/jobs?pipeline=soak', self.items(chance), {'Content-Type': 'application/jsonl'})
        told = answer.json()
        if answer.status != 202:
            return self.complain(f'a job was answered with {answer.status}: {told}')
        stream = self.server.ask('GET', f'/v1/jobs/{told["id"]}/events')
        text = stream.body()
        ids = [int(seq) for seq in re.findall(rb'^id: \d+-(\d+)$', text, re.MULTILINE)]
        ends = [len(re.findall(rb'^event: ' + kind + rb'$', text, re.MULTILINE)) for kind in (b'result', b'failed', b'complete')]
        if ends != [ITEMS - FAILING, FAILING, 1] or ids != list(range(ids[0], ids[-1] + 1)):
            if self.server.get(f'/v1/jobs/{told["id"]}').status == 404:      # it had ended, and the clock jumped while the end was on its way
                self.overtaken += 1
                return None
            return self.complain(f'a stream of {len(ids)} frames, the last {ids[-1:]}, told of {ends} ends')
        with self.lock:
            self.jobs, self.events = self.jobs + 1, self.events + ids[-1]
            self.twice += text.count(b'"state":"processing"') - ITEMS - RETRIED

    def complain(self, sentence):
        with self.lock:
            self.wrong.append(sentence)
        print(f'       {sentence}', flush=True)

    def client(self, chance):
        while self.events < self.wanted and len(self.wrong) < 10:
            try:
                self.job(chance)
            except (OSError, ValueError, LookupError, http.client.HTTPException) as trouble:
                self.complain(repr(trouble))

    def clock(self):
        while not self.over.wait(JUMP_EVERY_S):
            step = self.chance.choice((HOUR, -HOUR))
            self.ahead += step if abs(self.ahead + step) <= DAY else -step
            self.server.control.skew(self.ahead)
            self.jumps += 1
            workers = [memory_kib(pid) for pid in self.server.workers()]
            self.samples.append(Sample(self.events, self.server.memory_kib(), max(workers, default=0), self.server.descriptors()))

    def run(self, wanted):
        """Until there are so many events in all."""
        self.wanted = wanted
        self.over.clear()
        clients = [threading.Thread(target=self.client, args=(random.Random(self.chance.random()),)) for _ in range(CLIENTS)]
        clock = threading.Thread(target=self.clock)
        for thread in (clock, *clients):
            thread.start()
        for thread in clients:
            thread.join()
        self.over.set()
        clock.join()

    def rest(self):
        time.sleep(REST_S)
        self.rests.append((self.server.memory_kib(), taken_kib(self.server)))

    def tenths(self, what):
        """The median in each tenth of the run; None where nothing was seen."""
        seen = [[getattr(one, what) for one in self.samples if one.events * 10 // (self.events + 1) == n] for n in range(10)]
        return [statistics.median(one) if one else None for one in seen]


def flatness(tenths):
    """(the median of the tenths behind the warm-up, by how many per cent the farthest of them lies off)"""
    held = [one for one in tenths[WARM_TENTHS:] if one is not None]
    middle = statistics.median(held or [0])
    return middle, max((abs(one - middle) / middle * 100 for one in held if middle), default=0.0)


def main():
    card = Scorecard('soak', __doc__)
    card.parser.add_argument('--events', type=int)
    options = card.begin()
    events = options.events or (EVENTS_QUICK if options.quick else EVENTS)
    server = Faulty(PIPELINE, MAX_WORKERS=WORKERS, RIVULET_RETENTION=RETENTION)
    load = Load(server, options.seed)
    for wanted in (events,) if options.quick else (events // 10, events):
        load.run(wanted)
        if not options.quick:
            load.rest()
    card.row('events of jobs that were sent, run and read to their end', load.events, bar=f'{events:,}', good=load.events >= events)
    card.row('    jobs', load.jobs, f'of {ITEMS:,} items')
    removed = load.jobs + load.overtaken - server.rows('SELECT count(*) FROM job')[0][0]
    if not options.quick:
        card.row('    removed by retention meanwhile', removed, bar='> 0', good=removed > 0)
        card.row('    removed before their readers had the end', load.overtaken)
    card.row('    jumps of the clock by an hour', load.jumps)
    card.row('streams and answers that were not whole', len(load.wrong), bar=0)
    card.row('items started more often than they should be', load.twice, bar=0)
    for what, name, unit in (('server', 'memory of the server', 'KiB'), ('workers', 'memory of its largest worker', 'KiB'), ('descriptors', 'descriptors of the server', '')):
        tenths = load.tenths(what)
        middle, off = flatness(tenths)
        card.note(f'{name}, medians of tenths: ' + ', '.join('-' if one is None else f'{one:,.0f}' for one in tenths))
        card.row(f'{name}, median of the second half', middle, unit)
        if not options.quick:
            card.row('    of its tenths the farthest from it', off, '%', bar=FLAT_PERCENT)
            card.row('    grown since the second tenth', (tenths[-1] - tenths[1]) / tenths[1] * 100, '%')
    for when, (resident, taken) in zip(('after a tenth', 'at the end'), load.rests):
        card.row(f'memory of the server at rest, {when}', resident, 'KiB')
        card.row('    of it allocated', taken, 'KiB')
    server.drop()
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
