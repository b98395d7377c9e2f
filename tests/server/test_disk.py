"""The disk: one that is full refuses uploads and delays what runs, and loses nothing; 800 MB go to it without passing through memory;
what came to nothing leaves nothing on it."""
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from rivulet_server import BOUNDARY, PROGRAM, image
from runs import only_root_may_look, until
from survival import Follower, Mortal, blobs_on_disk, check_server, hash_of, jpeg, replay

MIB = 1 << 20
FILES, FILE_BYTES = 100, 8 * MIB


def head_of(length, path='/process-batch', more=''):
    return (f'POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n'
            f'Content-Length: {length}\r\n\r\n').encode()


def read_all(sock):
    content = b''
    while piece := sock.recv(65536):
        content += piece
    return content


class Limit:
    """A full disk by RLIMIT_FSIZE: no file of the server's grows beyond some bytes, and then again without limit."""

    def __init__(self, case):
        self.server = Mortal(ENABLE_PARALLEL='true', MAX_BATCH_SIZE=500)
        case.addCleanup(self.server.close)

    def limit(self, count):
        hard = resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE, (count, hard))

    def fill(self):
        self.limit(4096)

    def free(self):
        if self.server.process.poll() is None:      # the next one is without limits
            self.limit(resource.RLIM_INFINITY)


class Small(Limit):
    """A file system of its own in memory, a little larger than what a server asks for, and a file that fills it."""

    def __init__(self, case, mebibytes):
        self.folder = tempfile.mkdtemp(prefix='rivulet-disk-')
        case.addCleanup(shutil.rmtree, self.folder, True)
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={mebibytes}m', 'rivulet-test', self.folder], stderr=subprocess.DEVNULL, check=False)
        self.mounted = done.returncode == 0
        if self.mounted:
            case.addCleanup(subprocess.run, ['umount', '-l', self.folder], check=True)
        self.server = Mortal(ENABLE_PARALLEL='true', MAX_BATCH_SIZE=500)
        case.addCleanup(self.server.close)
        if self.mounted:
            self.server.stop()
            self.server.env['RIVULET_DATA'] = self.server.dir = os.path.join(self.folder, 'data')
            self.server.start()

    def fill(self):
        """To the last byte; where nothing can be mounted, by the limit."""
        if not self.mounted:
            super().fill()
            return
        with open(os.path.join(self.folder, 'filler'), 'ab', buffering=0) as file:
            for size in (MIB, 4096):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    pass

    def free(self):
        if self.mounted:
            os.truncate(os.path.join(self.folder, 'filler'), 0)
        else:
            super().free()


class FullDisk(unittest.TestCase):
    timeout_s = 60

    def refused(self, server, files, *statuses):
        answer = server.post('/process-batch-stream', files)
        problem = answer.json()
        self.assertIn(answer.status, statuses, problem)
        self.assertIn('disk is full', problem['detail'])

    def survives(self, disk, kill):
        """A job runs, the disk fills, an upload is refused, the job stands still, (the server is killed,) there is space again."""
        server = disk.server
        stream = server.post('/process-batch-fast', [image(f'{n}.jpg', sleep_ms=20, accuracy=n % 100) for n in range(120)])
        job, followers = stream.job, [Follower(server, stream.job, 'seed', stream), Follower(server, stream.job, 'job')]
        until(lambda: len(followers[0].ids) > 20)
        disk.fill()
        large = [image(content=jpeg(300000))]
        self.refused(server, large, 507)
        until(lambda: server.get('/health').json()['status'] == 'degraded')
        seq = server.rows('SELECT max(seq) FROM event')[0][0]
        self.refused(server, [image()], 507, 503)
        self.refused(server, large, 507)
        self.assertEqual(server.rows('SELECT max(seq) FROM event'), [(seq,)])
        self.assertFalse(followers[0].ended)
        if kill:
            server.kill()
            self.does_not_start(disk)
            disk.free()
            server.start()
        else:
            disk.free()
        for follower in followers:
            follower.join()
            self.assertIsNone(follower.trouble)
            self.assertEqual(follower.kept, replay(server, job, follower.face)[0])
        self.assertEqual(server.document(job)['batches_completed'], 120)
        until(lambda: server.get('/health').json()['status'] == 'healthy')
        answer = server.post('/process-batch', large + [image(pad=100000)])
        self.assertEqual(answer.json()['successful'], 2)
        stories = check_server(self, server)
        self.assertEqual(sorted(stories), sorted([job, answer.job]))
        for story in stories.values():
            for sha in story.blobs:
                self.assertEqual(hash_of(server.dir, sha), sha)
        self.assertEqual(os.listdir(os.path.join(server.dir, 'tmp')), [])
        self.assertEqual(server.stop(), 0)

    def does_not_start(self, disk):
        """Without a byte for its first word the server says so; a limit went with the process that had it."""
        if not getattr(disk, 'mounted', False):
            return
        done = subprocess.run([PROGRAM, 'serve'], env=disk.server.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, b''), done.stderr)
        self.assertRegex(done.stderr.decode(), r'\Arivulet serve: [^\n]*full[^\n]*\n\Z')

    def test_files_that_may_not_grow(self):
        self.survives(Limit(self), False)

    def test_files_that_may_not_grow_and_a_kill(self):
        self.survives(Limit(self), True)

    def test_a_file_system_without_a_byte_left(self):
        self.survives(Small(self, 300), False)

    def test_a_file_system_without_a_byte_left_and_a_kill(self):
        self.survives(Small(self, 300), True)

    def test_too_little_space_for_a_new_job_is_told_before_the_upload(self):
        """Less than the 256 MiB that running jobs may still need: the body is not asked for."""
        disk = Small(self, 8)
        if not disk.mounted:
            disk.fill()
            self.refused(disk.server, [image(content=jpeg(300000))], 507)
            return
        with socket.create_connection(('127.0.0.1', disk.server.port)) as sock:
            sock.settimeout(20)
            sock.sendall(head_of(5000, more='Expect: 100-continue\r\n'))
            answer = sock.recv(65536)
        self.assertIn(b' 507 ', answer[:20])
        self.refused(disk.server, [image()], 507)
        self.assertEqual(disk.server.rows('SELECT count(*) FROM event'), [(0,)])


class LargeUpload(unittest.TestCase):
    timeout_s = 120

    @only_root_may_look
    def test_800_megabytes_pass_by_memory(self):
        server = Mortal(MAX_BATCH_SIZE=FILES, MAX_FILE_SIZE_MB=10)
        self.addCleanup(server.close)
        server.post('/process-batch', [image(content=jpeg(300000))] * 3).body()      # what is made once is there now
        before = server.memory_kib()
        with open(f'/proc/{server.process.pid}/clear_refs', 'w', encoding='ascii') as file:
            file.write('5')       # VmHWM begins anew
        part = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="%03d.jpg"\r\nContent-Type: image/jpeg\r\n\r\n')
        end = f'--{BOUNDARY}--\r\n'.encode()
        length = FILES * (len(part % 0) + FILE_BYTES + 2) + len(end)
        piece, began = bytes(MIB), time.monotonic()
        with socket.create_connection(('127.0.0.1', server.port)) as sock:
            sock.settimeout(60)
            sock.sendall(head_of(length))
            for number in range(FILES):
                sock.sendall((part % number).encode() + jpeg(1024, b'%03d' % number) + piece[1024:])
                for _ in range(FILE_BYTES // MIB - 1):
                    sock.sendall(piece)
                sock.sendall(b'\r\n')
            sock.sendall(end)
            answer = read_all(sock)
        seconds, grown = time.monotonic() - began, (server.memory_kib('VmHWM') - before) / 1024
        self.assertIn(f'"total":{FILES},"successful":{FILES},'.encode(), answer)
        self.assertIn(b'{"bytes":%d}' % FILE_BYTES, answer)
        self.assertEqual(len(blobs_on_disk(server.dir)), FILES + 1)
        print(f'    {FILES} files of 8 MiB in {seconds:.1f} s: resident memory grew by {grown:.1f} MiB at its highest', flush=True)
        self.assertLess(grown, 16)

    def test_forms_that_come_to_nothing_leave_nothing(self):
        """Too many files, no whole form, a client that has gone: what was stored of them goes, at the latest at the next start."""
        server = Mortal(MAX_BATCH_SIZE=3)
        self.addCleanup(server.close)
        kept = server.post('/process-batch', [image(content=jpeg(5000, b'kept'))]).job
        files = [image(content=jpeg(200000, b'%d' % number)) for number in range(4)]
        self.assertEqual(server.post('/process-batch', files).status, 400)
        body = b''.join(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x"\r\nContent-Type: image/jpeg\r\n\r\n'.encode() +
                        jpeg(200000, b'gone %d' % number) + b'\r\n' for number in range(3))
        with socket.create_connection(('127.0.0.1', server.port)) as sock:
            sock.sendall(head_of(len(body) + 100) + body)
            until(lambda: len(blobs_on_disk(server.dir)) > 5)
        until(lambda: not os.listdir(os.path.join(server.dir, 'tmp')))
        server.stop()
        server.start()
        until(lambda: len(blobs_on_disk(server.dir)) == 1)
        self.assertEqual(server.document(kept)['batches_completed'], 1)
        self.assertEqual(list(check_server(self, server)), [kept])


if __name__ == '__main__':
    unittest.main()
