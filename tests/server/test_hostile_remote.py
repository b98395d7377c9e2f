"""Other sides that no decent one is: answers that are no answers, headers made of hostile items, secrets that are quoted back, programs that try to outlive
their task. In every job a good item stands between the bad ones, and comes through."""
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rivulet_server import Rivulet  # noqa: E402

SECRET = 'canary-' + 'k' * 30 + '-end'
HEAD = b'HTTP/1.1 200 OK\r\nConnection: close\r\n'


def answer(body, *headers, status='200 OK'):
    lines = [f'HTTP/1.1 {status}', f'Content-Length: {len(body)}', 'Connection: close', *headers]
    return '\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n' + body


def pour(first, piece, count):
    def send(sock, headers):
        sock.sendall(first)
        for _ in range(count):
            sock.sendall(piece)
    return send


class Double:
    """Answers each path with raw bytes, or as a function does."""

    def __init__(self, answers):
        self.answers, self.heads = answers, []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self.base = 'http://127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.attend, args=(sock,), daemon=True).start()

    def attend(self, sock):
        with sock:
            try:
                sock.settimeout(30)
                head = b''
                while b'\r\n\r\n' not in head:
                    head += sock.recv(65536) or b'\r\n\r\n'
                self.heads.append(head)
                lines = head.split(b'\r\n')
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(b':') for line in lines[1:])}
                made = self.answers[lines[0].split(b' ')[1].decode().strip('/')]
                if callable(made):
                    made(sock, headers)
                else:
                    sock.sendall(made)
            except (OSError, LookupError):
                pass

    def close(self):
        self.listener.close()


class Hostile(unittest.TestCase):
    def begin(self, text, name='p', **settings):
        folder = tempfile.mkdtemp(prefix='rivulet-hostile-')
        self.addCleanup(shutil.rmtree, folder, True)
        path = os.path.join(folder, name + '.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'pipeline: {name}\nin_flight: 200\nstages:\n{text}')
        self.server = Rivulet(RIVULET_PIPELINE=path, RIVULET_NET_ALLOW='127.0.0.1', TEST_SECRET=SECRET, MAX_WORKERS=2, **settings)
        self.addCleanup(self.server.close)

    def double(self, answers):
        double = Double({'good': answer(b'{"ok":1}'), **answers})
        self.addCleanup(double.close)
        return double

    def post(self, items):
        posted = self.server.ask('POST', '/v1/jobs?pipeline=p', json.dumps({'items': items}).encode(), {'Content-Type': 'application/json'})
        self.assertEqual(posted.status, 202)
        return posted.json()['id']

    def run_items(self, items):
        """The items of a job that has ended, in their order."""
        job = self.post(items)
        self.server.wait_for(job, 'completed', 'error')
        return self.server.get(f'/v1/jobs/{job}/items?limit=256').json()['items']


class Answers(Hostile):
    def check(self, stages, cases, key='url'):
        """cases: name → (raw answer, type of the failure or the result)."""
        double = self.double({name: made for name, (made, _) in cases.items()})
        self.begin(stages)
        urls = [url for name in cases for url in (name, 'good')]
        ended = self.run_items([{key: f'{double.base}/{url}'} for url in urls])
        for url, item in zip(urls, ended):
            with self.subTest(url):
                if url == 'good':
                    self.assertEqual((item['state'], item.get('result')), ('completed', {'ok': 1}), item)
                elif isinstance(cases[url][1], str):
                    self.assertEqual((item['state'], item.get('error_type')), ('failed', cases[url][1]), item)
                    self.assertNotIn('null is no result', item['error'])
                else:
                    self.assertEqual((item['state'], item.get('result')), ('completed', cases[url][1]), item)

    def test_what_is_no_answer_fails_its_own_item_alone(self):
        self.check("  - http: { get: '\\(.url)', max_bytes: 1MiB, redirects: true }\n    timeout: 5s\n    retry: { attempts: 1 }\n", {
            'huge': (pour(HEAD + b'\r\n', b'x' * 65536, 64), 'validation'),
            'header': (pour(HEAD + b'X: ', b'y' * 65536, 16), 'network'),
            'headers': (pour(HEAD, b'X-A: ' + b'y' * 1000 + b'\r\n', 1000), 'network'),
            'chunk': (HEAD + b'Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n', 'network'),
            'hugechunk': (HEAD + b'Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nabc\r\n', 'network'),
            'cut': (HEAD + b'Content-Length: 1099511627776\r\n\r\n{}', 'network'),
            'garbage': (bytes(range(256)) * 9, 'network'),
            'nothing': (b'', 'network'),
            'circle': (answer(b'', 'Location: /circle', status='302 Found'), 'validation'),
            'file': (answer(b'', 'Location: file:///etc/passwd', status='302 Found'), 'validation'),
            'metadata': (answer(b'', 'Location: http://169.254.169.254/', status='302 Found'), 'validation'),
            'user': (answer(b'', 'Location: http://a:b@127.0.0.1/', status='302 Found'), 'validation'),
            'deep': (answer(b'[' * 10000 + b']' * 10000), 'invalid_json'),
            'bytes': (answer(b'{"a":"\xff"}'), 'invalid_json'),
            'forged': (answer(b'{"blob":"' + b'a' * 64 + b'","bytes":5}'), 'processing'),
            'environment': (answer(b'{"$env":"TEST_SECRET"}'), {'$env': 'TEST_SECRET'}),
            'huge-number': (answer(b'{"a":1e999}'), {'a': float('inf')}),
        })

    def test_a_long_answer_that_is_no_json_is_not_taken_for_null(self):
        """What is longer than a frame is read by a worker, to which files that are no JSON are null."""
        self.check("  - http: { get: '\\(.url)', unwrap: '. // 1' }\n    retry: { attempts: 1 }\n", {
            'binary': (answer(b'\x1f\x8b' + b'\0' * 50000), 'invalid_json'),
            'cut': (answer(b'{"a":"' + b'x' * 50000), 'invalid_json'),
            'deep': (answer(b'{"a":' * 10000 + b'1' + b'}' * 10000), 'invalid_json'),
        })

    def test_half_an_emoji_in_one_record_hurts_no_other(self):
        double = self.double({'half': answer(b'{"text":"cut \\ud83d"}')})
        self.begin("  - split: .urls[]\n  - http: { get: '\\(.)' }\n    retry: { attempts: 1 }\n  - gather\n")
        item, = self.run_items([{'urls': [double.base + '/good', double.base + '/half']}])
        self.assertEqual(item.get('result'), [{'ok': 1}, {'text': 'cut \ufffd'}], item)


class Headers(Hostile):
    def test_headers_made_of_items(self):
        double = self.double({})
        self.begin(f"  - http: {{ get: /good, base: '{double.base}', headers: {{ X-A: '\\(.h)' }}, auth: {{ bearer: !env TEST_SECRET }} }}\n"
                   "    retry: { attempts: 1 }\n")
        values = ['fine', 'a\0X-Evil: 1', 'a\r\nX-Evil: 1', 'a\nb', 'x' * 66000, 'y' * 200000, 'é']
        ended = self.run_items([{'h': value} for value in values])
        self.assertEqual([item['state'] for item in ended], ['completed'] + ['failed'] * 5 + ['completed'])
        for item in ended[1:4]:
            self.assertIn('X-A has a control character', item['error'])
        for item in ended[4:6]:
            self.assertIn('longer than 65536 bytes', item['error'])
        self.assertEqual(len(double.heads), 2)
        self.assertFalse([head for head in double.heads if b'Evil' in head])

    def test_a_secret_that_is_quoted_back_is_not_told_not_even_half(self):
        def quote(before):
            return lambda sock, headers: sock.sendall(answer(b'x' * before + headers[b'authorization'], status='400 No'))
        lengths = range(120, 204, 6)
        double = self.double({str(length): quote(length) for length in lengths})
        self.begin(f"  - http: {{ get: '/\\(.n)', base: '{double.base}', auth: {{ bearer: !env TEST_SECRET }} }}\n    retry: {{ attempts: 1 }}\n")
        for item in self.run_items([{'n': length} for length in lengths]):
            self.assertEqual(item['error_type'], 'status')
            self.assertNotIn('cana', item['error'])


def running(mark):
    """Processes that have the text among their arguments."""
    found = []
    for pid in os.listdir('/proc'):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                if pid.isdigit() and mark.encode() in file.read().split(b'\0'):
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Programs(Hostile):
    LEAVES = 'setsid sh -c "trap \'\' TERM HUP; sleep %s; sleep %s" & sleep %s & '

    def setUp(self):
        self.begin("  - exec: { argv: [/bin/sh, -c, '\\(.sh)', sh, '\\(.arg // \"\")'], stdout: text, env: { KEY: !env TEST_SECRET } }\n"
                   "    timeout: 2s\n    retry: { attempts: 1 }\n")
        self.mark = f'98{os.getpid()}.1'
        self.leaves = self.LEAVES % ((self.mark,) * 3)

    def until(self, condition):
        ends = time.monotonic() + 10
        while not condition():
            self.assertLess(time.monotonic(), ends, running(self.mark))
            time.sleep(0.02)

    def test_nothing_outlives_its_task(self):
        ended = self.run_items([{'sh': self.leaves + 'echo out'}, {'sh': self.leaves + f'sleep {self.mark}'}, {'sh': 'echo good'}])
        self.assertEqual([item.get('result', item.get('error_type')) for item in ended], ['out\n', 'timeout', 'good\n'])
        self.until(lambda: not running(self.mark))

    def test_nothing_outlives_its_job_or_the_server(self):
        for end in lambda job: self.server.ask('POST', f'/v1/jobs/{job}/cancel').body(), lambda job: self.server.kill():
            job = self.post([{'sh': self.leaves + f'sleep {self.mark}'}] * 2)
            self.until(lambda: len(running(self.mark)) >= 3)
            end(job)
            self.until(lambda: not running(self.mark))

    def test_arguments_and_what_is_said(self):
        ended = self.run_items([{'sh': 'echo "$1"', 'arg': 'a\0b'}, {'sh': 'echo "$1"', 'arg': 'a\nb'}, {'sh': 'true', 'arg': 'x' * 200000},
                                {'sh': 'echo "$KEY$KEY"; echo -n "$KEY"'}, {'sh': 'echo "$KEY" >&2; exit 3'}, {'sh': 'true', 'pad': 'x' * 3000000}])
        self.assertIn('has a NUL in it', ended[0]['error'])
        self.assertEqual(ended[1]['result'], 'a\nb\n')
        self.assertIn('Argument list too long', ended[2]['error'])
        self.assertEqual(ended[3]['result'], '********\n****')
        self.assertIn('status 3: ****', ended[4]['error'])
        self.assertEqual(ended[5].get('result'), '', ended[5])


if __name__ == '__main__':
    unittest.main()
