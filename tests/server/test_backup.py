"""`rivulet check --data` and `--rebuild`, `rivulet backup`: what is damaged is told and mended, what is copied under load is whole, and whoever saw
more than a restored log holds is told by `gap`, in every shape of a stream."""
import json
import os
import random
import re
import shutil
import subprocess
import threading
import unittest

from logs import CACHES, base_of, caches
from rivulet_server import PROGRAM, Rivulet, image

FINDING = re.compile(r'^(note|cache|LOST) +([a-z ]+?)(?:, job (\w+))?(?:, event (\d+))?: (.*)$')


def command(*words):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=60)


def check(folder, *flags):
    """(status, findings as (grade, part, job, event, text), all that was said)"""
    told = command('check', '--data', folder, *flags)
    found = [match.groups() for match in map(FINDING.match, told.stdout.splitlines()) if match]
    return told.returncode, found, told.stdout + told.stderr


def change(folder, *statements):
    base = base_of(folder)
    for statement in statements:
        base.execute(*statement) if isinstance(statement, tuple) else base.execute(statement)
    base.close()


def blobs(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(os.path.join(folder, 'blobs')) for name in names)


def tearDownModule():
    Case.server and Case.server.close()


class Case(unittest.TestCase):
    """A killed server's directory with a job of each fate, made once; `copy()` makes one to be damaged."""
    server, copies = None, 0

    @classmethod
    def setUpClass(cls):
        Case.server or Case.make()

    @classmethod
    def make(cls):
        cls.server = server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=2000)
        mixed = [image('a.jpg', accuracy=70), image('b.jpg', fail='bad'), image('big.jpg', pad=100000), image('d.txt', b'x', 'text/plain'),
                 image('e.jpg', retry='again')]
        cls.done = server.post('/process-batch', mixed).job
        cls.keyed = server.post('/v1/jobs?pipeline=decklists', [image('k.jpg', accuracy=50)], Idempotency_Key='k1').json()['id']
        cls.many = server.post('/process-batch', [image(f'{n}.jpg', accuracy=n % 100) for n in range(1100)]).job
        cancelled = server.post('/process-batch-stream', [image(f'{n}.jpg', sleep_ms=400) for n in range(6)])
        cancelled.until('progress')
        server.ask('DELETE', f'/v1/jobs/{cancelled.job}')
        server.ask('POST', f'/v1/jobs/{cancelled.job}/cancel').body()
        cls.cancelled = cancelled.job
        server.wait_for(cls.keyed, 'completed')
        server.wait_for(cls.cancelled, 'cancelled')
        still = server.post('/process-batch-stream', [image('first.jpg'), *(image(f'{n}.jpg', sleep_ms=1000) for n in range(3))])
        still.until('result')
        cls.open = still.job
        cls.shown = {job: server.get(f'/v1/jobs/{job}').body() for job in (cls.done, cls.many, cls.cancelled)}
        server.kill()

    @classmethod
    def copy(cls, of=None):
        Case.copies += 1
        folder = os.path.join(cls.server.top, f'copy{cls.copies}')
        shutil.copytree(of or cls.server.dir, folder)
        return folder

    def all_is_well(self, folder):
        status, found, told = check(folder)
        self.assertEqual((status, [one for one in found if one[0] != 'note']), (0, []), told)


class Check(Case):
    def test_a_log_that_is_well_is_said_to_be_well_and_not_touched(self):
        folder = self.copy()
        before = caches(folder)
        status, _, told = check(folder)
        self.assertEqual(status, 0, told)
        self.assertIn('all is well', told)
        for part in ('events', 'folds', 'places', 'cells', 'stored files', 'uses of files', 'keys'):
            self.assertGreater(int(re.search(rf'^{part} +(\d+)', told, re.M).group(1)), 0, told)
        self.assertEqual(caches(folder), before)

    def test_a_rebuild_of_what_is_well_changes_nothing_that_counts(self):
        folder = self.copy()
        self.assertEqual(check(folder, '--rebuild')[0], 0)
        before = caches(folder)
        self.assertEqual(check(folder, '--rebuild')[0], 0)
        self.assertEqual(caches(folder), before)
        change(folder, 'DELETE FROM job', 'DELETE FROM place', 'DELETE FROM cell', 'DELETE FROM blob_use', 'DELETE FROM mark')
        self.assertEqual(check(folder, '--rebuild')[0], 0)
        self.assertEqual(caches(folder), before)

    def test_each_damage_to_a_cache_is_told_and_mended(self):
        right = self.copy()
        self.assertEqual(check(right, '--rebuild')[0], 0)
        whole = caches(right)
        other = self.done
        damages = {
            'a fold is gone': (f"UPDATE job SET fold=NULL WHERE id='{other}'", 'folds', other),
            'a count in a fold': (f"UPDATE job SET fold=CAST(replace(CAST(fold AS TEXT), '\"counts\":[0,', '\"counts\":[1,') AS BLOB) WHERE id='{other}'", 'folds', other),
            'a fold that is no JSON': (f"UPDATE job SET fold=x'7b7b' WHERE id='{other}'", 'folds', other),
            'a state': (f"UPDATE job SET state=1 WHERE id='{other}'", 'jobs', other),
            'an owner': (f"UPDATE job SET owner='x' WHERE id='{other}'", 'jobs', other),
            'an id': (f"UPDATE job SET id='x' WHERE id='{other}'", 'jobs', 'x'),
            'an end': (f"UPDATE job SET ended_at=NULL WHERE id='{other}'", 'jobs', other),
            'a row of a job': (f"DELETE FROM job WHERE id='{other}'", 'jobs', other),
            'a page of places': (f"DELETE FROM place WHERE first_seq=1 AND job=(SELECT job FROM job WHERE id='{self.many}')", 'places', self.many),
            'the last page of places': (f"DELETE FROM place WHERE first_seq>2000 AND job=(SELECT job FROM job WHERE id='{self.many}')", 'places', self.many),
            'a place': ("UPDATE place SET deltas=CAST(x'01'||substr(deltas, 2) AS BLOB) WHERE job>1 AND first_seq=1", 'places', None),
            'a number of places': ('UPDATE place SET count=count+1', 'places', None),
            'a page of items': (f"DELETE FROM cell WHERE page=1 AND job=(SELECT job FROM job WHERE id='{self.many}')", 'cells', self.many),
            'an item': (f"UPDATE cell SET body=zeroblob(length(body)) WHERE page=2 AND job=(SELECT job FROM job WHERE id='{self.many}')", 'cells', self.many),
            'a page too many': (f"INSERT INTO cell SELECT job, 9, x'00' FROM job WHERE id='{self.many}'", 'cells', self.many),
            'a use of a file': ('DELETE FROM blob_use WHERE sha=(SELECT min(sha) FROM blob_use)', 'uses of files', None),
            'a use too many': (f"INSERT INTO blob_use SELECT zeroblob(32), job FROM job WHERE id='{other}'", 'uses of files', other),
            'how far the caches reach': ('UPDATE mark SET flushed_pos=flushed_pos-3', None, None),
            'nothing of it': ('DELETE FROM mark', 'folds', None),
            'a key of no job': ("INSERT INTO idem VALUES ('local', 'k9', 999999, zeroblob(32), 0)", 'keys', None),
            'a key of another': ("UPDATE idem SET owner='x'", 'keys', self.keyed),
            'a cursor of no job': ("INSERT INTO reader VALUES ('webhook', 999999, 3)", 'cursors', None),
            'a result by key': ("INSERT INTO cache VALUES (zeroblob(32), 9, 200, '{', NULL)", 'results by key', None),
        }
        for name, (statement, part, job) in damages.items():
            with self.subTest(name):
                folder = self.copy(right)
                change(folder, statement)
                status, found, told = check(folder)
                self.assertEqual(status, 1, told)
                self.assertEqual({one[0] for one in found}, {'cache'}, told)
                if part:
                    self.assertIn(part, {one[1] for one in found}, told)
                if job:
                    self.assertIn(job, {one[2] for one in found}, told)
                status, _, told = check(folder, '--rebuild')
                self.assertEqual(status, 0, told)
                mended = caches(folder)
                for table in CACHES:
                    self.assertEqual(mended[table], whole[table], f'{name}: {table}')
                shutil.rmtree(folder)

    def test_what_no_rebuild_mends_is_told_with_its_job_and_event(self):
        base = base_of(self.server.dir)
        number, = base.execute('SELECT job FROM job WHERE id=?', (self.done,)).fetchone()
        pos, seq = base.execute('SELECT pos, seq FROM event WHERE job=? AND kind=8 ORDER BY pos LIMIT 1', (number,)).fetchone()
        base.close()
        damages = {
            'an event is gone': (f'DELETE FROM event WHERE pos={pos}', f'it is missing, {seq + 1} follows'),
            'no JSON': (f"UPDATE event SET body=substr(body, 2) WHERE pos={pos}", ''),
            'other counts': (f"UPDATE event SET body=replace(body, '\"counts\":[', '\"counts\":[9') WHERE pos={pos}", 'counts'),
            'an unknown kind': (f'UPDATE event SET kind=77 WHERE pos={pos}', 'kind 77, which this program does not know'),
            'another attempt': (f'UPDATE event SET attempt=7 WHERE pos={pos}', ''),
        }
        for name, (statement, words) in damages.items():
            with self.subTest(name):
                folder = self.copy()
                change(folder, statement)
                status, found, told = check(folder)
                self.assertEqual(status, 1, told)
                lost = [one for one in found if one[0] == 'LOST']
                self.assertEqual(lost[0][1:4], ('events', self.done, str(seq)), told)
                self.assertIn(words, lost[0][4])
                if name != 'other counts':
                    before = caches(folder)
                    status, _, told = check(folder, '--rebuild')
                    self.assertEqual((status, caches(folder)), (1, before), told)
                    self.assertIn('Nothing was changed', told)
                    status, _, told = check(folder, '--rebuild', '--drop')
                    self.assertEqual(status, 0, told)
                    self.assertIn('1 jobs were forgotten', told)
                    self.assertEqual([row[0] for row in base_of(folder).execute('SELECT count(*) FROM event WHERE job=?', (number,))], [0])
                shutil.rmtree(folder)

    def test_a_stored_file_that_is_gone_or_cut_or_another_is_told(self):
        for name, damage in (('missing', os.unlink), ('name says', lambda path: os.truncate(path, 7)), ('name says', self.flip)):
            folder = self.copy()
            path = max(blobs(folder), key=os.path.getsize)
            damage(path)
            status, found, told = check(folder)
            self.assertEqual((status, [one[0] for one in found]), (1, ['LOST']), told)
            self.assertEqual(found[0][1:3], ('stored files', self.done))
            self.assertIn(os.path.basename(path), found[0][4])
            self.assertIn(name, found[0][4])
            shutil.rmtree(folder)

    def test_a_stored_file_that_nothing_uses_is_no_harm(self):
        folder = self.copy()
        with open(os.path.join(os.path.dirname(blobs(folder)[0]), 'f' * 64), 'wb') as file:
            file.write(b'x')
        status, found, told = check(folder)
        self.assertEqual((status, [one[:2] for one in found]), (0, [('note', 'stored files')]), told)

    def flip(self, path):
        with open(path, 'r+b') as file:
            byte = file.read(9)[-1:]
            file.seek(8)
            file.write(bytes([byte[0] ^ 4]))

    def test_a_damaged_database_is_told_and_never_rebuilt_from(self):
        folder = self.copy()
        change(folder, 'PRAGMA wal_checkpoint(TRUNCATE)')
        path = os.path.join(folder, 'log.db')
        base = base_of(folder)
        root, = base.execute("SELECT rootpage FROM sqlite_schema WHERE name='event'").fetchone()
        base.close()
        with open(path, 'r+b') as file:
            file.seek((root - 1) * 4096)
            file.write(os.urandom(4096))
        status, found, told = check(folder)
        self.assertEqual((status, found[0][:2] if found else told), (1, ('LOST', 'database')), told)
        status, _, told = check(folder, '--rebuild')
        self.assertEqual(status, 1, told)
        self.assertIn('put a backup in its place', told)

    def test_a_newer_log_no_log_and_nothing_are_refused(self):
        folder = self.copy()
        change(folder, 'PRAGMA user_version=99')
        for words in (('check', '--data', folder), ('check', '--data', folder, '--rebuild'), ('backup', folder + '-to', '--data', folder)):
            told = command(*words)
            self.assertNotEqual(told.returncode, 0)
            self.assertIn('has format 99', told.stderr)
            self.assertFalse(os.path.exists(folder + '-to'))
        for words in (('check', '--data', folder + '-none'), ('check', '--data', folder + '-none', '--rebuild'), ('check', '--rebuild'), ('check',),
                      ('check', '--data', folder, '--drop'), ('backup', '--data', folder)):
            self.assertEqual(command(*words).returncode, 2, words)
        self.assertFalse(os.path.exists(folder + '-none'))

    def test_an_open_job_goes_on_behind_a_rebuild(self):
        folder = self.copy()
        change(folder, 'DELETE FROM job', 'DELETE FROM place', 'DELETE FROM cell', 'UPDATE mark SET flushed_pos=0')
        self.assertEqual(check(folder, '--rebuild')[0], 0)
        server = Served(self.server, folder)
        try:
            told = command('check', '--data', folder, '--rebuild')
            self.assertEqual((told.returncode, 'in use by a server' in told.stderr), (2, True), told.stderr)
            for job, document in self.shown.items():
                self.assertEqual(server.get(f'/v1/jobs/{job}').body(), document)
            self.assertEqual(server.wait_for(self.open, 'completed')['counts'], [0, 0, 4, 0, 0])
            self.assertEqual(server.post('/v1/jobs?pipeline=decklists', [image('k.jpg', accuracy=50)], Idempotency_Key='k1').json()['id'], self.keyed)
        finally:
            server.close()
        self.all_is_well(folder)


class Served(Rivulet):
    """A server over a folder that is there already."""

    def __init__(self, like, folder):
        self.top, self.dir, self.process = like.top, folder, None
        self.env = {**like.env, 'RIVULET_DATA': folder}
        self.start()

    def close(self):
        self.process.poll() is None and self.stop()


class Backup(Case):
    def test_a_backup_is_a_data_directory_and_says_what_is_in_it(self):
        folder, to = self.copy(), os.path.join(self.server.top, 'backup')
        told = command('backup', '--data', folder, to)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertRegex(told.stdout, r'5 jobs up to event \d+, \d+ stored files')
        self.assertEqual([name for name in os.listdir(to) if os.stat(os.path.join(to, name)).st_mode & 0o077], [], 'others may read it')
        self.assertEqual([os.path.relpath(path, to) for path in blobs(to)], [os.path.relpath(path, folder) for path in blobs(folder)])
        self.assertEqual(caches(to), caches(folder))
        self.all_is_well(to)
        told = command('backup', '--data', folder, to)
        self.assertEqual((told.returncode, 'is there already' in told.stderr), (1, True))
        self.assertEqual([name for name in os.listdir(self.server.top) if '.part-' in name], [])
        shutil.rmtree(to)

    def test_a_file_that_is_missing_already_is_told(self):
        folder, to = self.copy(), os.path.join(self.server.top, 'backup-of-damage')
        os.unlink(blobs(folder)[0])
        told = command('backup', '--data', folder, to)
        self.assertEqual(told.returncode, 1)
        self.assertIn('1 stored files are missing', told.stderr)
        self.assertEqual(check(to)[0], 1)

    def test_backups_under_load_hold_all_that_was_acknowledged(self):
        server = Served(self.server, self.copy())
        known, stop, trouble = [], threading.Event(), []

        def work(number):
            chance = random.Random(number)
            try:
                while not stop.is_set():
                    files = [image(f'{n}.jpg', pad=chance.choice((10, 70000))) for n in range(4)]
                    known.append(server.post('/process-batch', files).job)
                    if chance.random() < 0.5 and known:
                        server.ask('DELETE', f'/v1/jobs/{known.pop(0)}').body()
            except Exception as error:
                trouble.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        try:
            for thread in threads:
                thread.start()
            for n in range(3):
                while len(known) < 6 * (n + 1) and not trouble:
                    stop.wait(0.01)
                kept, to = list(known), os.path.join(self.server.top, f'under-load-{n}')
                told = command('backup', '--data', server.dir, to)
                self.assertEqual(told.returncode, 0, told.stderr)
                self.all_is_well(to)
                base = base_of(to)
                there = {row[0] for row in base.execute('SELECT id FROM job WHERE state=2')}
                base.close()
                gone = set(kept) - there
                self.assertEqual({job for job in gone if job in known}, set(), 'an acknowledged job is not in the backup')
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            server.close()
        self.assertEqual(trouble, [])


class Restored(Case):
    """A log goes back to an earlier day; its clients have seen more of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.to = os.path.join(cls.server.top, 'earlier')
        assert command('backup', '--data', cls.server.dir, cls.to).returncode == 0
        later = Served(cls.server, cls.copy())
        cls.seen = {'job': later.events(cls.open).frames(), 'seed': later.events(cls.open, '?face=seed').frames()}
        later.kill()
        cls.again = Served(cls.server, cls.to)        # at once: in the very second, often

    @classmethod
    def tearDownClass(cls):
        cls.again.close()
        super().tearDownClass()

    def told(self, frames):
        """A gap, then the log from its beginning, to its end."""
        self.assertEqual((frames[0].event, frames[0].id), ('gap', None))
        self.assertEqual(frames[0].data['reason'], 'restored')
        self.assertEqual(frames[-1].event, 'complete')
        numbers = [int(frame.id.rsplit('-', 1)[1]) for frame in frames if frame.id]
        self.assertEqual(numbers, sorted(numbers))
        self.assertLessEqual(numbers[0], 4)

    def test_each_shape_of_a_stream_says_gap(self):
        for face in ('job', 'seed'):
            last = next(frame.id for frame in reversed(self.seen[face]) if frame.id)
            with self.subTest(face + ' by Last-Event-ID'):
                self.told(self.again.events(self.open, f'?face={face}', last).frames())
            with self.subTest(face + ' by after'):
                self.told(self.again.events(self.open, f'?face={face}&after={last}').frames())
        last = next(frame.id for frame in reversed(self.seen['job']) if frame.id)
        with self.subTest('long poll'):
            answer = self.again.get(f'/v1/jobs/{self.open}/events?wait=20&after={last}').json()
            self.assertEqual((answer['events'][0]['event'], answer['events'][0]['data']['reason']), ('gap', 'restored'))
        with self.subTest('lines'):
            lines = self.again.get(f'/v1/jobs/{self.open}/events?after={last}', Accept='application/x-ndjson').body().splitlines()
            self.assertEqual(json.loads(lines[0])['event'], 'gap')
        with self.subTest('several jobs on one wire'):
            wire = self.again.get(f'/v1/events?job={self.open}@{last}').frames()
            self.assertEqual((wire[0].event, wire[0].data['reason'], wire[-1].event), ('gap', 'restored', 'complete'))

    def test_no_name_of_an_event_is_given_twice(self):
        self.again.wait_for(self.open, 'completed')
        for face in ('job', 'seed'):
            before = {frame.id: frame.raw for frame in self.seen[face] if frame.id}
            after = {frame.id: frame.raw for frame in self.again.events(self.open, f'?face={face}').frames() if frame.id}
            both = set(before) & set(after)
            self.assertTrue(both)
            self.assertLess(len(both), len(before), 'the backup was as new as what was seen')
            self.assertEqual({id: before[id] for id in both}, {id: after[id] for id in both})

    def test_two_copies_of_a_log_never_have_one_opening_in_common(self):
        """Not even under a clock that is behind of the log's."""
        openings = []
        for _ in range(2):
            folder = self.copy()
            change(folder, 'INSERT INTO opening SELECT max(epoch)+3600000000, max(at), program FROM opening')
            Served(self.server, folder).kill()
            base = base_of(folder)
            openings.append(base.execute('SELECT epoch FROM opening ORDER BY epoch').fetchall())
            base.close()
        self.assertEqual(openings[0][:-1], openings[1][:-1])
        self.assertNotEqual(openings[0][-1], openings[1][-1])

    def test_who_saw_no_more_than_the_backup_goes_on(self):
        base = base_of(self.to)
        epoch, seq = base.execute('SELECT epoch, seq FROM event WHERE job=(SELECT job FROM job WHERE id=?) AND kind=8 ORDER BY pos LIMIT 1', (self.open,)).fetchone()
        base.close()
        frames = self.again.events(self.open, '', f'{epoch}-{seq}').frames()
        self.assertNotIn('gap', [frame.event for frame in frames])
        self.assertEqual(frames[-1].event, 'complete')

