#!/usr/bin/env python3
"""The profiles pipeline, whole, between a collector and a model that are doubles: how soon a batch is told, what many cost, and what kill -9 loses and
what is paid twice for it.

Usage: bench/profiles.py [--batches 100] [--many 1000] [--kills 100] [--seed N] [--quiet S] [--only soon|many|kills]

  soon    batches of 20 get ready at random moments while the model still works on earlier ones: from ready, by the collector's clock, to the first record
          (a profile that the model is not asked about) and to the result on the stream
  many    resident memory of the server at the start, in the middle and at the end; processor time a record
  kills   kill -9 at random moments, started again at once, a reader that comes back each time
"""
import argparse
import asyncio
import collections
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path[:0] = [os.path.join(ROOT, 'tests', 'lib'), os.path.join(ROOT, 'bench')]
import profiles  # noqa: E402
from collector import Collector  # noqa: E402
from common import Table, median, quiet  # noqa: E402
from llm_double import chat  # noqa: E402
from survival import LOST, Follower, Mortal, replay  # noqa: E402

SIZE, LATE_S, BEAT_S = 20, 0.05, 0.01
UNREAD_S = 0.3           # a call that a server has sent may be read after its kill
WAITING, RECORD_DONE = 6, 13
TICK = os.sysconf('SC_CLK_TCK')
Paid = collections.namedtuple('Paid', 'url at until')


class World(Collector):
    """Collector and model in one thread, each at an address of its own."""

    def __init__(self, script, llm_s):
        self.llm_s, self.paid, self.asking, self.asking_most = llm_s, [], 0, 0
        self.connections, self.lags = 0, []
        super().__init__(profiles.orders(script))
        self.loop.call_soon_threadsafe(self.beat, None)
        model = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.serve, '127.0.0.1', 0, backlog=2048), self.loop).result(10)
        self.model = f'http://127.0.0.1:{model.sockets[0].getsockname()[1]}/v1'      # a host of its own: places to call are counted for each

    def beat(self, due):
        """What the doubles are late by themselves: every wait that is measured has it in it, once a call."""
        now = self.loop.time()
        if due:
            self.lags.append(now - due)
        self.loop.call_at(now + BEAT_S, self.beat, now + BEAT_S)

    async def serve(self, reader, writer):
        self.connections += 1
        await super().serve(reader, writer)

    async def answer(self, asked):
        if not asked['path'].endswith('/chat/completions'):
            return await super().answer(asked)
        prompt = json.loads(asked['body'])['messages'][-1]['content']
        self.asking += 1
        self.asking_most = max(self.asking_most, self.asking)
        await asyncio.sleep(self.llm_s)
        self.asking -= 1
        self.paid.append(Paid(profiles.asked_of(prompt), asked['at'], time.monotonic()))
        asked['body'] = b''
        text = json.dumps(profiles.judge(prompt, 0))
        return 200, chat(text, 'stop', len(prompt.split()), len(text.split())), {}


class Watcher(threading.Thread):
    """When the first record and the result of each item came."""

    def __init__(self, server, job):
        super().__init__(daemon=True)
        self.stream, self.first, self.result, self.records = server.events(job), {}, {}, 0
        self.start()

    def run(self):
        while (frame := self.stream.frame()) is not None:
            now = time.monotonic()
            if frame.event == 'result':
                self.result[frame.data['item']] = now
            elif frame.event == 'progress' and frame.data.get('state') == 'record':
                self.records += 1
                self.first.setdefault(frame.data['item'], now)


def begin(script, llm_s, every_s, size=SIZE, concurrency=400, in_flight=1000):
    folder = tempfile.mkdtemp(prefix='rivulet-bench-')
    world = World(script, llm_s)
    world.folder = folder
    changes = (('stop: { when: .llm.score == 10, count: $params.top }\n', ''), ('deadline: 1h ', 'deadline: 5h '))
    path = profiles.write_pipeline(folder, f'{int(every_s * 1000)}ms', size, in_flight, concurrency, changes)
    env = {'COLLECTOR_URL': world.base, 'LLM_URL': world.model, 'LLM_MODEL': 'judge', 'RIVULET_NET_ALLOW': '127.0.0.1', **profiles.KEYS}
    return world, Mortal(path, **env)


def finish(world, server):
    server.give_up()
    server.close()
    world.close()
    shutil.rmtree(world.folder, True)


def cpu_s(server):
    """Of the server and its workers."""
    total = 0
    for pid in [server.process.pid, *server.workers()]:
        with open(f'/proc/{pid}/stat', encoding='ascii') as file:
            fields = file.read().rpartition(')')[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICK
    return total


def urls_of(batches, size, first=0):
    """One of each batch has been idle for long: its record needs no model."""
    return [profiles.url_of(number, word='idle' if number % size == 0 else 'maker') for number in range(first * size, (first + batches) * size)]


def items_of(server):
    """{snapshot's id: item}"""
    return {json.loads(body)['remote'].get('id'): item for item, body in server.rows('SELECT item, body FROM event WHERE kind=?', WAITING)}


def ended(server, job, every_s=0.2):
    while (document := server.document(job))['status'] not in ('completed', 'error', 'cancelled'):
        time.sleep(every_s)
    return document


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def soon(options, table):
    chance, every_s, llm_s = random.Random(options.seed), 0.5, 2.0
    world, server = begin(lambda snapshot: {'ready_s': 2 + chance.uniform(0, 30)}, llm_s, every_s)
    job = profiles.begin(server, urls_of(options.batches, SIZE))
    watcher = Watcher(server, job)
    document = ended(server, job)
    watcher.join(10)
    items, firsts, results = items_of(server), [], []
    for snapshot in world.snapshots:
        firsts.append(watcher.first[items[snapshot.id]] - snapshot.ready_at)
        results.append(watcher.result[items[snapshot.id]] - snapshot.ready_at - llm_s)
    table.row(f'{len(world.snapshots)} batches of {SIZE}: completed', document['counts'][2], '', options.batches, document['counts'][2] == options.batches)
    table.row('    calls to the model under way at most', world.asking_most)
    for what, values in (('ready to its first record on the stream', firsts), (f'ready to its result, less the {llm_s:.0f} s of the model', results)):
        table.row(f'    {what}: median', median(values) * 1e3, 'ms')
        table.row('        p99', percentile(values, 0.99) * 1e3, 'ms')
        table.row('        latest', max(values) * 1e3, 'ms', (every_s + LATE_S) * 1e3)
    for what, late in (('p99', percentile(world.lags, 0.99)), ('latest', max(world.lags))):
        table.row(f'    the doubles are late by themselves, each call: {what}', late * 1e3, 'ms')
    table.row('    connections to the doubles', world.connections)
    table.row('    processor time, server and workers', cpu_s(server), 's')
    table.row('    peak resident memory of the server', server.memory_kib('VmHWM') / 1024, 'MiB')
    finish(world, server)


def many(options, table):
    chance = random.Random(options.seed)
    world, server = begin(lambda snapshot: {'ready_s': chance.uniform(1, 30)}, 0.05, 1)
    job = profiles.begin(server, urls_of(options.many, SIZE))
    watcher, seen, began = Watcher(server, job), [], time.monotonic()
    while server.document(job)['status'] in ('pending', 'running'):
        seen.append((watcher.records / (options.many * SIZE), server.memory_kib()))
        time.sleep(0.5)
    watcher.join(10)
    document, rss = server.document(job), lambda share: min(seen, key=lambda one: abs(one[0] - share))[1] / 1024
    table.row(f'{options.many} batches of {SIZE}: completed', document['counts'][2], '', options.many, document['counts'][2] == options.many)
    table.row('    records', document['records']['completed'], '', options.many * SIZE, document['records']['completed'] == options.many * SIZE)
    table.row('    seconds', time.monotonic() - began, 's')
    for share in (0.05, 0.5, 0.95):
        table.row(f'    resident memory of the server when {share:.0%} of the records are done', rss(share), 'MiB')
    table.row('    grows from the middle to the end by', rss(0.95) - rss(0.5), 'MiB', 8)
    table.row('    peak', server.memory_kib('VmHWM') / 1024, 'MiB')
    table.row('    processor time a record, server and workers', cpu_s(server) / (options.many * SIZE) * 1e3, 'ms')
    finish(world, server)


class Killed:
    """What a server killed again and again leaves behind."""

    BATCHES, SIZE = 40, 10

    def __init__(self, options):
        self.chance = random.Random(options.seed)
        self.world, self.server = begin(lambda snapshot: {'ready_s': self.chance.uniform(0.2, 3)}, 0.3, 0.2, self.SIZE, 8, 12)
        self.jobs, self.kills, self.stored = {}, [], []

    def another(self):
        urls = urls_of(self.BATCHES, self.SIZE, first=self.BATCHES * len(self.jobs))
        job = profiles.begin(self.server, urls)
        self.jobs[job] = urls, Follower(self.server, job, 'job')
        return job

    def live(self, kills):
        job = self.another()
        while len(self.kills) < kills:
            if self.server.document(job)['status'] not in ('pending', 'running'):
                job = self.another()
            time.sleep(self.chance.uniform(0.2, 1.6))
            self.kills.append(time.monotonic())
            self.server.kill()
            self.stored.append((time.monotonic(), {json.loads(row[0])['remote'].get('id') for row in
                                                   self.server.rows('SELECT body FROM event WHERE kind=?', WAITING)}))
            self.server.start()
        for job in self.jobs:
            ended(self.server, job)

    def triggered_again(self):
        """Starts that made or were given a snapshot whose id was in the log already."""
        found = 0
        for call in self.world.of('trigger'):
            before = [ids for at, ids in self.stored if at < call.at]
            found += bool(before) and call.snapshot in before[-1]
        return found

    def paid_twice(self):
        """(answers that were paid again, how long before the kill that lost it the latest of them had come)"""
        by_url, again, late = collections.defaultdict(list), 0, 0.0
        for paid in self.world.paid:
            by_url[paid.url].append(paid)
        for calls in by_url.values():
            for one in calls[:-1]:
                again += 1
                late = max(late, min((kill - one.until for kill in self.kills if kill > one.at - UNREAD_S), default=999))
        return again, late

    def tell(self, table):
        batches = len(self.jobs) * self.BATCHES
        documents = [self.server.document(job) for job in self.jobs]
        table.row(f'{len(self.kills)} kills, {len(self.jobs)} jobs of {self.BATCHES} batches of {self.SIZE}: batches completed',
                  sum(one['counts'][2] for one in documents), '', batches, sum(one['counts'][2] for one in documents) == batches)
        table.row('    starts of a snapshot whose id was stored', self.triggered_again(), '', 0)
        table.row('    batches that two snapshots were made of', len(self.world.second_triggers()), '', 0)
        table.row('    starts sent again with the same key, because their answer was lost', sum(one.replays for one in self.world.snapshots))
        why = collections.Counter(item['error'] for job in self.jobs for item in self.server.get(f'/v1/jobs/{job}/items').json()['items']
                                  if item.get('error'))
        for error, count in why.most_common(5):
            table.note(f'{count} failed: {error}')
        missing = doubled = 0
        for job, (urls, _) in self.jobs.items():
            found = collections.Counter()
            for item in range(self.BATCHES):
                answer = self.server.get(f'/v1/jobs/{job}/items/{item}/result')
                found.update(one['url'] for one in (answer.json() if answer.status == 200 else answer.body() and []))
            missing += len(set(urls) - set(found))
            doubled += sum(count - 1 for count in found.values())
        table.row('    profiles that are missing', missing, '', 0)
        table.row('    profiles that are there twice', doubled, '', 0)
        rows = self.server.rows('SELECT job, item, body FROM event WHERE kind=?', RECORD_DONE)
        records = collections.Counter((job, item, json.loads(body).get('record')) for job, item, body in rows)
        table.row('    records that were done twice', sum(count - 1 for count in records.values()), '', 0)
        again, late = self.paid_twice()
        table.row(f'    answers of the model paid again, of {len(self.world.paid)}', again)
        table.row('    of them, the answer that had come the longest before the kill', late * 1e3, 'ms', 250)
        broken = returns = 0
        for job, (_, follower) in self.jobs.items():
            follower.join(30)
            whole, ids = replay(self.server, job, 'job')
            seqs = [int(one.rsplit('-', 1)[1]) for one in ids]
            broken += bool(follower.trouble) or (follower.kept, follower.ids) != (whole, ids) or seqs != list(range(seqs[0], seqs[-1] + 1))
            returns += follower.resumed
        table.row(f'    streams, put together over {returns} returns, that are not the log', broken, '', 0)


def kills(options, table):
    killed = Killed(options)
    try:
        killed.live(options.kills)
        killed.tell(table)
    except LOST as lost:
        raise SystemExit(f'the server went away by itself: {lost} {killed.server.complaints()}') from lost
    finally:
        finish(killed.world, killed.server)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batches', type=int, default=100)
    parser.add_argument('--many', type=int, default=1000)
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--quiet', type=float, default=20, help='seconds to wait for a quiet moment')
    parser.add_argument('--only', choices=('soon', 'many', 'kills'))
    options = parser.parse_args()
    table = Table('The profiles pipeline')
    for part in (soon, many, kills):
        if options.only in (None, part.__name__):
            quiet(options.quiet)
            part(options, table)
    table.end()


if __name__ == '__main__':
    main()
