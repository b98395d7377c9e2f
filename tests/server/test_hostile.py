"""Hostile input: each costs its own error event and nothing else. Files that lie, bombs, forms cut at every byte, lengths that are not
true, clients that dribble, that never read, and that vanish."""
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
import unittest

from rivulet_server import BOUNDARY, ROOT, form, image
from runs import until
from survival import LOST, Mortal, check_server, jpeg

sys.path.insert(0, os.path.join(ROOT, 'tools', 'samples'))
import hostile  # noqa: E402  the corpus

ALONE = 'a health check has a bar of milliseconds'

DECKS = os.path.join(ROOT, 'examples', 'decklists')
FORM_HEAD = f'Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n'


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def connect(server, receive_bytes=None):
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(60)
    sock.connect(('127.0.0.1', server.port))
    return sock


def all_of(sock):
    """What still comes until the other side ends."""
    content = b''
    try:
        while piece := sock.recv(65536):
            content += piece
    except ConnectionResetError:
        content += b'<reset>'
    return content


def post_head(length, path='/process-batch', more=''):
    return (f'POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}' + FORM_HEAD + f'Content-Length: {length}\r\n\r\n').encode()


class Files(unittest.TestCase):
    """The corpus of hostile pictures between good ones, read by the real pipeline."""
    timeout_s = 120

    def test_every_file_of_the_corpus_gets_its_error_and_the_good_ones_their_result(self):
        server = Mortal(RIVULET_PIPELINE='', CARD_MAPPING_PATH=os.path.join(DECKS, 'catalogue.csv'), MAX_BATCH_SIZE=100, MAX_WORKERS=2)
        self.addCleanup(server.close)
        folder = tempfile.mkdtemp(prefix='rivulet-hostile-')
        self.addCleanup(shutil.rmtree, folder, True)
        rows = hostile.write(folder)
        good = {'filename': '10-half-size.jpg', 'content_type': 'image/jpeg', 'error_type': None, 'message': None}
        order = [good]
        for number, row in enumerate(rows):
            order += [row] + [good] * (number % 7 == 6)
        order.append(good)
        shutil.copy(os.path.join(DECKS, good['filename']), folder)
        before = server.memory_kib()
        files = [(row['filename'], row['content_type'], read(os.path.join(folder, row['filename']))) for row in order]
        frames = server.post('/process-batch-stream', files).frames()
        ends = {frame.data['index']: frame for frame in frames if frame.event in ('result', 'error')}
        self.assertEqual(sorted(ends), list(range(len(order))))
        deck = None
        for number, row in enumerate(order):
            with self.subTest(file=row['filename']):
                frame = ends[number]
                self.assertEqual(frame.data['filename'], row['filename'])
                if row['error_type'] is None:
                    self.assertEqual(frame.event, 'result', frame.data)
                    cards = [(card['card_number'], card['quantity']) for card in frame.data['decklist']['main_deck']]
                    deck = deck or cards
                    self.assertTrue(cards)
                    self.assertEqual(cards, deck, 'a good deck was read differently in this company')
                else:
                    self.assertEqual(frame.event, 'error', frame.data)
                    self.assertRegex(frame.data['error_type'], row['error_type'])
                    self.assertRegex(frame.data['error'], row['message'])
        self.assertEqual(frames[-1].event, 'complete')
        self.assertEqual(frames[-1].data['failed'], sum(row['error_type'] is not None for row in order))
        self.assertLess(server.memory_kib() - before, 16 * 1024)
        self.assertEqual(server.get('/health').json()['status'], 'healthy')


class Forms(unittest.TestCase):
    timeout_s = 120

    @classmethod
    def setUpClass(cls):
        cls.server = Mortal(MAX_BATCH_SIZE=50, RIVULET_ACCEPT_TEXT='true')

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def jobs(self):
        return self.server.rows('SELECT count(*) FROM job')[0][0]

    def works(self):
        frames = self.server.post('/process-batch-stream', [image('a.jpg'), image('b.jpg', fail='no')]).frames()
        self.assertEqual([frame.event for frame in frames][-4:], ['progress', 'progress', 'error', 'complete'])

    def raw_form(self, disposition, content=b'{}', media='image/jpeg'):
        return (f'--{BOUNDARY}\r\nContent-Disposition: form-data; '.encode() + disposition +
                f'\r\nContent-Type: {media}\r\n\r\n'.encode() + content + f'\r\n--{BOUNDARY}--\r\n'.encode())

    def test_names_are_data_and_nothing_else(self):
        names = {
            b'filename="../../etc/passwd"': '../../etc/passwd', b'filename="/dev/sda"': '/dev/sda', 'filename="易.jpg"'.encode(): '易.jpg',
            b'filename="a\\"b.jpg"': 'a"b.jpg', b"filename=\"';DROP TABLE event;--.jpg\"": "';DROP TABLE event;--.jpg",
            b"filename*=UTF-8''a%0D%0Adata%3A%20x.jpg": 'a\r\ndata: x.jpg', b"filename*=UTF-8''a%00b.jpg": re.compile(r'image_0\.jpg|a.?b\.jpg'),
            b'filename="' + b'n' * 300 + b'.jpg"': re.compile('n{200,}…'), ('filename="' + '易' * 100 + '"').encode(): re.compile('易{80,84}…'),
            b'filename="\xff\xfe.jpg"': re.compile('.*[.]jpg'), b'filename="."': '.', b'filename=".."': '..', b'filename=" "': None,
            b'filename="</script>.jpg"': '</script>.jpg', b'filename="\xe2\x80\xa8.jpg"': '\u2028.jpg',
        }
        before = self.server.rows('SELECT max(job) FROM job')[0][0] or 0
        for disposition, want in names.items():
            with self.subTest(disposition=disposition):
                answer = self.server.ask('POST', '/process-batch-stream', self.raw_form(b'name="files"; ' + disposition),
                                         {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})
                frames = answer.frames()
                self.assertEqual([frame.event for frame in frames], ['progress', 'progress', 'result', 'complete'], answer.raw)
                name = frames[2].data['filename']
                self.assertLessEqual(len(name.encode()), 255)
                for raw in answer.raw.decode().split('\n\n')[:-1]:      # what is in a name makes no line of its own
                    self.assertRegex(raw, r'\Aevent: [a-z]+\ndata: [^\n\r]*(\nid: [0-9-]+)?\Z')
                if isinstance(want, str):
                    self.assertIn(name, (want, re.sub('[\0\r\n]', '\ufffd', want), re.sub('[\0\r\n]', '', want), re.sub('[\0\r\n]', ' ', want)))
                elif want:
                    self.assertRegex(name, want)
        stories = check_server(self, self.server)
        self.assertGreaterEqual(len(stories), len(names) - before)
        for top, _, found in os.walk(self.server.top):
            for name in found:
                self.assertRegex(name, r'\A([0-9a-f]{64}|log\.db(-wal|-shm)?|lock|hook\.key|pipeline\.json|stderr)\Z', top)

    def test_a_raw_newline_or_nul_in_a_head_is_no_name(self):
        for disposition in (b'name="files"; filename="a\nb.jpg"', b'name="files"; filename="a\r\nb.jpg"', b'name="files"; filename="a\0b.jpg"'):
            before = self.jobs()
            answer = self.server.ask('POST', '/process-batch', self.raw_form(disposition), {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})
            content = answer.body()
            self.assertIn(answer.status, (200, 400), content)
            self.assertEqual(self.jobs() - before, answer.status == 200)
        self.works()

    def corpus(self):
        yield form([image('a.jpg'), image('b.txt', b'3x A', 'text/plain')])
        yield form([image('易.jpg', content=b'\r\n--' + BOUNDARY.encode()[:-1] + b'\r\n')], 'files')
        yield b'preamble\r\n' + self.raw_form(b'name="files"; filename=x').replace(b'--\r\n', b'--\r\nepilogue')

    def whole(self, body, cut):
        """A form is complete with the two dashes of its last boundary, whatever follows."""
        return cut >= body.index(f'--{BOUNDARY}--'.encode()) + len(BOUNDARY) + 4

    def test_a_body_cut_at_every_byte_whose_client_has_gone(self):
        before, blobs = self.jobs(), self.server.rows('SELECT count(*) FROM blob_use')
        count = 0
        for body in self.corpus():
            for cut in range(len(body)):
                with connect(self.server) as sock:
                    sock.sendall(post_head(len(body)) + body[:cut])
                count += 1
        self.assertGreater(count, 600)
        self.works()
        self.assertEqual(self.jobs(), before + 1)
        self.assertEqual(self.server.rows('SELECT count(*) FROM blob_use')[0][0], blobs[0][0] + 2)

    def test_a_body_cut_at_every_byte_whose_client_waits_for_the_answer(self):
        """The length is true, the form is not whole: one answer, no job. And the same with half of the connection closed."""
        before, whole = self.jobs(), 0
        for body in self.corpus():
            for cut in range(len(body) + 1):
                with connect(self.server) as sock:
                    sock.sendall(post_head(cut) + body[:cut])
                    answer = all_of(sock)
                status = int(answer[9:12])
                if self.whole(body, cut):
                    self.assertEqual(status, 200, (cut, answer))
                    whole += 1
                else:
                    self.assertIn(status, (400, 422), (cut, answer))
                    self.assertIn(b'application/problem+json', answer)
        self.assertEqual(self.jobs(), before + whole)
        body = next(self.corpus())
        for cut in range(0, len(body), 7):
            with connect(self.server) as sock:
                sock.sendall(post_head(len(body)) + body[:cut])
                sock.shutdown(socket.SHUT_WR)
                self.assertNotIn(b' 200 ', all_of(sock)[:20])
        self.works()

    def test_chunks_cut_at_every_byte(self):
        before, body = self.jobs(), form([image('a.jpg')])
        head = ('POST /process-batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n' + FORM_HEAD + '\r\n').encode()
        sent = head + b''.join(b'%x;q=1\r\n%b\r\n' % (len(body[at:at + 50]), body[at:at + 50]) for at in range(0, len(body), 50)) + b'0\r\n\r\n'
        for cut in range(len(sent)):
            with connect(self.server) as sock:
                sock.sendall(sent[:cut])
        with connect(self.server) as sock:
            sock.sendall(sent)
            self.assertIn(b' 200 ', all_of(sock)[:20])
        self.assertEqual(self.jobs(), before + 1)

    def test_lengths_that_are_not_true(self):
        body = form([image('a.jpg')])
        before = self.jobs()
        cases = {
            'too short, the rest is no request': (post_head(len(body) - 30) + body, (b' 400 ',)),
            'not a number': (post_head('12x') + body, (b' 400 ',)),
            'negative': (post_head('-5') + body, (b' 400 ',)),
            'signed': (post_head('+5') + body, (b' 400 ',)),
            'two that differ': (post_head(len(body), more='Content-Length: 3\r\n') + body, (b' 400 ',)),
            'with chunks too': (post_head(len(body), more='Transfer-Encoding: chunked\r\n') + body, (b' 400 ',)),
            'more than fits 64 bits': (post_head('99999999999999999999999') + body, (b' 400 ', b' 413 ')),
            'more than may be': (post_head(1 << 62) + body, (b' 413 ',)),
            'nothing': (post_head(0) + body, (b' 400 ', b' 422 ')),
        }
        for name, (sent, want) in cases.items():
            with self.subTest(name), connect(self.server) as sock:
                sock.sendall(sent)
                self.assertIn(all_of(sock)[8:13], want)
        self.assertEqual(self.jobs(), before)
        self.works()

    def test_forms_that_are_no_forms(self):
        before = self.jobs()
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
        bodies = [
            b'', b'--', b'\r\n' * 1000, os.urandom(5000), f'--{BOUNDARY}--'.encode(), f'--{BOUNDARY}\r\n'.encode() * 100,
            (part + 'x').encode(), f'--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--'.encode(),
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{"a" * 9000}"\r\n\r\n'.encode(),
            (f'--{BOUNDARY}\r\n' + 'X-Header: y\r\n' * 2000).encode(),
            part.replace('form-data', 'attachment').encode() + f'x\r\n--{BOUNDARY}--'.encode(),
        ]
        for body in bodies:
            answer = self.server.ask('POST', '/process-batch', body, {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})
            self.assertIn(answer.status, (400, 422), body[:80])
            answer.body()
        self.assertEqual(self.jobs(), before)
        self.works()


class Clients(unittest.TestCase):
    """Clients that are slow, deaf or gone."""
    timeout_s = 120

    def setUp(self):
        self.server = Mortal(ENABLE_PARALLEL='true', MAX_WORKERS=4, MAX_BATCH_SIZE=400)
        self.addCleanup(self.server.close)

    def test_slow_senders_and_readers_that_never_read_cost_the_others_nothing(self):
        """All kinds of slowness at once, for as long as it takes the server to lose patience with each."""
        job = self.server.post('/process-batch-fast', [image(f'{n}.jpg', pad=100000) for n in range(100)])
        self.assertEqual(len([frame for frame in job.frames() if frame.event == 'result']), 100)
        whole = job.raw
        for _ in range(20):      # what is made once is there now
            self.server.events(job.job, '?face=seed').body()
        before, files = self.server.memory_kib(), self.server.descriptors()
        began = time.monotonic()
        deaf = [connect(self.server, 4096) for _ in range(40)]
        for number, sock in enumerate(deaf):
            sock.sendall(f'GET /v1/jobs/{job.job}/events{"?face=seed" if number % 4 else ""} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
        live = connect(self.server, 4096)
        body = form([image(f'{n}.jpg', pad=100000, sleep_ms=100) for n in range(300)])
        live.sendall(post_head(len(body), '/process-batch-fast') + body)
        dribbling = [(connect(self.server), b'GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ' + b'y' * 1000) for _ in range(20)]
        body = form([image(content=jpeg(5000))])
        dribbling += [(connect(self.server), post_head(len(body)) + body) for _ in range(20)]
        times, highest, ended, sent = [], 0, {}, 0
        for sock, _ in dribbling:
            sock.setblocking(False)
        while len(ended) < len(dribbling):
            for number, (sock, content) in enumerate(dribbling):
                if number not in ended:
                    self.dribble(sock, content[sent:sent + 1] if sent >= 200 or number < 20 else content[:200] * (sent == 0), number, ended)
            sent += 1
            asked = time.monotonic()
            self.assertEqual(self.server.get('/health').status, 200)
            times.append(time.monotonic() - asked)
            if len(times) % 20 == 0:
                self.assertEqual(self.server.events(job.job, '?face=seed').body(), whole)
            highest = max(highest, self.server.memory_kib())
            time.sleep(0.1)
        patience = time.monotonic() - began
        self.assertTrue(all(b' 408 ' in answer[:20] or not answer for answer in ended.values()), set(ended.values()))
        self.assertGreater(sum(b' 408 ' in answer[:20] for answer in ended.values()), len(dribbling) // 2)
        self.assertLess(sorted(times)[len(times) * 99 // 100], 0.05)
        self.assertLess(highest - before, 40 * 1024)
        self.assertGreater(self.server.descriptors(), files + len(deaf), 'the readers were to be borne with for 30 s')
        until(lambda: self.server.descriptors() <= files)       # then they are let go, though they hold on
        for sock in deaf + [live] + [sock for sock, _ in dribbling]:
            sock.close()
        until(lambda: not self.server.rows('SELECT 1 FROM job WHERE state<2'))
        self.assertEqual(self.server.rows('SELECT count(*) FROM event WHERE kind=8')[0][0], 400)
        print(f'    40 readers that never read, 40 slow senders: resident memory grew by {(highest - before) / 1024:.1f} MiB; patience {patience:.0f} s; '
              f'/health p99 {sorted(times)[len(times) * 99 // 100] * 1000:.1f} ms', flush=True)

    def dribble(self, sock, piece, number, ended):
        try:
            if piece:
                sock.send(piece)
            answer = sock.recv(65536)
            ended[number] = answer
        except BlockingIOError:
            pass
        except LOST:
            ended[number] = b''

    def test_readers_that_vanish_in_mid_stream_leave_nothing_behind(self):
        self.server.post('/process-batch-fast', [image(pad=100000)]).body()
        files = self.server.descriptors()
        job = self.server.post('/process-batch-fast', [image(sleep_ms=20, pad=100000) for _ in range(200)])
        job.until('result')
        for turn in range(20):
            readers = [connect(self.server, 4096) for _ in range(10)]
            for number, sock in enumerate(readers):
                sock.sendall(f'GET /v1/jobs/{job.job}/events{"?face=seed" if number % 2 else ""} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
            for number, sock in enumerate(readers):
                if number % 3:
                    sock.recv(1000 * number * turn + 1)
                if number % 4 == 0:      # a reset instead of an end
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                sock.close()
        job.leave()
        document = self.server.wait_for(job.job, 'completed')
        self.assertEqual(document['batches_completed'], 200)
        until(lambda: self.server.descriptors() <= files)

    def test_senders_that_vanish_leave_nothing_behind(self):
        self.server.post('/process-batch', [image()]).body()
        files = self.server.descriptors()
        body = form([image(content=jpeg(300000))])
        threads = [threading.Thread(target=self.vanish, args=(body, cut)) for cut in range(1000, len(body), len(body) // 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: self.server.descriptors() <= files)
        until(lambda: not os.listdir(os.path.join(self.server.dir, 'tmp')))
        self.assertEqual(self.server.rows('SELECT count(*) FROM job'), [(1,)])

    def vanish(self, body, cut):
        with connect(self.server) as sock:
            sock.sendall(post_head(len(body)) + body[:cut])


if __name__ == '__main__':
    unittest.main()
