// The hub over a wire that is made up: who gets what, from where it asks again, and what a gap, a missing job or a missing key do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hub } from '../../web/hub.js';

const frame = (job, seq, event = 'progress', epoch = 1) => `event: ${event}\ndata: {"job":"${job}"}\nid: ${job}@${epoch}-${seq}\n\n`;

// A server of one stream at a time: asks() waits for the next question and answers it.
class Server {
  #waiting = [];
  #asked = [];

  constructor() {
    globalThis.fetch = (path, { signal } = {}) => new Promise((resolve, reject) => {
      const question = { path, jobs: path.split('?')[1]?.split('&').map((part) => part.slice(4)), resolve, signal, closed: false };
      signal?.addEventListener('abort', () => { question.closed = true; reject(new DOMException('left', 'AbortError')); });
      const next = this.#waiting.shift();
      if (next) next(question);
      else this.#asked.push(question);
    });
  }

  asks() {
    const question = this.#asked.shift();
    return question ? Promise.resolve(question) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  // Answers with a stream: write(text), end().
  stream(question) {
    let control;
    const body = new ReadableStream({ start(one) { control = one; } });
    question.signal.addEventListener('abort', () => { try { control.error(new DOMException('left', 'AbortError')); } catch { /* ended */ } });
    question.resolve(new Response(body));
    return { write: (text) => control.enqueue(new TextEncoder().encode(text)), end: () => control.close() };
  }
}

function tabOf(hub) {
  const told = [], waits = [];
  const tab = hub.join((message) => {
    told.push(message);
    waits.splice(0).forEach((look) => look());
  });
  const frames = () => told.filter(({ type }) => type === 'frames').flatMap((message) => message.frames);
  const until = async (done) => { while (!done()) await new Promise((resolve) => waits.push(resolve)); };
  return { tab, told, frames, until, seqs: () => frames().map(({ id }) => id) };
}

test('tabs with different places share a wire, and none hears anything twice', async () => {
  const server = new Server(), hub = new Hub(), one = tabOf(hub);
  hub.want(one.tab, { a: { cursor: '', turn: 1 } });
  let question = await server.asks();
  assert.deepEqual(question.jobs, ['a']);
  let wire = server.stream(question);
  wire.write(frame('a', 3) + frame('a', 4));
  await one.until(() => one.frames().length === 2);
  const two = tabOf(hub);
  hub.want(two.tab, { a: { cursor: '', turn: 7 }, b: { cursor: '1-5', turn: 8 } });
  question = await server.asks();                                     // again from where the later one stands
  assert.deepEqual(question.jobs, ['a', 'b@1-5']);
  wire = server.stream(question);
  wire.write(frame('a', 3) + frame('a', 4) + frame('b', 6) + frame('a', 5));
  await two.until(() => two.frames().length === 4);
  assert.deepEqual(one.seqs(), ['a@1-3', 'a@1-4', 'a@1-5']);
  assert.deepEqual(two.frames().map(({ job, turn }) => [job, turn]), [['a', 7], ['a', 7], ['b', 8], ['a', 7]]);
  hub.leave(two.tab);
  question = await server.asks();
  assert.deepEqual(question.jobs, ['a@1-5']);
  hub.leave(one.tab);
});

test('a broken wire is asked for again behind the last frame', async () => {
  const server = new Server(), hub = new Hub(), one = tabOf(hub);
  hub.want(one.tab, { a: { cursor: '', turn: 1 } });
  let wire = server.stream(await server.asks());
  wire.write(frame('a', 3));
  await one.until(() => one.frames().length === 1);
  wire.end();
  const question = await server.asks();
  assert.deepEqual(question.jobs, ['a@1-3']);
  assert.ok(one.told.some(({ state }) => state === 'lost'));
  wire = server.stream(question);
  wire.write(frame('a', 9, 'complete'));
  await one.until(() => one.frames().length === 2);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(question.closed, true);                                // nothing left to wait for
});

test('a gap begins anew, with smaller numbers and all', async () => {
  const server = new Server(), hub = new Hub(), one = tabOf(hub);
  hub.want(one.tab, { a: { cursor: '1-8', turn: 1 } });
  const wire = server.stream(await server.asks());
  wire.write('event: gap\ndata: {"job":"a","reason":"restored"}\n\n' + frame('a', 3, 'progress', 2));
  await one.until(() => one.frames().length === 2);
  assert.deepEqual(one.frames().map(({ event }) => event), ['gap', 'progress']);
  hub.leave(one.tab);
});

test('a job that is not there is told of, the others go on', async () => {
  const server = new Server(), hub = new Hub(), one = tabOf(hub);
  hub.want(one.tab, { a: { cursor: '', turn: 1 }, gone: { cursor: '', turn: 2 } });
  const wire = server.stream(await server.asks());
  wire.write('event: gap\ndata: {"job":"gone","reason":"unknown"}\n\n' + frame('a', 3));
  await one.until(() => one.frames().length === 1);
  assert.deepEqual(one.told.filter(({ type }) => type === 'missing'), [{ type: 'missing', job: 'gone' }]);
  hub.leave(one.tab);
});

test('without a key nobody asks again until there is one', async () => {
  const server = new Server(), hub = new Hub(), one = tabOf(hub);
  hub.want(one.tab, { a: { cursor: '', turn: 1 } });
  (await server.asks()).resolve(new Response('{"detail":"This needs a key."}', { status: 401 }));
  await one.until(() => one.told.some(({ state }) => state === 'refused'));
  const next = server.asks();
  hub.again();
  assert.deepEqual((await next).jobs, ['a']);
  hub.leave(one.tab);
});

// The hindmost asks from where both logs are one, so the server has no gap to tell; who saw more of the log that is gone is told by the hub.
for (const [how, cursor, first, rest] of [
  ['a later opening of it goes on below its place', '1-9', frame('a', 3) + frame('a', 4, 'progress', 2), frame('a', 5, 'progress', 2)],
  ['its place is another event', '1-4', frame('a', 3) + frame('a', 4, 'progress', 2), frame('a', 5, 'progress', 2)],
  ['it ends before its place', '1-9', frame('a', 3) + frame('a', 4, 'complete'), ''],
  ['it ends before its place, a number', '9', frame('a', 3) + frame('a', 4, 'complete'), ''],
])
  test(`a tab in front learns that the log was restored: ${how}`, async () => {
    const server = new Server(), hub = new Hub(), one = tabOf(hub), two = tabOf(hub);
    hub.want(one.tab, { a: { cursor, turn: 1 } });
    hub.want(two.tab, { a: { cursor: '', turn: 2 } });
    let question = await server.asks();
    assert.deepEqual(question.jobs, ['a']);
    let wire = server.stream(question);
    wire.write(first + rest);
    question = await server.asks();
    assert.deepEqual(question.jobs, ['a']);
    assert.deepEqual(one.frames().map(({ event, turn }) => [event, turn]), [['gap', 1]]);
    assert.equal(JSON.parse(one.frames()[0].data).reason, 'restored');
    wire = server.stream(question);
    wire.write(first + rest + frame('a', 6, 'complete', 2));
    const all = `${first}${rest}`.match(/a@[\d-]+/g);
    await one.until(() => one.frames().length > all.length);
    assert.deepEqual(one.seqs().slice(1, 1 + all.length), all);
    assert.deepEqual(two.seqs().slice(0, all.length), all);
    assert.equal(new Set(two.seqs()).size, two.seqs().length);
    hub.leave(one.tab);
    hub.leave(two.tab);
  });
