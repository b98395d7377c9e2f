"""A collector of snapshots for tests: POST /trigger, GET /progress, GET /snapshot, and everything that goes wrong with them.

    collector = Collector(lambda snapshot: {'ready_s': 0.2, 'fail': 'blocked' if snapshot.number == 3 else None})
    … {"remote_job": {"base": collector.base, …}} …
    collector.snapshots, collector.calls, collector.banned, collector.second_triggers()
    collector.close()

What a snapshot does is a dict of *orders*, asked of the script once when it is triggered (ORDERS has them all with their defaults). Everything that
is asked of it is recorded with its time (time.monotonic), so that a test can tell what the other side has seen. One thread, asyncio: a thousand open
snapshots cost nothing.

    POST {base}/trigger?dataset_id=D[&notify=URL]      [{"url":…}…] → {"snapshot_id":…}; the same Idempotency-Key gets the same snapshot
    GET  {base}/progress/ID                            {"snapshot_id","status"}
    GET  {base}/snapshot/ID[?format=][&part=N][&page=] the rows; 202 while it is being built
    GET  {base}/snapshot/ID/parts                      {"parts":N}
    GET  {base}/snapshot/ID/errors                     JSON Lines: the error rows alone
    POST {base}/snapshot/ID/cancel
    POST {base}/files                                  a multipart form; {"id":…}: for jobs that start with an upload ({"file":ID} to /trigger)
    POST {base}/slow?ms=N                              answers what it was sent, N ms later: stands for an LLM
"""
import asyncio
import collections
import gzip
import itertools
import json
import random
import threading
import time
import urllib.parse

ORDERS = {
    'ready_s': 0.05,            # from its trigger until it is ready
    'start_s': 0,               # its trigger is answered so much later
    'states': ('running',),     # told one after the other while it is not ready, the last one again and again
    'done': 'ready',            # the state that says so: any JSON value
    'fail': None,               # a sentence: it fails instead of getting ready
    'texts': 0,                 # so many polls are answered 200 with a line of text
    'poll_statuses': (),        # the first polls are answered with these, in order
    'fetch_statuses': (),       # the first downloads too
    'retry_after': None,        # seconds in such answers with 429 or 503
    'hang_polls': (),           # seconds that the first polls hang, in order
    'forget': False,            # polls and downloads are answered 404 for ever
    'building': 0,              # so many downloads are answered 202 although it is ready
    'cut_downloads': 0,         # so many downloads break in their middle
    'lie_downloads': 0,         # so many end in the middle of a row without the wire being cut
    'download_s': 0,            # a download takes so long
    'error_rows': (),           # inputs (by number) that come back as error rows
    'missing': (),              # inputs that do not come back
    'shuffle': False,           # rows in another order
    'shape': 'jsonl',           # array, data, results, profiles, object (of one row, bare), jsonl, csv
    'pages': 0,                 # in so many pages, each with "next" (shape data)
    'parts': 0,                 # in so many parts
    'pad': 0,                   # bytes of text in each row
    'webhooks': (),             # seconds after it is ready at which notify is called; twice the same is a duplicate
    'inline': False,            # the rows come with the last poll, in "output"
    'row': None,                # (snapshot, index, row) → what comes back instead of a row
}

Call = collections.namedtuple('Call', 'at what snapshot method path query headers body status')


class Snapshot:
    def __init__(self, number, key, inputs, body, query, at):
        self.number, self.id, self.key, self.inputs, self.body, self.query, self.at = number, f's_{number:06d}', key, inputs, body, query, at
        self.polls = self.downloads = self.texts = self.replays = 0
        self.done_at = self.cancelled_at = None        # when its rows had been given whole; when it was cancelled
        self.orders = dict(ORDERS)

    @property
    def ready_at(self):
        return self.at + self.orders['ready_s']

    def row(self, index):
        row = self.plain_row(index)
        return self.orders['row'](self, index, row) if self.orders['row'] else row

    def plain_row(self, index):
        given = self.inputs[index]
        url = given.get('url') if isinstance(given, dict) else given
        if index in self.orders['error_rows']:
            return {'input': {'url': url}, 'error': 'page not found', 'error_code': 'dead_page'}
        row = {'url': url, 'input': {'url': url}, 'account': str(url).rstrip('/').rsplit('/', 1)[-1], 'followers': 1000 + index, 'snapshot': self.id}
        if self.orders['pad']:
            row['biography'] = 'x' * self.orders['pad']
        return row

    def rows(self):
        rows = [self.row(index) for index in range(len(self.inputs)) if index not in self.orders['missing']]
        if self.orders['shuffle']:
            random.Random(self.number).shuffle(rows)
        return rows


class Refusal(Exception):
    """An answer that is not the one that was hoped for."""

    def __init__(self, status, body, **headers):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, {name.replace('_', '-'): str(value) for name, value in headers.items()}


class Cut(Exception):
    """The wire is cut: after `sent` bytes of the answer, of which its head promised more; or before any."""

    def __init__(self, answer=b''):
        super().__init__('cut')
        self.answer = answer


class Collector:
    """script: snapshot → orders, or a dict for all. trigger_statuses: the first triggers are answered so ('cut' = it is taken, and the wire is cut before
    the answer; 'drop' = it is not even taken). max_open: more open snapshots are refused with 429. rate: (calls, seconds) beyond which there is 429.
    idempotent: it knows Idempotency-Key. 25 answers with 429 in 5 minutes, and the caller is banned: 403 for ever."""

    BAN_REFUSALS, BAN_S = 25, 300

    def __init__(self, script=None, trigger_statuses=(), retry_after=None, max_open=None, rate=None, idempotent=True, key=None, port=0):
        self.script, self.max_open, self.rate, self.idempotent, self.key, self.retry_after = script or {}, max_open, rate, idempotent, key, retry_after
        self.trigger_statuses = list(trigger_statuses)
        self.snapshots, self.calls, self.files, self.banned, self.open_most, self.slow_most = [], [], {}, False, 0, 0
        self.by_id, self.by_key, self.refusals, self.recent = {}, {}, collections.deque(), collections.deque()
        self.open_now = self.slow_now = 0
        self.numbers = itertools.count(1)
        self.port = port
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.started.wait(10)
        self.base = f'http://127.0.0.1:{self.port}'

    # ---- what a test asks ----

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def of(self, what, snapshot=None):
        """Calls of a kind: trigger, progress, snapshot, parts, errors, cancel, files, slow."""
        return [call for call in list(self.calls) if call.what == what and (snapshot is None or call.snapshot == snapshot)]

    def second_triggers(self):
        """Batches (by what was asked for) that more than one snapshot was made of."""
        seen = collections.Counter(snapshot.body for snapshot in list(self.snapshots))
        return [body for body, count in seen.items() if count > 1]

    def given(self):
        """Snapshots whose id has been told to somebody who took it: which of them were triggered again is what a test wants to know."""
        return [snapshot for snapshot in list(self.snapshots) if snapshot.polls]

    def wait(self, want, seconds=15):
        """Until want() holds."""
        deadline = time.monotonic() + seconds
        while not want():
            assert time.monotonic() < deadline, 'the other side has waited in vain'
            time.sleep(0.005)

    # ---- the server ----

    def run(self):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, '127.0.0.1', self.port, backlog=2048))
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def serve(self, reader, writer):
        try:
            while await self.serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def serve_one(self, reader, writer):
        head = await reader.readuntil(b'\r\n\r\n')
        first, *lines = head.decode('latin-1').split('\r\n')
        method, target, _ = first.split(' ', 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(':') for line in lines if line)}
        if headers.get('expect', '').lower() == '100-continue':
            writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
        body = await reader.readexactly(int(headers.get('content-length', 0)))
        url = urllib.parse.urlsplit(target)
        asked = {'method': method, 'path': url.path, 'query': dict(urllib.parse.parse_qsl(url.query)), 'headers': headers, 'body': body,
                 'at': time.monotonic(), 'what': url.path.strip('/').split('/')[0], 'snapshot': None}
        try:
            status, answer, more = await self.answer(asked)
        except Refusal as refusal:
            status, answer, more = refusal.status, refusal.body, refusal.headers
        except Cut as cut:
            self.note(asked, 0)
            writer.write(cut.answer)
            await writer.drain()
            writer.transport.abort() if not cut.answer else writer.close()
            return False
        self.note(asked, status)
        if not isinstance(answer, bytes):
            answer = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        writer.write(self.head(status, len(answer), more) + (b'' if method == 'HEAD' else answer))
        await writer.drain()
        return headers.get('connection', '').lower() != 'close'

    @staticmethod
    def head(status, count, more):
        fields = {'Content-Type': 'application/json', 'Content-Length': str(count), **more}
        return (f'HTTP/1.1 {status} Said\r\n' + ''.join(f'{name}: {value}\r\n' for name, value in fields.items()) + '\r\n').encode()

    def note(self, asked, status):
        self.calls.append(Call(asked['at'], asked['what'], asked['snapshot'], asked['method'], asked['path'], asked['query'], asked['headers'],
                               asked['body'], status))
        if status == 429:
            self.refusals.append(asked['at'])
            while self.refusals and self.refusals[0] < asked['at'] - self.BAN_S:
                self.refusals.popleft()
            self.banned = self.banned or len(self.refusals) >= self.BAN_REFUSALS

    async def answer(self, asked):
        if self.banned:
            raise Refusal(403, 'your address has been blocked, talk to support')
        if self.key and asked['headers'].get('authorization') != f'Bearer {self.key}':
            raise Refusal(401, {'error': 'who are you?'})
        self.check_rate(asked['at'])
        steps = asked['path'].strip('/').split('/')
        if steps == ['trigger'] and asked['method'] in ('POST', 'PUT'):
            told = self.trigger(asked)
            await asyncio.sleep(self.by_id[told['snapshot_id']].orders['start_s'])
            return 200, told, {}
        if steps == ['files']:
            return 200, self.keep_file(asked), {}
        if steps == ['slow']:
            return await self.slow(asked)
        snapshot = self.by_id.get(steps[1]) if len(steps) > 1 else None
        if len(steps) == 3 and steps[0] == 'snapshot':
            asked['what'] = steps[2]
        if snapshot:
            asked['snapshot'] = snapshot.id
        if snapshot is None or snapshot.orders['forget']:
            raise Refusal(404, 'Snapshot does not exist')
        if steps[0] == 'progress':
            return await self.progress(snapshot)
        if steps[0] == 'snapshot' and len(steps) == 2:
            return await self.download(snapshot, asked)
        if asked['what'] == 'parts':
            return 200, {'parts': snapshot.orders['parts']}, {}
        if asked['what'] == 'errors':
            rows = [snapshot.row(index) for index in snapshot.orders['error_rows']]
            return 200, ''.join(json.dumps(row) + '\n' for row in rows), {'Content-Type': 'application/jsonl'}
        if asked['what'] == 'cancel' and asked['method'] == 'POST':
            if snapshot.cancelled_at is None and snapshot.done_at is None:
                snapshot.cancelled_at = asked['at']
                self.open_now -= 1
            return 200, 'OK', {}
        raise Refusal(404, {'error': 'no such page'})

    def check_rate(self, now):
        if not self.rate:
            return
        while self.recent and self.recent[0] < now - self.rate[1]:
            self.recent.popleft()
        if len(self.recent) >= self.rate[0]:
            raise Refusal(429, 'slow down', **self.later())
        self.recent.append(now)

    def later(self):
        return {} if self.retry_after is None else {'Retry_After': self.retry_after}

    def trigger(self, asked):
        said = self.trigger_statuses.pop(0) if self.trigger_statuses else 200
        if said == 'drop':
            raise Cut
        if isinstance(said, int) and said != 200:
            raise Refusal(said, {'error': f'not now ({said})'}, **(self.later() if said in (429, 503) else {}))
        key = asked['headers'].get('idempotency-key')
        snapshot = self.by_key.get(key) if key and self.idempotent else None
        if snapshot:
            snapshot.replays += 1
        else:
            if self.max_open is not None and self.open_now >= self.max_open:
                raise Refusal(429, 'too many running jobs for this dataset: RUNNING>=LIMIT', **self.later())
            snapshot = self.make(asked, key)
        asked['snapshot'] = snapshot.id
        if said == 'cut':
            raise Cut
        return {'snapshot_id': snapshot.id}

    def make(self, asked, key):
        inputs = json.loads(asked['body'] or 'null')
        if isinstance(inputs, dict) and inputs.get('file') in self.files:
            inputs = self.files[inputs['file']]
        inputs = inputs if isinstance(inputs, list) else [inputs]
        snapshot = Snapshot(next(self.numbers), key, inputs, json.dumps([asked['query'].get('dataset_id'), inputs]), asked['query'], asked['at'])
        orders = self.script(snapshot) if callable(self.script) else self.script
        unknown = set(orders) - set(ORDERS)
        assert not unknown, unknown
        snapshot.orders.update(orders)
        self.snapshots.append(snapshot)
        self.by_id[snapshot.id] = snapshot
        if key:
            self.by_key[key] = snapshot
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        for delay in snapshot.orders['webhooks']:
            asyncio.ensure_future(self.notify(snapshot, delay))
        return snapshot

    async def notify(self, snapshot, delay):
        await asyncio.sleep(max(0, snapshot.ready_at + delay - time.monotonic()))
        url = urllib.parse.urlsplit(snapshot.query.get('notify', ''))
        if not url.hostname:
            return
        try:
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            body = json.dumps({'snapshot_id': snapshot.id, 'status': 'ready'}).encode()
            writer.write((f'POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\nConnection: close\r\n'
                          f'Content-Length: {len(body)}\r\n\r\n').encode() + body)
            await reader.read()
            writer.close()
        except OSError:
            pass

    async def progress(self, snapshot):
        orders, turn, now = snapshot.orders, snapshot.polls, time.monotonic()
        snapshot.polls += 1
        if turn < len(orders['hang_polls']) and orders['hang_polls'][turn]:
            await asyncio.sleep(orders['hang_polls'][turn])
        if turn < len(orders['poll_statuses']) and orders['poll_statuses'][turn] != 200:
            self.refuse(orders['poll_statuses'][turn], orders)
        if snapshot.texts < orders['texts']:
            snapshot.texts += 1
            return 200, 'Snapshot is not there yet, please try again later', {'Content-Type': 'text/plain'}
        if now < snapshot.ready_at:
            return 200, {'snapshot_id': snapshot.id, 'status': orders['states'][min(turn, len(orders['states']) - 1)]}, {}
        if orders['fail']:
            self.finish(snapshot)
            return 200, {'snapshot_id': snapshot.id, 'status': 'failed', 'error_message': orders['fail']}, {}
        answer = {'snapshot_id': snapshot.id, 'status': orders['done']}
        if orders['inline']:
            answer['output'] = snapshot.rows()
            self.finish(snapshot)
        return 200, answer, {}

    @staticmethod
    def refuse(status, orders):
        if status == 'cut':
            raise Cut
        raise Refusal(status, {'error': f'not now ({status})'}, **({'Retry_After': orders['retry_after']} if orders['retry_after'] is not None else {}))

    def finish(self, snapshot):
        if snapshot.done_at is None:
            snapshot.done_at = time.monotonic()
            self.open_now -= snapshot.cancelled_at is None

    async def download(self, snapshot, asked):
        orders, turn = snapshot.orders, snapshot.downloads
        snapshot.downloads += 1
        if turn < len(orders['fetch_statuses']) and orders['fetch_statuses'][turn] != 200:
            self.refuse(orders['fetch_statuses'][turn], orders)
        if time.monotonic() < snapshot.ready_at or orders['building'] > 0:
            orders['building'] -= time.monotonic() >= snapshot.ready_at
            return 202, {'status': 'building', 'message': 'snapshot is not ready yet, try again in 10s'}, {}
        if orders['download_s']:
            await asyncio.sleep(orders['download_s'])
        body = self.shape(snapshot, asked['query'])
        if orders['lie_downloads'] > 0:
            orders['lie_downloads'] -= 1
            body = body[:len(body) * 2 // 3]
        if orders['cut_downloads'] > 0:
            orders['cut_downloads'] -= 1
            raise Cut(self.head(200, len(body), {}) + body[:len(body) * 2 // 3])
        self.finish(snapshot)
        if 'gzip' in asked['headers'].get('accept-encoding', '') and orders['pad']:
            return 200, gzip.compress(body), {'Content-Encoding': 'gzip'}
        return 200, body, {}

    def shape(self, snapshot, query):
        rows, orders, more = snapshot.rows(), snapshot.orders, {}
        number = int(query.get('page') or query.get('part') or 1)
        cuts = orders['pages'] or orders['parts']
        if cuts:
            size = -(-len(rows) // cuts)
            rows = rows[(number - 1) * size:number * size]
            if orders['pages']:
                more['next'] = str(number + 1) if number < cuts else None
        if orders['shape'] == 'jsonl':
            return ''.join(json.dumps(row) + '\n' for row in rows).encode()
        if orders['shape'] == 'csv':
            return ('url,account,followers\r\n' + ''.join(f'{row["url"]},{row["account"]},{row["followers"]}\r\n' for row in rows)).encode()
        if orders['shape'] == 'array':
            return json.dumps(rows).encode()
        if orders['shape'] == 'object':
            return json.dumps(rows[0]).encode()
        return json.dumps({orders['shape']: rows, **more}).encode()

    def keep_file(self, asked):
        boundary = asked['headers'].get('content-type', '').partition('boundary=')[2].strip('"').encode()
        for part in asked['body'].split(b'--' + boundary):
            head, _, content = part.partition(b'\r\n\r\n')
            if b'filename=' in head:
                name = f'file_{len(self.files) + 1}'
                self.files[name] = [json.loads(line) for line in content.strip().splitlines()]
                return {'id': name}
        raise Refusal(400, {'error': 'no file in the form'})

    async def slow(self, asked):
        self.slow_now += 1
        self.slow_most = max(self.slow_most, self.slow_now)
        try:
            await asyncio.sleep(int(asked['query'].get('ms', 0)) / 1000)
        finally:
            self.slow_now -= 1
        return 200, asked['body'] or b'{}', {}
