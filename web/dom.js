// Small words for the document. What comes from a server or a file becomes text, never markup.

export const $ = (id) => document.getElementById(id);

// make('button', {class: 'plain', type: 'button', onclick: f}, 'text', child, …)
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Write only what differs: a screen reader hears, and a browser lays out, only what changed.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The same of several: texts, and nodes around those that are somebody else's.
export function sayAll(node, parts) {
  if (node.textContent !== parts.map((part) => part.textContent ?? part).join('')) node.replaceChildren(...parts);
}

// Somebody else's words among ours: should they turn the direction of writing, then their own only.
export const theirs = (text) => make('bdi', {}, text);

export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

export function tell(node, text) {
  say(node, text || '');
  show(node, Boolean(text));
}

// Polite words for those who listen instead of looking; not more often than every few seconds, the newest wins.
const GAP_MS = 4000;
let waiting = null, lastSaid = -Infinity, timer = 0;

export function announce(text) {
  waiting = text;
  if (timer) return;
  timer = setTimeout(() => {
    timer = 0;
    lastSaid = performance.now();
    say($('said'), waiting);
  }, Math.max(0, lastSaid + GAP_MS - performance.now()));
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {       // no secure origin: the old way
    const area = make('textarea', { class: 'unseen' });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    button.focus();
  }
  const before = button.dataset.label ??= button.textContent;
  say(button, 'Copied');
  announce('Copied');
  setTimeout(() => say(button, before), 1500);
}
