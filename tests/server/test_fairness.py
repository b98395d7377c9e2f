"""Turns and pools: a large job delays a small one by an item, and no more items run at once than a pipeline or what legs share allows."""
import json
import os
import tempfile
import time
import unittest

from rivulet_server import Rivulet

ALONE = 'the delay of one item has a bar'

ALICE, BOB = 'a' * 24, 'b' * 24
LARGE = 100000


def pipeline(name, resources=None, **more):
    leg = {'stages': ['noop'], **({'resources': resources} if resources else {})}
    return {'name': name, 'legs': [leg], **more}


def start(server, name, items, **headers):
    answer = server.ask('POST', f'/v1/jobs?pipeline={name}', json.dumps({'items': items}).encode(), {'Content-Type': 'application/json', **headers})
    content = answer.json()
    assert answer.status == 202, content
    return content['id']


def slow(count, ms):
    return [{'noop': {'sleep_ms': ms}}] * count


class Turns(unittest.TestCase):
    def test_a_large_job_delays_a_small_one_of_another_owner_by_an_item(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = os.path.join(folder, 'keys')
            with open(keys, 'w', encoding='utf-8') as file:
                file.write(f'alice {ALICE}\nbob {BOB}\n')
            os.chmod(keys, 0o600)
            server = Rivulet(pipeline('noop'), MAX_WORKERS=2, RIVULET_KEYS_FILE=keys)
            try:
                alice, bob = {'Authorization': f'Bearer {ALICE}'}, {'Authorization': f'Bearer {BOB}'}
                large = start(server, 'noop', slow(LARGE, 100), **alice)
                state = {}
                while not state.get('batches_completed'):
                    state = server.ask('GET', f'/v1/jobs/{large}', headers=alice).json()
                small = start(server, 'noop', [{'n': 1}], **bob)
                began = time.monotonic()
                while server.ask('GET', f'/v1/jobs/{small}', headers=bob).json()['status'] != 'completed':
                    time.sleep(0.005)
                taken = time.monotonic() - began
                now = server.ask('GET', f'/v1/jobs/{large}', headers=alice).json()
                self.assertLess(taken, 1)
                self.assertEqual(now['status'], 'running')
                self.assertEqual(server.ask('POST', f'/v1/jobs/{large}/cancel', headers=alice).status, 200)
                # Nobody but the large job ran meanwhile, and it no longer than these items take.
                self.assertLessEqual(now['batches_completed'] - state['batches_completed'], 2 * (taken / 0.1 + 2))
            finally:
                server.close()


class Pools(unittest.TestCase):
    def most_at_once(self, server, jobs):
        """Of all the jobs' items, by the counts in their frames."""
        most = {}
        for job in jobs:
            for frame in server.events(job).frames():
                if 'counts' in frame.data:
                    most[job] = max(most.get(job, 0), frame.data['counts'][1])
            self.assertEqual(server.document(job)['status'], 'completed')
        return most

    def test_a_pipeline_runs_no_more_items_than_its_concurrency(self):
        server = Rivulet(pipeline('narrow', concurrency=2), MAX_WORKERS=4)
        try:
            self.assertEqual(max(self.most_at_once(server, [start(server, 'narrow', slow(12, 10))]).values()), 2)
        finally:
            server.close()

    def test_what_legs_share_is_shared_by_all_jobs(self):
        server = Rivulet(pipeline('gpu', {'gpu': 1}), MAX_WORKERS=4)
        try:
            jobs = [start(server, 'gpu', slow(6, 10)) for _ in range(3)]
            self.assertEqual(set(self.most_at_once(server, jobs).values()), {1})
        finally:
            server.close()

    def test_the_table_says_how_many_there_are(self):
        server = Rivulet(pipeline('gpu', {'gpu': 1}), MAX_WORKERS=4, RIVULET_RESOURCES='gpu=3')
        try:
            self.assertEqual(set(self.most_at_once(server, [start(server, 'gpu', slow(30, 20))]).values()), {3})
        finally:
            server.close()

    def test_a_pipeline_that_could_never_start_is_told_at_the_start(self):
        with self.assertRaises(AssertionError) as told:
            Rivulet(pipeline('gpu', {'gpu': 2}))
        self.assertIn('RIVULET_RESOURCES', str(told.exception))


if __name__ == '__main__':
    unittest.main()
