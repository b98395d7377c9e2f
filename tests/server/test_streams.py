"""Streams over time: resuming, gaps, both faces, silence, clients that leave, servers that stop and die."""
import os
import random
import signal
import socket
import sqlite3
import time
import unittest

from rivulet_server import Rivulet, image

ALONE = 'to notice a reader that leaves has a bar of a second'

FILES = [image('0.jpg', accuracy=70), image('1.jpg', fail='bad'), image('2.txt', b'x', 'text/plain'), image('3.jpg', retry='again'), image('4.jpg')]

HEARTBEAT = b'event: heartbeat\ndata: {}\n\n'


def behind(raw, last):
    return raw.split(f'\nid: {last}\n\n'.encode(), 1)[1]


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(RIVULET_HEARTBEAT_S=1)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def test_a_stream_resumes_byte_for_byte_behind_every_id(self):
        live = self.server.post('/process-batch-stream', FILES)
        ids = [frame.id for frame in live.frames() if frame.id]
        replay = self.server.events(live.job, '?face=seed')
        replay.frames()
        self.assertEqual(replay.raw, live.raw)
        for last in ids[:-1]:
            rest = self.server.events(live.job, '?face=seed', last)
            rest.frames()
            self.assertEqual(rest.raw, behind(live.raw, last))
        self.assertEqual(self.server.events(live.job, '?face=seed', ids[-1]).status, 204)
        self.assertEqual(self.server.events(live.job, '?face=seed&last_event_id=' + ids[-1]).status, 204)

    def test_the_job_face_names_its_events_differently(self):
        job = self.server.post('/process-batch', FILES).job
        stream = self.server.events(job)
        frames = stream.frames()
        self.assertTrue(stream.raw.startswith(b'retry: 1000\n\n'))
        self.assertEqual(frames[0].data['state'], 'queued')
        self.assertEqual(sorted({frame.event for frame in frames}), ['complete', 'failed', 'progress', 'result'])
        self.assertIn('retrying', [frame.data.get('state') for frame in frames])
        for frame in frames:
            self.assertEqual(frame.data['job'], job)
            self.assertTrue(frame.id and frame.data['at'])
            if 'item' in frame.data:
                self.assertEqual(sum(frame.data['counts']), len(FILES))
        for place in (3, len(frames) - 2):
            rest = self.server.events(job, last=frames[place].id).frames()
            self.assertEqual([frame.raw for frame in rest], [frame.raw for frame in frames[place + 1:]])
        sequence = [int(frame.id.split('-')[1]) for frame in frames]
        self.assertEqual(sequence, list(range(sequence[0], sequence[0] + len(frames))))

    def test_after_is_taken_at_its_word(self):
        job = self.server.post('/process-batch', FILES).job
        frames = self.server.events(job).frames()
        last = int(frames[-1].id.split('-')[1])
        self.assertEqual([frame.raw for frame in self.server.events(job, f'?after={last - 2}').frames()], [frame.raw for frame in frames[-2:]])
        self.assertEqual(self.server.events(job, f'?after={last}').status, 204)
        self.assertEqual(self.server.events(job, '?after=end').status, 204)
        self.assertEqual(self.server.events(job, '?after=x').status, 400)
        self.assertEqual(self.server.events(job, '?face=x').status, 400)

    def test_another_epoch_or_an_unknown_id_is_a_gap_and_then_everything(self):
        live = self.server.post('/process-batch-stream', FILES)
        epoch, _, seq = next(frame.id for frame in live.frames() if frame.id).partition('-')
        for last in (f'{int(epoch) - 1}-{seq}', f'{epoch}-9999', 'nonsense'):
            stream = self.server.events(live.job, '?face=seed', last)
            self.assertEqual(stream.frame().event, 'gap')
            stream.raw = b''
            stream.frames()
            self.assertEqual(stream.raw, live.raw)

    def test_a_stream_at_the_tip_sees_only_what_comes(self):
        live = self.server.post('/process-batch-stream', [image(), image(sleep_ms=300)])
        live.until('result')
        tip = self.server.events(live.job, '?face=seed&after=end').frames()
        self.assertEqual([frame.event for frame in tip if frame.event != 'progress'], ['result', 'complete'])
        live.frames()

    def test_silence_is_broken_on_each_face_in_its_way(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=2500)])
        native = self.server.events(live.job)
        seen = []
        while (frame := live.frame()) is not None:
            seen.append(frame.event)
        self.assertEqual(seen[:2] + seen[-2:], ['progress', 'progress', 'result', 'complete'])
        self.assertEqual(seen[2:-2], ['heartbeat'] * len(seen[2:-2]))
        self.assertGreaterEqual(len(seen[2:-2]), 2)
        self.assertIn(b'event: heartbeat\ndata: {}\n\n', live.raw)
        native.frames()
        self.assertIn(b'\n\n: ', native.raw)
        self.assertNotIn(b'heartbeat', native.raw)

    def test_unknown_jobs_are_404(self):
        for path in ('/v1/jobs/none', '/v1/jobs/none/events', '/v1/jobs/' + '0' * 32 + '/events', '/v1/jobs/' + '0' * 32):
            answer = self.server.get(path)
            self.assertEqual(answer.status, 404)
            self.assertEqual(answer.header('Content-Type'), 'application/problem+json')
            answer.body()

    def test_the_document_has_an_etag_and_is_never_behind_the_stream(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=20) for _ in range(5)])
        while (frame := live.frame()) is not None:
            if frame.id:
                self.assertGreaterEqual(self.server.document(live.job)['seq'], int(frame.id.split('-')[1]))
        answer = self.server.get('/v1/jobs/' + live.job)
        document = answer.json()
        self.assertEqual((document['status'], document['overall_progress'], document['batches_completed']), ('completed', 100, 5))
        again = self.server.get('/v1/jobs/' + live.job, If_None_Match=answer.header('ETag'))
        self.assertEqual((again.status, again.body()), (304, b''))

    def test_a_job_goes_on_without_its_client(self):
        live = self.server.post('/process-batch-stream', [image(sleep_ms=100) for _ in range(4)])
        live.until('progress')
        live.leave()
        document = self.server.wait_for(live.job, 'completed')
        self.assertEqual(document['batches_completed'], 4)

    def test_a_job_ends_with_its_client_when_that_was_asked_for(self):
        live = self.server.post('/process-batch-stream?on_disconnect=cancel', [image('a.jpg')] + [image(f'{n}.jpg', sleep_ms=300) for n in range(5)])
        live.until('result')
        live.leave()
        document = self.server.wait_for(live.job, 'cancelled')
        self.assertGreaterEqual(document['batches_skipped'], 4)
        frames = self.server.events(live.job, '?face=seed').frames()
        self.assertEqual(frames[-1].data['successful'] + frames[-1].data['failed'], 6)
        ended = [frame.data['index'] for frame in frames if frame.event in ('result', 'error')]
        self.assertEqual(sorted(ended), list(range(6)))
        self.assertEqual(frames[-2].data, {'index': 5, 'filename': '4.jpg', 'error': 'cancelled', 'error_type': 'processing'})
        self.assertEqual(self.server.events(live.job).frames()[-1].event, 'cancelled')

    def test_a_slow_reader_gets_everything(self):
        job = self.server.post('/process-batch', [image(pad=900000) for _ in range(10)]).job
        stream = self.server.events(job, '?face=seed')
        results = [frame for frame in stream.frames() if frame.event == 'result']
        self.assertEqual([len(frame.data['decklist']['pad']) for frame in results], [900000] * 10)

    def test_a_head_request_has_no_body(self):
        job = self.server.post('/process', [image()], 'file').job
        answer = self.server.ask('HEAD', f'/v1/jobs/{job}/events')
        self.assertEqual((answer.status, answer.body()), (200, b''))


class Crowds(unittest.TestCase):
    """Many readers of one job."""

    def setUp(self):
        self.server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=60, RIVULET_HEARTBEAT_S=1)
        self.addCleanup(self.server.close)

    def open_raw(self, job, buffer=None, minor=1):
        """A stream as a bare socket, its head read away; `buffer` bytes are all that its side of the kernel takes."""
        raw = socket.socket()
        self.addCleanup(raw.close)
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.settimeout(20)
        raw.connect(('127.0.0.1', self.server.port))
        raw.sendall(f'GET /v1/jobs/{job}/events?face=seed HTTP/1.{minor}\r\nHost: localhost\r\nConnection: close\r\n\r\n'.encode())
        return raw

    def connections(self):
        return self.server.number('rivulet_http_connections')

    @staticmethod
    def content(raw):
        """All that comes until the server closes, out of its chunks if it has any."""
        pieces = []
        while piece := raw.recv(65536):
            pieces.append(piece)
        head, rest = b''.join(pieces).split(b'\r\n\r\n', 1)
        if b'chunked' not in head:
            return rest.replace(HEARTBEAT, b'')
        content = []
        while True:
            size, rest = rest.split(b'\r\n', 1)
            if not int(size, 16):
                return b''.join(content).replace(HEARTBEAT, b'')
            content.append(rest[:int(size, 16)])
            rest = rest[int(size, 16) + 2:]

    def test_all_readers_of_a_job_have_the_same_bytes_however_slow_they_are(self):
        """Some read nothing until the job has ended: their sockets are full long before, and what is kept for them is not enough."""
        files = [image(f'{n}.jpg', pad=60000, sleep_ms=10) for n in range(60)]
        live = self.server.post('/process-batch-fast', files)
        quick = [self.open_raw(live.job) for _ in range(20)]
        deaf = [self.open_raw(live.job, 4096) for _ in range(5)]
        quick.append(self.open_raw(live.job, minor=0))
        deaf.append(self.open_raw(live.job, 4096, minor=0))
        frames = live.frames()
        self.assertEqual(frames[-1].event, 'complete')
        want = self.server.events(live.job, '?face=seed')
        want.frames()
        self.assertGreater(len(want.raw), 3000000)
        for raw in quick + deaf:
            self.assertEqual(self.content(raw), want.raw)

    def test_the_server_notices_at_once_that_an_idle_reader_has_gone(self):
        live = self.server.post('/process-batch-fast', [image(sleep_ms=3000)])
        live.until('progress')
        before = self.connections()
        readers = [self.open_raw(live.job) for _ in range(30)]
        for raw in readers:
            raw.recv(65536)
        self.assertEqual(self.connections(), before + 30)
        began = time.monotonic()
        for raw in readers:
            raw.close()
        while self.connections() > before:
            self.assertLess(time.monotonic() - began, 1)
        live.frames()


class Restarts(unittest.TestCase):
    def setUp(self):
        self.server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=30)
        self.addCleanup(self.server.close)

    def test_a_server_that_is_told_to_stop_ends_its_streams_and_goes_on_later(self):
        live = self.server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=100) for n in range(6)])
        native = self.server.events(live.job)
        first = live.until('result')
        self.server.process.send_signal(signal.SIGTERM)
        seen = [first] + live.frames()
        native.frames()
        self.assertTrue(native.raw.endswith(b'retry: 1000\n\n'))
        self.assertNotIn('complete', [frame.event for frame in seen])
        self.assertEqual(self.server.process.wait(20), 0)
        self.server.start()
        last = [frame.id for frame in seen if frame.id][-1]
        rest = self.server.events(live.job, '?face=seed', last).frames()
        results = [frame.data['index'] for frame in seen + rest if frame.event == 'result']
        self.assertEqual(results, list(range(6)))
        self.assertEqual(rest[-1].event, 'complete')

    def test_a_blocking_client_is_told_where_its_job_goes_on(self):
        connection = self.server.post_later('/process-batch', [image(sleep_ms=400) for _ in range(6)])
        self.until_events(8)
        self.server.process.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        self.assertEqual(response.status, 503)
        self.assertIn(response.getheader('X-Job-Id'), response.read().decode())
        connection.close()
        self.assertEqual(self.server.process.wait(20), 0)

    def until_events(self, count):
        while self.rows('SELECT count(*) FROM event')[0][0] < count:
            pass

    def rows(self, query):
        for name in os.listdir(self.server.dir):
            path = os.path.join(self.server.dir, name)
            if os.path.isfile(path):
                with open(path, 'rb') as file:
                    if file.read(15) == b'SQLite format 3':
                        connection = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
                        try:
                            return connection.execute(query).fetchall()
                        finally:
                            connection.close()
        raise AssertionError('no log')

    def test_a_server_killed_twenty_times_loses_nothing(self):
        chance = random.Random(20)
        live = self.server.post('/process-batch-fast', [image(f'{n}.jpg', sleep_ms=40) for n in range(30)])
        job, seen, last = live.job, [], None
        for _ in range(20):
            for _ in range(chance.randrange(1, 5)):
                frame = live.frame()
                if frame is None:
                    break
                seen.append(frame)
                last = frame.id or last
            time.sleep(chance.random() * 0.03)
            self.server.kill()
            self.server.start()
            live = self.server.events(job, '?face=seed', last)
        if live.status == 200:
            seen += live.frames()
        replay = self.server.events(job, '?face=seed').frames()
        self.assertEqual([frame.raw for frame in replay if frame.id], [frame.raw for frame in seen if frame.id])
        ended = [frame.data['index'] for frame in replay if frame.event in ('result', 'error')]
        self.assertEqual(sorted(ended), list(range(30)))
        self.assertEqual(replay[-1].event, 'complete')
        self.assertEqual(replay[-1].data['successful'] + replay[-1].data['failed'], 30)
        sequence = [row[0] for row in self.rows('SELECT seq FROM event ORDER BY seq')]
        self.assertEqual(sequence, list(range(1, len(sequence) + 1)))
