// A job whose watcher's wire is cut every 1 to 50 events, and whose server is killed and started again on the way; what the watcher has is
// held against the log as one unbroken stream tells it.
import assert from 'node:assert/strict';
import { Rivulet } from '../src/index.js';
import { eventOf } from '../src/events.js';
import { Cutter } from './cutter.js';
import { Rivulet as Server } from './rivulet.js';

export const QUICK = { base: 2, max: 100, patience: 20000 };

export function frameEvent(text) {
  const field = (name) => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1] ?? null;
  return eventOf({ event: field('event'), id: field('id'), data: field('data') });
}

/** items: of the job, two events each; kills: how often the server dies. {events, cuts, seconds, …}; throws where anything differs. */
export async function storm({ items, kills = 0, most = 50, seed = 1 }) {
  const server = await new Server({ MAX_WORKERS: '4' }).start();
  const cutter = await new Cutter({ port: server.port, most, seed }).listen();
  try {
    const client = new Rivulet({ base: cutter.base, backoff: QUICK });
    const { id } = await client.submit(Array.from({ length: items }, (_, item) => ({ item })), { pipeline: 'noop' });
    const began = Date.now(), got = [];
    const due = Array.from({ length: kills }, (_, at) => Math.floor(((at + 1) * 2 * items) / (kills + 1)));
    let again = Promise.resolve();
    for await (const event of client.watch(id)) {
      got.push(event);
      if (!due.length || got.length < due[0]) continue;
      due.shift();
      again = again.then(() => server.restart());
    }
    const seconds = (Date.now() - began) / 1000;
    await again;
    const log = (await server.log(id)).map(frameEvent);
    assert.equal(got.length, log.length);
    got.forEach((event, at) => assert.deepEqual(event, log[at]));
    assert.equal(new Set(got.map((event) => event.id)).size, got.length);
    const done = got.filter((event) => event.type === 'result').map((event) => event.item);
    assert.equal(done.length, items);
    assert.equal(new Set(done).size, items);
    assert.equal(due.length, 0);
    return { events: got.length, cuts: cutter.cuts, kills, seconds };
  } finally {
    await cutter.close();
    await server.close();
  }
}
