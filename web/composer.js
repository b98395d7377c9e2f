// Where a job begins: a pipeline, and files that are chosen, dropped or pasted, or values that are written.

import * as api from './api.js';
import { $, announce, make, say, show, tell } from './dom.js';
import { upload } from './uploads.js';
import { isLines, readValues } from './values.js';
import { bytes, plural } from './words.js';

const KINDS = { 'image/jpeg': 'JPG', 'image/png': 'PNG', 'image/webp': 'WebP', 'text/plain': 'text', 'application/json': 'JSON' };

let begun = () => {}, changed = () => {}, busy = false, known = [];
const pipeline = () => $('pipeline').value;
const takes = () => known.find((one) => one.name === pipeline())?.takes ?? {};

async function start(work) {
  if (busy) return;
  busy = true;
  tell($('problem'), '');
  $('drop').classList.add('busy');
  try {
    begun(await work());
  } catch (problem) {
    tell($('problem'), problem.message);
  }
  $('drop').classList.remove('busy');
  $('files').value = '';
  busy = false;
}

function startFiles(files) {
  if (!files.length) return;
  const [first] = files;
  if (files.length === 1 && isLines(first) && takes().values !== false) start(() => api.submitLines(pipeline(), first));
  else start(() => upload(pipeline(), files, changed));
}

function startValues(event) {
  event.preventDefault();
  const { lines, problem } = readValues($('values').value);
  if (problem || !lines.length) {
    tell($('problem'), problem || 'There is nothing to start: write at least one JSON value.');
    $('values').focus();
    return;
  }
  start(async () => {
    const id = await api.submitLines(pipeline(), `${lines.join('\n')}\n`);
    $('values').value = '';
    $('typed').open = false;
    return id;
  });
}

function countValues() {
  const { lines, problem } = readValues($('values').value);
  say($('values-count'), problem || (lines.length ? plural(lines.length, 'item') : ''));
}

// What the pipeline takes, for the file chooser and in words.
function chosen() {
  const { files = ['*/*'], values = true, file_bytes_max: most } = takes();
  const any = files.includes('*/*');
  if (any) $('files').removeAttribute('accept');
  else $('files').setAttribute('accept', [...files, ...(values ? ['.jsonl', '.ndjson'] : [])].join(','));
  const words = [any ? 'Any file' : files.map((type) => KINDS[type] ?? type).join(', ').replace(/, ([^,]*)$/, ' or $1')];
  if (most) words.push(`up to ${bytes(most)} each`);
  if (values) words.push('a .jsonl file is an item a line');
  say($('limits'), words.join(', '));
  show($('typed'), values);
  try { localStorage.setItem('pipeline', pipeline()); } catch { /* not kept */ }
}

export async function learn() {
  let last = null;
  try {
    known = (await api.pipelines()).pipelines;
    last = localStorage.getItem('pipeline');
  } catch { /* what is known stays */ }
  const names = known.map((one) => one.name);
  $('pipeline').replaceChildren(...names.map((name) => make('option', { value: name }, name)));
  $('pipeline').value = names.includes(last) ? last : names[0] ?? '';
  if (names.length) chosen();
}

// Pasted text in no field: values.
function pasted(event) {
  if (event.target.closest?.('input, textarea, select, dialog')) return;
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) {
    startFiles(files);
    return;
  }
  const text = event.clipboardData?.getData('text') ?? '';
  if (!/^\s*[[{"]/.test(text) || $('home').hidden || $('typed').hidden) return;
  $('typed').open = true;
  $('values').value = text;
  countValues();
  $('values').focus();
  announce('Pasted. Start sends it.');
}

// onBegun(id): a job is there. onChanged(id): its upload went on.
export function listen(onBegun, onChanged) {
  begun = onBegun;
  changed = onChanged;
  $('files').addEventListener('change', () => startFiles([...$('files').files]));
  $('pipeline').addEventListener('change', chosen);
  $('values-form').addEventListener('submit', startValues);
  $('values').addEventListener('input', countValues);
  $('values').addEventListener('keydown', (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) startValues(event); });
  addEventListener('dragover', (event) => { event.preventDefault(); document.body.classList.add('over'); });
  addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('over'); });
  addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('over');
    startFiles([...event.dataTransfer.files]);
  });
  addEventListener('paste', pasted);
}
