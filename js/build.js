// What is shipped beside the sources, for browsers without a bundler: the shared worker and the client, each in one file.
// With --example also the example, in dist/example.
import { build } from 'esbuild';
import { copyFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (name) => fileURLToPath(new URL(name, import.meta.url));
const shared = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' };

await build({ ...shared, entryPoints: { worker: at('src/worker.js'), 'rivulet-client': at('src/index.js') }, outdir: at('dist') });
if (process.argv.includes('--example')) {
  await build({ ...shared, entryPoints: [at('examples/react/main.jsx')], outdir: at('dist/example'), jsx: 'automatic', minify: true,
    define: { 'process.env.NODE_ENV': '"production"' } });
  copyFileSync(at('examples/react/index.html'), at('dist/example/index.html'));
}
