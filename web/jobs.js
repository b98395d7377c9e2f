// The list of jobs: newest first, those that run move by themselves.

import * as api from './api.js';
import { COMPLETED, FAILED, SKIPPED, ended, known } from './fold.js';
import { $, make, say, show, tell } from './dom.js';
import { drawBar } from './bar.js';
import { isOver, watch } from './store.js';
import { ago, count, seconds, shortId, stateWords } from './words.js';

const WATCHED_MAX = 32;             // jobs of the list that move; the others stand still until the list is opened again
const LOOK_MS = 5000;               // how often to see whether somebody else has started a job
let watches = [], next = null, open = false, round = 0, looking = 0;

export async function enter() {
  open = true;
  leaveRows();
  clearInterval(looking);
  looking = setInterval(look, LOOK_MS);
  await load(firstPage(), true);
}

const firstPage = () => `/v1/jobs?limit=20${$('jobs-state').value ? `&state=${$('jobs-state').value}` : ''}`;

// The newest job is another one: the list is built anew, unless somebody has paged further or stands in it.
async function look() {
  const list = $('jobs'), mine = round;
  if (document.hidden || list.children.length > 20 || list.contains(document.activeElement)) return;
  const page = await api.jobs(firstPage().replace('limit=20', 'limit=1')).catch(() => null);
  if (!page || !open || mine !== round || page.jobs[0]?.id === list.querySelector('a')?.dataset.job) return;
  leaveRows();
  await load(firstPage(), true);
}

export function exit() {
  open = false;
  clearInterval(looking);
  leaveRows();
}

function leaveRows() {
  round++;
  watches.forEach((one) => one.leave());
  watches = [];
}

async function load(path, anew) {
  const mine = round;
  let page;
  try {
    page = await api.jobs(path);
  } catch (problem) {
    if (open && mine === round && problem.status !== 401) tell($('problem'), problem.message);
    return;
  }
  if (!open || mine !== round) return;
  next = page.next;
  const rows = page.jobs.map(rowOf);
  if (anew) $('jobs').replaceChildren(...rows);
  else $('jobs').append(...rows);
  show($('jobs-none'), !$('jobs').children.length);
  show($('jobs-more'), Boolean(next));
}

function rowOf(entry) {
  const parts = { sign: make('span', { 'aria-hidden': 'true' }), word: make('span'), bar: make('div', { class: 'bar thin', 'aria-hidden': 'true' }), figures: make('span', { class: 'number small' }) };
  const when = entry.created_at ? ago(Date.parse(entry.created_at), Date.now()) : '';
  const row = make('li', {}, make('a', { href: `/jobs/${entry.id}`, 'data-job': entry.id },
    make('span', { class: 'title' }, make('strong', {}, entry.pipeline ?? 'job'), make('span', { class: 'mono small' }, shortId(entry.id)),
         entry.retry_of ? make('span', { class: 'small' }, `retry of ${shortId(entry.retry_of)}`) : null),
    make('span', { class: 'status' }, parts.sign, parts.word), parts.bar, parts.figures, make('span', { class: 'small when' }, when)));
  const paint = ({ job }) => paintRow(row, parts, job);
  if (!isOver(entry.status) && watches.length < WATCHED_MAX) {
    const one = watch(entry.id, paint, entry);
    watches.push(one);
    paint(one.entry);
  } else {
    paintRow(row, parts, jobLike(entry));
  }
  return row;
}

function jobLike(entry) {
  const of = (name) => entry[`batches_${name}`] ?? 0;
  return { status: entry.status, total: entry.total_batches, end: { seconds: entry.seconds },
           counts: [of('pending'), of('processing'), of('completed'), of('failed'), of('skipped')] };
}

function paintRow(row, parts, job) {
  const [sign, word] = stateWords(job.status);
  row.dataset.status = job.status;
  say(parts.sign, sign);
  say(parts.word, ` ${word}`);
  drawBar(parts.bar, job);
  const words = [`${count(ended(job))} / ${count(job.total ?? known(job))}`];
  if (job.counts[FAILED]) words.push(`${count(job.counts[FAILED])} failed`);
  if (job.counts[SKIPPED]) words.push(`${count(job.counts[SKIPPED])} not started`);
  if (job.end?.seconds && job.counts[COMPLETED]) words.push(seconds(job.end.seconds));
  say(parts.figures, words.join(' · '));
}

export function listen() {
  $('jobs-state').addEventListener('change', enter);
  $('jobs-more').addEventListener('click', () => load(next, false));
}
