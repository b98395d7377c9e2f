"""A server whose calls of the system fail where a test wants it (tests/trust/faults.c does it), and a witness of what its clients were told.

    server = Faulty()                       # its library is preloaded; nothing fails yet
    server.arm(ALLOC, number)               # the number-th allocation from now on fails
    …                                       # clients of the witness do something
    server.disarm()
    witness.settle(server)                  # the server's fate is a good one, it goes on or is started again, and nothing told was taken back

A server may end at a fault, but never without a sentence on standard error, and never by a signal.
"""
import collections
import errno
import http.client
import json
import mmap
import os
import random
import re
import select
import shutil
import struct
import subprocess
import time
import unittest
from typing import NamedTuple

from scorecard import BUILD
from rivulet_server import PROGRAM, Answer, Rivulet
from survival import LOST, Brittle, Mortal, Story, blobs_on_disk, check_server, hash_of

LIBRARY = os.path.join(BUILD, 'tests', 'faults.so')
CLASSES = ('alloc', 'write-file', 'write-socket', 'read-file', 'read-socket', 'sync', 'open', 'name', 'start', 'map', 'stat', 'wait', 'write-other', 'read-other', 'accept', 'watch')
ALLOC, WRITE_FILE, WRITE_SOCKET, READ_FILE, READ_SOCKET, SYNC, OPEN, NAME, START, MAP, STAT, WAIT, WRITE_OTHER, READ_OTHER, ACCEPT, WATCH = range(len(CLASSES))
ALL = 1 << 62
DEPTH = 16                # frames of a path
PATIENCE_S = 8            # a client that hears nothing for so long has been forgotten
END_S = 15                # a job whose faults are over has ended by then
PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 2, 'attempts': 4, 'backoff_ms': [5, 10]}]}
ENDS_OF_MEMORY, ENDS_OF_THE_LOG, ENDS_OF_STARTS, ENDS_OF_LIBRARIES = 71, 70, 2, -6


class Path(NamedTuple):
    """A way by which calls came: see faults.c. `count` is how often in one life, at the least."""

    hash: int
    kind: int
    low: int
    count: int


class Control:
    """The file that the library reads: struct control of faults.c."""

    HEAD, PID, COUNTS, SKEW, PATH, HIT, SPOT = struct.Struct('<4I2Q'), 52, 56, 184, 200, 224, 232
    PATHS, ENTRY, ENTRIES = SPOT + 4096, struct.Struct('<2Q2I'), 1 << 14
    ANY_LISTED = (1 << 64) - 1
    SIZE = PATHS + ENTRIES * ENTRY.size

    def __init__(self, path):
        with open(path, 'wb') as file:
            file.truncate(self.SIZE)
        with open(path, 'r+b') as file:
            self.map = mmap.mmap(file.fileno(), self.SIZE)

    def arm(self, mask, first, last, error, piece, path=None, record=False):
        """path: a Path, or a list of them, of which the first that comes is meant."""
        listed = path if isinstance(path, list) else []
        wanted, low = (self.ANY_LISTED, 0) if listed else (path.hash, path.low) if path else (0, 0)
        self.map[:self.PID - 4] = bytes(self.PID - 4)
        self.map[self.COUNTS:self.SKEW] = bytes(self.SKEW - self.COUNTS)
        self.map[self.PATH:self.PATHS] = struct.pack('<Q4IQ', wanted, low, DEPTH, int(record), 0, 0) + bytes(self.PATHS - self.SPOT)
        if record or listed:
            self.map[self.PATHS:] = bytes(self.SIZE - self.PATHS)
        for one in listed:
            self.list(one)
        self.map[4:self.HEAD.size] = self.HEAD.pack(0, mask, error, piece, first, last)[4:]
        self.map[:4] = struct.pack('<I', 1)

    def list(self, path):
        """In the place where the library looks for it."""
        place = path.hash % self.ENTRIES
        while struct.unpack_from('<Q', self.map, self.PATHS + place * self.ENTRY.size)[0] not in (0, path.hash):
            place = (place + 1) % self.ENTRIES
        self.ENTRY.pack_into(self.map, self.PATHS + place * self.ENTRY.size, path.hash, 0, path.kind, path.low)

    @property
    def hit(self):
        """The hash of the path on which a call failed."""
        return struct.unpack_from('<Q', self.map, self.HIT)[0]

    def paths(self):
        """Those that were recorded: {hash: Path}"""
        assert not struct.unpack_from('<I', self.map, self.HIT - 4)[0], 'more paths than the library has room for'
        entries = self.ENTRY.iter_unpack(self.map[self.PATHS:])
        return {hash: Path(hash, kind, low, count) for hash, count, kind, low in entries if hash}

    def disarm(self):
        self.map[:4] = bytes(4)

    @property
    def seen(self):
        return struct.unpack_from('<Q', self.map, 32)[0]

    @property
    def failed(self):
        return struct.unpack_from('<Q', self.map, 40)[0]

    def counts(self):
        return dict(zip(CLASSES, struct.unpack_from('<16Q', self.map, self.COUNTS)))

    def skew(self, seconds):
        self.map[self.SKEW:self.SKEW + 8] = struct.pack('<q', seconds)

    def least(self, count):
        self.map[self.SKEW + 8:self.PATH] = struct.pack('<Q', count)

    def children(self, wanted):
        self.map[48:52] = struct.pack('<I', wanted)

    def spot(self):
        return self.map[self.SPOT:self.PATHS].split(b'\0')[0].decode(errors='replace').splitlines()


def spot_text(lines):
    """The frames of our own program by their names, innermost first."""
    offsets = [line.split()[0].split('+')[1] for line in lines[1:] if line.startswith('rivulet+')]
    names = []
    if offsets:
        told = subprocess.run(['addr2line', '-f', '-s', '-i', '-e', PROGRAM, *offsets], capture_output=True, text=True, check=False).stdout.splitlines()
        names = [f'{name} {place.split(" ")[0]}' for name, place in zip(told[::2], told[1::2])]
    outside = [line for line in lines[1:3] if not line.startswith('rivulet+')]
    return ' < '.join(lines[:1] + outside[:1] + names[:7])


class Faulty(Mortal):
    def __init__(self, pipeline=None, children=False, pipelines=None, **settings):
        """children: calls fail in its workers, and not in itself; pipelines: more of them, each a dict."""
        self.control = None
        self.wants_children, self.pipelines = children, pipelines or []
        super().__init__(pipeline or PIPELINE, **{'ENABLE_PARALLEL': 'true', 'MAX_WORKERS': 1, 'MAX_BATCH_SIZE': 100, **settings})

    def prepare(self):
        self.control = Control(os.path.join(self.top, 'faults'))
        self.control.children(self.wants_children)
        self.env.update(LD_PRELOAD=LIBRARY, RIVULET_FAULTS=os.path.join(self.top, 'faults'))
        for pipeline in self.pipelines:
            path = os.path.join(self.top, pipeline['name'] + '.json')
            with open(path, 'w', encoding='utf-8') as file:
                json.dump(pipeline, file)
            self.env['RIVULET_PIPELINE'] += ':' + path

    def start(self):
        if not self.control:
            self.prepare()
        self.control.arm(0, 0, 0, 0, 0)     # nothing has failed yet
        self.control.disarm()
        self.told = self.size()
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                super().start()
                break
            except AssertionError:      # a child that the last life was about to start may hold its lock until it is a program of its own
                if 'is in use by another process' not in self.sentences() or time.monotonic() > until_s:
                    raise
                time.sleep(0.05)
        self.told = self.size()

    def size(self):
        path = os.path.join(self.top, 'stderr')
        return os.path.getsize(path) if os.path.exists(path) else 0

    def sentences(self):
        """What it said on standard error in this life."""
        with open(os.path.join(self.top, 'stderr'), encoding='utf-8', errors='replace') as file:
            file.seek(self.told)
            return file.read()

    def arm(self, classes, first=1, last=None, error=errno.ENOMEM, piece=False, path=None, record=False):
        mask = sum(1 << one for one in (classes if isinstance(classes, (tuple, list)) else [classes]))
        self.control.arm(mask, first, first if last is None else last, error, int(piece), path, record)     # piece: see faults.c

    def arm_now(self):
        """As the sweep has it; scenarios call this at their moment."""
        self.arm(**{name: value for name, value in self.plan.items() if name != 'strict'})
        self.witness.strict = self.plan.get('strict', False)

    def disarm(self):
        self.control.disarm()

    def start_armed(self, *classes, **how):
        """A start in the midst of faults: (status or None when it got ready, what it said)"""
        self.told = self.size()
        self.arm(*classes, **how)
        with open(os.path.join(self.top, 'stderr'), 'ab') as errors:
            self.process = subprocess.Popen([PROGRAM, 'serve'], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        line = b''
        if select.select([self.process.stdout], [], [], PATIENCE_S)[0]:
            line = self.process.stdout.readline()
        self.disarm()
        self.errors = open(os.path.join(self.top, 'stderr'), 'ab')
        match = re.match(rb'rivulet ready on http://127.0.0.1:(\d+)', line)
        if match:
            self.port = int(match.group(1))
            return None, self.sentences()
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            status = 'hangs'
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        return status, self.sentences()

    def empty(self):
        """Ends it, and there is nothing that it ever knew."""
        if self.alive():
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """Its workers are on their own, and go by themselves."""
        Rivulet.kill(self)

    def fallen(self):
        """After its end by itself: puts away what was open."""
        status = self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        return status

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE_S)
        connection.request(method, path, body=body, headers=headers or {})
        return Answer(connection, connection.getresponse())

    def drop(self):
        """For a server whose end is known already."""
        if self.alive():
            self.kill()
        self.close()

    def close(self):
        try:
            super().close()
        except AssertionError:
            pass


class Told:
    """One job as a client knows it."""

    def __init__(self, job, face, results):
        self.job, self.face, self.results = job, face, results
        self.kept, self.last, self.ended = b'', None, False


class Witness:
    """Clients that note what they were told; each thing that turns out not to be so is a sentence in `wrong`."""

    def __init__(self, seed=1):
        self.open, self.jobs, self.wrong, self.lost = [], {}, [], 0
        self.ends, self.answers, self.points = collections.Counter(), collections.Counter(), 0
        self.chance = random.Random(seed)
        self.mark = 0
        self.syncs = self.unstopped = 0           # of the log that failed, and after which the server went on
        self.context, self.strict, self.whole_log = '', False, True      # strict: what fails now must be seen by nobody
        self.spared = False                       # what fails now may cost much, but not the server

    def next_mark(self):
        """A number that makes contents new: what is stored already is not stored again."""
        self.mark += 1
        return self.mark

    def forget(self):
        """Keeps what it counted."""
        self.open, self.jobs = [], {}

    def add(self, other):
        """What another counted, in a process of its own."""
        self.ends += other.ends
        self.answers += other.answers
        self.wrong += other.wrong
        for name in ('lost', 'points', 'syncs', 'unstopped'):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def complain(self, sentence, server=None):
        spot = spot_text(server.control.spot()) if server else ''
        self.wrong.append(f'{self.context}: {sentence}{" | " + spot if spot else ""}')
        print(f'       {self.wrong[-1]}', flush=True)

    # ---- clients

    def tries(self, act, *arguments):
        """Runs what a client does; a wire that breaks is fine here, silence is not."""
        try:
            return act(*arguments)
        except TimeoutError:
            self.complain('a client waited in vain', arguments[0])
        except LOST as trouble:
            self.answers['lost'] += 1
            if self.strict:
                self.complain(f'a client lost its wire: {trouble!r}', arguments[0])
        except json.JSONDecodeError:
            self.complain('an answer was cut off and looked whole', arguments[0])
        return None

    def note(self, answer, server):
        """Counts an answer; what is no success has to be a problem document."""
        self.answers[answer.status] += 1
        if answer.status >= 400:
            problem = json.loads(answer.body())
            if self.strict or answer.status not in (429, 500, 503, 507, 413, 404) or not (problem.get('detail') or problem.get('title') or problem.get('error')):
                self.complain(f'an answer of {answer.status}: {problem}', server)
        return answer.status < 400

    def submit(self, server, files, results, path='/process-batch-stream'):
        """A form, until its job is known: Told with a stream, or None."""
        answer = server.post(path, files)
        if not self.note(answer, server):
            return None
        told = Told(answer.job, 'seed', results)
        self.open.append(told)
        self.jobs[told.job] = told
        told.stream = Brittle(answer)
        return told

    def read(self, told, until=None):
        """On along its stream, to an event or to the end."""
        waiting = b''
        while (frame := told.stream.frame()) is not None:
            if frame.event in (None, 'heartbeat'):
                continue
            waiting += frame.raw + b'\n\n'
            if frame.id:
                told.kept, waiting, told.last = told.kept + waiting, b'', frame.id
            told.ended = told.ended or frame.event in ('complete', 'cancelled')
            if frame.event == until:
                return frame
        return None

    # ---- the books

    def settle(self, server, status=None):
        """Sees to the server's end or life, lets all open jobs come to their end, and compares."""
        server.disarm()
        self.points += 1
        if self.answers['lost'] > self.lost:        # a broken wire may be the first that is seen of an end
            self.await_end(server)
        self.lost = self.answers['lost']
        self.bury(server)
        for told in self.open:
            self.come_to_its_end(server, told)
        self.open = []

    def await_end(self, server):
        try:
            server.process.wait(0.3)
        except subprocess.TimeoutExpired:
            pass

    def bury(self, server):
        """Starts it again if it has ended."""
        if not server.alive():
            self.fate(server, server.fallen(), server.sentences())
            server.start()

    def fate(self, server, status, said):
        self.ends[status] += 1
        if self.strict or self.spared:
            self.complain(f'the server ended with {status}: {said[-300:]!r}', server)
        lines = [line for line in said.splitlines() if line.strip() and 'runs as root' not in line]
        good = {ENDS_OF_MEMORY: 'out of memory', ENDS_OF_THE_LOG: 'rivulet: ', ENDS_OF_STARTS: 'rivulet serve: ', ENDS_OF_LIBRARIES: 'rivulet: ended by itself'}
        if status not in good:
            self.complain(f'the server ended with {status}: {said[-300:]!r}', server)
        elif not any(good[status] in line for line in lines):
            self.complain(f'the server ended with {status} without its sentence: {said[-300:]!r}', server)

    def come_to_its_end(self, server, told, again=True):
        until, last = time.monotonic() + END_S, None
        try:
            while True:
                document = server.get(f'/v1/jobs/{told.job}').json()
                if document.get('sealed') is False and not document.get('completed_at'):
                    server.ask('POST', f'/v1/jobs/{told.job}/seal').body()
                last = document.get('status')
                if last in ('completed', 'error', 'cancelled'):
                    break
                if time.monotonic() > until:
                    self.complain(f'job {told.job} is still {last}: {document.get("counts") or document}', server)
                    return
                time.sleep(0.005)
            if told.last:
                rest = server.events(told.job, f'?face={told.face}', told.last)
                more = b'' if rest.status == 204 else self.bytes_of(rest)
            else:
                more = self.bytes_of(server.events(told.job, f'?face={told.face}'))
            whole = self.bytes_of(server.events(told.job, f'?face={told.face}'))
            if told.kept + more != whole:
                self.complain(f'job {told.job}: what was read is not what is there: {(told.kept + more)[-300:]} {whole[-300:]}', server)
            for text in told.results:
                if text.encode() not in whole:
                    self.complain(f'job {told.job}: without the result {text}: {whole[-600:]}', server)
        except (*LOST, json.JSONDecodeError, AssertionError) as trouble:
            self.await_end(server)
            if again and not server.alive():      # it ended meanwhile, at the fault that was
                self.bury(server)
                self.come_to_its_end(server, told, False)
                return
            self.complain(f'job {told.job} afterwards: {trouble!r}; {server.process.poll()} {server.sentences()[-300:]!r}', server)
            self.bury(server)

    @staticmethod
    def bytes_of(stream):
        assert stream.status == 200, stream.status
        return b''.join(frame.raw + b'\n\n' for frame in stream.frames())

    @staticmethod
    def stories_of(case, server):
        """The same of a log from which jobs were removed."""
        by_job = collections.defaultdict(list)
        for row in server.rows('SELECT pos, job, seq, epoch, kind, item, attempt, body FROM event ORDER BY pos'):
            by_job[row[1]].append(row)
        stories = [Story(case, rows) for rows in by_job.values()]
        return {story.id: story for story in stories}

    def end_open_jobs(self, server):
        """Those of which no client ever heard the name."""
        until = time.monotonic() + END_S
        while jobs := [job for state in ('pending', 'running') for job in server.get(f'/v1/jobs?limit=1000&state={state}').json()['jobs']]:
            for job in jobs:
                if not job['sealed']:
                    server.ask('POST', f'/v1/jobs/{job["id"]}/seal').body()
            if time.monotonic() > until:
                self.complain(f'{len(jobs)} jobs do not come to their end: {jobs[0]}')
                return
            time.sleep(0.01)

    def weigh(self, server, known=frozenset()):
        """Each stored file holds what its name says, which is the hash of it. Answers all names."""
        names = blobs_on_disk(server.dir)
        for name in names - known:
            try:
                if hash_of(server.dir, name) != name:
                    self.complain(f'the file {name} holds something else', server)
            except FileNotFoundError:
                pass        # nobody names it, and the server has just removed it; audit() sees to those that somebody names
        return names

    def audit(self, server):
        """The whole log, and the files beside it: the law holds, and after a start nothing lies about that nobody names."""
        self.end_open_jobs(server)
        if server.stop() != 0:
            self.complain('the server did not stop well')
        server.start()
        case = unittest.TestCase()
        case.maxDiff = None
        try:
            stories = check_server(case, server) if self.whole_log else self.stories_of(case, server)
        except AssertionError as trouble:
            self.complain(f'the log: {trouble}'[:1500])
            return {}
        lost = set(self.jobs) - set(stories)
        if lost:
            self.complain(f'jobs that were told of are lost: {sorted(lost)[:3]} and {len(lost)} in all')
        named = set().union(*(story.blobs for story in stories.values()), *[set()])
        until = time.monotonic() + 10
        while (stray := blobs_on_disk(server.dir) - named) and time.monotonic() < until:
            time.sleep(0.05)
        if stray:
            self.complain(f'{len(stray)} files that nobody names outlive a start: {sorted(stray)[:3]}')
        if missing := named - self.weigh(server):
            self.complain(f'{len(missing)} files are missing')
        if os.listdir(os.path.join(server.dir, 'tmp')):
            self.complain('tmp/ is not empty after a start')
        if server.rows('PRAGMA integrity_check') != [('ok',)]:
            self.complain('the database is not whole')
        return stories


# ---- sweeps

def points_of(count, wanted, chance):
    """All of 1 … count, or `wanted` of them: evenly, each at random in its stretch."""
    if not wanted or count <= wanted:
        return list(range(1, count + 1))
    return sorted({int(count * (n + chance.random()) / wanted) + 1 for n in range(wanted)})


class Sweep:
    """A scenario again and again, on a server that has just been started, and each time another call fails."""

    def __init__(self, witness, scenario, ready=None, children=False, **settings):
        self.witness, self.scenario, self.name = witness, scenario, scenario.__name__
        witness.whole_log = self.name != 'forget'
        self.server, self.ready = Faulty(children=children, pipelines=getattr(scenario, 'pipelines', None), **getattr(scenario, 'settings', {}), **settings), ready
        witness.jobs = {}
        if ready:
            ready(self.server, witness)

    def again(self, name, least=0, **plan):
        server, self.witness.context = self.server, f'{self.name}, {name}'
        if server.alive():
            server.kill()
        server.start()
        server.control.least(least)
        server.plan, server.witness = plan, self.witness
        self.witness.tries(self.scenario, server, self.witness)
        server.disarm()

    def count(self, classes, **more):
        """How many calls of the class there are; of None how many of each."""
        self.again('nothing fails', classes=[] if classes is None else classes, first=ALL, **more)
        seen = self.server.control.seen if classes is not None else self.server.control.counts()
        self.witness.settle(self.server)
        return seen

    def run(self, name, classes, points, **how):
        """Fails each of these points once. How many there were."""
        reached = 0
        for point in points:
            self.again(f'{name} {point}', classes=classes, first=point, **how)
            reached += self.server.control.failed > 0
            self.witness.settle(self.server)
        return reached

    def end(self):
        self.witness.context = f'{self.name}, at the end'
        self.witness.audit(self.server)
        if self.server.alive():
            self.server.stop()
        self.server.close()
