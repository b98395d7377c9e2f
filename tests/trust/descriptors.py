#!/usr/bin/env python3
"""Clients that connect and say nothing, until there is no descriptor left for one more: the server keeps enough for itself, and what runs comes to its end.

Usage: tests/trust/descriptors.py [--quick] [--seed N]
"""
import os
import resource
import socket
import sys
import time
import unittest

from scorecard import Scorecard
from rivulet_server import PROGRAM, image
from runs import stat_of, until
from survival import LOST, Follower, Mortal, check_server, jpeg

PATIENT = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 5, 'attempts': 4, 'backoff_ms': [500, 2000]}]}
RESERVE_MIN, ANSWER_S, ANSWER_QUICK_S, CPU_SHARE = 32, 5, 20, 0.5     # a check may run on a machine that is busy


class Few(Mortal):
    """A server that may have so many descriptors from its start on."""

    def __init__(self, count, **settings):
        self.count = count
        super().__init__(PATIENT, ENABLE_PARALLEL='true', MAX_WORKERS=1, MAX_BATCH_SIZE=200, **settings)

    def start(self):
        self.program = os.path.join(self.top, 'few')
        with open(self.program, 'w', encoding='ascii') as file:
            file.write(f'#!/bin/sh\nulimit -n {self.count}\nexec {PROGRAM} "$@"\n')
        os.chmod(self.program, 0o755)
        super().start()

    def seconds_of_cpu(self):
        fields = stat_of(self.process.pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def crowd(server, count):
    """Clients that connect and say nothing."""
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(('127.0.0.1', server.port))
        clients.append(client)
    return clients


def alive_within(server, seconds):
    """How long /livez took from now on to be answered, or None."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            if server.get('/livez').status == 200:
                return time.monotonic() - began
        except (*LOST, TimeoutError):
            pass
        time.sleep(0.02)
    return None


def cpu_share(server):
    """Seconds of CPU a second, for a second from now on."""
    began, spent = time.monotonic(), server.seconds_of_cpu()
    time.sleep(1)
    return (server.seconds_of_cpu() - spent) / (time.monotonic() - began)


def batch(server):
    files = [image(f'{n}.jpg', sleep_ms=20, pad=70000 if n % 3 == 0 else 0) for n in range(20)] + [image('z.jpg', content=jpeg(90000))]
    stream = server.post('/process-batch-stream', files)
    return Follower(server, stream.job, 'seed', stream)


def ended_well(server, follower, seconds):
    until_s = time.monotonic() + seconds
    while not follower.ended and time.monotonic() < until_s:
        time.sleep(0.01)
    rows = server.rows('SELECT count(*) FROM event WHERE kind = 8')
    failed = server.rows('SELECT body FROM event WHERE kind = 9')
    if failed:
        print(f'       {len(failed)} items failed: {failed[0][0][:300]}', flush=True)
    return follower.ended and follower.trouble is None and rows[0][0] % 21 == 0


def crowded(card, count, soon):
    """More silent clients than there are descriptors."""
    server = Few(count)
    followers = [batch(server)]
    clients = crowd(server, 2 * count)
    time.sleep(0.3)
    held = server.descriptors() if os.geteuid() == 0 else None       # a server that is full tells nobody
    good = ended_well(server, followers[0], 40)
    spent = cpu_share(server)
    for client in clients:
        client.close()
    back = alive_within(server, soon)
    followers.append(batch(server))
    good = ended_well(server, followers[1], 40) and good
    server.stop()
    server.start()
    check_server(unittest.TestCase(), server)
    name = f'of {count} descriptors, with {2 * count} silent clients'
    if held is None:
        card.row(f'descriptors left for the rest of the program {name}', 'not seen: only root may look')
    else:
        card.row(f'descriptors left for the rest of the program {name}', count - held, bar=f'{RESERVE_MIN} at least', good=count - held >= RESERVE_MIN)
    card.holds('    jobs that ran came to their end', good)
    card.row('    CPU while it is full', spent, 's a second', bar=CPU_SHARE)
    card.row('    /livez answered when they have left', 'never' if back is None else back, 's', bar=soon, good=back is not None)
    server.close()


def none_left(card, soon):
    """The limit falls below what is open: no descriptor can be had for anything, for a while."""
    server = Few(1000)
    follower = batch(server)
    until(lambda: len(follower.ids) > 3)
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    clients = crowd(server, 20)
    time.sleep(0.2)
    spent = cpu_share(server)
    lives = server.process.poll() is None
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    back = alive_within(server, soon)
    for client in clients:
        client.close()
    good = ended_well(server, follower, 40)
    card.holds('without any descriptor for a second: the server lives', lives)
    card.row('    CPU meanwhile', spent, 's a second', bar=0.9)
    card.row('    /livez answered when there are some again', 'never' if back is None else back, 's', bar=soon, good=back is not None)
    card.holds('    the job that ran came to its end', good)
    follower.server.give_up()
    server.close()


def main():
    card = Scorecard('descriptors', __doc__)
    options = card.begin()
    soon = ANSWER_QUICK_S if options.quick else ANSWER_S
    for count in (160,) if options.quick else (96, 160, 600, 1024):
        crowded(card, count, soon)
    none_left(card, soon)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
