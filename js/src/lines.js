// Answers that come in pieces: pages with links, and JSON Lines.
import { RivuletError, lost } from './error.js';
import { linked } from './wait.js';

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

/** The lines of an answer, each once. After a cut the answer is asked for again and what was given is passed over: the lines of a
 * finished item never change, nor does their order.
 *   over(line)   the answer is known to end with this line; without it a clean end of the wire is the end */
export async function* lines(wire, path, { signal } = {}) {
  const backoff = wire.backoff();
  for (let given = 0; ;) {
    const { control, release } = linked(signal);
    let seen = 0, error;
    try {
      const response = await wire.once(path, { headers: { Accept: 'application/x-ndjson' }, signal: control.signal });
      if (response.status === 204) return;
      for await (const line of linesOf(response, () => backoff.alive())) {
        if (++seen <= given) continue;
        given = seen;
        backoff.success();
        yield JSON.parse(line);
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
