"""Logs of every earlier format (tests/upgrade) under the server of today: what was shown is shown again byte for byte, what was open goes on and ends,
nothing is doubled; and a log of a format to come is refused, untouched."""
import base64
import hashlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'lib')]
import profiles  # noqa: E402
import sanitized  # noqa: E402
from collector import Collector  # noqa: E402
from llm_double import Model  # noqa: E402
from rivulet_server import PIPELINE, PROGRAM, Rivulet  # noqa: E402
from survival import ENDED, check_log  # noqa: E402

KEPT = os.path.join(HERE, '..', 'upgrade')
FORMATS = sorted(name for name in os.listdir(KEPT) if name[0].isdigit())
FORMAT = 3              # of today's program; with a new one a folder of the old one joins tests/upgrade


def load(name, file):
    with open(os.path.join(KEPT, name, file), encoding='utf-8') as content:
        return content.read() if file.endswith('.sql') else json.load(content)


def restore(name, folder):
    os.makedirs(folder)
    base = sqlite3.connect(os.path.join(folder, 'log.db'))
    base.executescript(load(name, 'log.sql'))
    base.close()
    for sha, content in load(name, 'blobs.json').items():
        os.makedirs(os.path.join(folder, 'blobs', sha[:2]), exist_ok=True)
        with open(os.path.join(folder, 'blobs', sha[:2], sha), 'wb') as file:
            file.write(zlib.decompress(base64.b64decode(content)))


class Upgraded(Rivulet):
    def __init__(self, name, **settings):
        self.name = name
        super().__init__(ENABLE_PARALLEL='true', MAX_WORKERS=2, RIVULET_RETENTION='0', **settings)

    def start(self):
        if not os.path.exists(self.dir):
            restore(self.name, self.dir)
        super().start()

    def rows(self, query):
        base = sqlite3.connect(f'file:{self.dir}/log.db?mode=ro', uri=True, timeout=10)
        try:
            return base.execute(query).fetchall()
        finally:
            base.close()


def rows_of(name):
    """The events as the earlier program left them, with the columns that check_log reads."""
    base = sqlite3.connect(':memory:')
    base.executescript(load(name, 'log.sql'))
    try:
        return base.execute('SELECT pos, job, seq, epoch, kind, item, attempt, body FROM event ORDER BY pos').fetchall()
    finally:
        base.close()


class Upgrade(unittest.TestCase):
    def compare(self, server, shown):
        for what, seen in shown['ended'].items():
            job = seen['id']
            with self.subTest(what):
                document = server.document(job)
                self.assertEqual({key: document.get(key) for key in seen['document']}, seen['document'])
                for face in ('job', 'seed'):
                    stream = server.events(job, f'?face={face}')
                    stream.frames()
                    self.assertEqual(stream.raw.decode(), seen[face])
                if 'results' in seen:
                    self.assertEqual(server.get(f'/v1/jobs/{job}/results').body().decode(), seen['results'])

    def let_end(self, server, shown, old):
        """Open jobs end; what the old program had written stays as it was, and what follows keeps the law."""
        for job in shown['open']:
            if not server.document(job)['sealed']:
                server.ask('POST', f'/v1/jobs/{job}/seal').body()
            document = server.wait_for(job, 'completed', 'error', 'cancelled')
            self.assertEqual(sum(document['counts'][:2]), 0)
        rows = server.rows('SELECT pos, job, seq, epoch, kind, item, attempt, body FROM event ORDER BY pos')
        self.assertEqual(rows[:len(old)], old)
        check_log(self, rows, [row[0] for row in server.rows('SELECT epoch FROM opening')])
        self.assertEqual(sum(row[4] == ENDED for row in rows), len(shown['ended']) + len(shown['open']))

    def run_through(self, name, **settings):
        shown, old = load(name, 'shown.json'), rows_of(name)
        server = Upgraded(name, **settings)
        try:
            self.compare(server, shown)
            self.let_end(server, shown, old)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.rows('PRAGMA user_version'), [(FORMAT,)])
            told = subprocess.run([PROGRAM, 'check', '--data', server.dir], capture_output=True, text=True, timeout=60)
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
            told = subprocess.run([PROGRAM, 'check', '--data', server.dir, '--rebuild'], capture_output=True, text=True, timeout=60)
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
            server.start()
            self.compare(server, shown)
        finally:
            server.close()

    def test_there_is_a_log_of_each_format(self):
        self.assertEqual({int(name.split('-')[0]) for name in FORMATS}, set(range(1, FORMAT + 1)))
        for name in FORMATS:
            self.assertIn(f'PRAGMA user_version={name.split("-")[0]};', load(name, 'log.sql'))

    def test_a_log_of_format_1(self):
        self.run_through('1')

    def test_a_log_of_format_2(self):
        self.run_through('2')

    def test_a_log_of_format_3(self):
        self.run_through('3')

    def test_a_batch_that_waits_elsewhere_is_collected_by_the_program_of_today(self):
        collector = Collector(profiles.orders({'ready_s': 0.1}), key=profiles.KEYS['BRIGHTDATA_API_KEY'])
        self.addCleanup(collector.close)
        model = Model(profiles.judge, 0, key=profiles.KEYS['OPENAI_API_KEY'])
        self.addCleanup(model.close)
        waits = max(json.loads(row[7])['remote']['id'] for row in rows_of('3-remote') if row[4] == 6)
        urls = [{'url': profiles.url_of(number, word='slow')} for number in range(4)]
        while not collector.snapshots or collector.snapshots[-1].id != waits:      # the one that the old program had asked for
            self.trigger(collector, urls)
        asked = len(collector.snapshots)
        self.run_through('3-remote', **profiles.settings(collector, model))
        self.assertEqual(len(collector.snapshots), asked, 'it was asked for again')

    def trigger(self, collector, urls):
        host, _, rest = collector.base.partition('://')[2].partition('/')
        wire = http.client.HTTPConnection(host, timeout=10)
        wire.request('POST', '/' + rest + ('/' if rest else '') + 'trigger?dataset_id=x', json.dumps(urls),
                     {'Content-Type': 'application/json', 'Authorization': 'Bearer ' + profiles.KEYS['BRIGHTDATA_API_KEY']})
        self.assertEqual(wire.getresponse().status, 200)
        wire.close()

    def test_a_log_that_cannot_be_understood_is_refused_and_not_touched(self):
        changes = {
            f'has format {FORMAT + 1}, and this program knows formats up to {FORMAT}': f'PRAGMA user_version={FORMAT + 1}',
            'of kind 99, which this program does not know': 'INSERT INTO event SELECT pos+1, job, seq+1, epoch, at, 99, NULL, NULL, body FROM event ORDER BY pos DESC LIMIT 1',
        }
        for words, statement in changes.items():
            with self.subTest(words), tempfile.TemporaryDirectory() as top:
                folder, pipeline = os.path.join(top, 'data'), os.path.join(top, 'pipeline.json')
                restore('3', folder)
                with open(pipeline, 'w', encoding='utf-8') as file:
                    json.dump(PIPELINE, file)
                base = sqlite3.connect(os.path.join(folder, 'log.db'))
                base.execute(statement)
                base.commit()
                before = self.events_of(base)
                base.close()
                told = subprocess.run([PROGRAM, 'serve'], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
                                      env={'RIVULET_DATA': folder, 'PORT': '0', 'RIVULET_PIPELINE': pipeline, 'PATH': os.environ['PATH'], **sanitized.options()})
                self.assertNotEqual(told.returncode, 0)
                self.assertIn(words, told.stderr)
                base = sqlite3.connect(os.path.join(folder, 'log.db'))
                self.assertEqual(self.events_of(base), before)
                base.close()

    def events_of(self, base):
        return hashlib.sha256(repr(base.execute('SELECT * FROM event ORDER BY pos').fetchall()).encode()).hexdigest()
