"""Behind nginx, HAProxy and Caddy, set up as docs/proxies shows: events pass at once, streams resume, uploads pass, idle streams live."""
import http.client
import json
import os
import selectors
import socket
import time
import unittest

from proxies import KINDS, missing
from rivulet_server import BOUNDARY, Rivulet, form, item

ALONE = 'an event passes a proxy within 0.1 s'

FIRST_BYTE_S = 0.1
SILENCE_S = 3
KEY = 'a-key-for-a-test-of-proxies'
HOST = 'rivulet.example.com'
ORIGIN = 'https://' + HOST
BEARER = {'Authorization': 'Bearer ' + KEY}


def ask(port, method, path, body=None, **headers):
    """A request as a proxy gets it from the world: with a Host that is not loopback."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
    connection.request(method, path, body=body, headers={'Host': HOST, **{name.replace('_', '-'): value for name, value in headers.items()}})
    return connection, connection.getresponse()


def told(port, method, path, body=None, **headers):
    connection, response = ask(port, method, path, body, **headers)
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content else None


class Wire:
    """A stream, and when each of its events came. Over a bare socket, for nothing may wait in a buffer unseen."""

    def __init__(self, port, path, host=HOST, **headers):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=30)
        lines = [f'GET {path} HTTP/1.1', f'Host: {host}'] + [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
        self.socket.sendall('\r\n'.join(lines + ['', '']).encode())
        self.raw = self.text = b''
        self.ended, self.came = False, {}

    def read(self):
        try:
            piece = self.socket.recv(65536)
        except OSError:
            piece = b''
        self.raw += piece
        head, _, rest = self.raw.partition(b'\r\n\r\n')
        self.ended = not piece
        if b'transfer-encoding: chunked' in head.lower():
            self.text = b''
            while b'\r\n' in rest:
                size, _, rest = rest.partition(b'\r\n')
                self.ended |= int(size, 16) == 0
                self.text += rest[:int(size, 16)]
                rest = rest[int(size, 16) + 2:]
        else:
            self.text = rest
        for line in self.text.split(b'\n')[:-1]:
            if line.startswith((b'id: ', b'{"id":')):
                self.came.setdefault(line.split(b'","event"')[0], time.monotonic())

    def close(self):
        self.socket.close()


def read_until(wires, true, seconds):
    """Reads them all until `true()`; whether it came to that."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for wire in wires:
            selector.register(wire.socket, selectors.EVENT_READ, wire)
        while not true() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0, min(0.2, deadline - time.monotonic()))):
                key.data.read()
                if key.data.ended:
                    selector.unregister(key.fileobj)
    return true()


@unittest.skipIf(missing(), 'not here: ' + ', '.join(missing()))
class Case(unittest.TestCase):
    def open_job(self):
        answer = self.server.ask('POST', '/v1/jobs?pipeline=noop&open=1')
        self.assertEqual(answer.status, 202)
        return answer.json()['id']

    def add(self, job):
        answer = self.server.ask('POST', f'/v1/jobs/{job}/items', item(), {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 202, answer.body())
        answer.body()

    def seal(self, job):
        self.server.ask('POST', f'/v1/jobs/{job}/seal').body()

    def wires(self, *arguments, **headers):
        wires = [Wire(proxy.port, *arguments, **headers) for proxy in self.proxies]
        for wire in wires:
            self.addCleanup(wire.close)
        return wires


class Proxies(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(MAX_WORKERS=2, RIVULET_HEARTBEAT_S=1, MAX_FILE_SIZE_MB=32)
        cls.proxies = []
        for kind in KINDS:
            cls.proxies.append(kind(cls.server.port, SILENCE_S))

    @classmethod
    def tearDownClass(cls):
        for proxy in cls.proxies:
            proxy.close()
        cls.server.close()

    def test_the_files_shown_are_sound(self):
        for proxy in self.proxies:
            with self.subTest(proxy.name):
                status, said = proxy.check()
                self.assertEqual(status, 0, said)

    def lateness(self, accept):
        """{proxy: how much later than without it the latest event came}."""
        job = self.open_job()
        path = f'/v1/jobs/{job}/events'
        behind = self.wires(path, Accept=accept)
        direct = Wire(self.server.port, path, 'localhost', Accept=accept)
        self.addCleanup(direct.close)
        wires = [direct] + behind
        for count in range(1, 6):
            self.add(job)
            # Each item is two events: started and done.
            self.assertTrue(read_until(wires, lambda count=count: all(len(wire.came) >= 2 * count for wire in wires), 5),
                            f'{accept}: {[wire.text[-300:] for wire in wires]}')
        self.seal(job)
        self.assertTrue(read_until(wires, lambda: all(wire.ended for wire in wires), 5))
        for proxy, wire in zip(self.proxies, behind):
            self.assertEqual(list(wire.came), list(direct.came), proxy.name)
        return {proxy.name: max(wire.came[one] - direct.came[one] for one in direct.came) for proxy, wire in zip(self.proxies, behind)}

    def test_each_event_passes_at_once(self):
        for accept in ('text/event-stream', 'application/x-ndjson'):
            # A busy machine may be late once; a proxy that holds something back is late each time.
            late = [self.lateness(accept)]
            while max(late[-1].values()) >= FIRST_BYTE_S and len(late) < 3:
                late.append(self.lateness(accept))
            self.assertLess(max(late[-1].values()), FIRST_BYTE_S, f'{accept}: {late}')

    def test_the_plain_face_streams_from_an_upload(self):
        files = [('a.jpg', 'image/jpeg', item()), ('b.jpg', 'image/jpeg', item(sleep_ms=700))]
        for proxy in self.proxies:
            with self.subTest(proxy.name):
                connection, response = ask(proxy.port, 'POST', '/api/process-batch-stream', form(files),
                                           Content_Type=f'multipart/form-data; boundary={BOUNDARY}')
                text = b''
                while b'event: result' not in text:
                    text += response.read1(65536)
                self.assertNotIn(b'"index":1', text, 'the first result came with the second')
                self.assertIn(b'event: complete', text + response.read())
                connection.close()

    def test_a_stream_resumes_where_it_broke(self):
        for proxy in self.proxies:
            with self.subTest(proxy.name):
                job = self.open_job()
                self.add(job)
                wire = Wire(proxy.port, f'/v1/jobs/{job}/events')
                self.assertTrue(read_until([wire], lambda: len(wire.came) == 2, 5))
                wire.close()
                self.add(job)
                self.seal(job)
                last = list(wire.came)[-1]
                rest = Wire(proxy.port, f'/v1/jobs/{job}/events', Last_Event_ID=last.decode()[4:])
                self.assertTrue(read_until([rest], lambda: rest.ended, 5))
                whole = Wire(self.server.port, f'/v1/jobs/{job}/events', 'localhost')
                self.assertTrue(read_until([whole], lambda: whole.ended, 5))
                self.assertEqual(list(wire.came) + list(rest.came), list(whole.came))
                status, nothing = told(proxy.port, 'GET', f'/v1/jobs/{job}/events', Last_Event_ID=list(whole.came)[-1].decode()[4:])
                self.assertEqual((status, nothing), (204, None))

    def test_an_upload_of_20_mb_passes(self):
        content = os.urandom(1024) * (20 * 1024)
        for proxy in self.proxies:
            with self.subTest(proxy.name):
                status, job = told(proxy.port, 'POST', '/v1/jobs?pipeline=noop', form([('large.bin', None, content)]),
                                   Content_Type=f'multipart/form-data; boundary={BOUNDARY}', Prefer='wait=20')
                self.assertEqual((status, job['batches_completed']), (200, 1), job)
                status, one = told(proxy.port, 'GET', f'/v1/jobs/{job["id"]}/items/0')
                self.assertEqual((status, one['bytes']), (200, len(content)))

    def test_an_idle_stream_outlives_the_times_of_the_proxy(self):
        job = self.open_job()
        wires = self.wires(f'/v1/jobs/{job}/events')
        self.assertFalse(read_until(wires, lambda: any(wire.ended for wire in wires), 2 * SILENCE_S + 1), [wire.text for wire in wires])
        self.add(job)
        self.seal(job)
        self.assertTrue(read_until(wires, lambda: all(wire.ended for wire in wires), 5))
        for proxy, wire in zip(self.proxies, wires):
            self.assertIn(b'event: complete', wire.text, proxy.name)


class Controls(Case):
    """The same proxies before a server whose heartbeats are too rare, and before one with keys."""

    def begin(self, **settings):
        self.server = Rivulet(MAX_WORKERS=1, **settings)
        self.addCleanup(self.server.close)
        self.proxies = []
        for kind in KINDS:
            self.proxies.append(kind(self.server.port, SILENCE_S))
            self.addCleanup(self.proxies[-1].close)

    def test_without_heartbeats_the_same_proxies_cut_the_stream(self):
        self.begin(RIVULET_HEARTBEAT_S=15)
        job = self.open_job()
        wires = self.wires(f'/v1/jobs/{job}/events')
        self.assertTrue(read_until(wires, lambda: all(wire.ended for wire in wires), 3 * SILENCE_S), [wire.ended for wire in wires])

    def test_keys_and_sessions_pass(self):
        self.begin(RIVULET_KEYS='alice ' + KEY, RIVULET_CORS_ORIGINS=ORIGIN)
        for proxy in self.proxies:
            with self.subTest(proxy.name):
                self.assertEqual(told(proxy.port, 'GET', '/v1/jobs')[0], 401)
                self.assertEqual(told(proxy.port, 'GET', '/v1/jobs', **BEARER)[0], 200)
                connection, response = ask(proxy.port, 'POST', '/v1/session', **BEARER)
                cookie = response.getheader('Set-Cookie').split(';')[0]
                response.read()
                connection.close()
                body = b'{"items": [1]}'
                self.assertEqual(told(proxy.port, 'POST', '/v1/jobs?pipeline=noop', body, Cookie=cookie, Content_Type='application/json')[0], 403)
                status, job = told(proxy.port, 'POST', '/v1/jobs?pipeline=noop', body, Cookie=cookie, Content_Type='application/json', Origin=ORIGIN)
                self.assertEqual(status, 202)
                status, ticket = told(proxy.port, 'POST', f'/v1/jobs/{job["id"]}/tickets', Cookie=cookie, Origin=ORIGIN)
                connection, response = ask(proxy.port, 'GET', f'/v1/jobs/{job["id"]}/events?ticket={ticket["ticket"]}')
                self.assertIn(b'event: complete', response.read())
                connection.close()


if __name__ == '__main__':
    unittest.main()
