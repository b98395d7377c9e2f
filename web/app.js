// The page: files go up in one form, frames come down and are folded into what is shown. What is known of a job is only what its frames
// said, so that a broken wire is mended by asking for the frames behind the last id, and a reloaded page by asking for all of them.
'use strict';

const SECTIONS = [['legend', 'Legend'], ['main_deck', 'Main deck'], ['battlefields', 'Battlefields'], ['runes', 'Runes'], ['side_deck', 'Side deck']];
const SILENCE_MS = 45000;          // the server gives a sign of life every 15 s
const AGAIN_MS = [500, 1000, 2000, 4000, 8000];

const $ = (id) => document.getElementById(id);
const limits = { files: 10, megabytes: 10, parallel: false };
let job = null;                    // what is shown: see begin()

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

// ---- decklists ----

const counted = (cards) => cards.reduce((sum, card) => sum + (card.quantity || 0), 0);

function cardLine(card) {
  const line = make('li');
  const names = make('span');
  line.append(make('span', 'quantity', `${card.quantity ?? '?'}×`), names);
  names.append(make('span', 'cn', card.name_cn || card.name_en || '?'));
  if (card.name_cn && card.name_en) names.append(make('span', 'en', card.name_en));
  return line;
}

function sectionOf(title, cards, className) {
  const section = make('section', className);
  const head = make('h4');
  head.append(make('span', '', title), make('span', 'number', String(counted(cards))));
  const list = make('ul');
  list.append(...cards.map(cardLine));
  section.append(head, list);
  return section;
}

function headOf(deck, filename) {
  const about = deck.metadata || {}, stats = deck.stats || {};
  const head = make('header');
  const known = `${stats.matched_cards ?? 0} / ${stats.total_cards ?? 0} cards`;
  const all = stats.total_cards > 0 && stats.matched_cards === stats.total_cards;
  head.append(make('h3', '', about.deck_name || about.legend_name || filename), make('span', all ? 'badge' : 'badge partial', known));
  const legend = [about.legend_name, about.legend_name_en].filter(Boolean).join(' · ');
  if (legend) head.append(make('p', 'legend', legend));
  const place = about.placement ? `#${about.placement}` : '';
  const facts = [about.player, about.event, about.date, place].filter(Boolean).join(' · ');
  if (facts) head.append(make('p', 'facts', facts));
  return head;
}

function footOf(index, filename) {
  const foot = make('footer', 'small');
  const file = job.files[index];
  if (!file) {
    foot.textContent = filename;
    return foot;
  }
  const details = make('details');
  details.append(make('summary', '', filename));
  details.addEventListener('toggle', () => {
    if (!details.open || details.querySelector('img')) return;
    const image = make('img');
    image.alt = `The screenshot ${filename}`;
    image.src = URL.createObjectURL(file);
    image.addEventListener('load', () => URL.revokeObjectURL(image.src), { once: true });
    details.append(image);
  });
  foot.append(details);
  return foot;
}

function showDeck(index, filename, deck) {
  const node = make('article', 'deck');
  node.dataset.index = index;
  node.append(headOf(deck, filename));
  for (const [key, title] of SECTIONS)
    if (Array.isArray(deck[key]) && deck[key].length) node.append(sectionOf(title, deck[key]));
  if (Array.isArray(deck.unmatched) && deck.unmatched.length) node.append(sectionOf('Not in the catalogue', deck.unmatched, 'unknown'));
  node.append(footOf(index, filename));
  const later = [...$('decks').children].find((other) => Number(other.dataset.index) > index);
  $('decks').insertBefore(node, later || null);
}

// ---- the fold: one frame after another ----

function forget() {
  job.ended = new Map();
  job.running = new Map();
  job.total = job.total || 0;
  job.summary = null;
  $('decks').replaceChildren();
  $('failed').replaceChildren();
  $('failures').hidden = true;
}

function itemEnds(index, entry) {
  if (job.ended.has(index)) return false;
  job.ended.set(index, entry);
  job.running.delete(index);
  return true;
}

const folds = {
  progress(data) {
    job.total = data.total;
    if (!job.ended.has(data.current - 1)) job.running.set(data.current - 1, data.filename);
  },
  result(data) {
    if (itemEnds(data.index, data)) showDeck(data.index, data.filename, data.decklist || {});
  },
  error(data) {
    if (!itemEnds(data.index, data)) return;
    const line = make('li');
    line.append(make('b', '', data.filename), `: ${data.error}`);
    $('failed').append(line);
    $('failures').hidden = false;
  },
  complete(data) {
    job.summary = data;
    job.total = data.total;
  },
  gap: forget,
};

function summaryText({ successful, failed, average_accuracy: accuracy, processing_time_seconds: seconds }) {
  const words = [`${successful} read`];
  if (failed) words.push(`${failed} not`);
  if (accuracy !== null && accuracy !== undefined) words.push(`${accuracy} % of the cards known`);
  words.push(`${Number(seconds).toFixed(1)} s`);
  return words.join(' · ');
}

function show() {
  const done = job.ended.size, over = Boolean(job.summary);
  $('run').hidden = false;
  $('run').classList.toggle('over', over);
  $('bar').classList.toggle('waiting', !job.total);
  $('fill').style.width = job.total ? `${(100 * done) / job.total}%` : '';
  $('bar').setAttribute('aria-valuemax', job.total || 1);
  $('bar').setAttribute('aria-valuenow', done);
  $('count').textContent = job.total ? `${done} / ${job.total}` : '';
  $('state').textContent = over ? 'Done' : job.state;
  $('now').textContent = over ? summaryText(job.summary) : [...job.running.values()].join(', ');
  $('actions').hidden = !over;
  document.title = over || !job.total ? 'Rivulet' : `${done}/${job.total} – Rivulet`;
}

function take(block) {
  const frame = {};
  for (const line of block.split('\n')) {
    const colon = line.indexOf(': ');
    if (colon > 0) frame[line.slice(0, colon)] = line.slice(colon + 2);
  }
  if (frame.id) job.last = frame.id;
  if (folds[frame.event]) folds[frame.event](JSON.parse(frame.data));
}

// ---- the wire ----

async function drink(response, control) {
  const reader = response.body.getReader();
  const text = new TextDecoder();
  let rest = '';
  for (;;) {
    const watchdog = setTimeout(() => control.abort(), SILENCE_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(watchdog));
    if (done) return;
    const blocks = (rest + text.decode(value, { stream: true })).split('\n\n');
    rest = blocks.pop();
    blocks.forEach(take);
    if (blocks.length) show();
  }
}

async function sentenceOf(response) {
  try {
    return (await response.json()).detail || response.statusText;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

class Refused extends Error {}

async function open(path, options) {
  const control = new AbortController();
  const response = await fetch(path, { ...options, signal: control.signal });
  if (response.status === 204) return;
  if (response.status >= 500 && job.id) throw new Error('later');
  if (!response.ok) throw new Refused(await sentenceOf(response));
  job.id = response.headers.get('X-Job-Id') || job.id;
  if (job.id) history.replaceState(null, '', `#job=${job.id}`);
  job.state = 'Reading';
  job.tries = 0;
  show();
  await drink(response, control);
}

// From here the job is known: come back until its last frame was seen.
async function follow() {
  while (!job.summary) {
    try {
      await open(`/v1/jobs/${job.id}/events?face=seed`, { headers: job.last ? { 'Last-Event-ID': job.last } : {} });
      if (job.summary) return;
    } catch (problem) {
      if (problem instanceof Refused) throw problem;
    }
    job.state = 'The connection was lost; resuming';
    show();
    await new Promise((wake) => setTimeout(wake, AGAIN_MS[Math.min(job.tries++, AGAIN_MS.length - 1)]));
  }
}

async function send(files) {
  const form = new FormData();
  for (const file of files) form.append('files', file);
  try {
    await open(limits.parallel ? '/process-batch-fast' : '/process-batch-stream', { method: 'POST', body: form });
  } catch (problem) {
    if (!job.id) throw problem instanceof Refused ? problem : new Refused('The server could not be reached.');
  }
  if (!job.summary) await follow();
}

// ---- from pick to end ----

function busy(on) {
  $('files').disabled = on;
  $('drop').classList.toggle('busy', on);
}

async function begin(files, id) {
  if ($('files').disabled) return;
  job = { id: id || null, files, last: null, tries: 0, total: files.length, state: id ? 'Resuming' : 'Uploading' };
  busy(true);
  forget();
  $('problem').hidden = true;
  show();
  try {
    await (id ? follow() : send(files));
  } catch (problem) {
    $('run').hidden = job.ended.size === 0;
    $('problem').textContent = problem.message;
    $('problem').hidden = false;
    if (!job.ended.size) history.replaceState(null, '', location.pathname);
  }
  busy(false);
  $('files').value = '';
}

function save() {
  const items = [...job.ended.entries()].sort(([a], [b]) => a - b).map(([, entry]) => entry);
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([JSON.stringify({ job: job.id, summary: job.summary, items }, null, 1)], { type: 'application/json' }));
  link.download = 'decklists.json';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function again() {
  history.replaceState(null, '', location.pathname);
  job = null;
  $('run').hidden = $('failures').hidden = true;
  $('decks').replaceChildren();
  document.title = 'Rivulet';
  $('files').focus();
}

async function learnLimits() {
  try {
    const stats = await (await fetch('/stats')).json();
    limits.files = stats.max_batch_size ?? limits.files;
    limits.megabytes = stats.parser?.max_file_size_mb ?? limits.megabytes;
    limits.parallel = Boolean(stats.workers?.enable_parallel);
  } catch { /* the defaults stand */ }
  $('limits').textContent = `Up to ${limits.files} at a time, ${limits.megabytes} MB each; JPG, PNG or WebP`;
}

function listen() {
  $('files').addEventListener('change', () => { if ($('files').files.length) begin([...$('files').files]); });
  $('save').addEventListener('click', save);
  $('again').addEventListener('click', again);
  addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
  addEventListener('dragleave', (event) => { if (!event.relatedTarget) $('drop').classList.remove('over'); });
  addEventListener('drop', (event) => {
    event.preventDefault();
    $('drop').classList.remove('over');
    const files = [...event.dataTransfer.files];
    if (files.length) begin(files);
  });
  addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) begin(files);
  });
}

listen();
learnLimits();
const known = /^#job=([0-9a-f]{32})$/.exec(location.hash);
if (known) begin([], known[1]);
