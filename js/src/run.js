// One batch of files: an open job is made, files go up one after the other, and events come while they do.
//
// Two tasks feed one channel: the upload, and the follower of the log. Every request can be made again after a lost answer: the job has
// its key, an addition says which number it expects to be (`first`), sealing and cancelling change nothing the second time.
import { RivuletError } from './error.js';
import { Teller, summaryOf } from './events.js';
import { newKey } from './key.js';
import { Channel, linked, pause } from './wait.js';
import { query } from './wire.js';

const GOODBYE_MS = 5000;

/** {name, blob} of what a user gives as a file: a File, a Blob, or {name, data, type}. */
export function partOf(file, index) {
  if (file instanceof Blob) return { name: file.name ?? `item-${index}`, blob: file };
  if (file && typeof file === 'object' && 'data' in file) {
    const blob = file.data instanceof Blob ? file.data : new Blob([file.data], { type: file.type ?? '' });
    return { name: file.name ?? `item-${index}`, blob };
  }
  throw new TypeError(`file ${index} is neither a File nor a Blob nor {name, data}`);
}

export class Run {
  constructor(client, files, { pipeline, params, ordered, inFlight, key = newKey(), signal, onAbort = 'cancel', inline, shared, ...callbacks } = {}) {
    const query = { pipeline, open: true, ordered, in_flight: inFlight };
    Object.assign(this, { client, files, query, params, key, signal, onAbort, watching: { inline, shared } });
    const total = files.length ?? null;
    this.total = total;
    this.names = [];
    this.teller = new Teller(callbacks, { total, names: this.names });
    this.id = null;          // of the job, once it is made
    this.summary = null;     // once it has ended
    this.asked = false;      // for the job to be made: there may be one although we know no id
    this.events = this.go();
  }

  [Symbol.asyncIterator]() {
    return this.events;
  }

  /** For those who only want callbacks: goes through all events; the summary. */
  async done() {
    for await (const event of this) void event;
    return this.summary;
  }

  /** Ask the server to cancel the job; its `cancelled` event then is the last. */
  async cancel() {
    if (this.id) await this.client.cancel(this.id);
    else this.cancelled = true;
  }

  async *go() {
    const { control, release } = linked(this.signal);
    const channel = new Channel();
    const ended = (error) => channel.end(error);
    this.upload(channel, control).catch((error) => this.failed(error, control.signal)).catch(ended);
    try {
      for (let event; (event = await channel.take());) {
        if (event.counts && (event.type === 'complete' || event.type === 'cancelled')) this.summary = summaryOf(event);
        this.teller.take(event);
        yield event;
      }
    } finally {
      channel.end();
      control.abort();
      release();
      if (!this.summary) await this.goodbye();
    }
  }

  async create(signal) {
    const headers = { 'Idempotency-Key': this.key };
    let body;
    if (this.params) {
      body = JSON.stringify({ params: this.params });
      headers['Content-Type'] = 'application/json';
    }
    if (signal.aborted) throw signal.reason;
    this.asked = true;
    const { json } = await this.client.wire.call('POST', '/v1/jobs' + query(this.query), { body, headers, signal });
    return json.id;
  }

  async upload(channel, control) {
    const { signal } = control;
    this.id = await this.create(signal);
    channel.add({ type: 'created', id: null, job: this.id });
    this.follow(channel, control).catch((error) => channel.end(error));
    if (this.cancelled) return void await this.client.cancel(this.id, { signal });
    let sent = 0;
    for await (const file of this.files) {
      const { name, blob } = partOf(file, sent);
      this.names.push(name);
      await this.add(sent, name, blob, signal);
      sent++;
      channel.add({ type: 'upload', id: null, job: this.id, item: sent - 1, name, bytes: blob.size, sent, total: this.total });
    }
    await this.client.wire.call('POST', `/v1/jobs/${this.id}/seal`, { signal });
  }

  /** Why an upload ended early. A job that has ended, because somebody cancelled it, says so itself by its last event. */
  async failed(error, signal) {
    const ended = error.status === 409 && (await this.client.job(this.id, { signal })).completed_at;
    if (!ended) throw error;
  }

  async add(first, name, blob, signal) {
    const body = () => {
      const form = new FormData();
      form.append('files', blob, name);
      return form;
    };
    try {
      await this.client.wire.call('POST', `/v1/jobs/${this.id}/items?first=${first}`, { body, signal, answerMs: 0 });
    } catch (error) {
      // The job has one item more than we expected: an earlier try went through and only its answer was lost.
      if (!(error instanceof RivuletError && error.status === 409 && error.problem?.total === first + 1)) throw error;
    }
  }

  async follow(channel, control) {
    for await (const event of this.client.events(this.id, { ...this.watching, signal: control.signal }))
      if (!await channel.put(event)) return;
    channel.end();
    control.abort(new RivuletError('The job has ended'));
  }

  /** The user leaves before the end: the job ends too, or goes on with what it has. Never takes long and never fails. */
  async goodbye() {
    const late = new AbortController();
    const work = async () => {
      // The answer with the id may be what we did not wait for.
      if (!this.id && this.asked) this.id = await this.create(late.signal);
      if (!this.id) return;
      const path = `/v1/jobs/${this.id}/${this.onAbort === 'leave' ? 'seal' : 'cancel'}`;
      await this.client.wire.call('POST', path, { signal: late.signal, keepalive: true });
    };
    const timer = new AbortController();
    await Promise.race([work().catch(() => {}), pause(GOODBYE_MS, timer.signal).catch(() => {})]);
    late.abort();
    timer.abort();
  }
}
