// Values that somebody wrote or pasted: a JSON array, one JSON value, JSON Lines, or {"items": […]}. What comes out are JSON Lines.

// {lines: [text…]} or {problem: one sentence}.
export function readValues(text) {
  const trimmed = text.trim();
  if (!trimmed) return { lines: [] };
  try {
    const value = JSON.parse(trimmed);
    const items = Array.isArray(value) ? value : Array.isArray(value?.items) && Object.keys(value).length === 1 ? value.items : [value];
    return { lines: items.map((item) => JSON.stringify(item)) };
  } catch { /* then lines */ }
  const lines = [];
  for (const [number, line] of trimmed.split('\n').entries()) {
    if (!line.trim()) continue;
    try {
      lines.push(JSON.stringify(JSON.parse(line)));
    } catch {
      return { problem: `Line ${number + 1} is not JSON: ${line.trim().slice(0, 60)}` };
    }
  }
  return { lines };
}

export const isLines = (file) => /\.(jsonl|ndjson)$/i.test(file.name) || /^application\/(x-ndjson|jsonl|x-jsonlines)$/.test(file.type);
