// Numbers and times as people say them.

export function seconds(value) {
  if (!Number.isFinite(value)) return '';
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// The time that is left: no more exact than it is known.
export function left(value) {
  if (!Number.isFinite(value)) return '';
  if (value < 10) return 'a few seconds left';
  if (value < 55) return `about ${Math.round(value / 5) * 5} s left`;
  if (value < 3300) return `about ${Math.max(1, Math.round(value / 60))} min left`;
  return `about ${(value / 3600).toFixed(1)} h left`;
}

export function rate(perSecond) {
  if (perSecond >= 10) return `${Math.round(perSecond)} / s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)} / s`;
  if (perSecond * 60 >= 1) return `${(perSecond * 60).toFixed(perSecond * 60 >= 10 ? 0 : 1)} / min`;
  return `${(perSecond * 3600).toFixed(1)} / h`;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${Math.round(count / 1024)} KB`;
  return `${Math.round(count / (1024 * 102.4)) / 10} MB`;
}

export function ago(time, now) {
  const past = (now - time) / 1000;
  if (past < 45) return 'just now';
  if (past < 3600) return `${Math.max(1, Math.round(past / 60))} min ago`;
  if (past < 86400) return `${Math.round(past / 3600)} h ago`;
  return new Date(time).toLocaleDateString(undefined, { year: 'numeric', month: 'short', day: 'numeric' });
}

export const number = (value) => (Number.isInteger(value) ? String(value) : String(Math.round(value * 100) / 100));
export const count = (value) => value.toLocaleString('en').replaceAll(',', ' ');
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

const STATES = { pending: ['○', 'Waiting'], open: ['◌', 'Receiving'], running: ['◐', 'Running'], cancelling: ['◌', 'Cancelling'],
                 completed: ['✓', 'Completed'], error: ['✕', 'Error'], cancelled: ['–', 'Cancelled'] };
// [sign, word] of a job's state.
export const stateWords = (state) => STATES[state] ?? ['?', String(state)];
export const shortId = (id) => id.slice(0, 8);
