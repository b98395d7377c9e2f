"""What the tests of survival share: a server that may be killed at any moment, clients that come back to it, and the law of the log
(one outcome an item, numbers without gaps, counts that add up) checked on the log itself."""
import hashlib
import http.client
import json
import os
import select
import sqlite3
import subprocess
import threading

from rivulet_server import PROGRAM, Answer, Frame, Rivulet
from runs import children_of, lives, until, workers_of

CREATED, ADDED, SEALED, STARTED, STEPPED, RETRY, DONE, FAILED, SKIPPED, CANCELLING, ENDED, RECORD_DONE = 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13
LOST = (OSError, http.client.HTTPException)       # what a client meets when the server goes away


def jpeg(count, mark=b''):
    """A file that has the first bytes of a picture and then nothing: `count` bytes, distinct by its mark."""
    return (b'\xff\xd8\xff\xe0' + mark).ljust(count, b'.')


class Mortal(Rivulet):
    """A server whose clients can wait until it is up again; `life` counts its starts."""

    def __init__(self, *arguments, **settings):
        self.change = threading.Condition()
        self.life, self.up, self.over = 0, False, False
        super().__init__(*arguments, **settings)

    def start(self):
        super().start()
        with self.change:
            self.life, self.up = self.life + 1, True
            self.change.notify_all()

    def kill(self):
        """Ends it by SIGKILL; its workers go with it."""
        workers = children_of(self.process.pid)
        self.up = False
        super().kill()
        until(lambda: not any(lives(worker) for worker in workers))

    def kill_before_ready(self, after_s):
        """A start that is cut off before or around its first word."""
        with open(os.path.join(self.top, 'stderr'), 'ab') as errors:
            process = subprocess.Popen([PROGRAM, 'serve'], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
            select.select([process.stdout], [], [], after_s)
            process.kill()
            process.wait()
            process.stdout.close()

    def give_up(self):
        """Nobody need wait any longer: the test is over."""
        with self.change:
            self.over = True
            self.change.notify_all()

    def wait_up(self, seen_life):
        """The number of a life later than `seen_life`, once it has begun; None when the test is over."""
        with self.change:
            self.change.wait_for(lambda: self.over or (self.up and self.life > seen_life))
            return None if self.over else self.life

    def rows(self, query, *values):
        base = sqlite3.connect(f'file:{self.dir}/log.db?mode=ro', uri=True, timeout=10)
        try:
            return base.execute(query, values).fetchall()
        finally:
            base.close()

    def memory_kib(self, name='VmRSS'):
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name + ':'))

    def workers(self):
        return workers_of(self.process.pid)


class Brittle(Answer):
    """An answer whose stream may end anywhere: what is not whole is dropped."""

    def __init__(self, answer):
        super().__init__(answer.connection, answer.response)

    def frame(self):
        while b'\n\n' not in self.rest:
            try:
                piece = self.response.read1(65536)
            except LOST:
                piece = b''
            if not piece:
                self.connection.close()
                return None
            self.rest += piece
        raw, self.rest = self.rest.split(b'\n\n', 1)
        return Frame(raw)


class Follower(threading.Thread):
    """A client that reads a job to its end through all lives of the server. `kept` is what it has for good, all up to the last
    frame with an id; `resumed` counts its returns in the middle of the job."""

    def __init__(self, server, job, face, stream=None):
        super().__init__(daemon=True)
        self.server, self.job, self.face = server, job, face
        self.kept, self.ids, self.last, self.resumed, self.trouble, self.ended = b'', [], None, 0, None, False
        self.stream = stream and Brittle(stream)
        self.life = server.life if stream else 0
        self.start()

    def run(self):
        try:
            while not self.ended:
                if self.stream:
                    self.read(self.stream)
                    self.stream = None
                else:
                    self.come_back()
        except Exception as trouble:
            self.trouble = trouble

    def come_back(self):
        life = self.server.wait_up(self.life)
        if life is None:
            raise AssertionError(f'job {self.job} had not ended for its reader ({self.face})')
        try:
            stream = self.server.events(self.job, f'?face={self.face}', self.last)
            if stream.status == 503 and self.face != 'job':      # it is going down; a browser's EventSource, which is for the job face, would not come back
                stream.body()
                self.life = life
                return
            if stream.status not in (200, 204):
                raise AssertionError(f'a reader of job {self.job} that came back was told {stream.status} {stream.body()}')
        except LOST:
            self.life = life
            return
        self.life = life
        self.resumed += self.last is not None
        self.ended = stream.status == 204
        self.stream = None if self.ended else Brittle(stream)

    def read(self, stream):
        waiting = b''
        while (frame := stream.frame()) is not None:
            if frame.event in (None, 'heartbeat'):
                continue
            if frame.event == 'gap':
                raise AssertionError(f'a reader of job {self.job} at {self.last} was told of a gap')
            waiting += frame.raw + b'\n\n'
            if frame.id:
                self.kept, waiting, self.last = self.kept + waiting, b'', frame.id
                self.ids.append(frame.id)
            self.ended = self.ended or frame.event in ('complete', 'cancelled')


def replay(server, job, face):
    """All of a job's frames from the beginning: (bytes, [id])"""
    stream = server.events(job, f'?face={face}')
    assert stream.status == 200, (job, face, stream.status)
    frames = stream.frames()
    return b''.join(frame.raw + b'\n\n' for frame in frames), [frame.id for frame in frames if frame.id]


# ---- the law ----

def check_log(case, rows, epochs):
    """Rows are (pos, job, seq, epoch, kind, item, attempt, body) of the whole log by pos. Answers {job's id: its story}."""
    case.assertEqual([row[0] for row in rows], list(range(1, len(rows) + 1)), 'pos has a gap')
    case.assertEqual([row[3] for row in rows], sorted(row[3] for row in rows), 'epochs go back')
    case.assertLessEqual({row[3] for row in rows}, set(epochs))
    by_job = {}
    for row in rows:
        by_job.setdefault(row[1], []).append(row)
    stories = [Story(case, rows) for rows in by_job.values()]
    case.assertEqual(len({story.id for story in stories}), len(stories), 'two jobs have one id')
    return {story.id: story for story in stories}


class Story:
    """One job as its events tell it, checked while it is told."""

    def __init__(self, case, rows):
        self.case, self.rows = case, rows
        self.starts, self.outcomes, self.blobs, self.names = {}, {}, set(), {}
        self.sealed, self.end, self.id = False, None, json.loads(rows[0][7])['id']
        case.assertEqual([row[2] for row in rows], list(range(1, len(rows) + 1)), f'seq of job {self.id} has a gap')
        case.assertEqual(rows[0][4], CREATED)
        for row in rows:
            self.tell(row[4], row[5], row[6], json.loads(row[7]))
        opened = json.loads(rows[0][7]).get('open')          # its items start as they come
        case.assertTrue(self.sealed or opened or not self.starts, f'job {self.id} began before it was whole')
        if self.end:
            case.assertEqual(set(self.outcomes), set(range(self.total)), f'items of job {self.id} without an outcome')
            case.assertEqual(self.end['counts'], self.counts())
            case.assertTrue(self.sealed or self.end['status'] == 'cancelled', f'job {self.id} was never whole and has ended well')

    @property
    def total(self):
        return len(self.names)

    def counts(self):
        ended = [self.outcomes[item][0] for item in self.outcomes]
        running = len(set(self.starts) - set(self.outcomes))
        return [self.total - running - len(ended), running] + [ended.count(kind) for kind in (DONE, FAILED, SKIPPED)]

    def tell(self, kind, item, attempt, body):
        case, where = self.case, f'job {self.id} item {item}'
        case.assertIsNone(self.end, f'{where}: an event behind the end')
        if kind == ADDED:
            self.names.update((body['first'] + n, one['name']) for n, one in enumerate(body['items']))
            self.blobs.update(one['blob'] for one in body['items'] if 'blob' in one)
        elif kind == SEALED:
            self.sealed = True
            case.assertEqual(sorted(self.names), list(range(body['total'])))
        elif kind in (STEPPED, RECORD_DONE):
            value = body.get('result', body.get('value'))
            if isinstance(value, dict) and set(value) == {'blob', 'bytes', 'type'}:
                self.blobs.add(value['blob'])
        elif kind == STARTED:
            self.starts.setdefault(item, []).append(body['why'])
            case.assertEqual(attempt, len(self.starts[item]), f'{where}: attempts do not run 1, 2, 3')
            case.assertNotIn(item, self.outcomes, f'{where}: started behind its outcome')
        elif kind in (DONE, FAILED):
            case.assertNotIn(item, self.outcomes, f'{where}: a second outcome')
            case.assertEqual(attempt, len(self.starts.get(item, [])), f'{where}: the outcome is of another attempt')
            self.outcomes[item] = kind, body
            if isinstance(body.get('result'), dict) and 'blob' in body['result']:
                self.blobs.add(body['result']['blob'])
        elif kind == SKIPPED:
            self.outcomes.update((n, (kind, body)) for first, last in body['ranges'] for n in range(first, last + 1))
        elif kind == ENDED:
            self.end = body
        if item is not None:
            case.assertEqual(body['counts'], self.counts(), f'{where}: counts')


def check_server(case, server):
    """The log of a server, whole: what check_log answers. The server may run, but has nothing to do."""
    rows = server.rows('SELECT pos, job, seq, epoch, kind, item, attempt, body FROM event ORDER BY pos')
    return check_log(case, rows, [row[0] for row in server.rows('SELECT epoch FROM opening')])


def check_document(case, server, story):
    """The document says what the log says."""
    document, counts = server.document(story.id), story.counts()
    names = ('pending', 'processing', 'completed', 'failed', 'skipped')
    case.assertEqual([document['batches_' + name] for name in names], counts)
    case.assertEqual((document['seq'], document['total_batches']), (len(story.rows), story.total))
    case.assertEqual(document['overall_progress'], 100 if story.end else min(99, 100 * sum(counts[2:]) // story.total))


def blobs_on_disk(directory):
    """The names of all stored files, which are the hashes of what they hold."""
    return {name for _, _, names in os.walk(os.path.join(directory, 'blobs')) for name in names}


def hash_of(directory, sha):
    with open(os.path.join(directory, 'blobs', sha[:2], sha), 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()
