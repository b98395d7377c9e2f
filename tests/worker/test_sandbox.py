"""One worker process, held by its frames as the server holds it: what it may do, what it has, and how it ends. strace looks on."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lib'))      # it also runs by itself, as a parent
import sanitized  # noqa: E402
from runs import only_root_may_look  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAM = os.path.join(os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build')), 'rivulet')
SAMPLES = os.path.join(ROOT, 'examples', 'decklists')
MODELS = os.environ.get('RIVULET_MODELS') or os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'rivulet')
FRAME_BYTES = 192 * 1024

# All that a worker does between ready and its end, and why.
ALLOWED = {
    'recvmsg', 'sendmsg',                                 # its frames
    'pread64', 'fstat', 'lseek', 'read',                  # its input
    'pwrite64', 'write',                                  # its output
    'close',                                              # both of them, after the task
    'brk', 'mmap', 'munmap', 'mremap', 'madvise', 'mprotect',     # memory
    'futex', 'clock_gettime', 'getrandom', 'rt_sigreturn',
}
# What its other thread, the watchdog of programs, may still do then: begin, and wait.
WATCHDOG = {'set_robust_list', 'rseq', 'rt_sigprocmask', 'clock_gettime', 'futex'}


class Worker:
    """A worker and our end of its pair."""

    def __init__(self, trace=None, program=None, errors=None):
        """trace: where strace writes; errors: the descriptor that becomes its standard error."""
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        # -D leaves the worker our own child: it ties itself to whoever made the pair.
        tracer = [shutil.which('strace'), '-D', '-f', '-o', trace] if trace else []
        command = [*tracer, program or PROGRAM, 'worker']
        environment = {'ORT_DISABLE_TELEMETRY': '1', 'OMP_THREAD_LIMIT': '1', 'LC_ALL': 'C.UTF-8', **sanitized.options()}
        if trace:       # two cannot trace one process
            environment['ASAN_OPTIONS'] = environment.get('ASAN_OPTIONS', '') + ':detect_leaks=0'
        low, high = os.open('/dev/null', os.O_RDWR), theirs.fileno()
        inherited = [fd for fd in map(int, os.listdir('/proc/self/fd')) if fd > 3 and fd != high]
        actions = [(os.POSIX_SPAWN_DUP2, low, 0), (os.POSIX_SPAWN_DUP2, low, 1), (os.POSIX_SPAWN_DUP2, high, 3),
                   *([(os.POSIX_SPAWN_DUP2, errors, 2)] if errors is not None else []),
                   *((os.POSIX_SPAWN_CLOSE, fd) for fd in inherited if fd_is_open(fd))]
        self.pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
        os.close(low)
        theirs.close()

    def init(self, *stages):
        def path(name):
            whole = os.path.join(MODELS, name)
            return whole if os.path.exists(whole) else None
        outfit = {'catalogue': os.path.join(SAMPLES, 'catalogue.csv'), 'library': path('libonnxruntime.so'),
                  'model': path('ch_PP-OCRv4_rec_infer.onnx'), 'keys': path('ppocr_keys_v1.txt')}
        head = {'frame': 'init', 'stages': stages, 'engine': 'auto', 'files': [], **{k: v for k, v in outfit.items() if v}}
        self.socket.send(json.dumps(head).encode())
        ready = self.hear()[0]
        if 'error' in ready:
            raise AssertionError(ready['error'])
        return ready

    def hear(self):
        """One frame: head and body; ({}, b'') at the end."""
        message = self.socket.recv(FRAME_BYTES)
        head, _, body = message.partition(b'\n')
        return json.loads(head or b'{}'), body

    def send_task(self, stage, value=b'', path=None):
        """The task's frame; answers our hold of the output."""
        output = os.memfd_create('output')
        fds = [output]
        head = {'frame': 'task', 'job': 1, 'item': 0, 'attempt': 1, 'leg': 0, 'stages': [stage], 'name': 'a.jpg', 'type': 'image/jpeg',
                'input': bool(path), 'variables': 2}
        if path:
            fds.insert(0, os.open(path, os.O_RDONLY))
        socket.send_fds(self.socket, [json.dumps(head).encode() + b'\n{}' + value], fds)
        if path:
            os.close(fds[0])
        return output

    def do(self, stage, value=b'', path=None):
        """A task to its end: head and body of the outcome, and what is in the output."""
        output = self.send_task(stage, value, path)
        head, body = self.hear()
        while head.get('frame') == 'hint':
            head, body = self.hear()
        written = os.pread(output, 1 << 23, 0)
        os.close(output)
        return head, body, written

    def proc(self, name):
        with open(f'/proc/{self.pid}/{name}') as file:
            return file.read()

    def status(self, field):
        return re.search(rf'^{field}:\s*(.*)$', self.proc('status'), re.MULTILINE)[1]

    def limit(self, name):
        return re.search(rf'^{name}\s+(\S+)\s+(\S+)', self.proc('limits'), re.MULTILINE).groups()

    def end(self):
        self.socket.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fd_is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


def gone(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] == 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return True


@only_root_may_look
class Traced(unittest.TestCase):
    def setUp(self):
        self.assertTrue(shutil.which('strace'), 'strace is missing: ./check installs it')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.trace = os.path.join(folder.name, 'trace')

    def lines(self):
        """The whole trace; the tracer ends a moment after the worker."""
        while True:
            with open(self.trace) as file:
                text = file.read()
            if '+++ exited with' in text or '+++ killed by' in text:
                return text.splitlines()
            time.sleep(0.01)

    def check_calls(self, lines, wants):
        """Between ready and the EOF of its frames: nothing but what is allowed."""
        at = next(i for i, line in enumerate(lines) if 'sendmsg(3' in line and 'ready' in line)
        main = lines[at].split(None, 1)[0]
        calls, threads = {}, set()
        for line in lines[at:]:
            thread, call = line.split(None, 1)
            threads.add(thread)
            if re.match(r'recvmsg\(|<\.\.\. recvmsg resumed>', call) and call.endswith('= 0'):
                break
            match = re.match(r'(\w+)\(|<\.\.\. (\w+) resumed>', call)
            self.assertTrue(match, line)
            name = match[1] or match[2]
            self.assertIn(name, ALLOWED if thread == main else WATCHDOG, line)
            if thread == main:
                calls[name] = calls.get(name, 0) + 1
        self.assertLessEqual(len(threads), 2)
        for name in wants:
            self.assertIn(name, calls)

    def test_a_worker_touches_nothing_but_its_descriptors(self):
        worker = Worker(self.trace)
        worker.init('noop')
        for value in (b'{"a":1}', b'{"noop":{"sleep_ms":120}}', b'{"noop":{"fail":"no"}}', b'"' + b'x' * 100000 + b'"'):
            worker.do('noop', value)
        worker.do('noop', path='/etc/hostname')
        self.assertEqual(worker.end(), 0)
        self.check_calls(self.lines(), ['recvmsg', 'sendmsg', 'close', 'pwrite64', 'futex'])

    def test_nor_does_one_that_reads_images(self):
        worker = Worker(self.trace)
        ready = worker.init('decklist')
        for name in ('01-plain.jpg', '02-lossless.png', '03-webp.webp', '08-damaged.jpg'):
            head = worker.do('decklist', path=os.path.join(SAMPLES, name))[0]
            self.assertEqual(head['verdict'], 'fail' if 'damaged' in name else 'done', (ready, head))
        self.assertEqual(worker.status('Threads'), '2')         # its own, and the watchdog of programs
        self.assertEqual(worker.end(), 0)
        lines = self.lines()
        self.check_calls(lines, ['recvmsg', 'sendmsg', 'pread64'])
        before = '\n'.join(lines)
        for what in ('connect(', 'fork(', 'machine-id'):
            self.assertNotIn(what, before)      # while loading as well: no telemetry of a library, no thread of it
        self.assertEqual(len(re.findall(r'\bclone3?\(', before)), 1)

    def test_it_is_locked_before_it_says_ready(self):
        worker = Worker(self.trace)
        worker.init('noop')
        self.assertEqual(worker.end(), 0)
        lines = self.lines()
        at = next(i for i, line in enumerate(lines) if 'sendmsg(3' in line and 'ready' in line)
        early = '\n'.join(lines[:at])
        for what in ('PR_SET_PDEATHSIG, SIGKILL', 'PR_SET_NO_NEW_PRIVS, 1', 'unshare(CLONE_NEWNET)', 'RLIMIT_NOFILE', 'RLIMIT_FSIZE', 'RLIMIT_CPU') + (() if sanitized.is_sanitized(PROGRAM) else (
                'landlock_restrict_self', 'SECCOMP_SET_MODE_FILTER', 'RLIMIT_NPROC', 'PR_SET_DUMPABLE, SUID_DUMP_DISABLE')):
            self.assertIn(what, early)


class Held(unittest.TestCase):
    def setUp(self):
        self.worker = Worker()
        self.addCleanup(self.put_away)

    def put_away(self):
        self.worker.socket.close()
        try:
            os.kill(self.worker.pid, signal.SIGKILL)
            os.waitpid(self.worker.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def test_its_limits_are_set(self):
        self.worker.init('noop')
        if not sanitized.is_sanitized(PROGRAM):
            self.assertEqual(self.worker.limit('Max address space'), (str(2048 << 20),) * 2)
            self.assertEqual(self.worker.limit('Max processes'), ('0', '0'))
            self.assertEqual(self.worker.status('Seccomp'), '2')
        self.assertEqual(self.worker.limit('Max open files'), ('16', '16'))
        self.assertEqual(self.worker.limit('Max file size'), (str(64 << 20),) * 2)
        self.assertEqual(self.worker.limit('Max core file size'), ('0', '0'))
        self.assertEqual(self.worker.limit('Max cpu time'), ('86400', '86400'))
        self.assertEqual(self.worker.status('NoNewPrivs'), '1')
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, self.worker.pid) - os.getpriority(os.PRIO_PROCESS, 0), 5)

    @only_root_may_look
    def test_it_has_no_network_where_an_own_one_is_permitted(self):
        self.worker.init('noop')
        permitted = subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode == 0 or \
            subprocess.run(['unshare', '--user', '--net', 'true'], stderr=subprocess.DEVNULL).returncode == 0
        own = os.readlink(f'/proc/{self.worker.pid}/ns/net') != os.readlink('/proc/self/ns/net')
        self.assertEqual(own, permitted)
        if permitted:
            self.assertEqual(len(self.worker.proc('net/tcp').splitlines()), 1)
            self.assertNotIn('eth', self.worker.proc('net/dev'))

    @only_root_may_look
    def test_no_task_leaves_a_descriptor_behind(self):
        self.worker.init('noop')
        for _ in range(50):
            self.worker.do('noop', path='/etc/hostname')
        self.worker.do('noop', b'{}')
        while set(os.listdir(f'/proc/{self.worker.pid}/fd')) != {'0', '1', '2', '3'}:
            time.sleep(0.005)      # it closes them just after its outcome

    def test_a_long_result_goes_to_the_output(self):
        self.worker.init('noop')
        value = b'{"text":"' + b'y' * 100000 + b'"}'
        head, body, written = self.worker.do('noop', value)
        self.assertEqual((head['verdict'], head['output'], body), ('done', len(value), b''))
        self.assertEqual(written, value)

    def test_hints_are_at_most_ten_a_second(self):
        self.worker.init('decklist')
        began, hints = time.monotonic(), 0
        os.close(self.worker.send_task('decklist', path=os.path.join(SAMPLES, '01-plain.jpg')))
        head = self.worker.hear()[0]
        while head['frame'] == 'hint':
            hints += 1
            self.assertLessEqual(0, head['percent'])
            head = self.worker.hear()[0]
        self.assertGreater(hints, 0)
        self.assertLessEqual(hints, 10 * (time.monotonic() - began) + 2)     # "matching" need not wait for "ocr"

    def test_a_frame_that_is_no_task_ends_it(self):
        self.worker.init('noop')
        self.worker.socket.send(b'{"frame":"task"')
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(self.worker.pid, 0)[1]), 1)


class Alone(unittest.TestCase):
    def test_started_by_hand_it_says_so(self):
        done = subprocess.run([PROGRAM, 'worker'], stdin=subprocess.DEVNULL, capture_output=True, text=True, close_fds=True)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, 'rivulet: a worker is started by rivulet itself, not by hand\n')

    def test_it_dies_with_its_parent_in_the_middle_of_a_task(self):
        parent = subprocess.Popen([sys.executable, os.path.abspath(__file__), 'parent'], stdout=subprocess.PIPE, text=True)
        pid = int(parent.stdout.readline())
        self.assertFalse(gone(pid))
        parent.kill()
        parent.wait()
        parent.stdout.close()
        while not gone(pid):
            time.sleep(0.005)


def be_parent():
    """Start a worker that never comes back, say its number, and wait to be killed."""
    worker = Worker()
    worker.init('noop')
    worker.send_task('noop', b'{"noop":{"hang":true}}')
    print(worker.pid, flush=True)
    signal.pause()


if __name__ == '__main__':
    be_parent() if sys.argv[1:] == ['parent'] else unittest.main()
