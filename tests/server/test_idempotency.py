"""Idempotency-Key: the same again is the same job, whenever and however often; something else under the same key is refused."""
import http.client
import json
import socket
import unittest

from rivulet_server import BOUNDARY, Rivulet, form

POSTS = 1000


def dump(value):
    return json.dumps(value).encode()


class Idempotency(unittest.TestCase):
    def setUp(self):
        self.server = Rivulet()

    def tearDown(self):
        self.server.close()

    def post(self, key, body, media='application/json', path='/v1/jobs?pipeline=noop', **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        return self.server.ask('POST', path, body, {'Content-Type': media, 'Idempotency-Key': key, **headers})

    def job(self, *what, status=202, replay=None, **more):
        answer = self.post(*what, **more)
        content = answer.body()
        self.assertEqual(answer.status, status, content)
        self.assertEqual(answer.header('Idempotent-Replay'), replay)
        return answer.job

    def jobs(self):
        return [entry['id'] for entry in self.server.get('/v1/jobs?limit=1000').json()['jobs']]

    def test_the_same_again_is_the_same_job(self):
        body = dump({'items': [1, 2]})
        first = self.job('a', body)
        self.assertEqual(self.job('a', body, replay='true'), first)
        self.assertEqual(self.job('a', body, replay='true', status=200, Prefer='wait=10'), first)
        stream = self.post('a', body, Accept='text/event-stream')
        self.assertEqual((stream.status, stream.job), (200, first))
        self.assertEqual(stream.frames()[-1].event, 'complete')
        self.assertNotEqual(self.job('b', body), first)
        self.assertEqual(len(self.jobs()), 2)

    def test_something_else_is_refused(self):
        self.job('a', dump({'items': [1]}))
        lines = dump({'items': [1]}) + b'\n'
        for what in (('a', dump({'items': [2]})), ('a', dump({'items': [1], 'params': {'x': 1}})), ('a', lines, 'application/jsonl'),
                     ('a', form([('f', None, b'1')]), f'multipart/form-data; boundary={BOUNDARY}')):
            answer = self.post(*what)
            self.assertEqual(answer.status, 422)
            self.assertIn('"a" was used for something else', answer.json()['detail'])
        for path in ('/v1/jobs?pipeline=noop&open=1', '/v1/jobs?pipeline=noop&ordered=1'):
            self.assertEqual(self.post('a', dump({'items': [1]}), path=path).status, 422)
        self.assertEqual(len(self.jobs()), 1)

    def test_files_are_compared_by_what_they_hold(self):
        media, path = f'multipart/form-data; boundary={BOUNDARY}', '/v1/jobs?pipeline=decklists'
        good = [('a.jpg', 'image/jpeg', b'1'), ('b.jpg', 'image/jpeg', b'22')]
        first = self.job('f', form(good), media, path)
        self.assertEqual(self.job('f', form(good, 'file'), media, path, replay='true'), first)
        for other in (good[::-1], good[:1], [('x.jpg', *good[0][1:]), good[1]], [('a.jpg', 'image/jpeg', b'3'), good[1]]):
            self.assertEqual(self.post('f', form(other), media, path).status, 422)

    def test_keys_that_are_none(self):
        for key in ('', 'k' * 256):
            answer = self.post(key, dump({'items': [1]}))
            self.assertEqual(answer.status, 400)
            self.assertIn('1 to 255 bytes', answer.json()['detail'])
        self.job('k' * 255, dump({'items': [1]}))

    def test_a_body_that_was_cut_off_leaves_its_key_free(self):
        body = dump({'items': [1]})
        with socket.create_connection(('127.0.0.1', self.server.port)) as sock:
            sock.sendall(b'POST /v1/jobs?pipeline=noop HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: c\r\n'
                         b'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b' % (len(body) + 1, body))
        self.assertEqual(self.post('c', b'{').status, 400)
        self.job('c', dump({'items': [3]}))

    def test_a_thousand_equal_posts_are_one_job(self):
        body = b'\n'.join(b'%d' % n for n in range(500))
        request = (f'POST /v1/jobs?pipeline=noop HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: crowd\r\nConnection: close\r\n'
                   f'Content-Type: application/jsonl\r\nContent-Length: {len(body)}\r\n\r\n').encode() + body
        for restart in (False, True):
            if restart:
                self.server.kill()
                self.server.start()
            socks = [socket.create_connection(('127.0.0.1', self.server.port)) for _ in range(POSTS)]
            for sock in socks:
                sock.settimeout(30)
                sock.sendall(request)
            answers = []
            for sock in socks:
                content = b''
                while piece := sock.recv(65536):
                    content += piece
                sock.close()
                answers.append(content)
            self.assertEqual({answer.split(b'\r\n')[0] for answer in answers}, {b'HTTP/1.1 202 Accepted'})
            self.assertEqual(sum(b'Idempotent-Replay: true' in answer for answer in answers), POSTS if restart else POSTS - 1)
            self.assertEqual(len({answer.split(b'X-Job-Id: ')[1][:32] for answer in answers}), 1)
            self.assertEqual(len(self.jobs()), 1)

    def test_a_kill_in_the_middle_of_writing_it_down_frees_the_key(self):
        body = b'\n'.join(b'%d' % n for n in range(200000))
        connection = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=30)
        connection.request('POST', '/v1/jobs?pipeline=noop', body=body, headers={'Content-Type': 'application/jsonl', 'Idempotency-Key': 'm'})
        while not self.jobs():
            pass
        self.server.kill()
        with self.assertRaises((http.client.HTTPException, OSError)):
            connection.getresponse()
        self.server.start()
        cut = self.jobs()
        self.assertEqual([self.server.document(job)['status'] for job in cut], ['cancelled'])
        self.assertNotIn(self.job('m', body, 'application/jsonl'), cut)

    def test_the_same_job_after_a_kill(self):
        body = dump({'items': [{'noop': {'sleep_ms': 300}}, 2]})
        first = self.job('k', body)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.job('k', body, replay='true', status=200, Prefer='wait=20'), first)
        self.assertEqual(self.post('k', dump({'items': [1]})).status, 422)
        self.assertEqual(self.jobs(), [first])


if __name__ == '__main__':
    unittest.main()
