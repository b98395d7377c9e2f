// One server, spoken to with fetch: addresses, keys, refusals as errors, and another try where that is safe.
import { RivuletError, errorOf, lost } from './error.js';
import { Backoff, linked, pause } from './wait.js';

const ANSWER_MS = 120000;

async function answerOf(response) {
  let text;
  try {
    text = await response.text();
  } catch (cause) {
    throw lost(cause);
  }
  try {
    return { status: response.status, headers: response.headers, json: text ? JSON.parse(text) : null };
  } catch (cause) {
    throw new RivuletError('The server answered something that is not JSON: is this a Rivulet server?', { status: response.status, cause });
  }
}

export class Wire {
  /** See RivuletOptions in index.d.ts. */
  constructor({ base = '', key = null, fetch = globalThis.fetch, silence = 45000, backoff = {}, onConnection = null } = {}) {
    if (typeof fetch !== 'function') throw new TypeError('there is no fetch here: give one as an option');
    this.base = String(base).replace(/\/+$/, '');
    this.key = key;
    // A browser's fetch must be called as a function of the window.
    this.fetch = (...words) => fetch(...words);
    this.silence = silence;
    this.backoffOptions = backoff;
    this.onConnection = onConnection;
  }

  backoff() {
    return new Backoff(this.backoffOptions);
  }

  tell(state, more) {
    this.onConnection?.({ state, ...more });
  }

  /** One try. Throws RivuletError, or the signal's reason. @returns {Promise<Response>} */
  async once(path, { signal, headers, ...options } = {}) {
    const all = { ...headers };
    const key = typeof this.key === 'function' ? await this.key() : this.key;
    if (key) all.Authorization = `Bearer ${key}`;
    let response;
    try {
      response = await this.fetch(this.base + path, { ...options, headers: all, signal, cache: 'no-store' });
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new RivuletError(`The server ${this.base || 'of this page'} could not be reached`, { cause });
    }
    if (response.ok || response.status === 304) return response;
    throw await errorOf(response);
  }

  /** Like once, and reads the answer, with other tries as long as that makes sense. `body` may be a function that makes it anew.
   * @returns {Promise<{status: number, headers: Headers, json: any}>} */
  async call(method, path, { body, signal, answerMs = ANSWER_MS, ...options } = {}) {
    const backoff = this.backoff();
    for (;;) {
      const { control, release } = linked(signal);
      const late = answerMs && setTimeout(() => control.abort(new RivuletError(`no answer within ${answerMs / 1000} s`)), answerMs);
      const sent = typeof body === 'function' ? body() : body;
      try {
        return await answerOf(await this.once(path, { ...options, method, body: sent, signal: control.signal }));
      } catch (error) {
        await this.again(error, backoff, signal);
      } finally {
        clearTimeout(late);
        release();
      }
    }
  }

  /** Waits until it is time for another try, or throws what stands in the way of one. */
  async again(error, backoff, signal) {
    if (signal?.aborted) throw signal.reason;
    if (!error.passing || backoff.spent) throw error;
    const wait = backoff.next(error.retryAfter);
    this.tell('lost', { error, wait });
    await pause(wait, signal);
  }
}

export const get = (wire, path, options) => wire.call('GET', path, options);
export const post = (wire, path, options) => wire.call('POST', path, options);

/** "?a=1&b=2" of what is given; nothing for undefined, null and false. */
export function query(parameters) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined && value !== null && value !== false) search.append(name, value === true ? '1' : String(value));
  const text = search.toString();
  return text && `?${text}`;
}
