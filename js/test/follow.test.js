import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rivulet, RivuletError } from '../src/index.js';
import { retryAfterMs } from '../src/error.js';
import { Backoff } from '../src/wait.js';
import { nextLink } from '../src/lines.js';
import { behind, dice, frameOf, idsOf, json, logOf, serve, startStream } from './fake.js';

const QUICK = { base: 1, max: 20, patience: 10000 };

async function withServer(handle, use, options = {}) {
  const server = await serve(handle);
  try {
    return await use(new Rivulet({ base: server.base, backoff: QUICK, ...options }), server);
  } finally {
    await server.close();
  }
}

async function collect(events) {
  const got = [];
  for await (const event of events) got.push(event);
  return got;
}

test('every event once and in order, wherever the wire is cut', { timeout: 30000 }, async () => {
  const frames = logOf(60), random = dice(7);
  const whole = Buffer.from(frames.join(''));
  const handle = (request, response) => {
    const at = behind(request, frames);
    const rest = whole.subarray(Buffer.byteLength(frames.slice(0, at).join('')));
    startStream(response);
    const count = Math.floor(random() * 900);
    response.write(rest.subarray(0, count), () => (count < rest.length ? response.destroy() : response.end()));
  };
  await withServer(handle, async (client, server) => {
    const events = await collect(client.watch('j1'));
    assert.deepEqual(events.map((event) => event.id), idsOf(frames));
    const texts = events.filter((event) => event.type === 'result').map((event) => event.result.text.length);
    assert.deepEqual(texts, Array.from({ length: 60 }, (_, at) => at % 7));
    assert.equal(events[3].name, '卡牌-1.jpg');
    assert.ok(server.requests.length > 20);
  });
});

test('an end without the last event is a cut, and 204 is an end', { timeout: 30000 }, async () => {
  const frames = logOf(2).slice(0, 3);
  const handle = (request, response, number) => {
    if (number === 2) return response.writeHead(204).end();
    startStream(response);
    response.end(frames.slice(behind(request, frames), number + 1 + behind(request, frames)).join(''));
  };
  await withServer(handle, async (client, server) => {
    const events = await collect(client.watch('j1'));
    assert.deepEqual(events.map((event) => event.id), idsOf(frames));
    assert.equal(server.requests[2].headers['last-event-id'], idsOf(frames)[2]);
  });
});

test('a server that is away for a while is waited for, as long as it asks', { timeout: 30000 }, async () => {
  const frames = logOf(1), at = [];
  const states = [];
  const handle = (request, response, number) => {
    at.push(Date.now());
    if (number === 0) return json(response, 503, { detail: 'starting' }, { 'Retry-After': '1' });
    if (number === 1) return request.socket.destroy();
    if (number === 2) return json(response, 429, { detail: 'slowly' });
    startStream(response);
    response.end(frames.join(''));
  };
  await withServer(handle, async (client) => {
    assert.equal((await collect(client.watch('j1'))).length, frames.length);
    assert.ok(at[1] - at[0] >= 990, `came back after ${at[1] - at[0]} ms`);
    assert.deepEqual(states, ['lost', 'lost', 'lost', 'open']);
  }, { onConnection: ({ state }) => states.push(state) });
});

test('a refusal is an error with its problem, at once', { timeout: 30000 }, async () => {
  const problem = { title: 'Not Found', status: 404, detail: 'There is no job "j1".' };
  await withServer((request, response) => json(response, 404, problem), async (client, server) => {
    const error = await collect(client.watch('j1')).catch((caught) => caught);
    assert.ok(error instanceof RivuletError);
    assert.deepEqual([error.status, error.detail, error.problem], [404, problem.detail, problem]);
    await assert.rejects(client.job('j1'), { message: problem.detail, status: 404 });
    assert.equal(server.requests.length, 2);
  });
});

test('patience ends', { timeout: 30000 }, async () => {
  await withServer((request, response) => json(response, 502, null), async (client) => {
    await assert.rejects(collect(client.watch('j1')), { status: 502 });
  }, { backoff: { ...QUICK, patience: 60 } });
});

test('after a gap the log follows from its first event, also when the wire is cut right behind it', { timeout: 30000 }, async () => {
  const frames = logOf(3);
  const handle = (request, response) => {
    const at = behind(request, frames);
    startStream(response);
    if (at < 0) response.write('event: gap\ndata: {"job":"j1","reason":"restored"}\n\n', () => response.destroy());
    else response.end(frames.slice(at).join(''));
  };
  await withServer(handle, async (client, server) => {
    const events = await collect(client.watch('j1', { after: '1700000000-9' }));
    assert.deepEqual(events.map((event) => event.type), ['gap', ...frames.map((frame) => frame.slice(7, frame.indexOf('\n')))]);
    assert.equal(server.requests[1].headers['last-event-id'], undefined);
  });
});

test('where to begin: a number, an id, the end', { timeout: 30000 }, async () => {
  const frames = logOf(1);
  const handle = (request, response) => {
    if (request.url === '/v1/jobs/j1') return json(response, 200, { id: 'j1', seq: 3 });
    startStream(response);
    response.end(frames.at(-1));
  };
  await withServer(handle, async (client, server) => {
    for (const after of [2, '2', 'end', '1790000000-2']) await collect(client.watch('j1', { after }));
    assert.deepEqual(server.requests.map(({ url, headers }) => [url.slice(11), headers['last-event-id']]),
      [['/events?after=2', undefined], ['/events?after=2', undefined], ['', undefined], ['/events?after=3', undefined], ['/events', '1790000000-2']]);
  });
});

test('a wire without a sign of life is given up, one with heartbeats is not', { timeout: 30000 }, async () => {
  const frames = logOf(1);
  let beats = 0;
  const handle = (request, response, number) => {
    startStream(response, number ? frames.join('') : frames[0]);
    if (number) return response.end();
    const timer = setInterval(() => (++beats < 8 ? response.write(': still here\n\n') : clearInterval(timer)), 30);
    response.on('close', () => clearInterval(timer));
  };
  await withServer((request, response, number) => {
    if (number) return startStream(response, frames.slice(1).join(''));
    handle(request, response, number);
  }, async (client, server) => {
    const events = await collect(client.watch('j1'));
    assert.deepEqual(events.map((event) => event.id), idsOf(frames));
    assert.equal(beats, 8);
    assert.equal(server.requests.length, 2);
  }, { silence: 120 });
});

test('hints have no id and move no cursor', { timeout: 30000 }, async () => {
  const frames = logOf(1);
  const hint = 'event: progress\ndata: {"job":"j1","item":0,"state":"hint","percent":20}\n\n';
  const handle = (request, response, number) => {
    startStream(response);
    if (number) return response.end(frames.slice(2).join(''));
    response.write(frames[0] + frames[1] + hint, () => response.destroy());
  };
  await withServer(handle, async (client, server) => {
    const events = await collect(client.watch('j1'));
    assert.deepEqual(events.map((event) => event.percent ?? event.id), [idsOf(frames)[0], idsOf(frames)[1], 20, ...idsOf(frames).slice(2)]);
    assert.equal(server.requests[1].headers['last-event-id'], idsOf(frames)[1]);
  });
});

test('aborting ends the watching with the signal\'s reason and closes the connection', { timeout: 30000 }, async () => {
  let closed;
  const gone = new Promise((resolve) => { closed = resolve; });
  const handle = (request, response) => {
    startStream(response, logOf(2)[0]);
    response.on('close', closed);
  };
  await withServer(handle, async (client, server) => {
    const control = new AbortController();
    const reason = new Error('enough');
    const watching = (async () => {
      for await (const event of client.watch('j1', { signal: control.signal }))
        if (event.type === 'progress') setImmediate(() => control.abort(reason));
    })();
    await assert.rejects(watching, reason);
    await gone;
    assert.equal(server.requests.length, 1);
  });
});

test('leaving the loop closes the connection', { timeout: 30000 }, async () => {
  let closed;
  const gone = new Promise((resolve) => { closed = resolve; });
  await withServer((request, response) => {
    startStream(response, logOf(2)[0]);
    response.on('close', closed);
  }, async (client) => {
    for await (const event of client.watch('j1')) { assert.equal(event.state, 'queued'); break; }
    await gone;
  });
});

test('the key goes with every request, and a large result is fetched before its event is given', { timeout: 30000 }, async () => {
  const large = { result_url: '/v1/jobs/j1/items/0/result', bytes: 70, type: 'application/json' };
  const frames = [frameOf(1, 'result', { item: 0, name: 'a', attempt: 1, counts: [0, 0, 1, 0, 0], ...large }),
    frameOf(2, 'complete', { status: 'completed', counts: [0, 0, 1, 0, 0], summary: {}, seconds: 1 })];
  const handle = (request, response) => {
    if (request.url.endsWith('/result')) return json(response, 200, { large: true });
    startStream(response);
    response.end(frames.join(''));
  };
  await withServer(handle, async (client, server) => {
    const [event] = await collect(client.watch('j1'));
    assert.deepEqual([event.result, event.type, event.media_type], [{ large: true }, 'result', 'application/json']);
    assert.deepEqual(server.requests.map((request) => request.headers.authorization), ['Bearer secret', 'Bearer secret']);
  }, { key: async () => 'secret' });
});

test('callbacks are told what their names promise', { timeout: 30000 }, async () => {
  const told = [];
  const common = { name: 'a.jpg', attempt: 1, counts: [0, 1, 0, 0, 0] };
  const frames = [frameOf(1, 'progress', { state: 'queued', total: 3 }), frameOf(2, 'progress', { ...common, item: 0, state: 'processing' }),
    frameOf(3, 'progress', { ...common, item: 0, attempt: 2, state: 'processing' }), frameOf(4, 'result', { ...common, item: 0, result: 5 }),
    frameOf(5, 'failed', { ...common, item: 1, error: 'bad', error_type: 'processing' }),
    frameOf(6, 'progress', { state: 'skipped', ranges: [[2, 2]], reason: 'cancelled' }),
    frameOf(7, 'cancelled', { status: 'cancelled', counts: [0, 0, 1, 1, 1], summary: { accuracy: { mean: 90 } }, seconds: 2.5 })];
  await withServer((request, response) => {
    startStream(response);
    response.end(frames.join(''));
  }, async (client) => {
    const say = (name, count) => (...words) => told.push([name, ...words.slice(0, count)]);
    await collect(client.watch('j1', { onProgress: say('progress', 3), onResult: say('result', 3), onError: say('error', 3),
      onComplete: say('complete', 1) }));
  });
  assert.deepEqual(told.slice(0, 4), [['progress', 1, 3, 'a.jpg'],
    ['result', 0, 'a.jpg', 5], ['error', 1, 'a.jpg', 'bad'], ['error', 2, null, 'cancelled']]);
  const { total, successful, failed, skipped, average_accuracy: accuracy, status } = told[4][1];
  assert.deepEqual({ total, successful, failed, skipped, accuracy, status },
    { total: 3, successful: 1, failed: 1, skipped: 1, accuracy: 90, status: 'cancelled' });
});

test('lines of results are given once each across cuts', { timeout: 30000 }, async () => {
  const whole = Array.from({ length: 50 }, (_, index) => JSON.stringify({ index, text: '易' }) + '\n');
  const random = dice(3);
  await withServer((request, response, number) => {
    const rest = Buffer.from(whole.slice(Number(new URL(request.url, 'http://h').searchParams.get('after'))).join(''));
    if (number === 2) return response.end(rest.subarray(0, rest.indexOf('\n') + 1) +
      '\n{"error":"The server is going down.","error_type":"interrupted"}\n');
    response.writeHead(200);
    const count = Math.floor(random() * 600);
    response.write(rest.subarray(0, count), () => (count < rest.length ? response.destroy() : response.end()));
  }, async (client, server) => {
    const got = await collect(client.results('j1', { order: 'input' }));
    assert.deepEqual(got.map((line) => line.index), Array.from({ length: 50 }, (_, index) => index));
    assert.ok(server.requests.length > 3);
    assert.equal(server.requests[0].url, '/v1/jobs/j1/results?order=input');
  });
});

test('lists go on from page to page', { timeout: 30000 }, async () => {
  await withServer((request, response, number) => {
    json(response, 200, { jobs: [{ id: `a${number}` }, { id: `b${number}` }] },
      number < 2 ? { Link: `</v1/jobs?state=running&after=${number}>; rel="next"` } : {});
  }, async (client, server) => {
    assert.deepEqual((await collect(client.jobs({ state: 'running' }))).map((job) => job.id), ['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
    assert.equal(server.requests[2].url, '/v1/jobs?state=running&after=1');
  });
  assert.equal(nextLink('<http://h/a>; rel="prev", <http://h/b?x=1>; title="n"; rel="next"'), '/b?x=1');
  assert.equal(nextLink(null), null);
});

test('an answer that is no JSON is told, not asked for again and again', { timeout: 30000 }, async () => {
  await withServer((request, response) => response.end('<html>'), async (client, server) => {
    await assert.rejects(client.job('j1'), /not JSON/);
    assert.equal(server.requests.length, 1);
  });
});

test('waits are jittered over the whole span, doubled, bounded, and begin anew after a success', { timeout: 30000 }, () => {
  let now = 0;
  const backoff = new Backoff({ max: 5000, patience: 100, random: () => 0.5, now: () => now });
  backoff.tell(400);
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => backoff.next()), [200, 400, 800, 1600, 2500, 2500]);
  assert.equal(backoff.next(7000), 9500);
  now = 100;
  assert.ok(backoff.spent);
  backoff.alive();
  assert.ok(!backoff.spent);
  backoff.success();
  assert.equal(backoff.next(), 200);
  assert.equal(new Backoff({ base: 10, random: () => 1 }).next(), 10);
});

test('Retry-After is seconds or a date', { timeout: 30000 }, () => {
  const now = Date.parse('2026-11-22T00:00:00Z');
  assert.equal(retryAfterMs('3', now), 3000);
  assert.equal(retryAfterMs('Sun, 22 Nov 2026 00:00:05 GMT', now), 5000);
  assert.equal(retryAfterMs('Sun, 22 Nov 2025 00:00:05 GMT', now), 0);
  assert.equal(retryAfterMs('soon', now), 0);
  assert.equal(retryAfterMs(null), 0);
});
