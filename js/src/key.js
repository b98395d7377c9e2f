/** A name that nobody else makes up: for an Idempotency-Key. */
export function newKey() {
  const bytes = new Uint8Array(16);
  // Node 18 has no global crypto; nothing is kept secret by a key, it only must not be made twice.
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(bytes);
  else for (let at = 0; at < bytes.length; at++) bytes[at] = Math.random() * 256;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
