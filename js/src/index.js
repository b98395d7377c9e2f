export { Rivulet } from './client.js';
export { RivuletError } from './error.js';
