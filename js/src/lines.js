// Answers that come in pieces: pages with links, and JSON Lines.
import { RivuletError, lost } from './error.js';
import { linked } from './wait.js';
import { query } from './wire.js';

const LINE_CHARS_MAX = 64 * 1024 * 1024;

/** The address of the next page in a Link header (RFC 8288), or null. Addresses are told as paths of this server. */
export function nextLink(header) {
  for (const [, target, rest] of (header ?? '').matchAll(/<([^>]*)>([^<]*)/g))
    if (/;\s*rel="?[^";]*\bnext\b/i.test(rest)) return target.replace(/^https?:\/\/[^/]+/, '');
  return null;
}

/** All entries of a list that is told in pages. `listOf` finds the array in a page. */
export async function* pages(wire, path, listOf, signal) {
  for (let at = path; at;) {
    const { headers, json } = await wire.call('GET', at, { signal });
    yield* listOf(json);
    at = nextLink(headers.get('Link'));
  }
}

async function* linesOf(response, onBytes) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => { throw lost(cause); });
      if (done) break;
      onBytes();
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop();
      if (rest.length > LINE_CHARS_MAX) throw new RivuletError('A line of the answer is too long', { status: 400 });
      for (const line of lines) if (line.trim()) yield line;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The results of a job, each once. After a cut the rest is asked for by the number of lines that were given: what a line says never
 * changes, nor does their order. A line without an index says why the server breaks off. */
export async function* results(wire, path, parameters, { signal } = {}) {
  const backoff = wire.backoff();
  for (let given = 0; ;) {
    const { control, release } = linked(signal);
    let error;
    try {
      const after = given || undefined;
      const response = await wire.once(path + query({ ...parameters, after }), { headers: { Accept: 'application/jsonl' }, signal: control.signal });
      for await (const line of linesOf(response, () => backoff.alive())) {
        const value = JSON.parse(line);
        if (value.index === undefined) throw new RivuletError(value.error ?? 'The results break off');
        given++;
        backoff.success();
        yield value;
      }
      return;
    } catch (caught) {
      error = caught;
    } finally {
      control.abort();
      release();
    }
    await wire.again(error, backoff, signal);
  }
}
