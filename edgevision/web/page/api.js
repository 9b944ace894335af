// The interface of the server. All addresses are relative, so that a reverse proxy may serve the page anywhere.

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** What the server answers as JSON; throws Refused with its words. */
export async function ask(path, {method = 'GET', body, headers = {}, signal} = {}) {
  const given = {...headers};
  if (body !== undefined) given['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, headers: given, credentials: 'same-origin', cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'the server does not answer');
  }
  const text = await answer.text();
  let found = null;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    found = null;
  }
  if (answer.status === 401 && path !== 'api/login') window.dispatchEvent(new Event('edgevision-login'));
  if (!answer.ok) throw new Refused(answer.status, found?.error ?? `the server answered ${answer.status}`);
  return found;
}

/** JSON lines, and where the rest of them begins, null without one; throws Refused with the server's words. */
export async function askLines(path) {
  let answer, text;
  try {
    answer = await fetch(path, {credentials: 'same-origin', cache: 'no-store'});
    text = await answer.text();
  } catch {
    throw new Refused(0, 'the server does not answer');
  }
  if (answer.status === 401) window.dispatchEvent(new Event('edgevision-login'));
  if (!answer.ok) {
    let words;
    try {
      words = JSON.parse(text).error;
    } catch {
      words = `the server answered ${answer.status}`;
    }
    throw new Refused(answer.status, words);
  }
  const rest = answer.headers.get('x-rest-from');
  return {found: text.split('\n').filter(Boolean).map((line) => JSON.parse(line)), rest: rest === null ? null : Number(rest)};
}

/** Lets the browser keep what an address gives. */
export function download(path) {
  const link = document.createElement('a');
  link.href = path;
  link.download = '';
  document.body.append(link);
  link.click();
  link.remove();
}

/** The address of a WebSocket beside this page. */
export function socketAddress(path) {
  const address = new URL(path, document.baseURI);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

export const streamPath = (id, rest) => `api/streams/${encodeURIComponent(id)}/${rest}`;
