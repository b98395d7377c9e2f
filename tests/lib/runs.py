"""`rivulet run` as the tests of the command line use it: a folder of items that give orders to the noop stage, runs that are waited for
or looked at while they go, and the log read by sqlite3 beside the program."""
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
PROGRAM = os.path.join(os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build')), 'rivulet')
OURS = ('RIVULET_', 'MAX_', 'CARD_MAPPING', 'ENABLE_', 'SERVICE_', 'PORT', 'USE_GPU', 'DEBUG', 'NO_COLOR', 'TERM', 'TMPDIR')
QUICK = '{"name":"quick","legs":[{"stages":["noop"],"timeout_s":1,"attempts":2,"backoff_ms":[20,50]}]}'
STARTED, RETRY, DONE, FAILED = 4, 7, 8, 9       # kinds of events in the log


def environment(**more):
    """The present one without what the program would obey."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env.update({name: value for name, value in more.items() if value is not None})
    return env


only_root_may_look = unittest.skipIf(os.geteuid() != 0, 'only root may look into a process that has shut itself')


def stat_of(pid):
    """What /proc tells of a process behind its name: its state (S: it waits), its parent …"""
    with open(f'/proc/{pid}/stat') as file:
        return file.read().rpartition(')')[2].split()


def processes():
    """(pid, parent, state) of every process."""
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                fields = stat_of(name)
            except OSError:
                continue
            yield int(name), int(fields[1]), fields[0]


def children_of(pid):
    return [child for child, parent, state in processes() if parent == pid and state != 'Z']


def workers_of(pid):
    """Those that only compute: workers of expressions and of programs say so behind their name."""
    found = []
    for child in children_of(pid):
        try:
            with open(f'/proc/{child}/cmdline', 'rb') as file:
                words = file.read().split(b'\0')[1:-1]
        except OSError:
            continue
        if words == [b'worker']:
            found.append(child)
    return found


def lives(pid):
    return any(one == pid and state != 'Z' for one, _, state in processes())


def until(true):
    """Looks again and again; the test's own deadline ends a wait that is in vain."""
    while True:
        answer = true()
        if answer:
            return answer
        time.sleep(0.005)


class Run:
    """A `rivulet run` that goes on while the test looks at it."""

    def __init__(self, folder, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=None, **more):
        self.process = subprocess.Popen([PROGRAM, 'run', *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout,
                                        stderr=stderr, env=env or environment(TMPDIR=folder), **more)
        self.pid = self.process.pid

    def line(self):
        """The next line of standard output, as an object; None at its end."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def complaint(self):
        return self.process.stderr.readline().decode()

    def workers(self):
        return children_of(self.pid)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """(status, the rest of standard output as objects, the rest of standard error)"""
        # Not communicate(): it would leave what readline() has read ahead.
        out, err = (pipe.read() if pipe else b'' for pipe in (self.process.stdout, self.process.stderr))
        self.process.wait()
        return self.process.returncode, [json.loads(line) for line in (out or b'').splitlines()], (err or b'').decode()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


class Case(unittest.TestCase):
    """A test with a folder of its own: items, the log in `data`, and the program's temporary directories are in there."""

    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix='rivulet-cli-'))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def item(self, name, **orders):
        """A file; what is in it asks the noop stage to sleep, crash and so on."""
        with open(os.path.join(os.fsencode(self.folder), os.fsencode(name)), 'w') as file:
            json.dump({'noop': orders}, file)
        return name

    def items(self, count, **orders):
        return [self.item(f'item-{number}', **orders) for number in range(count)]

    def write(self, name, text):
        with open(os.path.join(self.folder, name), 'w') as file:
            file.write(text)
        return os.path.join(self.folder, name)

    def env(self, **more):
        return environment(**{'TMPDIR': self.folder, **more})

    def quick(self, **more):
        """Settings for items that fail soon: two attempts, a second each."""
        return self.env(RIVULET_PIPELINE=self.write('quick.json', QUICK), **more)

    def start(self, *arguments, **more):
        run = Run(self.folder, arguments, **more)
        self.addCleanup(run.close)
        return run

    def run_all(self, *arguments, **more):
        return self.start(*arguments, **more).end()

    def command(self, *arguments, **env):
        """(status, standard output, standard error) of the bare program."""
        done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, env=self.env(**env))
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def log(self, query, *values):
        """Rows of the log in `data`; [] while there is none."""
        try:
            base = sqlite3.connect(f'file:{self.folder}/data/log.db?mode=ro', uri=True, timeout=10)
        except sqlite3.OperationalError:
            return []
        try:
            return base.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            base.close()

    def starts(self):
        """{item: how often it was started}"""
        return dict(self.log(f'SELECT item, count(*) FROM event WHERE kind = {STARTED} GROUP BY item'))

    def wait_started(self, *items):
        until(lambda: set(items) <= set(self.starts()))

    def assert_sentence(self, text, *parts):
        """One line, for people."""
        self.assertRegex(text, r'\Arivulet[^\n]*: [^\n]+\n\Z')
        for part in parts:
            self.assertIn(part, text)

    def assert_clean(self, run):
        """Nothing is left of it: no worker, no temporary directory."""
        self.assertEqual(run.workers(), [])
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith('rivulet-')], [])
