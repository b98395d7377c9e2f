// What this tab knows: the folds of the jobs that it shows, fed by the hub. watch() begins a job and says it changed; nothing is
// shown that did not come through here.

import { fold, fresh, fromDocument, isOver } from './fold.js';
import { Hub } from './hub.js';

const jobs = new Map();             // id → {job, turn, listeners, missing, heard}
let turn = 0, send = null, wireListeners = new Set();
export const wire = { state: 'idle' };

function connect() {
  if (send) return;
  if (typeof SharedWorker === 'function') {
    const { port } = new SharedWorker('/assets/hub-worker.js', { type: 'module', name: 'rivulet' });
    port.onmessage = ({ data }) => hear(data);
    send = (message) => port.postMessage(message);
    const lock = `rivulet-${Math.random()}`;
    // Held until this tab is gone, however it goes.
    navigator.locks?.request(lock, () => { send({ type: 'hello', lock }); return new Promise(() => {}); });
    addEventListener('pagehide', () => send({ type: 'want', jobs: {} }));
    addEventListener('pageshow', (event) => { if (event.persisted) renew(); });
  } else {
    const hub = new Hub(), tab = hub.join(hear);
    send = (message) => (message.type === 'want' ? hub.want(tab, message.jobs) : hub.again());
  }
}

function want() {
  const wanted = {};
  for (const [id, entry] of jobs) if (!entry.job.end && !entry.missing) wanted[id] = { cursor: entry.job.cursor, turn: entry.turn };
  if (!send && !Object.keys(wanted).length) return;
  connect();
  send({ type: 'want', jobs: wanted });
}

// Back from the browser's own cache: the hub was told that nothing is wanted here.
function renew() {
  for (const entry of jobs.values()) entry.turn = ++turn;
  want();
}

function hear(message) {
  if (message.type === 'wire') {
    Object.assign(wire, { detail: undefined, status: undefined, again_ms: undefined }, message, { since: performance.now() });
    for (const listener of wireListeners) listener(wire);
  } else if (message.type === 'missing') {
    const entry = jobs.get(message.job);
    if (entry) entry.missing = true;
    entry?.listeners.forEach((listener) => listener(entry));
  } else if (message.type === 'frames') {
    takeFrames(message.frames);
  }
}

function takeFrames(frames) {
  const touched = new Set();
  for (const frame of frames) {
    const entry = jobs.get(frame.job);
    if (!entry || entry.turn !== frame.turn) continue;
    entry.heard = performance.now();
    const data = JSON.parse(frame.data);
    if (fold(entry.job, { event: frame.event, data, id: frame.id })) touched.add(entry);
    const late = Date.now() - Date.parse(data.at);
    if (Number.isFinite(late)) clock.late = Math.min(clock.late, late);
  }
  for (const entry of touched) entry.listeners.forEach((listener) => listener(entry));
}

// The server's clock as far as it is known here: no frame is older than the least delay that was seen.
const clock = { late: Infinity };
export const serverNow = () => Date.now() - (Number.isFinite(clock.late) ? clock.late : 0);

// Watch a job from its beginning, or, for a list, from its document. listener({job, missing, heard}) after each change. Answers {entry, leave}.
export function watch(id, listener, document = null) {
  let entry = jobs.get(id);
  const fromStart = !document;
  if (!entry || (fromStart && !entry.whole)) {
    entry = { job: document ? fromDocument(document) : fresh(id), whole: fromStart, turn: ++turn, listeners: entry?.listeners ?? new Set(),
              heard: performance.now(), missing: false };
    jobs.set(id, entry);
  }
  entry.listeners.add(listener);
  want();
  return { entry, leave() { leave(id, listener); } };
}

function leave(id, listener) {
  const entry = jobs.get(id);
  if (!entry?.listeners.delete(listener) || entry.listeners.size) return;
  jobs.delete(id);
  want();
}

export function onWire(listener) {
  wireListeners.add(listener);
  return () => wireListeners.delete(listener);
}

export const again = () => send?.({ type: 'again' });
export { isOver };
