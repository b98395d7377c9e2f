"""The job face, the way in: jobs from files, JSON and JSON Lines; what is wrong makes nothing; open jobs take items one by one."""
import http.client
import json
import os
import socket
import tempfile
import threading
import time
import unittest

from rivulet_server import Rivulet, form, image, item

MIB = 1 << 20
LINES = int(os.environ.get('INTAKE_LINES', 100000))
JSON, JSONL = 'application/json', 'application/jsonl'


def dump(value):
    return json.dumps(value).encode()


class Case(unittest.TestCase):
    settings = {'MAX_WORKERS': 2}

    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(**cls.settings)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def post(self, path, body, media=JSON, **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        return self.server.ask('POST', path, body, {**({'Content-Type': media} if media else {}), **headers})

    def refused(self, status, part, *what, **headers):
        answer = self.post(*what, **headers)
        content = answer.body()
        self.assertEqual(answer.status, status, content)
        self.assertEqual(answer.header('Content-Type'), 'application/problem+json')
        self.assertIn(part, json.loads(content)['detail'])
        self.assertIsNone(answer.job)

    def results(self, job):
        """index → (name, result or error) of a job that ends."""
        found = {}
        for frame in self.server.events(job).frames():
            if frame.event in ('result', 'failed'):
                found[frame.data['item']] = (frame.data['name'], frame.data.get('result', frame.data.get('error')))
        return found

    def jobs(self):
        return len(self.server.get('/v1/jobs?limit=1000').json()['jobs'])


class Forms(Case):
    settings = {'MAX_WORKERS': 2, 'MAX_FILE_SIZE_MB': 1, 'MAX_BODY_MB': 4, 'MAX_BATCH_SIZE': 2}

    def test_the_pipelines_are_listed(self):
        listed = {entry['name']: entry for entry in self.server.get('/v1/pipelines').json()['pipelines']}
        self.assertEqual(set(listed), {'decklists', 'noop'})
        self.assertEqual(listed['noop']['takes']['files'], ['*/*'])
        self.assertTrue(listed['noop']['takes']['values'])
        self.assertFalse(listed['decklists']['takes']['values'])
        self.assertEqual(listed['decklists']['result_key'], 'decklist')
        self.assertEqual(listed['noop']['legs'][0]['stages'], ['noop'])

    def test_files_of_any_type_and_more_than_a_batch(self):
        files = [(f'{n}.bin', None, bytes(n)) for n in range(15)]
        answer = self.server.post('/v1/jobs?pipeline=noop', files)
        self.assertEqual(answer.status, 202)
        document = answer.json()
        self.assertEqual(answer.header('Location'), f'/v1/jobs/{answer.job}')
        self.assertEqual((document['id'], document['total_batches']), (answer.job, 15))
        self.assertEqual(self.results(answer.job), {n: (f'{n}.bin', {'bytes': n}) for n in range(15)})

    def test_a_bad_file_of_a_pipeline_of_images_is_one_items_error(self):
        large = image('large.jpg', bytes(MIB + 1))
        answer = self.server.post('/v1/jobs?pipeline=decklists', [image('a.jpg'), ('b.txt', 'text/plain', b'x'), large], field='file')
        self.assertEqual(answer.status, 202)
        found = self.results(answer.job)
        self.assertEqual(found[0][0], 'a.jpg')
        self.assertEqual(found[1], ('b.txt', 'File must be an image (JPG/PNG)'))
        self.assertEqual(found[2], ('large.jpg', 'File size (1.0MB) exceeds maximum (1MB)'))

    def test_parameters_of_a_form_reach_the_stage(self):
        body = form([('a', None, b'1')])
        params = b'--the-boundary-of-a-test\r\nContent-Disposition: form-data; name="params"\r\n\r\n{"result": "told"}\r\n'
        media = 'multipart/form-data; boundary=the-boundary-of-a-test'
        answer = self.post('/v1/jobs?pipeline=noop', params + body, media)
        self.assertEqual(self.results(answer.job), {0: ('a', 'told')})
        self.refused(400, '"params"', '/v1/jobs?pipeline=noop', params.replace(b'{"result": "told"}', b'[1]') + body, media)
        self.refused(400, '"params"', '/v1/jobs?pipeline=noop', params.replace(b'{"result": "told"}', b'{"result') + body, media)

    def test_values_of_a_document_come_back_as_they_were(self):
        values = [1, 'two', {'x': [1, {'y': 'line\nend "quoted" \\ 中文'}]}, [], {}, False, -1.5e300, '', {'value': 1, 'unit': 'kg'}]
        answer = self.post('/v1/jobs?pipeline=noop&in_flight=4', json.dumps({'items': values, 'params': {}}, indent=3).encode())
        self.assertEqual(answer.status, 202)
        found = self.results(answer.job)
        self.assertEqual([found[n][1] for n in range(len(values))], values)
        self.assertEqual(found[3][0], 'item_3')

    def test_a_wrapped_value_has_a_name(self):
        document = {'pipeline': 'noop', 'items': [{'value': {'q': 1}, 'name': 'first \u0000 名', 'key': 'k', 'type': 'text/x'}, {'value': [2]}]}
        answer = self.post('/v1/jobs', dump(document))
        self.assertEqual(self.results(answer.job), {0: ('first \ufffd 名', {'q': 1}), 1: ('item_1', [2])})

    def test_json_lines(self):
        body = b'\xef\xbb\xbf1\r\n\n  {"a": "\xe4\xb8\xad"}  \n"' + b'x' * 70000 + b'"\n\n[2]'
        answer = self.post('/v1/jobs?pipeline=noop', body, 'application/x-ndjson; charset=utf-8')
        self.assertEqual(answer.status, 202)
        found = self.results(answer.job)
        self.assertEqual([found[n][1] for n in range(4)], [1, {'a': '中'}, {'bytes': 70002}, [2]])

    def test_a_large_value_is_a_file(self):
        for media, body in ((JSONL, b'{"value": ["' + b'y' * 900000 + b'"], "name": "big"}\n'),
                            (JSON, b'{"items": [{"value": ["' + b'y' * 900000 + b'"], "name": "big"}]}')):
            answer = self.post('/v1/jobs?pipeline=noop', body, media)
            self.assertEqual(self.results(answer.job), {0: ('big', {'bytes': 900004})})

    def test_what_is_wrong_makes_nothing_and_is_said(self):
        before, path = self.jobs(), '/v1/jobs?pipeline=noop'
        self.refused(400, 'there are: decklists, noop', '/v1/jobs?pipeline=nope', b'1', JSONL)
        self.refused(400, 'there are: decklists, noop', '/v1/jobs', b'1', JSONL)
        self.refused(400, 'there are: decklists, noop', '/v1/jobs', dump({'items': [1]}))
        self.refused(400, 'pipeline "noop"', path, dump({'items': [1], 'pipeline': 'decklists'}))
        self.refused(400, 'Line 3 is not valid JSON', path, b'1\n2\n{"a":}\n4', JSONL)
        self.refused(400, 'Line 2 is not valid JSON', path, b'1\n"\xff"\n', JSONL)
        self.refused(400, 'Line 70001 is', path, b'1\n' * 70000 + b'nan', JSONL)
        self.refused(400, 'Line 1 is nested deeper than 24', path, b'[' * 26 + b']' * 26, JSONL)
        self.refused(400, 'Line 2 is null', path, b'1\nnull', JSONL)
        self.refused(413, 'Line 2 has', path, b'1\n"' + b'z' * (MIB + 1) + b'"\n', JSONL)
        self.refused(413, 'Line 2 has more than', path, b'1\n"' + b'z' * (2 * MIB) + b'"\n', JSONL)
        self.refused(400, 'Item 1 (counted from 0) is null', path, dump({'items': [1, None]}))
        self.refused(400, 'its "name" must be a text', path, dump({'items': [{'value': 1, 'name': 2}]}))
        self.refused(400, 'its "name" has more than 255', path, dump({'items': [{'value': 1, 'name': 'n' * 256}]}))
        self.refused(400, 'a member "itmes"', path, dump({'itmes': []}))
        self.refused(400, 'no "items"', path, dump({'params': {}}))
        self.refused(400, '"items" must be a list', path, dump({'items': {}}))
        self.refused(400, '"params" must be an object', path, dump({'items': [1], 'params': 1}))
        self.refused(413, '"params" has', path, dump({'items': [1], 'params': {'p': 'q' * 20000}}))
        self.refused(400, 'not valid JSON', path, b'{"items": [1]')
        self.refused(400, 'must be an object', path, b'[1, 2]')
        self.refused(400, 'is empty', path, b'')
        self.refused(415, 'are taken as', path, b'<x/>', 'application/xml')
        self.refused(422, 'There is no body', path, b'', None)
        self.refused(422, 'no file in its field', path, form([]), 'multipart/form-data; boundary=the-boundary-of-a-test')
        self.refused(415, 'takes images', '/v1/jobs?pipeline=decklists', b'1', JSONL)
        self.refused(413, 'body', path, b'1' * (5 * MIB), JSONL)
        self.refused(400, 'in_flight is', path + '&in_flight=0', b'1', JSONL)
        self.refused(400, 'open is', path + '&open=maybe', b'1', JSONL)
        self.refused(400, 'on_disconnect is', path + '&on_disconnect=panic', b'1', JSONL)
        self.assertEqual(self.jobs(), before)

    def test_a_body_that_is_cut_off_makes_nothing(self):
        before = self.jobs()
        for media in (JSON, JSONL, 'multipart/form-data; boundary=the-boundary-of-a-test'):
            body = form([('a', None, b'1')]) if media[0] == 'm' else b'{"items": [1]}\n'
            with socket.create_connection(('127.0.0.1', self.server.port)) as sock:
                sock.sendall(f'POST /v1/jobs?pipeline=noop HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n'
                             f'Content-Length: {len(body) + 10}\r\n\r\n'.encode() + body)
        self.post('/v1/jobs?pipeline=noop', b'1', JSONL).body()
        self.assertEqual(self.jobs(), before + 1)

    def test_one_after_another_or_so_many_at_once(self):
        for query, most in (('ordered=1', 1), ('in_flight=1', 1), ('in_flight=2', 2)):
            answer = self.post(f'/v1/jobs?pipeline=noop&{query}', dump({'items': [{'noop': {'sleep_ms': 5}}] * 8}))
            frames = self.server.events(answer.job).frames()
            self.assertEqual(max(frame.data['counts'][1] for frame in frames if 'counts' in frame.data), most, query)
            if most == 1:
                self.assertEqual([frame.data['item'] for frame in frames if frame.event == 'result'], list(range(8)))


class Answers(Case):
    def test_waiting_for_the_end(self):
        answer = self.post('/v1/jobs?pipeline=noop', dump({'items': [1, {'noop': {'sleep_ms': 100}}]}), Prefer='handling=lenient, wait=20')
        self.assertEqual((answer.status, answer.header('Preference-Applied')), (200, 'wait=20'))
        document = answer.json()
        self.assertEqual((document['status'], document['batches_completed']), ('completed', 2))
        self.assertEqual(document, self.server.document(document['id']))

    def test_waiting_in_vain(self):
        began = time.monotonic()
        answer = self.post('/v1/jobs?pipeline=noop', dump({'items': [{'noop': {'sleep_ms': 3000}}]}), Prefer='wait=1')
        self.assertEqual(answer.status, 202)
        self.assertGreaterEqual(time.monotonic() - began, 1)
        self.assertEqual(answer.json()['status'], 'running')

    def test_not_waiting(self):
        answer = self.post('/v1/jobs?pipeline=noop', dump({'items': [1]}), Prefer='respond-async, wait=20', Accept='text/event-stream')
        self.assertEqual((answer.status, answer.header('Preference-Applied')), (202, 'respond-async'))

    def test_the_stream_itself(self):
        answer = self.post('/v1/jobs?pipeline=noop', b'1\n2\n', JSONL, Accept='text/event-stream')
        self.assertEqual((answer.status, answer.header('Content-Type')), (200, 'text/event-stream'))
        frames = answer.frames()
        self.assertEqual([frame.event for frame in frames][-1], 'complete')
        self.assertEqual([frame.raw for frame in frames], [frame.raw for frame in self.server.events(answer.job).frames()])

    def test_a_client_that_leaves_ends_its_job_only_if_it_said_so(self):
        slow = dump({'items': [{'noop': {'sleep_ms': 200}}] * 10})
        ends = self.post('/v1/jobs?pipeline=noop&on_disconnect=cancel', slow, Accept='text/event-stream')
        stays = self.post('/v1/jobs?pipeline=noop&in_flight=2', slow, Accept='text/event-stream')
        ends.until('result')
        ends.leave()
        stays.leave()
        self.assertEqual(self.server.wait_for(ends.job, 'cancelled', 'completed')['status'], 'cancelled')
        self.assertEqual(self.server.wait_for(stays.job, 'cancelled', 'completed')['status'], 'completed')

    def test_no_items_are_a_job_too(self):
        answer = self.post('/v1/jobs?pipeline=noop', dump({'items': []}), Prefer='wait=10')
        self.assertEqual((answer.status, answer.json()['status']), (200, 'completed'))


class OpenJobs(Case):
    def open(self, body=None, media=None):
        answer = self.post('/v1/jobs?pipeline=noop&open=1', body, media)
        self.assertEqual(answer.status, 202, answer.body())
        return answer.job

    def add(self, job, body, media=JSON, query=''):
        answer = self.post(f'/v1/jobs/{job}/items{query}', body, media)
        self.assertEqual(answer.status, 202)
        return answer.json()

    def seal(self, job, **headers):
        return self.post(f'/v1/jobs/{job}/seal', None, None, **headers)

    def test_items_start_before_the_seal(self):
        job = self.open()
        stream = self.server.events(job)
        self.assertEqual(self.add(job, dump({'a': 1})), {'id': job, 'first': 0, 'count': 1, 'total': 1})
        self.assertEqual(stream.until('result').data['result'], {'a': 1})
        self.assertEqual(self.add(job, dump({'items': [2, 3]}))['first'], 1)
        self.assertEqual(self.add(job, b'4\n5\n6', JSONL)['total'], 6)
        files = form([('f', None, b'12345')])
        self.assertEqual(self.add(job, files, 'multipart/form-data; boundary=the-boundary-of-a-test')['total'], 7)
        answer = self.seal(job, Prefer='wait=10')
        self.assertEqual((answer.status, answer.json()['batches_completed']), (200, 7))
        self.assertEqual([self.results(job)[n][1] for n in range(7)], [{'a': 1}, 2, 3, 4, 5, 6, {'bytes': 5}])
        self.assertEqual(self.seal(job).status, 200)
        self.refused(409, 'sealed', f'/v1/jobs/{job}/items', b'8')

    def test_a_repeated_addition_is_told_from_a_new_one(self):
        job = self.open(dump({'items': [0]}), JSON)
        self.assertEqual(self.add(job, dump([1]), query='?first=1')['total'], 2)
        answer = self.post(f'/v1/jobs/{job}/items?first=1', dump([1]))
        self.assertEqual(answer.status, 409)
        self.assertEqual(answer.json()['total'], 2)
        self.assertEqual(self.add(job, dump([2]), query='?first=2')['total'], 3)
        self.assertEqual(self.seal(job, Prefer='wait=10').json()['total_batches'], 3)

    def test_additions_at_one_time_do_not_mix(self):
        job, found, each = self.open(), [], 3000      # more than go to the log in one piece

        def add(number):
            lines = b'\n'.join(b'{"value": 0, "name": "%d of %d"}' % (n, number) for n in range(each))
            found.append((number, self.add(job, lines, JSONL)))
        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(added['first'] for _, added in found), [each * n for n in range(4)])
        self.post(f'/v1/jobs/{job}/cancel', None, None).body()
        for number, added in found:
            for n in (0, 1, 2047, 2048, 2049, each - 1):
                self.assertEqual(self.server.get(f'/v1/jobs/{job}/items/{added["first"] + n}').json()['name'], f'{n} of {number}')

    def test_a_cancelled_one_takes_nothing(self):
        job = self.open(dump({'items': [item(sleep_ms=5000).decode()]}), JSON)
        self.post(f'/v1/jobs/{job}/cancel', None, None).body()
        self.refused(409, 'has ended', f'/v1/jobs/{job}/items', b'1')
        self.refused(409, 'has ended', f'/v1/jobs/{job}/seal', None, None)
        self.refused(404, 'There is no job', '/v1/jobs/0123456789abcdef0123456789abcdef/items', b'1')

    def test_it_lives_on_over_a_kill(self):
        server = Rivulet()
        try:
            first = server.ask('POST', '/v1/jobs?pipeline=noop&open=1', dump({'items': [1, 2]}), {'Content-Type': JSON})
            first.body()
            server.kill()
            server.start()
            added = server.ask('POST', f'/v1/jobs/{first.job}/items?first=2', b'3', {'Content-Type': JSON}).json()
            self.assertEqual(added, {'id': first.job, 'first': 2, 'count': 1, 'total': 3})
            sealed = server.ask('POST', f'/v1/jobs/{first.job}/seal', None, {'Prefer': 'wait=10'})
            self.assertEqual((sealed.status, sealed.json()['batches_completed']), (200, 3))
        finally:
            server.close()


class Shelf(unittest.TestCase):
    def test_several_pipeline_files_are_offered_and_the_first_is_the_process_endpoints(self):
        with tempfile.TemporaryDirectory() as top:
            paths = []
            for name in ('first', 'second'):
                paths.append(os.path.join(top, name + '.json'))
                with open(paths[-1], 'w', encoding='utf-8') as file:
                    json.dump({'name': name, 'result_key': 'of_' + name, 'legs': [{'stages': ['noop']}]}, file)
            server = Rivulet(RIVULET_PIPELINE=':'.join(paths))
            try:
                self.assertEqual([entry['name'] for entry in server.get('/v1/pipelines').json()['pipelines']], ['first', 'second', 'noop'])
                self.assertEqual(server.post('/process-batch', [image()]).json()['results'][0]['of_first'], {'bytes': 12})
                answer = server.ask('POST', '/v1/jobs?pipeline=second', b'1', {'Content-Type': JSONL, 'Prefer': 'wait=10'})
                self.assertEqual((answer.status, answer.json()['pipeline']), (200, 'second'))
            finally:
                server.close()


class Going(unittest.TestCase):
    """The server is told to end while a large job is being written down."""

    def test_what_was_not_told_is_not_there(self):
        server = Rivulet()
        try:
            body = b'\n'.join(b'%d' % n for n in range(300000))
            connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
            connection.request('POST', '/v1/jobs?pipeline=noop', body=body, headers={'Content-Type': JSONL})
            while not server.get('/v1/jobs').json()['jobs']:
                pass
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            answer = connection.getresponse()
            detail = json.loads(answer.read())
            stopping.join()
            self.assertEqual((answer.status, detail['detail'][:24]), (503, 'The server is going down'))
            self.assertGreaterEqual(int(answer.headers['Retry-After']), 1)
            server.start()
            jobs = server.get('/v1/jobs').json()['jobs']
            self.assertEqual([job['status'] for job in jobs], ['cancelled'])
            self.assertEqual(jobs[0]['batches_completed'], 0)
        finally:
            server.close()


class Memory(Case):
    timeout_s = 240

    def test_memory_does_not_grow_by_what_is_sent(self):
        """A hundred thousand lines, or as many as INTAKE_LINES says: 16 bytes an item and a constant."""
        self.post('/v1/jobs?pipeline=noop', b'1\n', JSONL, Prefer='wait=5').body()     # what is made once is there now
        before, highest, watching = self.server.rss_kib(), [0], [True]

        def watch():
            while watching[0]:
                highest[0] = max(highest[0], self.server.rss_kib())
                time.sleep(0.01)

        def lines():
            for at in range(0, LINES, 1000):
                yield b''.join(b'{"id":%d,"url":"https://example.com/profile/%d"}\n' % (n, n) for n in range(at, min(at + 1000, LINES)))
        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.monotonic()
        try:
            answer = self.server.ask('POST', '/v1/jobs?pipeline=noop&in_flight=1', lines(), {'Content-Type': JSONL})
            document, seconds = answer.json(), time.monotonic() - began
            self.post(f'/v1/jobs/{document["id"]}/cancel', None, None).body()
        finally:
            watching[0] = False
            watcher.join()
        self.assertEqual((answer.status, document['total_batches']), (202, LINES))
        print(f'    {LINES} lines in {seconds:.1f} s: resident memory grew by {(highest[0] - before) / 1024:.1f} MiB at its highest')
        self.assertLess(highest[0] - before, LINES * 16 / 1024 + 48 * 1024)


if __name__ == '__main__':
    unittest.main()
