// Against the real server.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { Rivulet } from '../src/index.js';
import { Hub } from '../src/hub.js';
import { Connection } from '../src/shared.js';
import { Cutter } from './cutter.js';
import { Rivulet as Server, isThere, order, PROGRAM } from './rivulet.js';
import { frameEvent, QUICK, storm } from './storm.js';

const options = { timeout: 60000, skip: isThere ? false : `there is no ${PROGRAM}` };
const files = (count, orders = () => ({})) => Array.from({ length: count }, (_, at) => ({ name: `卡-${at}.json`, data: order(orders(at)) }));

async function withServer(use, { settings = { MAX_WORKERS: '4' }, ...cutting } = {}) {
  const server = await new Server(settings).start();
  const cutter = await new Cutter({ port: server.port, most: Infinity, ...cutting }).listen();
  try {
    await use(new Rivulet({ base: cutter.base, backoff: QUICK }), server, cutter);
  } finally {
    await cutter.close();
    await server.close();
  }
}

async function collect(events) {
  const got = [];
  for await (const event of events) got.push(event);
  return got;
}

test('every event of the log once and in order, through hundreds of cuts and two kills', options, async () => {
  const { events, cuts, kills, seconds } = await storm({ items: 8000, kills: 2, seed: 3 });
  assert.ok(cuts > 300 && events >= 16000);
  console.log(`# measured: ${events} events, ${cuts} cuts, ${kills} kills in ${seconds.toFixed(1)} s`);
});

test('results come while files still go up; lost answers double nothing, nor does a server that is killed', options, async () => {
  await withServer(async (client, server, cutter) => {
    let again = null;
    const uploads = [], run = client.run(files(60, (at) => (at % 9 === 8 ? { fail: 'no' } : { result: at })), {
      pipeline: 'noop', params: { any: 1 }, onUpload: (sent, total) => {
        uploads.push([sent, total]);
        if (sent === 30) again = server.restart();
      },
    });
    const got = await collect(run);
    await again;
    const at = (test) => got.findIndex(test);
    assert.equal(got[0].type, 'created');
    assert.ok(at((event) => event.type === 'result') < at((event) => event.type === 'upload' && event.sent === 60));
    assert.deepEqual(uploads, Array.from({ length: 60 }, (_, sent) => [sent + 1, 60]));
    const log = (await server.log(run.id)).map(frameEvent);
    assert.deepEqual(got.filter((event) => !['created', 'upload'].includes(event.type)), log);
    assert.deepEqual([run.summary.total, run.summary.successful, run.summary.failed], [60, 54, 6]);
    for (const event of got.filter(({ type }) => type === 'result'))
      assert.deepEqual([event.result, event.name], [event.item, `卡-${event.item}.json`]);
    assert.ok(cutter.lost >= 5 && cutter.cuts >= 5, `${cutter.lost} answers lost, ${cutter.cuts} cuts`);
  }, { most: 20, loseAnswers: 0.3, seed: 4 });
});

test('callbacks alone do as well, and files may come one by one from anywhere', options, async () => {
  await withServer(async (client) => {
    const told = [];
    async function* slowly() {
      for (const file of files(3, (at) => ({ result: at }))) yield file;
    }
    const summary = await client.run(slowly(), {
      pipeline: 'noop', ordered: true, onProgress: (current, total, name) => told.push(['progress', current, name]),
      onResult: (item, name, result) => told.push(['result', item, result]),
    }).done();
    assert.deepEqual(told, [0, 1, 2].flatMap((at) => [['progress', at + 1, `卡-${at}.json`], ['result', at, at]]));
    assert.deepEqual([summary.status, summary.successful], ['completed', 3]);
  });
});

test('aborting or leaving a run cancels its job, unless it is to go on', options, async () => {
  await withServer(async (client) => {
    const slow = () => files(2, () => ({ sleep_ms: 1500 }));
    const control = new AbortController();
    const aborted = client.run(slow(), { pipeline: 'noop', signal: control.signal, onProgress: () => control.abort() });
    await assert.rejects(aborted.done(), { name: 'AbortError' });
    assert.equal((await client.job(aborted.id)).status, 'cancelled');

    const left = client.run(slow(), { pipeline: 'noop' });
    for await (const event of left) if (event.state === 'processing') break;
    assert.equal((await client.job(left.id)).status, 'cancelled');

    const going = client.run(slow(), { pipeline: 'noop', onAbort: 'leave' });
    for await (const event of going) if (event.type === 'upload' && event.sent === 2) break;
    assert.equal((await collect(client.watch(going.id))).at(-1).status, 'completed');

    const before = new AbortController();
    before.abort(new Error('not at all'));
    await assert.rejects(client.run(slow(), { pipeline: 'noop', signal: before.signal }).done(), /not at all/);
    assert.equal((await collect(client.jobs())).length, 3);
  });
});

test('a job that somebody cancels while files go up ends its run by the last event, not by an error', options, async () => {
  await withServer(async (client) => {
    async function* endless() {
      for (const file of files(10000, () => ({ sleep_ms: 100 }))) yield file;
    }
    const run = client.run(endless(), { pipeline: 'noop' });
    let asked = null;
    for await (const event of run) if (event.type === 'upload' && event.sent === 5) asked = run.cancel();
    await asked;
    assert.equal(run.summary.status, 'cancelled');
  });
});

test('a refused job is an error, with the server\'s sentence', options, async () => {
  await withServer(async (client) => {
    await assert.rejects(client.run(files(1), { pipeline: 'nothing' }).done(),
      (error) => error.status === 400 && /There is no pipeline "nothing"/.test(error.detail));
    await assert.rejects(client.submit('{"bad\n', { pipeline: 'noop' }), { status: 400 });
    await assert.rejects(client.run([7], { pipeline: 'noop' }).done(), TypeError);
  });
});

test('values, lists, items, results, retry, delete', options, async () => {
  await withServer(async (client) => {
    const wanted = [{ noop: { result: 'a' } }, { noop: { fail: 'no' } }, { noop: { pad: 100000 } }];
    const made = await client.submit(wanted, { pipeline: 'noop', params: { x: 1 } });
    const events = await collect(client.watch(made.id));
    const large = events.find((event) => event.item === 2 && event.type === 'result');
    assert.equal(large.result.pad.length, 100000);
    assert.ok(large.result_url);
    assert.deepEqual((await collect(client.items(made.id, { limit: 2 }))).map((item) => item.state), ['completed', 'failed', 'completed']);
    assert.deepEqual((await collect(client.results(made.id, { order: 'input', follow: true }))).map(({ index }) => index), [0, 1, 2]);
    const second = await client.retry(made.id);
    assert.notEqual(second.id, made.id);
    await collect(client.watch(second.id));
    assert.deepEqual((await collect(client.jobs({ limit: 1 }))).map(({ id }) => id), [second.id, made.id]);
    assert.deepEqual((await client.pipelines()).map(({ name }) => name), ['noop']);
    await client.delete(second.id);
    await client.delete(second.id);
    await assert.rejects(client.job(second.id), { status: 404 });
    const key = 'the very same';
    assert.equal((await client.submit([1], { pipeline: 'noop', key })).id, (await client.submit([1], { pipeline: 'noop', key })).id);
    await assert.rejects(client.submit([2], { pipeline: 'noop', key }), { status: 422 });
  });
});

test('several jobs over one shared connection that is cut', options, async () => {
  await withServer(async (client, server, cutter) => {
    const hub = new Hub();
    const way = ({ onHub, onMessage }) => {
      const port = { post: (message) => setImmediate(() => onMessage(structuredClone(message))) };
      setImmediate(onHub);
      return { send: (message) => hub.take(port, structuredClone(message)) };
    };
    const shared = () => new Rivulet({ base: cutter.base, backoff: QUICK, shared: true, connection: new Connection([way]) });
    const made = await Promise.all([1, 2, 3].map(() => client.submit(Array.from({ length: 400 }, (_, item) => ({ item })), { pipeline: 'noop' })));
    const pages = [shared(), shared()];
    const read = await Promise.all(made.flatMap(({ id }) => pages.map((page) => collect(page.watch(id)))));
    for (const [at, { id }] of made.entries()) {
      const log = (await server.log(id)).map(frameEvent);
      assert.deepEqual(read[2 * at], log);
      assert.deepEqual(read[2 * at + 1], log);
      assert.deepEqual(await collect(pages[0].watch(id, { after: log.at(-1).id })), []);
      const rest = await collect(pages[0].watch(id, { after: log.at(-3).id }));
      assert.deepEqual(rest.map((event) => event.id), log.slice(-2).map((event) => event.id));
    }
    await assert.rejects(collect(pages[0].watch('0'.repeat(32))), { status: 404 });
    assert.ok(cutter.cuts > 20);
  }, { most: 50, seed: 6 });
});

test('a log that comes back from a backup: what was seen behind it is void, and then everything once', options, async () => {
  const server = await new Server({ MAX_WORKERS: '2' }).start();
  try {
    const hub = new Hub();
    const way = ({ onHub, onMessage }) => {
      const port = { post: (message) => setImmediate(() => onMessage(structuredClone(message))) };
      setImmediate(onHub);
      return { send: (message) => hub.take(port, structuredClone(message)) };
    };
    const client = new Rivulet({ base: server.base, backoff: QUICK });
    const page = new Rivulet({ base: server.base, backoff: QUICK, shared: true, connection: new Connection([way]) });
    const { id } = await client.submit(Array.from({ length: 40 }, (_, item) => ({ noop: { sleep_ms: 60, result: item } })), { pipeline: 'noop' });
    const data = server.env.RIVULET_DATA, earlier = data + '-earlier';
    const seen = [[], []], late = [], results = (events) => events.filter(({ type }) => type === 'result').length;
    const watching = [client, page].map(async (one, at) => { for await (const event of one.watch(id)) seen[at].push(event); });
    const until = async (done) => { while (!done()) await new Promise((wake) => setTimeout(wake, 5)); };
    await until(() => results(seen[0]) >= 4);
    const { status, stderr } = spawnSync(PROGRAM, ['backup', '--data', data, earlier], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const then = results(seen[0]);
    await until(() => seen.every((events) => results(events) >= then + 8));
    await server.end('SIGKILL');
    rmSync(data, { recursive: true });
    renameSync(earlier, data);
    // One who comes while it is away, from the beginning: over the same connection as the one who has seen too much.
    watching.push((async () => { for await (const event of page.watch(id)) late.push(event); })());
    await server.start();
    await Promise.all(watching);
    const log = (await server.log(id)).map(frameEvent);
    for (const events of seen) {
      const at = events.findIndex(({ type }) => type === 'gap');
      assert.ok(at > 0 && events[at].reason === 'restored');
      assert.equal(events.filter(({ type }) => type === 'gap').length, 1);
      assert.deepEqual(events.slice(at + 1), log);
      assert.ok(events.slice(0, at).some((event) => event.id && !log.some((other) => other.id === event.id)), 'nothing was seen that the backup lacks');
    }
    assert.deepEqual(late, log);
    assert.equal(results(log), 40);
  } finally {
    await server.close();
  }
});
