// Sends files through an open job: the first alone, so that its result comes soonest, then a few at a time; what was sent is worked on
// while the rest is still on its way. A group whose answer was lost is not sent twice: the job's own count says whether it arrived.

import * as api from './api.js';

const GROUP_FILES = 8, GROUP_BYTES = 8 * 1024 * 1024;
const AGAIN_MS = [500, 1000, 2000, 4000, 8000];

const uploads = new Map();          // job id → {files, sent, refused, waiting, over, problem, taken}
export const uploadOf = (id) => uploads.get(id) ?? null;
export const sending = () => [...uploads.values()].some((upload) => !upload.over);

// Begins and answers the job's id; `changed` is called with each step until `over`.
export async function upload(pipeline, files, changed) {
  const id = await api.openJob(pipeline);
  const state = { files, sent: 0, taken: [], refused: [], waiting: false, over: false, problem: null };
  uploads.set(id, state);
  send(id, state, changed).catch((problem) => { state.problem = problem.message; }).finally(() => {
    state.over = true;
    changed(id);
  });
  return id;
}

function groupFrom(files, at) {
  let end = at, size = 0;
  const most = at === 0 ? 1 : GROUP_FILES;
  while (end < files.length && end - at < most && (end === at || size + files[end].size <= GROUP_BYTES)) size += files[end++].size;
  return files.slice(at, end);
}

async function send(id, state, changed) {
  while (state.sent < state.files.length) {
    const group = groupFrom(state.files, state.sent);
    await sendGroup(id, state, group, changed);
    state.sent += group.length;
    changed(id);
  }
  await again(state, id, changed, () => api.seal(id));
}

async function sendGroup(id, state, group, changed) {
  try {
    await again(state, id, changed, async (before) => {
      if (before && (await arrived(id)) >= state.taken.length + group.length) return;
      await api.addFiles(id, group);
    });
    state.taken.push(...group);
  } catch (problem) {
    if (problem.status === 404 || problem.status === 409 || problem.status === 401) throw problem;
    if (group.length > 1) {
      for (const file of group) await sendGroup(id, state, [file], changed);
    } else {
      state.refused.push({ name: group[0].name, why: problem.message });
      changed(id);
    }
  }
}

const arrived = async (id) => (await api.document(id)).total_batches;

// Until it is done or refused for good; `step` is told whether it was tried before.
async function again(state, id, changed, step) {
  for (let tries = 0; ; tries++) {
    try {
      await step(tries > 0);
      if (state.waiting) {
        state.waiting = false;
        changed(id);
      }
      return;
    } catch (problem) {
      if (problem.status > 0 && problem.status < 500 && problem.status !== 429) throw problem;
      state.waiting = true;
      changed(id);
      await new Promise((wake) => setTimeout(wake, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]));
    }
  }
}
