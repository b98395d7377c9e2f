"""Forms at their limits and one beyond each: parts, heads and names of parts, bytes of a form; a million parts, and a part without end. What is
refused is told in a sentence, costs no memory and no job, and the others are served meanwhile."""
import socket
import threading
import time
import unittest

from rivulet_server import BOUNDARY, Rivulet, form, image

MIB = 1 << 20
PARTS_MAX, HEAD_BYTES, NAME_BYTES, BODY_MB = 10000, 8 * 1024, 255, 4      # of src/base/limits.h; the last is set here
HEAD = (f'POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n'
        'Transfer-Encoding: chunked\r\n\r\n')
LAST = f'--{BOUNDARY}--\r\n'.encode()


def part(name='other', content=b'', head=b''):
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode() + head + b'\r\n' + content + b'\r\n'


class Limits(unittest.TestCase):
    timeout_s = 120

    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(MAX_BATCH_SIZE=5, MAX_BODY_MB=BODY_MB)
        cls.large = Rivulet(MAX_BATCH_SIZE=5)
        cls.addClassCleanup(cls.server.close)
        cls.addClassCleanup(cls.large.close)

    def tearDown(self):
        for server in (self.server, self.large):
            self.assertEqual(server.post('/process-batch', [image()]).json()['successful'], 1)

    def jobs(self, server):
        return len(server.get('/v1/jobs?limit=100').json()['jobs'])

    def ask(self, body, path='/process-batch'):
        return self.server.ask('POST', path, body, {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})

    def good(self, body):
        answer = self.ask(body)
        told = answer.json()
        self.assertEqual((answer.status, told.get('successful')), (200, 1), told)

    def refused(self, body, status, sentence):
        before = self.jobs(self.server)
        answer = self.ask(body)
        told = answer.body().decode()
        self.assertEqual(answer.status, status, told)
        self.assertIn(sentence, told)
        self.assertEqual(self.jobs(self.server), before)

    def stream(self, server, first, pieces, seconds):
        """A body in pieces until the wire is cut, whatever is said before; (what was answered, the most memory, the slowest answer to others in s, the bytes that were taken)."""
        highest, slowest, sent = 0, 0.0, 0
        with socket.create_connection(('127.0.0.1', server.port)) as sock:
            sock.settimeout(60)
            answer = []

            def read():
                try:
                    while piece := sock.recv(65536):
                        answer.append(piece)
                except OSError:
                    pass
            reader = threading.Thread(target=read)
            sock.sendall((HEAD % '/process-batch').encode() + b'%x\r\n%b\r\n' % (len(first), first) if first else (HEAD % '/process-batch').encode())
            reader.start()
            until_s = time.monotonic() + seconds
            for piece in pieces:
                if time.monotonic() > until_s:
                    break
                try:
                    sock.sendall(b'%x\r\n%b\r\n' % (len(piece), piece))
                except OSError:
                    break
                sent += len(piece)
                asked = time.monotonic()
                self.assertEqual(server.get('/health').status, 200)
                slowest, highest = max(slowest, time.monotonic() - asked), max(highest, server.rss_kib())
            else:
                sock.sendall(b'0\r\n\r\n')
            reader.join(60)
        return b''.join(answer), highest, slowest, sent

    def test_a_million_parts_are_refused_and_cost_nothing(self):
        before, jobs = self.large.rss_kib(), self.jobs(self.large)
        piece = part() * 2000
        answer, highest, slowest, sent = self.stream(self.large, b'', (piece for _ in range(500)), 40)
        print(f'    {sent // len(part())} parts sent, resident memory grew by {(highest - before) / 1024:.1f} MiB, others waited {slowest * 1000:.0f} ms at most')
        self.assertEqual(answer[9:12], b'400', answer[:300])
        self.assertIn(f'more than {PARTS_MAX} parts'.encode(), answer)
        self.assertLess(highest - before, 8 * 1024)
        self.assertEqual(self.jobs(self.large), jobs)

    def test_a_million_files_are_refused_and_cost_nothing(self):
        before, jobs = self.large.rss_kib(), self.jobs(self.large)
        one = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\nx\r\n'.encode()
        answer, highest, _, _ = self.stream(self.large, b'', (one * 2000 for _ in range(500)), 40)
        self.assertEqual(answer[9:12], b'400', answer[:300])
        self.assertLess(highest - before, 8 * 1024)
        self.assertEqual(self.jobs(self.large), jobs)

    def test_a_part_without_end_stops_at_the_bodys_limit(self):
        before = self.server.rss_kib()
        start = part()[:-2]
        answer, highest, _, sent = self.stream(self.server, start, (bytes(65536) for _ in iter(int, 1)), 60)
        self.assertEqual(answer[9:12], b'413', answer[:300])
        self.assertIn(str(BODY_MB * MIB).encode(), answer)
        self.assertLess(sent, 200 * MIB)
        self.assertLess(highest - before, 8 * 1024)

    def test_a_head_without_end_stops_at_its_limit(self):
        start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\nX: '.encode()
        answer, _, _, _ = self.stream(self.server, start, (b'y' * 1000 for _ in range(50)), 30)
        self.assertIn(answer[9:12], (b'400', b'431'), answer[:300])
        self.assertIn(f'more than {HEAD_BYTES} bytes'.encode(), answer)

    def test_so_many_parts_and_one_more(self):
        self.good(part() * (PARTS_MAX - 1) + form([image()]))
        self.refused(part() * PARTS_MAX + form([image()]), 400, f'more than {PARTS_MAX} parts')

    def test_so_long_a_name_and_a_byte_more(self):
        self.good(part('n' * NAME_BYTES) + form([image()]))
        self.refused(part('n' * (NAME_BYTES + 1)) + form([image()]), 400, f'more than {NAME_BYTES} bytes')

    def test_so_long_a_head_and_a_byte_more(self):
        bare = len(part(head=b'X: \r\n').split(b'\r\n', 1)[1]) - 2 - 2
        fits = next(n for n in range(HEAD_BYTES - bare - 8, HEAD_BYTES) if self.ask(part(head=b'X: ' + b'y' * (n + 1) + b'\r\n') + form([image()])).status != 200)
        self.assertLess(abs(fits + bare - HEAD_BYTES), 8)
        self.good(part(head=b'X: ' + b'y' * fits + b'\r\n') + form([image()]))
        self.refused(part(head=b'X: ' + b'y' * (fits + 1) + b'\r\n') + form([image()]), 400, f'more than {HEAD_BYTES} bytes')

    def test_so_long_a_body_and_a_byte_more(self):
        bare = len(part()) + len(form([image()]))
        self.good(part(content=bytes(BODY_MB * MIB - bare)) + form([image()]))
        self.refused(part(content=bytes(BODY_MB * MIB - bare + 1)) + form([image()]), 413, f'at most {BODY_MB * MIB} are taken')

    def test_so_many_files_and_one_more(self):
        self.assertEqual(self.ask(form([image()] * 5)).json()['successful'], 5)
        self.refused(form([image()] * 6), 400, '5')

    def test_a_boundary_that_is_not_said_never_comes_or_is_too_long(self):
        for media, body, sentence in (('multipart/form-data', form([image()]), 'names no boundary'),
                                      ('multipart/form-data; boundary=another', form([image()]), 'first boundary never came'),
                                      ('multipart/form-data; boundary=' + 'b' * 71, form([image()]), '1 to 70'),
                                      (f'multipart/form-data; boundary={BOUNDARY}', form([image()])[:-len(LAST)], 'closing boundary')):
            with self.subTest(media=media):
                answer = self.server.ask('POST', '/process-batch', body, {'Content-Type': media})
                told = answer.body().decode()
                self.assertEqual(answer.status, 400, told)
                self.assertIn(sentence, told)


if __name__ == '__main__':
    unittest.main()
