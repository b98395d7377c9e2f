"""What a server gives up of its own: root, core files, the sight of its memory; and that what cannot be had is said."""
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from rivulet_server import PROGRAM, Rivulet, image
from runs import children_of
from sanitized import is_sanitized

NOBODY = 'nobody'
SEEN = 'other processes of its user see its memory: what is not dumpable belongs to root in /proc'


def proc(pid, name):
    with open(f'/proc/{pid}/{name}', encoding='ascii', errors='replace') as file:
        return file.read()


def field(pid, name):
    return re.search(rf'^{name}:\s*(.*)$', proc(pid, 'status'), re.MULTILINE)[1]


def free_low_port():
    for port in range(1023, 600, -1):
        with socket.socket() as one:
            try:
                one.bind(('127.0.0.1', port))
                return port
            except OSError:
                pass
    raise AssertionError('no port below 1024 is free')


class Itself(unittest.TestCase):
    def setUp(self):
        self.server = Rivulet()
        self.addCleanup(self.server.close)

    def test_no_core_file_and_no_look_into_its_memory(self):
        pid = self.server.process.pid
        self.assertRegex(proc(pid, 'limits'), r'Max core file size\s+0\s+0')
        if not is_sanitized(PROGRAM):
            self.assertEqual(os.stat(f'/proc/{pid}/mem').st_uid, 0, SEEN)

    def test_its_files_are_its_own(self):
        self.server.post('/process-batch', [image()]).body()
        for folder, folders, files in os.walk(self.server.dir):
            for name in folders + files:
                mode = os.stat(os.path.join(folder, name)).st_mode
                self.assertEqual(mode & 0o077, 0, f'{folder}/{name} {mode:o}')

    def test_the_walls_of_workers_are_in_the_numbers(self):
        self.server.post('/process-batch', [image()]).body()      # so one has been ready
        text = self.server.get('/metrics').body().decode()
        walls = dict(re.findall(r'^rivulet_worker_wall\{wall="(\w+)"\} (\d)', text, re.MULTILINE))
        if is_sanitized(PROGRAM):
            self.assertEqual(walls, {})
            return
        self.assertEqual(set(walls), {'network', 'files', 'calls'})
        self.server.stop()      # what it said is written then
        complaint = 'workers are not locked as they could be' in self.server.complaints()
        self.assertEqual(complaint, '0' in (walls['files'], walls['calls']))

    def test_root_is_told_that_it_need_not_be(self):
        self.server.stop()
        self.assertEqual('--user NAME gives that up' in self.server.complaints(), os.geteuid() == 0)


@unittest.skipIf(os.geteuid() != 0, 'only root can become somebody else')
class Another(unittest.TestCase):
    def test_root_becomes_the_user_and_keeps_the_port(self):
        port = free_low_port()
        server = Open(RIVULET_USER=NOBODY, PORT=port)
        self.addCleanup(server.close)
        user = pwd.getpwnam(NOBODY)
        pid = server.process.pid
        self.assertEqual(server.port, port)
        self.assertEqual(field(pid, 'Uid').split(), [str(user.pw_uid)] * 4)
        self.assertEqual(field(pid, 'Gid').split(), [str(user.pw_gid)] * 4)
        self.assertEqual(int(field(pid, 'CapEff'), 16), 0)
        self.assertEqual(int(field(pid, 'CapPrm'), 16), 0)
        answer = server.post('/process-batch', [image()]).json()
        self.assertEqual(answer['successful'], 1)
        for folder, folders, files in os.walk(server.dir):
            for name in [folder] + [os.path.join(folder, each) for each in folders + files]:
                self.assertEqual(os.stat(name).st_uid, user.pw_uid, name)
        workers = children_of(pid)
        self.assertTrue(workers)
        for worker in workers:
            self.assertEqual(field(worker, 'Uid').split(), [str(user.pw_uid)] * 4)
            if os.readlink(f'/proc/{worker}/ns/user') == os.readlink(f'/proc/{pid}/ns/user'):      # in one of its own it may have what it likes
                self.assertEqual(int(field(worker, 'CapEff'), 16), 0)

    def test_a_kill_and_it_goes_on_as_that_user(self):
        server = Open(RIVULET_USER=NOBODY)
        self.addCleanup(server.close)
        answer = server.post('/process-batch', [image()])
        answer.body()
        server.kill()
        server.start()
        self.assertEqual(server.document(answer.job)['status'], 'completed')
        self.assertEqual(field(server.process.pid, 'Uid').split(), [str(pwd.getpwnam(NOBODY).pw_uid)] * 4)

    @unittest.skipIf(is_sanitized(PROGRAM), 'a sanitized program can be looked into')
    def test_its_own_user_has_no_look_into_its_memory(self):
        """Where the user is not root, and so could have it."""
        server = Nobodys()
        self.addCleanup(server.close)
        pid = server.process.pid
        self.assertEqual(field(pid, 'Uid').split(), [str(pwd.getpwnam(NOBODY).pw_uid)] * 4)
        self.assertEqual(os.stat(f'/proc/{pid}/mem').st_uid, 0, SEEN)

    def refused(self, folder, **settings):
        env = {**os.environ, 'RIVULET_DATA': os.path.join(folder, 'data'), 'PORT': '0', **settings}
        return subprocess.run([PROGRAM, 'serve'], env=env, capture_output=True, text=True, timeout=20)

    def test_what_cannot_be_is_a_sentence(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.refused(folder, RIVULET_USER='no-such-user')
            self.assertEqual(done.returncode, 2)
            self.assertIn('there is no user "no-such-user" on this machine', done.stderr)
            os.mkdir(os.path.join(folder, 'data'))
            done = self.refused(folder, RIVULET_USER=NOBODY)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f'does not belong to {NOBODY}: chown -R {NOBODY} it', done.stderr)

    def test_who_is_not_root_cannot(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            program = os.path.join(folder, 'rivulet')
            shutil.copy(PROGRAM, program)
            done = subprocess.run([program, 'serve'], env={**os.environ, 'RIVULET_DATA': os.path.join(folder, 'data'), 'PORT': '0', 'RIVULET_USER': 'daemon'},
                                  capture_output=True, text=True, timeout=20, user=NOBODY)
            self.assertEqual(done.returncode, 2)
            self.assertIn('only root can become another user, daemon', done.stderr)


class Open(Rivulet):
    """Its folder can be entered by others, as /var/lib can."""

    def start(self):
        os.chmod(self.top, 0o755)
        super().start()


class Nobodys(Rivulet):
    """Started by an ordinary user, out of a folder that everybody may write to."""

    def start(self):
        os.chmod(self.top, 0o777)
        shutil.copy(PROGRAM, os.path.join(self.top, 'rivulet'))
        self.program = os.path.join(self.top, 'as-nobody')
        with open(self.program, 'w', encoding='ascii') as file:
            file.write(f'#!/bin/sh\nexec setpriv --reuid={NOBODY} --regid={pwd.getpwnam(NOBODY).pw_gid} --clear-groups {self.top}/rivulet "$@"\n')
        os.chmod(self.program, 0o755)
        super().start()


if __name__ == '__main__':
    unittest.main()
