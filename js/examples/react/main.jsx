// Files in, results as they come. The server is that of this page, or ?base=http://127.0.0.1:8080; the pipeline ?pipeline=decklists.
import { createRoot } from 'react-dom/client';
import { useBatch } from 'rivulet-client/react';

const search = new URLSearchParams(location.search);

function App() {
  const batch = useBatch({ base: search.get('base') ?? '', pipeline: search.get('pipeline') ?? 'decklists' });
  const busy = batch.status === 'uploading' || batch.status === 'running';
  return (
    <main>
      <h1>Rivulet with React</h1>
      <input type="file" multiple disabled={busy} aria-label="Files" onChange={(event) => batch.run(event.target.files)} />
      <button onClick={batch.cancel} disabled={!busy}>Cancel</button>
      <button onClick={batch.retry} disabled={busy || !batch.errors.length}>Try the failed ones again</button>
      <p role="status">{batch.status}{batch.reconnecting && ', reconnecting'}: {batch.done} of {batch.total}, {batch.uploaded} uploaded</p>
      <progress value={batch.progress} />
      {batch.problem && <p role="alert">{batch.problem.message}</p>}
      <ol>
        {batch.items.map((item) => (
          <li key={item.index}>
            {item.name} <em>{item.status}</em> {item.error}
            {item.result !== undefined && <pre>{JSON.stringify(item.result, null, 1)}</pre>}
          </li>
        ))}
      </ol>
    </main>
  );
}

createRoot(document.getElementById('root')).render(<App />);
