#!/usr/bin/env python3
"""Remote jobs against the tests' scripted collector: how soon what is ready is stored, what a waiting batch costs, and what kill -9 loses.

Usage: bench/remote.py [--batches 100] [--many 1000] [--kills 100] [--seed N] [--quiet S] [--only soon|many|kills]

  soon    100 batches of 20 get ready at random moments, while slow calls (as to a model) of earlier batches run; from ready to told on the stream
  many    1,000 batches wait at once, three times: resident memory before, while and after
  kills   kill -9 at random moments: starts of what had been started and stored, results and events that are missing or there twice
"""
import argparse
import json
import os
import random
import statistics
import sys
import threading
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path[:0] = [os.path.join(ROOT, 'tests', 'server'), os.path.join(ROOT, 'tests', 'lib'), os.path.join(ROOT, 'bench')]
from collector import Collector  # noqa: E402
from common import Table, quiet  # noqa: E402
from rivulet_server import Rivulet  # noqa: E402

SIZE, LATE_MS = 20, 50


def collect(collector, every_s, timeout_s=600):
    every_us = int(every_s * 1e6)
    return {'stage': 'remote_job', 'name': 'collect', 'timeout_us': timeout_s * 1000000, 'with': {
        'base': collector.base, 'start': {'method': 'POST', 'url': '"/trigger?dataset_id=d"', 'body': 'map({url: .})', 'id': '.snapshot_id'},
        'poll': {'url': '"/progress/\\($id)"', 'state': '.status', 'done': ['ready'], 'failed': ['failed'], 'every_us': [every_us, every_us]},
        'fetch': {'url': '"/snapshot/\\($id)?format=jsonl"', 'as': 'jsonl', 'retry_on': [202]}, 'join': {'row_key': '.input.url'},
        'cancel': {'method': 'POST', 'url': '"/snapshot/\\($id)/cancel"'}}}


def slow(collector, milliseconds, at_once):
    return {'stage': 'http', 'name': 'fit', 'concurrency': at_once, 'with': {
        'base': collector.base.replace('127.0.0.1', 'localhost'), 'method': 'POST', 'url': f'"/slow?ms={milliseconds}"', 'body': '{url, score: .followers}'}}


def pipeline(*legs):
    legs = [{'timeout_s': 600, 'attempts': 5, 'backoff_ms': [20, 100], **leg} for leg in legs]
    return {'name': 'profiles', 'result_key': 'profiles', 'in_flight': 1000, 'batch': {'size': SIZE}, 'legs': legs}


def records(stage):
    return [{'stages': [{'stage': 'split', 'with': {'program': '.[]'}}]}, {'each': 'record', 'stages': [stage]},
            {'stages': [{'stage': 'gather', 'with': {'sort_by': '.url'}}]}]


def urls(count):
    return [f'https://social.example/{number:06d}' for number in range(count)]


def post(server, items):
    answer = server.ask('POST', '/v1/jobs?pipeline=profiles', json.dumps({'items': items}).encode(), {'Content-Type': 'application/json'})
    if answer.status != 202:
        raise SystemExit(answer.body().decode())
    return answer.json()['id']


def batch_of(snapshot):
    return int(snapshot.inputs[0]['url'].rsplit('/', 1)[1]) // SIZE


def follow(server, job, seen):
    """Remembers when each batch was told to be stored; the time is taken before anything is parsed."""
    answer = server.events(job)
    while True:
        frame = answer.frame()
        now = time.monotonic()
        if frame is None:
            return
        if frame.event == 'progress' and frame.data.get('state') == 'stepped' and frame.data.get('leg', 0) <= 1:
            seen.setdefault(frame.data['item'], now)


def soon(table, options):
    every_s, chance = 0.5, random.Random(options.seed)
    ready = [chance.uniform(1, 8) for _ in range(options.batches + 1)]
    collector = Collector(lambda snapshot: {'ready_s': ready[snapshot.number % len(ready)]})
    server = Rivulet(pipeline({'stages': [collect(collector, every_s)]}, *records(slow(collector, 3000, 400))), RIVULET_NET_ALLOW='127.0.0.1')
    seen = {}
    job = post(server, urls(options.batches * SIZE))
    reader = threading.Thread(target=follow, args=(server, job, seen), daemon=True)
    reader.start()
    document = server.wait_for(job, 'completed', 'error', 'cancelled')
    reader.join(10)
    late = sorted(1000 * (seen[batch_of(snapshot)] - snapshot.ready_at) for snapshot in collector.snapshots)
    beyond = [wait - 1000 * every_s for wait in late]
    table.row(f'{options.batches} batches of {SIZE}, every {every_s} s: from ready to told, median', statistics.median(late), 'ms')
    table.row('the latest, beyond one interval', max(beyond), 'ms', bar=LATE_MS)
    table.row('batches beyond an interval and 50 ms', sum(wait > LATE_MS for wait in beyond), bar=0)
    table.row('slow calls at once meanwhile', collector.slow_most)
    table.row('completed', document['counts'][2], good=document['counts'][2] == options.batches, bar=options.batches)
    table.row('batches started twice', len(collector.second_triggers()), bar=0)
    server.close()
    collector.close()


def many(table, options):
    collector = Collector({'ready_s': 15, 'pad': 2000})
    server = Rivulet(pipeline({'stages': [collect(collector, 2)]}), RIVULET_NET_ALLOW='127.0.0.1')
    post_and_end = post(server, urls(SIZE))
    while len(collector.given()) < 1:
        time.sleep(0.01)
    server.ask('POST', f'/v1/jobs/{post_and_end}/cancel').body()
    before = server.rss_kib()
    after = []
    for turn in range(3):
        job, start = post(server, urls(options.many * SIZE)), len(collector.snapshots)
        waiting = 0
        while True:
            document = server.document(job)
            waiting = max(waiting, server.rss_kib())
            if document['status'] not in ('pending', 'running'):
                break
            time.sleep(0.25)
        after.append(server.rss_kib())
        table.row(f'{options.many} batches at once, turn {turn + 1}: resident at most', waiting / 1024, 'MiB')
        table.row('completed', document['counts'][2], good=document['counts'][2] == options.many, bar=options.many)
        table.row('open at the other side at most', collector.open_most)
        assert len(collector.snapshots) - start <= options.many
    table.row('resident before', before / 1024, 'MiB')
    table.row('resident after the first turn', after[0] / 1024, 'MiB')
    table.row('more after the third than after the first', (after[2] - after[0]) / 1024, 'MiB', bar=8)
    table.row('a waiting batch', (waiting - before) / options.many, 'KiB')
    server.close()
    collector.close()


def twice(collector):
    """Batches that were started again although the id of an earlier start had been stored: it had been polled, so it was."""
    by_body = {}
    for snapshot in collector.snapshots:
        by_body.setdefault(snapshot.body, []).append(snapshot)
    return sum(any(snapshot.polls for snapshot in starts[:-1]) for starts in by_body.values()), sum(len(starts) > 1 for starts in by_body.values())


def whole_stream(server, job):
    seqs = []
    for line in server.get(f'/v1/jobs/{job}/events', Accept='application/x-ndjson').body().splitlines():
        said = json.loads(line).get('id')
        if said:
            seqs.append(int(said.rsplit('-', 1)[1]))
    return seqs == sorted(set(seqs)) and len(seqs) > 0


def kills(table, options):
    chance, done, wrong, broken = random.Random(options.seed), 0, 0, 0
    collector = Collector(lambda snapshot: {'ready_s': random.Random(snapshot.number).uniform(0.05, 1.5), 'cut_downloads': snapshot.number % 5 == 0,
                                            'start_s': random.Random(-snapshot.number).uniform(0, 0.1)}, idempotent=False)
    server = Rivulet(pipeline({'stages': [collect(collector, 0.1)]}, *records(slow(collector, 50, 100))), RIVULET_NET_ALLOW='127.0.0.1')
    while done < options.kills:
        batches = 8
        job = post(server, [url + f'?{done}' for url in urls(batches * SIZE)])
        for _ in range(min(3, options.kills - done)):
            time.sleep(chance.uniform(0, 0.7))
            server.kill()
            done += 1
            server.start()
        document = server.wait_for(job, 'completed', 'error', 'cancelled')
        rows = []
        for number in range(document['counts'][2]):
            rows += [row['url'] for row in server.get(f'/v1/jobs/{job}/items/{number}/result').json()]
        wrong += len(rows) != batches * SIZE or len(set(rows)) != len(rows)
        broken += not whole_stream(server, job)
    again, gap = twice(collector)
    table.row(f'kills at random moments (seed {options.seed})', done)
    table.row('starts of a batch whose earlier start had been stored', again, bar=0)
    table.row('batches started twice because the answer had not been stored (the collector knew no idempotency key)', gap)
    table.row('jobs with rows that are missing or there twice', wrong, bar=0)
    table.row('streams with a hole or a repetition', broken, bar=0)
    server.close()
    collector.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--batches', type=int, default=100)
    parser.add_argument('--many', type=int, default=1000)
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--quiet', type=float, default=60, help='seconds to wait for a quiet moment')
    parser.add_argument('--only', choices=('soon', 'many', 'kills'))
    options = parser.parse_args()
    table = Table('Remote jobs')
    for name, measure in (('soon', soon), ('many', many), ('kills', kills)):
        if options.only in (None, name):
            if not quiet(options.quiet):
                table.note('the machine was not quiet')
            measure(table, options)
    return 1 if table.bad else 0


if __name__ == '__main__':
    sys.exit(main())
