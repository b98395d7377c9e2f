"""Remote jobs against a collector that lies, cuts the wire, refuses, bans and forgets: started once, each polled on its own clock, fetched whole."""
import json
import os
import random
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from collector import Collector  # noqa: E402
from rivulet_server import Rivulet  # noqa: E402

ALONE = 'between two polls there is a bar of 0.15 s'

EVERY_S = 0.1
GATHER = [{'stages': [{'stage': 'split', 'with': {'program': '.[]'}}]}, None, {'stages': [{'stage': 'gather', 'with': {}}]}]
ROW_KEY = '.input.url // .url'


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def merged(into, more):
    for key, value in more.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merged(into[key], value)
        else:
            into[key] = value
    return into


def stage(collector, common=None, every_s=EVERY_S, **more):
    """more goes into `with`, member by member; None takes a member away."""
    told = {
        'base': collector.base,
        'start': {'method': 'POST', 'url': '"/trigger?dataset_id=d&include_errors=true"', 'body': 'map({url: .})', 'id': '.snapshot_id'},
        'poll': {'url': '"/progress/\\($id)"', 'state': '.status', 'done': ['ready'], 'failed': ['failed'], 'error': '.error_message',
                 'every_us': [int(every_s * 1e6), int(every_s * 1e6)]},
        'fetch': {'url': '"/snapshot/\\($id)?format=jsonl"', 'as': 'jsonl', 'retry_on': [202]},
        'join': {'row_key': ROW_KEY},
        'cancel': {'method': 'POST', 'url': '"/snapshot/\\($id)/cancel"'},
    }
    return {'stage': 'remote_job', 'name': 'collect', 'with': merged(told, more), 'timeout_us': 30000000, **(common or {})}


def pipeline(*stages, size=3, **more):
    """Stages of one leg each; a list of stages is a leg of records, between split and gather. size None: what is posted are the batches."""
    legs = []
    for one in stages:
        if isinstance(one, list):
            legs += [GATHER[0], {'each': 'record', 'stages': one}, GATHER[2]]
        else:
            legs.append({'stages': [one]})
    legs = [{'timeout_s': 60, 'attempts': 3, 'backoff_ms': [20, 40], **leg} for leg in legs]
    return {'name': 'profiles', 'result_key': 'profiles', 'in_flight': 1000, 'legs': legs, **({'batch': {'size': size}} if size else {}), **more}


def urls(count, first=0):
    return [f'https://social.example/{number}' for number in range(first, first + count)]


class Watcher(threading.Thread):
    """Reads a job's stream and remembers when each frame came."""

    def __init__(self, server, job):
        super().__init__(daemon=True)
        self.answer, self.frames = server.events(job), []
        self.start()

    def run(self):
        while True:
            frame = self.answer.frame()
            if frame is None:
                return
            self.frames.append((time.monotonic(), frame))

    def first(self, item, state):
        """When the item was told to be in a state: of one item, for the first time."""
        return next((at for at, frame in self.frames if frame.event == 'progress' and frame.data.get('item') == item
                     and frame.data.get('state') == state), None)


class RemoteJobs(unittest.TestCase):
    def begin(self, script=None, make=pipeline, common=None, every_s=EVERY_S, settings=None, collector=None, then=(), size=3, job=None, **more):
        self.collector = Collector(script, **(collector or {}))
        self.addCleanup(self.collector.close)
        made = make(stage(self.collector, common, every_s, **more), *then, size=size, **(job or {}))
        self.server = Rivulet(made, RIVULET_NET_ALLOW='127.0.0.1', **(settings or {}))
        self.addCleanup(self.server.close)

    def post(self, items):
        answer = self.server.ask('POST', '/v1/jobs?pipeline=profiles', json.dumps({'items': items}).encode(), {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 202, answer.body() if answer.status != 202 else '')
        return answer.json()['id']

    def ended(self, job):
        return self.server.wait_for(job, 'completed', 'error', 'cancelled')

    def rows(self, job):
        """The rows of all items, in their order."""
        found = []
        for number in range(self.ended(job)['counts'][2]):
            answer = self.server.get(f'/v1/jobs/{job}/items/{number}/result')
            self.assertEqual(answer.status, 200)
            found += answer.json()
        return found

    def run_job(self, count=3):
        """Rows of one job that completes."""
        job = self.post(urls(count))
        document = self.ended(job)
        self.assertEqual(document['status'], 'completed', self.failures(job))
        return self.rows(job)

    def failures(self, job):
        items = self.server.get(f'/v1/jobs/{job}/items').json()['items']
        return [(item.get('error_type'), item.get('error')) for item in items if item.get('error')]

    def failure(self, count=3):
        job = self.post(urls(count))
        self.assertEqual(self.ended(job)['status'], 'error')
        return self.failures(job)[0]

    def check_once(self, snapshots):
        self.assertEqual(len(self.collector.snapshots), snapshots)
        self.assertEqual(self.collector.second_triggers(), [])

    # ---- its own clock ----

    def test_a_ready_batch_waits_for_nobody(self):
        """W15: the reference polled again only when the LLM calls of all that was ready were over."""
        slow = {'stage': 'http', 'name': 'fit', 'with': {'method': 'POST', 'base': None, 'url': '"/slow?ms=3000"', 'body': '.'}}
        self.begin(lambda snapshot: {'ready_s': 0.3 * snapshot.number}, make=lambda collect, **more: pipeline(
            collect, [{**slow, 'with': {**slow['with'], 'base': collect['with']['base']}}], **more))
        job = self.post(urls(15))
        watcher = Watcher(self.server, job)
        self.collector.wait(lambda: len(self.collector.snapshots) == 5 and all(snapshot.done_at for snapshot in self.collector.snapshots), 10)
        for snapshot in self.collector.snapshots:
            self.assertLess(snapshot.done_at - snapshot.ready_at, EVERY_S + 1)
        self.assertGreater(self.collector.slow_now, 0)
        self.ended(job)
        watcher.join(10)
        stepped = sorted(watcher.first(item, 'stepped') for item in range(5))
        for snapshot, at in zip(self.collector.snapshots, stepped):
            self.assertLess(at - snapshot.ready_at, EVERY_S + 1)

    def test_a_poll_that_hangs_delays_no_other(self):
        self.begin(lambda snapshot: {'hang_polls': (5,) if snapshot.number == 1 else (), 'ready_s': 0.3})
        began = time.monotonic()
        job = self.post(urls(18))
        self.collector.wait(lambda: sum(snapshot.done_at is not None for snapshot in self.collector.snapshots) == 5)
        self.assertLess(time.monotonic() - began, 3)
        self.assertIsNone(self.collector.snapshots[0].done_at)
        self.assertEqual(self.ended(job)['status'], 'completed')

    def test_polls_come_as_often_as_was_said(self):
        self.begin({'ready_s': 1.6}, every_s=0.2)
        self.run_job()
        polls = self.collector.of('progress')
        self.assertLessEqual(6, len(polls))
        self.assertLessEqual(len(polls), 14)
        for one, next_one in zip(polls, polls[1:]):
            self.assertLess(next_one.at - one.at, 0.2 + 0.15)

    def test_the_wait_grows(self):
        self.begin({'ready_s': 1.5}, poll={'every_us': [50000, 1000000]})
        self.run_job()
        self.assertLessEqual(len(self.collector.of('progress')), 9)

    # ---- what it says ----

    def test_words_that_mean_nothing_mean_not_yet(self):
        for script in ({'states': ('starting', 'digesting', 'building', None, 7), 'ready_s': 0.6}, {'texts': 3, 'ready_s': 0.1},
                       {'building': 3}, {'done': True, 'ready_s': 0.2}):
            with self.subTest(script):
                self.begin(script, poll={'done': ['ready', True]})
                self.assertEqual([row['url'] for row in self.run_job()], urls(3))
                self.check_once(1)

    def test_a_failure_of_the_other_side_is_told_in_its_words(self):
        self.begin({'fail': 'the account was suspended'})
        error_type, error = self.failure()
        self.assertEqual(error_type, 'remote')
        self.assertIn('the account was suspended', error)
        self.check_once(1)

    def test_only_who_wants_it_starts_a_failed_one_again_and_under_another_key(self):
        self.begin(lambda snapshot: {'fail': 'not today' if snapshot.number == 1 else None}, common={'retry': {'on': ['failed']}})
        self.assertEqual(len(self.run_job()), 3)
        keys = [call.headers['idempotency-key'] for call in self.collector.of('trigger')]
        self.assertEqual(len(set(keys)), 2)

    def test_polls_that_fail_fail_nothing(self):
        """W: the reference only looked at the clock when a poll had gone well, and spun until the end of all time otherwise."""
        self.begin({'poll_statuses': (404, 500, 'cut', 502, 408), 'ready_s': 0.1})
        self.assertEqual(len(self.run_job()), 3)
        self.check_once(1)

    def test_a_refused_poll_fails_it(self):
        self.begin({'poll_statuses': (401,)})
        self.assertEqual(self.failure()[0], 'status')

    def test_what_is_forgotten_fails_clearly(self):
        self.begin({'forget': True})
        self.assertIn('is not known', self.failure()[1])
        self.check_once(1)

    def test_the_timeout_counts_from_the_start_and_calls_it_off(self):
        """W18, W9: and the other side is told, so that it costs no more."""
        self.begin({'ready_s': 60, 'texts': 1000}, common={'timeout_us': 1000000})
        began = time.monotonic()
        error_type, error = self.failure()
        self.assertEqual(error_type, 'timeout')
        self.assertIn('please try again later', error)
        self.assertLess(time.monotonic() - began, 4)
        self.collector.wait(lambda: self.collector.snapshots[0].cancelled_at)

    # ---- starting ----

    def test_a_start_whose_answer_was_lost_is_no_second_job(self):
        self.begin(collector={'trigger_statuses': ['cut', 'drop']})
        self.assertEqual(len(self.run_job(6)), 6)
        self.check_once(2)
        keys = {call.headers['idempotency-key'] for call in self.collector.of('trigger')}
        self.assertEqual(len(keys), 2)

    def test_refusals_pause_everybody_and_nobody_is_banned(self):
        self.begin({'ready_s': 0.6}, collector={'max_open': 8, 'retry_after': 1})
        job = self.post(urls(30))
        self.assertEqual(self.ended(job)['status'], 'completed', self.failures(job))
        self.check_once(10)
        self.assertFalse(self.collector.banned)
        self.assertGreater(len([call for call in self.collector.of('trigger') if call.status == 429]), 0)
        self.assertLess(len([call for call in self.collector.calls if call.status == 429]), 10)
        self.assertLessEqual(self.collector.open_most, 8)

    def test_a_storm_of_refusals_without_retry_after(self):
        self.begin({'ready_s': 0.1}, collector={'trigger_statuses': [429] * 3})
        self.assertEqual(len(self.run_job(9)), 9)
        self.assertFalse(self.collector.banned)
        self.check_once(3)

    def test_a_bad_start_is_told(self):
        self.begin(collector={'trigger_statuses': [400]})
        error_type, error = self.failure()
        self.assertEqual(error_type, 'status')
        self.assertIn('400', error)
        self.assertEqual(len(self.collector.of('trigger')), 1)

    def test_the_key_goes_out_and_stays_out_of_everything(self):
        self.begin(collector={'key': 'sk-canary-77'}, auth={'bearer': {'$env': 'COLLECTOR_KEY'}}, settings={'COLLECTOR_KEY': 'sk-canary-77'})
        job = self.post(urls(3))
        self.assertEqual(self.ended(job)['status'], 'completed', self.failures(job))
        for path in (f'/v1/jobs/{job}', f'/v1/jobs/{job}/items', f'/v1/jobs/{job}/events'):
            self.assertNotIn(b'sk-canary', self.server.get(path).body())

    def test_an_upload_comes_first(self):
        self.begin(upload={'method': 'POST', 'url': '"/files"', 'as': 'jsonl', 'body': 'map({url: .})', 'id': '.id', 'fields': {'purpose': '"batch"'}},
                   start={'body': '{file: $id}'})
        self.assertEqual([row['url'] for row in self.run_job()], urls(3))

    # ---- fetching ----

    def test_what_breaks_off_is_fetched_again_and_not_started_again(self):
        for script in ({'cut_downloads': 2, 'pad': 3000}, {'lie_downloads': 2}, {'fetch_statuses': (500, 404, 'cut')}):
            with self.subTest(script):
                self.begin(script)
                self.assertEqual(len(self.run_job()), 3)
                self.check_once(1)

    def test_rows_are_found_in_every_shape(self):
        for shape in ('array', 'data', 'results', 'profiles'):
            with self.subTest(shape):
                self.begin({'shape': shape}, fetch={'as': 'json'})
                self.assertEqual([row['url'] for row in self.run_job()], urls(3))
        self.begin({'shape': 'object'}, fetch={'as': 'json'}, size=1)
        self.assertEqual([row['url'] for row in self.run_job()], urls(3))
        self.begin({'shape': 'csv'}, fetch={'as': 'csv'})
        self.assertEqual([row['account'] for row in self.run_job()], ['0', '1', '2'])

    def test_pages_parts_and_what_comes_besides(self):
        self.begin({'shape': 'data', 'pages': 3}, fetch={'as': 'json', 'page': {'next': '.next', 'param': 'page'}}, size=7)
        self.assertEqual([row['url'] for row in self.run_job(7)], urls(7))
        self.begin({'parts': 3}, fetch={'parts': {'url': '"/snapshot/\\($id)/parts"', 'count': '.parts'}}, size=7)
        self.assertEqual([row['url'] for row in self.run_job(7)], urls(7))
        self.begin({'error_rows': (1,), 'missing': (1,)}, also=[{'url': '"/snapshot/\\($id)/errors"', 'as': 'jsonl'}])
        self.assertEqual([row.get('url') for row in self.run_job()], ['https://social.example/0', None, 'https://social.example/2'])
        self.begin({'inline': True}, fetch={'url': None, 'as': None, 'retry_on': None, 'inline': '.output'})
        self.assertEqual([row['url'] for row in self.run_job()], urls(3))
        self.begin({'ready_s': 0.3}, poll=None)
        self.assertEqual([row['url'] for row in self.run_job()], urls(3))

    def test_large_rows_go_through_files(self):
        self.begin({'pad': 20000, 'shuffle': True}, size=20)
        rows = self.run_job(20)
        self.assertEqual([(row['url'], len(row['biography'])) for row in rows], [(url, 20000) for url in urls(20)])

    def test_errors_and_gaps_are_failures_and_never_data(self):
        """W8, W20: the reference stored them as empty profiles."""
        self.begin({'error_rows': (1,), 'missing': (3,), 'shuffle': True}, size=5)
        rows = self.run_job(5)
        self.assertEqual([row.get('url') for row in rows], [url if number not in (1, 3) else None for number, url in enumerate(urls(5))])
        self.assertEqual(rows[1], {'$failed': {'error': 'page not found', 'error_type': 'remote', 'error_code': 'dead_page'}, 'input': urls(5)[1]})
        self.assertEqual((rows[3]['$failed']['error_type'], rows[3]['input']), ('remote', urls(5)[3]))
        self.begin({'error_rows': (1,), 'missing': (3,)}, make=lambda collect, **more: pipeline(collect, [{'stage': 'jq', 'with': {'program': '.account'}}], **more),
                   size=5)
        job = self.post(urls(5))
        self.assertEqual(self.rows(job), ['0', '2', '4'])
        self.assertEqual(self.server.document(job)['records'], {'completed': 3, 'failed': 2, 'dropped': 0})

    # ---- hooks ----

    def test_a_hook_ends_the_wait_and_a_second_one_changes_nothing(self):
        port = free_port()
        self.begin({'ready_s': 0.5, 'webhooks': (0.0, 0.0, 0.01, 0.2)}, every_s=20, webhook={'query': 'notify'},
                   settings={'PORT': port, 'RIVULET_PUBLIC_URL': f'http://127.0.0.1:{port}'})
        began = time.monotonic()
        self.assertEqual(len(self.run_job(6)), 6)
        self.assertLess(time.monotonic() - began, 4)
        for snapshot in self.collector.snapshots:
            self.assertLessEqual(snapshot.polls, 5)
            self.assertIn('/v1/hooks/', snapshot.query['notify'])
        self.check_once(2)
        token = self.collector.snapshots[0].query['notify'].rsplit('/', 1)[1]
        self.assertGreaterEqual(len(token), 32)
        for name, body in (('0' * len(token), b''), ('x', b'{}'), (token[:-1] + ('0' if token[-1] != '0' else '1'), b'')):
            answer = self.server.ask('POST', f'/v1/hooks/{name}', body)
            self.assertEqual((answer.status, answer.json()), (404, {'accepted': False}))
        answer = self.server.ask('POST', f'/v1/hooks/{token}', b'x' * 1000000)
        self.assertEqual(answer.status, 202)

    def test_a_hook_that_lies_is_not_believed(self):
        port = free_port()
        self.begin({'ready_s': 1.0, 'webhooks': (-0.9, -0.8, -0.7)}, every_s=0.3, webhook={'query': 'notify'},
                   settings={'PORT': port, 'RIVULET_PUBLIC_URL': f'http://127.0.0.1:{port}'})
        self.assertEqual(len(self.run_job()), 3)
        self.assertGreaterEqual(self.collector.snapshots[0].done_at, self.collector.snapshots[0].ready_at)

    # ---- calling off ----

    def test_a_cancelled_job_is_called_off_at_the_other_side(self):
        """W9, W19."""
        self.begin({'ready_s': 60})
        job = self.post(urls(12))
        self.collector.wait(lambda: len(self.collector.given()) == 4)
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/cancel').status, 200)
        self.assertEqual(self.ended(job)['status'], 'cancelled')
        self.collector.wait(lambda: all(snapshot.cancelled_at for snapshot in self.collector.snapshots))
        self.assertEqual(self.collector.open_now, 0)

    def test_enough_is_enough(self):
        """W23: what is under way when there are enough hits is called off, and the job ends at once."""
        marks = {'marks': {'hit': '.followers >= 1000'}}
        self.begin(lambda snapshot: {'ready_s': 0.2 if snapshot.number <= 2 else 60}, make=lambda collect, **more: self.with_marks(collect, marks, more),
                   job={'stop': {'count': '4'}})
        job = self.post(urls(15))
        document = self.ended(job)
        self.assertEqual(document['status'], 'completed')
        self.assertGreaterEqual(document['counts'][4], 3)
        self.collector.wait(lambda: sum(snapshot.cancelled_at is not None for snapshot in self.collector.snapshots) == 3)

    @staticmethod
    def with_marks(collect, marks, more):
        made = pipeline(collect, [{'stage': 'jq', 'with': {'program': '.'}}], **more)
        made['legs'][2].update(marks)
        return made

    def test_how_far_it_is_is_told_to_those_who_watch(self):
        self.begin(lambda snapshot: {'ready_s': 1000}, poll={'progress': 'if .status == "ready" then 100 else 37.5 end'})
        job = self.post(urls(3))
        watcher = Watcher(self.server, job)
        self.collector.wait(lambda: watcher.first(0, 'hint'))
        hint = next(frame.data for _, frame in watcher.frames if frame.event == 'progress' and frame.data.get('state') == 'hint')
        self.assertEqual((hint['percent'], hint['status']), (37, 'running'))
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/cancel').status, 200)

    # ---- the cache ----

    def test_rows_that_are_known_are_not_asked_for_again(self):
        """W17, W27: every input is either known or collected, and errors are never kept."""
        self.begin(lambda snapshot: {'error_rows': (1,) if snapshot.number == 1 else ()}, common={'cache': {'row_key': ROW_KEY, 'ttl_us': 3600000000}}, size=4,
                   join=None)
        first = self.run_job(4)
        self.assertIn('$failed', first[1])
        second = self.run_job(4)                             # one of them is missing in the cache
        self.assertEqual(self.collector.snapshots[1].inputs, [{'url': urls(4)[1]}])
        self.assertEqual({row['url']: row['snapshot'] for row in second},
                         {url: 's_000002' if url == urls(4)[1] else 's_000001' for url in urls(4)})
        calls = len(self.collector.calls)
        third = self.run_job(4)                              # nothing is
        self.assertEqual(sorted(third, key=lambda row: row['url']), sorted(second, key=lambda row: row['url']))
        self.assertEqual(len(self.collector.calls), calls)

    def test_rows_that_are_arrays_are_kept_whole(self):
        self.begin(lambda snapshot: {'row': lambda snapshot, index, row: [row['url'], [index]]}, common={'cache': {'row_key': '.[0]', 'ttl_us': 3600000000}}, join=None)
        first = self.run_job(3)
        self.assertEqual(first, [[url, [index]] for index, url in enumerate(urls(3))])
        self.assertEqual(sorted(self.run_job(3)), first)
        self.check_once(1)

    def test_of_a_batch_that_is_known_in_part_the_rest_is_asked_for(self):
        """Batches are made of what is known or of what is not; one that was posted as it is may be both. A restart in between changes nothing."""
        self.begin(lambda snapshot: {'ready_s': 0.1 if snapshot.number == 1 else 1.5}, common={'cache': {'row_key': ROW_KEY, 'ttl_us': 3600000000}}, size=None)
        self.ended(self.post([urls(3)]))
        time.sleep(1.2)                                      # the cache is written behind
        new = 'https://social.example/new'
        for crash, wanted, asked in ((False, urls(5, first=1), urls(3, first=3)), (True, [urls(3)[2], new, urls(3)[0]], [new])):
            with self.subTest(crash=crash):
                before = len(self.collector.snapshots)
                job = self.post([wanted])
                self.collector.wait(lambda: len(self.collector.given()) == before + 1)
                if crash:
                    self.server.kill()
                    self.server.start()
                self.assertEqual([row['url'] for row in self.rows(job)], wanted)
                self.assertEqual([one['url'] for one in self.collector.snapshots[-1].inputs], asked)
                self.assertEqual(len(self.collector.snapshots), before + 1)

    # ---- restarts ----

    def test_what_was_started_is_polled_after_a_crash_and_never_started_again(self):
        """W10, W22."""
        chance = random.Random(4)
        self.begin(lambda snapshot: {'ready_s': 0.5 + (snapshot.number % 5) / 4, 'cut_downloads': snapshot.number % 3 == 0})
        job = self.post(urls(60))
        for _ in range(5):
            time.sleep(chance.uniform(0.02, 0.4))
            self.server.kill()
            self.server.start()
        self.assertEqual([row['url'] for row in self.rows(job)], urls(60))
        self.check_once(20)

    def test_the_timeout_goes_on_through_a_crash(self):
        self.begin({'ready_s': 60}, common={'timeout_us': 2000000})
        job = self.post(urls(3))
        self.collector.wait(lambda: self.collector.given())
        time.sleep(1)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.ended(job)['status'], 'error')
        self.assertLess(time.monotonic() - self.collector.snapshots[0].at, 4)
        self.check_once(1)


if __name__ == '__main__':
    unittest.main()
