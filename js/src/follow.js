// Following a log across lost connections: every durable frame once, in order, however often the wire is cut.
//
// The cursor is the id of the last durable frame that was given on. A frame that a cut left half is no frame: the parser gives none
// before its empty line. So whoever comes back with the cursor gets exactly what is missing, also from a server that was killed and
// started again, because it shows nothing that is not on its disk.
import { createParser } from 'eventsource-parser';
import { RivuletError, lost } from './error.js';
import { linked } from './wait.js';

const FRAME_CHARS_MAX = 4 * 1024 * 1024;

/** The frames of one connection, in arrays as they arrived: {event, id, data}; data is JSON, still a text. Ends where the wire ends. */
export async function* framesOf(response, onRetry, onBytes) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let frames = [], broken = null;
  const parser = createParser({
    onEvent: ({ event, id, data }) => frames.push({ event: event ?? 'message', id: id ?? null, data }),
    onRetry,
    onError: (error) => { if (error.type === 'max-buffer-size-exceeded') broken = error; },
    maxBufferSize: FRAME_CHARS_MAX,
  });
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => { throw lost(cause); });
      if (done) return;
      onBytes();
      parser.feed(decoder.decode(value, { stream: true }));
      if (broken) throw new RivuletError('The stream holds a frame that is too long', { status: 400, cause: broken });
      if (frames.length) yield frames.splice(0);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Ends a connection on which not even a heartbeat came for too long: a wire that broke without a word.
class Watchdog {
  constructor(ms, control) {
    Object.assign(this, { ms, control, timer: null });
    this.pat();
  }

  pat = () => {
    clearTimeout(this.timer);
    if (this.ms) this.timer = setTimeout(() => this.control.abort(new RivuletError(`no sign of life for ${this.ms / 1000} s`)), this.ms);
  };

  stop() {
    clearTimeout(this.timer);
  }
}

/** One connection after the other until `over()`.
 *   open()     {path, headers} of the next connection, made from the present cursors
 *   over()     nothing more is to come
 *   ended()    the server has said so
 * Yields arrays of frames. Frames count as seen once they were given: the caller moves its cursors before it asks for more. */
export async function* connections(wire, { open, over, ended = () => {}, signal }) {
  const backoff = wire.backoff();
  while (!over()) {
    const { control, release } = linked(signal);
    const watchdog = new Watchdog(wire.silence, control);
    const alive = () => {
      watchdog.pat();
      backoff.alive();
    };
    let error = null;
    try {
      const { path, headers } = open();
      const response = await wire.once(path, { headers: { Accept: 'text/event-stream', ...headers }, signal: control.signal });
      if (response.status === 204) return void ended();
      wire.tell('open');
      for await (const frames of framesOf(response, (ms) => backoff.tell(ms), alive)) {
        watchdog.stop();
        if (frames.some((frame) => frame.id)) backoff.success();
        yield frames;
        if (over()) return;
        watchdog.pat();
      }
    } catch (caught) {
      error = caught;
    } finally {
      watchdog.stop();
      control.abort();
      release();
    }
    await wire.again(error ?? lost(), backoff, signal);
  }
}

export const isLast = (frame) => frame.event === 'complete' || frame.event === 'cancelled';

/** The frames of one job from `after` (the id of a frame, a number of one, "end", or nothing for all) to its last. */
export async function* follow(wire, job, { after = null, signal } = {}) {
  const path = `/v1/jobs/${encodeURIComponent(job)}/events`;
  // "end" is made a number at once: later, behind a cut, the end would be another one. A number only says where to begin; an id is a
  // cursor that the server checks.
  if (after === 'end') after = (await wire.call('GET', `/v1/jobs/${encodeURIComponent(job)}`, { signal })).json.seq;
  const begin = /^\d+$/.test(after ?? '') ? `?after=${after}` : '';
  let cursor = begin ? null : after, ended = false, from = begin;
  const open = () => ({ path: cursor ? path : path + from, headers: cursor ? { 'Last-Event-ID': cursor } : {} });
  for await (const frames of connections(wire, { open, over: () => ended, signal })) {
    for (const frame of frames) {
      if (frame.event === 'gap') cursor = null, from = '';
      cursor = frame.id ?? cursor;
      ended ||= isLast(frame);
      yield frame;
    }
  }
}
