"""Workers that die, stop or hang in the middle of an item: the item is tried again or fails alone, and nothing else notices."""
import os
import signal
import threading
import time
import unittest

from rivulet_server import image
from runs import lives, until
from survival import DONE, FAILED, RETRY, STARTED, Follower, Mortal, check_server

TIMEOUT_S = 1
PIPELINE = {'name': 'decklists', 'result_key': 'decklist',
            'legs': [{'stages': ['noop'], 'timeout_s': TIMEOUT_S, 'attempts': 2, 'backoff_ms': [10, 20]}]}


class WorkerLoss(unittest.TestCase):
    timeout_s = 60

    def serve(self, workers):
        self.server = Mortal(PIPELINE, ENABLE_PARALLEL='true', MAX_WORKERS=workers, MAX_BATCH_SIZE=100)
        self.addCleanup(self.server.close)
        until(lambda: len(self.server.workers()) == workers)

    def story(self, job):
        return check_server(self, self.server)[job]

    def started(self, *attempts):
        """Waits until these (item, attempt) have been started."""
        until(lambda: set(attempts) <= set(self.server.rows(f'SELECT item, attempt FROM event WHERE kind = {STARTED}')))

    def retries(self, story):
        return [(row[5], row[6]) for row in story.rows if row[4] == RETRY]

    def results(self, frames):
        return [frame.data['index'] for frame in frames if frame.event == 'result']

    def test_a_worker_killed_in_mid_item_costs_nothing_but_time(self):
        self.serve(1)
        stream = self.server.post('/process-batch-stream', [image(sleep_ms=10), image(sleep_ms=400), image(sleep_ms=10)])
        self.started((1, 1))
        worker = self.server.workers()[0]
        os.kill(worker, signal.SIGKILL)
        frames = stream.frames()
        self.assertEqual(self.results(frames), [0, 1, 2])
        story = self.story(stream.job)
        self.assertEqual(story.starts, {0: ['first'], 1: ['first', 'retry'], 2: ['first']})
        self.assertEqual(self.retries(story), [(1, 1)])
        self.assertNotIn(worker, self.server.workers())

    def test_of_two_that_run_only_the_one_that_was_hit_is_tried_again(self):
        self.serve(2)
        stream = self.server.post('/process-batch-fast', [image(sleep_ms=400), image(sleep_ms=400)] + [image(sleep_ms=5)] * 10)
        self.started((0, 1), (1, 1))
        os.kill(self.server.workers()[0], signal.SIGKILL)
        frames = stream.frames()
        self.assertEqual(sorted(self.results(frames)), list(range(12)))
        story = self.story(stream.job)
        self.assertEqual(sorted(len(starts) for starts in story.starts.values()), [1] * 11 + [2])
        self.assertEqual(len(self.retries(story)), 1)
        self.assertIn(self.retries(story)[0], [(0, 1), (1, 1)])

    def test_an_item_whose_workers_all_die_fails_alone(self):
        self.serve(1)
        stream = self.server.post('/process-batch-stream', [image(), image(sleep_ms=800), image()])
        for attempt in (1, 2):
            self.started((1, attempt))
            os.kill(self.server.workers()[0], signal.SIGKILL)
        frames = stream.frames()
        self.assertEqual(self.results(frames), [0, 2])
        error = next(frame.data for frame in frames if frame.event == 'error')
        self.assertEqual((error['index'], error['error_type']), (1, 'processing'))
        kind, body = self.story(stream.job).outcomes[1]
        self.assertEqual((kind, body['error_type']), (FAILED, 'crash'))

    def test_all_workers_killed_at_once_are_replaced(self):
        self.serve(4)
        stream = self.server.post('/process-batch-fast', [image(sleep_ms=600)] * 4 + [image(sleep_ms=20)] * 8)
        self.started((3, 1))
        old = self.server.workers()
        for worker in old:
            os.kill(worker, signal.SIGKILL)
        self.assertEqual(len(self.results(stream.frames())), 12)
        self.assertEqual(len(self.retries(self.story(stream.job))), 4)
        until(lambda: len(self.server.workers()) == 4 and not set(old) & set(self.server.workers()))
        self.assertEqual(self.server.get('/stats').json()['workers']['ready'], 4)

    def test_idle_workers_that_are_killed_cost_no_item_a_try(self):
        self.serve(2)
        for worker in self.server.workers():
            os.kill(worker, signal.SIGKILL)
        stream = self.server.post('/process-batch-fast', [image(sleep_ms=20)] * 6)
        self.assertEqual(len(self.results(stream.frames())), 6)
        self.assertLessEqual(len(self.retries(self.story(stream.job))), 2)      # it may have been given to a worker just dead

    def test_a_stopped_worker_is_ended_at_its_deadline(self):
        """It cannot be asked, so it is killed; its item is tried again by another, whose outcome is the one that counts."""
        self.serve(1)
        stream = self.server.post('/process-batch-stream', [image(sleep_ms=300), image()])
        self.started((0, 1))
        worker = self.server.workers()[0]
        began = time.monotonic()
        os.kill(worker, signal.SIGSTOP)
        self.started((0, 2))
        self.assertGreater(time.monotonic() - began, TIMEOUT_S * 0.5)
        self.assertEqual(self.results(stream.frames()), [0, 1])
        until(lambda: not lives(worker))
        story = self.story(stream.job)
        self.assertEqual(story.outcomes[0][0], DONE)
        retry = next(row for row in story.rows if row[4] == RETRY)
        self.assertIn('"error_type":"timeout"', retry[7])

    def test_an_item_that_is_stopped_every_time_ends_as_a_timeout(self):
        self.serve(1)
        stream = self.server.post('/process-batch-stream', [image(sleep_ms=300), image()])
        for attempt in (1, 2):
            self.started((0, attempt))
            os.kill(self.server.workers()[0], signal.SIGSTOP)
        frames = stream.frames()
        self.assertEqual(self.results(frames), [1])
        error = next(frame.data for frame in frames if frame.event == 'error')
        self.assertEqual((error['index'], error['error_type']), (0, 'processing'))
        self.assertRegex(error['error'], 'longer than its limit of 1 seconds')
        native = next(frame for frame in self.server.events(stream.job).frames() if frame.event == 'failed')
        self.assertEqual(native.data['error_type'], 'timeout')

    def test_the_rest_goes_on_while_one_hangs(self):
        self.serve(2)
        stream = self.server.post('/process-batch-fast', [image(hang=True)] + [image(sleep_ms=20)] * 20)
        frames = stream.frames()
        self.assertEqual(sorted(self.results(frames)), list(range(1, 21)))
        story = self.story(stream.job)
        ends = [row[5] for row in story.rows if row[4] in (DONE, FAILED)]
        self.assertEqual(ends[-1], 0)       # all others were done before its two deadlines
        self.assertEqual((story.outcomes[0][0], story.outcomes[0][1]['error_type']), (FAILED, 'timeout'))

    def test_a_poisonous_item_fails_alone_in_an_ordered_stream(self):
        self.serve(1)
        stream = self.server.post('/process-batch-stream', [image(), image(crash=True), image(), image(exit=3), image()])
        frames = stream.frames()
        self.assertEqual([(frame.event, frame.data['index']) for frame in frames if 'index' in frame.data],
                         [('result', 0), ('error', 1), ('result', 2), ('error', 3), ('result', 4)])
        story = self.story(stream.job)
        self.assertEqual([story.outcomes[item][1]['error_type'] for item in (1, 3)], ['crash', 'crash'])
        self.assertEqual(story.starts[1], ['first', 'retry'])

    def test_a_late_outcome_of_a_cancelled_item_is_refused(self):
        """The job is cancelled while its item runs: whatever the worker may say then, the log hears nothing of it."""
        self.serve(2)
        stream = self.server.post('/process-batch-fast?on_disconnect=cancel', [image(sleep_ms=300)] * 4)
        follower = Follower(self.server, stream.job, 'job')
        self.started((1, 1))
        stream.leave()
        follower.join()
        self.assertIsNone(follower.trouble)
        done = self.server.post('/process-batch-fast', [image(sleep_ms=400)] * 2)       # longer than the others had left
        self.assertEqual(len(self.results(done.frames())), 2)
        story = self.story(stream.job)
        self.assertEqual((story.end['status'], story.end['counts']), ('cancelled', [0, 0, 0, 0, 4]))

    def test_an_outcome_told_in_time_counts_though_the_server_was_asleep(self):
        """The server stands still past the deadline; the outcome lies in its socket when it wakes up, and was not late."""
        self.serve(1)
        stream = self.server.post('/process-batch-stream', [image(sleep_ms=500), image()])
        self.started((0, 1))
        self.server.process.send_signal(signal.SIGSTOP)
        threading.Timer(TIMEOUT_S + 0.5, self.server.process.send_signal, [signal.SIGCONT]).start()
        self.assertEqual(self.results(stream.frames()), [0, 1])
        self.assertEqual(self.story(stream.job).starts[0], ['first'])


if __name__ == '__main__':
    unittest.main()
