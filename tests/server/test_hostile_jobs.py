"""The job face under clients that are hostile or unlucky: questions and bodies of nonsense, all of them at one job at once, gone at any
moment, a server that ends in the middle of anything. What was told stays true, and what nobody was told is there once or not at all."""
import json
import os
import random
import signal
import socket
import threading
import time
import unittest

from rivulet_server import BOUNDARY, Rivulet, form, image
from runs import until
from survival import LOST, Mortal, check_server

JSON, LINES = 'application/json', 'application/jsonl'
GRACE_S = 20


def lines(count, mark='', **orders):
    return '\n'.join(json.dumps({'name': f'{mark}-{n}', 'value': {'noop': {**orders, **({'fail': 'no'} if n % 2 else {})}}})
                     for n in range(count)).encode()


def request(method, path, body=b'', media=None, more=''):
    head = f'{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}'
    head += f'Content-Type: {media}\r\n' if media else ''
    head += f'Content-Length: {len(body)}\r\n' if method == 'POST' else ''
    return head.encode() + b'\r\n' + body


def connect(server):
    sock = socket.create_connection(('127.0.0.1', server.port))
    sock.settimeout(GRACE_S)
    return sock


def all_of(sock):
    """(status, what follows the head) of what still comes; a status of 0 when nothing came."""
    content = b''
    try:
        while piece := sock.recv(65536):
            content += piece
    except LOST:
        pass
    sock.close()
    return int(content[9:12] or 0), content.partition(b'\r\n\r\n')[2]


class Case(unittest.TestCase):
    timeout_s = 60

    def serve(self, **settings):
        server = Mortal(MAX_WORKERS=2, **settings)
        self.addCleanup(server.close)
        return server

    def post(self, server, path, body=None, media=None, **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        return server.ask('POST', path, body, {**({'Content-Type': media} if media else {}), **headers})

    def open_job(self, server):
        return self.post(server, '/v1/jobs?pipeline=noop&open=1').json()['id']

    def names(self, server, job):
        """The names of a job's items by their number."""
        path, found = f'/v1/jobs/{job}/items?limit=256', {}
        while path:
            answer = server.get(path)
            link = answer.header('Link')
            page = answer.json()['items']
            self.assertFalse(set(found) & {item['item'] for item in page}, 'an item is on two pages')
            found.update((item['item'], item['name']) for item in page)
            path = link and link[1:link.index('>')]
        return found


class Endings(Case):
    def test_what_a_stopping_server_says_of_an_addition_is_true(self):
        """Additions of several commits, cut by SIGTERM: the answer says what of them is in the job."""
        server, said = self.serve(), set()
        for turn in range(8):
            job, socks = self.open_job(server), []
            for count in (12000, 1, 3000):
                socks.append((count, connect(server)))
                socks[-1][1].sendall(request('POST', f'/v1/jobs/{job}/items', lines(count, f'{count}'), LINES, 'Connection: close\r\n'))
            time.sleep(0.015 * turn)
            self.assertEqual(server.stop(), 0, server.complaints())
            answers = {count: all_of(sock) for count, sock in socks}
            server.start()
            names = list(self.names(server, job).values())
            self.assertEqual(len(set(names)), len(names))
            for count, (status, body) in answers.items():
                answer = json.loads(body) if body else {}
                taken = answer['count'] if status == 202 else answer.get('taken', 0)
                self.assertEqual(sum(name.startswith(f'{count}-') for name in names), taken, (count, status, answer))
                said.add((status, 0 < taken < count))
            self.post(server, f'/v1/jobs/{job}/cancel').body()
        self.assertIn((503, False), said)


if __name__ == '__main__':
    unittest.main()
