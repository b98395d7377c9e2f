#!/usr/bin/env python3
"""A job of a million lines of JSON in one body: how long until it is durable, and what memory that takes.

usage: bench/intake.py [--build DIR] [--lines 1000000] [--wait 20]
"""
import argparse
import json
import os
import socket
import sys
import threading
import time

from common import ROOT, Table, quiet

sys.path.insert(0, os.path.join(ROOT, 'tests', 'server'))
HEAD = (b'POST /v1/jobs?pipeline=noop&in_flight=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n'
        b'Content-Type: application/jsonl\r\n\r\n')


class Watch(threading.Thread):
    """The highest resident memory of the server while it lives."""

    def __init__(self, server):
        super().__init__()
        self.server, self.highest, self.over = server, server.rss_kib(), False

    def run(self):
        while not self.over:
            self.highest = max(self.highest, self.server.rss_kib())
            time.sleep(0.01)


def send(port, count):
    """(bytes of the body, seconds until the last was sent, until the answer was there, the job's document)"""
    sock = socket.create_connection(('127.0.0.1', port))
    sock.settimeout(600)
    began, size = time.monotonic(), 0
    sock.sendall(HEAD)
    for at in range(0, count, 2000):
        lines = b''.join(b'{"id":%d,"url":"https://example.com/profile/%d"}\n' % (n, n) for n in range(at, min(at + 2000, count)))
        sock.sendall(b'%x\r\n%b\r\n' % (len(lines), lines))
        size += len(lines)
    sock.sendall(b'0\r\n\r\n')
    sent = time.monotonic() - began
    answer = b''
    while piece := sock.recv(65536):
        answer += piece
    head, _, body = answer.partition(b'\r\n\r\n')
    assert b' 202 ' in head.split(b'\r\n')[0], answer[:500]
    return size, sent, time.monotonic() - began, json.loads(body)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--lines', type=int, default=1000000)
    parser.add_argument('--wait', type=float, default=20)
    options = parser.parse_args()
    os.environ['RIVULET_BUILD'] = options.build
    from rivulet_server import Rivulet
    table = Table('a job of many lines in one body')
    server = Rivulet()
    try:
        server.ask('POST', '/v1/jobs?pipeline=noop', b'1', {'Content-Type': 'application/jsonl', 'Prefer': 'wait=5'}).body()
        if not quiet(options.wait):
            table.note('others were at work meanwhile')
        before, watch = server.rss_kib(), Watch(server)
        watch.start()
        size, sent, told, document = send(server.port, options.lines)
        server.ask('POST', f'/v1/jobs/{document["id"]}/cancel').body()
        watch.over = True
        watch.join()
        assert document['total_batches'] == options.lines, document
        table.row('lines in the body', options.lines, f'{size / 1e6:.0f} MB')
        table.row('the last of it was sent after', sent, 's')
        table.row('the job was durable and told after', told, 's')
        bar = round(options.lines * 16 / (1 << 20) + 16 + 16, 1)
        table.row('the server\'s memory grew by, at its highest (bar: 16 bytes an item, the store\'s 16 MiB, 16 MiB)',
                  (watch.highest - before) / 1024, 'MiB', bar)
    finally:
        server.kill()
        server.close()
    table.end()


if __name__ == '__main__':
    main()
