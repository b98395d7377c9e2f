#!/usr/bin/env python3
"""A worker tries what no worker may, one thing after the other, in its lock and (to show that the lock is what refuses) without one.

The worker is the real one with one stage more, tests/worker/try.c. It is held by its frames as a server would hold it, and then by a real
server with that stage, which has to live, end every item, and keep its files.
"""
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from scorecard import BUILD, ROOT, Scorecard

sys.path.insert(0, os.path.join(ROOT, 'tests', 'worker'))
import test_sandbox                               # noqa: E402
import rivulet_server                             # noqa: E402

TRYING = os.path.join(BUILD, 'tests', 'test-worker')
SERVER = os.path.join(BUILD, 'tests', 'rivulet-try')
REFUSED = {getattr(errno, name) for name in ('EACCES', 'EPERM', 'ENOSYS', 'ENOMEM', 'EMFILE', 'EFBIG', 'EAGAIN')}


class World:
    """What there is to attack: a file with a secret, a folder, a listening port, an abstract socket, processes."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='rivulet-sandbox-')
        self.secret = os.path.join(self.folder, 'secret')
        with open(self.secret, 'w', encoding='ascii') as file:
            file.write('as it was')
        self.tcp = socket.create_server(('127.0.0.1', 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(('127.0.0.1', 0))
        self.abstract = f'rivulet-{os.getpid()}'
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind('\0' + self.abstract)
        self.unix.listen(4)
        self.sibling = subprocess.Popen(['sleep', '600'])

    def orders(self, victim):
        """[(name, order, whether it can be done without a lock by whoever runs this)] of all there is. `victim`: the process that is attacked."""
        def new(name):
            return os.path.join(self.folder, name)
        root = os.geteuid() == 0
        return [(name, {'try': name.split()[0], 'path': path, 'number': number}, possible) for name, path, number, possible in (
            ('read a file', self.secret, 0, True),
            ('read the server\'s environment', f'/proc/{victim}/environ', 0, True),
            ('read the server\'s memory', f'/proc/{victim}/mem', 0, root),
            ('read /proc/self/maps', '/proc/self/maps', 0, True),
            ('read /etc/passwd', '/etc/passwd', 0, True),
            ('write a file', self.secret, 0, True),
            ('write a new file', new('new'), 0, True),
            ('write /dev/shm', f'/dev/shm/rivulet-{os.getpid()}', 0, True),
            ('stat a path', self.secret, 0, True),
            ('folder', new('folder'), 0, True),
            ('link', new('link'), 0, True),
            ('unlink', new('link'), 0, True),
            ('chmod', self.secret, 0, True),
            ('device', new('device'), 0, root),
            ('chdir', '/', 0, True),
            ('tcp', '', self.tcp.getsockname()[1], True),
            ('udp', '', self.udp.getsockname()[1], True),
            ('abstract', self.abstract, 0, True),
            ('listen', '', 0, True),
            ('pair', '', 0, True),
            ('netlink', '', 0, True),
            ('fork', '', 0, True),
            ('thread', '', 0, True),
            ('exec', '/bin/true', 0, None),
            ('memory-exec', '/bin/true', 0, None),
            ('runnable memory', '', 0, True),
            ('made-runnable memory', '', 0, True),
            ('signal the server', '', victim, True),
            ('kill the server', '', victim, False),
            ('stop a sibling', '', self.sibling.pid, True),
            ('kill a sibling', '', self.sibling.pid, False),
            ('pidfd of the server', '', victim, True),
            ('ptrace the server', '', victim, root),
            ('memory-of the server', '', victim, None),
            ('priority of the server', '', victim, None),
            ('mount', self.folder, 0, None),
            ('chroot', self.folder, 0, root),
            ('unshare a user namespace', '', 0, None),
            ('keys of the session', '', 0, None),
            ('bpf', '', 0, None),
            ('uring', '', 0, None),
            ('userfault', '', 0, None),
            ('setuid', '', 65534, None),
            ('core files', '', 0, root),
            ('memfd', '', 0, True),
            ('memory 4 GiB', '', 0, True),
            ('files', '', 0, True),
            ('disk', '', 0, None),
        )]

    def close(self):
        for each in (self.tcp, self.udp, self.unix):
            each.close()
        self.sibling.kill()
        self.sibling.wait()
        subprocess.run(['rm', '-rf', self.folder, f'/dev/shm/rivulet-{os.getpid()}'], check=True)


def try_locked(order, kinds):
    """What came of it in a fresh worker: an errno (0: it was done), or minus the signal that ended it."""
    worker = test_sandbox.Worker(program=TRYING)
    worker.init('try', *kinds)
    try:
        _, body, _ = worker.do('try', json.dumps(order).encode())
        result = json.loads(body)['errno'] if body else None
    except (ConnectionResetError, BrokenPipeError, json.JSONDecodeError):
        result = None
    status = worker.end()
    return status if result is None else result


def try_free(order):
    done = subprocess.run([TRYING, 'try', json.dumps(order)], capture_output=True, text=True)
    return json.loads(done.stdout)['errno'] if done.returncode == 0 and done.stdout else 0 if order['try'] in ('exec', 'memory-exec') else -1


def part_attempts(card, world, kinds, called):
    undone, total, by_signal, unfair = [], 0, 0, []
    for name, order, possible in world.orders(world.sibling.pid):
        total += 1
        result = try_locked(order, kinds)
        by_signal += result == -signal.SIGSYS
        if result != -signal.SIGSYS and result not in REFUSED:
            undone.append(f'{name}: {result}')
    card.note(f'{by_signal} of them by the end of the worker (SIGSYS), the others by an error')
    card.row(f'forbidden things that {called} workers could do', len(undone), f'of {total}', bar=0)
    for line in undone + unfair:
        card.note(line)


def part_without(card, world):
    """Without its lock the same code does them, so it is the lock that refuses."""
    wrong, possible_count = [], 0
    for name, order, possible in world.orders(world.sibling.pid):
        if possible:
            possible_count += 1
            result = try_free(order)
            if result != 0:
                wrong.append(f'{name}: {result}')
            if name.startswith('stop'):
                os.kill(world.sibling.pid, signal.SIGCONT)
    card.row('of them refused without a lock as well', len(wrong), f'of {possible_count}', bar=0)
    for line in wrong:
        card.note(line)


def part_inherited(card):
    """What a worker writes to descriptors that came along reaches nobody."""
    with tempfile.TemporaryFile() as errors:
        for fd in range(3):
            worker = test_sandbox.Worker(program=TRYING, errors=errors.fileno())
            worker.init('try')
            worker.do('try', json.dumps({'try': 'inherited', 'number': fd}).encode())
            worker.end()
        card.row('bytes written through inherited descriptors', errors.seek(0, os.SEEK_END), '', bar=0)


def main():
    card = Scorecard('sandbox', __doc__)
    options = card.begin()
    world = World()
    try:
        part_without(card, world)
        part_attempts(card, world, ('jq', 'eval', 'rows'), 'expression')
        if not options.quick:
            part_attempts(card, world, ('decklist', 'jq'), 'image')
        part_inherited(card)
    finally:
        world.close()
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
