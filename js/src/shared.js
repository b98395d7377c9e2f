// One connection for all pages of this origin: the page's side.
//
// A shared worker holds the hub where browsers have them. Where they do not, or where its script may not be loaded, the pages elect one of
// them by a lock and speak over a channel; when that page goes the next one takes over and is told by all where they stand. Without
// either each page follows its jobs on connections of its own, as without sharing.
import { Channel } from './wait.js';
import { errorFrom, Hub } from './hub.js';
import { follow, isLast } from './follow.js';
import { newKey } from './key.js';

const NAME = 'rivulet-1';          // with the version of what hub and pages say to each other
const HELLO_MS = 4000;             // a worker that has not loaded by then never will
const ACK_FRAMES = 64;

// ---- ways to a hub: each calls onHub() when there is a (new) one and onMessage() with what it says ----

const workerWay = (workerUrl) => ({ onHub, onMessage, onFailure }) => {
  if (typeof SharedWorker !== 'function') return null;
  const worker = new SharedWorker(workerUrl, { type: 'module', name: NAME });
  const late = setTimeout(onFailure, HELLO_MS);
  worker.onerror = () => {
    clearTimeout(late);
    onFailure();
  };
  worker.port.onmessage = ({ data }) => {
    clearTimeout(late);
    if (data.op === 'hello') onHub();
    else onMessage(data);
  };
  // A port has no event for a page that has gone. A lock has: the worker waits for one that we hold as long as we live.
  const lock = `${NAME}-page-${newKey()}`;
  navigator.locks?.request(lock, () => {
    worker.port.postMessage({ op: 'page', lock });
    return new Promise(() => {});
  });
  return { send: (message) => worker.port.postMessage(message) };
};

function browserParts() {
  if (!globalThis.navigator?.locks || typeof BroadcastChannel !== 'function') return null;
  return { locks: navigator.locks, channel: new BroadcastChannel(NAME), makeHub: () => new Hub() };
}

/** parts: {locks, channel, makeHub}, for tests. */
export const electedWay = (parts = browserParts()) => ({ onHub, onMessage }) => {
  if (!parts) return null;
  const { locks, channel, makeHub } = parts;
  const me = newKey();
  let leader = null, hub = null;
  const pages = new Map();         // of the leader: page → its port
  const say = (message) => channel.postMessage({ ...message, from: me });
  const portOf = (page) => {
    if (!pages.has(page)) {
      const post = page === me ? (message) => queueMicrotask(() => onMessage(message)) : (message) => say({ op: 'told', to: page, message });
      pages.set(page, { post });
    }
    return pages.get(page);
  };
  const watchOver = (page) => locks.request(`${NAME}-page-${page}`, () => {
    hub.leave(portOf(page));
    pages.delete(page);
  });
  const asLeader = ({ op, from, message }) => {
    if (op === 'who') say({ op: 'leader', to: from });
    if (op !== 'ask') return;
    if (!pages.has(from)) watchOver(from);
    hub.take(portOf(from), message);
  };
  const asPage = ({ op, from, to, message }) => {
    if (op === 'leader' && (to === undefined || to === me) && leader !== from) {
      leader = from;
      onHub();
    } else if (op === 'told' && to === me && from === leader) {
      onMessage(message);
    }
  };
  // Nothing is heard, and so nothing asked, before this lock is ours: a leader that could have it would believe that we have gone.
  locks.request(`${NAME}-page-${me}`, () => {
    channel.onmessage = ({ data }) => (hub ? asLeader(data) : asPage(data));
    say({ op: 'who' });
    locks.request(`${NAME}-leader`, () => {
      hub = makeHub();
      leader = me;
      say({ op: 'leader' });
      onHub();
      return new Promise(() => {});
    });
    return new Promise(() => {});
  });
  return { send: (message) => (hub ? hub.take(portOf(me), message) : say({ op: 'ask', message })) };
};

// ---- the page's end of it ----

export class Connection {
  constructor(ways) {
    Object.assign(this, { watches: new Map(), way: null, ready: false, next: 1, dead: false });
    this.try(ways);
  }

  /** Goes the first of these ways that there is; the next one when it turns out to be blocked. */
  try([open, ...others]) {
    if (!open) return this.fail();
    const own = {};
    const hooks = {
      onHub: () => this.way === own && this.resume(),
      onMessage: (message) => this.way === own && this.watches.get(message.sub)?.take(message),
      onFailure: () => this.way === own && !this.ready && this.try(others),
    };
    this.way = own;
    let way = null;
    try {
      way = open(hooks);
    } catch { /* not from this origin, or not in this browser */ }
    if (!way) return this.try(others);
    own.send = way.send;
  }

  fail() {
    this.dead = true;
    for (const watch of this.watches.values()) watch.take({ op: 'alone' });
  }

  /** There is a hub, or another one than before: it knows nothing of us. */
  resume() {
    this.ready = true;
    for (const watch of this.watches.values()) this.way.send(watch.request());
  }

  watch(watch) {
    if (this.dead) return watch.take({ op: 'alone' });
    watch.name = this.next++;
    this.watches.set(watch.name, watch);
    if (this.ready) this.way.send(watch.request());
  }

  send(watch, message) {
    if (this.ready && this.watches.has(watch.name)) this.way.send({ ...message, sub: watch.name });
  }

  stop(watch) {
    this.send(watch, { op: 'stop' });
    this.watches.delete(watch.name);
  }
}

// One reading of one job: where it is, and what has come and was not taken yet. The hub bounds how much that can be.
class Watch {
  constructor(job, after, server) {
    Object.assign(this, { job, after, server, queue: new Channel(), taken: 0, over: false, alone: false });
  }

  request() {
    this.taken = 0;
    return { op: 'watch', sub: this.name, job: this.job, after: this.after, ...this.server };
  }

  take(message) {
    if (this.over) return;
    for (const frame of message.frames ?? []) {
      this.after = frame.event === 'gap' ? null : frame.id ?? this.after;
      this.over ||= isLast(frame);
      this.queue.add(frame);
    }
    if (message.op === 'alone') this.alone = true;
    if (message.op === 'error') this.queue.end(errorFrom(message.error));
    if (message.op !== 'frames') this.over = true;
    if (this.over) this.queue.end();
  }
}

const connections = new Map();     // one a page and worker script

function connectionOf(workerUrl) {
  const name = String(workerUrl);
  if (!connections.has(name)) connections.set(name, new Connection([workerWay(workerUrl), (hooks) => electedWay()(hooks)]));
  return connections.get(name);
}

/** Where to begin, once it is known that there is something to come: null when the job has ended before. A hub cannot tell that of one
 * job among others. */
async function startOf(wire, job, after, signal) {
  if (after === null || after === undefined) return { after: null };
  const document = (await wire.call('GET', `/v1/jobs/${encodeURIComponent(job)}`, { signal })).json;
  if (after === 'end') after = document.seq;
  const seq = Number(/^(?:\d+-)?(\d+)$/.exec(after)?.[1] ?? NaN);
  if (Number.isNaN(seq)) return { gap: true, after: null };
  return document.completed_at && seq === document.seq ? null : { after };
}

const hidden = (wire) => {
  const { silence, backoffOptions } = wire;
  const { base = null, max = null, patience = null } = backoffOptions;
  return { silence, backoff: Object.fromEntries(Object.entries({ base, max, patience }).filter(([, value]) => value !== null)) };
};

/** Like follow(), over the shared connection. */
export async function* sharedFollow(wire, job, { after = null, signal, options = {} } = {}) {
  const start = await startOf(wire, job, after, signal);
  if (!start) return;
  if (start.gap) yield { event: 'gap', id: null, data: JSON.stringify({ job, reason: 'restored' }) };
  const base = globalThis.location ? new URL(wire.base || '/', location.href).href.replace(/\/$/, '') : wire.base;
  const key = typeof wire.key === 'function' ? await wire.key() : wire.key;
  const connection = options.connection ?? connectionOf(options.workerUrl ?? new URL('../dist/worker.js', import.meta.url));
  const watch = new Watch(job, start.after, { base, key, ...hidden(wire) });
  const stop = () => watch.queue.end(signal.reason);
  if (signal?.aborted) throw signal.reason;
  signal?.addEventListener('abort', stop, { once: true });
  try {
    connection.watch(watch);
    for (let frame; (frame = await watch.queue.take());) {
      yield frame;
      if (++watch.taken < ACK_FRAMES && watch.queue.entries.length) continue;
      connection.send(watch, { op: 'ack', count: watch.taken });
      watch.taken = 0;
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    connection.stop(watch);
  }
  if (watch.alone) yield* follow(wire, job, { after: watch.after, signal });
}
