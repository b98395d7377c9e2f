"""Events in their other shapes: lines of JSON, the long poll, several jobs on one wire."""
import json
import os
import shutil
import signal
import threading
import time
import unittest

from rivulet_server import Rivulet, image

ALONE = 'a rest has a bar of half a second'

FILES = [image('0.jpg', accuracy=70), image('1.jpg', fail='bad'), image('2.txt', b'x', 'text/plain'), image('3.jpg', retry='again'), image('4.jpg')]


def told(frames):
    """(id, event, data) of frames."""
    return [(frame.id, frame.event, frame.data) for frame in frames]


def told_lines(raw):
    lines = [json.loads(line) for line in raw.splitlines()]
    return [(line.get('id'), line['event'], line['data']) for line in lines if line['event'] != 'heartbeat']


class Shapes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=300, RIVULET_HEARTBEAT_S=1)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def lines(self, job, query='', **headers):
        return self.server.get(f'/v1/jobs/{job}/events{query}', Accept='application/x-ndjson', **headers)

    def poll(self, job, query):
        answer = self.server.get(f'/v1/jobs/{job}/events?{query}')
        self.assertEqual(answer.status, 200)
        return answer.json()

    def poll_all(self, job, wait=20, after=None):
        """All events by polling; and how many polls that took."""
        found, polls = [], 0
        while True:
            answer = self.poll(job, f'wait={wait}' + (f'&after={after}' if after else ''))
            polls += 1
            found += [(one.get('id'), one['event'], one['data']) for one in answer['events']]
            if answer['ended']:
                return found, polls
            after = answer['next']

    def test_lines_are_the_frames_of_the_stream(self):
        job = self.server.post('/process-batch', FILES).job
        frames = told(self.server.events(job).frames())
        answer = self.lines(job)
        self.assertEqual((answer.header('Content-Type'), answer.header('X-Accel-Buffering')), ('application/x-ndjson', 'no'))
        self.assertEqual(told_lines(answer.body()), frames)
        for at in (0, 4, len(frames) - 2):
            self.assertEqual(told_lines(self.lines(job, '?after=' + frames[at][0]).body()), frames[at + 1:])
            self.assertEqual(told_lines(self.lines(job, Last_Event_ID=frames[at][0]).body()), frames[at + 1:])
        self.assertEqual(self.lines(job, '?after=' + frames[-1][0]).status, 204)
        seed = told(self.server.events(job, '?face=seed').frames())
        self.assertEqual(told_lines(self.lines(job, '?face=seed').body()), seed)

    def test_lines_come_as_it_happens_and_break_the_silence(self):
        live = self.server.post('/process-batch-stream', [image('0.jpg'), image('1.jpg', sleep_ms=2300)])
        lines = self.lines(live.job)
        seen = lines.response.readline()
        self.assertEqual(json.loads(seen)['data']['state'], 'queued')
        raw = seen + lines.body()
        self.assertGreaterEqual(raw.count(b'{"event":"heartbeat","data":{}}\n'), 2)
        self.assertEqual(told_lines(raw), told(self.server.events(live.job).frames()))
        live.frames()

    def test_a_document_is_never_behind_a_line(self):
        live = self.server.post('/process-batch-fast', [image(sleep_ms=5) for _ in range(30)])
        response = self.lines(live.job).response
        while line := response.readline():
            frame = json.loads(line)
            if 'id' in frame:
                self.assertGreaterEqual(self.server.document(live.job)['seq'], int(frame['id'].split('-')[1]))
        live.frames()

    def test_polling_gives_every_event_once(self):
        live = self.server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=30) for n in range(6)])
        found, polls = self.poll_all(live.job)
        self.assertEqual(found, told(self.server.events(live.job).frames()))
        self.assertGreater(polls, 5)
        live.frames()
        again, polls = self.poll_all(live.job)
        self.assertEqual((again, polls), (found, 1))

    def test_a_poll_of_a_long_log_comes_in_pieces(self):
        job = self.server.post('/process-batch', [image() for _ in range(150)]).job
        found, polls = self.poll_all(job)
        self.assertEqual(found, told(self.server.events(job).frames()))
        self.assertGreater(polls, 3)

    def test_a_poll_waits_for_news_and_no_longer_than_it_was_told(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=2600)])
        first = self.poll(live.job, 'wait=20')
        while first['events'][-1]['data']['state'] != 'processing':
            more = self.poll(live.job, 'wait=20&after=' + first['next'])
            first = more
        began = time.monotonic()
        nothing = self.poll(live.job, 'wait=1&after=' + first['next'])
        self.assertEqual((nothing['events'], nothing['next'], nothing['ended']), ([], first['next'], False))
        self.assertTrue(0.9 < time.monotonic() - began < 1.5)
        self.assertEqual(self.poll(live.job, 'wait=0&after=' + nothing['next'])['events'], [])
        news = self.poll(live.job, 'wait=30&after=' + nothing['next'])
        self.assertTrue(news['events'])
        self.assertLess(time.monotonic() - began, 4)
        tip = self.poll(live.job, 'wait=30&after=end')
        self.assertTrue(tip['ended'] or tip['events'])
        live.frames()

    def test_a_poll_beyond_the_end_says_so_at_once(self):
        job = self.server.post('/process-batch', FILES).job
        last = self.server.events(job).frames()[-1].id
        began = time.monotonic()
        answer = self.poll(job, 'wait=30&after=' + last)
        self.assertEqual(answer, {'events': [], 'next': last, 'ended': True})
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.poll(job, 'wait=30&after=end')['ended'], True)

    def test_a_hundred_polls_at_once_all_see_everything(self):
        live = self.server.post('/process-batch-fast', [image(f'{n}.jpg', sleep_ms=20) for n in range(40)])
        job, answers = live.job, [None] * 100

        def ask(number):
            answers[number] = self.poll_all(job)[0]
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        live.frames()
        want = told(self.server.events(job).frames())
        for answer in answers:
            self.assertEqual(answer, want)

    def test_a_wrong_place_is_a_gap_in_every_shape(self):
        job = self.server.post('/process-batch', FILES).job
        frames = told(self.server.events(job).frames())
        epoch, _, seq = frames[3][0].partition('-')
        wrong = f'{int(epoch) - 1}-{seq}'
        gap = (None, 'gap', {'job': job, 'reason': 'restored'})
        self.assertEqual(told_lines(self.lines(job, '?after=' + wrong).body()), [gap] + frames)
        self.assertEqual(told_lines(self.lines(job, Last_Event_ID='nonsense').body()), [gap] + frames)
        self.assertEqual(self.poll_all(job, after=wrong)[0], [gap] + frames)
        self.assertEqual(told(self.server.events(job, '?after=' + wrong).frames()), [gap] + frames)
        multi = told(self.server.get(f'/v1/events?job={job}@{wrong}').frames())
        self.assertEqual(multi, [gap] + [(f'{job}@{id}', event, data) for id, event, data in frames])

    def test_several_jobs_share_a_wire(self):
        lives = [self.server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=20) for n in range(5)]) for _ in range(4)]
        jobs = [live.job for live in lives]
        answer = self.server.get('/v1/events?' + '&'.join('job=' + job for job in jobs))
        self.assertEqual(answer.header('Content-Type'), 'text/event-stream')
        frames = answer.frames()
        self.assertTrue(answer.raw.startswith(b'retry: 1000\n\n'))
        for job in jobs:
            want = [(f'{job}@{id}', event, data) for id, event, data in told(self.server.events(job).frames())]
            own = [one for one in told(frames) if one[2]['job'] == job]
            self.assertEqual(own, want)
            self.assertEqual(own[-1][1], 'complete')
        for live in lives:
            live.frames()

    def test_each_job_has_its_cursor(self):
        jobs = [self.server.post('/process-batch', FILES).job for _ in range(3)]
        frames = {job: told(self.server.events(job).frames()) for job in jobs}
        places = {jobs[0]: 2, jobs[1]: len(frames[jobs[1]]) - 1}
        query = '&'.join(f'job={job}%40{frames[job][place][0]}' for job, place in places.items())
        found = told(self.server.get(f'/v1/events?{query}&job={jobs[2]}').frames())
        for job in jobs:
            rest = frames[job][places.get(job, -1) + 1:]
            self.assertEqual([one for one in found if one[2]['job'] == job], [(f'{job}@{id}', event, data) for id, event, data in rest])
        over = '&'.join(f'job={job}@{frames[job][-1][0]}' for job in jobs)
        self.assertEqual(self.server.get('/v1/events?' + over).status, 204)
        again = self.server.get(f'/v1/events?job={jobs[0]}', Last_Event_ID=f'{jobs[0]}@{frames[jobs[0]][-2][0]}')
        self.assertEqual([frame.event for frame in again.frames()], ['complete'])

    def test_an_unknown_job_among_others_is_told_and_alone_is_404(self):
        job = self.server.post('/process-batch', [image()]).job
        frames = self.server.get(f'/v1/events?job={"0" * 32}&job={job}').frames()
        self.assertEqual((frames[0].event, frames[0].data, frames[0].id), ('gap', {'job': '0' * 32, 'reason': 'unknown'}, None))
        self.assertEqual(frames[-1].event, 'complete')
        last = frames[-1].id
        self.assertEqual(self.server.get(f'/v1/events?job={"0" * 32}&job={last}').status, 204)
        self.assertEqual(self.server.get(f'/v1/events?job={"0" * 32}').status, 404)

    def test_silence_on_the_shared_wire_is_broken_by_comments(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=2300)])
        answer = self.server.get(f'/v1/events?job={live.job}')
        answer.frames()
        self.assertGreaterEqual(answer.raw.count(b': still here\n\n'), 2)
        live.frames()

    def test_wrong_questions_are_told_what_is_wrong(self):
        job = self.server.post('/process-batch', [image()]).job
        for path, words in ((f'/v1/jobs/{job}/events?wait=61', ('wait', '"61"', '0 to 60')), (f'/v1/jobs/{job}/events?wait=x', ('wait', '"x"')),
                            (f'/v1/jobs/{job}/events?after=1-x', ('after', '"1-x"')), (f'/v1/jobs/{job}/events?face=dark', ('face', '"dark"', 'seed')),
                            ('/v1/events', ('job', 'missing')), (f'/v1/events?job={job}&job={job}', ('twice',)),
                            (f'/v1/events?job={job}@x', ('cursor', '"x"')), ('/v1/events?job=', ('job must be',)),
                            ('/v1/events?' + '&'.join(f'job={n}' for n in range(65)), ('64',))):
            answer = self.server.get(path)
            self.assertEqual((answer.status, answer.header('Content-Type')), (400, 'application/problem+json'), path)
            detail = answer.json()['detail']
            for word in words:
                self.assertIn(word, detail)

    def test_clients_may_leave_at_any_time(self):
        live = self.server.post('/process-batch-fast', [image(sleep_ms=5) for _ in range(100)])
        for _ in range(10):
            self.lines(live.job).leave()
            self.server.get(f'/v1/events?job={live.job}&job=none').leave()
            connection = self.server.get(f'/v1/jobs/{live.job}/events?wait=0&after=end')
            connection.leave()
        self.assertEqual(live.frames()[-1].data['successful'], 100)


class Restarts(unittest.TestCase):
    def setUp(self):
        self.server = Rivulet(MAX_BATCH_SIZE=30)
        self.addCleanup(self.server.close)

    def test_a_stopping_server_answers_polls_and_ends_shared_wires(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=300) for _ in range(10)])
        live.until('result')
        wire = self.server.get(f'/v1/events?job={live.job}')
        lines = self.server.get(f'/v1/jobs/{live.job}/events', Accept='application/x-ndjson')
        answers = []
        poll = threading.Thread(target=lambda: answers.append(self.server.get(f'/v1/jobs/{live.job}/events?wait=60&after=99999')))
        poll.start()
        wire.until('result')
        time.sleep(0.05)
        self.server.process.send_signal(signal.SIGTERM)
        wire.frames()
        self.assertTrue(wire.raw.endswith(b'retry: 1000\n\n'))
        told_lines(lines.body())
        poll.join()
        self.assertIn(answers[0].status, (200, 503))
        self.assertEqual(self.server.process.wait(20), 0)

    def test_a_restored_log_is_a_gap_for_who_saw_the_other_one(self):
        live = self.server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=150) for n in range(4)])
        live.until('result')
        self.server.kill()
        copy = os.path.join(self.server.top, 'copy')
        shutil.copytree(self.server.dir, copy)
        self.server.start()
        last = self.server.events(live.job).frames()[-1]
        self.server.kill()
        shutil.rmtree(self.server.dir)
        shutil.copytree(copy, self.server.dir)
        self.server.start()
        poll = self.server.get(f'/v1/jobs/{live.job}/events?wait=20&after={last.id}').json()
        self.assertEqual(poll['events'][0]['event'], 'gap')
        self.server.wait_for(live.job, 'completed')
        lines = self.server.get(f'/v1/jobs/{live.job}/events?after={last.id}', Accept='application/x-ndjson').body().splitlines()
        self.assertEqual([json.loads(lines[0])['event'], json.loads(lines[1])['id'].split('-')[1]], ['gap', '3'])
        wire = self.server.get(f'/v1/events?job={live.job}@{last.id}').frames()
        self.assertEqual((wire[0].event, wire[-1].event, len(wire)), ('gap', 'complete', len(lines)))
