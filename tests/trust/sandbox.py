#!/usr/bin/env python3
"""A worker tries what no worker may, one thing after the other, in its lock and (to show that the lock is what refuses) without one.

The worker is the real one with one stage more, tests/worker/try.c. It is held by its frames as a server would hold it, and then by a real
server with that stage, which has to live, end every item, and keep its files.
"""
import errno
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib

from scorecard import BUILD, ROOT, Scorecard

sys.path.insert(0, os.path.join(ROOT, 'tests', 'worker'))
import test_sandbox                               # noqa: E402
import rivulet_server                             # noqa: E402
from runs import children_of, stat_of             # noqa: E402

TRYING = os.path.join(BUILD, 'tests', 'test-worker')
SERVER = os.path.join(BUILD, 'tests', 'rivulet-try')
REFUSED = {getattr(errno, name) for name in ('EACCES', 'EPERM', 'ENOSYS', 'ENOMEM', 'EMFILE', 'EFBIG', 'EAGAIN')}


class World:
    """What there is to attack: a file with a secret, a folder, a listening port, an abstract socket, processes."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='rivulet-sandbox-')
        self.secret = os.path.join(self.folder, 'secret')
        with open(self.secret, 'w', encoding='ascii') as file:
            file.write('as it was')
        self.tcp = socket.create_server(('127.0.0.1', 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(('127.0.0.1', 0))
        self.abstract = f'rivulet-{os.getpid()}'
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind('\0' + self.abstract)
        self.unix.listen(4)
        self.sibling = subprocess.Popen(['sleep', '600'])

    def orders(self, victim):
        """[(name, order, whether it can be done without a lock by whoever runs this)] of all there is. `victim`: the process that is attacked."""
        def new(name):
            return os.path.join(self.folder, name)
        with open('/proc/self/uid_map', encoding='ascii') as file:
            root = os.geteuid() == 0 and file.read().split() == ['0', '0', '4294967295']      # of the machine, not of a namespace
        return [(name, {'try': name.split()[0], 'path': path, 'number': number}, possible) for name, path, number, possible in (
            ('read a file', self.secret, 0, True),
            ('read the server\'s environment', f'/proc/{victim}/environ', 0, True),
            ('read the server\'s memory', f'/proc/{victim}/mem', 0, root),
            ('read /proc/self/maps', '/proc/self/maps', 0, True),
            ('read /etc/passwd', '/etc/passwd', 0, True),
            ('write a file', self.secret, 0, True),
            ('write a new file', new('new'), 0, True),
            ('write /dev/shm', f'/dev/shm/rivulet-{os.getpid()}', 0, True),
            ('stat a path', self.secret, 0, True),
            ('folder', new('folder'), 0, True),
            ('link', new('link'), 0, True),
            ('unlink', new('link'), 0, True),
            ('chmod', self.secret, 0, True),
            ('device', new('device'), 0, root),
            ('chdir', '/', 0, True),
            ('tcp', '', self.tcp.getsockname()[1], True),
            ('udp', '', self.udp.getsockname()[1], True),
            ('abstract', self.abstract, 0, True),
            ('listen', '', 0, True),
            ('pair', '', 0, True),
            ('netlink', '', 0, True),
            ('fork', '', 0, True),
            ('thread', '', 0, True),
            ('exec', '/bin/true', 0, None),
            ('memory-exec', '/bin/true', 0, None),
            ('runnable memory', '', 0, True),
            ('made-runnable memory', '', 0, True),
            ('signal the server', '', victim, True),
            ('kill the server', '', victim, False),
            ('stop a sibling', '', self.sibling.pid, True),
            ('kill a sibling', '', self.sibling.pid, False),
            ('pidfd of the server', '', victim, True),
            ('ptrace the server', '', victim, root),
            ('memory-of the server', '', victim, None),
            ('priority of the server', '', victim, None),
            ('mount', self.folder, 0, None),
            ('chroot', self.folder, 0, root),
            ('unshare a user namespace', '', 0, None),
            ('keys of the session', '', 0, None),
            ('bpf', '', 0, None),
            ('uring', '', 0, None),
            ('userfault', '', 0, None),
            ('setuid', '', 65534, None),
            ('core files', '', 0, root),
            ('memfd', '', 0, True),
            ('memory 4 GiB', '', 0, True),
            ('files', '', 0, True),
            ('disk', '', 0, None),
        )]

    def close(self):
        for each in (self.tcp, self.udp, self.unix):
            each.close()
        self.sibling.kill()
        self.sibling.wait()
        subprocess.run(['umount', '-q', self.folder], stderr=subprocess.DEVNULL)      # where an attack succeeded
        subprocess.run(['rm', '-rf', self.folder, f'/dev/shm/rivulet-{os.getpid()}'], check=True)


def try_locked(order, kinds):
    """What came of it in a fresh worker: an errno (0: it was done), or minus the signal that ended it."""
    worker = test_sandbox.Worker(program=TRYING)
    worker.init('try', *kinds)
    try:
        _, body, _ = worker.do('try', json.dumps(order).encode())
        result = json.loads(body)['errno'] if body else None
    except (ConnectionResetError, BrokenPipeError, json.JSONDecodeError):
        result = None
    status = worker.end()
    return status if result is None else result


def try_free(order):
    done = subprocess.run([TRYING, 'try', json.dumps(order)], capture_output=True, text=True)
    return json.loads(done.stdout)['errno'] if done.returncode == 0 and done.stdout else 0 if order['try'] in ('exec', 'memory-exec') else -1


def part_attempts(card, world, kinds, called):
    undone, total, by_signal = [], 0, 0
    for name, order, _ in world.orders(world.sibling.pid):
        total += 1
        result = try_locked(order, kinds)
        by_signal += result == -signal.SIGSYS
        if result != -signal.SIGSYS and result not in REFUSED:
            undone.append(f'{name}: {result}')
    card.note(f'{by_signal} of them by the end of the worker (SIGSYS), the others by an error')
    card.row(f'forbidden things that {called} workers could do', len(undone), f'of {total}', bar=0)
    for line in undone:
        card.note(line)


def part_without(card, world):
    """Without its lock the same code does them, so it is the lock that refuses."""
    wrong, possible_count = [], 0
    for name, order, possible in world.orders(world.sibling.pid):
        if possible:
            possible_count += 1
            result = try_free(order)
            if result != 0:
                wrong.append(f'{name}: {result}')
            if name.startswith('stop'):
                os.kill(world.sibling.pid, signal.SIGCONT)
    card.row('of them refused without a lock as well', len(wrong), f'of {possible_count}', bar=0)
    for line in wrong:
        card.note(line)


def part_inherited(card):
    """What a worker writes to descriptors that came along reaches nobody."""
    with tempfile.TemporaryFile() as errors:
        for fd in range(3):
            worker = test_sandbox.Worker(program=TRYING, errors=errors.fileno())
            worker.init('try')
            worker.do('try', json.dumps({'try': 'inherited', 'number': fd}).encode())
            worker.end()
        card.row('bytes written through inherited descriptors', errors.seek(0, os.SEEK_END), '', bar=0)


# ---- a real server ----

class Watched:
    """The most memory that any child of a process ever had, KiB; looked at while it is open."""

    def __init__(self, pid):
        self.pid, self.most, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.02):
            for each in children_of(self.pid):
                try:
                    with open(f'/proc/{each}/status', encoding='ascii') as file:
                        self.most = max([self.most] + [int(line.split()[1]) for line in file if line.startswith('VmHWM')])
                except OSError:
                    pass

    def end(self):
        self.over.set()
        self.thread.join()
        return self.most


TRY_PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['try'], 'timeout_s': 1, 'attempts': 2, 'backoff_ms': [10, 20]}]}


class Trying(rivulet_server.Rivulet):
    program = SERVER


def part_server(card, world):
    """All of it once more as the items of jobs. The program is the real one with one stage more, in the server and in its workers."""
    server = Trying(TRY_PIPELINE, MAX_BATCH_SIZE=200)
    try:
        pid = server.process.pid
        log = os.path.join(server.dir, 'log.db')
        orders = [(name, order) for name, order, _ in world.orders(pid)]
        orders += [('read the log', {'try': 'read', 'path': log}), ('write the log', {'try': 'write', 'path': log}),
                   ('unlink the log', {'try': 'unlink', 'path': log}), ('abort', {'try': 'abort'}), ('endless loop', {'try': 'endless'})]
        files = [rivulet_server.image(f'{n}.jpg', content=json.dumps(order).encode()) for n, (_, order) in enumerate(orders)]
        answer = server.post('/v1/jobs?pipeline=decklists', files)
        document = server.wait_for(answer.json()['id'], 'completed', 'error')
        items = [json.loads(line) for line in server.get(f'/v1/jobs/{document["id"]}/results').body().splitlines()]
        done = {item['index']: item for item in items}
        could = [orders[place][0] for place, item in done.items() if (item.get('decklist') or {}).get('errno') == 0]
        told = sum('errno' in (item.get('decklist') or {}) for item in done.values())
        card.row('items of attackers that had an end', len(done), f'of {len(orders)}', good=len(done) == len(orders))
        card.note(f'{told} of them were told of an error, the others lost their worker twice')
        card.row('of them with success', len(could), '', bar=0, good=not could and told > 0)
        for name in could:
            card.note(name)
        card.holds('the server lives', server.process.poll() is None and server.get('/health').status == 200)
        with open(log, 'rb') as file:
            card.holds('its log is there', file.read(15) == b'SQLite format 3')
        card.holds('a sibling that was to be stopped runs', stat_of(world.sibling.pid)[0] in 'SR')
    finally:
        server.close()


# ---- bombs ----

def png_chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png(width, height, rows=b'', extra=b'', depth=1, colour=0):
    return (b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)) + extra +
            png_chunk(b'IDAT', rows) + png_chunk(b'IEND', b''))


def zeros(count):
    """As deflate, 1:1000."""
    packer, piece = zlib.compressobj(9), bytes(1 << 20)
    return b''.join(packer.compress(piece[:min(len(piece), count - at)]) for at in range(0, count, len(piece))) + packer.flush()


def jpeg(width, height):
    """A header that says so, and no more than that of the picture."""
    quant = b'\xff\xdb\x00\x43\x00' + b'\x01' * 64
    frame = b'\xff\xc0' + struct.pack('>HBHHB', 11, 8, height, width, 1) + b'\x01\x11\x00'
    huffman = b'\xff\xc4' + struct.pack('>H', 2 + 17 + 1) + b'\x00' + bytes([1] + [0] * 15) + b'\x00'
    huffman += b'\xff\xc4' + struct.pack('>H', 2 + 17 + 1) + b'\x10' + bytes([1] + [0] * 15) + b'\x00'
    return b'\xff\xd8' + quant + frame + huffman + b'\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00' + bytes(1000) + b'\xff\xd9'


def gif(frames):
    one = b'\x2c' + struct.pack('<HHHHB', 0, 0, 1, 1, 0) + b'\x02\x02\x44\x01\x00'
    return b'GIF89a' + struct.pack('<HHBBB', 1, 1, 0x80, 0, 0) + bytes(6) + one * frames + b';'


def riff(*chunks):
    body = b'WEBP' + b''.join(kind + struct.pack('<I', len(content)) + content + b'\0' * (len(content) & 1) for kind, content in chunks)
    return b'RIFF' + struct.pack('<I', len(body)) + body


def webp_still(width, height):
    """Lossless, with a header that says so."""
    return b'\x2f' + struct.pack('<I', (width - 1) | (height - 1) << 14) + bytes(64)


def webp_film(frames):
    head = struct.pack('<B3x', 2) + struct.pack('<I', 16382)[:3] + struct.pack('<I', 16382)[:3]
    still = webp_still(16, 16)
    frame = bytes(6) + struct.pack('<I', 15)[:3] + struct.pack('<I', 15)[:3] + bytes(4) + b'VP8L' + struct.pack('<I', len(still)) + still
    return riff((b'VP8X', head), (b'ANIM', bytes(6)), *[(b'ANMF', frame)] * frames)


def bombs(mega):
    """mega: MiB that texts in images unpack to."""
    side = 30000
    box = struct.pack('>I', 12) + b'jP  \r\n\x87\n'
    laughs = '<!DOCTYPE x [<!ENTITY a "ha">' + ''.join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9)) + ']><svg>&j;</svg>'
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr('one', bytes(42 << 20))
    rows = zeros(side * ((side + 7) // 8 + 1))
    return [
        ('PNG of 30,000 x 30,000', png(side, side, rows)),
        ('PNG of 30,000 x 30,000 in colour, cut short', png(side, side, rows, depth=8, colour=2)),
        ('PNG of 2^31 x 2^31', png(2 ** 31 - 1, 2 ** 31 - 1, zlib.compress(b''))),
        ('PNG of 0 x 0', png(0, 0, zlib.compress(b''))),
        ('PNG of 1 x 24,000,000', png(1, 24000000, zeros(24000000 * 2))),
        (f'PNG with a text of {mega} MB', png(8, 8, zlib.compress(bytes(16)), png_chunk(b'zTXt', b'a\0\0' + zeros(mega << 20)))),
        (f'PNG with a profile of {mega} MB', png(8, 8, zlib.compress(bytes(16)), png_chunk(b'iCCP', b'a\0\0' + zeros(mega << 20)))),
        ('JPEG of 65,500 x 65,500', jpeg(65500, 65500)),
        ('JPEG of 4,000 x 5,900 without its picture', jpeg(4000, 5900)),
        ('GIF of 100,000 frames', gif(100000)),
        ('WebP of 16,383 x 16,383', riff((b'VP8L', webp_still(16383, 16383)))),
        ('WebP film of 10,000 frames', webp_film(10000)),
        ('AVIF', struct.pack('>I', 32) + b'ftypavif' + bytes(4) + b'avifmif1miafMA1B' + struct.pack('>I', 2 ** 31) + b'meta' + bytes(500)),
        ('JPEG-2000', box + struct.pack('>I', 20) + b'ftypjp2 ' + bytes(8) + struct.pack('>I', 30) + b'ihdr' + struct.pack('>II', 2 ** 31, 2 ** 31) + bytes(99)),
        ('PDF with a page of a mile', b'%PDF-1.7\n1 0 obj<</Type/Page/MediaBox[0 0 9999999 9999999]>>endobj\n' + bytes(4000)),
        ('SVG of a billion laughs', laughs.encode()),
        ('ZIP of zeros', archive.getvalue()),
        ('BMP of 2^31 x 2^31', b'BM' + struct.pack('<IHHIIiiHHIIiiII', 54, 0, 0, 54, 40, 2 ** 31 - 1, 2 ** 31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)),
        ('TIFF that goes round', b'II*\0\x08\0\0\0\x01\0' + bytes(12) + b'\x08\0\0\0'),
    ]


def part_bombs(card, mega):
    folder = os.path.join(ROOT, 'examples', 'decklists')
    with open(os.path.join(folder, '01-plain.jpg'), 'rb') as file:
        honest = file.read()
    settings = {name: os.environ[name] for name in ('RIVULET_MODELS',) if name in os.environ}
    pipeline = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['decklist'], 'timeout_s': 30, 'attempts': 2, 'backoff_ms': [10, 20]}]}
    server = rivulet_server.Rivulet(pipeline=pipeline, MAX_BATCH_SIZE=10, CARD_MAPPING_PATH=os.path.join(folder, 'catalogue.csv'), **settings)
    watched = Watched(server.process.pid)
    survived = taken = refused = 0
    before = server.rss_kib()
    try:
        plain = server.post('/process-batch', [rivulet_server.image(content=honest)]).json()
        base = watched.most
        every = bombs(mega)
        for name, content in every:
            answer = server.post('/process-batch', [rivulet_server.image('bomb.jpg', content=content, media='image/png' if name.startswith('PNG') else 'image/jpeg')])
            body = answer.json()
            survived += answer.status < 500
            refused += answer.status >= 400
            if answer.status == 200 and body.get('successful'):
                taken += 1
                card.note(f'read as a deck: {name}')
        again = server.post('/process-batch', [rivulet_server.image(content=honest)]).json()
        card.row('bombs that ended in an error of their own', survived - taken, f'of {len(every)}', good=survived - taken == len(every))
        card.note(f'{refused} of them were refused as they came, the others by a worker')
        card.row('honest images read before and after', plain['successful'] + again['successful'], 'of 2', good=plain['successful'] + again['successful'] == 2)
        card.row('memory of a worker at its highest', watched.most / 1024, f'MiB (an honest image takes {base // 1024})', bar=400)
        card.row('memory that the server grew by', (server.rss_kib() - before) / 1024, 'MiB', bar=40)
    finally:
        watched.end()
        server.close()


def main():
    card = Scorecard('sandbox', __doc__)
    options = card.begin()
    world = World()
    try:
        part_without(card, world)
        part_attempts(card, world, ('jq', 'eval', 'rows'), 'expression')
        if not options.quick:
            part_attempts(card, world, ('decklist', 'jq'), 'image')
        part_inherited(card)
        part_server(card, world)
        part_bombs(card, 40 if options.quick else 400)
    finally:
        world.close()
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
