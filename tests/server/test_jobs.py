"""The job face: documents, the list, items, cancel, retry, delete."""
import json
import re
import time
import unittest

from rivulet_server import Rivulet, image
from runs import only_root_may_look

ALONE = 'a cancel has a bar of 50 ms'

MIXED = [image('a.jpg', accuracy=70), image('b.jpg', fail='bad'), image('c.jpg', pad=100000), image('d.txt', b'x', 'text/plain'), image('e.jpg')]


def next_of(answer):
    link = answer.header('Link')
    if not link:
        return None
    found = re.fullmatch(r'<(/[^>]*)>; rel="next"', link)
    assert found, link
    return found.group(1)


class Jobs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=300)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def run_job(self, files=MIXED):
        return self.server.post('/process-batch', files).job

    def pages(self, path, key):
        found = []
        while path:
            answer = self.server.get(path)
            self.assertEqual(answer.status, 200)
            found.append(answer.json()[key])
            path = next_of(answer)
        return found

    def refused(self, path, *words, method='GET', body=None, status=400):
        answer = self.server.ask(method, path, body)
        self.assertEqual((answer.status, answer.header('Content-Type')), (status, 'application/problem+json'))
        detail = answer.json()['detail']
        for word in words:
            self.assertIn(word, detail)

    def test_the_document_says_all_that_the_contract_names(self):
        before = time.time()
        document = self.server.document(self.run_job())
        self.assertEqual(document['owner'], 'local')
        self.assertEqual((document['pipeline'], document['retry_of'], document['status'], document['sealed']), ('decklists', None, 'completed', True))
        self.assertEqual((document['total_batches'], document['batches_completed'], document['batches_failed']), (5, 3, 2))
        self.assertEqual((document['batches_pending'], document['batches_processing'], document['batches_skipped']), (0, 0, 0))
        self.assertEqual((document['counts'], document['overall_progress'], document['error']), ([0, 0, 3, 2, 0], 100, None))
        self.assertTrue(document['created_at'] <= document['started_at'] <= document['completed_at'])
        self.assertLess(abs(document['timing']['total_seconds'] - document['seconds']), 1e-6)
        parts = document['timing']['queued_seconds'] + document['timing']['running_seconds']
        self.assertAlmostEqual(parts, document['seconds'], places=3)
        self.assertLess(document['seconds'], time.time() - before + 0.1)

    def test_a_document_brings_results_until_they_are_too_many(self):
        job = self.run_job()
        document = self.server.get(f'/v1/jobs/{job}?results=1').json()
        profiles = {one['index']: one['decklist'] for one in document['profiles']}
        self.assertEqual((sorted(profiles), len(document['profiles']), len(profiles[2]['pad'])), ([0, 2, 4], 3, 100000))
        self.assertIs(document['profiles_truncated'], False)
        for key, value in self.server.document(job).items():
            self.assertEqual(document[key], value)
        many = self.run_job([image(f'{n}.jpg', pad=100000) for n in range(8)])
        document = self.server.get(f'/v1/jobs/{many}?results=true').json()
        self.assertEqual((len(document['profiles']), document['profiles_truncated']), (5, True))
        none = self.run_job([image(fail='x')])
        self.assertEqual(self.server.get(f'/v1/jobs/{none}?results=1').json()['profiles'], [])
        self.refused(f'/v1/jobs/{job}?results=maybe', 'results', 'maybe', 'true')

    def test_the_list_goes_from_the_newest_back_in_pages(self):
        jobs = [self.run_job([image()]) for _ in range(5)]
        failed = self.run_job([image(fail='x')])
        pages = self.pages('/v1/jobs?limit=2', 'jobs')
        self.assertTrue(all(len(page) == 2 for page in pages[:-1]))
        flat = [job for page in pages for job in page]
        self.assertEqual([job['id'] for job in flat[:6]], [failed] + jobs[::-1])
        self.assertEqual(len({job['id'] for job in flat}), len(flat))
        self.assertEqual(flat[0], self.server.document(failed))
        self.assertNotIn('profiles', flat[0])
        errors = self.server.get('/v1/jobs?state=error').json()['jobs']
        self.assertEqual((errors[0]['id'], {job['status'] for job in errors}), (failed, {'error'}))
        self.assertEqual(self.server.get('/v1/jobs?state=completed&limit=1').json()['jobs'][0]['id'], jobs[-1])
        self.assertEqual(self.server.get('/v1/jobs?pipeline=decklists&limit=1').json()['jobs'][0]['id'], failed)
        self.assertEqual(self.server.get('/v1/jobs?pipeline=nothing%20such').json(), {'jobs': []})
        kept = self.server.get('/v1/jobs?pipeline=decklists&state=completed&limit=1')
        self.assertIn('pipeline=decklists&state=completed&limit=1&after=', next_of(kept))
        kept.body()

    def test_a_running_job_is_listed_as_it_is(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=200) for _ in range(3)])
        live.until('result')
        running = self.server.get('/v1/jobs?state=running').json()['jobs']
        self.assertIn(live.job, [job['id'] for job in running])
        live.frames()
        self.assertNotIn(live.job, [job['id'] for job in self.server.get('/v1/jobs?state=running').json()['jobs']])

    def test_wrong_questions_are_told_what_is_wrong(self):
        job = self.run_job([image()])
        self.refused('/v1/jobs?state=done', 'state', '"done"', 'pending', 'cancelled')
        self.refused('/v1/jobs?limit=0', 'limit', '"0"', '1 to 1000')
        self.refused('/v1/jobs?limit=x', 'limit', '"x"')
        self.refused('/v1/jobs?after=newest', 'after', '"newest"')
        self.refused(f'/v1/jobs/{job}/items?state=done', 'state', '"done"', 'completed')
        self.refused(f'/v1/jobs/{job}/items?limit=257', 'limit', '256')
        self.refused(f'/v1/jobs/{job}/items?after=-1', 'after', '"-1"')
        for path in ('items/1', 'items/x', 'items/1/result', 'items/99999999999999999999'):
            self.refused(f'/v1/jobs/{job}/{path}', 'no item', status=404)
        for path in ('', '/items', '/items/0', '/items/0/result', '/results'):
            self.refused('/v1/jobs/' + '0' * 32 + path, 'no job', status=404)

    def test_items_are_told_with_what_they_came_to(self):
        job = self.run_job()
        items = self.server.get(f'/v1/jobs/{job}/items').json()['items']
        self.assertEqual([(one['item'], one['name'], one['state']) for one in items],
                         [(0, 'a.jpg', 'completed'), (1, 'b.jpg', 'failed'), (2, 'c.jpg', 'completed'), (3, 'd.txt', 'failed'), (4, 'e.jpg', 'completed')])
        self.assertEqual((items[0]['type'], items[0]['bytes'], items[0]['attempt']), ('image/jpeg', len(MIXED[0][2]), 1))
        self.assertEqual(items[0]['result'], {'bytes': len(MIXED[0][2])})
        self.assertEqual((items[1]['error'], items[1]['error_type'], items[1]['stage']), ('bad', 'processing', 'noop'))
        self.assertEqual((items[3]['error_type'], items[3]['attempt']), ('validation', 0))
        self.assertEqual((items[2]['result_url'], items[2]['result_type']), (f'/v1/jobs/{job}/items/2/result', 'application/json'))
        large = self.server.get(items[2]['result_url']).body()
        self.assertEqual((len(large), len(json.loads(large)['pad'])), (items[2]['result_bytes'], 100000))
        self.assertEqual(self.server.get(f'/v1/jobs/{job}/items/0/result').json(), items[0]['result'])
        for one in items:
            self.assertEqual(self.server.get(f'/v1/jobs/{job}/items/{one["item"]}').json(), one)
        self.refused(f'/v1/jobs/{job}/items/1/result', 'no result.', status=404)

    def test_items_come_in_pages_and_by_state(self):
        job = self.run_job([image(f'{n}.jpg', **({'fail': 'x'} if n % 3 == 0 else {})) for n in range(20)])
        pages = self.pages(f'/v1/jobs/{job}/items?limit=6', 'items')
        self.assertEqual([len(page) for page in pages], [6, 6, 6, 2])
        self.assertEqual([one['item'] for page in pages for one in page], list(range(20)))
        pages = self.pages(f'/v1/jobs/{job}/items?state=failed&limit=3', 'items')
        self.assertEqual([[one['item'] for one in page] for page in pages], [[0, 3, 6], [9, 12, 15], [18]])
        self.assertEqual(self.pages(f'/v1/jobs/{job}/items?state=pending', 'items'), [[]])
        self.assertEqual([one['item'] for one in self.server.get(f'/v1/jobs/{job}/items?after=17').json()['items']], [18, 19])
        self.assertEqual(self.pages(f'/v1/jobs/{job}/items?after=19', 'items'), [[]])

    @only_root_may_look
    def test_looking_through_many_items_for_a_state_takes_no_memory(self):
        many = b'{"noop":{"sleep_ms":60000}}\n' + b'1\n' * 200000
        job = self.server.ask('POST', '/v1/jobs?pipeline=noop&in_flight=1', many, {'Content-Type': 'application/jsonl'}).json()['id']
        status = f'/proc/{self.server.process.pid}/'
        with open(status + 'clear_refs', 'w') as file:
            file.write('5')          # the highest memory is counted from here
        before = self.server.rss_kib()
        self.assertEqual(self.pages(f'/v1/jobs/{job}/items?state=failed', 'items'), [[]])
        self.assertEqual(self.server.get(f'/v1/jobs/{job}/results?order=input').body(), b'')
        with open(status + 'status', encoding='utf-8') as file:
            highest = int(re.search(r'VmHWM:\s+(\d+)', file.read()).group(1))
        self.server.ask('POST', f'/v1/jobs/{job}/cancel').body()
        self.assertLess(highest - before, 16 * 1024)

    def test_items_of_a_running_job_are_told_as_they_are(self):
        live = self.server.post('/process-batch-stream', [image('0.jpg'), image('1.jpg', sleep_ms=400), image('2.jpg')])
        live.until('result')
        live.until('progress')
        live.until('progress')
        items = self.server.get(f'/v1/jobs/{live.job}/items').json()['items']
        self.assertEqual([one['state'] for one in items], ['completed', 'processing', 'pending'])
        self.assertEqual([one['attempt'] for one in items], [1, 1, 0])
        self.refused(f'/v1/jobs/{live.job}/items/1/result', 'no result yet', status=404)
        self.refused(f'/v1/jobs/{live.job}', 'not ended', method='DELETE', status=409)
        self.refused(f'/v1/jobs/{live.job}/retry', 'ended', method='POST', status=409)
        live.frames()

    def test_cancel_stops_at_once_and_keeps_what_is_there(self):
        live = self.server.post('/process-batch-fast', [image(f'{n}.jpg', sleep_ms=20 if n < 10 else 3000) for n in range(200)])
        for _ in range(6):
            live.until('result')
        asked = time.time()
        answer = self.server.ask('POST', f'/v1/jobs/{live.job}/cancel')
        took = time.time() - asked
        tag = None
        document = answer.json()
        self.assertEqual((answer.status, document['status'], document['overall_progress']), (200, 'cancelled', 100))
        self.assertLess(took, 1)
        self.assertGreaterEqual(document['batches_completed'], 6)
        self.assertEqual(document['batches_completed'] + document['batches_skipped'], 200)
        frames = self.server.events(live.job).frames()
        states = [frame.data.get('state') for frame in frames]
        self.assertEqual(states[-3:], ['cancelling', 'skipped', None])
        self.assertEqual(frames[-1].event, 'cancelled')
        for frame in frames:
            if frame.data.get('state') == 'processing':
                self.assertLess(self.seconds(frame.data['at']), asked + 0.05)
        results = [frame.data['index'] for frame in live.frames() if frame.event == 'result']
        lines = self.server.get(f'/v1/jobs/{live.job}/results').body().splitlines()
        self.assertEqual(len(lines), document['batches_completed'])
        self.assertTrue(set(results) <= {json.loads(line)['index'] for line in lines})
        tag = self.server.get(f'/v1/jobs/{live.job}').header('ETag')
        again = self.server.ask('POST', f'/v1/jobs/{live.job}/cancel')
        self.assertEqual((again.status, again.json()), (200, document))
        self.assertEqual(self.server.get(f'/v1/jobs/{live.job}', If_None_Match=tag).status, 304)
        began = time.time()      # the workers were taken from their items of 3 s
        self.run_job([image(), image()])
        self.assertLess(time.time() - began, 2)

    @staticmethod
    def seconds(text):
        from datetime import datetime
        return datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()

    def test_cancel_after_the_end_changes_nothing(self):
        job = self.run_job()
        before = self.server.document(job)
        for _ in range(2):
            answer = self.server.ask('POST', f'/v1/jobs/{job}/cancel')
            self.assertEqual((answer.status, answer.json()), (200, before))

    def test_retry_makes_a_new_job_of_what_failed(self):
        job = self.run_job()
        before = self.server.document(job)
        answer = self.server.ask('POST', f'/v1/jobs/{job}/retry')
        document = answer.json()
        self.assertEqual(answer.status, 202)
        self.assertEqual((answer.header('Location'), document['retry_of'], document['total_batches']), ('/v1/jobs/' + document['id'], job, 2))
        self.assertNotEqual(document['id'], job)
        ended = self.server.wait_for(document['id'], 'completed', 'error')
        self.assertEqual(ended['batches_failed'], 2)
        names = [one['name'] for one in self.server.get(f'/v1/jobs/{document["id"]}/items').json()['items']]
        self.assertEqual(names, ['b.jpg', 'd.txt'])
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/retry').json()['id'], document['id'])
        self.assertEqual(self.server.document(job), before)
        one = self.server.ask('POST', f'/v1/jobs/{job}/retry', b'{"items": [1, 1]}').json()
        self.assertNotEqual(one['id'], document['id'])
        self.assertEqual(one['total_batches'], 1)

    def test_retries_that_make_no_sense_are_refused(self):
        job, good = self.run_job(), self.run_job([image()])
        self.refused(f'/v1/jobs/{good}/retry', 'failed', method='POST', status=409)
        self.refused(f'/v1/jobs/{job}/retry', method='POST', body=b'{"items": [0]}', status=409)
        self.refused(f'/v1/jobs/{job}/retry', 'items[1]', method='POST', body=b'{"items": [1, 5]}')
        for body in (b'[]', b'{}', b'{"items": []}', b'{"items": ["1"]}', b'{"items": [1], "more": 1}', b'{"items": [1.5]}', b'nonsense', b'{"items": {}}'):
            self.refused(f'/v1/jobs/{job}/retry', 'The body is not what a retry takes', method='POST', body=body)

    def test_a_deleted_job_is_gone_for_every_reader(self):
        job = self.run_job()
        answer = self.server.ask('DELETE', f'/v1/jobs/{job}')
        self.assertEqual((answer.status, answer.body()), (204, b''))
        for path in ('', '/events', '/events?wait=0', '/items', '/results', '/items/0/result'):
            self.refused(f'/v1/jobs/{job}{path}', 'no job', status=404)
        self.refused(f'/v1/jobs/{job}', 'no job', method='DELETE', status=404)
        self.refused(f'/v1/events?job={job}', 'no job', status=404)
        self.assertNotIn(job, [one['id'] for one in self.server.get('/v1/jobs?limit=1000').json()['jobs']])

    def test_head_answers_like_get_without_a_body(self):
        job = self.run_job()
        for path in ('/v1/jobs', f'/v1/jobs/{job}', f'/v1/jobs/{job}/items', f'/v1/jobs/{job}/items/0', f'/v1/jobs/{job}/items/2/result',
                     f'/v1/jobs/{job}/results', f'/v1/jobs/{job}/results?follow=1', f'/v1/jobs/{job}/events?wait=9', f'/v1/events?job={job}',
                     f'/v1/jobs/{job}?results=1'):
            answer = self.server.ask('HEAD', path)
            self.assertEqual((answer.status, answer.body()), (200, b''), path)


class Restarts(unittest.TestCase):
    def test_lists_items_and_results_are_the_same_after_a_restart(self):
        server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=300)
        self.addCleanup(server.close)
        jobs = [server.post('/process-batch', MIXED).job for _ in range(3)]
        paths = ['/v1/jobs'] + [f'/v1/jobs/{job}{rest}' for job in jobs for rest in
                                ('', '?results=1', '/items', '/items?state=failed', '/results', '/results?order=input', '/results?order=score')]
        before = [server.get(path).body() for path in paths]
        server.kill()
        server.start()
        for path, body in zip(paths, before):
            self.assertEqual(server.get(path).body(), body, path)
        server.ask('DELETE', f'/v1/jobs/{jobs[1]}').body()
        server.kill()
        server.start()
        self.assertEqual([job['id'] for job in server.get('/v1/jobs').json()['jobs']], [jobs[2], jobs[0]])
