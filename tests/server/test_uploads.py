"""Uploads: memory stays where it is however much comes, refusals are read by their clients, limits hold while bytes flow.

UPLOAD_FILES=100 UPLOAD_MB=8 makes the big one as big as bench/README.md says it is.
"""
import os
import socket
import threading
import unittest

from rivulet_server import BOUNDARY, Rivulet, form, image
from runs import until

MIB = 1 << 20
FILES, FILE_BYTES = int(os.environ.get('UPLOAD_FILES', 25)), int(os.environ.get('UPLOAD_MB', 8)) * MIB


def part(name, size, seed):
    """The pieces of one part whose content is `size` bytes, different for each seed."""
    yield (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
           'Content-Type: image/jpeg\r\n\r\n').encode()
    piece = b'\xff\xd8\xff' + seed.to_bytes(4, 'big') + bytes(65536 - 7)
    while size > 0:
        yield piece[:size]
        size -= len(piece)
    yield b'\r\n'


class Sender:
    """A request whose body is sent piece by piece, chunked."""

    def __init__(self, server, path, headers=()):
        self.sock = socket.create_connection(('127.0.0.1', server.port))
        self.sock.settimeout(60)
        lines = [f'POST {path} HTTP/1.1', 'Host: localhost', 'Transfer-Encoding: chunked', 'Connection: close',
                 f'Content-Type: multipart/form-data; boundary={BOUNDARY}', *headers]
        self.sock.sendall('\r\n'.join(lines).encode() + b'\r\n\r\n')

    def send(self, piece):
        self.sock.sendall(b'%x\r\n%b\r\n' % (len(piece), piece))

    def end(self):
        self.send(f'--{BOUNDARY}--\r\n'.encode())
        self.sock.sendall(b'0\r\n\r\n')

    def answer(self):
        content = b''
        while piece := self.sock.recv(65536):
            content += piece
        self.sock.close()
        return content


class Uploads(unittest.TestCase):
    timeout_s = 240

    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(MAX_BATCH_SIZE=max(FILES, 10), MAX_BODY_MB=2048)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def test_memory_does_not_grow_by_what_is_uploaded(self):
        self.server.post('/process-batch', [image(content=bytes(100000))] * 3).body()     # what is made once is there now
        before, highest = self.server.rss_kib(), 0
        sender = Sender(self.server, '/process-batch')
        for number in range(FILES):
            for piece in part(f'{number}.jpg', FILE_BYTES, number):
                sender.send(piece)
            highest = max(highest, self.server.rss_kib())
        sender.end()
        answer = sender.answer()
        highest = max(highest, self.server.rss_kib())
        self.assertIn(f'"total":{FILES},"successful":{FILES},'.encode(), answer)
        print(f'    {FILES} files of {FILE_BYTES // MIB} MiB: resident memory grew by {(highest - before) / 1024:.1f} MiB')
        self.assertLess(highest - before, 16 * 1024)

    def test_a_file_without_end_is_not_kept(self):
        """100 MiB where 10 are allowed: counted, thrown away, and told with its true size."""
        sender = Sender(self.server, '/process-batch')
        before = self.disk_bytes()
        for piece in part('endless.jpg', 100 * MIB, 1):
            sender.send(piece)
        during = self.disk_bytes()
        sender.end()
        self.assertIn(b'File size (100.0MB) exceeds maximum (10MB)', sender.answer())
        self.assertLess(during - before, 11 * MIB)

    def disk_bytes(self):
        return sum(self.size(os.path.join(folder, name)) for folder, _, names in os.walk(self.server.dir) for name in names)

    @staticmethod
    def size(path):
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            return 0

    def test_a_refusal_is_read_before_the_wire_is_cut(self):
        """The client is still sending when it is refused."""
        server = Rivulet(MAX_BODY_MB=1)
        self.addCleanup(server.close)
        sender = Sender(server, '/process-batch')
        for piece in part('a.jpg', 8 * MIB, 1):
            try:
                sender.send(piece)
            except OSError:
                break
        self.assertIn(b' 413 ', sender.answer().split(b'\r\n')[0])

    def test_a_client_that_waits_for_100_continue_is_let_on_or_refused_first(self):
        body = form([image()])
        head = (f'POST /process-batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n'
                f'Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n')
        with socket.create_connection(('127.0.0.1', self.server.port)) as sock:
            sock.settimeout(20)
            sock.sendall((head + f'Content-Length: {len(body)}\r\n\r\n').encode())
            self.assertTrue(sock.recv(1000).startswith(b'HTTP/1.1 100 '))
            sock.sendall(body)
            self.assertIn(b' 200 OK', sock.recv(1000))
        with socket.create_connection(('127.0.0.1', self.server.port)) as sock:
            sock.settimeout(20)
            sock.sendall((head + f'Content-Length: {3 << 30}\r\n\r\n').encode())
            self.assertIn(b' 413 ', sock.recv(1000))

    def test_many_uploads_at_once(self):
        answers = []

        def upload(number):
            answers.append(self.server.post('/process-batch', [image(content=bytes([number]) * 300000)] * 3).json()['successful'])
        threads = [threading.Thread(target=upload, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [3] * 20)

    def test_a_form_in_single_bytes_is_the_same_form(self):
        sender = Sender(self.server, '/process-batch')
        for byte in form([image('易.jpg'), image(content=b'')]).removesuffix(f'--{BOUNDARY}--\r\n'.encode()):
            sender.send(bytes([byte]))
        sender.end()
        answer = sender.answer()
        self.assertIn(b'"total":2,"successful":1,"failed":1', answer)
        self.assertIn('易.jpg'.encode(), answer)

    def test_uploads_that_stop_in_the_middle_leave_nothing_open(self):
        before = self.server.descriptors()
        senders = [Sender(self.server, '/process-batch') for _ in range(30)]
        for number, sender in enumerate(senders):
            for piece in list(part('a.jpg', MIB, number))[:-3]:
                sender.send(piece)
        for sender in senders:
            sender.sock.close()
        until(lambda: self.server.descriptors() <= before + 2)
        self.assertEqual(self.server.post('/process-batch', [image()]).json()['successful'], 1)
