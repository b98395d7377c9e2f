// Reads an event stream: text in, frames {event, data, id} out. Comments and `retry` are signs of life and nothing more. `data` stays
// text: whoever folds it parses it.

export class FrameReader {
  #rest = '';

  // The frames that a piece of text completes.
  take(text) {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop();
    return blocks.map(frameOf).filter((frame) => frame.event);
  }
}

function frameOf(block) {
  const frame = {};
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const value = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    const name = line.slice(0, colon);
    frame[name] = name === 'data' && frame.data !== undefined ? `${frame.data}\n${value}` : value;
  }
  return frame;
}
