#!/usr/bin/env python3
"""Thousands of clients that dribble: heads without end, bodies byte by byte, streams that are never read. One that behaves is answered at once all the while.

Usage: tests/trust/dribblers.py [--quick] [--seed N] [--count N]
"""
import asyncio
import random
import resource
import sys
import threading
import time

from scorecard import Scorecard
from rivulet_server import Rivulet, image

COUNT, COUNT_QUICK, ROUNDS, ROUNDS_QUICK, SOON_MS = 5000, 500, 600, 80, 50
EVERY_S, PAUSE_S = 2.0, 0.02
THERE, STAY = 0.9, 0.75           # of the connections: to begin with, and all the while. Those that the server closes come back after a second
SLOW = ('head', 'body', 'reader', 'silent')


class Dribblers(threading.Thread):
    """Each connection is one of SLOW; one that the server has closed is opened again."""

    def __init__(self, port, count, seed, stream):
        super().__init__(daemon=True)
        self.port, self.count, self.chance, self.stream = port, count, random.Random(seed), stream
        self.open, self.closed, self.there = 0, 0, threading.Event()
        self.loop = asyncio.new_event_loop()
        self.start()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.crowd())

    async def crowd(self):
        tasks = [asyncio.ensure_future(self.one(number)) for number in range(self.count)]
        self.over = asyncio.Event()
        await self.over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def one(self, number):
        await asyncio.sleep(number / self.count * 5)
        while True:
            try:
                await self.live(SLOW[number % len(SLOW)])
            except (OSError, asyncio.IncompleteReadError):
                pass
            self.closed += 1
            await asyncio.sleep(self.chance.uniform(0.5, 1.5))

    async def live(self, kind):
        reader, writer = await asyncio.open_connection('127.0.0.1', self.port, limit=1)
        self.open += 1
        if self.open >= self.count * THERE:
            self.there.set()
        try:
            if kind == 'head':
                writer.write(b'GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ')
            elif kind == 'body':
                writer.write(b'POST /process-batch-stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n'
                             b'Content-Length: 100000\r\n\r\n')
            elif kind == 'reader':
                writer.write(f'GET {self.stream} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n'.encode())
                writer.transport.pause_reading()
            while not writer.transport.is_closing():
                if kind in ('head', 'body'):
                    writer.write(b'y')
                    await writer.drain()
                await asyncio.sleep(self.chance.uniform(0.5, 1.5) * EVERY_S)
                if kind != 'reader' and reader.at_eof():
                    return
        finally:
            self.open -= 1
            writer.transport.abort()

    def end(self):
        self.loop.call_soon_threadsafe(self.over.set)
        self.join(30)


def one_round(server):
    """A question answered, and an item from upload to its result: (ms, ms)."""
    began = time.monotonic()
    assert server.get('/livez').status == 200
    asked = time.monotonic()
    answer = server.post('/process-batch-stream', [image()])
    answer.until('result')
    told = time.monotonic()
    answer.frames()
    return (asked - began) * 1e3, (told - asked) * 1e3


def main():
    card = Scorecard('dribblers', __doc__)
    card.parser.add_argument('--count', type=int)
    options = card.begin()
    count = options.count or (COUNT_QUICK if options.quick else COUNT)
    rounds = ROUNDS_QUICK if options.quick else ROUNDS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 2000)), hard))
    server = Rivulet(MAX_WORKERS=1)
    job = server.ask('POST', '/v1/jobs?pipeline=noop&open=1').json()['id']
    alone = [one_round(server) for _ in range(rounds // 2)]
    crowd = Dribblers(server.port, count, options.seed, f'/v1/jobs/{job}/events')
    assert crowd.there.wait(60), f'only {crowd.open} of {count} connections are open'
    seen, least = [], count
    for _ in range(rounds):
        seen.append(one_round(server))
        least = min(least, crowd.open)
        time.sleep(PAUSE_S)
    rss = server.rss_kib() / 1024
    crowd.end()
    card.row('clients that dribble, never read or say nothing', least, f'of {count} open at least', bar=f'{count * STAY:.0f}', good=least >= count * STAY)
    card.row('    of them closed by the server for it, and come back', crowd.closed)
    for place, what in enumerate(('a health check', 'an upload of one image, to its result')):
        for name, values in (('alone', alone), ('among them', seen)):
            ordered = sorted(one[place] for one in values)
            among = name == 'among them'
            card.row(f'{what}, {name}: median', ordered[len(ordered) // 2], 'ms', bar=SOON_MS if among and not options.quick else None)
            card.row('    p99', ordered[int(len(ordered) * 0.99)], 'ms', bar=SOON_MS if among and place == 0 and not options.quick else None)
    if options.quick:
        card.row('rounds that were answered', len(seen), bar=rounds, good=len(seen) == rounds)
    card.row('resident memory of the server', rss, 'MiB')
    server.close()
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
