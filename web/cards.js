// The results of a job as cards: the newest first, at most so many in the document, more when asked for. A card is built once and stays
// as it is, so that what somebody reads or has selected never moves under them more than a line above it pushes it down.

import * as api from './api.js';
import { deckParts, deckText, deckTitle, isDeck } from './deck.js';
import { $, copy, make, say, show } from './dom.js';
import { bytes, count } from './words.js';

const CARDS_STEP = 200;
const FADED_MAX = 6;
const SHOWN_JSON = 20000;           // characters of one result before "show all"
const FETCHED_BYTES = 512 * 1024;   // larger ones come when asked for

let shown = new Map();              // index → {node, item}
let most = CARDS_STEP, current = null, fileOf = () => null;

export function begin(files) {
  shown = new Map();
  most = CARDS_STEP;
  current = null;
  fileOf = files;
  $('cards').replaceChildren();
  show($('results'), false);
}

export function paint(job) {
  current = job;
  show($('results'), job.done.length > 0);
  const wanted = $('order').value === 'input' ? [...job.done].sort((a, b) => a - b).slice(0, most) : job.done.slice(-most).reverse();
  const keep = new Set(wanted);
  for (const [index, { node, item }] of shown)
    if (!keep.has(index) || job.items.get(index) !== item) {
      node.remove();
      shown.delete(index);
    }
  // Many at once come without a fade: a flood should not flicker.
  const still = wanted.length - shown.size > FADED_MAX;
  let at = $('cards').firstChild;
  for (const index of wanted) {
    const have = shown.get(index);
    if (have && have.node === at) {
      at = at.nextSibling;
      continue;
    }
    const node = have?.node ?? cardOf(job, job.items.get(index));
    if (!have && still) node.classList.add('still');
    $('cards').insertBefore(node, at);
  }
  say($('results-title'), `Results ${count(job.done.length)}`);
  const hidden = job.done.length - wanted.length;
  show($('cards-more'), hidden > 0);
  say($('cards-more'), `Show ${count(Math.min(hidden, CARDS_STEP))} more of ${count(hidden)}`);
}

function cardOf(job, item) {
  const name = item.name || `Item ${item.index + 1}`;
  const node = make('article', { class: 'card', tabindex: '-1', 'aria-labelledby': `card-${item.index}` });
  node.dataset.index = item.index;
  shown.set(item.index, { node, item });
  if (item.result !== undefined) fill(node, item, name, item.result);
  else waitFor(node, item, name);
  return node;
}

function titleOf(item, text) {
  return make('h3', { id: `card-${item.index}` }, text);
}

// A result that lies on the server.
function waitFor(node, item, name) {
  const load = async () => {
    try {
      const result = await api.result(item.result_url);
      node.replaceChildren();
      fill(node, item, name, result);
    } catch (problem) {
      node.querySelector('.facts').textContent = problem.message;
    }
  };
  const large = item.bytes > FETCHED_BYTES;
  node.append(make('header', {}, titleOf(item, name)), make('p', { class: 'facts' }, large ? `${bytes(item.bytes)}, not shown yet` : 'Loading'));
  if (large) node.append(make('footer', {}, make('button', { type: 'button', class: 'plain', onclick: load }, 'Show')));
  else load();
}

function fill(node, item, name, result) {
  const deck = isDeck(result);
  node.classList.toggle('deck', deck);
  const title = deck ? deckTitle(result, name) : name;
  const score = item.score === undefined || item.score === null ? null : make('span', { class: 'small number' }, `score ${item.score}`);
  node.append(make('header', {}, titleOf(item, title), score), ...(deck ? deckParts(result).filter(Boolean) : jsonParts(result, name)));
  const actions = make('footer', {});
  if (deck && title !== name) actions.append(make('span', { class: 'small file' }, name));
  const text = deck ? make('button', { type: 'button', class: 'quiet copy', onclick: () => copy(deckText(result), text) }, 'Copy text') : null;
  const json = make('button', { type: 'button', class: deck ? 'quiet' : 'quiet copy', onclick: () => copy(JSON.stringify(result, null, 2), json) }, 'Copy JSON');
  for (const button of [text, json]) if (button) button.setAttribute('aria-label', `${button.textContent} of ${title}`);
  const picture = pictureOf(item, name);
  actions.append(make('span', { class: 'buttons' }, text ?? '', json));
  node.append(actions, picture ?? '');
}

function jsonParts(result, name) {
  const text = JSON.stringify(result, null, 2) ?? 'null';
  const pre = make('pre', { tabindex: '0', role: 'region', 'aria-label': `Result of ${name}` }, text.slice(0, SHOWN_JSON));
  if (text.length <= SHOWN_JSON) return [pre];
  const more = make('button', { type: 'button', class: 'plain', onclick: () => { say(pre, text); more.remove(); } }, `Show all ${bytes(text.length)}`);
  return [pre, more];
}

// What was sent from this very tab can be looked at beside what was read from it.
function pictureOf(item, name) {
  const file = fileOf(item.index);
  if (!file?.type.startsWith('image/')) return null;
  const details = make('details', { class: 'picture' }, make('summary', {}, 'The image'));
  details.addEventListener('toggle', () => {
    if (!details.open || details.querySelector('img')) return;
    const image = make('img', { alt: `The image ${name}`, src: URL.createObjectURL(file) });
    image.addEventListener('load', () => URL.revokeObjectURL(image.src), { once: true });
    details.append(image);
  });
  return details;
}

// The next or previous card gets the focus.
export function move(by) {
  const cards = [...$('cards').children];
  const at = cards.indexOf(document.activeElement?.closest('.card'));
  const next = cards[at < 0 ? (by > 0 ? 0 : cards.length - 1) : at + by];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

export const copyFocused = () => document.activeElement?.closest('.card')?.querySelector('.copy')?.click();

export function listen() {
  $('order').addEventListener('change', () => { if (current) paint(current); });
  $('cards-more').addEventListener('click', () => { most += CARDS_STEP; paint(current); });
}
