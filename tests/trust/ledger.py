"""What clients were told, and whether it is so: a ledger of everything acknowledged (accepted uploads, answers, frames with their ids, cancels,
deletions) that is held against the log at the end, read by SQLite and over HTTP. The parts `kills` and `restarts` share it.

    server = Server(settings …)             # may be killed or stopped at any moment; its clients wait until it is back
    ledger = Ledger(server, seed)           # clients begin
    …                                       # kill, start, kill …
    ledger.close_books()                    # clients end, all jobs and readers come to their end
    ledger.audit(card)                      # rows of the scorecard
"""
import collections
import json
import os
import random
import socket
import threading
import time
import unittest

from rivulet_server import BOUNDARY, PROGRAM, Rivulet, form, image
from runs import children_of, lives
from survival import ADDED, CANCELLING, DONE, ENDED, FAILED, LOST, STARTED, Follower, Mortal, Story, check_document, jpeg, replay

SEED_PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 5, 'attempts': 3, 'backoff_ms': [10, 40]}]}
LEGS = {'name': 'legs', 'in_flight': 4, 'legs': [{'stages': ['noop'], 'timeout_s': 5, 'attempts': 3, 'backoff_ms': [10, 40]}] * 2}
RECORDS = '''pipeline: records
version: 1
stages:
  - split: '.[]'
  - jq: '. + {twice: (.n * 2)}'
  - jq: 'if .n % 7 == 6 then error("seven") else . end'
    on_error: drop_record
  - gather: { sort_by: .n }
'''
INTERRUPTED = 'interrupted'       # an item may be found running by five starts of the server; one more fails it, and says so
END_S = 60                        # after the last start everything has come to its end by then
READERS_MAX = 20


class Server(Mortal):
    """`pipelines`: {name of its file: text} beside the one of the plain face."""

    def __init__(self, first=None, pipelines=None, **settings):
        self.orphans = set()
        self.pipelines = pipelines or {'legs.json': json.dumps(LEGS), 'records.yaml': RECORDS}
        super().__init__(first or SEED_PIPELINE, **{'ENABLE_PARALLEL': 'true', 'MAX_WORKERS': 2, 'MAX_BATCH_SIZE': 1000, **settings})

    def start(self):
        if not self.life:      # the folder is there only now
            for name, text in self.pipelines.items():
                path = os.path.join(self.top, name)
                with open(path, 'w', encoding='utf-8') as file:
                    file.write(text)
                self.env['RIVULET_PIPELINE'] += ':' + path
        super().start()

    def kill(self):
        """Its workers are on their own: they have to go by themselves, also while the next life begins."""
        self.up = False
        self.orphans.update(children_of(self.process.pid))
        Rivulet.kill(self)

    def stop(self):
        self.up = False
        return super().stop()


def strays(server):
    """Workers of lives that are over."""
    mine, program = set(children_of(server.process.pid)), os.path.realpath(PROGRAM)
    found = []
    for pid in server.orphans - mine:
        try:
            if os.readlink(f'/proc/{pid}/exe') == program and lives(pid):
                found.append(pid)
        except OSError:
            pass
    return found


def events_of(text):
    """Frames without comments, heartbeats and the first `retry:`, which are no part of what is replayed."""
    return b''.join(part + b'\n\n' for part in text.split(b'\n\n') if part.startswith(b'event: ') and not part.startswith(b'event: heartbeat'))


class Batch:
    """Items and what each has to come to."""

    def __init__(self, name):
        self.name, self.items, self.want, self.results = name, [], [], {}

    def add(self, item, want, result=None):
        if result is not None:
            self.results[len(self.items)] = result
        self.items.append(item)
        self.want.append(want)


def image_batch(chance, name, count, slow_ms):
    batch = Batch(name)
    for number in range(count):
        label, kind, sleep_ms = f'{name}-{number}.jpg', chance.random(), chance.randint(0, slow_ms)
        if kind < 0.75:
            batch.add(image(label, sleep_ms=sleep_ms, result={'said': label}), DONE, {'said': label})
        elif kind < 0.82:
            batch.add(image(label, content=jpeg(chance.randint(100, 200000), label.encode())), DONE)
        elif kind < 0.87:
            batch.add(image(label, sleep_ms=sleep_ms, pad=chance.randint(66000, 150000)), DONE)
        elif kind < 0.93:
            batch.add(image(label, sleep_ms=sleep_ms, fail='not this one'), FAILED)
        elif kind < 0.96:
            batch.add(image(label, retry='not now'), FAILED)
        elif kind < 0.985:
            batch.add(image(label, b'text', 'text/plain'), FAILED)
        else:
            batch.add(image(label, crash=True), FAILED)
    return batch


def value_batch(chance, name, pipeline):
    batch = Batch(name)
    for number in range(chance.randint(1, 6)):
        if pipeline == 'records':
            values = [{'n': chance.randint(0, 50), 'of': name} for _ in range(chance.randint(1, 8))]
            good = [{**one, 'twice': 2 * one['n']} for one in values if one['n'] % 7 != 6]
            batch.add(values, DONE, sorted(good, key=lambda one: one['n']))
        elif pipeline != 'programs' and chance.random() < 0.15:
            batch.add({'of': [name, number], 'noop': {'fail': 'not this one'}}, FAILED)
        else:
            value = {'of': [name, number], 'noop': {'sleep_ms': chance.randint(0, 10)}}
            batch.add(value, DONE, value)
    return batch


class Ledger:
    def __init__(self, server, seed, uploaders=4, submitters=4, pipelines=('legs', 'records', 'noop')):
        self.server, self.seed, self.pipelines, self.over = server, seed, pipelines, False
        self.lock = threading.RLock()
        self.jobs, self.followers, self.troubles = {}, [], []          # job → Batch
        self.keys = {}                                          # Idempotency-Key → job
        self.documents = {}                                     # job → the last seq that a document showed
        self.cancelled, self.retries, self.deleted = set(), {}, {}
        self.asked_away = set()      # jobs whose deletion was asked for and not refused: without an answer they may be there or not
        self.successful = {}                                    # job → how many results a whole answer had
        self.whole = {}                                         # job → a whole answer's frames
        self.wrong = collections.Counter()                      # what was seen to be wrong while it went on
        self.told = collections.Counter()                       # what was acknowledged, by kind
        self.clients = [self.client(self.upload, n) for n in range(uploaders)] + [self.client(self.submit, n) for n in range(submitters)]
        self.clients += [self.client(self.control, 0), self.client(self.interrupt_uploads, 0)]

    # ---- clients

    def client(self, act, number):
        thread = threading.Thread(target=self.go_on, args=(act, random.Random(f'{self.seed} {act.__name__} {number}'), number), daemon=True)
        thread.start()
        return thread

    def go_on(self, act, chance, number):
        turn = 0
        try:
            while not self.over:
                life = self.server.wait_up(0)
                turn += 1
                try:
                    act(chance, f'{act.__name__}-{number}-{turn}')
                except LOST:
                    if not self.over:
                        self.server.wait_up(life)
        except Exception as trouble:
            self.troubles.append(f'{act.__name__}: {trouble!r}')

    def acknowledge(self, kind, job, batch):
        with self.lock:
            self.told[kind] += 1
            self.jobs[job] = batch

    def follow(self, job, face, stream=None, wait=False):
        """A reader through all lives; a client that waits for its end gives the next batch only then."""
        with self.lock:
            if not wait and sum(follower.is_alive() for follower in self.followers) >= READERS_MAX:
                return False
            follower = Follower(self.server, job, face, stream)
            self.followers.append(follower)
        if wait:
            follower.join()
        return True

    def upload(self, chance, name):
        """By all doors of the plain face. The head of an answer alone says that there is a job."""
        door = chance.choice(('/process', '/process-batch', '/process-batch-stream', '/process-batch-stream', '/process-batch-fast'))
        batch = image_batch(chance, name, 1 if door == '/process' else chance.randint(1, 6), chance.choice((2, 10, 30)))
        answer = self.server.post(door, batch.items, 'file' if door == '/process' else 'files')
        if not answer.job:
            content = answer.body()
            if answer.status == 503:      # it goes down, and has kept nothing
                self.told['refusals'] += 1
            elif content and (answer.status, batch.want) != (400, [FAILED]):
                raise AssertionError(f'{door} answered {answer.status} {content[:300]}')
            return
        self.acknowledge(door, answer.job, batch)
        if door in ('/process-batch-stream', '/process-batch-fast') and chance.random() < 0.6:
            self.follow(answer.job, 'job')
            self.follow(answer.job, 'seed', answer, wait=True)
            return
        try:
            content = answer.body()
        except LOST:
            content = b''
        if not content or answer.status == 503:      # the job goes on, though nobody waits for the server to say so
            self.follow(answer.job, chance.choice(('seed', 'job')), wait=True)
            return
        if door == '/process-batch':
            self.successful[answer.job] = json.loads(content)['successful']
        elif door == '/process':
            self.successful[answer.job] = int(answer.status == 200)
        elif b'event: complete\n' in content:
            self.successful[answer.job] = content.count(b'event: result\n')
            self.whole[answer.job] = content

    def submit(self, chance, name):
        """Values under a key, again and again until there is an answer; and then once more, which has to be the same job."""
        pipeline = chance.choice(self.pipelines)
        batch, key, job = value_batch(chance, name, pipeline), name, None
        body = b'\n'.join(json.dumps(item).encode() for item in batch.items)
        for _ in range(1 + chance.randint(0, 2)):
            while not self.over:
                life = self.server.wait_up(0)
                try:
                    answer = self.server.ask('POST', f'/v1/jobs?pipeline={pipeline}', body, {'Content-Type': 'application/jsonl', 'Idempotency-Key': key})
                    status, told = answer.status, answer.job
                    content = answer.body()
                except LOST:
                    self.server.wait_up(life)
                    continue
                if status == 503:      # it is going down
                    self.server.wait_up(life)
                    continue
                if status != 202:
                    raise AssertionError(f'{key} was told {status} {content[:300]}')
                if job and job != told:
                    self.wrong['keys'] += 1
                if not job:
                    job = told
                    self.acknowledge(pipeline, job, batch)
                    self.keys[key] = job
                break
        if job:
            self.follow(job, 'job', wait=True)

    def some_job(self, chance):
        with self.lock:
            jobs = list(self.jobs)
        return chance.choice(jobs[-40:]) if jobs else None

    def control(self, chance, name):
        """Looks, cancels, retries, deletes."""
        job, act = self.some_job(chance), chance.random()
        time.sleep(0.01)
        if not job or job in self.asked_away:
            return
        if act < 0.6:
            document = self.server.document(job)
            if 'seq' in document and document['seq'] < self.documents.get(job, 0):
                self.wrong['documents'] += 1
            self.documents[job] = document.get('seq', 0)
        elif act < 0.75:
            answer = self.server.ask('POST', f'/v1/jobs/{job}/cancel')
            document = answer.json()
            if answer.status == 200 and document['status'] == 'cancelled':
                self.cancelled.add(job)
                self.told['cancels'] += 1
        elif act < 0.95:
            self.retry(chance, job)
        else:
            self.delete(job)

    def retry(self, chance, job):
        answer = self.server.ask('POST', f'/v1/jobs/{job}/retry')
        document = answer.json()
        if answer.status != 202:
            return
        new, old = document['id'], self.retries.get(job)
        if old and old != new:
            self.wrong['retries'] += 1
        if not old:
            self.retries[job] = new
            self.told['retries'] += 1
            self.follow(new, chance.choice(('seed', 'job')))

    def delete(self, job):
        with self.lock:      # nobody begins to read it just now
            if any(follower.job == job for follower in self.followers) or job in self.retries or job in self.whole:
                return
            document = self.server.document(job)
            if document.get('completed_at') is None:
                return
            self.asked_away.add(job)
            if self.server.ask('DELETE', f'/v1/jobs/{job}').status == 204:
                self.deleted[job] = document['seq']
                self.told['deletions'] += 1
            else:
                self.asked_away.remove(job)

    def interrupt_uploads(self, chance, name):
        """A client that goes away in the middle of a body: nothing may come of it but a cancelled job."""
        batch = image_batch(chance, 'cut-' + name, 3, 5)
        body = form(batch.items)
        with socket.create_connection(('127.0.0.1', self.server.port), timeout=20) as sock:
            sock.sendall(f'POST /process-batch-stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n'
                         f'Content-Length: {len(body)}\r\n\r\n'.encode() + body[:chance.randint(0, len(body) - 1)])
            time.sleep(chance.uniform(0, 0.1))

    # ---- the end

    def close_books(self):
        """The server is up and stays so."""
        self.over = True
        end = time.monotonic() + END_S
        for client in self.clients:
            client.join(max(0.1, end - time.monotonic()))
        while self.server.rows('SELECT 1 FROM job WHERE state<2') and time.monotonic() < end:
            time.sleep(0.02)
        for follower in self.followers:
            follower.join(max(0.1, end - time.monotonic()))
        self.server.give_up()
        while strays(self.server) and time.monotonic() < end:
            time.sleep(0.02)

    def audit(self, card):
        rows = self.server.rows('SELECT pos, job, seq, epoch, kind, item, attempt, body FROM event ORDER BY pos')
        by_job = collections.defaultdict(list)
        for row in rows:
            by_job[row[1]].append(row)
        ids = {json.loads(events[0][7])['id']: events for events in by_job.values()}
        outcomes = collections.Counter((row[1], row[5]) for row in rows if row[4] in (DONE, FAILED))
        card.row('    acknowledged: jobs', len(self.jobs) + len(self.retries))
        card.row('    events in the log', len(rows))
        card.row('    frames with an id that clients saw', sum(len(follower.ids) for follower in self.followers))
        card.row('    streams that were resumed in the middle', sum(follower.resumed for follower in self.followers))
        card.row('    items found interrupted', sum(row[4] == STARTED and '"why":"restart"' in row[7] for row in rows))
        card.row('    what was acknowledged', ', '.join(f'{count:,} {kind}' for kind, count in sorted(self.told.items())))
        card.row('acknowledged jobs, results, cancels lost', self.lost(ids), bar=0)
        card.row('results, jobs of one key, retries doubled', sum(count > 1 for count in outcomes.values()) + self.doubled_jobs(ids) + self.wrong['keys']
                 + self.wrong['retries'], bar=0)
        card.row('gaps in seq', sum([row[2] for row in events] != list(range(1, len(events) + 1)) for events in by_job.values()), bar=0)
        card.row('seen frames that a replay has otherwise or not at all', self.changed(card), bar=0)
        incomplete = [follower for follower in self.followers if not follower.ended or follower.trouble]
        for follower in incomplete[:5]:
            card.note(f'reader of {follower.job} ({follower.face}) at {follower.last}: {follower.trouble!r}')
        card.row(f'streams of {len(self.followers)} that were not complete', len(incomplete), bar=0)
        card.row('documents that went back or say other than the log', self.wrong['documents'] + self.other_documents(card, rows, ids), bar=0)
        card.row('jobs that did not end, workers left behind, clients that were told nonsense',
                 len(self.server.rows('SELECT 1 FROM job WHERE state<2')) + len(strays(self.server)) + len(self.troubles), bar=0)
        for trouble in self.troubles[:5]:
            card.note(trouble)

    def note_loss(self, job, what):
        if self.wrong['losses'] < 5:
            print(f'       job {job}: {what}', flush=True)
        self.wrong['losses'] += 1

    def lost(self, ids):
        self.wrong['losses'] = 0
        for job, batch in self.jobs.items():
            if job in self.deleted:
                if job in ids and self.server.get(f'/v1/jobs/{job}').status != 404:
                    self.note_loss(job, 'was deleted and is there')
            elif job in self.asked_away and self.server.get(f'/v1/jobs/{job}').status == 404:
                continue
            elif job not in ids:
                self.note_loss(job, f'is gone ({batch.name})')
            else:
                self.lost_of(job, batch, ids[job])
        for job, new in self.retries.items():
            if new not in ids and new not in self.asked_away:
                self.note_loss(new, f'the retry of {job} is gone')
        return self.wrong['losses']

    def lost_of(self, job, batch, events):
        end = json.loads(events[-1][7])
        found = {row[5]: (row[4], json.loads(row[7])) for row in events if row[4] in (DONE, FAILED)}
        if job in self.cancelled and end.get('status') != 'cancelled':
            self.note_loss(job, f'was cancelled and is {end.get("status")}')
        stopped = any(row[4] == CANCELLING for row in events)
        for item, want in enumerate(batch.want):
            kind, body = found.get(item, (None, {}))
            if kind is None and stopped:
                continue
            if kind != want and INTERRUPTED not in body.get('error', ''):
                self.note_loss(job, f'item {item} of {batch.name} came to {kind} {str(body)[:200]}, not {want}')
            elif kind == DONE and item in batch.results and 'result' in body and body['result'] != batch.results[item]:
                self.note_loss(job, f'item {item} of {batch.name} has another result: {str(body["result"])[:200]}')
        if job in self.successful and self.successful[job] != sum(kind == DONE for kind, _ in found.values()):
            self.note_loss(job, f'had {self.successful[job]} results when it was answered')

    def doubled_jobs(self, ids):
        """Jobs that were taken in whole with the same first name, which no two batches share."""
        names = collections.Counter()
        for events in ids.values():
            created = json.loads(events[0][7])
            cut = events[-1][4] == ENDED and json.loads(events[-1][7]).get('status') == 'cancelled'
            if created.get('retry_of') or cut:
                continue
            added = next((json.loads(row[7]) for row in events if row[4] == ADDED), None)
            value = json.dumps(added['items'][0].get('value'), sort_keys=True) if added else ''
            if '"of": ' in value:
                names[value] += 1
        return sum(count > 1 for count in names.values())

    def changed(self, card):
        found, replays = 0, {}
        for follower in self.followers:
            which = follower.job, follower.face
            try:
                replays[which] = replays.get(which) or replay(self.server, *which)
            except AssertionError as trouble:
                replays[which] = str(trouble), []
            if (follower.kept, follower.ids) != replays[which]:
                found += 1
                card.note(f'the {follower.face} stream of {follower.job} has {len(replays[which][1])} ids, its reader saw {len(follower.ids)}')
        for job, content in self.whole.items():
            if job in self.asked_away:      # between its end and its answer's
                continue
            seen, there = events_of(content), events_of(replay(self.server, job, 'seed')[0])
            if seen != there:
                found += 1
                at = len(os.path.commonprefix([seen, there]))
                card.note(f'the answer of {job} is other than its replay from byte {at} on: {seen[at:at + 200]}, {there[at:at + 200]}')
        return found

    def other_documents(self, card, rows, ids):
        """The law of the log, told by survival.py, and each job's document."""
        strict, wrong = unittest.TestCase(), 0
        epochs = [row[3] for row in rows]
        if epochs != sorted(epochs) or (not self.asked_away and [row[0] for row in rows] != list(range(1, len(rows) + 1))):
            wrong += 1
            card.note('pos has a gap, or epochs go back')
        for job, events in ids.items():
            try:
                check_document(strict, self.server, Story(strict, events))
            except (AssertionError, KeyError) as trouble:
                if job in self.asked_away:
                    continue
                wrong += 1
                card.note(f'{job}: {str(trouble)[:300]}')
        return wrong
