// The hub: all tabs of a browser read all their jobs over one connection, GET /v1/events?job=ID@CURSOR&job=…
//
// A tab says what it wants: {jobs: {ID: {cursor, turn}}}, the whole of it each time. The hub asks for the union, each job from where the
// tab that is furthest behind stands, and gives every tab the frames behind its own place. Nothing is kept: when a tab comes later the
// connection is opened again from that tab's place, and the others are told nothing twice. `turn` is the tab's own number for one want of
// one job; it comes back with the frames, so that frames of an earlier want, still under way, are known for what they are.
//
// To the tabs: {type: 'frames', frames: [{job, turn, event, data, id}]} and {type: 'wire', state: 'live' | 'lost' | 'refused', status, detail,
// again_ms} and {type: 'missing', job}; `refused` is an answer that coming back will not change (401, 403), until somebody says again().

import { FrameReader } from './sse.js';
import { seqOf } from './fold.js';

const SILENCE_MS = 45000;                               // the server gives a sign of life every 15 s
const AGAIN_MS = [500, 1000, 2000, 4000, 8000];
const JOBS_MAX = 64;                                    // on one connection

const isLast = (event) => event === 'complete' || event === 'cancelled';

export class Hub {
  #tabs = new Set();
  #running = false;
  #control = null;                                      // ends the connection that is open
  #wake = () => {};                                     // ends a wait
  #tries = 0;
  #told = null;                                         // the last word about the wire, for tabs that come later
  #anew = false;                                        // the wire has to begin anew
  #gone = new Set();                                    // jobs that the server does not know (any more)

  // post(message) reaches the tab. Answers what stands for it here.
  join(post) {
    const tab = { post, wants: new Map() };
    this.#tabs.add(tab);
    if (this.#told) post(this.#told);
    return tab;
  }

  leave(tab) {
    this.#tabs.delete(tab);
    this.#changed();
  }

  want(tab, jobs) {
    let more = false, known = this.#cursors();
    const wants = new Map();
    for (const [job, { cursor, turn }] of Object.entries(jobs)) {
      const old = tab.wants.get(job);
      wants.set(job, old?.turn === turn ? old : { turn, cursor, over: false });
      if (old?.turn !== turn) {
        this.#gone.delete(job);
        more = true;
      }
    }
    tab.wants = wants;
    const now = this.#cursors();
    if (more || [...known.keys()].some((job) => !now.has(job))) this.#changed();
  }

  again() {
    this.#tries = 0;
    this.#wake();
  }

  // A tab in front of the others whose log is gone: the hindmost asked from where both logs are one, so the server had no gap to tell. It waits
  // for the wire that begins anew.
  #lose(want, job) {
    Object.assign(want, { cursor: '', waits: true });
    this.#anew = true;
    return { event: 'gap', data: JSON.stringify({ job, reason: 'restored' }), id: '', job, turn: want.turn };
  }

  // Each wanted job and the earliest place that somebody stands at.
  #cursors() {
    const cursors = new Map();
    for (const tab of this.#tabs)
      for (const [job, want] of tab.wants) {
        if (want.over || this.#gone.has(job)) continue;
        const other = cursors.get(job);
        if (other === undefined || placeOf(want.cursor) < placeOf(other)) cursors.set(job, want.cursor);
      }
    return new Map([...cursors].slice(-JOBS_MAX));
  }

  #changed() {
    this.#control?.abort();
    this.#wake();
    if (!this.#running) this.#run();
  }

  #tell(state, more = {}) {
    this.#told = { type: 'wire', state, ...more };
    for (const tab of this.#tabs) tab.post(this.#told);
  }

  #wait(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  async #run() {
    this.#running = true;
    while (await this.#wait(20), this.#cursors().size) {       // a moment, in which several changes become one
      const control = this.#control = new AbortController();
      let trouble = null;
      try {
        trouble = await this.#connect(this.#cursors(), control);
      } catch {
        trouble = {};
      }
      this.#control = null;
      if (control.signal.aborted && control.signal.reason !== 'silence') continue;
      if (!trouble) continue;
      if (trouble.status === 401 || trouble.status === 403) {
        this.#tell('refused', trouble);
        await this.#wait(3600000);
        continue;
      }
      const again_ms = AGAIN_MS[Math.min(this.#tries++, AGAIN_MS.length - 1)];
      this.#tell('lost', { ...trouble, again_ms });
      await this.#wait(again_ms);
    }
    this.#running = false;
  }

  // One connection, to its end. null when nothing is amiss, else what the tabs should know.
  async #connect(cursors, control) {
    for (const tab of this.#tabs) for (const want of tab.wants.values()) want.waits = false;
    const query = [...cursors].map(([job, cursor]) => `job=${job}${cursor ? `@${cursor}` : ''}`).join('&');
    const response = await fetch(`/v1/events?${query}`, { headers: { Accept: 'text/event-stream' }, signal: control.signal, cache: 'no-store' });
    if (response.status === 204) {
      for (const job of cursors.keys()) this.#over(job);
      return null;
    }
    if (response.status === 404) {          // none of them is there
      for (const job of cursors.keys()) this.#missing(job);
      return null;
    }
    if (!response.ok) return { status: response.status, detail: await detailOf(response) };
    this.#tries = 0;
    this.#tell('live');
    return await this.#read(response, control) ? null : {};
  }

  // Frames as they come. True: the server ended the stream because nothing is left to say.
  async #read(response, control) {
    const stream = response.body.getReader(), text = new TextDecoder(), reader = new FrameReader();
    for (;;) {
      const watchdog = setTimeout(() => control.abort('silence'), SILENCE_MS);
      const { done, value } = await stream.read().finally(() => clearTimeout(watchdog));
      if (done) return this.#cursors().size === 0;
      const frames = reader.take(text.decode(value, { stream: true }));
      if (frames.length) this.#give(frames);
      if (!this.#cursors().size) control.abort();
    }
  }

  #give(frames) {
    for (const frame of frames) {
      frame.job = jobOf(frame);
      if (frame.event === 'gap' && JSON.parse(frame.data).reason === 'unknown') this.#missing(frame.job);
    }
    for (const tab of this.#tabs) {
      const own = frames.map((frame) => this.#forTab(tab, frame)).filter(Boolean);
      if (own.length) tab.post({ type: 'frames', frames: own });
    }
    if (this.#anew) this.#changed();
    this.#anew = false;
  }

  #forTab(tab, frame) {
    const want = tab.wants.get(frame.job);
    if (!want || want.over || want.waits || this.#gone.has(frame.job)) return null;
    if (frame.event === 'gap') want.cursor = '';
    if (frame.id) {
      if (isOfAnother(frame, want.cursor)) return this.#lose(want, frame.job);
      if (seqOf(frame.id) <= placeOf(want.cursor)) return null;
      want.cursor = frame.id.slice(frame.id.indexOf('@') + 1);
    }
    if (isLast(frame.event)) want.over = true;
    return { ...frame, turn: want.turn };
  }

  #over(job) {
    for (const tab of this.#tabs) if (tab.wants.has(job)) tab.wants.get(job).over = true;
  }

  #missing(job) {
    this.#gone.add(job);
    for (const tab of this.#tabs) if (tab.wants.has(job)) tab.post({ type: 'missing', job });
  }
}

// "epoch-seq" or a bare number.
const placeOf = (cursor) => seqOf(cursor) || Number(cursor) || 0;

const openingOf = (id) => Number(/(\d+)-\d+$/.exec(id || '')?.[1] ?? NaN);

// Does the frame show that what lies at the cursor was of a log that is gone? Openings only grow along a log, a number has one event, and
// nothing lies behind the last.
function isOfAnother({ event, id }, cursor) {
  const seq = seqOf(id), place = placeOf(cursor);
  if (seq > place) return false;
  return openingOf(id) > openingOf(cursor) || (seq === place && openingOf(id) !== (openingOf(cursor) || openingOf(id))) || (seq < place && isLast(event));
}

function jobOf(frame) {
  const at = (frame.id || '').indexOf('@');
  return at > 0 ? frame.id.slice(0, at) : JSON.parse(frame.data).job;
}

async function detailOf(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The server answered ${response.status}.`;
  }
}
