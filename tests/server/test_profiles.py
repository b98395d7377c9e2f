"""The profiles pipeline as it is shipped, whole: batches collected, normalised, scored and told one by one, whatever the collector, the model and kill -9
do meanwhile."""
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'lib')]
import profiles  # noqa: E402
from collector import Collector  # noqa: E402
from llm_double import Model  # noqa: E402
from profiles import url_of  # noqa: E402
from runs import children_of, stat_of  # noqa: E402
from survival import Follower, Mortal, check_server, replay  # noqa: E402

EVERY_S = 0.1
SLACK_S = 1.5            # for a machine at work
WAITING = 6


def batch(platform, first, count, word='maker'):
    return [url_of(number, platform, word) for number in range(first, first + count)]


class Watcher(threading.Thread):
    """Reads a job's stream and remembers when each frame came."""

    def __init__(self, server, job):
        super().__init__(daemon=True)
        self.stream, self.frames = server.events(job), []
        self.start()

    def run(self):
        while (frame := self.stream.frame()) is not None:
            if frame.event not in (None, 'heartbeat'):
                self.frames.append((time.monotonic(), frame))

    def of(self, item, event, state=None):
        """[(when, data)] of an item's frames."""
        return [(at, frame.data) for at, frame in list(self.frames)
                if frame.event == event and frame.data.get('item') == item and (state is None or frame.data.get('state') == state)]


class Profiles(unittest.TestCase):
    def begin(self, script=None, answer=profiles.judge, delay_s=0, every='100ms', **changes):
        self.collector = Collector(profiles.orders(script), key=profiles.KEYS['BRIGHTDATA_API_KEY'])
        self.addCleanup(self.collector.close)
        self.model = Model(answer, delay_s, key=profiles.KEYS['OPENAI_API_KEY'])
        self.addCleanup(self.model.close)
        self.folder = tempfile.mkdtemp(prefix='rivulet-profiles-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        path = profiles.write_pipeline(self.folder, every, **{'size': 4, **changes})
        self.server = Mortal(path, **profiles.settings(self.collector, self.model))
        self.addCleanup(self.server.close)
        self.addCleanup(self.server.give_up)

    def ended(self, job):
        return self.server.wait_for(job, 'completed', 'error', 'cancelled')

    def result(self, job, item):
        answer = self.server.get(f'/v1/jobs/{job}/items/{item}/result')
        self.assertEqual(answer.status, 200)
        return answer.json()

    def results(self, job):
        """Profiles of all items."""
        document = self.ended(job)
        return [one for item in range(document['total_batches']) for one in self.result(job, item)]

    def snapshot(self, word):
        """The one that was asked for URLs with this word."""
        return next(one for one in self.collector.snapshots if word in one.body)

    def item_of(self, snapshot):
        """The item that waits, or waited, for it."""
        return next(item for item, body in self.server.rows('SELECT item, body FROM event WHERE kind=?', WAITING)
                    if json.loads(body)['remote'].get('id') == snapshot.id)

    def failures(self, job):
        return [(item['item'], item['attempt'], item['error']) for item in self.server.get(f'/v1/jobs/{job}/items').json()['items'] if item.get('error')]

    def check_usage(self, document):
        paid = [call for call in self.model.calls if call.status == 200]
        self.assertEqual(document['usage']['llm_calls'], len(paid))
        self.assertEqual(document['usage']['tokens_in'], sum(len(call.prompt.split()) for call in paid))
        self.assertGreater(document['usage']['cost'], 0)

    def test_each_batch_is_told_when_it_is_ready(self):
        """W15, W18, W20: three batches of two platforms; one is slow, one fails, one has a row that tells an error."""
        self.begin(lambda snapshot: {'ready_s': 3} if 'slow' in snapshot.body else {'fail': 'blocked by the site'} if 'lost' in snapshot.body
                   else {'ready_s': 0.3, 'error_rows': (1,)}, delay_s=0.1)
        job = profiles.begin(self.server, batch('instagram', 0, 4, 'slow') + batch('instagram', 0, 4, 'quick') + batch('tiktok', 0, 4, 'lost'))
        watcher = Watcher(self.server, job)
        document = self.ended(job)
        watcher.join(10)
        self.assertEqual((document['status'], document['counts']), ('completed', [0, 0, 2, 1, 0]))
        slow, quick, lost = (self.snapshot(word) for word in ('slow', 'quick', 'lost'))
        slow_item, quick_item, lost_item = (self.item_of(snapshot) for snapshot in (slow, quick, lost))
        records = watcher.of(quick_item, 'progress', 'record')
        self.assertEqual(sorted(data.get('error', 'none') for _, data in records), ['none', 'none', 'none', 'page not found'])
        told = watcher.of(quick_item, 'result')[0][0]
        self.assertLess(records[-1][0], quick.ready_at + EVERY_S + 0.1 + SLACK_S)
        self.assertLess(told, quick.ready_at + EVERY_S + 0.1 + SLACK_S)
        self.assertLess(told, slow.ready_at, 'a batch that was ready waited for one that was not')
        self.assertLess(watcher.of(slow_item, 'result')[0][0], slow.ready_at + EVERY_S + 0.1 + SLACK_S)
        self.assertIn('blocked by the site', watcher.of(lost_item, 'failed')[0][1]['error'])
        self.assertEqual(document['records'], {'completed': 7, 'failed': 1, 'dropped': 0})
        found = self.result(job, slow_item), self.result(job, quick_item)
        self.assertEqual([len(one) for one in found], [4, 3])
        scores = [[one['llm']['score'] for one in ones] for ones in found]
        self.assertEqual(scores, [sorted(one, reverse=True) for one in scores])
        self.assertEqual([one['score'] for one in document['top']], sorted(sum(scores, []), reverse=True))
        self.check_usage(document)
        self.assertEqual(self.collector.second_triggers(), [])

    def awaited(self):
        """Programs that work has had to wait for so far."""
        return self.server.number('rivulet_programs_awaited_total')

    def wait_for_idle_workers(self):
        """Until each sleeps, and the server too, several times in a row: what there was to learn is learned."""
        pid, quiet, until = self.server.process.pid, 0, time.monotonic() + 50
        while quiet < 20 and time.monotonic() < until:
            quiet = quiet + 1 if all(stat_of(one)[0] == 'S' for one in [pid, *children_of(pid)]) else 0
            time.sleep(0.01)
        self.assertEqual(quiet, 20, 'workers are never idle')

    def test_workers_know_all_programs_before_the_first_batch_is_ready(self):
        """From ready to the end nothing is compiled, in the very first job of a server."""
        self.begin({'ready_s': 3600})
        job = profiles.begin(self.server, batch('instagram', 0, 4) + batch('tiktok', 0, 4))
        self.collector.wait(lambda: len(self.collector.of('progress')) > 1)
        self.wait_for_idle_workers()
        before = self.awaited()
        for snapshot in self.collector.snapshots:
            snapshot.orders['ready_s'] = 0
        document = self.ended(job)
        self.assertEqual((document['status'], document['counts']), ('completed', [0, 0, 2, 0, 0]))
        self.assertEqual(self.awaited(), before)
        self.assertGreater(before, 0, 'what groups the inputs was asked before anybody could learn it')

    def test_what_is_known_comes_first_and_is_not_asked_for(self):
        """W27: in whatever form its address is written."""
        self.begin(lambda snapshot: {'ready_s': 0.05 if snapshot.number == 1 else 1})
        known, unknown = batch('instagram', 0, 4), batch('instagram', 4, 4)
        self.ended(profiles.begin(self.server, known))
        calls = len(self.model.calls)
        forms = [known[0], known[1].rstrip('/'), known[2].replace('//www.', '//'), known[3].upper().replace('HTTPS', 'https')]
        job = profiles.begin(self.server, [url for pair in zip(unknown, forms) for url in pair])
        watcher = Watcher(self.server, job)
        document = self.ended(job)
        watcher.join(10)
        self.assertEqual((document['status'], document['counts']), ('completed', [0, 0, 2, 0, 0]))
        self.assertEqual(len(self.collector.snapshots), 2)
        self.assertEqual(sorted(one['url'] for one in self.collector.snapshots[1].inputs), unknown)
        self.assertLess(watcher.of(0, 'result')[0][0], self.collector.snapshots[1].ready_at)
        self.assertEqual(sorted(one['url'] for one in self.result(job, 0)), known)
        self.assertEqual(len(self.model.calls), calls + 4, 'an answer that was known was paid again')

    def test_duplicates_are_one(self):
        self.begin()
        first = url_of(1)
        job = profiles.begin(self.server, [first, first.rstrip('/'), first.replace('//www.', '//'), first.upper().replace('HTTPS', 'https'), url_of(2)])
        found = self.results(job)
        self.assertEqual(sorted(one['url'] for one in found), [first, url_of(2)])
        self.assertEqual([len(snapshot.inputs) for snapshot in self.collector.snapshots], [2])

    def test_enough_is_enough(self):
        """W19, W23: the rest is skipped, and what is open at the collector is cancelled there."""
        self.begin(lambda snapshot: {'ready_s': 0.2 if 'best' in snapshot.body else 60}, in_flight=3)
        job = profiles.begin(self.server, batch('instagram', 0, 4) + batch('instagram', 0, 4, 'best') + batch('tiktok', 0, 4) + batch('instagram', 4, 8), top=2)
        document = self.ended(job)
        self.assertEqual(document['status'], 'completed')
        self.assertEqual(document['counts'][2] + document['counts'][4], 5)
        self.assertGreaterEqual(document['counts'][4], 4)
        self.assertEqual([one['score'] for one in document['top']], [10, 10])
        opened = [snapshot for snapshot in self.collector.snapshots if 'best' not in snapshot.body]
        self.assertGreaterEqual(len(opened), 2)
        self.collector.wait(lambda: all(snapshot.cancelled_at for snapshot in opened))

    def test_a_model_that_fails_gives_no_score(self):
        """W20: and whoever has been silent for long costs nothing."""
        self.begin()
        job = profiles.begin(self.server, [url_of(1, word='refused'), url_of(2, word='silly'), url_of(3, word='idle'), url_of(4)])
        watcher = Watcher(self.server, job)
        document = self.ended(job)
        watcher.join(10)
        self.assertEqual((document['records']['completed'], document['records']['failed']), (2, 2))
        failed = sorted(data['error_type'] for _, data in watcher.of(0, 'progress', 'record') if data.get('error'))
        self.assertEqual(failed, ['invalid_json', 'status'])
        scores = {one['account_id']: one['llm'] for one in self.result(job, 0)}
        self.assertEqual(scores['idle00003'], {'score': 0, 'rationale': 'inactive for 60 days', 'summary': ''})
        self.assertEqual(sorted(scores), ['idle00003', 'maker00004'])
        self.assertGreaterEqual(scores['maker00004']['score'], 1)
        self.assertEqual([call for call in self.model.calls if 'idle' in call.prompt], [])

    def test_no_secret_is_told(self):
        self.begin()
        job = profiles.begin(self.server, batch('instagram', 0, 4))
        self.ended(job)
        text = json.dumps(self.server.document(job)).encode() + replay(self.server, job, 'job')[0] + self.server.complaints().encode()
        text += b''.join(json.dumps(row).encode() for row in self.server.rows('SELECT body FROM event'))
        for key in profiles.KEYS.values():
            self.assertNotIn(key.encode(), text)

    def test_kill_loses_nothing_and_buys_nothing_twice(self):
        """W22: at six points; a snapshot whose id is stored is polled again, a record that has ended is not asked for again."""
        self.begin(lambda snapshot: {'ready_s': 0.3 + 0.1 * (snapshot.number % 4)}, delay_s=0.1, concurrency=4)
        urls = batch('instagram', 0, 16) + batch('tiktok', 0, 8)
        job = profiles.begin(self.server, urls)
        followers = [Follower(self.server, job, 'job', self.server.events(job)), Follower(self.server, job, 'job')]
        stored = []
        for goal in (8, 14, 22, 32, 42, 52):
            while self.server.rows('SELECT count(*) FROM event')[0][0] < goal and self.server.document(job)['status'] not in ('completed', 'error'):
                time.sleep(0.005)
            self.server.kill()
            stored.append((time.monotonic(), [json.loads(row[0])['remote'].get('id') for row in self.server.rows('SELECT body FROM event WHERE kind=?', WAITING)]))
            self.server.start()
        document = self.ended(job)
        for follower in followers:
            follower.join(15)
            self.assertIsNone(follower.trouble)
            self.assertTrue(follower.ended)
        self.assertEqual((document['status'], document['counts']), ('completed', [0, 0, 6, 0, 0]), self.failures(job))
        self.assertEqual(self.collector.second_triggers(), [], 'a batch was collected twice')
        for call in self.collector.of('trigger'):
            before = [ids for at, ids in stored if at < call.at]
            self.assertNotIn(call.snapshot, before[-1] if before else [], 'a snapshot whose id was stored was triggered again')
        self.assertEqual(sorted(one['url'] for one in self.results(job)), sorted(urls))
        story = check_server(self, self.server)[job]
        whole, ids = replay(self.server, job, 'job')
        for follower in followers:
            self.assertEqual((follower.ids, follower.kept), (ids, whole))
        seqs = [int(one.rsplit('-', 1)[1]) for one in ids]
        self.assertEqual(seqs, list(range(seqs[0], len(story.rows) + 1)))
        self.assertLessEqual(len(self.model.calls), len(urls) + 6 * 4, 'more was paid twice than was on its way')


if __name__ == '__main__':
    unittest.main()
