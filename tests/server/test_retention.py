"""How long finished jobs live: not a moment less than they should, and not for ever."""
import os
import subprocess
import time
import unittest

from rivulet_server import PROGRAM, Rivulet, item

KEEP_S = 3


class Retention(unittest.TestCase):
    def files(self):
        return [name for _, _, names in os.walk(os.path.join(self.server.dir, 'blobs')) for name in names]

    def test_a_job_lives_its_time_and_then_goes_with_its_files(self):
        self.server = Rivulet(RIVULET_RETENTION=f'{KEEP_S}s')
        self.addCleanup(self.server.close)
        job = self.server.post('/v1/jobs?pipeline=noop', [('a', None, item(pad=100000))]).json()['id']
        going = self.server.post('/v1/jobs?pipeline=noop', [('b', None, item(hang=True))]).json()['id']
        self.server.wait_for(job, 'completed')
        ended = time.monotonic()
        self.assertTrue(self.files())
        while True:
            asked = time.monotonic()
            if self.server.get(f'/v1/jobs/{job}').status == 404:
                break
            self.assertIn(self.server.get(f'/v1/jobs/{job}/items/0/result').status, (200, 404, 410))      # 410: its file went between two looks
            time.sleep(0.05)
        self.assertGreater(time.monotonic() - ended, KEEP_S - 0.5, 'it went early')
        self.assertLess(asked - ended, KEEP_S + 5)
        self.assertEqual(self.server.get(f'/v1/jobs/{job}/events').status, 404)
        self.assertEqual([one['id'] for one in self.server.get('/v1/jobs').json()['jobs']], [going])
        while len(self.files()) > 1:      # the input of the one that goes on stays
            time.sleep(0.05)

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
