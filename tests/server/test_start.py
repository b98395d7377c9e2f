"""Starting and ending: quick beside a long log, one clear sentence when it cannot be, and an end at any moment that loses nothing."""
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from rivulet_server import BOUNDARY, PROGRAM, ROOT, form, image
from runs import until
from survival import DONE, STARTED, Follower, Mortal, blobs_on_disk, check_server, jpeg, replay

ALONE = 'starts and ends have bars of a second'

BENCH = os.path.join(os.path.dirname(PROGRAM), 'bench', 'engine_bench')
CATALOGUE = os.path.join(ROOT, 'examples', 'decklists', 'catalogue.csv')
LONG_EVENTS = 500_000
START_S = 1.0


class LongLog(unittest.TestCase):
    timeout_s = 150

    def logged(self, directory):
        try:
            base = sqlite3.connect(f'file:{directory}/log.db?mode=ro', uri=True, timeout=10)
        except sqlite3.OperationalError:
            return 0
        try:
            return base.execute('SELECT max(pos) FROM event').fetchone()[0] or 0
        except sqlite3.OperationalError:
            return 0
        finally:
            base.close()

    def make_log(self, directory):
        """A log of a finished job and of one that was killed in its middle, with what it had not flushed yet."""
        bench = subprocess.Popen([BENCH, directory, str(LONG_EVENTS), '256'], stdout=subprocess.DEVNULL)
        try:
            while self.logged(directory) < LONG_EVENTS:
                self.assertIsNone(bench.poll())
                time.sleep(0.02)
        finally:
            bench.kill()
            bench.wait()

    def seconds_to_start(self, server):
        began = time.monotonic()
        server.start()
        return time.monotonic() - began

    def test_a_start_beside_half_a_million_events_takes_less_than_a_second(self):
        server = Mortal(ENABLE_PARALLEL='true', MAX_WORKERS=2)
        self.addCleanup(server.close)
        server.kill()
        shutil.rmtree(server.dir)
        self.make_log(server.dir)
        events = self.logged(server.dir)
        after_kill = []
        for _ in range(3):
            after_kill.append(self.seconds_to_start(server))
            until(lambda: self.logged(server.dir) > events)     # the job that was open goes on at once
            events = self.logged(server.dir)
            server.kill()
        self.assertLess(min(after_kill), START_S)
        self.seconds_to_start(server)
        job, = [row[0] for row in server.rows('SELECT id FROM job WHERE state=1')]
        document = server.document(job)
        self.assertEqual(document['status'], 'running')
        self.assertEqual(document['total_batches'], LONG_EVENTS)
        self.assertEqual(server.stop(), 0)
        after_stop = self.seconds_to_start(server)
        self.assertLess(after_stop, START_S)
        self.assertGreaterEqual(server.document(job)['seq'], document['seq'])
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.rows('SELECT count(*) - max(pos), min(pos) FROM event'), [(0, 1)])
        for one, count, first, last in server.rows('SELECT job, count(*), min(seq), max(seq) FROM event GROUP BY job'):
            self.assertEqual((first, last), (1, count), one)
        twice = server.rows(f'SELECT job, item FROM event WHERE kind={DONE} GROUP BY job, item HAVING count(*) > 1')
        self.assertEqual(twice, [])
        print(f'    {events} events: ready after {" ".join(f"{s:.2f}" for s in after_kill)} s when killed, {after_stop:.2f} s when stopped', flush=True)


class Refusals(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix='rivulet-start-'))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, 'wb') as file:
            file.write(content)
        return path

    def refused(self, words, *arguments, **settings):
        """The program does not start: exit 2, one sentence on standard error with all these words, nothing on standard output."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(('RIVULET', 'MAX_', 'CARD_', 'SERVICE_', 'PORT', 'ENABLE_'))}
        settings = {'RIVULET_DATA': os.path.join(self.folder, 'data'), 'PORT': '0', 'CARD_MAPPING_PATH': CATALOGUE, **settings}
        env.update({name: value for name, value in settings.items() if value is not None})
        done = subprocess.run([PROGRAM, 'serve', *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
        said = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout), (2, b''), said)
        self.assertRegex(said, r'\Arivulet serve: [^\n]+\n\Z')
        for word in words:
            self.assertIn(word, said)

    def test_a_data_directory_in_use(self):
        server = Mortal()
        self.addCleanup(server.close)
        self.refused([server.dir, 'in use'], RIVULET_DATA=server.dir)
        self.assertEqual(server.post('/process-batch', [image()]).json()['successful'], 1)       # the first one noticed nothing

    def test_a_busy_port(self):
        with socket.socket() as sock:
            sock.bind(('127.0.0.1', 0))
            sock.listen()
            port = str(sock.getsockname()[1])
            self.refused([port, '127.0.0.1', 'in use'], PORT=port)
            self.refused([port, 'in use'], '--listen', '127.0.0.1:' + port)

    def test_catalogues_that_cannot_be_used(self):
        self.refused(['catalogue', 'CARD_MAPPING_PATH'], CARD_MAPPING_PATH=None)
        self.refused(['/no/such/file.csv', 'No such file'], CARD_MAPPING_PATH='/no/such/file.csv')
        self.refused([self.folder], CARD_MAPPING_PATH=self.folder)
        empty = self.write('empty.csv', b'')
        self.refused([empty], CARD_MAPPING_PATH=empty)
        with open(CATALOGUE, 'rb') as file:
            content = file.read()
        wrong = self.write('wrong.csv', content.replace(b'card_number', b'card_nr', 1))
        self.refused([wrong, 'card_number'], CARD_MAPPING_PATH=wrong)
        broken = self.write('broken.csv', content + b'"no end')
        self.refused([broken], CARD_MAPPING_PATH=broken)

    def test_data_directories_that_cannot_be_used(self):
        file = self.write('file', b'x')
        self.refused([file], RIVULET_DATA=file)
        self.refused(['/proc/no/such'], RIVULET_DATA='/proc/no/such')
        os.mkdir(os.path.join(self.folder, 'garbage'))
        self.write('garbage/log.db', os.urandom(100000))
        self.refused(['garbage/log.db'], RIVULET_DATA=os.path.join(self.folder, 'garbage'))

    def test_a_log_of_a_newer_version(self):
        server = Mortal()
        self.assertEqual(server.stop(), 0)
        self.addCleanup(server.close)
        base = sqlite3.connect(os.path.join(server.dir, 'log.db'))
        base.execute('PRAGMA user_version = 99')
        base.close()
        self.refused(['log.db', 'version'], RIVULET_DATA=server.dir)

    def test_pipelines_and_settings_that_cannot_be_used(self):
        self.refused(['/no/pipeline'], RIVULET_PIPELINE='/no/pipeline')
        self.refused([], RIVULET_PIPELINE=self.write('p.json', b'{"name":'))
        for name, value in (('PORT', '65536'), ('PORT', 'x'), ('MAX_WORKERS', '0'), ('MAX_BATCH_SIZE', '-1'), ('ENABLE_PARALLEL', 'maybe'),
                            ('RIVULET_RETENTION', 'x'), ('RIVULET_ENGINE', 'eyes')):
            with self.subTest(name=name, value=value):
                self.refused([value], **{name: value})
        self.refused(['--nothing'], '--nothing')
        self.refused(['listen'], '--listen')
        self.refused(['nonsense'], '--listen', 'nonsense')
        self.refused(['256.0.0.1'], '--listen', '256.0.0.1:0')
        self.refused(['more'], 'more')


class Ends(unittest.TestCase):
    timeout_s = 60

    def serve(self, timeout_s=30, **settings):
        pipeline = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': timeout_s, 'attempts': 2}]}
        self.server = Mortal(pipeline, ENABLE_PARALLEL='true', **{'MAX_WORKERS': 2, **settings})
        self.addCleanup(self.server.close)
        return self.server

    def started(self, *items):
        until(lambda: set(items) <= {row[0] for row in self.server.rows(f'SELECT item FROM event WHERE kind={STARTED}')})

    def seconds_to_end(self):
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        return time.monotonic() - began

    def test_idle_it_ends_at_once_whatever_is_connected(self):
        server = self.serve()
        server.post('/process-batch', [image()]).body()
        kept = http.client.HTTPConnection('127.0.0.1', server.port)
        kept.request('GET', '/health')
        kept.getresponse().read()
        silent = socket.create_connection(('127.0.0.1', server.port))
        self.assertLess(self.seconds_to_end(), 1)
        kept.close()
        silent.close()

    def test_idle_it_ends_at_once_though_readers_do_not_read(self):
        server = self.serve()
        job = server.post('/process-batch-fast', [image(pad=900000) for _ in range(10)])
        job.frames()
        deaf = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(5)]
        for sock in deaf:
            sock.sendall(f'GET /v1/jobs/{job.job}/events?face=seed HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
            sock.recv(10)
        self.assertLess(self.seconds_to_end(), 7)       # they are borne with for a grace of 5 s
        for sock in deaf:
            sock.close()

    def test_what_runs_is_finished_and_nothing_more_is_started(self):
        server = self.serve()
        stream = server.post('/process-batch-fast', [image(sleep_ms=700) for _ in range(6)])
        follower = Follower(server, stream.job, 'job')
        self.started(0, 1)
        self.assertLess(self.seconds_to_end(), 5)
        server.up = False
        seen = stream.frames()
        self.assertNotIn('complete', [frame.event for frame in seen])
        kinds = [(row[0], row[1]) for row in server.rows('SELECT kind, item FROM event WHERE item IS NOT NULL ORDER BY pos')]
        self.assertEqual(sorted(kinds), [(STARTED, 0), (STARTED, 1), (DONE, 0), (DONE, 1)])
        server.start()
        last = [frame.id for frame in seen if frame.id][-1]
        rest = server.events(stream.job, '?face=seed', last).frames()
        self.assertEqual(rest[-1].data['successful'], 6)
        follower.join()
        self.assertIsNone(follower.trouble)
        self.assertEqual(follower.kept, replay(server, stream.job, 'job')[0])
        story = check_server(self, server)[stream.job]
        self.assertEqual(list(story.starts.values()), [['first']] * 6)

    def test_what_takes_longer_than_the_grace_is_interrupted_and_begun_again_at_the_next_start(self):
        server = self.serve()
        stream = server.post('/process-batch-stream', [image(sleep_ms=25000), image()])
        self.started(0)
        self.assertTrue(9 < self.seconds_to_end() < 12.5)
        server.start()
        until(lambda: len(check_server(self, server)[stream.job].starts[0]) == 2)
        self.assertEqual(check_server(self, server)[stream.job].starts, {0: ['first', 'restart']})
        server.kill()

    def test_told_twice_it_ends_at_once(self):
        server = self.serve()
        stream = server.post('/process-batch-stream', [image(sleep_ms=2000), image()])
        self.started(0)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        stream.frames()         # the stream was ended: the first one was heard
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.process.wait(10), 0)
        self.assertLess(time.monotonic() - began, 1)
        server.start()
        self.assertEqual(server.events(stream.job, '?face=seed').frames()[-1].data['successful'], 2)
        self.assertEqual(check_server(self, server)[stream.job].starts[0], ['first', 'restart'])

    def test_uploads_under_way_are_told_and_leave_nothing(self):
        self.end_while_uploading(False)

    def test_told_twice_it_ends_at_once_though_uploads_are_being_stored(self):
        self.end_while_uploading(True)

    def end_while_uploading(self, twice):
        """The disk is busy with them at that moment: each write that is under way holds many small files, which are synced one by one."""
        server = self.serve(MAX_BATCH_SIZE=1000)
        answers = []

        def upload(sock, number):
            body = form([image(f'{number}-{n}.jpg', content=jpeg(2000, f'{number} {n}'.encode())) for n in range(400)])
            head = (f'POST /process-batch-fast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; '
                    f'boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n')
            rest = memoryview(head.encode() + body[:len(body) * (number + 1) // 16])
            sock.setblocking(False)
            try:
                while not select.select([sock], [sock] if rest else [], [], 20)[0]:
                    rest = rest[sock.send(rest[:4096]):]
                answers.append(sock.recv(1000)[:12])        # gone as soon as it is answered, whatever it still had to send
            except OSError:
                answers.append(b'')
            sock.close()
        socks = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(16)]
        threads = [threading.Thread(target=upload, args=(sock, number)) for number, sock in enumerate(socks)]
        for thread in threads:
            thread.start()
        until(lambda: len(blobs_on_disk(server.dir)) >= 20)
        if twice:
            server.process.send_signal(signal.SIGTERM)
            until(lambda: b'HTTP/1.1 503' in answers)
        self.assertEqual(server.stop(), 0)
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 16)
        self.assertIn(b'HTTP/1.1 503', answers)
        server.start()
        until(lambda: not server.rows('SELECT 1 FROM job WHERE state<2'))
        used = set().union(*(story.blobs for story in check_server(self, server).values()), set())
        until(lambda: blobs_on_disk(server.dir) == used)

    def test_the_first_line_says_where_it_listens(self):
        server = self.serve()
        self.assertEqual(server.get('/health').status, 200)
        self.assertNotIn(server.port, (0, 8080))
        self.assertEqual(server.stop(), 0)
        process = subprocess.Popen([PROGRAM, 'serve', '--listen', '127.0.0.1:0', '--data', server.dir], env=dict(server.env, PORT='1'),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        line = process.stdout.readline().decode()
        found = re.fullmatch(r'rivulet ready on http://127\.0\.0\.1:(\d+)\n', line)
        self.assertTrue(found, line)
        with socket.create_connection(('127.0.0.1', int(found.group(1)))):
            pass
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), 0)
        self.assertEqual(process.stdout.read(), b'')
        process.stdout.close()


class Retention(unittest.TestCase):
    def make_older(self, server, days):
        """As if all that has ended had ended so much earlier."""
        base = sqlite3.connect(os.path.join(server.dir, 'log.db'))
        base.execute('UPDATE job SET ended_at = ended_at - ?', (days * 86400 * 1000000,))
        base.commit()
        base.close()

    def restart(self, server, days=None):
        server.env.pop('RIVULET_RETENTION', None)
        if days is not None:
            server.env['RIVULET_RETENTION'] = f'{days}d'
        server.start()

    def test_finished_jobs_and_their_files_go_when_their_time_is_over(self):
        server = Mortal()
        self.addCleanup(server.close)
        old = server.post('/process-batch', [image(content=jpeg(1000, b'old')), image(content=jpeg(1000, b'both')), image(pad=70000)]).job
        server.stop()
        self.make_older(server, 8)
        self.restart(server, 0)
        new = server.post('/process-batch', [image(content=jpeg(1000, b'new')), image(content=jpeg(1000, b'both'))]).job
        self.assertEqual(server.get('/v1/jobs/' + old).status, 200)
        self.assertEqual(len(blobs_on_disk(server.dir)), 5)
        server.stop()
        self.restart(server, 9)
        self.assertEqual(server.get('/v1/jobs/' + old).status, 200)
        server.stop()
        self.restart(server)            # the default: 7 days
        until(lambda: server.get('/v1/jobs/' + old).status == 404)
        self.assertEqual(server.get(f'/v1/jobs/{old}/events').status, 404)
        until(lambda: len(blobs_on_disk(server.dir)) == 2)
        self.assertEqual(server.document(new)['batches_completed'], 2)
        frames = server.events(new, '?face=seed').frames()
        self.assertEqual(frames[-1].data['successful'], 2)
        self.assertEqual(server.rows('SELECT DISTINCT j.id FROM event e JOIN job j ON j.job = e.job'), [(new,)])
        self.assertEqual(json.loads(server.rows('SELECT body FROM event ORDER BY pos LIMIT 1')[0][0])['id'], new)


if __name__ == '__main__':
    unittest.main()
