"""Webhooks against a receiver of our own: signatures, order, faults, restarts, addresses that are not for everybody."""
import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading
import time
import unittest

from rivulet_server import Rivulet

SECRET = 'whsec_' + base64.b64encode(b'a secret of thirty-two bytes, so').decode()
OLD = 'whsec_' + base64.b64encode(b'the secret that was there before').decode()


class Receiver:
    """Answers with what `answers` says, one after the other, then 204; keeps what came in `calls`."""

    def __init__(self, *answers):
        receiver = self
        self.answers, self.calls, self.lock = list(answers), queue.Queue(), threading.Lock()
        self.go_on = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                with receiver.lock:
                    answer = receiver.answers.pop(0) if receiver.answers else 204
                receiver.calls.put((dict(self.headers.items()), body, time.monotonic(), self.path))
                if answer == 'hang':
                    receiver.go_on.wait(30)
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header('Content-Length', '0')
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}/hook'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, timeout=15):
        headers, body, at, path = self.calls.get(timeout=timeout)
        return Call({name.lower(): value for name, value in headers.items()}, body, at, path)

    def close(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


class Call:
    def __init__(self, headers, body, at, path):
        self.headers, self.body, self.at, self.path = headers, body, at, path
        self.id = headers['webhook-id']
        self.json = json.loads(body)

    def is_signed_with(self, secret):
        text = b'.'.join([self.id.encode(), self.headers['webhook-timestamp'].encode(), self.body])
        digest = hmac.new(base64.b64decode(secret[6:]), text, hashlib.sha256).digest()
        return 'v1,' + base64.b64encode(digest).decode() in self.headers['webhook-signature'].split(' ')


class Webhooks(unittest.TestCase):
    def begin(self, *answers, **settings):
        self.receiver = Receiver(*answers)
        self.addCleanup(self.receiver.close)
        settings = {'RIVULET_WEBHOOK_SECRET': SECRET, 'RIVULET_NET_ALLOW': '127.0.0.0/8', **settings}
        self.server = Rivulet(**settings)
        self.addCleanup(self.server.close)

    def ask(self, webhook, items=({'noop': {}},)):
        body = {'items': [{'value': item} for item in items], 'webhook': webhook}
        return self.server.ask('POST', '/v1/jobs?pipeline=noop', json.dumps(body), {'Content-Type': 'application/json'})

    def job(self, items=({'noop': {}},), **webhook):
        answer = self.ask({'url': self.receiver.url, **webhook}, items)
        self.assertEqual(answer.status, 202, answer.json() if answer.status != 202 else '')
        return answer.json()['id']

    def nothing_more(self, seconds=0.5):
        with self.assertRaises(queue.Empty):
            self.receiver.next(seconds)

    def test_the_end_of_a_job_is_told_once_and_signed(self):
        self.begin(RIVULET_WEBHOOK_SECRET=f'{SECRET} {OLD}')
        job = self.job()
        call = self.receiver.next()
        self.assertTrue(call.is_signed_with(SECRET) and call.is_signed_with(OLD))
        self.assertFalse(call.is_signed_with('whsec_' + base64.b64encode(b'x' * 32).decode()))
        self.assertLess(abs(int(call.headers['webhook-timestamp']) - time.time()), 5)
        self.assertEqual(call.headers['content-type'], 'application/json')
        self.assertEqual(call.path, '/hook')
        self.assertEqual(call.json['type'], 'job.completed')
        self.assertEqual(call.json['data'], self.server.document(job))
        self.assertTrue(call.id.startswith(job + '-'))
        self.nothing_more()

    def test_results_come_in_order_before_the_end(self):
        self.begin()
        job = self.job([{'noop': {}}, {'noop': {'fail': 'no'}}, {'noop': {}}], events=['complete', 'result', 'failed'])
        calls = [self.receiver.next() for _ in range(4)]
        seqs = [int(call.id.rsplit('-', 1)[1]) for call in calls]
        self.assertEqual(seqs, sorted(seqs))
        self.assertEqual(sorted(call.json['type'] for call in calls[:3]), ['item.completed', 'item.completed', 'item.failed'])
        self.assertEqual(calls[3].json['type'], 'job.completed')
        told = {frame.data.get('item'): frame.data for frame in self.server.events(job).frames() if frame.event in ('result', 'failed')}
        for call in calls[:3]:
            self.assertEqual(call.json['data'], told[call.json['data']['item']])

    def test_a_receiver_that_fails_is_asked_again_and_the_id_stays(self):
        self.begin(500, (503, {'Retry-After': '1'}))
        self.job()
        first = self.receiver.next()
        again = self.receiver.next()
        self.assertEqual(first.id, again.id)
        self.assertEqual(first.json['data'], again.json['data'])
        self.assertTrue(again.is_signed_with(SECRET))
        self.assertGreater(again.at - first.at, 4.5)

    def test_gone_is_gone(self):
        self.begin(410)
        job = self.job([{'noop': {}}] * 3, events=['result'])
        self.receiver.next()
        self.server.wait_for(job, 'completed')
        self.nothing_more()
        self.assertIn(f'the webhook of job {job} was given up', self.server.complaints())

    def test_what_has_not_arrived_comes_again_behind_a_kill(self):
        self.begin('hang', 500)
        job = self.job()
        first = self.receiver.next()
        self.server.kill()
        self.receiver.go_on.set()
        self.server.start()
        second = self.receiver.next()      # answered with 500: the next try is in 5 s …
        self.server.kill()
        self.server.start()                # … or behind a restart, at once
        third = self.receiver.next(4)
        self.assertEqual({first.id, second.id}, {third.id})
        self.assertEqual(first.json['data']['id'], job)
        self.nothing_more(1.5)             # and its arrival is written
        self.server.kill()
        self.server.start()
        self.nothing_more()

    def test_it_is_sent_again_when_asked(self):
        self.begin()
        job = self.job()
        first = self.receiver.next()
        answer = self.server.ask('POST', f'/v1/jobs/{job}/webhook')
        self.assertEqual(answer.status, 204)
        answer.body()
        second = self.receiver.next()
        self.assertEqual((first.id, first.json), (second.id, second.json))
        plain = self.server.ask('POST', '/v1/jobs?pipeline=noop', '{"items":[{"value":{}}]}', {'Content-Type': 'application/json'}).json()['id']
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{plain}/webhook').status, 409)
        self.assertEqual(self.server.ask('POST', '/v1/jobs/' + '0' * 32 + '/webhook').status, 404)

    def test_private_addresses_are_not_for_everybody(self):
        self.begin(RIVULET_NET_ALLOW='')
        job = self.job()
        self.server.wait_for(job, 'completed')
        self.nothing_more()
        self.assertIn(f'the webhook of job {job} was given up', self.server.complaints())

    def test_what_is_no_webhook_is_refused(self):
        self.begin()
        for webhook, word in (({'url': 'ftp://example.org/'}, 'url'), ({'url': 'https://example.org/' + 'a' * 2048}, '2048'), ({}, 'url'),
                              ({'url': 'https://example.org', 'events': ['progress']}, 'event')):
            answer = self.ask(webhook)
            self.assertEqual(answer.status, 400, webhook)
            self.assertIn(word, answer.json()['detail'])

    def test_without_a_secret_nothing_is_promised(self):
        self.begin(RIVULET_WEBHOOK_SECRET='')
        answer = self.ask({'url': self.receiver.url})
        self.assertEqual(answer.status, 400)
        self.assertIn('RIVULET_WEBHOOK_SECRET', answer.json()['detail'])

    def test_a_hanging_receiver_delays_no_job_and_no_other_receiver(self):
        self.begin(*['hang'] * 300)
        other = Receiver()
        self.addCleanup(other.close)
        for _ in range(150):
            self.job()
        for _ in range(4):                 # it has as many as it gets at a time
            self.receiver.next()
        began = time.monotonic()
        jobs = {self.job(url=other.url) for _ in range(50)}
        for job in jobs:
            self.server.wait_for(job, 'completed')
        self.assertEqual({other.next(5).json['data']['id'] for _ in jobs}, jobs)
        self.assertLess(time.monotonic() - began, 6)
        self.nothing_more(0.2)


if __name__ == '__main__':
    unittest.main()
