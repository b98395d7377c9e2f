import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rivulet, RivuletError } from '../src/index.js';
import { Hub } from '../src/hub.js';
import { Connection, electedWay } from '../src/shared.js';
import { linked } from '../src/wait.js';
import { Wire } from '../src/wire.js';
import { dice, idsOf, json, logOf, serve, startStream } from './fake.js';

const QUICK = { base: 1, max: 5, patience: 10000 };

// GET /v1/events over logs in memory, cut at random; {logs, open, most, …}. A log may grow: `tell()` says that one has.
async function multi({ cutBytes = 0, seed = 1 } = {}) {
  const random = dice(seed), logs = new Map(), streams = new Set();
  const told = { logs, now: 0, most: 0, connections: 0, tell: () => streams.forEach((pump) => pump()) };
  const stream = (response, places) => {
    let left = cutBytes ? Math.floor(random() * cutBytes) : Infinity;
    const pump = () => {
      for (const place of places) {
        const frames = logs.get(place.job);
        if (!frames && !place.told) response.write(`event: gap\ndata: {"job":"${place.job}","reason":"unknown"}\n\n`);
        if (place.at < 0) {
          response.write(`event: gap\ndata: {"job":"${place.job}","reason":"restored"}\n\n`);
          place.at = 0;
        }
        place.told = true;
        const text = Buffer.from((frames ?? []).slice(place.at).join('')
          .replaceAll('\nid: ', `\nid: ${place.job}@`).replaceAll('"j1"', `"${place.job}"`));
        place.at = (frames ?? []).length;
        left -= text.length;
        if (left < 0) return void response.write(text.subarray(0, text.length + left), () => response.destroy());
        response.write(text);
      }
      if (places.every(({ job, at }) => (logs.get(job) ?? ['event: complete']).at(-1).startsWith('event: complete') || at < 0)) response.end();
    };
    streams.add(pump);
    told.most = Math.max(told.most, ++told.now);
    response.on('close', () => {
      streams.delete(pump);
      told.now--;
    });
    pump();
  };
  const server = await serve((request, response) => {
    const url = new URL(request.url, 'http://h');
    const document = /^\/v1\/jobs\/(\w+)$/.exec(url.pathname);
    if (document) return json(response, 200, { id: document[1], seq: logs.get(document[1]).length, completed_at: null });
    told.connections++;
    const places = url.searchParams.getAll('job').map((text) => {
      const [job, cursor] = text.split('@');
      const frames = logs.get(job) ?? [];
      return { job, told: false, at: cursor === undefined ? 0 : /^\d+$/.test(cursor) ? Number(cursor) : idsOf(frames).indexOf(cursor) + 1 || -1 };
    });
    assert.ok(places.length <= 64);
    const isOver = ({ job, at }) => logs.has(job) && at === logs.get(job).length && logs.get(job).at(-1).startsWith('event: complete');
    if (places.every(isOver)) return response.writeHead(204).end();
    startStream(response);
    stream(response, places);
  });
  return Object.assign(told, { base: server.base, close: server.close });
}

// A page: its own connection to a hub, messages as late as between real pages.
function pageOf(hub) {
  const way = ({ onHub, onMessage }) => {
    const port = { post: (message) => setImmediate(() => onMessage(structuredClone(message))) };
    setImmediate(onHub);
    return { send: (message) => setImmediate(() => hub.take(port, structuredClone(message))) };
  };
  return new Connection([way]);
}

const clientOf = (base, connection) => new Rivulet({ base, backoff: QUICK, shared: true, connection });

async function read(client, job, options, pace = () => {}) {
  const got = [];
  for await (const event of client.watch(job, options)) {
    got.push(event);
    await pace(got.length);
  }
  return got;
}

const ids = (events) => events.map((event) => event.id);
const wait = (ms) => new Promise((wake) => setTimeout(wake, ms));

test('several pages and jobs, some late, some from the middle, share one connection that breaks', { timeout: 30000 }, async () => {
  const server = await multi({ cutBytes: 9000, seed: 5 });
  try {
    for (const job of ['a', 'b', 'c']) server.logs.set(job, logOf(80).slice(0, 100));
    const hub = new Hub(), random = dice(9);
    const pages = [pageOf(hub), pageOf(hub)];
    const readers = Array.from({ length: 14 }, async (_, at) => {
      await wait(random() * 120);
      const job = 'abc'[at % 3], after = at % 4 === 3 ? idsOf(logOf(80))[Math.floor(random() * 90)] : at % 5 === 4 ? 17 : null;
      const events = await read(clientOf(server.base, pages[at % 2]), job, { after });
      const all = idsOf(logOf(80));
      assert.deepEqual(ids(events), all.slice(after === 17 ? 17 : all.indexOf(after) + 1));
      assert.ok(events.every((event) => event.job === job));
    });
    await wait(60);
    for (let length = 101; length <= 162; length += 7) {
      for (const job of ['a', 'b', 'c']) server.logs.set(job, logOf(80).slice(0, length));
      server.tell();
      await wait(10);
    }
    for (const job of ['a', 'b', 'c']) server.logs.set(job, logOf(80));
    server.tell();
    await Promise.all(readers);
    assert.ok(server.connections > 10, `${server.connections} connections`);
    assert.equal(hub.servers.size, 0);
  } finally {
    await server.close();
  }
});

test('one page that is slow is left behind, misses nothing and delays nobody', { timeout: 30000 }, async () => {
  const server = await multi();
  try {
    server.logs.set('a', logOf(6000));
    const hub = new Hub();
    const quick = read(clientOf(server.base, pageOf(hub)), 'a');
    // The slow one does not go on before the quick one is through.
    const slow = read(clientOf(server.base, pageOf(hub)), 'a', {}, (count) => (count === 40 ? quick : null));
    const all = idsOf(server.logs.get('a'));
    assert.deepEqual(ids(await quick), all);
    assert.deepEqual(ids(await slow), all);
  } finally {
    await server.close();
  }
});

test('a place in another log is told by a gap, whoever else reads along', { timeout: 30000 }, async () => {
  const server = await multi();
  try {
    server.logs.set('a', logOf(20));
    server.logs.set('b', logOf(20));
    const hub = new Hub(), all = idsOf(logOf(20));
    const page = pageOf(hub);
    const inFront = read(clientOf(server.base, page), 'a', { after: all[2] });
    const stale = read(clientOf(server.base, page), 'a', { after: '1700000000-9' });
    const beyond = read(clientOf(server.base, page), 'a', { after: '1700000000-900' });
    const alone = read(clientOf(server.base, page), 'b', { after: '1700000000-9' });
    assert.deepEqual(ids(await stale), [null, ...all]);
    assert.deepEqual(ids(await beyond), [null, ...all]);
    assert.deepEqual(ids(await alone), [null, ...all]);
    assert.deepEqual(ids(await inFront), all.slice(3));
  } finally {
    await server.close();
  }
});

test('a job that is not there fails alone', { timeout: 30000 }, async () => {
  const server = await multi();
  try {
    server.logs.set('a', logOf(5));
    const page = pageOf(new Hub());
    const bad = read(clientOf(server.base, page), 'nothing');
    const good = read(clientOf(server.base, page), 'a');
    await assert.rejects(bad, { status: 404 });
    assert.deepEqual(ids(await good), idsOf(logOf(5)));
  } finally {
    await server.close();
  }
});

test('more jobs than one connection takes go on two', { timeout: 30000 }, async () => {
  const server = await multi();
  try {
    const names = Array.from({ length: 70 }, (_, at) => `job${at}`);
    for (const name of names) server.logs.set(name, logOf(3).slice(0, 4));
    const page = pageOf(new Hub());
    const readers = names.map((name) => read(clientOf(server.base, page), name));
    while (server.now < 2) await wait(5);
    for (const name of names) server.logs.set(name, logOf(3));
    server.tell();
    for (const events of await Promise.all(readers)) assert.deepEqual(ids(events), idsOf(logOf(3)));
    assert.equal(server.most, 2);
  } finally {
    await server.close();
  }
});

test('leaving ends the connection when nobody is left', { timeout: 30000 }, async () => {
  const server = await multi();
  try {
    server.logs.set('a', logOf(5).slice(0, 4));
    const hub = new Hub(), page = pageOf(hub);
    const control = new AbortController();
    const reading = read(clientOf(server.base, page), 'a', { signal: control.signal });
    while (!server.now) await wait(5);
    control.abort(new Error('enough'));
    await assert.rejects(reading, /enough/);
    while (server.now) await wait(5);
    assert.equal(hub.servers.size, 0);
  } finally {
    await server.close();
  }
});

// Locks and channels as browsers have them, among pages of this process.
class Origin {
  constructor() {
    Object.assign(this, { queues: new Map(), channels: new Set(), wires: [] });
  }

  page() {
    const held = [], origin = this, channels = [];
    const advance = (name) => {
      const queue = origin.queues.get(name);
      if (!queue?.length || queue.held) return;
      const { callback, page } = queue.shift();
      if (page.gone) return advance(name);
      queue.held = page;
      held.push(name);
      Promise.resolve().then(callback).then(() => {
        queue.held = null;
        advance(name);
      });
    };
    const page = {
      gone: false,
      locks: {
        request(name, callback) {
          if (!origin.queues.has(name)) origin.queues.set(name, []);
          origin.queues.get(name).push({ callback, page });
          setImmediate(() => advance(name));
        },
      },
      channel: {
        postMessage(data) {
          for (const other of origin.channels)
            if (other !== this && !page.gone) setImmediate(() => other.live() && other.onmessage?.({ data: structuredClone(data) }));
        },
        live: () => !page.gone,
      },
      close() {
        page.gone = true;
        origin.channels.delete(page.channel);
        for (const name of held) {
          if (origin.queues.get(name).held !== page) continue;
          origin.queues.get(name).held = null;
          setImmediate(() => advance(name));
        }
      },
    };
    origin.channels.add(page.channel);
    channels.push(page.channel);
    return page;
  }
}

test('pages without a shared worker elect one of them, and the next when it goes', { timeout: 30000 }, async () => {
  const server = await multi({ cutBytes: 6000, seed: 2 });
  try {
    server.logs.set('a', logOf(60).slice(0, 61));
    const origin = new Origin();
    const pages = Array.from({ length: 3 }, () => origin.page());
    const hubs = new Map();
    const connections = pages.map((page) => {
      const control = new AbortController();
      const makeWire = (options) => {
        const wire = new Wire(options), once = wire.once.bind(wire);
        wire.once = async (path, init) => {
          if (page.gone) throw new RivuletError('this page has gone', { status: 410 });
          const own = linked(init.signal);
          control.signal.addEventListener('abort', () => own.control.abort());
          return once(path, { ...init, signal: own.control.signal });
        };
        return wire;
      };
      hubs.set(page, control);
      return new Connection([electedWay({ ...page, makeHub: () => new Hub(makeWire) })]);
    });
    const readers = connections.map((connection) => read(clientOf(server.base, connection), 'a'));
    readers[0].catch(() => {});
    while (!server.now) await wait(2);
    await wait(50);
    // The first has the lock. With it its hub and its wire go.
    pages[0].close();
    hubs.get(pages[0]).abort();
    await wait(20);
    server.logs.set('a', logOf(60));
    server.tell();
    for (const events of await Promise.all(readers.slice(1))) assert.deepEqual(ids(events), idsOf(logOf(60)));
  } finally {
    await server.close();
  }
});

test('a page asks no leader before it holds the lock by which it is known to live', () => {
  const said = [], granted = [], channel = { postMessage: (message) => said.push(message.op) };
  const locks = { request: (name, given) => granted.push(given) };
  let hubs = 0;
  const way = electedWay({ locks, channel, makeHub: () => assert.fail('it leads nobody') })({ onHub: () => hubs++, onMessage: () => {} });
  const leader = { data: { op: 'leader', from: 'another' } };
  channel.onmessage?.(leader);
  assert.deepEqual([hubs, said], [0, []]);
  granted[0]();
  channel.onmessage(leader);
  way.send({ op: 'watch', sub: 1 });
  assert.deepEqual([hubs, said], [1, ['who', 'ask']]);
});
