// The client: one server, its jobs.
import { Teller, eventOf } from './events.js';
import { follow } from './follow.js';
import { pages, results } from './lines.js';
import { Run } from './run.js';
import { sharedFollow } from './shared.js';
import { newKey } from './key.js';
import { Wire, query } from './wire.js';

const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;

/** Items as the lines of a body. */
async function linesBlob(items) {
  const parts = [];
  for await (const item of items) parts.push(JSON.stringify(item) + '\n');
  return new Blob(parts, { type: 'application/jsonl' });
}

/** Lines cannot carry parameters; a document can. */
async function documentOf(lines, params) {
  const text = typeof lines === 'string' ? lines : await lines.text();
  return `{"params":${JSON.stringify(params)},"items":[${text.split('\n').filter((line) => line.trim()).join(',')}]}`;
}

export class Rivulet {
  /** See RivuletOptions in index.d.ts. */
  constructor(options = {}) {
    this.options = options;
    this.wire = new Wire(options);
  }

  /** A client like this one whose streams share one connection with all others of this browser. */
  shared() {
    return new Rivulet({ ...this.options, shared: true });
  }

  /** Upload files into a job of their own and get its events, while they still upload. See Run. */
  run(files, options = {}) {
    return new Run(this, files, options);
  }

  /** A job of JSON values, one an item; its document's beginning, {id, …}. The values are an array, or any (async) iterable, or a text or
   * Blob of JSON Lines. */
  async submit(items, { pipeline, params, ordered, inFlight, key = newKey(), signal } = {}) {
    const given = typeof items === 'string' || items instanceof Blob ? items : await linesBlob(items);
    const body = params ? await documentOf(given, params) : given;
    const { json } = await this.wire.call('POST', '/v1/jobs' + query({ pipeline, ordered, in_flight: inFlight }), {
      body, signal, answerMs: 0, headers: { 'Content-Type': params ? 'application/json' : 'application/jsonl', 'Idempotency-Key': key },
    });
    return json;
  }

  /** The events of a job, from the first or behind `after`, to its last. Aborting only ends the watching. */
  async *watch(job, options = {}) {
    const teller = new Teller(options);
    for await (const event of this.events(job, options)) {
      teller.take(event);
      yield event;
    }
  }

  /** Like watch, without callbacks. */
  async *events(job, { after = null, signal, inline = true, shared = this.options.shared } = {}) {
    const frames = shared ? sharedFollow(this.wire, job, { after, signal, options: this.options }) : follow(this.wire, job, { after, signal });
    for await (const frame of frames) {
      const event = eventOf(frame);
      if (inline && event.result_url) event.result = (await this.wire.call('GET', event.result_url, { signal, answerMs: 0 })).json;
      yield event;
    }
  }

  async job(id, { signal } = {}) {
    return (await this.wire.call('GET', jobPath(id), { signal })).json;
  }

  /** All jobs, newest first, page after page as they are asked for. */
  jobs({ state, pipeline, limit, signal } = {}) {
    return pages(this.wire, '/v1/jobs' + query({ state, pipeline, limit }), (page) => page.jobs, signal);
  }

  /** The items of a job with what became of them, page after page. */
  items(id, { state, limit, after, signal } = {}) {
    return pages(this.wire, jobPath(id) + '/items' + query({ state, limit, after }), (page) => page.items, signal);
  }

  async item(id, number, { signal } = {}) {
    return (await this.wire.call('GET', `${jobPath(id)}/items/${number}`, { signal })).json;
  }

  async result(id, number, { signal } = {}) {
    return (await this.wire.call('GET', `${jobPath(id)}/items/${number}/result`, { signal, answerMs: 0 })).json;
  }

  /** The items that have ended, {index, filename, …} each; with `follow` until the job has. */
  results(id, { order, follow: on, signal } = {}) {
    return results(this.wire, jobPath(id) + '/results', { order, follow: on }, { signal });
  }

  async cancel(id, { signal } = {}) {
    return (await this.wire.call('POST', jobPath(id) + '/cancel', { signal })).json;
  }

  /** A new job of what failed; its document's beginning. */
  async retry(id, { signal } = {}) {
    return (await this.wire.call('POST', jobPath(id) + '/retry', { signal })).json;
  }

  /** Forget a finished job. One that is not there is forgotten already. */
  async delete(id, { signal } = {}) {
    await this.wire.call('DELETE', jobPath(id), { signal }).catch((error) => { if (error.status !== 404) throw error; });
  }

  async pipelines({ signal } = {}) {
    return (await this.wire.call('GET', '/v1/pipelines', { signal })).json.pipelines;
  }
}
