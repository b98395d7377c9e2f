// What is shipped beside the sources, for browsers without a bundler: the shared worker and the client, each in one file.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const at = (name) => fileURLToPath(new URL(name, import.meta.url));
await build({
  entryPoints: { worker: at('src/worker.js'), 'rivulet-client': at('src/index.js') },
  bundle: true, format: 'esm', target: 'es2022', outdir: at('dist'), logLevel: 'warning',
});
