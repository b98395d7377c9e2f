// A server out of a script, for what a real one does too seldom: a job face in memory whose wire breaks as the test orders.
import http from 'node:http';

const pad = (seq) => `1790000000-${seq}`;

export function frameOf(seq, event, data) {
  return `event: ${event}\ndata: ${JSON.stringify({ job: 'j1', at: '2026-11-22T00:00:00.000Z', ...data })}\nid: ${pad(seq)}\n\n`;
}

/** The frames of a job with so many items, a text each; names have letters of several bytes, so that a cut can split one. */
export function logOf(items) {
  const frames = [frameOf(1, 'progress', { state: 'queued', total: items })];
  for (let item = 0; item < items; item++) {
    const common = { item, name: `卡牌-${item}.jpg`, attempt: 1 };
    frames.push(frameOf(frames.length + 1, 'progress', { ...common, counts: [items - item - 1, 1, item, 0, 0], state: 'processing' }));
    const counts = [items - item - 1, 0, item + 1, 0, 0], result = { text: '易'.repeat(item % 7) };
    frames.push(frameOf(frames.length + 1, 'result', { ...common, counts, result }));
  }
  frames.push(frameOf(frames.length + 1, 'complete', { status: 'completed', counts: [0, 0, items, 0, 0], summary: {}, seconds: 1 }));
  return frames;
}

export const idsOf = (frames) => frames.map((frame) => /\nid: (.*)\n/.exec(frame)[1]);

/** An HTTP server that answers with `handle(request, response, number)`; number counts the requests. {base, requests, close}. */
export async function serve(handle) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request);
    response.on('error', () => {});
    handle(request, response, requests.length - 1);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const close = () => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  });
  return { base: `http://127.0.0.1:${server.address().port}`, requests, close };
}

export function startStream(response, first = 'retry: 1\n\n') {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.write(first);
}

/** The frames behind a request's cursor; -1 where it is none of ours. */
export function behind(request, frames) {
  const last = request.headers['last-event-id'];
  return last === undefined ? 0 : idsOf(frames).indexOf(last) + 1 || -1;
}

export function body(request) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => resolve(Buffer.concat(pieces)));
    request.on('error', reject);
  });
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', ...headers });
  response.end(JSON.stringify(value));
}

// A repeatable throw of dice.
export function dice(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
