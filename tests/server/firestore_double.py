"""A Firestore of our own on loopback: documents in memory, atomic commits with masks, preconditions and appended elements, and the limits that
Firestore has. It fails on order: answers that are errors, answers that are lost after the work was done, work that is done late.

As a program: `firestore_double.py PORT` serves until it is killed.
"""
import http.server
import json
import sys
import threading
import time
import urllib.parse

DOC_BYTES, REQUEST_BYTES, WRITES, DEPTH = 1048576, 10 << 20, 500, 20
LATE_S = 1.3        # longer than a mirror waits before it tries again
CODES = {'UNAVAILABLE': 503, 'RESOURCE_EXHAUSTED': 429, 'ABORTED': 409, 'DEADLINE_EXCEEDED': 504, 'INTERNAL': 500, 'INVALID_ARGUMENT': 400,
         'NOT_FOUND': 404, 'ALREADY_EXISTS': 409, 'FAILED_PRECONDITION': 400, 'PERMISSION_DENIED': 403}


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def size_of(value):
    (kind, inner), = value.items()
    if kind == 'stringValue':
        return len(inner.encode()) + 1
    if kind == 'mapValue':
        return fields_size(inner.get('fields', {}))
    if kind == 'arrayValue':
        return sum(map(size_of, inner.get('values', [])))
    return {'nullValue': 1, 'booleanValue': 1}.get(kind, 8)


def fields_size(fields):
    return sum(len(name.encode()) + 1 + size_of(value) for name, value in fields.items())


def depth_of(value):
    (kind, inner), = value.items()
    if kind == 'mapValue':
        return 1 + max([depth_of(one) for one in inner.get('fields', {}).values()], default=0)
    if kind == 'arrayValue':
        for one in inner.get('values', []):
            if 'arrayValue' in one:
                raise Refused('INVALID_ARGUMENT', 'an array stands right inside an array')
        return 1 + max([depth_of(one) for one in inner.get('values', [])], default=0)
    if kind == 'integerValue' and not isinstance(inner, str):
        raise Refused('INVALID_ARGUMENT', 'integerValue is a string')
    return 0


def plain(value):
    """A value as Python has it."""
    (kind, inner), = value.items()
    if kind == 'mapValue':
        return {name: plain(one) for name, one in inner.get('fields', {}).items()}
    if kind == 'arrayValue':
        return [plain(one) for one in inner.get('values', [])]
    return int(inner) if kind == 'integerValue' else inner


def changed(document, write):
    """The fields after one write."""
    update, mask = write['update'], write.get('updateMask')
    fields = dict(document['fields']) if document and mask else {}
    for name in mask['fieldPaths'] if mask else update['fields']:
        if name in update.get('fields', {}):
            fields[name] = update['fields'][name]
        else:
            fields.pop(name, None)
    for transform in write.get('updateTransforms', []):
        values = list(fields.get(transform['fieldPath'], {'arrayValue': {}}).get('arrayValue', {}).get('values', []))
        values += [one for one in transform['appendMissingElements']['values'] if one not in values]
        fields[transform['fieldPath']] = {'arrayValue': {'values': values}}
    return fields


class Firestore:
    """fault(number, path) answers None, a status such as 'UNAVAILABLE', 'lost' (done, but not answered), 'late' (done after the answer UNAVAILABLE),
    'hang', or (status, headers). `history`: for each document what it was after each commit, with the time; `commits`: their writes' names."""

    def __init__(self, fault=None, port=0):
        self.fault, self.documents, self.history, self.commits = fault or (lambda number, path: None), {}, {}, []
        self.lock, self.ticks, self.number, self.problems, self.tokens, self.doc_max = threading.Lock(), 0, 0, [], set(), 0
        self.faults = 0
        firestore = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            disable_nagle_algorithm = True

            def do_any(self):
                firestore.answer(self, self.rfile.read(int(self.headers.get('Content-Length') or 0)))

            do_GET = do_POST = do_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None       # a client that was killed
        self.address = f'127.0.0.1:{self.server.server_port}'
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # -- what a test asks

    def get(self, path):
        """A document's fields as Python has them, or None; path from behind documents/."""
        with self.lock:
            for name, document in self.documents.items():
                if name.endswith('/documents/' + path):
                    return {field: plain(value) for field, value in document['fields'].items()}
        return None

    def paths(self):
        with self.lock:
            return sorted(name.split('/documents/')[1] for name in self.documents)

    def versions(self, path):
        """(time, fields) after each commit that wrote the document."""
        with self.lock:
            found = [versions for name, versions in self.history.items() if name.endswith('/documents/' + path)]
        return [(at, {field: plain(value) for field, value in fields.items()}) for at, fields in (found[0] if found else [])]

    # -- the service

    def now(self):
        self.ticks += 1
        return f'2026-01-01T00:00:00.{self.ticks:06d}Z' if self.ticks < 1000000 else f'2026-01-02T00:00:00.{self.ticks % 1000000:06d}Z'

    def check(self, write, document):
        condition = write.get('currentDocument', {})
        if condition.get('exists') is False and document:
            raise Refused('ALREADY_EXISTS', 'the document exists')
        if condition.get('exists') and not document:
            raise Refused('NOT_FOUND', 'no such document')
        if 'updateTime' in condition and (not document or document['updateTime'] != condition['updateTime']):
            raise Refused('FAILED_PRECONDITION', 'the stored version does not match the required base version')

    def commit(self, writes):
        if len(writes) > WRITES:
            raise Refused('INVALID_ARGUMENT', f'{len(writes)} writes')
        at, staged = self.now(), {}
        for write in writes:
            name = write['update']['name']
            if len(name.split('/documents/')[1].split('/')) % 2:
                raise Refused('INVALID_ARGUMENT', f'{name} is no document')
            document = staged.get(name, self.documents.get(name))
            self.check(write, document)
            fields = changed(document, write)
            size = fields_size(fields) + len(name) + 32
            self.doc_max = max(self.doc_max, size)
            if size > DOC_BYTES:
                raise Refused('INVALID_ARGUMENT', f'{name} has {size} bytes')
            for field, value in fields.items():
                if depth_of(value) > DEPTH:
                    raise Refused('INVALID_ARGUMENT', f'{field} is nested too deep')
            staged[name] = {'name': name, 'fields': fields, 'createTime': document['createTime'] if document else at, 'updateTime': at}
        self.documents.update(staged)
        self.commits.append([write['update']['name'].split('/documents/')[1] for write in writes])
        for name, document in staged.items():
            self.history.setdefault(name, []).append((time.monotonic(), document['fields']))
        return {'writeResults': [{'updateTime': at} for _ in writes], 'commitTime': at}

    def do(self, method, path, body):
        with self.lock:
            if method == 'POST' and path.endswith('/documents:commit'):
                return self.commit(json.loads(body)['writes'])
            document = self.documents.get(path[len('/v1/'):])
            if method != 'GET' or not document:
                raise Refused('NOT_FOUND', 'no such document')
            return document

    def do_late(self, method, path, body):
        try:
            self.do(method, path, body)
        except Refused:
            pass

    def answer(self, handler, body):
        path = urllib.parse.unquote(handler.path.split('?')[0])
        with self.lock:
            self.number += 1
            self.tokens.add(handler.headers.get('Authorization'))
            fault = self.fault(self.number, path)
            self.faults += fault is not None
        try:
            if len(body) > REQUEST_BYTES:
                raise Refused('INVALID_ARGUMENT', 'the request is too long')
            if fault == 'hang':
                time.sleep(3600)
            if fault == 'lost':
                self.do(handler.command, path, body)
                handler.close_connection = True
                handler.connection.shutdown(2)
                return
            if fault == 'late':
                threading.Timer(LATE_S, self.do_late, (handler.command, path, body)).start()
                fault = 'UNAVAILABLE'
            if fault:
                raise Refused(fault[0] if isinstance(fault, tuple) else fault, 'on order')
            code, told = 200, self.do(handler.command, path, body)
        except Refused as refused:
            code, told = CODES[refused.status], {'error': {'code': CODES[refused.status], 'message': str(refused), 'status': refused.status}}
            if fault is None and refused.status == 'INVALID_ARGUMENT':
                self.problems.append(str(refused))
        self.send(handler, code, told, fault[1] if isinstance(fault, tuple) else {})

    def send(self, handler, code, told, headers):
        text = json.dumps(told).encode()
        try:
            handler.send_response(code)
            for name, value in {'Content-Type': 'application/json', 'Content-Length': str(len(text)), **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(text)
        except OSError:
            pass


if __name__ == '__main__':
    Firestore(port=int(sys.argv[1])).thread.join()
