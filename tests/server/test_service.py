"""Beside a service manager: it hears when the server is ready, that it lives, and that it ends; it hands over sockets; secrets lie in files."""
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from rivulet_server import PROGRAM, Rivulet, image
from runs import children_of, only_root_may_look, until

WATCHDOG_S = 0.6
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WAIT_ALL = 17, 0x4206, 0x4207, 0x40000000
KEY = 'a-key-of-these-tests'
PASSED_FROM, OUT_OF_THE_WAY = 3, 200


class Manager:
    """The ear of a service manager."""

    def __init__(self, case, abstract=False):
        folder = tempfile.TemporaryDirectory(prefix='rivulet-manager-')
        case.addCleanup(folder.cleanup)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        case.addCleanup(self.ear.close)
        path = os.path.join(folder.name, 'notify')
        self.address = '@' + path if abstract else path
        self.ear.bind('\0' + path if abstract else path)

    def hear(self, seconds):
        """The lines of the next datagram; [] when none comes."""
        if not select.select([self.ear], [], [], seconds)[0]:
            return []
        return self.ear.recv(4096).decode().splitlines()

    def until(self, line, seconds=10):
        """What was heard until this line came."""
        heard, end = [], time.monotonic() + seconds
        while line not in heard:
            left = end - time.monotonic()
            assert left > 0, f'{line} was not told, but {heard}'
            heard += self.hear(left)
        return heard

    def empty(self):
        while self.hear(0):
            pass


class Managed(Rivulet):
    """A server that is started as a manager starts it: with its variables, and with sockets in the places where it puts them."""

    def __init__(self, sockets=(), told=None, **settings):
        self.sockets, self.told = list(sockets), told or {}
        super().__init__(**settings)

    def start(self):
        self.errors = open(os.path.join(self.top, 'stderr'), 'ab')
        env, count = {**self.env, **self.told}, len(self.sockets)
        # Moved out of the way first, so that none is overwritten before it stands in its place.
        moved = [os.dup2(one.fileno(), OUT_OF_THE_WAY + index) for index, one in enumerate(self.sockets)]
        places = range(PASSED_FROM, PASSED_FROM + count)

        def put_in_place():
            for fd, place in zip(moved, places):
                os.dup2(fd, place)

        # The variables name the process that they are for, whose number only the child knows.
        words = ['sh', '-c', ('export LISTEN_PID=$$ LISTEN_FDS=%d; ' % count if count else '') + 'exec "$0" serve', PROGRAM]
        try:
            self.process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors,
                                            preexec_fn=put_in_place if count else None, pass_fds=places)
        finally:
            for fd in moved:
                os.close(fd)
        if not select.select([self.process.stdout], [], [], 20)[0]:
            self.process.kill()
        line = self.process.stdout.readline().decode()
        if not line.startswith('rivulet ready on http://'):
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.errors.close()
            raise AssertionError(f'the server did not start: {line!r} {self.complaints()}')
        self.port = int(line.rsplit(':', 1)[1])


def listening(case, host='127.0.0.1', kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, kind)
    case.addCleanup(sock.close)
    sock.bind((host, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


class Stopped:
    """The first thread of the process, which is the loop's, stands still; its others go on."""

    def __init__(self, pid):
        self.pid, self.libc = pid, ctypes.CDLL(None, use_errno=True)

    def call(self, what):
        if self.libc.ptrace(what, self.pid, None, None):
            raise OSError(ctypes.get_errno(), 'ptrace')

    def __enter__(self):
        self.call(PTRACE_SEIZE)
        self.call(PTRACE_INTERRUPT)
        os.waitpid(self.pid, WAIT_ALL)

    def __exit__(self, *_):
        self.call(PTRACE_DETACH)


class Telling(unittest.TestCase):
    def managed(self, manager, **settings):
        server = Managed(told={'NOTIFY_SOCKET': manager.address, 'WATCHDOG_USEC': str(int(WATCHDOG_S * 1e6))}, **settings)
        self.addCleanup(server.close)
        return server

    def test_ready_when_it_listens_alive_while_it_runs_stopping_at_its_end(self):
        for abstract in (False, True):
            manager = Manager(self, abstract)
            server = self.managed(manager)
            heard = manager.hear(10)
            with socket.create_connection(('127.0.0.1', server.port), 1):
                pass
            self.assertEqual(heard[:2], ['READY=1', 'WATCHDOG=1'])
            self.assertRegex(heard[2], rf'^STATUS=Listening on 127\.0\.0\.1 port {server.port}; \d of 2 workers ready, 0 busy, 0 jobs open$')
            for _ in range(4):
                manager.until('WATCHDOG=1', WATCHDOG_S)
            self.assertEqual(server.stop(), 0)
            manager.until('STOPPING=1')

    def test_its_status_follows_what_happens_and_it_says_that_it_lives_while_it_drains(self):
        manager = Manager(self)
        server = self.managed(manager)
        answer = server.post('/process-batch-stream', [image(sleep_ms=2000)])
        answer.until('progress')
        heard = manager.until(f'STATUS=Listening on 127.0.0.1 port {server.port}; 2 of 2 workers ready, 1 busy, 1 jobs open')
        self.assertEqual(heard.count('READY=1'), 1)
        server.process.send_signal(signal.SIGTERM)
        self.assertIn('STATUS=Draining: 1 running, 1 jobs open', manager.until('STOPPING=1'))
        for _ in range(2):
            manager.until('WATCHDOG=1', WATCHDOG_S)
        self.assertEqual(server.process.wait(20), 0)

    @only_root_may_look
    def test_a_loop_that_hangs_is_silent_and_what_was_accepted_outlives_it(self):
        manager = Manager(self)
        server = self.managed(manager)
        answer = server.post('/process-batch-stream', [image(sleep_ms=100) for _ in range(4)])
        answer.until('result')
        manager.until('READY=1')
        with Stopped(server.process.pid):
            manager.empty()
            self.assertEqual(manager.hear(2 * WATCHDOG_S), [])
        manager.until('WATCHDOG=1', 2)
        with Stopped(server.process.pid):
            server.process.send_signal(signal.SIGABRT)          # what a manager does after such a silence
        self.assertEqual(server.process.wait(10), -signal.SIGABRT)
        server.process.stdout.close()
        server.errors.close()
        server.start()
        document = server.wait_for(answer.job, 'completed')
        self.assertEqual((document['batches_completed'], document['batches_failed']), (4, 0))

    @only_root_may_look
    def test_its_children_hear_nothing_of_the_manager(self):
        server = self.managed(Manager(self))
        until(lambda: len(children_of(server.process.pid)) >= 2)
        for pid in children_of(server.process.pid):
            with open(f'/proc/{pid}/environ', 'rb') as file:
                self.assertNotRegex(file.read(), b'NOTIFY_SOCKET|WATCHDOG_|LISTEN_')

    def test_a_reload_where_there_is_nothing_to_read_again_ends_nothing(self):
        server = self.managed(Manager(self))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: 'no file of keys' in server.complaints())
        self.assertEqual(server.get('/livez').status, 200)


class Sockets(unittest.TestCase):
    def managed(self, *sockets, told=None, **settings):
        server = Managed(sockets, told, **settings)
        self.addCleanup(server.close)
        return server

    def refused(self, words, *sockets, **settings):
        with self.assertRaises(AssertionError) as raised:
            self.managed(*sockets, **settings)
        for word in words:
            self.assertIn(word, str(raised.exception))

    def test_it_listens_on_what_was_handed_over_and_nobody_is_turned_away_between_two_lives(self):
        sock = listening(self)
        server = self.managed(sock, PORT=1)
        self.assertEqual(server.port, sock.getsockname()[1])
        job = server.post('/process-batch-stream', [image()]).job
        server.wait_for(job, 'completed')
        self.assertEqual(server.stop(), 0)
        early = socket.create_connection(('127.0.0.1', server.port), 5)       # nobody is there who would answer
        early.sendall(f'GET /v1/jobs/{job} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'.encode())
        server.start()
        with early, early.makefile('rb') as answer:
            self.assertEqual(answer.readline().split()[1], b'200')
            self.assertEqual(json.loads(answer.read().split(b'\r\n\r\n', 1)[1])['status'], 'completed')

    def test_of_several_it_takes_the_one_that_is_named(self):
        first, second = listening(self), listening(self, '::1')
        self.assertEqual(self.managed(first, second, told={'LISTEN_FDNAMES': 'metrics:http'}).port, second.getsockname()[1])
        self.refused(['2 sockets', 'named "http"'], first, second, told={'LISTEN_FDNAMES': 'a:b'})

    def test_what_cannot_be_listened_on_is_refused(self):
        self.refused(['no TCP socket that listens'], listening(self, kind=socket.SOCK_DGRAM))
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as local:
            local.bind(os.path.join(folder, 'socket'))
            local.listen()
            self.refused(['no TCP socket that listens'], local)

    def test_a_socket_beyond_this_machine_wants_keys_as_a_flag_does(self):
        sock = listening(self, '0.0.0.0')
        self.refused(['beyond this machine', 'no keys'], sock)
        self.assertEqual(self.managed(sock, RIVULET_KEYS=f'a {KEY}').get('/v1/jobs').status, 401)


class Secrets(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix='rivulet-secrets-')
        self.addCleanup(self.folder.cleanup)

    def put(self, name, content, mode=0o400):
        path = os.path.join(self.folder.name, name)
        with open(path, 'w', encoding='ascii') as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def serve(self, **settings):
        server = Rivulet(CREDENTIALS_DIRECTORY=self.folder.name, **settings)
        self.addCleanup(server.close)
        return server

    def test_keys_and_the_secret_of_webhooks_as_credentials_and_as_files(self):
        self.put('env_RIVULET_KEYS', f'alice {KEY}\nbob another-key-of-these\n')
        secret = self.put('secret', 'whsec_' + 'QUJD' * 10 + '\n')
        server = self.serve(RIVULET_WEBHOOK_SECRET_FILE=secret)
        self.assertEqual(server.get('/v1/jobs').status, 401)
        for key in (KEY, 'another-key-of-these'):
            self.assertEqual(server.get('/v1/jobs', Authorization='Bearer ' + key).status, 200)
        for pid in [server.process.pid, *children_of(server.process.pid)] if os.geteuid() == 0 else ():      # nobody else may look into them
            with open(f'/proc/{pid}/environ', 'rb') as file:
                self.assertNotRegex(file.read(), b'QUJDQUJD|' + KEY.encode())

    def test_a_file_that_everybody_may_read_ends_the_start(self):
        with self.assertRaises(AssertionError) as raised:
            self.serve(RIVULET_WEBHOOK_SECRET_FILE=self.put('secret', 'whsec_' + 'QUJD' * 10, 0o644))
        self.assertIn('may be read by everybody', str(raised.exception))
        self.assertNotIn('QUJD', str(raised.exception))

    def test_what_a_pipeline_asks_of_the_environment(self):
        path = self.put('p.yaml', 'pipeline: p\nstages:\n- http: {get: "http://127.0.0.1/", auth: {bearer: !env RIVULET_TEST_TOKEN}}\n')
        env = {name: value for name, value in os.environ.items() if not name.startswith('RIVULET')}

        def told(**more):
            done = subprocess.run([PROGRAM, 'check', path], env={**env, **more}, capture_output=True, text=True, timeout=20)
            return done.stdout + done.stderr
        self.assertIn('needs RIVULET_TEST_TOKEN (not set)\n', told())
        self.put('RIVULET_TEST_TOKEN', 'x')
        self.assertIn('needs RIVULET_TEST_TOKEN\n', told(CREDENTIALS_DIRECTORY=self.folder.name))
        self.assertIn('needs RIVULET_TEST_TOKEN\n', told(RIVULET_TEST_TOKEN_FILE=os.path.join(self.folder.name, 'RIVULET_TEST_TOKEN')))


if __name__ == '__main__':
    unittest.main()
