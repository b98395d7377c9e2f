// The timeline of a job: one row an item, queued, running, waiting, tried again, done or failed, over the time of the whole job. Only the
// rows that are in sight are drawn, so that a hundred thousand items scroll like ten. What the colours say, the shapes say too: a failed
// item ends in a cross, a retry is hatched, what waits is a thin line; and there is a table.

import { isSkipped, known, stretches } from './fold.js';
import { $, announce, make, say, show } from './dom.js';
import { count, plural, seconds } from './words.js';

const ROW = 20, HEAD = 22, TABLE_ROWS = 200;
const LABELS_FROM = 520;            // pixels of width from which the names stand beside the rows
const LABEL = 150;
const KINDS = [['queued', 'queued'], ['processing', 'running'], ['waiting', 'waiting for a service'], ['retrying', 'before a retry'],
               ['done', 'done'], ['failed', 'failed']];
const STEPS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];

let job = null, now = 0, picked = -1, follows = true, asked = 0, colours = null;

export function begin() {
  job = null;
  picked = -1;
  follows = true;
  $('chart').scrollTop = 0;
  $('legend').replaceChildren();
  say($('chart-line'), '');
  $('chart-table').open = false;
  show($('timeline'), false);
}

export function paint(of, at) {
  job = of;
  now = at;
  show($('timeline'), rows() > 0 && job.began !== null);
  $('spacer').style.height = `${HEAD + rows() * ROW}px`;
  if (follows && !job.end) followFrontier();
  legend();
  draw();
  if (!$('timeline').hidden) describe();
  if ($('chart-table').open) table();
}

const rows = () => Math.max(job.total ?? known(job), job.most);
const nameOf = (index) => job.items.get(index)?.name || `Item ${index + 1}`;
const endOfTime = () => Math.max(job.end ? job.at : Math.max(now, job.at), job.began + 1);

// While nobody scrolled by hand the rows that run stay in sight.
function followFrontier() {
  const chart = $('chart'), bottom = HEAD + (job.front + 2) * ROW;
  if (bottom > chart.scrollTop + chart.clientHeight) chart.scrollTop = bottom - chart.clientHeight;
}

function stateOf(index) {
  const item = job.items.get(index);
  if (item?.state === 'done' || item?.state === 'failed') return item.state;
  if (isSkipped(job, index)) return 'not started';
  return { pending: 'queued', processing: 'running', waiting: 'waiting', retrying: 'before a retry' }[item?.state ?? 'pending'];
}

// Seconds queued and seconds since the first start, retries and all.
function times(index) {
  const list = stretches(job, job.items.get(index), endOfTime());
  const sum = (want) => list.reduce((all, [kind, from, to]) => all + ((kind === 'queued') === want ? to - from : 0), 0) / 1000;
  return { queued: sum(true), ran: sum(false) };
}

function sentence(index) {
  const { queued, ran } = times(index), item = job.items.get(index);
  const words = [nameOf(index), stateOf(index), `queued ${seconds(queued)}`];
  if (item?.steps.length) words.push(`ran ${seconds(ran)}`);
  if (item?.attempt > 1) words.push(plural(item.attempt, 'attempt'));
  return words.join(', ');
}

// ---- drawing ----

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  colours = { ink: of('ink'), soft: of('soft'), line: of('line'), queued: of('idle'), processing: of('accent'), waiting: of('accent-pale'),
              retrying: of('warn'), done: of('good'), failed: of('bad'), wash: of('wash'), card: of('card') };
}

export function themeChanged() {
  colours = null;
  if (job) draw();
}

function draw() {
  if (asked) return;
  asked = requestAnimationFrame(() => {
    asked = 0;
    if (job && !$('timeline').hidden) drawNow();
  });
}

function drawNow() {
  if (!colours) readColours();
  const chart = $('chart'), canvas = $('canvas'), scale = devicePixelRatio || 1;
  const width = chart.clientWidth, height = chart.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.style.marginBottom = `${-height}px`;      // it lies over the rows' room and takes none itself
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  pen.textBaseline = 'middle';
  const from = width >= LABELS_FROM ? LABEL : 8, end = endOfTime();
  const place = (at) => from + ((at - job.began) / (end - job.began)) * (width - from - 14);
  axis(pen, place, end, width, height);
  const first = Math.max(0, Math.floor((chart.scrollTop) / ROW)), last = Math.min(rows() - 1, Math.ceil((chart.scrollTop + height) / ROW));
  pen.save();
  pen.beginPath();
  pen.rect(0, HEAD, width, height - HEAD);
  pen.clip();
  for (let index = first; index <= last; index++) row(pen, index, HEAD + index * ROW - chart.scrollTop, from, width, place, end);
  pen.restore();
}

function tick(at, step) {
  if (!at) return '0';
  if (step < 0.1) return `${Math.round(at * 1000)} ms`;
  if (step < 1) return `${at.toFixed(1)} s`;
  return seconds(at).replace('.0 s', ' s');
}

function axis(pen, place, end, width, height) {
  const span = (end - job.began) / 1000;
  const step = STEPS_S.find((one) => span / one <= Math.max(2, width / 130)) ?? 7 * 86400;
  pen.textAlign = 'left';
  for (let at = 0; at <= span; at += step) {
    const x = Math.round(place(job.began + at * 1000)) + 0.5;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(x, HEAD - 4);
    pen.lineTo(x, height);
    pen.stroke();
    pen.fillStyle = colours.soft;
    if (x < width - 50) pen.fillText(tick(at, step), x + 4, 10);
  }
}

function row(pen, index, top, from, width, place, end) {
  const middle = top + ROW / 2, item = job.items.get(index);
  if (index === picked) {
    pen.fillStyle = colours.wash;
    pen.fillRect(0, top, width, ROW);
  }
  if (from === LABEL) label(pen, nameOf(index), middle);
  for (const [kind, start, stop] of stretches(job, item, end)) stretch(pen, kind, place(start), Math.max(place(stop), place(start) + 2), middle);
  const ending = item?.steps[item.steps.length - 1];
  if (ending && (item.state === 'done' || item.state === 'failed')) mark(pen, item.state, place(ending[1]), middle);
}

function label(pen, text, middle) {
  pen.fillStyle = colours.ink;
  pen.textAlign = 'left';
  let shown = text.slice(0, 40);
  while (shown.length > 1 && pen.measureText(shown).width > LABEL - 22) shown = `${shown.slice(0, -2)}…`;
  pen.fillText(shown, 8, middle);
}

function stretch(pen, kind, from, to, middle) {
  if (kind === 'queued') {
    pen.fillStyle = colours.queued;
    pen.fillRect(from, middle - 1, to - from, 2);
    return;
  }
  pen.fillStyle = colours[kind] ?? colours.processing;
  if (kind === 'processing') pen.fillRect(from, middle - 5, to - from, 10);
  else if (kind === 'waiting') pen.fillRect(from, middle - 3, to - from, 6);
  else for (let x = from; x < to; x += 5) pen.fillRect(x, middle - 3, Math.min(2, to - x), 6);
}

function mark(pen, state, x, middle) {
  pen.strokeStyle = pen.fillStyle = colours[state];
  pen.lineWidth = 2;
  pen.beginPath();
  if (state === 'done') {
    pen.moveTo(x, middle - 6);
    pen.lineTo(x, middle + 6);
  } else {
    pen.moveTo(x - 4, middle - 4);
    pen.lineTo(x + 4, middle + 4);
    pen.moveTo(x + 4, middle - 4);
    pen.lineTo(x - 4, middle + 4);
  }
  pen.stroke();
  pen.lineWidth = 1;
}

// ---- words ----

// The chart in words. They change with the job and wait for no frame: those who listen may have the tab behind another.
function describe() {
  const words = `${plural(rows(), 'item')} over ${seconds((endOfTime() - job.began) / 1000)}: ${count(job.done.length)} done, ${count(job.failed.length)} failed. ` +
                'The arrow keys read single rows; the table below has them all.';
  if ($('canvas').getAttribute('aria-label') !== words) $('canvas').setAttribute('aria-label', words);
}

function table() {
  const body = $('chart-table').querySelector('tbody'), most = Math.min(rows(), TABLE_ROWS);
  const lines = [];
  for (let index = 0; index < most; index++) {
    const { queued, ran } = times(index), item = job.items.get(index);
    lines.push(make('tr', {}, make('th', { scope: 'row' }, nameOf(index)), make('td', {}, stateOf(index)), make('td', {}, seconds(queued)),
                    make('td', {}, item?.steps.length ? seconds(ran) : ''), make('td', {}, String(item?.attempt ?? 0))));
  }
  if (rows() > most) lines.push(make('tr', {}, make('td', { colspan: '5' }, `and ${count(rows() - most)} more`)));
  body.replaceChildren(...lines);
}

function pick(index, aloud) {
  if (!job || index < 0 || index >= rows() || index === picked) return;
  picked = index;
  say($('chart-line'), sentence(index));
  if (aloud) announce(sentence(index));
  draw();
}

function keyed(event) {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
  if (by === undefined || !job) return;
  event.preventDefault();
  follows = false;
  const chart = $('chart');
  pick(Math.max(0, Math.min(rows() - 1, picked + by)), true);
  const top = HEAD + picked * ROW;
  if (top - HEAD < chart.scrollTop) chart.scrollTop = top - HEAD;
  else if (top + ROW > chart.scrollTop + chart.clientHeight) chart.scrollTop = top + ROW - chart.clientHeight;
}

// Only what the chart has.
function legend() {
  const seen = KINDS.filter(([kind]) => kind === 'queued' || job.kinds[kind]);
  if ($('legend').children.length !== seen.length)
    $('legend').replaceChildren(...seen.map(([kind, word]) => make('span', {}, make('i', { class: `key ${kind}` }), word)));
}

export function listen() {
  const chart = $('chart');
  chart.addEventListener('scroll', draw, { passive: true });
  chart.addEventListener('wheel', () => { follows = false; }, { passive: true });
  chart.addEventListener('keydown', keyed);
  chart.addEventListener('pointermove', (event) => {
    const y = event.clientY - chart.getBoundingClientRect().top - HEAD + chart.scrollTop;
    if (event.clientY - chart.getBoundingClientRect().top > HEAD) pick(Math.floor(y / ROW), false);
  });
  chart.addEventListener('pointerdown', () => { follows = false; });
  $('chart-table').addEventListener('toggle', () => { if (job && $('chart-table').open) table(); });
  new ResizeObserver(draw).observe(chart);
}
