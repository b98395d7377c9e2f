"""How long finished jobs live: not a moment less than they should, and not for ever."""
import json
import os
import socket
import sqlite3
import subprocess
import time
import unittest

from rivulet_server import PROGRAM, Rivulet, item
from runs import until

KEEP_S, LATE_S = 3, 30
ITEMS = 400                        # of 20 KB each: far more than the buffers of a socket hold


class Retention(unittest.TestCase):
    def files(self):
        return [name for _, _, names in os.walk(os.path.join(self.server.dir, 'blobs')) for name in names]

    def test_a_job_lives_its_time_and_then_goes_with_its_files(self):
        self.server = Rivulet(RIVULET_RETENTION=f'{KEEP_S}s')
        self.addCleanup(self.server.close)
        began = time.monotonic()
        job = self.server.post('/v1/jobs?pipeline=noop', [('a', None, item(pad=100000))]).json()['id']
        going = self.server.post('/v1/jobs?pipeline=noop', [('b', None, item(hang=True))]).json()['id']
        self.server.wait_for(job, 'completed')
        self.assertTrue(self.files())
        while True:
            if self.server.get(f'/v1/jobs/{job}').status == 404:
                break
            self.assertIn(self.server.get(f'/v1/jobs/{job}/items/0/result').status, (200, 404, 410))      # 410: its row was there, its file not any more
            time.sleep(0.05)
        took = time.monotonic() - began
        self.assertGreater(took, KEEP_S, 'it went early')
        self.assertLess(took, KEEP_S + LATE_S)
        self.assertEqual(self.server.get(f'/v1/jobs/{job}/events').status, 404)
        self.assertEqual([one['id'] for one in self.server.get('/v1/jobs').json()['jobs']], [going])
        while len(self.files()) > 1:      # the input of the one that goes on stays
            time.sleep(0.05)

    def test_a_job_that_is_being_removed_has_no_items_any_more(self):
        """A reader that takes nothing holds the job in memory, while on the disk it is marked as going. Between the two no look fails: what was asked for is not there."""
        self.server = Rivulet(RIVULET_RETENTION='0')
        self.addCleanup(self.server.close)
        orders = [{'fail': 'no'}, *[{'pad': 20000}] * ITEMS, {'pad': 100000}]
        job = self.server.ask('POST', '/v1/jobs?pipeline=noop', '\n'.join(json.dumps({'noop': order}) for order in orders).encode(),
                              {'Content-Type': 'application/jsonl'}).json()['id']
        reader = socket.socket()
        self.addCleanup(reader.close)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(('127.0.0.1', self.server.port))
        reader.sendall(f'GET /v1/jobs/{job}/events HTTP/1.0\r\nHost: localhost\r\n\r\n'.encode())
        self.server.wait_for(job, 'completed')
        self.assertEqual(self.server.get(f'/v1/jobs/{job}/items/0').status, 200)
        base = sqlite3.connect(os.path.join(self.server.dir, 'log.db'), timeout=10)
        with base:
            base.execute('UPDATE job SET state=3 WHERE id=?', (job,))
        base.close()
        until(lambda: self.server.get(f'/v1/jobs/{job}/items/0').status != 200)      # the states of its items are in memory for a moment more
        for path in ('/items/0', f'/items/{ITEMS + 1}/result', '/items', '/items?state=completed'):
            answer = self.server.get(f'/v1/jobs/{job}{path}')
            told = answer.body().decode()
            with self.subTest(path):
                self.assertEqual(answer.status, 404, told)
                self.assertIn('There is no job', told)
        answer = self.server.ask('POST', f'/v1/jobs/{job}/retry', json.dumps({'items': [0]}).encode(), {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 404, answer.body())
        self.assertEqual(self.server.get(f'/v1/jobs/{job}').status, 200, 'the job is not in memory: nothing was tried')

    def test_a_job_with_a_key_lives_as_long_as_the_key(self):
        self.server = Rivulet(RIVULET_RETENTION='1s')
        self.addCleanup(self.server.close)
        plain = self.server.post('/v1/jobs?pipeline=noop', [('a', None, item())]).json()['id']
        keyed = self.server.post('/v1/jobs?pipeline=noop', [('a', None, item())], Idempotency_Key='mine').json()['id']
        self.server.wait_for(plain, 'completed')
        self.server.wait_for(keyed, 'completed')
        while self.server.get(f'/v1/jobs/{plain}').status != 404:
            time.sleep(0.05)
        self.assertEqual(self.server.document(keyed)['status'], 'completed')
        again = self.server.post('/v1/jobs?pipeline=noop', [('a', None, item())], Idempotency_Key='mine')
        self.assertEqual(again.json()['id'], keyed)

    def test_a_time_without_a_unit_is_refused(self):
        for value in ('7', 'x', '1w', '-1d', '99999999999999d', '40000d', ''):
            done = subprocess.run([PROGRAM, 'serve', '--retention', value], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, value)
            self.assertIn('it must be a time such as', done.stderr)


if __name__ == '__main__':
    unittest.main()
