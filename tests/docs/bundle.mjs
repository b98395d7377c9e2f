// Reads [{"name", "lang", "code"}] from standard input, blocks of the documents in js, jsx or vue; writes [{"code"} or {"error"}]: one module each
// that a browser runs. A jsx or vue block is put on the page.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileScript, parse } from 'vue/compiler-sfc';

const here = dirname(fileURLToPath(import.meta.url));
const client = join(here, '../../js');
const { build } = await import(pathToFileURL(createRequire(join(client, 'package.json')).resolve('esbuild')));

function script_of(code) {
  const { descriptor, errors } = parse(code);
  if (errors.length) throw errors[0];
  return compileScript(descriptor, { id: 'block', inlineTemplate: true }).content;
}

function source_of({ lang, code }) {
  if (lang === 'vue')
    return `import { createApp } from 'vue';\n${script_of(code).replace('export default', 'const Block =')}\ncreateApp(Block).mount('#root');`;
  if (lang === 'jsx')
    return `import React from 'react';\nimport { createRoot } from 'react-dom/client';\n${code}\n` +
      `createRoot(document.getElementById('root')).render(<${/function ([A-Z]\w*)/.exec(code)[1]} />);`;
  return code;
}

const made = [];
for (const block of JSON.parse(readFileSync(0, 'utf8')))
  try {
    const { outputFiles } = await build({
      stdin: { contents: source_of(block), loader: block.lang === 'jsx' ? 'jsx' : 'js', resolveDir: here, sourcefile: block.name },
      alias: { 'rivulet-client/react': join(client, 'src/react.js'), 'rivulet-client': join(client, 'src/index.js') },
      nodePaths: [join(client, 'node_modules'), join(here, 'node_modules')], define: { 'process.env.NODE_ENV': '"production"' },
      external: ['node:*'], bundle: true, write: false, format: 'esm', target: 'esnext', logLevel: 'silent',
    });
    made.push({ code: outputFiles[0].text });
  } catch (error) {
    made.push({ error: error.message });
  }
console.log(JSON.stringify(made));
