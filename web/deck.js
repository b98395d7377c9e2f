// A decklist: as a card to read, and as text to paste.

import { make } from './dom.js';

const SECTIONS = [['legend', 'Legend'], ['main_deck', 'Main deck'], ['battlefields', 'Battlefields'], ['runes', 'Runes'], ['side_deck', 'Side deck']];

export const isDeck = (result) => Boolean(result && typeof result === 'object' && result.metadata && SECTIONS.some(([key]) => Array.isArray(result[key])));

const cardsOf = (deck, key) => (Array.isArray(deck[key]) ? deck[key] : []);
const copies = (cards) => cards.reduce((sum, card) => sum + (Number(card.quantity) || 0), 0);

const SURE = 95, UNSURE = 75;       // of match_score, in %
const WAYS = { exact_full: 'exact', base_name: 'by its name', comma_inserted: 'exact but for a comma', fuzzy_full: 'similar', fuzzy_base_name: 'similar name', ctc: 'as read' };

// How surely a card was found, in words and signs beside the colour: {sign, word, kind}.
function quality(card) {
  const type = String(card.match_type ?? ''), score = Number(card.match_score ?? (type.startsWith('exact') ? 100 : NaN));
  const way = WAYS[type] ?? type.replaceAll('_', ' '), percent = Number.isFinite(score) && score < 99.5 ? `${Math.round(score)} %` : '';
  const words = (...list) => list.filter(Boolean).join(' ');
  if (!card.name_en && !card.card_number) return { sign: '?', word: 'not found', kind: 'none' };
  if (score >= SURE) return { sign: '✓', word: words(way, percent), kind: 'exact' };
  if (score >= UNSURE) return { sign: '≈', word: words(way, percent), kind: 'fuzzy' };
  if (Number.isFinite(score)) return { sign: '!', word: words('unsure', percent), kind: 'weak' };
  return way ? { sign: '≈', word: way, kind: 'fuzzy' } : null;
}

function cardLine(card, unmatched) {
  const found = unmatched ? { sign: '?', word: 'not found', kind: 'none' } : quality(card);
  const names = make('span', { class: 'names' }, make('span', { class: 'cn', lang: card.name_cn ? 'zh' : null }, String(card.name_cn || card.name_en || '?')));
  if (card.name_cn && card.name_en) names.append(make('span', { class: 'en' }, String(card.name_en)));
  const line = make('li', {}, make('span', { class: 'quantity' }, `${card.quantity ?? '?'}×`), names);
  if (found) {
    const about = make('span', { class: `match ${found.kind}` }, make('span', { 'aria-hidden': 'true' }, found.sign));
    about.append(make('span', { class: found.kind === 'exact' ? 'unseen' : 'word' }, ` ${found.word}`));
    line.append(about);
  }
  return line;
}

function section(key, title, cards) {
  const unmatched = key === 'unknown';
  return make('section', { class: key === 'legend' ? 'legend-of' : key },
    make('h4', {}, make('span', {}, title), make('span', { class: 'number' }, String(copies(cards)))),
    make('ul', {}, ...cards.map((card) => cardLine(card, unmatched))));
}

export const deckTitle = (deck, name) => String(deck.metadata.deck_name || deck.metadata.legend_name_en || deck.metadata.legend_name || name);

// The card's inside: heads and sections.
export function deckParts(deck) {
  const about = deck.metadata, stats = deck.stats || {};
  const place = about.placement ? `place ${about.placement}` : '';
  const legend = [about.legend_name, about.legend_name_en].filter(Boolean).join(' · ');
  const facts = [about.player, about.event, about.date, place].filter(Boolean).join(' · ');
  const all = stats.total_cards > 0 && stats.matched_cards === stats.total_cards;
  const share = Number.isFinite(stats.accuracy) ? ` · ${Math.round(stats.accuracy * 10) / 10} %` : '';
  const badge = make('p', { class: all ? 'badge' : 'badge partial' }, make('span', { 'aria-hidden': 'true' }, all ? '✓ ' : '≈ '),
    `${stats.matched_cards ?? 0} of ${stats.total_cards ?? 0} cards known${share}`);
  const sections = SECTIONS.filter(([key]) => cardsOf(deck, key).length).map(([key, title]) => section(key, title, cardsOf(deck, key)));
  const unmatched = cardsOf(deck, 'unmatched');
  if (unmatched.length) sections.push(section('unknown', 'Not in the catalogue', unmatched));
  const aside = ['legend', 'battlefields', 'runes'].some((key) => cardsOf(deck, key).length);
  return [legend && make('p', { class: 'who' }, legend), facts && make('p', { class: 'facts' }, facts), badge, make('div', { class: aside ? 'sections' : 'sections single' }, ...sections)];
}

// Lines that deck builders read, and the server too.
export function deckText(deck) {
  const about = deck.metadata;
  const lines = [['Deck', about.deck_name], ['Player', about.player], ['Event', about.event], ['Date', about.date], ['Placement', about.placement]]
    .filter(([, value]) => value).map(([name, value]) => `${name}: ${value}`);
  for (const [key, title] of [...SECTIONS, ['unmatched', '# Not in the catalogue']]) {
    const cards = cardsOf(deck, key);
    if (!cards.length) continue;
    lines.push('', key === 'unmatched' ? title : `${title}:`);
    for (const card of cards) lines.push(`${key === 'unmatched' ? '# ' : ''}${card.quantity ?? 1} ${card.name_en || card.name_cn || '?'}`);
  }
  return `${lines.join('\n').trim()}\n`;
}
