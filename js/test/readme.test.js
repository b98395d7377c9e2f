// What README.md shows is JavaScript, and uses only what there is.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { transformSync } from 'esbuild';
import { Rivulet } from '../src/index.js';

const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

test('every block of code can be parsed', () => {
  const blocks = [...text.matchAll(/```(js|jsx)\n([^]*?)```/g)];
  assert.ok(blocks.length >= 5);
  for (const [, loader, code] of blocks) transformSync(code, { loader, format: 'esm' });
});

test('every method that is named is there, and none is left out', () => {
  const named = new Set([...text.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`(\w+)\(/g)].map(([, name]) => name)));
  const own = Object.getOwnPropertyNames(Rivulet.prototype).filter((name) => !['constructor', 'events', 'shared'].includes(name));
  assert.deepEqual([...named].sort(), own.sort());
});
