#!/usr/bin/env python3
"""`rivulet serve` from outside: how soon the first result comes, how well a fast batch is packed, /health under load, memory of a big upload.

usage: bench/serve.py [DIR] [--build DIR] [--wait 20] [--only NAME]...

DIR holds real screenshots and their catalogue (see bench/batch.py) for the part that needs busy workers; the project's own samples without it.
"""
import argparse
import heapq
import http.client
import os
import pathlib
import random
import sqlite3
import sys
import threading
import time

from common import ROOT, Table, median, quiet

sys.path.insert(0, os.path.join(ROOT, 'tests', 'server'))
MIB = 1 << 20
BIG_FILES, BIG_MB = 100, 8
PACKED_ITEMS, PACKED_WORKERS, PACKED_SEEDS = 40, 4, (1, 2, 3)
HEALTH_COUNT, HEALTH_EVERY_S = 1000, 0.01


def closed(server, measure, *arguments):
    try:
        return measure(server, *arguments)
    finally:
        server.close()


# ---- the first result

def first_result(server, table):
    """When the client has the first of three results, and when the second item's work begins: its end less the 0.4 s that it sleeps."""
    from rivulet_server import image
    leads, waits = [], []
    for _ in range(5):
        began = time.time()
        stream = server.post('/process-batch-stream', [image('a.jpg', sleep_ms=100), image('b.jpg', sleep_ms=400), image('c.jpg', sleep_ms=100)])
        order = []
        while (frame := stream.frame()) is not None:
            if frame.event == 'result' and frame.data['index'] == 0:
                came = time.time()
            order.append((frame.event, (frame.data or {}).get('current')))
        assert order.index(('result', None)) < order.index(('progress', 2)), order
        base = sqlite3.connect(f'file:{server.dir}/log.db?mode=ro', uri=True)
        done = base.execute('SELECT max(at) FROM event WHERE kind = 8 AND item = 1').fetchone()[0] / 1e6
        base.close()
        waits.append((came - began) * 1e3 - 100)
        leads.append((came - (done - 0.4)) * 1e3)
    table.row('first `result` of a stream at the client, from the upload, less the 100 ms of its work', median(waits), 'ms')
    table.row('    when the client has it, the second item has been at work for (negative: not yet; median of 5)', median(leads), 'ms', 0.0)


# ---- packing

def list_schedule(times, workers):
    """Makespan when each item goes, in order, to the worker that is free first."""
    free = [0.0] * workers
    for one in times:
        heapq.heappush(free, heapq.heappop(free) + one)
    return max(free)


def packing(server, table):
    from rivulet_server import image
    worst = 0
    for seed in PACKED_SEEDS:
        chance = random.Random(seed)
        times = [min(1000, max(10, round(chance.lognormvariate(5, 0.8)))) for _ in range(PACKED_ITEMS)]
        stream = server.post('/process-batch-fast', [image(f'{number}.jpg', sleep_ms=ms) for number, ms in enumerate(times)])
        began = ended = None
        while (frame := stream.frame()) is not None:
            if began is None and frame.event == 'progress' and frame.data.get('status') == 'processing':
                began = time.monotonic()
            if frame.event == 'result':
                ended = time.monotonic()
        ideal = list_schedule(times, PACKED_WORKERS) / 1000
        worst = max(worst, (ended - began) / ideal)
    table.row(f'fast batch, {PACKED_ITEMS} lognormal items, {PACKED_WORKERS} workers: makespan against list scheduling, worst', worst, 'times', 1.05)


# ---- health

def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def health(server, table, images, workers):
    """/health on a new connection every 10 ms while every worker reads decklists."""
    from rivulet_server import image
    stop = threading.Event()

    def feed():
        while not stop.is_set():
            server.post('/process-batch-fast', [image(os.path.basename(path), open(path, 'rb').read()) for path in images]).body()
    feeders = [threading.Thread(target=feed) for _ in range(2)]
    for feeder in feeders:
        feeder.start()
    while server.get('/health').json().get('workers_busy', workers) < workers:
        time.sleep(0.01)
    taken = []
    for _ in range(HEALTH_COUNT):
        began = time.monotonic()
        connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=10)
        connection.request('GET', '/health')
        answer = connection.getresponse()
        answer.read()
        connection.close()
        taken.append((time.monotonic() - began) * 1000)
        assert answer.status == 200, answer.status
        time.sleep(HEALTH_EVERY_S)
    stop.set()
    for feeder in feeders:
        feeder.join()
    table.row(f'/health while {workers} workers read decklists: p50', percentile(taken, 0.5), 'ms')
    table.row(f'    p99 of {HEALTH_COUNT}', percentile(taken, 0.99), 'ms', 50)
    table.row('    worst', max(taken), 'ms')


# ---- a big upload

def pieces(boundary):
    block = os.urandom(MIB)
    for number in range(BIG_FILES):
        yield (f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{number}.jpg"\r\n'
               f'Content-Type: image/jpeg\r\n\r\n').encode()
        for part in range(BIG_MB):
            yield number.to_bytes(4, 'big') + part.to_bytes(4, 'big') + block[8:]
        yield b'\r\n'
    yield f'--{boundary}--\r\n'.encode()


def big_upload(server, table):
    """800 MB in one body, each file of it different; memory is looked at all the while."""
    from rivulet_server import image
    for _ in range(3):
        server.post('/process-batch-stream', [image('warm.jpg', os.urandom(MIB)) for _ in range(4)]).body()
    before = server.rss_kib()
    peak, stop = [before], threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], server.rss_kib())
            time.sleep(0.005)
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=300)
    length = sum(len(piece) for piece in pieces('x'))
    connection.request('POST', '/process-batch-stream', body=pieces('x'),
                       headers={'Content-Type': 'multipart/form-data; boundary=x', 'Content-Length': str(length)})
    answer = connection.getresponse()
    came = time.monotonic()
    results = answer.read().count(b'event: result')
    stop.set()
    watcher.join()
    assert (answer.status, results) == (200, BIG_FILES), (answer.status, results)
    table.row(f'{BIG_FILES} x {BIG_MB} MB in one upload: memory of the server grows by (from {before / 1024:.1f} MB)', (peak[0] - before) / 1024, 'MB', 16)
    table.row('    to disk, each file synced', length / 1e6 / (came - began), 'MB/s')


# ---- silence

def silence(server, table):
    """The longest time without a byte on a stream whose only item takes 4 s, with a heartbeat asked for every second."""
    from rivulet_server import image
    stream = server.post('/process-batch-stream', [image(sleep_ms=4000)])
    longest, last = 0, time.monotonic()
    while stream.response.read1(65536):
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    table.row('longest silence of a stream, RIVULET_HEARTBEAT_S=1', longest, 's', 1.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dir', nargs='?', type=pathlib.Path, default=pathlib.Path(ROOT, 'examples', 'decklists'))
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--wait', type=float, default=20)
    parser.add_argument('--only', action='append', choices=('first', 'packing', 'silence', 'upload', 'health'))
    options = parser.parse_args()
    os.environ['RIVULET_BUILD'] = options.build
    from rivulet_server import Rivulet
    from batch import find
    table = Table('The server')

    def wanted(name):
        yes = not options.only or name in options.only
        if yes and not quiet(options.wait):
            table.note(f'no quiet moment in {options.wait:.0f} s: others worked on the machine meanwhile')
        return yes
    if wanted('first'):
        closed(Rivulet(), first_result, table)
    if wanted('packing'):
        closed(Rivulet(MAX_WORKERS=PACKED_WORKERS, MAX_BATCH_SIZE=100, ENABLE_PARALLEL='true'), packing, table)
    if wanted('silence'):
        closed(Rivulet(RIVULET_HEARTBEAT_S=1), silence, table)
    if wanted('upload'):
        closed(Rivulet(MAX_BATCH_SIZE=BIG_FILES), big_upload, table)
    if wanted('health'):
        images, catalogue = find(options.dir)
        workers = os.cpu_count()
        server = Rivulet(RIVULET_PIPELINE='', CARD_MAPPING_PATH=catalogue, MAX_WORKERS=workers, ENABLE_PARALLEL='true')
        closed(server, health, table, images, workers)
    table.end()


if __name__ == '__main__':
    main()
