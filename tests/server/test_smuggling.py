"""Requests that two readers could read two ways, sent through nginx and HAProxy: what a proxy forbids never reaches the server behind its back, and nobody
gets another's answer.

The proxies forbid jobs that stay open. Each request of the corpus hides such an order where one reader may see a body and another the next request. An open job
that is there in the end has come past the proxy. What hides it is answered on a connection that stays, or nothing could follow.
"""
import itertools
import re
import socket
import unittest

from proxies import Haproxy, Nginx, changed, missing
from rivulet_server import Rivulet

HIDDEN = b'POST /v1/jobs?pipeline=noop&open=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n'
CLOSING = HIDDEN.replace(b'Content-Length', b'Connection: close\r\nContent-Length')
WAIT_S = 20
HEAD = b'POST /v1/jobs?pipeline=noop HTTP/1.1\r\nHost: rivulet.example.com\r\nContent-Type: application/jsonl\r\n'
OPEN = b'"sealed":false'             # in the document of a job that the order has opened
# Ways to write that a body is chunked, which some reader somewhere takes for it and another does not.
CODINGS = [b'Transfer-Encoding: chunked', b'Transfer-Encoding : chunked', b'Transfer-Encoding:chunked', b'Transfer-Encoding:\tchunked',
           b'Transfer-Encoding: \x0bchunked', b'Transfer-Encoding: chunked\x0b', b'Transfer-Encoding: xchunked', b'Transfer-Encoding: chunked, identity',
           b'Transfer-Encoding: identity, chunked', b'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked', b'Transfer-Encoding: "chunked"',
           b'Transfer-Encoding: chunked\r\nTransfer-Encoding: x', b'Transfer-Encoding: CHUNKED', b'Transfer_Encoding: chunked', b'Transfer-Encoding\r\n : chunked',
           b'X: y\nTransfer-Encoding: chunked', b'X: y\rTransfer-Encoding: chunked', b'Transfer-Encoding:\r\n chunked', b'\x00Transfer-Encoding: chunked',
           b'Transfer-Encoding: chunked;a=b', b'Transfer-Encoding: gzip, chunked', b'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked']
LENGTHS = [b'Content-Length: %d', b'Content-Length : %d', b'Content-Length: +%d', b'Content-Length: 0%d', b'Content-Length: %d\r\nContent-Length: 0',
           b'Content-Length: 0\r\nContent-Length: %d', b'Content-Length: %d, %d', b'Content-Length: \x0b%d', b'Content_Length: %d', b'X: y\nContent-Length: %d',
           b'Content-Length:\r\n %d', b'Connection: Content-Length\r\nContent-Length: %d', b'content-length: %d\x00']
# Chunked bodies whose end is a matter of opinion.
CHUNKS = [b'0\n\n%s', b'0\r\n%s\r\n', b'0;x=\n\r\n\r\n%s', b'00000000000000000\r\n\r\n%s', b'0x0\r\n\r\n%s', b'+0\r\n\r\n%s', b'-1\r\n\r\n%s',
          b'100000000\r\n%s', b'fffffffffffffffff\r\n%s', b'1\r\nab0\r\n\r\n%s', b'1\r\na\n0\r\n\r\n%s', b'1 \r\na\r\n0\r\n\r\n%s',
          b'0\r\nContent-Length: 100\r\n\r\n%s', b'1\r\na\r\n0\r\nTransfer-Encoding: x\r\n\r\n%s', b' 0\r\n\r\n%s', b'\r\n0\r\n\r\n%s']
# Of these the ones that anybody reads alike, and the ways to write `chunked` that everybody knows.
CLEAR = {b'00000000000000000\r\n\r\n%s', b'1 \r\na\r\n0\r\n\r\n%s', b'0\r\nContent-Length: 100\r\n\r\n%s', b'1\r\na\r\n0\r\nTransfer-Encoding: x\r\n\r\n%s'}
PLAIN = {b'Transfer-Encoding: chunked', b'Transfer-Encoding:chunked', b'Transfer-Encoding:\tchunked', b'Transfer-Encoding: CHUNKED',
         b'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked'}


def counted(form, count):
    return form.replace(b'%d', str(count).encode())


def corpus():
    """(fields, body); the hidden order is a part of the body in at least one reading."""
    by_chunks = b'0\r\n\r\n' + HIDDEN
    by_length = b'%x\r\n' % len(HIDDEN) + HIDDEN + b'\r\n0\r\n\r\n'
    for coding, length in itertools.product(CODINGS, LENGTHS[:2]):
        for one, other in itertools.permutations((coding, length)):
            yield counted(one + b'\r\n' + other, len(by_chunks)), by_chunks
            yield counted(one + b'\r\n' + other, len(by_length) - len(HIDDEN) - 7), by_length
    for coding in CODINGS:
        yield coding, by_chunks
    for length in LENGTHS:
        yield counted(length, len(HIDDEN)), HIDDEN
        yield counted(length, len(by_chunks)) + b'\r\nTransfer-Encoding: chunked', by_chunks
    for chunks in CHUNKS:
        yield b'Transfer-Encoding: chunked', chunks.replace(b'%s', HIDDEN)


class ForbidsNginx(Nginx):
    def write(self):
        super().write()
        with open(self.path('site.conf'), encoding='utf-8') as file:
            text = file.read()
        self.put('site.conf', changed(text, ('    location / {', '    if ($arg_open) { return 403; }\n    location / {'),
                                      ('server {\n    listen', f'upstream behind {{ server 127.0.0.1:{self.server_port}; keepalive 4; }}\nserver {{\n    listen'),
                                      (f'proxy_pass http://127.0.0.1:{self.server_port};\n', 'proxy_pass http://behind;\nproxy_set_header Host localhost;\n')))


class ForbidsHaproxy(Haproxy):
    def write(self):
        super().write()
        with open(self.path('haproxy.cfg'), encoding='utf-8') as file:
            text = file.read()
        self.put('haproxy.cfg', changed(text, ('    default_backend', '    http-request deny if { url_param(open) -m found }\n    default_backend'),
                                        ('    http-request set-header Host localhost', '    http-reuse always\n    http-request set-header Host localhost')))


def say(port, request, seconds=0.25):
    """All that comes back until the other side closes or has nothing more to say."""
    raw = b''
    with socket.create_connection(('127.0.0.1', port), timeout=seconds) as sock:
        try:
            sock.sendall(request)
            while piece := sock.recv(65536):
                raw += piece
        except OSError:
            pass
    return raw


class Smuggling(unittest.TestCase):
    timeout_s = 120

    def setUp(self):
        self.server = Rivulet(MAX_WORKERS=1)
        self.addCleanup(self.server.close)

    def opened(self):
        """The open ones of the latest jobs."""
        return [job for job in self.server.get('/v1/jobs?limit=100').json()['jobs'] if not job['sealed']]

    def victim(self, port, number):
        """Another client of the same proxy, on connections that were used before: the answer is its own."""
        raw = say(port, b'GET /v1/jobs/victim%d HTTP/1.1\r\nHost: rivulet.example.com\r\nConnection: close\r\n\r\n' % number, WAIT_S)
        self.assertTrue(raw.startswith(b'HTTP/1.1 404 '), raw)
        self.assertIn(b'victim%d' % number, raw)

    def attack(self, kind):
        if kind.name in missing():
            self.skipTest(f'{kind.name} is not installed')
        proxy = kind(self.server.port)
        self.addCleanup(proxy.close)
        self.assertIn(b' 403 ', say(proxy.port, CLOSING.replace(b'localhost', b'rivulet.example.com'), WAIT_S).split(b'\r\n')[0])
        self.assertIn(b' 202 ', say(proxy.port, HEAD + b'Connection: close\r\nContent-Length: 0\r\n\r\n', WAIT_S).split(b'\r\n')[0])
        for number, (fields, body) in enumerate(corpus()):
            raw = say(proxy.port, HEAD + fields + b'\r\n\r\n' + body, 0.05)
            with self.subTest(kind.name, fields=fields, body=body):
                self.assertNotIn(OPEN, raw)
                self.assertEqual(self.opened(), [])
                if number % 4 == 0:
                    self.victim(proxy.port, number)
        self.assertEqual(self.opened(), [], f'opened past {kind.name}')

    def test_nothing_goes_past_nginx(self):
        self.attack(ForbidsNginx)

    def test_nothing_goes_past_haproxy(self):
        self.attack(ForbidsHaproxy)

    def test_the_order_would_be_followed_if_it_came_through(self):
        self.assertTrue(say(self.server.port, CLOSING, WAIT_S).startswith(b'HTTP/1.1 202 '))
        self.assertEqual(len(self.opened()), 1)
        behind = say(self.server.port, HEAD.replace(b'rivulet.example.com', b'localhost') + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + CLOSING, WAIT_S)
        self.assertIn(OPEN, behind)
        self.assertEqual(len(self.opened()), 2)

    def test_directly_each_request_has_one_reading(self):
        """Nobody stands before the server: an order that it takes for a request of its own must stand behind a body that has ended without doubt."""
        followed = 0
        for fields, body in corpus():
            raw = say(self.server.port, HEAD.replace(b'rivulet.example.com', b'localhost') + fields + b'\r\n\r\n' + body, 0.05)
            if OPEN in raw:
                followed += 1
                meant = b'\r\n'.join(line for line in fields.split(b'\r\n') if b'_' not in line)      # with _ it is another name
                self.assertTrue(meant in PLAIN or re.fullmatch(rb'(Content-Length: \d+)?', meant), (fields, body))
                self.assertNotIn(body.replace(HIDDEN, b'%s'), set(CHUNKS) - CLEAR, (fields, body))
        self.assertGreater(followed, 0, 'none has a body that has ended without doubt')


if __name__ == '__main__':
    unittest.main()
