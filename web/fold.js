// The fold: frames of the job face in, the state of one job out. What the page knows of a job is only what its frames said, so a lost
// connection is mended by asking for the frames behind the last one, and a page loaded again by asking for all of them. Nothing here
// knows of the document, the clock or the wire; the same frames always give the same state.

export const RESULTS_KEPT = 1000;     // in memory; older ones are asked for again when somebody wants to see them
const ENDS_KEPT = 64;                 // the latest ends, from which the pace is told

export const [PENDING, PROCESSING, COMPLETED, FAILED, SKIPPED] = [0, 1, 2, 3, 4];     // places in `counts`

export function fresh(id) {
  return {
    id,
    seq: 0, cursor: '',               // of the last durable frame
    status: 'pending',                // pending, running, cancelling; then completed, error, cancelled
    total: null,                      // null until the job is sealed: more items may come
    counts: [0, 0, 0, 0, 0],
    items: new Map(),                 // index → what its frames said; items of which nothing was said are not here
    done: [], failed: [],             // indexes in the order of their ends
    active: new Set(),                // indexes of what has started and not ended
    most: 0, front: -1,               // one more than the highest index that was told of; the highest that has started
    skipped: [],                      // [first, last] ranges
    began: null, at: null,            // milliseconds of the server's clock: of the first and of the latest frame
    ends: [],
    end: null,                        // {status, counts, summary, seconds, error} of the last frame
    kinds: {},                        // states that some item has been in
    gaps: 0,
  };
}

// Begin from the job document instead of from the first frame: for lists, which need the counts and no items.
export function fromDocument(document) {
  const job = fresh(document.id);
  const of = (name) => document[`batches_${name}`] ?? 0;
  job.seq = document.seq ?? 0;
  job.cursor = String(job.seq || '');
  job.status = document.status;
  job.counts = [of('pending'), of('processing'), of('completed'), of('failed'), of('skipped')];
  job.total = document.sealed === false ? null : document.total_batches ?? null;
  job.began = Date.parse(document.created_at) || null;
  if (isOver(document.status))
    job.end = { status: document.status, counts: job.counts, summary: document.summary, seconds: document.seconds, error: document.error };
  return job;
}

export const isOver = (status) => status === 'completed' || status === 'error' || status === 'cancelled';
export const known = (job) => job.counts.reduce((sum, count) => sum + count, 0);
export const ended = (job) => job.counts[COMPLETED] + job.counts[FAILED] + job.counts[SKIPPED];

function itemOf(job, data) {
  let item = job.items.get(data.item);
  if (!item) job.items.set(data.item, item = { index: data.item, name: null, state: 'pending', attempt: 0, steps: [] });
  job.most = Math.max(job.most, data.item + 1);
  if (data.name != null) item.name = data.name;
  if (data.attempt != null) item.attempt = data.attempt;
  return item;
}

function step(job, item, state, at) {
  job.kinds[state] = true;
  job.active.add(item.index);
  job.front = Math.max(job.front, item.index);
  item.state = state;
  item.steps.push([state, at]);
  item.percent = item.hint = undefined;
}

function itemEnds(job, item, state, at, list) {
  step(job, item, state, at);
  job.active.delete(item.index);
  list.push(item.index);
  job.ends.push(at);
  if (job.ends.length > ENDS_KEPT) job.ends.shift();
}

const progress = {
  queued(job, data) { job.total = data.total; },
  processing(job, data, at) {
    const item = itemOf(job, data);
    item.why = data.why;
    step(job, item, 'processing', at);
    if (job.status === 'pending') job.status = 'running';
  },
  stepped(job, data, at) {
    const item = itemOf(job, data);
    item.leg = data.leg + 1;
    step(job, item, 'processing', at);
  },
  waiting(job, data, at) { step(job, itemOf(job, data), 'waiting', at); },
  retrying(job, data, at) {
    const item = itemOf(job, data);
    item.error = data.error;
    item.due = Date.parse(data.due_at);
    step(job, item, 'retrying', at);
  },
  record(job, data) {
    const item = itemOf(job, data);
    item.records = (item.records || 0) + 1;
  },
  skipped(job, data) {
    job.skipped.push(...data.ranges);
    for (const index of job.active) if (isSkipped(job, index)) job.active.delete(index);
    const count = data.ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    const [pending, processing, completed, failed, skipped] = job.counts;
    const left = Math.max(0, pending + processing - count);
    job.counts = [Math.min(pending, left), left - Math.min(pending, left), completed, failed, skipped + count];
  },
  cancelling(job) { job.status = 'cancelling'; },
  hint(job, data) {
    const item = job.items.get(data.item);
    if (!item) return;
    item.percent = data.percent;
    item.hint = data.status;
  },
};

const events = {
  progress(job, data, at) { progress[data.state]?.(job, data, at); },
  result(job, data, at) {
    const item = itemOf(job, data);
    for (const field of ['result', 'result_url', 'bytes', 'score']) if (data[field] !== undefined) item[field] = data[field];
    item.error = undefined;
    itemEnds(job, item, 'done', at, job.done);
    const old = job.items.get(job.done[job.done.length - 1 - RESULTS_KEPT]);
    if (old && old.result !== undefined) {
      old.result = undefined;
      old.result_url = `/v1/jobs/${job.id}/items/${old.index}/result`;
    }
  },
  failed(job, data, at) {
    const item = itemOf(job, data);
    item.error = data.error;
    item.error_type = data.error_type;
    item.stage = data.stage;
    itemEnds(job, item, 'failed', at, job.failed);
  },
  complete(job, data) {
    job.end = { status: data.status, counts: data.counts, summary: data.summary, seconds: data.seconds, error: data.error };
    job.status = data.status;
    job.total = data.counts.reduce((sum, count) => sum + count, 0);
  },
};
events.cancelled = events.complete;

// The frame's place in the log: "epoch-seq", or "job@epoch-seq" where several jobs share a wire. 0 = it has none.
export function seqOf(id) {
  const match = /(\d+)-(\d+)$/.exec(id || '');
  return match ? Number(match[2]) : 0;
}

// Fold one frame {event, data, id} in. False: nothing changed, it was a replay or comes behind the end.
export function fold(job, frame) {
  if (frame.event === 'gap') {      // the log is another one now: forget, it follows from its beginning
    const gaps = job.gaps + 1;
    Object.assign(job, fresh(job.id), { gaps });
    return true;
  }
  const seq = seqOf(frame.id);
  if (job.end || !events[frame.event] || (frame.id && seq <= job.seq)) return false;
  const at = Date.parse(frame.data.at) || job.at || 0;
  if (seq) {
    job.seq = seq;
    job.cursor = frame.id.slice(frame.id.indexOf('@') + 1);
  }
  job.began ??= at;
  job.at = Math.max(job.at ?? at, at);
  events[frame.event](job, frame.data, at);
  if (frame.data.counts) job.counts = frame.data.counts;
  return true;
}

// {rate: items a second, left: seconds} at a moment of the server's clock; null while too little is known to say it.
export function pace(job, now) {
  if (job.end || job.ends.length < 2) return null;
  const first = job.ends[0], last = job.ends[job.ends.length - 1];
  const usual = (last - first) / (job.ends.length - 1);
  const silent = Math.max(0, now - last);
  // While the next end is later than usual, the silence counts too: a job that stands still slows down.
  const milliseconds = silent > usual ? last - first + silent : last - first;
  if (milliseconds <= 0) return null;
  const rate = (1000 * (job.ends.length - (silent > usual ? 0 : 1))) / milliseconds;
  return { rate, left: job.total === null ? null : (job.total - ended(job)) / rate };
}

// The stretches of an item's life for the timeline: [[kind, from, to]…], kind being queued, processing, waiting, retrying; `now` closes
// what is open.
export function stretches(job, item, now) {
  const list = [];
  let kind = 'queued', from = job.began ?? now;
  for (const [state, at] of item?.steps ?? []) {
    if (at > from) list.push([kind, from, at]);
    kind = state;
    from = at;
  }
  const close = job.end ? job.at : now;
  if (kind !== 'done' && kind !== 'failed' && close > from) list.push([kind, from, close]);
  return list;
}

export const isSkipped = (job, index) => job.skipped.some(([first, last]) => index >= first && index <= last);
