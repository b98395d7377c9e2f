"""What those who run a server look at: /livez, /readyz, /metrics, the log lines, and a trace that goes with its job."""
import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import unittest

from rivulet_server import PROGRAM, Rivulet, form, image, BOUNDARY
from runs import children_of, until

TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
REQUESTS, PATH = 3500, '/' + 'x' * 190
METRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'


class Exposition:
    """A strict reader of OpenMetrics 1.0 text, as far as this server writes it."""
    NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
    NUMBER = r'[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|Inf)|NaN'
    META = re.compile(rf'# (TYPE|UNIT|HELP) ({NAME}) (.+)')
    LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
    SAMPLE = re.compile(rf'({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? ({NUMBER})')
    SUFFIXES = {'counter': ['_total', '_created'], 'gauge': [''], 'info': ['_info'], 'histogram': ['_bucket', '_sum', '_count', '_created']}

    def __init__(self, text):
        assert text.endswith('# EOF\n') and text.count('# EOF') == 1
        self.types, self.units, self.helps, self.samples = {}, {}, {}, {}
        family = None
        for line in text[:-len('# EOF\n')].split('\n')[:-1]:
            meta = self.META.fullmatch(line)
            if meta:
                kind, name, value = meta.groups()
                table = {'TYPE': self.types, 'UNIT': self.units, 'HELP': self.helps}[kind]
                assert name not in table, f'{kind} twice: {name}'
                if name != family:
                    assert kind == 'TYPE' and name not in self.helps, f'families are mixed at {line!r}'
                    family = name
                if kind == 'UNIT':
                    assert name.endswith('_' + value), line
                if kind == 'TYPE':
                    assert value in self.SUFFIXES, line
                table[name] = value
                continue
            sample = self.SAMPLE.fullmatch(line)
            assert sample, f'no sample: {line!r}'
            name, labels, number = sample.groups()
            assert name[len(family):] in self.SUFFIXES[self.types[family]] and name.startswith(family), f'{line!r} in family {family}'
            one = (name, labels or '')
            assert one not in self.samples, f'twice: {line!r}'
            self.samples[one] = float(number)
            if self.types[family] in ('counter', 'histogram'):
                assert self.samples[one] >= 0
        for name in self.types:
            assert self.helps.get(name), f'{name} has no help'
            if self.types[name] == 'histogram':
                self.check_histogram(name)

    def check_histogram(self, name):
        series = {}
        for (sample, labels), value in self.samples.items():
            if sample == name + '_bucket':
                rest, bound = re.fullmatch(r'(.*?),?le="([^"]+)"', labels).groups()
                assert bound == '+Inf' or '.' in bound or 'e' in bound, f'le="{bound}" is not canonical'
                series.setdefault(rest, []).append((float(bound), value))
        for rest, buckets in series.items():
            assert buckets == sorted(buckets) and buckets[-1][0] == float('inf')
            assert [count for _, count in buckets] == sorted(count for _, count in buckets)
            assert buckets[-1][1] == self.samples[name + '_count', rest]
            assert (name + '_sum', rest) in self.samples

    def __getitem__(self, name):
        name, _, labels = name.partition('{')
        return self.samples[name, labels.rstrip('}')]


def lines_of(server):
    with open(os.path.join(server.top, 'stderr'), encoding='utf-8') as file:
        return [json.loads(line) for line in file.read().splitlines()]


def said(server, msg, **fields):
    return [line for line in lines_of(server) if line['msg'] == msg and all(line.get(name) == value for name, value in fields.items())]


class Case(unittest.TestCase):
    def serve(self, **settings):
        server = Rivulet(**settings)
        self.addCleanup(server.close)
        until(lambda: server.get('/readyz').status == 200)
        return server

    def metrics(self, server):
        answer = server.get('/metrics')
        self.assertEqual((answer.status, answer.header('Content-Type')), (200, METRICS_TYPE))
        return Exposition(answer.body().decode())


class Health(Case):
    def test_alive_is_not_ready(self):
        server = self.serve(MAX_WORKERS=1)
        self.assertEqual(server.get('/readyz').json(), {'status': 'ready', 'reasons': []})

        def kill_workers():
            """Again and again, for they are replaced; later ones only after a pause."""
            for child in children_of(server.process.pid):
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            answer = server.get('/readyz')
            told = answer.json()
            return answer.status == 503 and told
        told = until(kill_workers)
        self.assertEqual(told, {'status': 'not ready', 'reasons': ['no worker is ready']})
        self.assertEqual(server.get('/livez').json(), {'status': 'alive'})
        until(lambda: server.get('/readyz').status == 200)

    def test_a_server_that_goes_down_says_so(self):
        """On three connections a second request stands behind a stream, and its turn comes when the server goes down."""
        server = self.serve()
        job = server.ask('POST', '/v1/jobs?pipeline=decklists&open=1').job
        told = []
        with contextlib.ExitStack() as stack:
            socks = []
            for late in (f'/v1/jobs/{job}/events', f'/v1/events?job={job}', '/readyz'):
                sock = stack.enter_context(socket.create_connection(('127.0.0.1', server.port), timeout=20))
                sock.sendall(b''.join(f'GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode() for path in (f'/v1/jobs/{job}/events', late)))
                seen = b''
                while b'retry: 1000' not in seen:
                    seen += sock.recv(65536)
                socks.append((sock, seen))
            server.process.send_signal(signal.SIGTERM)
            for sock, seen in socks:
                while piece := sock.recv(65536):
                    seen += piece
                told.append(seen)
        farewell = b': the server is going down, come back\nretry: 1000\n\n'
        for seen in told[:2]:      # an EventSource comes back after an answer of 200, and after no other
            self.assertEqual((seen.count(b'HTTP/1.1 200 '), seen.count(b'HTTP/1.1 '), seen.count(farewell)), (2, 2, 2))
        self.assertEqual((told[2].count(b'HTTP/1.1 503 '), told[2].count(farewell)), (1, 1))
        self.assertIn(b'"reasons":["the server is going down"]', told[2])
        self.assertEqual(server.process.wait(20), 0)


class Metrics(Case):
    def test_the_numbers_are_open_metrics_and_true(self):
        server = self.serve(ENABLE_PARALLEL='true', MAX_WORKERS=2)
        before = self.metrics(server)
        for family in ('rivulet_items_pending', 'rivulet_oldest_pending_seconds', 'rivulet_items', 'rivulet_jobs', 'rivulet_leg_seconds', 'rivulet_streams',
                       'rivulet_frames_delivered', 'rivulet_stream_lag_events', 'rivulet_slow_readers_closed', 'rivulet_fsync_seconds',
                       'rivulet_outcomes_fenced', 'process_resident_memory_bytes', 'rivulet_memory_taken_bytes', 'process_open_fds', 'rivulet_http_requests',
                       'rivulet_records', 'rivulet_calls', 'rivulet_calls_open', 'rivulet_calls_waiting', 'rivulet_pauses', 'rivulet_paused',
                       'rivulet_readers_behind', 'rivulet_webhooks', 'rivulet_mirror'):
            self.assertIn(family, before.types)
        self.assertEqual(before['rivulet_items_total{outcome="done"}'], 0)
        batch = server.post('/process-batch', [image(), image(fail='broken'), image(content=b'no image', media='text/plain')]).json()
        self.assertEqual((batch['successful'], batch['failed']), (1, 2))
        waiting = server.post('/process-batch-stream', [image(sleep_ms=60000), image(), image()])
        waiting.until('progress')
        until(lambda: self.metrics(server)['rivulet_items_processing'] == 1)
        now = self.metrics(server)
        self.assertEqual(now['rivulet_items_total{outcome="done"}'], 1)
        self.assertEqual(now['rivulet_items_total{outcome="failed"}'], 2)
        self.assertEqual(now['rivulet_items_pending'], 2)
        self.assertEqual((now['rivulet_jobs{state="running"}'], now['rivulet_jobs_created_total']), (1, 2))
        self.assertEqual(now['rivulet_jobs_ended_total{state="completed"}'], 1)
        self.assertEqual((now['rivulet_streams'], now['rivulet_workers{state="busy"}']), (1, 1))
        self.assertGreaterEqual(now['rivulet_frames_delivered_total'], 1)
        self.assertGreaterEqual(now['rivulet_leg_seconds_count{leg="0"}'], 1)
        self.assertGreater(now['rivulet_fsync_seconds_sum'], before['rivulet_fsync_seconds_sum'])
        self.assertGreater(now['rivulet_http_requests_total{class="2xx"}'], before['rivulet_http_requests_total{class="2xx"}'])
        self.assertGreater(now['process_resident_memory_bytes'], 1 << 20)
        self.assertLess(now['rivulet_memory_taken_bytes'], now['process_resident_memory_bytes'])
        server.ask('POST', f'/v1/jobs/{waiting.job}/cancel').body()
        waiting.leave()
        until(lambda: self.metrics(server)['rivulet_streams'] == 0)
        now = self.metrics(server)
        self.assertEqual(now['rivulet_items_total{outcome="skipped"}'], 3)
        self.assertEqual((now['rivulet_items_pending'], now['rivulet_oldest_pending_seconds']), (0, 0))
        self.assertEqual(now['rivulet_jobs_ended_total{state="cancelled"}'], 1)

    def test_every_shape_of_stream_is_counted_while_it_is_open(self):
        server = self.serve()
        live = server.post('/process-batch-stream', [image(sleep_ms=60000), image()])
        live.until('progress')
        path = f'/v1/jobs/{live.job}'
        lines = {'Accept': 'application/x-ndjson'}
        others = [server.get(f'/v1/events?job={live.job}'), server.get(path + '/events', **lines), server.get(path + '/results?follow=1')]
        poll = socket.create_connection(('127.0.0.1', server.port), timeout=20)
        poll.sendall(f'GET {path}/events?wait=60&after=end HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
        until(lambda: self.metrics(server)['rivulet_streams'] == 5)
        before = self.metrics(server)['rivulet_streams_opened_total']
        server.get(path + '/results').body()
        server.get(path + '/events?wait=0').body()
        now = self.metrics(server)
        self.assertEqual((now['rivulet_streams'], now['rivulet_streams_opened_total']), (5, before))
        poll.close()
        for other in others:
            other.leave()
        until(lambda: self.metrics(server)['rivulet_streams'] == 1)
        server.ask('POST', path + '/cancel').body()
        live.leave()
        until(lambda: self.metrics(server)['rivulet_streams'] == 0)

    def test_a_worker_that_dies_is_counted_and_told(self):
        server = self.serve(RIVULET_LOG='json')
        answer = server.post('/process-batch', [image(crash=True)])
        self.assertEqual(answer.json()['failed'], 1)
        self.assertEqual(self.metrics(server)['rivulet_worker_losses_total{why="crash"}'], 2)       # the pipeline makes two attempts
        lost = said(server, 'worker lost', job=answer.job)
        self.assertEqual([(line['level'], line['item'], line['attempt']) for line in lost], [('warn', 0, 1), ('warn', 0, 2)])

    def test_labels_do_not_grow_with_jobs(self):
        server = self.serve()
        server.post('/process-batch', [image()]).body()
        names = set(self.metrics(server).samples)
        for i in range(5):
            server.post('/process-batch', [image(name=f'{i}.jpg')]).body()
        server.get(f'/nowhere/{"x" * 50}').body()
        self.assertEqual(set(self.metrics(server).samples), names)


class Journal(Case):
    def test_a_line_a_request_and_two_a_job(self):
        server = self.serve(RIVULET_LOG='json')
        answer = server.ask('POST', '/process-batch?on_disconnect=cancel&secret=canary', form([image(), image(fail='broken')]),
                            {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}', 'traceparent': TRACE})
        self.assertEqual(answer.json()['failed'], 1)
        job = answer.job
        request, = until(lambda: said(server, 'request', path='/process-batch'))
        self.assertEqual((request['method'], request['status'], request['end'], request['job'], request['level']), ('POST', 200, 'done', job, 'info'))
        self.assertEqual(request['trace_id'], TRACE.split('-')[1])
        self.assertRegex(request['time'], r'\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z')
        self.assertRegex(request['peer'], r'\A127\.0\.0\.1:\d+\Z')
        self.assertGreater(request['bytes'], 200)
        self.assertTrue(0 < request['seconds'] < 10)
        made, = said(server, 'job made', job=job)
        self.assertEqual((made['owner'], made['pipeline'], made['items'], made['trace']), ('local', 'decklists', 2, TRACE))
        ended, = said(server, 'job ended', job=job)
        self.assertEqual((ended['status'], ended['items'], ended['completed'], ended['failed'], ended['skipped']), ('completed', 2, 1, 1, 0))
        gone = server.get(f'/v1/jobs/{job}/events?after=1')
        gone.frames()
        until(lambda: said(server, 'request', path=f'/v1/jobs/{job}/events', job=job, end='done'))
        self.assertEqual(server.get('/nowhere').status, 404)
        until(lambda: said(server, 'request', path='/nowhere', status=404))
        self.assertNotIn('canary', json.dumps(lines_of(server)))

    def test_what_is_no_request_gets_a_line_that_is_json(self):
        server = self.serve(RIVULET_LOG='json')
        for junk in (b'\x00\xff nonsense\r\n\r\n', b'GET /"\\\x01 HTTP/1.1\r\nHost: x\r\n\r\n', b'GET /%22%5c%00?a=%22 HTTP/1.1\r\nHost: localhost\r\n\r\n'):
            with socket.create_connection(('127.0.0.1', server.port)) as sock:
                sock.sendall(junk)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
        until(lambda: len(said(server, 'request', status=400)) >= 2)

    def test_text_and_off_say_nothing_of_requests(self):
        for mode in ('text', 'off'):
            server = self.serve(RIVULET_LOG=mode)
            server.post('/process-batch', [image()]).body()
            self.assertEqual(server.stop(), 0)
            lines = [line for line in server.complaints().splitlines() if '--user NAME gives that up' not in line]     # root is told
            self.assertEqual(lines, [])

    def test_nobody_reads_the_lines_and_the_server_does_not_care(self):
        server = self.serve(RIVULET_LOG='json')
        server.stop()
        errors, into = os.pipe()
        process = subprocess.Popen([PROGRAM, 'serve'], env={**server.env, 'RIVULET_LOG': 'json'}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=into)
        os.close(into)
        server.process = process
        server.errors = open(os.devnull, 'rb')
        port = int(process.stdout.readline().decode().rsplit(':', 1)[1])
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
        for _ in range(REQUESTS):        # far more than a pipe and the server's own room hold
            connection.request('GET', PATH)
            connection.getresponse().read()
        connection.close()
        os.set_blocking(errors, False)
        text = b''

        def drained():
            nonlocal text
            while select.select([errors], [], [], 0)[0]:
                piece = os.read(errors, 1 << 20)
                if not piece:
                    return True
                text += piece
            return b'lines were dropped' in text and text.endswith(b'\n')
        until(drained)
        process.terminate()
        self.assertEqual(process.wait(20), 0)
        process.stdout.close()
        until(drained)
        os.close(errors)
        lines = [json.loads(line) for line in text.decode().splitlines()]
        dropped = sum(line['count'] for line in lines if line['msg'] == 'lines were dropped')
        self.assertGreater(dropped, 0)
        self.assertEqual(dropped + sum(line.get('path') == PATH for line in lines), REQUESTS)


class Traces(Case):
    def trace_of(self, server, header):
        headers = {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}', **({'traceparent': header} if header is not None else {})}
        job = server.ask('POST', '/v1/jobs?pipeline=decklists', form([image()]), headers)
        self.assertEqual(job.status, 202)
        return server.document(job.job).get('trace')

    def test_a_traceparent_is_kept_when_it_is_one(self):
        server = self.serve()
        self.assertEqual(self.trace_of(server, TRACE), TRACE)
        self.assertEqual(self.trace_of(server, 'cc' + TRACE[2:] + '-what-comes-later'), 'cc' + TRACE[2:])
        bad = [None, '', 'x', TRACE + '-more', TRACE[:-1], TRACE.upper(), 'ff' + TRACE[2:], '00-' + '0' * 32 + TRACE[35:], TRACE[:36] + '0' * 16 + '-01',
               TRACE.replace('-', '_'), TRACE[:-2] + 'zz']
        for header in bad:
            self.assertIsNone(self.trace_of(server, header), header)
        self.assertEqual(server.stop(), 0)
        server.start()

    def test_workers_are_told_of_it(self):
        server = self.serve()
        for header in (TRACE, None):
            job = server.ask('POST', '/v1/jobs?pipeline=decklists', form([image(trace=True)]),
                             {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}', **({'traceparent': header} if header else {})}).job
            server.wait_for(job, 'completed')
            self.assertEqual(server.get(f'/v1/jobs/{job}/items/0/result').json(), header or '')


if __name__ == '__main__':
    unittest.main()
