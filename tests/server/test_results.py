"""Results as JSON Lines: the orders, following, going on; and the same results whichever way they are asked for."""
import json
import threading
import unittest

from rivulet_server import Rivulet, image


def lines_of(answer):
    return [json.loads(line) for line in answer.body().splitlines() if line]


def indexes(answer):
    return [line.get('index') for line in lines_of(answer)]


class Results(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=400, RIVULET_HEARTBEAT_S=1)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def results(self, job, query=''):
        answer = self.server.get(f'/v1/jobs/{job}/results{query}')
        self.assertEqual((answer.status, answer.header('Content-Type')), (200, 'application/jsonl'))
        return answer

    def test_each_order_has_its_order(self):
        live = self.server.post('/process-batch-fast', [image('slow.jpg', sleep_ms=300, accuracy=50)] +
                                [image(f'{n}.jpg', accuracy=n % 7 * 10) for n in range(1, 20)] + [image('bad.jpg', fail='x'), image('plain.jpg')])
        completed = [frame.data['index'] for frame in live.frames() if frame.event in ('result', 'error')]
        self.assertNotEqual(completed[0], 0)
        for follow in ('', '&follow=1'):
            self.assertEqual(indexes(self.results(live.job, '?order=completion' + follow)), completed)
            self.assertEqual(indexes(self.results(live.job, '?order=input' + follow)), list(range(22)))
            ranked = sorted(range(1, 20), key=lambda n: (-(n % 7 * 10), n))
            ranked.insert(next(at for at, n in enumerate(ranked) if n % 7 * 10 <= 50), 0)
            self.assertEqual(indexes(self.results(live.job, '?order=score' + follow)), ranked + [21, 20])

    def test_after_leaves_the_first_lines_away(self):
        job = self.server.post('/process-batch', [image(f'{n}.jpg', accuracy=n) for n in range(80)]).job
        for order in ('completion', 'input', 'score'):
            whole = self.results(job, f'?order={order}').body().splitlines(True)
            for count in (0, 1, 31, 32, 33, 79, 80, 1000):
                self.assertEqual(self.results(job, f'?order={order}&after={count}').body(), b''.join(whole[count:]))

    def test_following_by_input_waits_for_the_next_one(self):
        live = self.server.post('/process-batch-fast', [image(f'{n}.jpg', sleep_ms=400 if n == 3 else 5) for n in range(40)])
        by_input = self.results(live.job, '?order=input&follow=1')
        seen, rest = [], b''
        while len(seen) < 3:
            rest += by_input.response.read1(65536)
            *whole, rest = rest.split(b'\n')
            seen += [json.loads(line)['index'] for line in whole if line]
        now = indexes(self.results(live.job, '?order=input'))
        self.assertEqual(seen, [0, 1, 2])
        self.assertEqual(now, sorted(now))
        self.assertNotIn(3, now)
        self.assertEqual(seen + [json.loads(line)['index'] for line in (rest + by_input.body()).splitlines() if line], list(range(40)))
        live.frames()

    def test_following_ends_with_the_job_and_an_answer_without_it_at_once(self):
        live = self.server.post('/process-batch-stream', [image('0.jpg'), image('1.jpg', sleep_ms=1600), image('2.jpg')])
        live.until('result')
        streams = {order: self.results(live.job, f'?order={order}&follow=1') for order in ('completion', 'input', 'score')}
        for order in streams:
            self.assertEqual(indexes(self.results(live.job, '?order=' + order)), [0])
        raw = streams['completion'].body()
        self.assertEqual([json.loads(line)['index'] for line in raw.splitlines() if line], [0, 1, 2])
        self.assertIn(b'\n\n', raw)      # a sign of life in the silence
        self.assertEqual(indexes(streams['input']), [0, 1, 2])
        self.assertEqual(sorted(indexes(streams['score'])), [0, 1, 2])
        live.frames()

    def test_skipped_items_have_no_line(self):
        live = self.server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=100) for n in range(8)])
        by_input = self.results(live.job, '?order=input&follow=1')
        by_score = self.results(live.job, '?order=score&follow=1')
        live.until('result')
        document = self.server.ask('POST', f'/v1/jobs/{live.job}/cancel').json()
        done = list(range(document['batches_completed']))
        self.assertEqual((indexes(by_input), indexes(by_score)), (done, done))
        live.frames()

    def test_a_large_job_is_the_same_in_every_order(self):
        job = self.server.post('/process-batch-fast', [image(f'{n}.jpg', accuracy=n % 10) for n in range(400)])
        job.frames()
        bodies = [sorted(self.results(job.job, '?order=' + order).body().splitlines()) for order in ('completion', 'input', 'score')]
        self.assertEqual((len(bodies[0]), bodies[1], bodies[2]), (400, bodies[0], bodies[0]))

    def test_large_results_come_whole_to_slow_readers_too(self):
        job = self.server.post('/process-batch', [image(pad=900000) for _ in range(8)]).job
        before = self.server.rss_kib()
        answers = [self.results(job, '?order=' + order) for order in ('completion', 'input', 'score') for _ in range(3)]
        for answer in answers:
            self.assertEqual([len(line['decklist']['pad']) for line in lines_of(answer)], [900000] * 8)
        self.assertLess(self.server.rss_kib() - before, 60 * 1024)

    def test_clients_may_leave_at_any_time(self):
        live = self.server.post('/process-batch-fast', [image(f'{n}.jpg', pad=70000, sleep_ms=5) for n in range(60)])
        for order in ('completion', 'input', 'score'):
            for _ in range(10):
                self.results(live.job, f'?order={order}&follow=1').leave()
        self.assertEqual(len([frame for frame in live.frames() if frame.event == 'result']), 60)
        self.assertEqual(sorted(indexes(self.results(live.job))), list(range(60)))

    def test_every_view_tells_the_same_results(self):
        files = [image(f'{n}.jpg', accuracy=n, **{3: {'fail': 'no'}, 5: {'pad': 80000}, 7: {'retry': 'once more'}}.get(n, {})) for n in range(12)]
        blocking = self.server.post('/process-batch', files)
        job = blocking.job
        body = blocking.json()
        want = {one['index']: one['decklist'] for one in body['results']}
        errors = {one['index']: one['error'] for one in body['errors']}
        self.assertEqual((len(want), len(errors)), (10, 2))
        views = {'blocking': (want, errors)}
        views['seed'] = self.of_frames([(frame.event, frame.data) for frame in self.server.events(job, '?face=seed').frames()], 'index', 'decklist', 'error')
        views['job'] = self.of_frames([(frame.event, frame.data) for frame in self.server.events(job).frames()], 'item', 'result', 'failed')
        lines = [json.loads(line) for line in self.server.get(f'/v1/jobs/{job}/events', Accept='application/x-ndjson').body().splitlines()]
        views['lines'] = self.of_frames([(line['event'], line['data']) for line in lines], 'item', 'result', 'failed')
        poll = self.server.get(f'/v1/jobs/{job}/events?wait=0').json()
        views['poll'] = self.of_frames([(one['event'], one['data']) for one in poll['events']], 'item', 'result', 'failed')
        many = [(frame.event, frame.data) for frame in self.server.get(f'/v1/events?job={job}').frames()]
        views['multi'] = self.of_frames(many, 'item', 'result', 'failed')
        for order in ('completion', 'input', 'score'):
            found = lines_of(self.results(job, '?order=' + order))
            views[order] = ({one['index']: one['decklist'] for one in found if 'error' not in one},
                            {one['index']: one['error'] for one in found if 'error' in one})
        items = self.server.get(f'/v1/jobs/{job}/items').json()['items']
        views['items'] = ({one['item']: self.value(one) for one in items if one['state'] == 'completed'},
                          {one['item']: one['error'] for one in items if one['state'] == 'failed'})
        for name, view in views.items():
            self.assertEqual(view, (want, errors), name)

    def value(self, data):
        return self.server.get(data['result_url']).json() if 'result_url' in data else data['result']

    def of_frames(self, frames, number, key, failed):
        results = {data[number]: data[key] if key in data else self.value(data) for event, data in frames if event == 'result'}
        return results, {data[number]: data['error'] for event, data in frames if event == failed}

    def test_wrong_questions_are_told_what_is_wrong(self):
        job = self.server.post('/process-batch', [image()]).job
        for query, words in (('order=random', ('order', '"random"', 'completion, input or score')), ('follow=yes', ('follow', '"yes"')),
                             ('after=x', ('after', '"x"')), ('after=-3', ('after', '"-3"', 'from 0'))):
            answer = self.server.get(f'/v1/jobs/{job}/results?{query}')
            self.assertEqual(answer.status, 400)
            detail = answer.json()['detail']
            for word in words:
                self.assertIn(word, detail)


class Stopping(unittest.TestCase):
    def test_a_server_that_stops_says_that_there_is_more(self):
        server = Rivulet(MAX_BATCH_SIZE=30)
        self.addCleanup(server.close)
        live = server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=200) for n in range(10)])
        following = server.get(f'/v1/jobs/{live.job}/results?follow=1')
        live.until('result')
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        lines = lines_of(following)
        stopping.join()
        self.assertNotIn('index', lines[-1])
        self.assertIn('after=N', lines[-1]['error'])
        server.start()
        rest = lines_of(server.get(f'/v1/jobs/{live.job}/results?follow=1&after={len(lines) - 1}'))
        self.assertEqual([line['index'] for line in lines[:-1] + rest], list(range(10)))
