// The server's routes as functions. What it refuses comes as a Refused whose message is the server's own sentence.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;       // 0: it could not be reached
  }
}

const listeners = new Set();
// Told when the server wants a key.
export const onUnauthorized = (listener) => listeners.add(listener);

async function sentenceOf(response) {
  try {
    return (await response.json()).detail || `The server answered ${response.status}.`;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function ask(method, path, { body, headers } = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, headers, cache: 'no-store' });
  } catch {
    throw new Refused(0, 'The server could not be reached.');
  }
  if (response.ok) return response;
  const refused = new Refused(response.status, await sentenceOf(response));
  if (refused.status === 401 && path !== '/v1/session') listeners.forEach((listener) => listener(refused));
  throw refused;
}

const json = async (response) => (await response).json();
const asJson = (value) => ({ body: JSON.stringify(value), headers: { 'Content-Type': 'application/json' } });

// The job that an answer is about: said by its Location, or by its body.
async function jobOf(response) {
  const place = /\/v1\/jobs\/([^/?]+)/.exec(response.headers.get('Location') || '');
  return place ? place[1] : (await response.json()).id;
}

export const pipelines = () => json(ask('GET', '/v1/pipelines'));
export const document = (id) => json(ask('GET', `/v1/jobs/${id}`));
export const result = (url) => json(ask('GET', url));

// {jobs, next}: `next` is the path of the page behind this one, or null.
export async function jobs(path = '/v1/jobs?limit=20') {
  const response = await ask('GET', path);
  const link = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('Link') || '');
  return { jobs: (await response.json()).jobs, next: link ? link[1] : null };
}

const query = (pipeline) => `pipeline=${encodeURIComponent(pipeline)}`;

export async function openJob(pipeline) {
  return jobOf(await ask('POST', `/v1/jobs?${query(pipeline)}&open=1`));
}

export async function addFiles(id, files) {
  const form = new FormData();
  for (const file of files) form.append('files', file, file.name);
  await ask('POST', `/v1/jobs/${id}/items`, { body: form });
}

export const seal = (id) => ask('POST', `/v1/jobs/${id}/seal`);

// A whole job at once: JSON Lines, as text or as a file.
export async function submitLines(pipeline, lines) {
  return jobOf(await ask('POST', `/v1/jobs?${query(pipeline)}`, { body: lines, headers: { 'Content-Type': 'application/x-ndjson' } }));
}

export const cancel = (id) => ask('POST', `/v1/jobs/${id}/cancel`);

// A new job of what failed: all of it, or these items.
export async function retry(id, items = null) {
  return jobOf(await ask('POST', `/v1/jobs/${id}/retry`, items ? asJson({ items }) : {}));
}

// The key goes once; from then on a cookie that no script can read stands for it.
export const signIn = (key) => ask('POST', '/v1/session', { headers: { Authorization: `Bearer ${key}` } });
export const signOut = () => ask('DELETE', '/v1/session');
// Is there a key behind what this page asks?
export const signedIn = async () => {
  try {
    return Boolean((await json(ask('GET', '/v1/session'))).keys);
  } catch {
    return false;
  }
};
