"""The seed face, whole: routes, headers, limits, the order of events, errors in the middle, hostile names."""
import json
import os
import socket
import sqlite3
import time
import unittest

from rivulet_server import BOUNDARY, Rivulet, form, image

ALONE = 'parallel work has a bar of 1.2 s'

SEED_EVENTS = ('progress', 'result', 'error', 'complete')


class SeedFace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=4)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def refused(self, answer, status, *words):
        problem = answer.json()
        self.assertEqual(answer.status, status, problem)
        self.assertEqual(answer.header('Content-Type'), 'application/problem+json')
        self.assertEqual(problem['status'], status)
        for word in words:
            self.assertIn(word, problem['detail'])
        self.assertEqual(answer.header('Access-Control-Allow-Origin'), '*')

    # ---- streams ----

    def test_a_stream_has_its_headers_and_its_job(self):
        answer = self.server.post('/api/process-batch-stream', [image()])
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header('Content-Type'), 'text/event-stream')
        self.assertEqual(answer.header('Cache-Control'), 'no-cache')
        self.assertEqual(answer.header('X-Accel-Buffering'), 'no')
        self.assertEqual(answer.header('Connection'), 'keep-alive')
        self.assertEqual(answer.header('Access-Control-Allow-Origin'), '*')
        self.assertEqual(answer.header('Location'), '/v1/jobs/' + answer.job)
        answer.frames()

    def test_events_come_in_order_with_an_error_in_the_middle(self):
        answer = self.server.post('/process-batch-stream', [image('0.jpg', accuracy=90), image('1.jpg', fail='no deck in it'), image('2.jpg', accuracy=80),
                                                            image('3.txt', b'hello', 'text/plain')])
        frames = answer.frames()
        self.assertEqual([frame.event for frame in frames],
                         ['progress', 'progress', 'result', 'progress', 'progress', 'error', 'progress', 'progress', 'result',
                          'progress', 'error', 'complete'])
        self.assertEqual(frames[0].data, {'current': 1, 'total': 4, 'filename': '0.jpg', 'status': 'validating'})
        self.assertEqual(frames[1].data, {'current': 1, 'total': 4, 'filename': '0.jpg', 'status': 'processing'})
        self.assertEqual({name: frames[2].data[name] for name in ('index', 'filename')}, {'index': 0, 'filename': '0.jpg'})
        self.assertIn('bytes', frames[2].data['decklist'])
        self.assertEqual(frames[5].data, {'index': 1, 'filename': '1.jpg', 'error': 'no deck in it', 'error_type': 'processing'})
        self.assertEqual(frames[10].data, {'index': 3, 'filename': '3.txt', 'error': 'File must be an image (JPG/PNG)', 'error_type': 'validation'})
        end = frames[-1].data
        self.assertGreater(end.pop('processing_time_seconds'), 0)
        self.assertEqual(end, {'total': 4, 'successful': 2, 'failed': 2, 'average_accuracy': 85})
        current = [frame.data['current'] for frame in frames if frame.event == 'progress']
        self.assertEqual(current, sorted(current))

    def test_frames_are_what_simple_parsers_survive(self):
        answer = self.server.post('/process-batch-stream', [image('易.jpg'), image(fail='x'), image('a', b'', 'text/plain')])
        answer.frames()
        self.assertNotIn(b'\r', answer.raw)
        self.assertIn('易.jpg'.encode(), answer.raw)
        for raw in answer.raw.decode().split('\n\n')[:-1]:
            lines = raw.split('\n')
            self.assertIn(lines[0].removeprefix('event: '), SEED_EVENTS)
            json.loads(lines[1].removeprefix('data: '))
            self.assertRegex('\n'.join(lines[2:]), r'^(id: \d+-\d+)?$')

    def test_the_first_result_comes_before_item_2_starts(self):
        answer = self.server.post('/process-batch-stream', [image(), image(sleep_ms=300), image(sleep_ms=300)])
        answer.until('result')
        document = self.server.document(answer.job)
        self.assertEqual((document['batches_completed'], document['batches_processing'] + document['batches_pending']), (1, 2))
        self.assertGreaterEqual(document['batches_pending'], 1)
        order = [(frame.event, frame.data.get('current', frame.data.get('index', -1) + 1)) for frame in answer.frames()]
        self.assertLess(order.index(('result', 2)), order.index(('progress', 3)))

    def test_fast_runs_in_parallel_and_results_come_as_they_are_ready(self):
        began = time.monotonic()
        answer = self.server.post('/process-batch-fast', [image(sleep_ms=ms) for ms in (600, 150, 300, 450)])
        frames = answer.frames()
        self.assertLess(time.monotonic() - began, 1.2)
        self.assertEqual([frame.data['index'] for frame in frames if frame.event == 'result'], [1, 2, 3, 0])
        self.assertEqual(frames[-1].event, 'complete')

    def test_fast_never_waits_for_a_group(self):
        """Four slots and a slow one: the other three take the rest, one after another."""
        answer = self.server.post('/process-batch-fast', [image(sleep_ms=800)] + [image(sleep_ms=100)] * 8)
        results = [frame.data['index'] for frame in answer.frames() if frame.event == 'result']
        self.assertEqual(results[-1], 0)

    def test_a_worker_that_dies_costs_its_item_only(self):
        answer = self.server.post('/process-batch-stream', [image(), image(crash=True), image()])
        frames = answer.frames()
        self.assertEqual([(frame.event, frame.data['index']) for frame in frames if 'index' in frame.data],
                         [('result', 0), ('error', 1), ('result', 2)])
        self.assertEqual(frames[-1].data['failed'], 1)

    def test_a_large_result_is_inline(self):
        answer = self.server.post('/process-batch-stream', [image(pad=400000), image()])
        frames = answer.frames()
        result = next(frame for frame in frames if frame.event == 'result')
        self.assertEqual(len(result.data['decklist']['pad']), 400000)
        self.assertEqual(frames[-1].data['successful'], 2)
        job = self.server.events(answer.job).frames()
        result = next(frame for frame in job if frame.event == 'result')
        self.assertEqual(result.data['type'], 'application/json')
        content = self.server.get(result.data['result_url']).body()
        self.assertEqual(len(content), result.data['bytes'])
        self.assertEqual(len(json.loads(content)['pad']), 400000)

    def test_staged_progress(self):
        frames = self.server.post('/process-stream', [image('a.jpg', hints=True)], 'file').frames()
        stages = [(frame.event, frame.data.get('status'), frame.data.get('progress')) for frame in frames]
        self.assertEqual(stages, [('progress', 'starting', 0), ('progress', 'ocr', 20), ('progress', 'matching', 70),
                                  ('result', None, None), ('complete', 'complete', 100)])
        self.assertTrue(all(frame.data['message'] for frame in frames if frame.event == 'progress'))
        self.assertIn('decklist', frames[3].data)
        self.assertIsNone(frames[1].id)

    # ---- blocking ----

    def test_process_gives_the_result_alone(self):
        answer = self.server.post('/process', [image()], 'file')
        self.assertEqual(answer.status, 200)
        self.assertIn('bytes', answer.json())
        self.assertEqual(self.server.document(answer.job)['status'], 'completed')

    def test_process_refuses(self):
        self.refused(self.server.post('/process', [image('a.txt', b'text', 'text/plain')], 'file'), 400, 'File must be an image (JPG/PNG)')
        self.refused(self.server.post('/process', [image(content=b'\xff\xd8\xff' + bytes(11 << 20))], 'file'), 400,
                     'File size (11.0MB) exceeds maximum (10MB)')
        self.refused(self.server.post('/process', [image(fail='blurred', error_type='validation')], 'file'), 400, 'blurred')
        self.refused(self.server.post('/process', [image(fail='cut off')], 'file'), 422, 'cut off')
        self.refused(self.server.post('/process', [image()], 'files'), 422, 'file')

    def test_a_batch_answers_once_with_its_results_in_order(self):
        answer = self.server.post('/process-batch', [image('0', sleep_ms=200, accuracy=100), image('1', fail='no'), image('2', accuracy=50)])
        self.assertEqual(answer.status, 200)
        batch = answer.json()
        self.assertEqual((batch['total'], batch['successful'], batch['failed'], batch['average_accuracy']), (3, 2, 1, 75))
        self.assertEqual([(result['index'], result['filename']) for result in batch['results']], [(0, '0'), (2, '2')])
        self.assertEqual(batch['errors'], [{'index': 1, 'filename': '1', 'error': 'no', 'error_type': 'processing'}])

    def test_a_batch_without_success_has_no_average(self):
        self.assertIsNone(self.server.post('/process-batch', [image(fail='no')]).json()['average_accuracy'])

    # ---- limits ----

    def test_too_many_files_are_refused_before_any_work(self):
        before = self.events_stored()
        self.refused(self.server.post('/process-batch-stream', [image()] * 15), 400, 'Maximum 10 images per batch (received 15)')
        self.assertEqual(self.events_stored(), before)

    def events_stored(self):
        path = next(os.path.join(self.server.dir, name) for name in os.listdir(self.server.dir) if not name.endswith(('-wal', '-shm'))
                    and os.path.isfile(os.path.join(self.server.dir, name)) and self.is_sqlite(os.path.join(self.server.dir, name)))
        connection = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
        try:
            return connection.execute('SELECT count(*) FROM event').fetchone()[0]
        finally:
            connection.close()

    @staticmethod
    def is_sqlite(path):
        with open(path, 'rb') as file:
            return file.read(15) == b'SQLite format 3'

    def test_no_file_is_422(self):
        self.refused(self.server.post('/process-batch', [image()], 'other'), 422, 'files')
        self.refused(self.server.ask('POST', '/process-batch-stream', b'', {}), 422, 'files')
        self.refused(self.server.ask('POST', '/process-batch', b'{}', {'Content-Type': 'application/json'}), 422, 'files')

    def test_a_form_without_a_boundary_is_refused(self):
        self.refused(self.server.ask('POST', '/process-batch', b'x', {'Content-Type': 'multipart/form-data'}), 400)

    def test_a_file_too_large_is_an_error_in_its_turn(self):
        large = image('large.jpg', b'\xff\xd8\xff' + bytes(11 * 1024 * 1024))
        frames = self.server.post('/process-batch-stream', [image('a.jpg'), large, image('b.jpg')]).frames()
        error = next(frame for frame in frames if frame.event == 'error')
        self.assertEqual(error.data, {'index': 1, 'filename': 'large.jpg', 'error': 'File size (11.0MB) exceeds maximum (10MB)',
                                      'error_type': 'validation'})
        self.assertEqual([frame.data['index'] for frame in frames if frame.event == 'result'], [0, 2])

    def test_what_has_no_type_is_known_by_its_first_bytes(self):
        png = b'\x89PNG\r\n\x1a\n' + bytes(50)
        files = [image('a', png, ''), image('b', png, 'application/octet-stream'), image('c', b'GIF89a' + bytes(50), 'application/octet-stream'),
                 image('d', b'', 'image/png')]
        frames = self.server.post('/process-batch-stream', files).frames()
        self.assertEqual([(frame.event, frame.data['index']) for frame in frames if 'index' in frame.data],
                         [('result', 0), ('result', 1), ('error', 2), ('error', 3)])

    def test_missing_and_hostile_names_are_only_data(self):
        names = [None, '', '../../etc/passwd', 'C:\\boot.ini', 'quo"te.jpg', '易.jpg', '%2e%2e%2f.jpg', 'a' * 300 + '.jpg', '<b>.jpg', "';--"]
        frames = self.server.post('/process-batch-stream', [image(name) for name in names]).frames()
        shown = [frame.data['filename'] for frame in frames if frame.event == 'result']
        self.assertEqual(shown[:2], ['image_0.jpg', 'image_1.jpg'])
        self.assertEqual(shown[2], '../../etc/passwd')
        self.assertIn(shown[3], ('C:\\boot.ini', 'C:boot.ini'))
        self.assertEqual(shown[4:7], ['quo"te.jpg', '易.jpg', '%2e%2e%2f.jpg'])
        self.assertTrue(shown[7].startswith('a' * 200) and shown[7].endswith('…') and len(shown[7].encode()) <= 255)
        self.assertEqual(shown[8:], ['<b>.jpg', "';--"])
        for _, _, names in os.walk(self.server.dir):
            self.assertFalse([name for name in names if 'passwd' in name or 'boot' in name])

    def test_a_name_with_a_newline_is_one_line_of_data(self):
        body = form([image('x.jpg')]).replace(b'filename="x.jpg"', b"filename*=UTF-8''a%0Ab%0D.jpg")
        answer = self.server.ask('POST', '/process-batch-stream', body, {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})
        for frame in answer.frames():
            self.assertNotIn('\r', frame.raw.decode())

    def test_an_upload_that_is_cut_off_creates_nothing(self):
        before = self.events_stored()
        body = form([image(), image()])
        head = (f'POST /process-batch-stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n'
                f'Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n').encode()
        for cut in range(0, len(body), 29):
            with socket.create_connection(('127.0.0.1', self.server.port)) as sock:
                sock.sendall(head + body[:cut])
        short = body[:-len(BOUNDARY) - 6]
        self.refused(self.server.ask('POST', '/process-batch', short, {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'}), 400, 'cut off')
        self.assertEqual(self.server.get('/health').status, 200)
        self.assertEqual(self.events_stored(), before)

    # ---- the rest ----

    def test_three_prefixes_answer_alike(self):
        for path in ('/health', '/stats'):
            self.assertEqual(len({self.server.get(prefix + path).body() for prefix in ('', '/api', '/api/v1')}), 1)
        for prefix in ('', '/api', '/api/v1'):
            for path, field in (('/process', 'file'), ('/process-batch', 'files'), ('/process-batch-stream', 'files'),
                                ('/process-batch-fast', 'files'), ('/process-stream', 'file')):
                answer = self.server.post(prefix + path, [image()], field)
                self.assertEqual(answer.status, 200, prefix + path)
                answer.body()

    def test_health_and_stats_have_their_fields(self):
        health = self.server.get('/health').json()
        self.assertEqual(set(health) - {'notice'}, {'status', 'service', 'version', 'matcher_loaded', 'total_cards_in_db'})
        self.assertIn(health['status'], ('healthy', 'degraded'))
        stats = self.server.get('/stats').json()
        self.assertEqual(set(stats['matcher']), {'total_cards', 'base_names', 'supported_languages'})
        self.assertEqual(set(stats['parser']), {'ocr_engines', 'supported_formats', 'max_file_size_mb', 'use_gpu'})
        self.assertEqual((stats['parser']['max_file_size_mb'], stats['workers']['max_workers']), (10, 4))

    def test_health_answers_at_once_while_every_worker_is_busy(self):
        answer = self.server.post('/process-batch-fast', [image(sleep_ms=700)] * 8)
        answer.until('progress')
        times = []
        for _ in range(50):
            began = time.monotonic()
            self.server.get('/health').body()
            times.append(time.monotonic() - began)
        self.assertLess(sorted(times)[-2], 0.05)
        answer.frames()

    def test_the_index_is_a_page_for_browsers_and_json_for_others(self):
        index = self.server.get('/').json()
        self.assertEqual(index['endpoints']['process_single'], '/process')
        self.assertEqual(set(index), {'service', 'version', 'status', 'endpoints'})
        page = self.server.get('/', Accept='text/html,application/xhtml+xml')
        self.assertIn('text/html', page.header('Content-Type'))
        policy = page.header('Content-Security-Policy')
        self.assertNotIn('unsafe', policy)
        content = page.body().decode()
        for name, media in (('style.css', 'text/css'), ('app.js', 'text/javascript')):
            self.assertIn('/assets/' + name, content)
            self.assertIn(media, self.server.get('/assets/' + name).header('Content-Type'))
        self.assertNotIn('://', content)
        self.assertEqual(self.server.get('/assets/other').status, 404)

    def test_the_docs_list_every_route(self):
        paths = self.server.get('/openapi.json').json()['paths']
        for path in ('/process', '/process-batch', '/process-batch-stream', '/process-batch-fast', '/process-stream', '/health', '/stats',
                     '/v1/jobs/{id}', '/v1/jobs/{id}/events'):
            self.assertIn(path, paths)
        for path in ('/docs', '/redoc'):
            self.assertEqual(self.server.get(path).status, 200)

    def test_unknown_routes_and_methods(self):
        self.refused(self.server.get('/nothing'), 404)
        self.refused(self.server.get('/process'), 405)

    def test_preflight_and_cors_are_everywhere(self):
        for path in ('/process-batch-stream', '/api/health', '/v1/jobs/x/events'):
            answer = self.server.ask('OPTIONS', path, headers={'Origin': 'http://page', 'Access-Control-Request-Method': 'POST'})
            self.assertIn(answer.status, (200, 204))
            self.assertEqual(answer.header('Access-Control-Allow-Origin'), '*')
            self.assertTrue(answer.header('Access-Control-Allow-Methods'))
        self.assertIn('X-Job-Id', self.server.get('/health').header('Access-Control-Expose-Headers'))


class SmallSeedFace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(MAX_BODY_MB=1, MAX_BATCH_SIZE=2, MAX_FILE_SIZE_MB=1, RIVULET_ACCEPT_TEXT='true')

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def test_fast_is_refused_while_parallel_is_off(self):
        answer = self.server.post('/process-batch-fast', [image()])
        self.assertEqual(answer.status, 400)
        self.assertIn('/process-batch-stream', answer.json()['detail'])

    def test_a_body_above_the_limit_is_413(self):
        body = form([image(content=bytes(1 << 20))])
        answer = self.server.ask('POST', '/process-batch', body, {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})
        self.assertEqual(answer.status, 413)
        self.assertEqual(answer.json()['status'], 413)

    def test_the_limits_name_their_numbers(self):
        self.assertEqual(self.server.post('/process-batch', [image()] * 3).json()['detail'], 'Maximum 2 images per batch (received 3)')

    def test_text_is_taken_when_it_may_be(self):
        batch = self.server.post('/process-batch', [image('a.txt', media='text/plain; charset=utf-8'), image('b.exe', media='text/plain')]).json()
        self.assertEqual((batch['successful'], batch['failed']), (1, 1))
