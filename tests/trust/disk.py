#!/usr/bin/env python3
"""A disk that is full from one write on, for a while: at every write of an upload, of claims, of results in the log and in files, of flushes and checkpoints, and of a start.

Usage: tests/trust/disk.py [--quick] [--seed N]

From the Nth write on the system answers ENOSPC, as a preloaded library has it (tests/trust/faults.c), which needs no rights; and on a file system of its own in memory, where it
can be mounted, that is filled but for some bytes. The server lives, says 507 to uploads, and when there is space again everything goes on and nothing is missing.
"""
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import scenarios
from injection import ALL, WRITE_FILE, Faulty, Sweep, Witness, points_of
from rivulet_server import image
from scorecard import Scorecard
from survival import jpeg

WANTED, POINTS, QUICK_POINTS, FULL_S = ('upload', 'submit', 'claim', 'finish', 'cancel', 'again', 'many'), 25, 2, 0.25
ROOMS = (0, 1, 100, 511, 512, 4095, 4096, 4097, 8192, 16384, 32768, 65536, 131072, 1 << 20)
MIB = 1 << 20


def looks(witness, server):
    """What it says to others while nothing can be written."""
    witness.tries(lambda _: witness.complain('it is not alive', server) if server.get('/livez').status != 200 else None, server)
    answer = witness.tries(lambda _: server.post('/process-batch-stream', [image('v.jpg', content=jpeg(300000))]), server)
    if answer is not None and answer.status not in (507, 503):
        witness.complain(f'an upload was answered {answer.status} {answer.response.read(300)}; {server.control.failed} of {server.control.seen} failed', server)
    if answer is not None:
        witness.refused += answer.status == 507
        answer.connection.close()


def stretches(card, witness, chance, limit):
    """Full from the Nth write of each scenario on."""
    runs = 0
    for name in WANTED:
        sweep = Sweep(witness, getattr(scenarios, name), getattr(scenarios, name + '_ready', None))
        count, server = sweep.count(WRITE_FILE), sweep.server
        for point in points_of(count, limit, chance):
            witness.context, runs = f'{name}, full from write {point} on', runs + 1
            server.kill()
            server.start()
            server.plan, server.witness = {'classes': WRITE_FILE, 'first': point, 'last': ALL, 'error': errno.ENOSPC}, witness
            client = threading.Thread(target=witness.tries, args=(sweep.scenario, server, witness), daemon=True)
            disarm, server.disarm = server.disarm, lambda: None
            client.start()
            until_s = time.monotonic() + 5
            while not server.control.failed and client.is_alive() and time.monotonic() < until_s:
                time.sleep(0.005)
            if server.control.failed:
                time.sleep(FULL_S)
                if server.alive():
                    looks(witness, server)
            del server.disarm
            disarm()
            if not server.alive():
                witness.complain(f'a full disk ended it: {server.sentences()[-300:]}', server)
            client.join(30)
            witness.settle(server)
        sweep.end()
    card.row('times the disk was full from one write on', runs)


def starts(card, witness, chance, limit):
    """Full while it starts: it says so in a sentence and ends, or it starts and goes on later."""
    server, witness.jobs = Faulty(), {}
    told = witness.submit(server, [image('o.jpg', sleep_ms=300), image('p.jpg', result=scenarios.SMALL)], ['"said":"small"'])
    server.kill()
    server.start_armed(WRITE_FILE, first=ALL)
    count = server.control.seen
    points = points_of(count, limit, chance)
    for point in points:
        if server.alive():
            server.kill()
        witness.context = f'a start, full from write {point} on'
        status, said = server.start_armed(WRITE_FILE, first=point, last=ALL, error=errno.ENOSPC)
        if status is not None:
            witness.fate(server, status, said)
    if not server.alive():
        server.start()
    witness.open = [told]
    witness.settle(server)
    witness.context = 'starts, at the end'
    witness.audit(server)
    server.drop()
    card.row('starts with a disk that is full from one write on', len(points), f'of {count}')


def small_disk(card, witness, rooms):
    """A file system of its own, filled but for some bytes while jobs run."""
    folder = tempfile.mkdtemp(prefix='rivulet-disk-')
    mounted = os.geteuid() == 0 and subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300m', 'rivulet-test', folder], stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not mounted:
        card.row('file systems filled to the last bytes', 'not tried: nothing can be mounted here')
        shutil.rmtree(folder, True)
        return
    filler = os.path.join(folder, 'filler')
    server, witness.jobs = Faulty(), {}
    try:
        server.stop()
        server.env['RIVULET_DATA'] = server.dir = os.path.join(folder, 'data')
        server.start()
        for room in rooms:
            witness.context = f'a file system with {room} bytes left'
            told = witness.submit(server, [image(f'{n}.jpg', sleep_ms=5, pad=70000 if n % 4 == 0 else 0) for n in range(30)], [])
            if told:
                witness.read(told, 'result')
            with open(filler, 'ab', buffering=0) as file:
                for size in (MIB, 4096):
                    try:
                        while file.write(bytes(size)) == size:
                            pass
                    except OSError:
                        pass
                os.ftruncate(file.fileno(), max(0, file.tell() - room))
            time.sleep(FULL_S)
            looks(witness, server)
            os.truncate(filler, 0)
            witness.settle(server)
        witness.context = 'a file system, at the end'
        witness.audit(server)
        card.row('file systems filled but for 0 bytes to 1 MiB', len(rooms))
    finally:
        server.drop()
        subprocess.run(['umount', '-l', folder], check=False)
        shutil.rmtree(folder, True)


def main():
    card = Scorecard('disk', __doc__)
    options = card.begin()
    chance, witness = random.Random(options.seed), Witness(options.seed)
    witness.refused = 0
    stretches(card, witness, chance, QUICK_POINTS if options.quick else POINTS)
    starts(card, witness, chance, 4 if options.quick else None)
    small_disk(card, witness, (0, 5000) if options.quick else ROOMS)
    card.row('uploads refused with 507', witness.refused, bar='1 at least', good=witness.refused > 0)
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    ended with {status}', times)
    card.row('times that something was wrong', len(witness.wrong), bar=0)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
