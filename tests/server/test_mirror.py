"""The Firestore mirror: documents as the log says, through faults, lost answers, late commits and a server that is killed."""
import json
import random
import time
import unittest

from firestore_double import LATE_S, Firestore
from rivulet_server import Rivulet

ENDS = ('completed', 'error', 'skipped')
RESULT = '. as $in | if .many then [range(.many) | {id: ., text: ("x" * $in.wide)}] elif .deep then .deep else [{n: .n}] end'


def pipeline(**firestore):
    return {'name': 'mirrored', 'in_flight': 4, 'mirror': {'firestore': {'project': 'demo', **firestore}},
            'legs': [{'stages': ['noop', {'stage': 'jq', 'with': {'program': RESULT}}], 'timeout_s': 10, 'attempts': 3, 'backoff_ms': [10, 20]}]}


class MirrorTest(unittest.TestCase):
    def begin(self, fault=None, **firestore):
        self.firestore = Firestore(fault)
        self.addCleanup(self.firestore.close)
        self.server = Rivulet(pipeline(**firestore), FIRESTORE_EMULATOR_HOST=self.firestore.address)
        self.addCleanup(self.server.close)

    def submit(self, items, **more):
        answer = self.server.ask('POST', '/v1/jobs', json.dumps({'pipeline': 'mirrored', 'items': items, **more}), {'Content-Type': 'application/json'})
        self.assertIn(answer.status, (201, 202), answer.body() if answer.status >= 400 else '')
        return answer.json()['id']

    def mirrored(self, job, *states, timeout=60):
        """The job's document once it has one of the states."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            document = self.firestore.get(f'pipeline_jobs/{job}')
            if document and document.get('status') in states:
                return document
            time.sleep(0.02)
        self.fail(f'the mirror never said {states}: {document} {self.server.complaints()}')

    def check_exact(self, job, total):
        """Each batch document ended once and as the log says; the counters were right in every version that could be seen."""
        self.assertEqual(self.firestore.problems, [])
        items = {item['item']: item for item in self.items(job)}
        self.assertEqual(len(items), total)
        counts = dict.fromkeys(ENDS, 0)
        for n, item in items.items():
            path = f'pipeline_jobs/{job}/batches/{n}'
            document = self.firestore.get(path)
            told = {'done': 'completed', 'completed': 'completed', 'failed': 'error', 'skipped': 'skipped'}[item['state']]
            self.assertEqual(document['status'], told, path)
            counts[told] += 1
            ends = [fields for _, fields in self.firestore.versions(path) if fields['status'] in ENDS]
            self.assertEqual(len(ends), 1, f'{path} was written {len(ends)} times after its end')
        document = self.firestore.get(f'pipeline_jobs/{job}')
        self.assertEqual((document['batches_completed'], document['batches_failed'], document['batches_skipped']),
                         (counts['completed'], counts['error'], counts['skipped']))
        self.assertEqual((document['total_batches'], document['batches_pending'], document['batches_processing']), (total, 0, 0))
        done = [n for n in items if self.firestore.get(f'pipeline_jobs/{job}/batches/{n}')['status'] == 'completed']
        self.assertEqual(sorted(document['completed_batch_indices'] if done else []), sorted(done))
        self.assertEqual(document['overall_progress'], 100)
        self.check_versions(job)

    def check_versions(self, job):
        seq = progress = ended = 0
        for _, fields in self.firestore.versions(f'pipeline_jobs/{job}'):
            now = fields['batches_completed'] + fields['batches_failed'] + fields['batches_skipped']
            self.assertEqual(now + fields['batches_pending'] + fields['batches_processing'], fields['total_batches'])
            self.assertGreater(fields['log_seq'], seq)
            self.assertGreaterEqual(fields['overall_progress'], progress)
            self.assertGreaterEqual(now, ended)
            seq, progress, ended = fields['log_seq'], fields['overall_progress'], now

    def items(self, job):
        found, after = [], ''
        while True:
            page = self.server.get(f'/v1/jobs/{job}/items?limit=200{after}').json()
            found += page['items']
            if len(page['items']) < 200:
                return found
            after = f'&after={found[-1]["item"]}'

    def test_a_job_becomes_documents(self):
        self.begin()
        job = self.submit([{'n': 1}, {'noop': {'fail': 'it is bad'}}, {'n': 3, 'noop': {'sleep_ms': 300}}])
        document = self.mirrored(job, 'completed')
        self.check_exact(job, 3)
        for name in ('created_at', 'started_at', 'completed_at', 'updated_at'):
            self.assertRegex(document[name], r'^20\d\d-.*Z$')
        self.assertEqual(document['job_id'], job)
        self.assertIsNone(document['error_message'])
        good, bad = (self.firestore.get(f'pipeline_jobs/{job}/batches/{n}') for n in (0, 1))
        self.assertEqual(good['profiles'], [{'n': 1}])
        self.assertEqual(good['attempts'], 1)
        self.assertIn('started_at', good)
        self.assertIn('it is bad', bad['error'])
        self.assertEqual(self.firestore.tokens, {'Bearer owner'})

    def test_the_job_document_is_written_once_a_second_at_most_and_the_last_state_always(self):
        self.begin()
        job = self.submit([{'n': n, 'noop': {'sleep_ms': 30}} for n in range(150)])
        self.mirrored(job, 'completed')
        self.check_exact(job, 150)
        times = [at for at, _ in self.firestore.versions(f'pipeline_jobs/{job}')]
        self.assertGreater(len(times), 2)
        self.assertGreater(min(b - a for a, b in zip(times, times[1:])), 0.95)

    def test_faults_and_lost_answers_change_nothing(self):
        chance = random.Random(5)
        kinds = ['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'ABORTED', 'INTERNAL', 'DEADLINE_EXCEEDED', 'lost', 'late', ('RESOURCE_EXHAUSTED', {'Retry-After': '1'})]
        self.begin(lambda number, path: chance.choice(kinds) if chance.random() < 0.5 else None)
        jobs = [self.submit([{'n': n, 'noop': {'sleep_ms': 60, **({'fail': 'bad'} if n % 7 == 3 else {})}} for n in range(30)]) for _ in range(3)]
        for job in jobs:
            self.mirrored(job, 'completed')
            self.check_exact(job, 30)
        self.assertGreater(self.firestore.faults, 10)

    def test_a_commit_that_is_done_late_puts_no_old_state_above_a_new_one(self):
        commits = iter(range(1000))
        self.begin(lambda number, path: 'late' if path.endswith(':commit') and next(commits) % 2 == 0 else None)
        job = self.submit([{'n': n, 'noop': {'sleep_ms': 40}} for n in range(60)])
        self.mirrored(job, 'completed')
        time.sleep(LATE_S + 0.2)         # what is late is done by then
        self.check_exact(job, 60)

    def test_a_server_that_is_killed_again_and_again_loses_and_doubles_nothing(self):
        chance = random.Random(11)
        self.begin(lambda number, path: chance.choice(['UNAVAILABLE', 'lost']) if chance.random() < 0.2 else None)
        job = self.submit([{'n': n, 'noop': {'sleep_ms': 60}} for n in range(100)])
        for _ in range(5):
            time.sleep(chance.uniform(0.1, 0.7))
            self.server.kill()
            self.server.start()
        self.mirrored(job, 'completed')
        self.check_exact(job, 100)

    def test_a_cancelled_job_has_skipped_batches(self):
        self.begin()
        job = self.submit([{'n': n, 'noop': {'sleep_ms': 100}} for n in range(700)])
        self.mirrored(job, 'running')
        self.server.ask('POST', f'/v1/jobs/{job}/cancel').body()
        document = self.mirrored(job, 'cancelled')
        self.assertTrue(document['cancel_requested'])
        self.check_exact(job, 700)
        self.assertLessEqual(max(map(len, self.firestore.commits)), 500)

    def test_long_results_go_into_chunks_before_the_batch_names_them(self):
        self.begin()
        deep = [[1, [2, [3]]], {'': 1, '__name__': 2}]
        for _ in range(8):
            deep = {'in': [deep]}
        job = self.submit([{'many': 300, 'wide': 9000}, {'many': 1, 'wide': 2000000}, {'deep': deep}, {'many': 20, 'wide': 4000}])
        self.mirrored(job, 'completed', timeout=30)
        self.check_exact(job, 4)
        base = f'pipeline_jobs/{job}/batches/'
        first, second, whole = (self.firestore.get(base + n) for n in ('0', '1', '3'))
        self.assertEqual((first['chunks_of'], first['result_count']), ('values', 300))
        parts = [self.firestore.get(f'{base}0/chunks/{k}') for k in range(first['chunks'])]
        self.assertEqual([one['id'] for part in parts for one in part['profiles']], list(range(300)))
        self.assertEqual(second['chunks_of'], 'json')
        text = ''.join(self.firestore.get(f'{base}1/chunks/{k}')['json'] for k in range(second['chunks']))
        self.assertEqual(len(json.loads(text)[0]['text']), 2000000)
        self.assertEqual(len(whole['profiles']), 20)
        self.assertLessEqual(self.firestore.doc_max, 1 << 20)
        order = [name for commit in self.firestore.commits for name in commit]
        done = max(n for n, name in enumerate(order) if name == base + '0')
        self.assertGreater(done, max(n for n, name in enumerate(order) if name.startswith(base + '0/chunks/')))

    def test_what_cannot_succeed_is_given_up_with_a_line_and_the_job_does_not_notice(self):
        self.begin(lambda number, path: 'PERMISSION_DENIED' if path.endswith(':commit') else None)
        job = self.submit([{'n': 1}])
        self.assertEqual(self.server.wait_for(job, 'completed')['status'], 'completed')
        until = time.monotonic() + 20
        while 'is given up' not in self.server.complaints() and time.monotonic() < until:
            time.sleep(0.02)
        self.assertIn(f'the mirror of job {job} is given up', self.server.complaints())

    def test_a_firestore_that_does_not_answer_delays_no_job(self):
        self.begin(lambda number, path: 'hang')
        jobs = [self.submit([{'n': n} for n in range(50)]) for _ in range(20)]
        began = time.monotonic()
        for job in jobs:
            self.server.wait_for(job, 'completed')
        self.assertLess(time.monotonic() - began, 10)

    def test_paths_and_names_are_the_pipelines_own(self):
        self.begin(job='"tenants/\\($params.tenant)/runs/\\($job.id)"', batch='"parts/p\\($batch.index)"', results_key='rows', database='other')
        job = self.submit([{'n': 5}], params={'tenant': 'a/b'})
        until = time.monotonic() + 20
        while time.monotonic() < until and (self.firestore.get(f'tenants/a_b/runs/{job}') or {}).get('status') != 'completed':
            time.sleep(0.02)
        self.assertEqual(self.firestore.get(f'tenants/a_b/runs/{job}/parts/p0')['rows'], [{'n': 5}])
        self.assertTrue(all('/databases/other/' in name for name in self.firestore.documents))

    def test_other_fields_of_the_documents_are_left_alone(self):
        self.begin()
        job = self.submit([{'n': n, 'noop': {'sleep_ms': 500}} for n in range(4)])
        self.mirrored(job, 'running')
        with self.firestore.lock:
            name = next(name for name in self.firestore.documents if name.endswith(job))
            self.firestore.documents[name]['fields']['uid'] = {'stringValue': 'somebody'}
            self.firestore.documents[name]['updateTime'] = self.firestore.now()
        self.assertEqual(self.mirrored(job, 'completed')['uid'], 'somebody')
        self.check_exact(job, 4)


if __name__ == '__main__':
    unittest.main()
