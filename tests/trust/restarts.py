#!/usr/bin/env python3
"""SIGTERM and a new start under load: nothing that was acknowledged is lost, streams are cut with a `retry:`, and calls that hang hold up nobody.

Usage: tests/trust/restarts.py [--quick] [--seed N] [--restarts N]
"""
import http.client
import json
import random
import socket
import sys
import threading
import time

from scorecard import Scorecard
from ledger import LEGS, RECORDS, Ledger, Server
from survival import STARTED

RESTARTS, RESTARTS_QUICK = 50, 5
END_MAX_S, END_MAX_QUICK_S = 5.0, 15.0      # of one that has calls under way; workers' items are short here. A check may run on a machine that is busy
HANGING = 200                      # calls that no one answers
CALLS = '''pipeline: calls
version: 1
in_flight: {hanging}
stages:
  - http: {{ get: 'http://127.0.0.1:{port}/hang' }}
    timeout: 60s
    concurrency: {hanging}
'''


class Deaf(threading.Thread):
    """Takes calls and answers none until it is told to."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=1024)
        self.port, self.calls, self.kind, self.held = self.listener.getsockname()[1], 0, False, []
        self.start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.calls += 1
            self.held.append(sock)
            if self.kind:
                self.answer(sock)

    def answer(self, sock):
        try:
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{"a": 1}')
        except OSError:
            pass

    def be_kind(self):
        self.kind = True
        for sock in list(self.held):
            self.answer(sock)


class Tail(threading.Thread):
    """Reads an open job's raw stream until it is cut; what its last words were."""

    def __init__(self, server, job):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
        self.connection.request('GET', f'/v1/jobs/{job}/events')
        self.response, self.seen, self.whole = self.connection.getresponse(), b'', False
        self.start()

    def run(self):
        try:
            self.seen = self.response.read()
            self.whole = True
        except (OSError, http.client.HTTPException):
            pass

    def was_told(self):
        return self.whole and self.seen.rstrip().endswith(b'retry: 1000')


def main():
    card = Scorecard('restarts', __doc__)
    card.parser.add_argument('--restarts', type=int)
    options = card.begin()
    restarts = options.restarts or (RESTARTS_QUICK if options.quick else RESTARTS)
    chance, deaf = random.Random(options.seed), Deaf()
    server = Server(None, {'legs.json': json.dumps(LEGS), 'records.yaml': RECORDS, 'calls.yaml': CALLS.format(port=deaf.port, hanging=HANGING)},
                    RIVULET_NET_ALLOW='127.0.0.0/8')
    ledger = Ledger(server, options.seed)
    bad_ends, untold, took, hung, calls = 0, 0, [], None, 0
    still = server.ask('POST', '/v1/jobs?pipeline=legs&open=1').job       # nothing happens in it: its readers wait
    try:
        for number in range(restarts):
            if number == restarts - 2:
                body = '\n'.join(str(n) for n in range(HANGING)).encode()
                hung = server.ask('POST', '/v1/jobs?pipeline=calls', body, {'Content-Type': 'application/jsonl'}).job
                end = time.monotonic() + 10
                while deaf.calls < HANGING and time.monotonic() < end:
                    time.sleep(0.01)
                calls = deaf.calls
            tails = [Tail(server, still) for _ in range(4)]
            time.sleep(chance.uniform(0, 0.6))
            began = time.monotonic()
            bad_ends += server.stop() != 0
            took.append(time.monotonic() - began)
            for tail in tails:
                tail.join()
                untold += not tail.was_told()
            server.start()
        deaf.be_kind()
        server.ask('POST', f'/v1/jobs/{still}/cancel').body()
        server.wait_for(hung, 'completed', 'error')
        ledger.close_books()
        card.row(f'SIGTERM and a new start under load (seed {options.seed})', restarts, bar=restarts, good=len(took) == restarts)
        card.row('    the longest end without calls', max(took[:-2]), 's')
        card.row(f'the longest end with {calls} calls that hang', max(took[-2:]), 's', bar=END_MAX_QUICK_S if options.quick else END_MAX_S)
        card.row('ends with another status than 0', bad_ends, bar=0)
        card.row(f'waiting streams of {4 * restarts} that were cut without a word of when to come back', untold, bar=0)
        rows = server.rows(f'SELECT count(*), count(DISTINCT item) FROM event WHERE kind = {STARTED} AND job = (SELECT job FROM job WHERE id = ?)', hung)
        card.row('    starts of items whose call hung', rows[0][0], f'of {rows[0][1]} items')
        card.row('items whose call hung and that did not end well', HANGING - server.document(hung)['batches_completed'], bar=0)
        ledger.audit(card)
    finally:
        server.give_up()
        deaf.listener.close()
        try:
            server.close()
        except AssertionError as trouble:
            card.row('the server ended well at last', str(trouble)[:300], good=False)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
