// One job in full: where it stands, what failed, its timeline, its results. It is painted from the fold alone, so a page that is loaded
// again, or opened by its link, shows the same.

import * as api from './api.js';
import { drawBar } from './bar.js';
import * as cards from './cards.js';
import { COMPLETED, FAILED, PROCESSING, SKIPPED, ended, known, pace } from './fold.js';
import { $, announce, make, say, sayAll, show, tell, theirs } from './dom.js';
import { serverNow, watch, wire } from './store.js';
import * as timeline from './timeline.js';
import { uploadOf } from './uploads.js';
import { ago, count, left, number, plural, rate, seconds, shortId, stateWords } from './words.js';

const STALL_MS = 60000;
const FAILED_FIRST = 6, FAILED_STEP = 100;
const SLOW_PAINT_MS = 250;          // of a large job that moves fast

let id = null, document_ = null, one = null, ticker = 0, asked = null, painted = 0, failedMost = FAILED_FIRST, told = {}, retries = new Map();

export async function enter(job) {
  exit();
  id = job;
  document_ = null;
  failedMost = FAILED_FIRST;
  told = { tenth: 0, status: null };
  retries = new Map();
  for (const node of ['job-problem', 'stall']) tell($(node), '');
  $('failed').replaceChildren();
  cards.begin((index) => uploadOf(id)?.taken[index] ?? null);
  timeline.begin();
  say($('job-title'), 'Job');
  say($('about'), id);
  $('download').href = `/v1/jobs/${id}/results`;
  $('download').setAttribute('download', `${shortId(id)}.jsonl`);
  one = watch(id, soon);
  ticker = setInterval(soon, 1000);
  paint();
  try {
    const answer = await api.document(job);
    if (id !== job) return;
    document_ = answer;
    say($('job-title'), answer.pipeline ?? 'Job');
    about();
  } catch (problem) {
    if (id === job && problem.status === 404) missing();
    else if (id === job && problem.status !== 401) tell($('job-problem'), problem.message);
  }
  soon();
}

export function exit() {
  one?.leave();
  one = id = null;
  clearInterval(ticker);
}

export const current = () => id;

function missing() {
  say($('job-title'), 'No such job');
  tell($('job-problem'), 'The server does not know this job, or not any more.');
  for (const node of ['cancel', 'retry-all', 'download', 'seal']) show($(node), false);
  for (const node of ['status', 'count', 'pace', 'now']) say($(node), '');
}

function about() {
  const words = [make('span', { class: 'mono' }, id)];
  if (document_.created_at) words.push(`started ${ago(Date.parse(document_.created_at), Date.now())}`);
  const line = make('span', {});
  words.forEach((word, at) => line.append(at ? ' · ' : '', word));
  if (document_.retry_of) line.append(' · retry of ', make('a', { href: `/jobs/${document_.retry_of}`, class: 'mono' }, shortId(document_.retry_of)));
  $('about').replaceChildren(line);
}

// ---- painting ----

export function soon() {
  if (asked || !id) return;
  const wait = one.entry.job.items.size > 2000 ? Math.max(0, painted + SLOW_PAINT_MS - performance.now()) : 0;
  const paintNow = () => { asked = null; if (id) paint(); };
  if (document.hidden || wait) {
    const timer = setTimeout(paintNow, document.hidden ? 500 : wait);
    asked = () => clearTimeout(timer);
  } else {
    const frame = requestAnimationFrame(paintNow);
    asked = () => cancelAnimationFrame(frame);
  }
}

// A tab that is put behind another gets no frame any more, one that comes to the front should not wait for a timer.
function seenOrNot() {
  asked?.();
  asked = null;
  soon();
}

function paint() {
  painted = performance.now();
  const { job, missing: gone } = one.entry;
  if (gone) {
    missing();
    return;
  }
  head(job);
  actions(job);
  failures(job);
  timeline.paint(job, serverNow());
  cards.paint(job);
  summary(job);
  speak(job);
}

// Before its first event nothing is known of a job.
const openStill = (job) => job.seq > 0 && job.total === null && !job.end;

function head(job) {
  const total = job.total ?? known(job), done = ended(job);
  const [sign, word] = stateWords(openStill(job) && job.status === 'pending' ? 'open' : job.status);
  say($('status'), `${sign} ${word}`);
  $('status').dataset.status = job.status;
  drawBar($('bar'), job);
  $('bar').setAttribute('aria-valuemax', Math.max(total, 1));
  $('bar').setAttribute('aria-valuenow', done);
  $('bar').setAttribute('aria-valuetext', `${done} of ${total} ended, ${job.counts[FAILED]} failed`);
  const words = [`${count(done)} / ${count(total)}`];
  if (job.counts[FAILED]) words.push(`${count(job.counts[FAILED])} failed`);
  if (job.counts[SKIPPED]) words.push(`${count(job.counts[SKIPPED])} not started`);
  say($('count'), words.join(' · '));
  paceLine(job);
  nowLine(job);
  sendingLine(job);
  stall(job);
  document.title = job.end || !total ? `${$('job-title').textContent} – Rivulet` : `${done}/${total} – Rivulet`;
}

function paceLine(job) {
  const known_ = pace(job, serverNow());
  const words = [];
  if (job.end) words.push(`in ${seconds(job.end.seconds)}`);
  else if (wire.state === 'lost') words.push('');
  else if (known_) words.push(rate(known_.rate), known_.left === null ? '' : left(known_.left));
  else if (job.began !== null) words.push(`for ${seconds(Math.max(0, serverNow() - job.began) / 1000)}`);
  say($('pace'), words.filter(Boolean).join(' · '));
}

function nowLine(job) {
  show($('now'), !job.end);
  if (job.end) {
    say($('now'), '');
    return;
  }
  const names = [];
  for (const index of job.active) {
    if (names.length === 4) break;
    const item = job.items.get(index);
    const percent = item.percent === undefined ? '' : ` ${item.percent} %`;
    names.push([theirs(item.name || `item ${item.index + 1}`), item.state === 'retrying' ? ' (to be tried again)' : percent]);
  }
  const more = job.counts[PROCESSING] - names.length;
  sayAll($('now'), names.length ? [...names.flatMap((name, at) => [at ? ', ' : 'Now: ', ...name]), more > 0 ? ` and ${count(more)} more` : ''] : []);
}

function sendingLine(job) {
  const upload = uploadOf(id);
  let text = '';
  if (upload && !upload.over && !job.end) text = `Sending: ${count(upload.sent)} of ${plural(upload.files.length, 'file')}${upload.waiting ? '; the server does not answer, trying again' : ''}`;
  else if (upload?.problem && !job.end) text = `Not everything was sent: ${upload.problem}`;
  else if (!upload && openStill(job) && job.status !== 'cancelling') text = 'This job still takes items.';
  if (upload?.refused.length) text = [text, ...upload.refused.map(({ name, why }) => `${name} was not taken: ${why}`)].filter(Boolean).join('\n');
  tell($('sending'), text);
}

// A minute without an event while the connection is there: said, and taken back when it is over. That it is not there is said above.
function stall(job) {
  const silent = performance.now() - one.entry.heard;
  const stalls = !job.end && wire.state === 'live' && job.counts[PROCESSING] > 0 && silent >= STALL_MS;
  tell($('stall'), stalls ? `No news for ${seconds(Math.floor(silent / 10000) * 10)}. The connection is there; what runs may just take long.` : '');
}

function actions(job) {
  const upload = uploadOf(id);
  show($('cancel'), !job.end);
  $('cancel').disabled = job.status === 'cancelling';
  show($('seal'), openStill(job) && job.status !== 'cancelling' && (!upload || (upload.over && Boolean(upload.problem))));
  show($('retry-all'), Boolean(job.end) && job.failed.length > 0);
  show($('download'), job.done.length > 0);
}

// ---- what failed ----

function failures(job) {
  show($('failures'), job.failed.length > 0);
  say($('failures-title'), `Failed ${count(job.failed.length)}`);
  const list = $('failed'), wanted = Math.min(job.failed.length, failedMost);
  if (list.children.length > wanted || list.dataset.gaps !== String(job.gaps)) list.replaceChildren();     // behind a gap others may have failed
  list.dataset.gaps = job.gaps;
  for (let at = list.children.length; at < wanted; at++) list.append(failedLine(job, job.items.get(job.failed[at])));
  list.classList.toggle('ended', Boolean(job.end));
  for (const button of list.querySelectorAll('button:disabled')) if (job.end) button.disabled = false;
  const hidden = job.failed.length - wanted;
  show($('failed-more'), hidden > 0);
  say($('failed-more'), `Show ${count(Math.min(hidden, FAILED_STEP))} more of ${count(hidden)}`);
}

function failedLine(job, item) {
  const name = item.name || `Item ${item.index + 1}`;
  const button = make('button', { type: 'button', class: 'plain', 'aria-label': `Retry ${name}`, title: 'A retry is a new job; it can begin when this one has ended',
                                  onclick: () => retry([item.index], button) }, 'Retry');
  button.disabled = !job.end;
  const why = make('p', {}, make('span', { class: 'failed-word' }, 'Failed: '), make('b', {}, theirs(name)), ' - ', theirs(item.error));
  const more = [item.stage && `in ${item.stage}`, item.attempt > 1 && plural(item.attempt, 'attempt')].filter(Boolean).join(', ');
  if (more) why.append(make('span', { class: 'small' }, ` (${more})`));
  const line = make('li', {}, why, button);
  line.dataset.index = item.index;
  return line;
}

async function retry(items, button) {
  button.disabled = true;
  try {
    const other = await api.retry(id, items);
    const link = make('a', { href: `/jobs/${other}`, class: 'retried' }, items ? 'Retried: see the new job' : 'All retried: see the new job');
    if (items) button.replaceWith(link);
    else {
      retries.get('all')?.remove();
      retries.set('all', link);
      button.after(link);
      button.disabled = false;
    }
    link.focus();
    announce('Retried as a new job');
  } catch (problem) {
    button.disabled = false;
    tell($('job-problem'), problem.message);
  }
}

// ---- the end ----

function summary(job) {
  const list = $('summary');
  show(list, Boolean(job.end));
  if (!job.end || list.dataset.of === `${id} ${job.seq}`) return;
  list.dataset.of = `${id} ${job.seq}`;
  const pair = (name, value) => make('div', {}, make('dt', {}, name), make('dd', { class: 'number' }, value));
  const pairs = [pair('Completed', count(job.counts[COMPLETED])), pair('Failed', count(job.counts[FAILED]))];
  if (job.counts[SKIPPED]) pairs.push(pair('Not started', count(job.counts[SKIPPED])));
  pairs.push(pair('Time', seconds(job.end.seconds)));
  for (const [name, stat] of Object.entries(job.end.summary ?? {})) {
    if (!Number.isFinite(stat?.mean)) continue;
    const time = name.endsWith('_ms');
    const value = time ? seconds(stat.mean / 1000) : number(stat.mean) + (name === 'accuracy' ? ' %' : '');
    pairs.push(pair(`Average ${(time ? name.slice(0, -3) : name).replaceAll('_', ' ')}`, value));
  }
  list.replaceChildren(...pairs);
  if (job.end.error) tell($('job-problem'), typeof job.end.error === 'string' ? job.end.error : job.end.error.message ?? JSON.stringify(job.end.error));
}

// For those who listen: each tenth, and the end.
function speak(job) {
  const total = job.total ?? 0, done = ended(job);
  if (job.end) {
    if (told.status !== 'over' && told.status !== null) announce(`${stateWords(job.status)[1]}: ${job.counts[COMPLETED]} completed, ${job.counts[FAILED]} failed`);
    told.status = 'over';
    return;
  }
  if (job.began === null) return;
  const tenth = total ? Math.floor((10 * done) / total) : 0;
  if (told.status === null) announce(total ? `${plural(total, 'item')}` : 'Started');
  else if (tenth > told.tenth) announce(`${done} of ${total} ended${job.counts[FAILED] ? `, ${job.counts[FAILED]} failed` : ''}`);
  told.status = 'going';
  told.tenth = tenth;
}

// ---- control ----

async function act(button, work) {
  button.disabled = true;
  tell($('job-problem'), '');
  try {
    await work();
  } catch (problem) {
    tell($('job-problem'), problem.message);
  }
  button.disabled = false;
  soon();
}

function askCancel() {
  const sure = $('sure');
  sure.returnValue = 'no';
  sure.showModal();
}

export const press = (button) => { if (id && !$(button).hidden && !$(button).disabled) $(button).click(); };

export function listen() {
  $('cancel').addEventListener('click', askCancel);
  $('sure').addEventListener('close', () => { if ($('sure').returnValue === 'yes' && id) act($('cancel'), () => api.cancel(id)); });
  $('seal').addEventListener('click', () => act($('seal'), () => api.seal(id)));
  $('retry-all').addEventListener('click', () => retry(null, $('retry-all')));
  $('failed-more').addEventListener('click', () => { failedMost += FAILED_STEP; soon(); });
  document.addEventListener('visibilitychange', seenOrNot);
  cards.listen();
  timeline.listen();
}
