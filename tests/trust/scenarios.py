"""What goes on while a call fails: each scenario arms the faults by `server.arm_now()`, does its part as a client of the witness and leaves. Small, and the
same each time as far as threads allow; a server that has just been started does more for the first of each kind, so a scenario begins there."""
import json
import threading

from injection import Told
from rivulet_server import image
from survival import Brittle, jpeg
from test_http_stage import Side

SMALL, LARGE = {'said': 'small'}, 70000


def upload(server, witness):
    """A form with a small and a large file, the large one again and one more, until its job is known. All of them are new to the server, else nothing would be kept of
    what is written."""
    mark = witness.next_mark()
    content = jpeg(200000, b'%08d' % mark)
    files = [image('a.jpg', result={**SMALL, 'mark': mark}), image('b.jpg', content=content), image('c.jpg', content=content), image('d.jpg', result={'said': 'last', 'mark': mark})]
    server.arm_now()
    told = witness.submit(server, files, ['"said":"small"', '"bytes":200000', '"said":"last"'])
    server.disarm()
    if told:
        told.stream.connection.close()


def claim(server, witness):
    """Items are handed out, one after the other and one again."""
    told = witness.submit(server, [image('w.jpg', sleep_ms=20), image('c.jpg', result=SMALL), image('d.jpg', retry='once more'), image('e.jpg', result={'said': 'last'})],
                          ['"said":"small"', '"said":"last"'])
    server.arm_now()
    if told:
        witness.read(told)


def finish(server, witness):
    """The last item ends, with a result that is a file of its own, and with it the job."""
    told = witness.submit(server, [image('f.jpg', sleep_ms=20, pad=LARGE + witness.next_mark()), image('g.jpg', sleep_ms=20, fail='not this one')], ['"pad":"abc', 'not this one'])
    server.arm_now()
    if told:
        witness.read(told)


def stream(server, witness):
    """A job that has ended is looked at in all ways."""
    told = server.seen_job
    server.arm_now()
    for path in ('/events', '/events?face=job', '', '/results', '/items', '/items/0', '/items/1/result', '/events?wait=1'):
        answer = server.get(f'/v1/jobs/{told.job}{path}')
        if witness.note(answer, server):
            answer.body() if 'face' not in path else Brittle(answer).frames()
    half = server.get(f'/v1/jobs/{told.job}/events?face=seed', Last_Event_ID=told.middle)
    if witness.note(half, server):
        Brittle(half).frames()


def stream_ready(server, witness):
    told = witness.submit(server, [image('h.jpg', result=SMALL), image('i.jpg', pad=LARGE), image('j.jpg', fail='no')], ['"said":"small"'])
    told.middle = witness.read(told, 'result').id
    witness.read(told)
    server.seen_job = told


def submit(server, witness):
    """Values in JSON Lines for a job that stays open, more of them, its end, and a second try with the same key."""
    server.arm_now()
    answer = server.ask('POST', '/v1/jobs?open=1&pipeline=noop', b'{"n":1,"noop":{"result":"one"}}\n{"n":2,"noop":{"result":"two"}}\n', {'Content-Type': 'application/jsonl'})
    if not witness.note(answer, server):
        return
    told = Told(json.loads(answer.body())['id'], 'job', ['"one"', '"two"'])
    witness.jobs[told.job] = told
    witness.open.append(told)
    more = server.ask('POST', f'/v1/jobs/{told.job}/items?first=2', b'{"n":3,"noop":{"result":"three"}}\n', {'Content-Type': 'application/jsonl'})
    if witness.note(more, server):
        told.results.append('"three"')
        more.body()
    end = server.ask('POST', f'/v1/jobs/{told.job}/seal')
    if witness.note(end, server):
        end.body()


def cancel(server, witness):
    """A job is called off while an item runs, and removed."""
    told = witness.submit(server, [image('k.jpg', sleep_ms=300), image('l.jpg', sleep_ms=300)], [])
    server.arm_now()
    if not told:
        return
    answer = server.ask('POST', f'/v1/jobs/{told.job}/cancel')
    if witness.note(answer, server):
        answer.body()
    witness.read(told)


def lookers(server, witness):
    """The pages that say how things are."""
    server.arm_now()
    for path in ('/livez', '/readyz', '/health', '/metrics', '/v1/jobs', '/', '/docs', '/openapi.json', '/v1/pipelines'):
        answer = server.get(path)
        if path == '/readyz' or answer.status == 404 or witness.note(answer, server):      # not ready is what it may well be
            answer.body()


def follow(server, witness):
    """Three readers of one running job, each with its own face."""
    told = witness.submit(server, [image(f'{n}.jpg', sleep_ms=15, result={'said': n}) for n in range(3)], [f'"said":{n}' for n in range(3)])
    if not told:
        return
    server.arm_now()
    readers = [threading.Thread(target=witness.tries, args=(look, server, told.job, face)) for face in ('seed', 'job')]
    for reader in readers:
        reader.start()
    witness.read(told)
    for reader in readers:
        reader.join()


def look(server, job, face):
    Brittle(server.events(job, f'?face={face}')).frames()


def crash(server, witness):
    """Workers that die under an item, and the next that has it."""
    told = witness.submit(server, [image('m.jpg', crash=True), image('n.jpg', result=SMALL)], ['"said":"small"'])
    server.arm_now()
    if told:
        witness.read(told)


def forget(server, witness):
    """A job that has ended is removed, and its file."""
    told = witness.submit(server, [image('s.jpg', content=jpeg(90000, b'gone'))], [])
    if not told:
        return
    witness.read(told)
    witness.open.remove(told)       # from here on it may be there or not, until the answer says so
    del witness.jobs[told.job]
    server.arm_now()
    answer = server.ask('DELETE', f'/v1/jobs/{told.job}')
    if witness.note(answer, server):
        answer.body()
        gone = server.get(f'/v1/jobs/{told.job}')
        if gone.status != 404 and not (gone.status in (500, 503) or gone.body() == b''):
            witness.complain(f'a removed job is there: {gone.status}', server)


def again(server, witness):
    """What failed is tried again in a new job."""
    told = witness.submit(server, [image('t.jpg', fail='not yet'), image('u.jpg', result=SMALL)], ['"said":"small"'])
    if not told:
        return
    witness.read(told)
    server.arm_now()
    answer = server.ask('POST', f'/v1/jobs/{told.job}/retry')
    if witness.note(answer, server):
        more = Told(json.loads(answer.body())['id'], 'job', [])
        witness.jobs[more.job] = more
        witness.open.append(more)


def many(server, witness):
    """So many events that the log's own file is folded into the database meanwhile."""
    told = witness.submit(server, [image(f'{n}.jpg', result={'said': 'x' * 20000}) for n in range(90)], [])
    server.arm_now()
    if told:
        witness.read(told)


def large(server, witness):
    """Values, files and results of megabytes, and the pages that show them."""
    server.arm_now()
    value = 'x' * 3000000
    body = json.dumps({'items': [{'value': {'n': value, 'noop': {'result': 'large'}}}]}).encode()
    answer = server.ask('POST', '/v1/jobs?pipeline=noop', body, {'Content-Type': 'application/json', 'Prefer': 'wait=5'})
    if witness.note(answer, server):
        told = Told(json.loads(answer.body())['id'], 'job', [])
        witness.jobs[told.job] = told
        witness.open.append(told)
    told = witness.submit(server, [image('x.jpg', content=jpeg(3000000)), image('y.jpg', pad=900000)], ['"bytes":3000000'])
    if not told:
        return
    witness.read(told)
    for path in ('/results', '/items/1/result', '?results=1'):
        answer = server.get(f'/v1/jobs/{told.job}{path}')
        if witness.note(answer, server):
            answer.body()


def call(server, witness):
    """Items whose stage asks another machine and puts the answer into its input; that of the last is long, and a file."""
    server.arm_now()
    lines = ''.join(json.dumps({'to': f'{server.side.base}/{n}', 'pad': 'x' * length}) + '\n' for n, length in enumerate((0, 0, 40_000))).encode()
    answer = server.ask('POST', '/v1/jobs?pipeline=calls', lines, {'Content-Type': 'application/jsonl', 'Prefer': 'wait=8'})
    if witness.note(answer, server):
        told = Told(json.loads(answer.body())['id'], 'job', [f'"heard":"/{n}"' for n in range(3)])
        witness.jobs[told.job] = told
        witness.open.append(told)


def call_ready(server, witness):
    server.side = Side(lambda asked: {'body': {'heard': asked['path']}})


call.settings = {'RIVULET_NET_ALLOW': '127.0.0.1'}
call.pipelines = [{'name': 'calls', 'in_flight': 10, 'legs': [{'stages': [{'stage': 'http', 'name': 'ask', 'with': {'method': 'GET', 'url': '.to', 'into': 'said'}}], 'timeout_s': 30, 'attempts': 4,
                                                               'backoff_ms': [5, 10]}]}]
