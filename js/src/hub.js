// The hub: one connection of a browser for all that watch, in a shared worker or in the page that leads.
//
//   pages ──watch, stop, ack──▶ port ──▶ Subscriber ─┐
//                                        Subscriber ─┴─ Topic (a job, a place in its log) ─┐
//                                                       Topic ─────────────────────────────┴─ Strand: GET /v1/events?job=…&job=…
//
// A topic's wire stands where its hindmost subscriber is; those in front pass over what they had. So whoever comes late, or was too slow
// and is parked, only has to be given a place: nobody misses a frame and nobody gets one twice. A place is {seq, id}: the number says what
// lies behind, the id proves that it is still the same log.
import { RivuletError } from './error.js';
import { connections, isLast } from './follow.js';
import { Wire } from './wire.js';

export const TOPICS_MAX = 64;      // jobs that the server takes on one connection
const UNREAD_MAX = 2048;           // frames on their way to a subscriber before it is parked …
const UNREAD_LOW = 256;            // … and how few must be left before it comes back
const GATHER_MS = 5;               // pages ask for several jobs in one breath: one connection for all of them

/** {seq, id} of a cursor: the id of an event, its number, or nothing. */
export function placeOf(cursor) {
  const text = String(cursor ?? '');
  if (!text) return { seq: 0, id: null };
  const dash = text.lastIndexOf('-');
  return dash < 0 ? { seq: Number(text), id: null } : { seq: Number(text.slice(dash + 1)), id: text };
}

// Why a connection was ended that is only to be opened anew.
const CHANGED = new Error('the jobs have changed');

const cursorOf = ({ seq, id }) => id ?? (seq ? String(seq) : '');

class Subscriber {
  constructor(name, after, post) {
    Object.assign(this, { name, place: placeOf(after), post, unread: 0, parked: false, done: false, batch: [] });
  }

  /** What this frame is to a reader at our place: "pass" over it, "give" it, or it shows that the log is another one: "gap". */
  judge(frame, seq) {
    if (frame.event === 'gap') return 'give';
    if (!frame.id) return this.behind ? 'pass' : 'give';
    if (this.place.id && seq >= this.place.seq && !this.proved) {
      this.proved = seq === this.place.seq && frame.id === this.place.id;
      return this.proved ? 'pass' : 'gap';
    }
    return seq <= this.place.seq ? 'pass' : 'give';
  }

  /** Begin to read a wire that stands at this place. */
  join(place) {
    this.behind = place.seq < this.place.seq;
    this.proved = !this.behind;
  }

  /** This is not the log that we have read: forget it. */
  lose(job) {
    this.take({ event: 'gap', id: null, data: JSON.stringify({ job, reason: 'restored' }) }, 0);
  }

  take(frame, seq) {
    if (frame.event === 'gap') this.place = { seq: 0, id: null };
    else if (frame.id) this.place = { seq, id: frame.id };
    this.behind = false;
    this.proved = true;
    this.batch.push(frame);
  }

  flush() {
    if (!this.batch.length) return;
    const frames = this.batch.splice(0);
    this.unread += frames.length;
    this.parked = this.unread > UNREAD_MAX;
    this.post({ op: 'frames', sub: this.name, frames });
  }
}

class Topic {
  constructor(job, place) {
    Object.assign(this, { job, place, subscribers: new Set() });
    this.stale = false;            // the wire is to be opened anew for this one: what still comes on the old one is passed over
  }

  get active() {
    return [...this.subscribers].some((subscriber) => !subscriber.parked);
  }

  /** True = the wire has to be opened anew. */
  add(subscriber) {
    this.subscribers.add(subscriber);
    const { seq, id } = subscriber.place;
    if (id && seq === this.place.seq && id !== this.place.id) this.place = { seq: Infinity, id: null };   // let the server judge it
    return this.settle();
  }

  /** Go back to where the hindmost of those who read is. True = the wire has to be opened anew. */
  settle() {
    const reading = [...this.subscribers].filter((subscriber) => !subscriber.parked);
    const hindmost = reading.reduce((least, { place }) => (place.seq < least.seq ? place : least), this.place);
    if (hindmost !== this.place) this.stale = true;
    this.place = hindmost;
    for (const subscriber of reading) subscriber.join(this.place);
    return this.stale;
  }

  /** Gives a frame on; true when a subscriber turned out to stand in another log, and the wire has to begin anew. */
  take(frame) {
    if (this.stale) return false;
    const { seq } = frame.id ? placeOf(frame.id) : this.place;
    const last = isLast(frame);
    if (frame.event === 'gap') this.place = { seq: 0, id: null };
    else if (frame.id) this.place = { seq, id: frame.id };
    let anew = false;
    for (const subscriber of this.subscribers) {
      if (subscriber.parked) continue;
      const verdict = subscriber.judge(frame, seq);
      // A log that ends before the place of a subscriber is not the log it has read.
      if (verdict === 'gap' || (last && verdict === 'pass' && seq < subscriber.place.seq)) {
        subscriber.lose(this.job);
        anew = true;
      } else if (verdict === 'give') {
        subscriber.take(frame, seq);
      }
    }
    return anew;
  }
}

// One connection to the server at a time, for up to TOPICS_MAX jobs.
class Strand {
  constructor(wire, left) {
    Object.assign(this, { wire, left, topics: new Map(), control: null, running: false, stale: false });
  }

  /** The set of jobs or a place has changed: open the wire anew, with all changes of this moment. */
  change() {
    if (this.stale) return;
    this.stale = true;
    setTimeout(() => {
      this.stale = false;
      this.control?.abort(CHANGED);
      this.run();
    }, GATHER_MS);
  }

  get active() {
    return [...this.topics.values()].filter((topic) => topic.active);
  }

  async run() {
    if (this.running) return;
    this.running = true;
    while (this.active.length) {
      this.control = new AbortController();
      try {
        await this.read(this.control.signal);
      } catch (error) {
        if (error !== CHANGED) await this.refused(error);
      }
    }
    this.control = null;
    this.running = false;
    if (!this.topics.size) this.left();
  }

  open = () => {
    const jobs = this.active.map((topic) => {
      const { job } = topic, cursor = cursorOf(topic.place);
      topic.stale = false;
      return 'job=' + encodeURIComponent(cursor ? `${job}@${cursor}` : job);
    });
    return { path: '/v1/events?' + jobs.join('&'), headers: {} };
  };

  async read(signal) {
    for await (const frames of connections(this.wire, { open: this.open, over: () => !this.active.length, ended: this.ended, signal })) {
      const touched = new Set();
      for (const frame of frames) this.take(frame, touched);
      for (const subscriber of touched) subscriber.flush();
      if ([...touched].some(({ parked }) => parked)) this.change();
    }
  }

  /** All jobs of the connection have ended, and what they still had to say was said. */
  ended = () => {
    for (const topic of this.active) this.end(topic, { op: 'end' });
  };

  take(frame, touched) {
    const at = frame.id ? frame.id.indexOf('@') : -1;
    const job = frame.id ? frame.id.slice(0, at) : JSON.parse(frame.data).job;
    const topic = this.topics.get(job);
    if (!topic) return;
    if (frame.event === 'gap' && JSON.parse(frame.data).reason === 'unknown') {
      this.end(topic, { op: 'error', error: { message: `There is no job "${job}".`, status: 404, problem: null } });
      return;
    }
    if (topic.stale) return;
    const own = { event: frame.event, id: frame.id && frame.id.slice(at + 1), data: frame.data };
    const anew = topic.take(own);
    for (const subscriber of topic.subscribers) if (subscriber.batch.length) touched.add(subscriber);
    if (isLast(own)) this.finish(topic, touched);
    if (anew) this.restart(topic);
  }

  /** Who has the last frame is done. Others are parked, or have just been told of a gap: they come back. */
  finish(topic, touched) {
    for (const subscriber of topic.subscribers) {
      if (subscriber.batch.some(isLast)) subscriber.done = topic.subscribers.delete(subscriber);
      if (subscriber.batch.length) touched.add(subscriber);
    }
    if (!topic.subscribers.size) this.topics.delete(topic.job);
  }

  restart(topic) {
    topic.settle();
    this.change();
  }

  end(topic, message) {
    this.topics.delete(topic.job);
    for (const subscriber of topic.subscribers) {
      subscriber.flush();
      subscriber.post({ ...message, sub: subscriber.name });
    }
    topic.subscribers.clear();
  }

  async refused(error) {
    const { message, status = 0, problem = null } = error;
    for (const topic of this.active) this.end(topic, { op: 'error', error: { message, status, problem } });
  }
}

export class Hub {
  /** makeWire(options): for tests. */
  constructor(makeWire = (options) => new Wire(options)) {
    this.makeWire = makeWire;
    this.servers = new Map();       // base and key → {wire, strands}
    this.ports = new Map();         // port → its subscriptions by name
  }

  /** A message of a page. `port` is anything with post(message); it stays the same for a page. */
  take(port, message) {
    if (!this.ports.has(port)) this.ports.set(port, new Map());
    const known = this.ports.get(port);
    if (message.op === 'watch') this.watch(port, known, message);
    else if (message.op === 'stop') this.stop(known, message.sub);
    else if (message.op === 'ack') this.ack(known.get(message.sub), message.count);
  }

  /** The page has gone. */
  leave(port) {
    for (const name of this.ports.get(port)?.keys() ?? []) this.stop(this.ports.get(port), name);
    this.ports.delete(port);
  }

  serverOf({ base, key, silence, backoff }) {
    const name = JSON.stringify([base, key]);
    if (!this.servers.has(name)) this.servers.set(name, { name, wire: this.makeWire({ base, key, silence, backoff }), strands: [] });
    return this.servers.get(name);
  }

  strandFor(server, job) {
    const found = server.strands.find(({ topics }) => topics.has(job)) ?? server.strands.find(({ topics }) => topics.size < TOPICS_MAX);
    if (found) return found;
    const strand = new Strand(server.wire, () => {
      server.strands = server.strands.filter((other) => other !== strand);
      if (!server.strands.length) this.servers.delete(server.name);
    });
    server.strands.push(strand);
    return strand;
  }

  watch(port, known, message) {
    if (known.has(message.sub)) return;
    const subscriber = new Subscriber(message.sub, message.after, (told) => port.post(told));
    const entry = { subscriber, server: this.serverOf(message), job: message.job };
    known.set(message.sub, entry);
    this.join(entry);
  }

  join({ subscriber, server, job }) {
    const strand = this.strandFor(server, job);
    const topic = strand.topics.get(job);
    if (topic) {
      const quiet = !topic.active;
      if (topic.add(subscriber) || quiet) strand.change();
      return;
    }
    strand.topics.set(job, new Topic(job, subscriber.place));
    strand.topics.get(job).add(subscriber);
    strand.change();
  }

  stop(known, name) {
    const entry = known.get(name);
    if (!entry) return;
    known.delete(name);
    for (const strand of entry.server.strands) {
      const topic = strand.topics.get(entry.job);
      if (!topic?.subscribers.delete(entry.subscriber)) continue;
      if (topic.subscribers.size) continue;
      strand.topics.delete(entry.job);
      strand.change();
    }
  }

  ack(entry, count) {
    if (!entry || entry.subscriber.done) return;
    const { subscriber } = entry;
    subscriber.unread -= count;
    if (!subscriber.parked || subscriber.unread > UNREAD_LOW) return;
    subscriber.parked = false;
    this.join(entry);
  }
}

/** What a page makes of an error message. */
export const errorFrom = ({ message, status, problem }) => new RivuletError(message, { status, problem });
