// The page: which view is shown, and what holds for all of them: the address, the keyboard, the theme, the key, the wire.

import * as api from './api.js';
import * as cards from './cards.js';
import * as composer from './composer.js';
import * as job from './job.js';
import * as jobs from './jobs.js';
import { $, announce, say, show, tell } from './dom.js';
import { again, onWire } from './store.js';
import * as timeline from './timeline.js';
import { sending } from './uploads.js';

const VIEWS = ['sign-in', 'home', 'job'];
let view = null;

function turnTo(name) {
  view = name;
  for (const one of VIEWS) show($(one), one === name);
}

// ---- addresses: / and /jobs/{id} ----

const idIn = (path) => /^\/jobs\/([0-9A-Za-z_-]+)\/?$/.exec(path)?.[1] ?? null;

function route(focus) {
  const old = /^#job=([0-9a-f]{32})$/.exec(location.hash);      // links of earlier pages
  if (old) history.replaceState(null, '', `/jobs/${old[1]}`);
  const id = idIn(location.pathname);
  job.exit();
  jobs.exit();
  tell($('problem'), '');
  if (id) {
    turnTo('job');
    job.enter(id);
  } else {
    turnTo('home');
    document.title = 'Rivulet';
    jobs.enter();
  }
  if (focus) {
    scrollTo(0, 0);
    $(id ? 'job-title' : 'new-title').focus({ preventScroll: true });
  }
}

function go(path) {
  if (path !== location.pathname) history.pushState(null, '', path);
  route(true);
}

function followed(event) {
  const link = event.target.closest('a[href]');
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || link.hasAttribute('download')) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || (url.pathname !== '/' && !idIn(url.pathname))) return;
  event.preventDefault();
  if (link.getAttribute('href').startsWith('#')) $(link.getAttribute('href').slice(1)).focus();
  else go(url.pathname);
}

// ---- the key ----

function wantKey() {
  if (view === 'sign-in') return;
  turnTo('sign-in');
  $('key').focus();
}

async function signIn(event) {
  event.preventDefault();
  tell($('sign-in-problem'), '');
  try {
    await api.signIn($('key').value.trim());
  } catch (problem) {
    tell($('sign-in-problem'), problem.message);
    $('key').select();
    return;
  }
  $('key').value = '';
  again();
  await learn();
  route(true);
}

async function signOut() {
  try {
    await api.signOut();
  } catch { /* it is over anyway */ }
  location.assign('/');
}

async function learn() {
  await composer.learn();
  show($('sign-out'), await api.signedIn());
}

// ---- the wire ----

let wasLost = false, backTimer = 0;

function wireChanged(wire) {
  if (wire.state === 'refused') wantKey();
  const notice = $('notice');
  if (wire.state === 'lost') {
    wasLost = true;
    clearTimeout(backTimer);
    notice.classList.add('warn');
    tell(notice, wire.status ? `${wire.detail} Trying again.` : 'The server is not there. Trying again; what was sent is safe.');
  } else if (wire.state === 'live' && wasLost) {
    wasLost = false;
    notice.classList.remove('warn');
    tell(notice, 'Connected again.');
    backTimer = setTimeout(() => tell(notice, ''), 4000);
  }
  job.soon();
}

// ---- the theme ----

const THEMES = ['system', 'light', 'dark'];

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? 'system';
  say($('theme'), { system: '◐ System', light: '○ Light', dark: '● Dark' }[theme]);
  $('theme').setAttribute('aria-label', `Theme: ${theme}`);
  timeline.themeChanged();
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? 'system') + 1) % THEMES.length];
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem('theme', theme); } catch { /* not kept */ }
  showTheme();
  announce(`Theme: ${theme}`);
}

// ---- the keyboard ----

const keysOn = () => {
  try { return localStorage.getItem('keys') !== 'off'; } catch { return true; }
};

const KEYS = {
  n() { if (view !== 'home') go('/'); $('files').focus(); },
  g() { go('/'); },
  j() { cards.move(1); },
  k() { cards.move(-1); },
  c() { cards.copyFocused(); },
  r() { job.press('retry-all'); },
  x() { job.press('cancel'); },
  t: nextTheme,
  '?': () => $('keys').showModal(),
};

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !keysOn()) return;
  if (event.target.closest?.('input, textarea, select, dialog[open]') && event.target.type !== 'file') return;
  const does = Object.hasOwn(KEYS, event.key) && KEYS[event.key];
  if (!does || view === 'sign-in') return;
  event.preventDefault();
  does();
}

function listen() {
  addEventListener('popstate', () => route(true));
  addEventListener('click', followed);
  addEventListener('keydown', keyed);
  addEventListener('beforeunload', (event) => { if (sending()) event.preventDefault(); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', timeline.themeChanged);
  $('theme').addEventListener('click', nextTheme);
  $('open-keys').addEventListener('click', () => $('keys').showModal());
  $('keys-on').checked = keysOn();
  $('keys-on').addEventListener('change', () => {
    try { localStorage.setItem('keys', $('keys-on').checked ? 'on' : 'off'); } catch { /* not kept */ }
  });
  $('sign-in-form').addEventListener('submit', signIn);
  $('sign-out').addEventListener('click', signOut);
  composer.listen((id) => go(`/jobs/${id}`), job.soon);
  job.listen();
  jobs.listen();
  onWire(wireChanged);
  api.onUnauthorized(wantKey);
}

listen();
showTheme();
route(false);
learn();
