"""The HTTP server alone, over raw sockets: smuggling, slow clients, pipelining, early refusals, big streams, lost clients."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

ALONE = 'the server of these tests has limits of 0.3 s'

BUILD = os.environ.get('RIVULET_BUILD', os.path.join(os.path.dirname(__file__), '..', '..', 'build'))
PROGRAM = os.path.join(BUILD, 'tests', 'server', 'http_echo')


class Server:
    def __init__(self, *settings):
        self.process = subprocess.Popen([PROGRAM, *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.split()[-1]) if line.startswith('ready') else 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        complaints = self.process.communicate(timeout=20)[1]
        if self.process.returncode != 0:
            raise AssertionError(f'ended with {self.process.returncode}: {complaints[-3000:]}')

    def connect(self, receive_bytes=0):
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(20)
        sock.connect(('127.0.0.1', self.port))
        return sock

    def say(self, data):
        """Send, and read until the server closes."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)

    def get(self, path, *headers, method='GET', body=b'', version='1.1'):
        lines = [f'{method} {path} HTTP/{version}', 'Host: localhost', 'Connection: close', *headers]
        if body:
            lines.append(f'Content-Length: {len(body)}')
        return Answer(self.say('\r\n'.join(lines).encode() + b'\r\n\r\n' + body))

    def stats(self):
        return json.loads(self.get('/stats').body)

    def wait_for(self, **wanted):
        """Until the counts are as wanted; the test's own deadline ends a wait that is in vain."""
        while True:
            stats = self.stats()
            if all(stats[name] == value for name, value in wanted.items()):
                return stats
            time.sleep(0.005)


def read_all(sock):
    parts = []
    while True:
        part = sock.recv(1 << 16)
        if not part:
            return b''.join(parts)
        parts.append(part)


class Answer:
    def __init__(self, raw):
        self.raw = raw
        head, _, self.rest = raw.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        self.status = int(lines[0].split()[1]) if lines[0] else 0
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(':') for line in lines[1:])}

    @property
    def body(self):
        return unchunk(self.rest) if self.headers.get('transfer-encoding') == 'chunked' else self.rest


def unchunk(data):
    parts = []
    while data:
        size, _, data = data.partition(b'\r\n')
        count = int(size, 16)
        assert data[count:count + 2] == b'\r\n', 'a chunk does not end with CRLF'
        parts.append(data[:count])
        data = data[count + 2:]
        if count == 0:
            return b''.join(parts)
    raise AssertionError('the last chunk is missing')


class StreamOfAnswers:
    """Answers of a keep-alive connection, one by one."""

    def __init__(self, sock):
        self.sock, self.data = sock, b''

    def more(self):
        part = self.sock.recv(65536)
        if not part:
            raise EOFError(self.data)
        self.data += part

    def next(self):
        while b'\r\n\r\n' not in self.data:
            self.more()
        head, _, rest = self.data.partition(b'\r\n\r\n')
        count = int(re.search(rb'content-length: (\d+)', head, re.I).group(1))
        while len(rest) < count:
            self.more()
            rest = self.data.partition(b'\r\n\r\n')[2]
        self.data = rest[count:]
        return Answer(head + b'\r\n\r\n' + rest[:count])


class HttpTest(unittest.TestCase):
    settings = ()

    def setUp(self):
        self.server = Server(*self.settings)
        self.addCleanup(self.server.process.kill)

    def tearDown(self):
        self.server.stop()


class Plain(HttpTest):
    def test_an_answer_and_its_headers(self):
        answer = self.server.get('/hello')
        self.assertEqual((answer.status, answer.body), (200, b'hello\n'))
        self.assertEqual(answer.headers['connection'], 'close')
        self.assertEqual(answer.headers['access-control-allow-origin'], '*')
        self.assertIn('X-Job-Id', answer.headers['access-control-expose-headers'])
        self.assertRegex(answer.headers['date'], r'^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$')

    def test_three_prefixes_answer_alike(self):
        for path in '/hello', '/api/hello', '/api/v1/hello', '/hello/', '/', '/api', '/api/', '/api/v1', 'http://localhost/hello':
            self.assertEqual(self.server.get(path).body, b'hello\n', path)
        for path in '/api/v2/hello', '/apihello', '/api/api/hello', '/hello/x', '/api/params/a/x/b', '//hello':
            self.assertEqual(self.server.get(path).status, 404, path)

    def test_problems_are_problem_json_with_cors(self):
        answer = self.server.get('/nothing%20here?x=1', 'Origin: https://example.com')
        self.assertEqual(answer.headers['content-type'], 'application/problem+json')
        self.assertEqual(answer.headers['access-control-allow-origin'], '*')
        problem = json.loads(answer.body)
        self.assertEqual((problem['status'], problem['title'], problem['type']), (404, 'Not Found', 'about:blank'))
        self.assertEqual(problem['instance'], '/nothing%20here')
        answer = self.server.get('/hello', method='DELETE')
        self.assertEqual((answer.status, answer.headers['allow']), (405, 'GET, HEAD, OPTIONS'))
        self.assertIn('detail', json.loads(answer.body))

    def test_preflight_for_every_known_path(self):
        for path, methods in ('/echo', 'POST, OPTIONS'), ('/api/v1/hello', 'GET, HEAD, OPTIONS'), ('/params/a/x/b', 'GET, HEAD, OPTIONS'):
            answer = self.server.get(path, 'Origin: https://example.com', 'Access-Control-Request-Method: POST', method='OPTIONS')
            self.assertEqual((answer.status, answer.headers['access-control-allow-methods']), (204, methods))
            self.assertIn('Last-Event-ID', answer.headers['access-control-allow-headers'])
        self.assertEqual(self.server.get('/nope', method='OPTIONS').status, 404)
        self.assertEqual(self.server.get('*', method='OPTIONS').status, 204)

    def test_head_is_get_without_the_body(self):
        for path in '/hello', '/large?bytes=100000', '/sse?ticks=0', '/stream?bytes=100000':
            answer = Answer(self.server.say(f'HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()
                                            + b'GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'))
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.rest.startswith(b'HTTP/1.1 200 OK'), path)

    def test_parameters_are_decoded(self):
        self.assertEqual(self.server.get('/params/a%2Fb/x/%e6%98%93').body.decode(), 'a/b\n易\n')
        for path in '/params/%zz/x/b', '/params/%00/x/b', '/params/a/x/%':
            self.assertEqual(self.server.get(path).status, 400, path)
        self.assertEqual(self.server.get('/params//x/b').status, 404)

    def test_openapi_lists_every_route(self):
        document = json.loads(self.server.get('/openapi.json').body)
        self.assertIn('get', document['paths']['/params/{id}/x/{n}'])
        self.assertEqual([p['name'] for p in document['paths']['/params/{id}/x/{n}']['get']['parameters']], ['id', 'n'])
        for path in '/hello', '/api/hello', '/api/v1/hello', '/upload', '/docs', '/api', '/openapi.json':
            self.assertIn(path, document['paths'])
        ids = [operation['operationId'] for path in document['paths'].values() for operation in path.values()]
        self.assertEqual(len(ids), len(set(ids)))
        for page in '/docs', '/redoc':
            text = self.server.get(page).body.decode()
            self.assertIn('/params/{id}/x/{n}', text)
            self.assertIn('Nothing &lt;more&gt;.', text)
            self.assertNotIn('http://', text.replace('http://www.w3.org', ''))
            self.assertNotIn('src=', text.split('</title>')[1].split('default-src')[0])

    def test_host_is_checked_against_rebinding(self):
        for host in 'localhost', 'LOCALHOST:1', '127.0.0.1:80', '[::1]:5':
            self.assertIn(b'200 OK', self.server.say(f'GET /hello HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n'.encode()))
        for host in 'evil.example', 'localhost.evil.example', '', '10.0.0.1':
            answer = Answer(self.server.say(f'GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n'.encode()))
            self.assertEqual((answer.status, answer.headers['content-type']), (421, 'application/problem+json'), host)

    def test_a_busy_port_gets_one_sentence(self):
        done = subprocess.run([PROGRAM, f'port={self.server.port}'], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, f'Port {self.server.port} on 127.0.0.1 is in use by another program; choose another one.\n')

    def test_http_1_0_is_closed_after_the_answer(self):
        answer = Answer(self.server.say(b'GET /hello HTTP/1.0\r\n\r\n'))
        self.assertEqual((answer.status, answer.body), (200, b'hello\n'))
        answer = Answer(self.server.say(b'GET /stream?bytes=200000 HTTP/1.0\r\n\r\n'))
        self.assertEqual(len(answer.body), 200000)
        self.assertNotIn('transfer-encoding', answer.headers)

    def test_upgrade_is_not_taken_up(self):
        answer = self.server.get('/hello', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQ', 'Connection: Upgrade, HTTP2-Settings')
        self.assertEqual(answer.body, b'hello\n')


class Bodies(HttpTest):
    def test_a_body_by_length_and_by_chunks_in_any_pieces(self):
        body = bytes(range(256)) * 20
        chunked = b''.join(b'%x\r\n%s\r\n' % (len(body[i:i + 700]), body[i:i + 700]) for i in range(0, len(body), 700)) + b'0\r\n\r\n'
        head = b'POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
        for request in (head + b'Content-Length: %d\r\n\r\n' % len(body) + body,
                        head + b'Transfer-Encoding: chunked\r\n\r\n' + chunked):
            for step in 1, 7, 1000, len(request):
                with self.server.connect() as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for i in range(0, len(request), step):
                        sock.sendall(request[i:i + step])
                    self.assertEqual(Answer(read_all(sock)).body, body)

    def test_bad_chunks_are_400(self):
        for bad in b'5\nhello\r\n0\r\n\r\n', b'zz\r\n', b'5\r\nhelloXX', b'-1\r\n', b'5\r\nhello\r\n0\r\nX: a\nb: c\r\n\r\n':
            answer = Answer(self.server.say(b'POST /count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n' + bad))
            self.assertEqual(answer.status, 400, bad)
            self.assertIn('chunks', json.loads(answer.body)['detail'])
        self.server.wait_for(refused=5)

    def test_a_body_above_the_handlers_limit_is_413_before_it_is_read(self):
        with self.server.connect() as sock:
            sock.sendall(b'POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n\r\n')
            answer = StreamOfAnswers(sock).next()
            self.assertEqual(answer.status, 413)
            self.assertIn('1000001', json.loads(answer.body)['detail'])
        answer = Answer(self.server.say(b'POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n'
                                        + b'10000\r\n' + b'x' * 65536 + b'\r\n' + (b'ffff\r\n' + b'y' * 65535 + b'\r\n') * 16))
        self.assertEqual(answer.status, 413)

    def test_content_encoding_is_refused(self):
        self.assertEqual(self.server.get('/echo', 'Content-Encoding: gzip', method='POST', body=b'x').status, 415)
        self.assertEqual(self.server.get('/echo', 'Content-Encoding: identity', method='POST', body=b'x').status, 200)

    def test_pause_holds_the_body_back_and_loses_nothing(self):
        body = os.urandom(3_000_000)
        answer = self.server.get('/count?rest_us=200', method='POST', body=body)
        self.assertEqual(json.loads(answer.body)['bytes'], len(body))

    def test_continue_is_said_when_the_handler_reads_and_only_then(self):
        head = b'HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 5\r\n\r\n'
        with self.server.connect() as sock:
            sock.sendall(b'POST /echo ' + head)
            self.assertEqual(sock.recv(100), b'HTTP/1.1 100 Continue\r\n\r\n')
            sock.sendall(b'hello')
            self.assertEqual(Answer(read_all(sock)).body, b'hello')
        with self.server.connect() as sock:
            sock.sendall(b'POST /refuse ' + head)
            self.assertEqual(StreamOfAnswers(sock).next().status, 400)

    def test_an_early_refusal_is_seen_by_a_client_that_sends_on(self):
        total = 40_000_000
        with self.server.connect() as sock:
            sock.sendall(b'POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n' % total)
            block = b'x' * 1_000_000
            for _ in range(total // len(block)):
                sock.sendall(block)
            answer = Answer(read_all(sock))
        self.assertEqual((answer.status, answer.headers['connection']), (400, 'close'))
        self.assertIn('refused', json.loads(answer.body)['detail'])

    def test_a_form_is_counted(self):
        parts = b''.join(b'--b\r\nContent-Disposition: form-data; name="files"; filename="%d.jpg"\r\n\r\n%s\r\n' % (i, b'\r\n--' * 1000)
                         for i in range(20))
        answer = self.server.get('/upload', 'Content-Type: multipart/form-data; boundary=b', method='POST', body=parts + b'--b--\r\n')
        self.assertEqual(json.loads(answer.body), {'bytes': 80000, 'parts': 20})
        answer = self.server.get('/upload', 'Content-Type: multipart/form-data; boundary=b', method='POST', body=parts)
        self.assertEqual(answer.status, 400)
        self.assertIn('cut off', json.loads(answer.body)['detail'])

    def test_a_body_that_breaks_off_is_told_to_the_handler(self):
        with self.server.connect() as sock:
            sock.sendall(b'POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc')
            self.server.wait_for(open=2)
        self.server.wait_for(gone=1, open=1)


class Smuggling(HttpTest):
    def test_what_could_be_read_two_ways_is_refused_and_the_connection_closed(self):
        corpus = [
            b'GET / HTTP/1.1\nHost: localhost\n\n', b'GET / HTTP/1.1\r\nHost: localhost\r\nA: b\nC: d\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n', b'GET / HTTP/1.1\r\nHost : localhost\r\n\r\n',
            b'GET / HTTP/1.1\r\n\r\n', b'GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: localhost\r\nA: \x00\r\n\r\n', b'GET / HTTP/1.1\r\nHost: localhost\r\nA\x0b: b\r\n\r\n',
            b'GET /\x80 HTTP/1.1\r\nHost: localhost\r\n\r\n', b'GET / HTTP/1.1 x\r\nHost: localhost\r\n\r\n', b'GET /\r\n\r\n',
            b'\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
        ] + [b'POST /echo HTTP/1.1\r\nHost: localhost\r\n' + fields + b'\r\n\r\n0\r\n\r\n' for fields in (
            b'Content-Length: 5\r\nTransfer-Encoding: chunked', b'Transfer-Encoding: chunked\r\nContent-Length: 5',
            b'Content-Length: 5\r\nContent-Length: 5', b'Content-Length: 5\r\nContent-Length: 6', b'Content-Length: 5, 5', b'Content-Length: +5',
            b'Content-Length: 0x5', b'Content-Length: 5 5', b'Content-Length: ', b'Content-Length: -5', b'Content-Length: 5.0',
            b'Transfer-Encoding: identity', b'Transfer-Encoding: chunked, chunked', b'Transfer-Encoding: gzip, chunked',
            b'Transfer-Encoding: \x0bchunked', b'Transfer-Encoding: xchunked', b'Transfer-Encoding:', b'Transfer_Encoding : chunked',
            b'Transfer-Encoding: "chunked"', b'Transfer-Encoding: chunked;x=y')]
        smuggled = b'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n'
        for request in corpus:
            for pieces in (request + smuggled,), (request[:-1], request[-1:] + smuggled):
                with self.server.connect() as sock:
                    try:
                        for piece in pieces:
                            sock.sendall(piece)
                    except OSError:
                        pass
                    raw = read_all(sock)
                self.assertTrue(raw.startswith(b'HTTP/1.1 400 Bad Request\r\n'), (request, raw))
                self.assertNotIn(b'hello\n', raw, request)
                self.assertIn('detail', json.loads(Answer(raw).body))

    def test_other_refusals_of_heads(self):
        for request, status in ((b'BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n', 501), (b'GET / HTTP/3.0\r\nHost: localhost\r\n\r\n', 505),
                                (b'GET /' + b'x' * 9000 + b' HTTP/1.1\r\nHost: localhost\r\n\r\n', 414),
                                (b'GET / HTTP/1.1\r\nHost: localhost\r\nA: ' + b'x' * 17000 + b'\r\n\r\n', 431),
                                (b'GET / HTTP/1.1\r\nHost: localhost\r\nA: ' + b'x' * 40000, 431),
                                (b'GET / HTTP/1.1\r\nHost: localhost\r\n' + b'A: b\r\n' * 101 + b'\r\n', 431),
                                (b'POST / HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n', 417)):
            self.assertEqual(Answer(self.server.say(request)).status, status)

    def test_a_chunked_body_ends_where_it_ends(self):
        answers = self.server.say(b'POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
                                  b'GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
        self.assertEqual(answers.count(b'HTTP/1.1 200 OK'), 2)
        self.assertIn(b'\r\n\r\nabcHTTP/1.1 200 OK', answers)


class Connections(HttpTest):
    def test_pipelined_requests_are_answered_in_order_one_at_a_time(self):
        paths = ['/later?ms=40', '/hello', '/params/1/x/2', '/later?ms=1', '/hello'] * 5
        with self.server.connect() as sock:
            sock.sendall(b''.join(b'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' % path.encode() for path in paths))
            answers = StreamOfAnswers(sock)
            bodies = [answers.next().body for _ in paths]
            self.assertEqual(bodies, [b'later\n', b'hello\n', b'1\n2\n', b'later\n', b'hello\n'] * 5)
            self.assertEqual(json.loads(self.server.get('/stats').body)['open'], 1)

    def test_many_pipelined_requests_behind_a_slow_one_wait_outside(self):
        count = 2000
        with self.server.connect() as sock:
            sock.sendall(b'GET /later?ms=100 HTTP/1.1\r\nHost: localhost\r\n\r\n' + b'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n' * count)
            answers = StreamOfAnswers(sock)
            self.assertEqual(answers.next().body, b'later\n')
            for _ in range(count):
                self.assertEqual(answers.next().body, b'hello\n')

    def test_a_pipelined_request_behind_a_body(self):
        raw = self.server.say(b'POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc\r\n'
                              b'GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
        self.assertEqual(raw.count(b'200 OK'), 2)        # the one empty line between them is allowed

    def test_a_client_that_leaves_is_noticed_while_an_answer_is_awaited(self):
        sock = self.server.connect()
        sock.sendall(b'GET /later?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n')
        self.server.wait_for(open=2)
        sock.close()
        self.server.wait_for(gone=1, open=1, connections=1)

    def test_an_idle_stream_notices_its_client_leave(self):
        socks = [self.server.connect() for _ in range(20)]
        for sock in socks:
            sock.sendall(b'GET /sse?ticks=0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n')
            head = Answer(sock.recv(4096))
            self.assertEqual(head.headers['content-type'], 'text/event-stream')
            self.assertEqual(head.headers['cache-control'], 'no-cache')
            self.assertEqual(head.headers['x-accel-buffering'], 'no')
            self.assertEqual(head.headers['connection'], 'keep-alive')
            self.assertEqual(head.headers['x-job-id'], 'a__b')
        self.server.wait_for(open=21)
        began = time.monotonic()
        for sock in socks:
            sock.close()
        self.server.wait_for(gone=20, open=1)
        self.assertLess(time.monotonic() - began, 2)

    def test_a_client_is_noticed_leaving_even_with_much_sent_ahead(self):
        sock = self.server.connect()
        sock.sendall(b'GET /sse?ticks=0 HTTP/1.1\r\nHost: localhost\r\n\r\n' + b'x' * 100000)
        self.server.wait_for(open=2)
        sock.close()
        self.server.wait_for(gone=1, open=1)

    def test_a_reset_is_noticed_in_every_state(self):
        requests = (b'GET /sse?ticks=0 HTTP/1.1\r\nHost: localhost\r\n\r\n', b'GET /later?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n',
                    b'GET /stream?bytes=90000000 HTTP/1.1\r\nHost: localhost\r\n\r\n',
                    b'POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc',
                    b'POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc', b'GET / HT')
        for request in requests * 3:
            sock = self.server.connect()
            sock.sendall(request)
            self.server.wait_for(connections=2)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            sock.close()
            self.server.wait_for(connections=1, open=1)
        self.assertEqual(self.server.stats()['gone'], 12)

    def test_the_server_ends_with_everything_still_open(self):
        for request in (b'GET /sse?ticks=0 HTTP/1.1\r\nHost: localhost\r\n\r\n', b'GET /later?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n',
                        b'GET /stream?bytes=90000000 HTTP/1.1\r\nHost: localhost\r\n\r\n', b'GET / HT', b'',
                        b'POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc',
                        b'POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc'):
            sock = self.server.connect()
            self.addCleanup(sock.close)
            sock.sendall(request)
        self.server.wait_for(connections=8)

    def test_events_come_one_by_one(self):
        with self.server.connect() as sock:
            sock.sendall(b'GET /sse?ticks=5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
            self.assertEqual(Answer(read_all(sock)).body, b'event: tick\ndata: {}\n\n' * 5)

    def test_a_keep_alive_connection_lives_on_behind_a_stream(self):
        with self.server.connect() as sock:
            sock.sendall(b'GET /stream?bytes=5 HTTP/1.1\r\nHost: localhost\r\n\r\n')
            data = b''
            while not data.endswith(b'0\r\n\r\n'):
                data += sock.recv(4096)
            sock.sendall(b'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n')
            self.assertEqual(StreamOfAnswers(sock).next().body, b'hello\n')

    def test_a_big_stream_to_a_slow_reader_costs_no_memory(self):
        total = 20_000_000
        before = self.server.stats()['rss_kib']
        pattern = bytes((i * 31 + i // 256) & 255 for i in range(65536))
        with self.server.connect(receive_bytes=200_000) as sock:
            sock.sendall(b'GET /stream?bytes=%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' % total)
            time.sleep(0.2)         # nothing is waited for: a rest in which the server could fill its memory
            self.assertLess(self.server.stats()['rss_kib'] - before, 2000)
            body = Answer(read_all(sock)).body
        self.assertEqual(len(body), total)
        self.assertEqual(body[:65536], pattern)
        self.assertEqual(body[65536 * 300:65536 * 301], pattern)

    def test_a_large_answer_comes_whole(self):
        for total in 0, 1, 300_000, 30_000_000:
            body = self.server.get(f'/large?bytes={total}').body
            self.assertEqual(len(body), total)

    def test_drain_lets_answers_end_and_takes_no_new_connection(self):
        idle, busy = self.server.connect(), self.server.connect()
        busy.sendall(b'GET /later?ms=200 HTTP/1.1\r\nHost: localhost\r\n\r\n')
        self.server.wait_for(open=2)
        self.assertEqual(self.server.get('/drain', method='POST').status, 200)
        self.assertEqual(idle.recv(1), b'')
        answer = Answer(read_all(busy))
        self.assertEqual((answer.body, answer.headers['connection']), (b'later\n', 'close'))
        with self.assertRaises(ConnectionRefusedError):
            self.server.connect()
        idle.close()
        busy.close()


class Impatience(HttpTest):
    settings = ('head=300', 'idle=300', 'window=300', 'stall=400', 'discard=300')

    def timed(self, sock):
        began = time.monotonic()
        return read_all(sock), time.monotonic() - began

    def test_a_head_that_dribbles_is_408_however_it_dribbles(self):
        with self.server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stop = threading.Event()

            def dribble():
                for byte in b'GET /hello HTTP/1.1\r\nHost: localhost\r\nA: ' + b'x' * 10000:
                    try:
                        sock.send(bytes([byte]))
                    except OSError:
                        return
                    if stop.wait(0.01):
                        return
            thread = threading.Thread(target=dribble)
            thread.start()
            raw, seconds = self.timed(sock)
            stop.set()
            thread.join()
            self.assertEqual(Answer(raw).status, 408)
            self.assertLess(seconds, 3)

    def test_a_silent_connection_is_closed(self):
        with self.server.connect() as sock:
            raw, seconds = self.timed(sock)
            self.assertEqual(raw, b'')
            self.assertGreater(seconds, 0.25)

    def test_a_keep_alive_connection_idles_only_so_long(self):
        with self.server.connect() as sock:
            sock.sendall(b'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n')
            raw, seconds = self.timed(sock)
            self.assertEqual(Answer(raw).body, b'hello\n')
            self.assertGreater(seconds, 0.25)

    def test_a_body_that_dribbles_is_408(self):
        with self.server.connect() as sock:
            sock.sendall(b'POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc')
            self.assertEqual(Answer(read_all(sock)).status, 408)
        self.server.wait_for(slow=1)

    def test_a_body_that_comes_slowly_but_well_is_taken(self):
        with self.server.connect() as sock:
            sock.sendall(b'POST /count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n')
            for _ in range(10):
                time.sleep(0.1)
                sock.sendall(b'x' * 10000)
            self.assertEqual(json.loads(Answer(read_all(sock)).body)['bytes'], 100000)

    def test_a_reader_that_takes_no_byte_is_closed(self):
        with self.server.connect(receive_bytes=4096) as sock:
            sock.sendall(b'GET /stream?bytes=100000000 HTTP/1.1\r\nHost: localhost\r\n\r\n')
            self.server.wait_for(slow=1, open=1)

    def test_a_reader_that_takes_some_is_not(self):
        with self.server.connect(receive_bytes=4096) as sock:
            sock.sendall(b'GET /stream?bytes=3000000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
            data = b''
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                data += sock.recv(20000)
                time.sleep(0.05)
            data += read_all(sock)
            self.assertEqual(len(Answer(data).body), 3000000)

    def test_waiting_for_the_handler_is_not_the_clients_fault(self):
        answer = self.server.get('/later?ms=1000')
        self.assertEqual(answer.body, b'later\n')

    def test_the_rest_of_a_refused_body_is_read_only_so_long(self):
        with self.server.connect() as sock:
            sock.sendall(b'POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n')
            raw, seconds = self.timed(sock)
            self.assertEqual(Answer(raw).status, 400)
        self.server.wait_for(connections=1)


class AddressCap(HttpTest):
    settings = ('address=4',)

    def test_one_address_does_not_take_every_connection(self):
        socks = [self.server.connect() for _ in range(4)]
        raw = b''
        while b'503' not in raw:
            with self.server.connect() as sock:
                raw = read_all(sock)
        for sock in socks:
            sock.close()
        while self.server.get('/stats').status != 200:
            pass
        self.server.wait_for(connections=1)


class Caps(HttpTest):
    settings = ('connections=8', 'body=1000')

    def test_above_the_cap_a_connection_gets_503(self):
        socks = [self.server.connect() for _ in range(8)]
        raw = b''
        while b'503' not in raw:            # the eighth may not be accepted yet
            with self.server.connect() as sock:
                raw = read_all(sock)
        answer = Answer(raw)
        self.assertEqual((answer.status, answer.headers['retry-after']), (503, '5'))
        for sock in socks:
            sock.close()
        while self.server.get('/stats').status != 200:
            pass
        self.server.wait_for(connections=1)

    def test_the_servers_own_limit_of_bodies(self):
        self.assertEqual(self.server.get('/count', method='POST', body=b'x' * 1001).status, 413)
        self.assertEqual(self.server.get('/count', method='POST', body=b'x' * 1000).status, 200)
        raw = self.server.say(b'POST /count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n' + b'x' * 1001 + b'\r\n0\r\n\r\n')
        self.assertEqual(Answer(raw).status, 413)


if __name__ == '__main__':
    unittest.main()
