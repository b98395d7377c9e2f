#!/usr/bin/env python3
"""Streams behind nginx, HAProxy and Caddy as docs/proxies sets them up: how late an event is, and whether an idle stream lives.

usage: bench/proxies.py [--build DIR] [--minutes 5]

Their own times and the server's own heartbeat, each 15 s, are left as they are. Status 1: a bar was missed.
"""
import argparse
import os
import sys

from common import ROOT, Table, median, quiet

sys.path[:0] = [os.path.join(ROOT, 'tests', 'server'), os.path.join(ROOT, 'tests', 'lib')]
EVENTS = 50
LATE_MAX_MS = 100


def open_job(server):
    return server.ask('POST', '/v1/jobs?pipeline=noop&open=1').json()['id']


def add(server, job):
    server.ask('POST', f'/v1/jobs/{job}/items', b'1', {'Content-Type': 'application/json'}).body()


def lateness(server, proxies, table):
    """Against a reader without a proxy in the same process: both read what comes as it comes."""
    from test_proxies import Wire, read_until
    job = open_job(server)
    path = f'/v1/jobs/{job}/events'
    direct, *behind = wires = [Wire(server.port, path, 'localhost')] + [Wire(proxy.port, path) for proxy in proxies]
    for count in range(1, EVENTS + 1):
        add(server, job)
        assert read_until(wires, lambda count=count: all(len(wire.came) >= 2 * count for wire in wires), 5), 'an event did not come'
    for proxy, wire in zip(proxies, behind):
        late = [1e3 * (wire.came[one] - direct.came[one]) for one in direct.came]
        table.row(f'{proxy.name}: an event comes later than without it, median of {len(late)}', median(late), 'ms')
        table.row('    the latest', max(late), 'ms', LATE_MAX_MS)
    for wire in wires:
        wire.close()


def idle(server, proxies, minutes, table):
    from test_proxies import Wire, read_until
    job = open_job(server)
    wires = [Wire(proxy.port, f'/v1/jobs/{job}/events') for proxy in proxies]
    read_until(wires, lambda: all(wire.ended for wire in wires), 60 * minutes)
    alive = [not wire.ended for wire in wires]
    add(server, job)
    server.ask('POST', f'/v1/jobs/{job}/seal').body()
    read_until(wires, lambda: all(wire.ended for wire in wires), 5)
    for proxy, wire, lives in zip(proxies, wires, alive):
        lost = 0 if lives and b'event: complete' in wire.text else 1
        table.row(f'{proxy.name}: streams lost of one that was idle for {minutes:g} minutes', lost, '', 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--minutes', type=float, default=5)
    options = parser.parse_args()
    os.environ['RIVULET_BUILD'] = os.path.abspath(options.build)
    from proxies import KINDS, missing
    from rivulet_server import Rivulet
    if missing():
        print('not here: ' + ', '.join(missing()))
        return 1
    table = Table('streams behind proxies')
    if not quiet(20):
        table.note('others were at work meanwhile')
    server, proxies = Rivulet(MAX_WORKERS=1), []
    try:
        for kind in KINDS:
            proxies.append(kind(server.port))
        lateness(server, proxies, table)
        idle(server, proxies, options.minutes, table)
    finally:
        for proxy in proxies:
            proxy.close()
        server.close()
    table.end()
    return 0


if __name__ == '__main__':
    sys.exit(main())
