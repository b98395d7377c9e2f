// Waiting: for a time, for the next of many, for what comes later; all of it ends when a signal says so.

/** @param {number} ms @param {AbortSignal} [signal] */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** A control that ends with the signal; call `release` when it is no longer needed. @param {AbortSignal} [signal] */
export function linked(signal) {
  const control = new AbortController();
  const stop = () => control.abort(signal.reason);
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  return { control, release: () => signal?.removeEventListener('abort', stop) };
}

// Back-off with full jitter: any time between nothing and twice the last bound. All clients of a server that went away lost it in the same
// moment; spreading them over the whole span is what keeps their return from being the next overload.
export class Backoff {
  /** base: ms, given by the user, or null to go by the server's `retry:`; max: ms; patience: ms without success until `spent` */
  constructor({ base = null, max = 30000, patience = 600000, random = Math.random, now = Date.now } = {}) {
    Object.assign(this, { base, max, patience, random, now });
    this.told = 1000;
    this.success();
  }

  success() {
    this.tries = 0;
    this.since = this.now();
  }

  /** A sign of life: patience begins anew, but the next wait is no shorter for it. */
  alive() {
    this.since = this.now();
  }

  /** The server's `retry:`. */
  tell(ms) {
    this.told = Math.min(ms, this.max);
  }

  get spent() {
    return this.now() - this.since >= this.patience;
  }

  /** How long to wait now. @param {number} [least] what a Retry-After asked for */
  next(least = 0) {
    const base = this.base ?? this.told;
    const span = Math.min(this.max, base * 2 ** Math.min(this.tries++, 30));
    return least + this.random() * span;
  }
}

// A queue between tasks that produce and one that takes, with a bound: put() waits while it is full.
export class Channel {
  constructor(room = 256) {
    Object.assign(this, { room, entries: [], takers: [], putters: [], over: false, error: null });
  }

  /** @returns {Promise<boolean>} false when nobody takes any more */
  async put(entry) {
    while (this.entries.length >= this.room && !this.over) await new Promise((wake) => this.putters.push(wake));
    if (this.over) return false;
    this.add(entry);
    return true;
  }

  /** The same without a bound: for what is few. */
  add(entry) {
    if (this.over) return;
    this.entries.push(entry);
    this.takers.shift()?.();
  }

  end(error = null) {
    if (this.over) return;
    this.over = true;
    this.error = error;
    for (const wake of [...this.takers.splice(0), ...this.putters.splice(0)]) wake();
  }

  /** The next entry, or undefined at the end; throws what it was ended with once all entries are taken. */
  async take() {
    while (!this.entries.length && !this.over) await new Promise((wake) => this.takers.push(wake));
    if (this.entries.length) {
      const entry = this.entries.shift();
      this.putters.shift()?.();
      return entry;
    }
    if (this.error) throw this.error;
    return undefined;
  }
}
