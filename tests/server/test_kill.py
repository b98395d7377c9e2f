"""kill -9 of the server, again and again, in the middle of its work. What it had acknowledged is there afterwards, every item has one
outcome, and clients that come back with Last-Event-ID have the whole stream. KILL_SEED=N repeats a run's choices, KILLS=N its length."""
import json
import os
import random
import threading
import time
import unittest

from rivulet_server import image
from runs import until
from survival import DONE, FAILED, LOST, Follower, Mortal, blobs_on_disk, check_document, check_server, hash_of, jpeg, replay

SEED = int(os.environ.get('KILL_SEED') or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get('KILLS', 20))
PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 5, 'attempts': 3, 'backoff_ms': [10, 40]}]}
INTERRUPTED = 'interrupted'       # an item may be found running by five starts of the server; one more fails it, and says so


class Batch:
    """Files and what is to come of each: DONE or FAILED, and of a few the bytes that the result counts."""

    def __init__(self, chance, name, count, slow_ms):
        self.files, self.want = [], {}
        for number in range(count):
            label, kind = f'{name}-{number}.jpg', chance.random()
            sleep_ms = chance.randint(1, slow_ms)
            if kind < 0.72:
                self.add(DONE, image(label, sleep_ms=sleep_ms, accuracy=chance.randint(1, 100)))
            elif kind < 0.8:
                content = jpeg(chance.randint(100, 300000), label.encode())
                self.add(DONE, image(label, content=content))
            elif kind < 0.86:
                self.add(DONE, image(label, sleep_ms=sleep_ms, pad=chance.randint(66000, 200000)))
            elif kind < 0.91:
                self.add(FAILED, image(label, sleep_ms=sleep_ms, fail='not this one'))
            elif kind < 0.95:
                self.add(FAILED, image(label, retry='not now'))
            elif kind < 0.98:
                self.add(FAILED, image(label, b'text', 'text/plain'))
            else:
                self.add(FAILED, image(label, crash=True))

    def add(self, outcome, file):
        self.want[len(self.files)] = outcome
        self.files.append(file)


class Submitter(threading.Thread):
    """Posts small batches through every door, one after the other, and remembers what it was told."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server, self.number, self.chance = server, number, random.Random(f'{SEED} {number}')
        self.told, self.finished, self.seen, self.over, self.trouble = {}, {}, {}, False, None
        self.start()

    def run(self):
        turn = 0
        try:
            while not self.over:
                life = self.server.wait_up(0)
                turn += 1
                try:
                    self.post(f'small-{self.number}-{turn}')
                except LOST:
                    if not self.over:
                        self.server.wait_up(life)
        except Exception as trouble:
            self.trouble = trouble

    def post(self, name):
        """An answer that is cut off anywhere is no answer; its head alone says that there is a job."""
        door = self.chance.choice(('/process', '/process-batch', '/process-batch-stream', '/process-batch-fast'))
        batch = Batch(self.chance, name, 1 if door == '/process' else self.chance.randint(1, 5), 20)
        answer = self.server.post(door, batch.files, 'file' if door == '/process' else 'files')
        if answer.job:
            self.told[answer.job] = batch
        content = answer.body()
        if content and not answer.job:
            assert (answer.status, batch.want) == (400, {0: FAILED}), content       # /process refuses at once what is no picture
        if not content or not answer.job:
            return
        if door == '/process':
            self.finished[answer.job] = 1 if answer.status == 200 else 0
        elif door == '/process-batch':
            self.finished[answer.job] = json.loads(content)['successful']
        elif b'event: complete\n' in content:
            self.finished[answer.job] = content.count(b'event: result\n')
        self.seen[answer.job] = answer.status, content


class Kill(unittest.TestCase):
    timeout_s = 180

    def setUp(self):
        print(f'    KILL_SEED={SEED}', flush=True)
        self.chance = random.Random(SEED)
        self.server = Mortal(PIPELINE, ENABLE_PARALLEL='true', MAX_WORKERS=3, MAX_BATCH_SIZE=1000)
        self.addCleanup(self.server.close)
        self.addCleanup(self.server.give_up)

    def begin(self, door, name, count):
        """A big job and its four readers: two of each face, one of them on the stream that the upload was answered with."""
        batch = Batch(self.chance, name, count, 60)
        stream = self.server.post(door, batch.files)
        self.wanted[stream.job] = batch
        self.followers += [Follower(self.server, stream.job, 'seed', stream), Follower(self.server, stream.job, 'seed'),
                           Follower(self.server, stream.job, 'job'), Follower(self.server, stream.job, 'job')]

    def live_a_while(self):
        """Until some random moment: a time, or the first moment when the log has grown by some events."""
        if self.chance.random() < 0.5:
            time.sleep(self.chance.uniform(0, 0.5))
        else:
            goal = self.logged() + self.chance.randint(1, 120)
            deadline = time.monotonic() + 1
            while self.logged() < goal and time.monotonic() < deadline:
                pass

    def logged(self):
        return self.server.rows('SELECT max(pos) FROM event')[0][0]

    def kill_often(self):
        documents, in_the_middle = {}, 0
        for _ in range(KILLS):
            self.live_a_while()
            for job in self.wanted:
                document = self.server.document(job)
                self.assertGreaterEqual(document['seq'], documents.get(job, (0,))[0], 'a document went back')
                documents[job] = document['seq'], document['batches_completed']
            in_the_middle += bool(self.server.rows('SELECT 1 FROM job WHERE state<2'))
            self.server.kill()
            if self.chance.random() < 0.25:
                self.server.kill_before_ready(self.chance.uniform(0, 0.08))
            self.server.start()
            for job, (seq, completed) in documents.items():
                document = self.server.document(job)
                self.assertGreaterEqual(document['seq'], seq, 'a document that was shown is gone')
                self.assertGreaterEqual(document['batches_completed'], completed)
        self.assertGreater(in_the_middle, 0.8 * KILLS, 'the server had nothing to do when it was killed: give it more')

    def test_nothing_is_lost_and_nothing_is_twice(self):
        self.wanted, self.followers = {}, []
        self.begin('/process-batch-stream', 'stream', 7 * KILLS)
        self.begin('/process-batch-fast', 'fast', 8 * KILLS)
        self.begin('/process-batch-fast', 'more', 6 * KILLS)
        self.begin('/process-batch-stream', 'last', 5 * KILLS)
        submitters = [Submitter(self.server, number) for number in range(2)]
        self.kill_often()
        for submitter in submitters:
            submitter.over = True
        for thread in submitters + self.followers:
            thread.join()
            self.assertIsNone(thread.trouble)
        until(lambda: not self.server.rows('SELECT 1 FROM job WHERE state<2'))
        stories = check_server(self, self.server)
        for submitter in submitters:
            self.wanted.update(submitter.told)
        self.check_outcomes(stories)
        self.check_answers(stories, submitters)
        self.check_streams(stories)
        self.check_blobs(stories)
        restarts = sum(why.count('restart') for story in stories.values() for why in story.starts.values())
        print(f'    {KILLS} kills, {len(stories)} jobs, {sum(len(story.rows) for story in stories.values())} events, {restarts} items found '
              f'interrupted, {sum(follower.resumed for follower in self.followers)} streams resumed', flush=True)
        self.assertGreater(restarts, KILLS / 2)
        self.assertGreater(sum(follower.resumed for follower in self.followers), KILLS)

    def check_outcomes(self, stories):
        """What was acknowledged is there, and each item came to what it had to come to."""
        self.assertLessEqual(set(self.wanted), set(stories), 'a job that was acknowledged is gone')
        for job, batch in self.wanted.items():
            story = stories[job]
            self.assertTrue(story.sealed)
            self.assertEqual([story.names[n] for n in range(story.total)], [file[0] for file in batch.files])
            for item, want in batch.want.items():
                kind, body = story.outcomes[item]
                if kind != want:
                    self.assertIn(INTERRUPTED, body['error'])
            if any(file[0].startswith(('stream', 'last')) for file in batch.files):
                ends = [row[5] for row in story.rows if row[4] in (DONE, FAILED)]
                self.assertEqual(ends, sorted(ends), 'an ordered job came out of order')
        for story in stories.values():
            check_document(self, self.server, story)

    def check_answers(self, stories, submitters):
        """Whole answers that were read before a kill say what the log says after it."""
        read = 0
        for submitter in submitters:
            for job, successful in submitter.finished.items():
                self.assertEqual(stories[job].counts()[2], successful)
            for job, (_, content) in submitter.seen.items():
                if content.startswith(b'event:'):
                    self.assertTrue(replay(self.server, job, 'seed')[0].startswith(content[:content.rindex(b'\nid: ')]))
            read += len(submitter.finished)
        self.assertGreater(read, KILLS / 2)

    def check_streams(self, stories):
        for job in stories:
            for face in ('seed', 'job'):
                whole, ids = replay(self.server, job, face)
                self.assertEqual(len(set(ids)), len(ids), 'an id comes twice')
                seqs = [int(one.split('-')[1]) for one in ids]
                self.assertEqual(seqs, sorted(seqs))
                self.assertEqual([tuple(map(int, one.split('-'))) for one in ids],
                                 [row[3:1:-1] for row in stories[job].rows if row[2] in set(seqs)])
                if face == 'job':
                    self.assertEqual(seqs, list(range(seqs[0], len(stories[job].rows) + 1)))
                for follower in self.followers:
                    if (follower.job, follower.face) == (job, face):
                        self.assertEqual(follower.ids, ids)
                        self.assertEqual(follower.kept, whole)

    def check_blobs(self, stories):
        """None is missing, each is whole, and what no job uses goes."""
        used = set().union(*(story.blobs for story in stories.values()))
        self.assertEqual(used, {row[0].hex() for row in self.server.rows('SELECT DISTINCT sha FROM blob_use')})
        self.assertLessEqual(used, blobs_on_disk(self.server.dir))
        for sha in used:
            self.assertEqual(hash_of(self.server.dir, sha), sha)
        until(lambda: blobs_on_disk(self.server.dir) == used)
        self.assertEqual(os.listdir(os.path.join(self.server.dir, 'tmp')), [])


if __name__ == '__main__':
    unittest.main()
