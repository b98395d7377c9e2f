import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement } from 'react';
import { Rivulet } from '../src/index.js';
import { EMPTY, fold, useBatch } from '../src/react.js';
import { Rivulet as Server, isThere, order, PROGRAM } from './rivulet.js';

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const said = console.error;
console.error = (first, ...more) => String(first).includes('react-test-renderer is deprecated') || said(first, ...more);
const { act, create } = (await import('react-test-renderer')).default;

const options = { timeout: 30000, skip: isThere ? false : `there is no ${PROGRAM}` };
const files = (...orders) => orders.map((one, at) => ({ name: `${at}.json`, data: order(one) }));

// A component that does nothing but use the hook; what it got last is `seen.now`.
function mount(props) {
  const seen = { now: null, statuses: [] };
  function Probe(given) {
    seen.now = useBatch(given);
    if (seen.statuses.at(-1) !== seen.now.status) seen.statuses.push(seen.now.status);
    return null;
  }
  let tree;
  act(() => { tree = create(createElement(Probe, props)); });
  return { seen, unmount: () => act(() => tree.unmount()) };
}

async function until(test) {
  while (!test()) await act(() => new Promise((wake) => setTimeout(wake, 10)));
}

async function withServer(use) {
  const server = await new Server({ MAX_WORKERS: '2' }).start();
  try {
    await use(server, new Rivulet({ base: server.base }));
  } finally {
    await server.close();
  }
}

test('a batch from pick to end, and what failed once more', options, async () => {
  await withServer(async (server, client) => {
    const told = [];
    const { seen, unmount } = mount({ base: server.base, pipeline: 'noop', onResult: (index, name) => told.push(name) });
    assert.deepEqual([seen.now.status, seen.now.progress], ['idle', 0]);
    let summary;
    await act(async () => { summary = await seen.now.run(files({ result: 1 }, { fail: 'no' }, { result: 3 })); });
    const { status, progress, done, total, uploaded, items, results, errors, job } = seen.now;
    assert.deepEqual({ status, progress, done, total, uploaded }, { status: 'completed', progress: 1, done: 3, total: 3, uploaded: 3 });
    assert.deepEqual(seen.statuses, ['idle', 'uploading', 'running', 'completed'].filter((word) => seen.statuses.includes(word)));
    assert.deepEqual(items.map((item) => [item.index, item.name, item.status, item.result ?? item.error]),
      [[0, '0.json', 'completed', 1], [1, '1.json', 'failed', 'no'], [2, '2.json', 'completed', 3]]);
    assert.deepEqual(results.map(({ name }) => name).sort(), ['0.json', '2.json']);
    assert.deepEqual(errors, [{ index: 1, name: '1.json', error: 'no' }]);
    assert.deepEqual([told.length, summary.failed], [2, 1]);
    await act(async () => { await seen.now.retry(); });
    assert.notEqual(seen.now.job, job);
    assert.deepEqual([seen.now.total, seen.now.errors.length, seen.now.status], [1, 1, 'error']);
    await act(async () => { await seen.now.watch(job); });
    assert.deepEqual([seen.now.total, seen.now.results.length], [3, 2]);
    unmount();
    assert.equal((await client.job(job)).status, 'completed');
  });
});

test('cancelling, and a component that goes', options, async () => {
  await withServer(async (server, client) => {
    const { seen, unmount } = mount({ client, pipeline: 'noop' });
    let running;
    act(() => { running = seen.now.run(files({}, { sleep_ms: 3000 }, { sleep_ms: 3000 })); });
    await until(() => seen.now.results.length === 1 && seen.now.uploaded === 3);
    assert.ok(seen.now.progress > 0.3 && seen.now.progress < 0.4);
    await act(async () => { await seen.now.cancel(); await running; });
    assert.equal(seen.now.status, 'cancelled');
    assert.deepEqual(seen.now.items.map(({ status }) => status), ['completed', 'skipped', 'skipped']);
    act(() => { running = seen.now.run(files({ sleep_ms: 3000 })); });
    await until(() => seen.now.items[0]?.status === 'processing');
    const { job } = seen.now;
    unmount();
    await running;
    assert.equal((await client.job(job)).status, 'cancelled');
  });
});

test('a refusal is a problem to show', options, async () => {
  await withServer(async (server) => {
    const { seen, unmount } = mount({ base: server.base, pipeline: 'nothing' });
    await act(async () => { await seen.now.run(files({})); });
    assert.equal(seen.now.status, 'error');
    assert.match(seen.now.problem.message, /There is no pipeline "nothing"/);
    unmount();
  });
});

test('a gap forgets what the log had told, not what was uploaded', () => {
  const counts = [0, 0, 1, 0, 0];
  const before = [{ type: 'created', job: 'j' }, { type: 'upload', item: 0, name: 'a', sent: 1, total: 1 },
    { type: 'result', item: 0, name: 'a', counts, result: 5 }].reduce(fold, { ...EMPTY, status: 'uploading' });
  assert.deepEqual([before.done, before.status], [1, 'running']);
  const after = fold(before, { type: 'gap' });
  assert.deepEqual([after.done, after.results, after.job, after.uploaded, after.status], [0, [], 'j', 1, 'running']);
});
