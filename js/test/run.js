// Runs every *.test.js here, each in a process of its own, and ends with the line `N passed, N failed`.
// Usage: node test/run.js [PART-OF-A-NAME]… Without one the types are checked too.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const FILE_MS = 120000;
const words = process.argv.slice(2);
const files = readdirSync(here).filter((name) => name.endsWith('.test.js') && (!words.length || words.some((word) => name.includes(word)))).sort();

function runFile(name) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--test', '--test-reporter=tap', path.join(here, name)],
      { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    // A test that failed may leave something behind that never ends.
    const late = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), FILE_MS);
    let told = '';
    child.stdout.on('data', (piece) => { told += piece; });
    child.on('close', (status) => {
      clearTimeout(late);
      resolve({ name, told, status: status ?? 'killed' });
    });
  });
}

if (!existsSync(path.join(here, '../node_modules'))) {
  console.log('There is no js/node_modules: run `npm ci` in js/ (tools/setup.sh check does).');
  console.log('0 passed, 1 failed');
  process.exit(1);
}

let passed = 0, failed = 0;
if (!words.length) {
  const { status, stdout } = spawnSync('npm', ['run', '--silent', 'types'], { cwd: path.join(here, '..'), encoding: 'utf8' });
  console.log(status ? `the types do not fit:\n${stdout}` : 'types.ts: 1 passed');
  status ? failed++ : passed++;
}
for (const name of files) {
  const began = Date.now();
  const { told, status } = await runFile(name);
  const count = (word) => Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(told)?.[1] ?? 0);
  const bad = count('fail') + count('cancelled');
  passed += count('pass');
  failed += bad || (status ? 1 : 0);
  console.log(`${name}: ${count('pass')} passed, ${bad} failed, ${count('skipped')} skipped, ${((Date.now() - began) / 1000).toFixed(1)} s`);
  if (bad || status) console.log(told);
  else for (const line of told.match(/^# (?:measured|note).*$/gm) ?? []) console.log('    ' + line.slice(2));
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(passed && !failed ? 0 : 1);
