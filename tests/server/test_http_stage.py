"""The stage http and what all stages that leave the machine share, against another side that refuses, dawdles, fails and lies."""
import http.server
import json
import os
import threading
import time
import unittest

from rivulet_server import Rivulet

KEY = 'sk-canary-77ab12ff'


class Side:
    """Another side on loopback. script(call) answers a dict {status, body, headers, wait_s}; call: path, headers, body, number, of (calls of that body)."""

    def __init__(self, script):
        self.script, self.calls, self.lock, self.of = script, [], threading.Lock(), {}
        side = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_any(self):
                body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                with side.lock:
                    side.of[body] = side.of.get(body, -1) + 1
                    call = {'at': time.monotonic(), 'method': self.command, 'path': self.path, 'headers': dict(self.headers), 'body': body,
                            'number': len(side.calls), 'of': side.of[body]}
                    side.calls.append(call)
                told = side.script(call) or {}
                time.sleep(told.get('wait_s', 0))
                text = told.get('body', body if body else b'{}')
                text = text if isinstance(text, bytes) else json.dumps(text).encode()
                try:
                    self.send_response(told.get('status', 200))
                    for name, value in told.get('headers', {}).items():
                        self.send_header(name, value)
                    self.send_header('Content-Length', str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    pass

            do_GET = do_POST = do_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.base = f'http://127.0.0.1:{self.server.server_port}'
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def bodies(self):
        return [json.loads(call['body']) for call in self.calls]


def stage(side, common=None, **more):
    told = {'method': 'POST', 'url': '"/run"', 'base': side.base, **more}
    return {'stage': 'http', 'name': 'ask', 'with': {key: value for key, value in told.items() if value is not None}, **(common or {})}


def pipeline(*stages, records=False, **more):
    leg = {'stages': list(stages), 'timeout_s': 30, 'attempts': 3, 'backoff_ms': [20, 40], **({'each': 'record'} if records else {})}
    leg.update(more.pop('leg', {}))
    return {'name': 'calls', 'in_flight': 100, 'legs': [leg], **more}


class HttpStage(unittest.TestCase):
    def begin(self, script, make, **settings):
        self.side = Side(script)
        self.addCleanup(self.side.close)
        self.server = Rivulet(make(self.side), TEST_CALL_KEY=KEY, **settings)
        self.addCleanup(self.server.close)

    def post(self, values, **more):
        body = json.dumps({'items': [{'value': value} for value in values], **more}).encode()
        answer = self.server.ask('POST', '/v1/jobs?pipeline=calls', body, {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 202, answer.body() if answer.status != 202 else '')
        return answer.json()['id']

    def ended(self, job):
        return self.server.wait_for(job, 'completed', 'error', 'cancelled')

    def wait_for_calls(self, count):
        deadline = time.monotonic() + 10
        while len(self.side.calls) < count:
            self.assertLess(time.monotonic(), deadline, f'only {len(self.side.calls)} calls came')
            time.sleep(0.005)

    def run_job(self, values, **more):
        job = self.post(values, **more)
        return job, self.ended(job)

    def items(self, job):
        return self.server.get(f'/v1/jobs/{job}/items').json()['items']

    def results(self, job):
        frames = self.server.events(job).frames()
        return {frame.data['item']: frame.data['result'] for frame in frames if frame.event == 'result'}

    def test_items_are_called_and_what_is_said_goes_along(self):
        self.begin(lambda call: None, lambda side: pipeline(stage(side, url='"/run/\\(.n)"', body='{n, word: $params.word, job: $job.id}',
                                                                  headers={'X-Item': '$item.index | tostring'})))
        job, document = self.run_job([{'n': n} for n in range(20)], params={'word': 'hi'})
        self.assertEqual((document['status'], document['batches_completed']), ('completed', 20))
        self.assertEqual(self.results(job)[7], {'n': 7, 'word': 'hi', 'job': job})
        self.assertEqual({call['path'] for call in self.side.calls}, {f'/run/{n}' for n in range(20)})
        keys = {call['headers']['Idempotency-Key'] for call in self.side.calls}
        self.assertEqual(len(keys), 20)
        self.assertTrue(all(key.startswith(job) for key in keys))
        self.assertTrue(all(call['headers']['X-Item'] == call['path'].rsplit('/', 1)[1] for call in self.side.calls))
        self.assertEqual(document['usage']['calls'], 20)

    def test_calls_and_pauses_are_counted(self):
        self.begin(lambda call: {'status': 429, 'headers': {'Retry-After-Ms': '20'}} if call['number'] == 0 else None,
                   lambda side: pipeline(stage(side, common={'concurrency': 1})))
        self.run_job([{'n': n} for n in range(5)])
        numbers = dict(line.rsplit(' ', 1) for line in self.server.get('/metrics').body().decode().split('\n') if line and line[0] != '#')
        told = {name: int(numbers[name]) for name in ('rivulet_calls_total{outcome="2xx"}', 'rivulet_calls_total{outcome="4xx"}', 'rivulet_pauses_total',
                                                      'rivulet_calls_open', 'rivulet_calls_waiting', 'rivulet_paused')}
        self.assertEqual(list(told.values()), [5, 1, 1, 0, 0, 0])

    def test_one_429_pauses_all_and_costs_no_attempt(self):
        """Twenty calls at once are refused together: everybody waits, one goes to see, and then the others follow."""
        pause_s = wait_s = 0.4

        def script(call):
            if time.monotonic() < self.open_at:
                return {'status': 429, 'headers': {'Retry-After-Ms': str(int(1000 * pause_s))}, 'body': b'too many', 'wait_s': wait_s}
            return None
        self.open_at = time.monotonic() + 3600
        self.begin(script, lambda side: pipeline(stage(side, common={'concurrency': 20}), leg={'attempts': 1}))
        job = self.post([{'n': n} for n in range(40)])
        self.wait_for_calls(20)
        self.open_at = time.monotonic() + wait_s + pause_s / 2
        self.assertEqual(self.ended(job)['batches_completed'], 40)
        refused = [call for call in self.side.calls if call['at'] < self.open_at]
        self.assertLessEqual(len(refused), 20, 'nobody called while all had to wait')
        later = sorted(call['at'] for call in self.side.calls if call['at'] >= self.open_at)
        self.assertEqual(len(later), 40)
        self.assertGreaterEqual(later[0] - refused[-1]['at'], wait_s + pause_s * 0.9)

    def test_what_may_be_temporary_is_tried_again_and_the_rest_is_not(self):
        def script(call):
            value = json.loads(call['body'])
            if value['how'] == 'cut' and call['of'] < 2:
                return {'body': b'{"cut":'}
            if value['how'] == 'once' and call['of'] == 0:
                return {'status': 500, 'body': b'oops'}
            if value['how'] == 'slow' and call['of'] == 0:
                return {'wait_s': 2}
            if value['how'] == 'never':
                return {'status': 503, 'body': b'down'}
            return {'status': 404, 'body': b'not here'} if value['how'] == 'gone' else None
        self.begin(script, lambda side: pipeline(stage(side, common={'timeout_us': 500000})))
        hows = ['well', 'cut', 'once', 'slow', 'never', 'gone']
        job, document = self.run_job([{'how': how} for how in hows])
        self.assertEqual((document['batches_completed'], document['batches_failed']), (4, 2))
        self.assertEqual(sorted(self.results(job)), [0, 1, 2, 3])
        items = self.items(job)
        self.assertEqual((items[4]['error_type'], items[5]['error_type']), ('status', 'status'))
        self.assertIn('answered 404: not here', items[5]['error'])
        called = {how: sum(1 for body in self.side.bodies() if body['how'] == how) for how in hows}
        self.assertEqual(called, {'well': 1, 'cut': 3, 'once': 2, 'slow': 2, 'never': 3, 'gone': 1})

    def test_addresses_out_of_items_must_be_public(self):
        self.begin(lambda call: None, lambda side: pipeline({'stage': 'http', 'with': {'url': '.url', 'redirects': True}}))
        urls = [f'{self.side.base}/admin', 'http://localhost:1/x', 'http://[::1]:1/', 'http://169.254.169.254/latest/meta-data/', 'http://10.0.0.1/',
                'http://0x7f.1/', 'ftp://example.com/', 'file:///etc/passwd']
        job, document = self.run_job([{'url': url} for url in urls])
        self.assertEqual((document['status'], document['batches_failed']), ('error', len(urls)))
        self.assertEqual({item['error_type'] for item in self.items(job)}, {'validation'})
        self.assertEqual(self.side.calls, [])

    def test_secrets_stay_at_home(self):
        """Not in events, documents or log lines, although the other side quotes them; and not to anybody else than the base."""
        def script(call):
            return {'status': 401, 'body': f'no such key: {call["headers"].get("Authorization")}'.encode()}
        self.begin(script, lambda side: pipeline(stage(side, url='.url // "/run"', auth={'bearer': {'$env': 'TEST_CALL_KEY'}}, allow_private=True)))
        other = Side(lambda call: None)
        self.addCleanup(other.close)
        job, document = self.run_job([{'n': 1}, {'url': f'{other.base}/elsewhere'}])
        self.assertEqual(self.side.calls[0]['headers']['Authorization'], f'Bearer {KEY}')
        self.assertNotIn('Authorization', other.calls[0]['headers'])
        self.assertIn('no such key', self.items(job)[0]['error'])
        stream = self.server.events(job)
        stream.frames()
        self.assertNotIn(KEY, json.dumps([document, self.items(job)]) + stream.raw.decode())
        self.server.stop()
        self.assertNotIn(KEY, self.server.complaints())
        for folder, _, names in os.walk(self.server.dir):
            for name in names:
                with open(os.path.join(folder, name), 'rb') as file:
                    self.assertNotIn(KEY.encode(), file.read(), name)

    def test_records_that_are_done_are_not_done_again_after_a_kill(self):
        def script(call):
            if json.loads(call['body'])['n'] >= 6 and not self.go_on.is_set():
                self.go_on.wait(10)
            return {'wait_s': 0.01}
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        self.begin(script, lambda side: pipeline({'stage': 'jq', 'with': {'program': '. + {seen: true}'}}, stage(side, common={'concurrency': 4}),
                                                 records=True, leg={'marks': {'score': '.n', 'hit': '.n > 100'}}, top={'keep': '3'}))
        job = self.post([[{'n': n} for n in range(12)]])
        stream = self.server.events(job)
        done = set()
        while len(done) < 6:
            frame = stream.frame()
            if frame.data and frame.data.get('state') == 'record':
                done.add(frame.data['record'])
        self.server.kill()
        self.go_on.set()
        before = len(self.side.calls)
        self.server.start()
        document = self.ended(job)
        self.assertEqual(document['status'], 'completed')
        self.assertEqual(self.results(job)[0], [{'n': n, 'seen': True} for n in range(12)])
        again = [json.loads(call['body'])['n'] for call in self.side.calls[before:]]
        self.assertFalse(done & set(again), 'what was stored is not paid twice')
        self.assertEqual(document['usage']['calls'], 12)

    def test_results_that_are_kept_are_not_asked_for_again(self):
        def script(call):
            return {'status': 400} if json.loads(call['body']).get('bad') else {'body': {'number': call['number']}}
        self.begin(script, lambda side: pipeline(stage(side, common={'cache': {'key': '.k', 'ttl_us': 3600000000}}), leg={'attempts': 1}))
        job, _ = self.run_job([{'k': 1}, {'k': 2}])
        first = self.results(job)
        calls = len(self.side.calls)
        job, document = self.run_job([{'k': 1, 'more': 1}, {'k': 2}])
        self.assertEqual((self.results(job), len(self.side.calls)), (first, calls))
        self.assertEqual(document['usage']['cache_hits'], 2)
        for _ in range(2):
            job, document = self.run_job([{'k': 'x', 'bad': True}])
            self.assertEqual(document['status'], 'error', 'an error is never kept')
        self.assertEqual(len(self.side.calls), calls + 2)

    def test_a_job_that_is_cancelled_waits_for_nobody(self):
        self.begin(lambda call: {'wait_s': 5}, lambda side: pipeline(stage(side, common={'concurrency': 2})))
        job = self.post([{'n': n} for n in range(30)])
        self.wait_for_calls(2)
        before = time.monotonic()
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/cancel').status // 100, 2)
        self.assertEqual(self.ended(job)['status'], 'cancelled')
        self.assertLess(time.monotonic() - before, 2)
        self.assertEqual(len(self.side.calls), 2)


if __name__ == '__main__':
    program = unittest.main(exit=False, verbosity=1)
    failed = len(program.result.failures) + len(program.result.errors)
    print(f'{program.result.testsRun - failed} passed, {failed} failed')
    raise SystemExit(1 if failed else 0)
