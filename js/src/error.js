// What can go wrong, as one kind of error that says who, where and why.

export class RivuletError extends Error {
  /** @param {string} message @param {{status?: number, problem?: object, retryAfter?: number, cause?: unknown}} [more] */
  constructor(message, { status = 0, problem = null, retryAfter = 0, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'RivuletError';
    this.status = status;             // of the HTTP answer; 0 when there was none
    this.problem = problem;           // its RFC 9457 body, where it had one
    this.retryAfter = retryAfter;     // ms the server asked to wait, 0 when it did not
  }

  get detail() {
    return this.problem?.detail ?? this.message;
  }

  // Worth another try: there was no answer, the server is overfull or restarting, or something between us and it is.
  get passing() {
    return this.status === 0 || this.status >= 500 || [408, 425, 429].includes(this.status);
  }
}

/** A wire that broke, or what somebody ended it with. */
export function lost(cause) {
  return cause instanceof RivuletError ? cause : new RivuletError('The connection was lost', { cause });
}

/** @param {string | null} text a Retry-After header: seconds or a date @returns {number} ms from now */
export function retryAfterMs(text, now = Date.now()) {
  if (!text) return 0;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - now;
  return ms > 0 ? ms : 0;
}

/** The error that an answer stands for; reads its body. @param {Response} response */
export async function errorOf(response) {
  const text = await response.text().catch(() => '');
  let problem = null;
  try {
    problem = JSON.parse(text);
  } catch { /* a proxy's page, or nothing */ }
  if (problem === null || typeof problem !== 'object') problem = null;
  const message = problem?.detail || problem?.title || `The server answered ${response.status} ${response.statusText}`.trim();
  return new RivuletError(message, { status: response.status, problem, retryAfter: retryAfterMs(response.headers.get('Retry-After')) });
}
