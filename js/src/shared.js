export { follow as sharedFollow } from './follow.js';
