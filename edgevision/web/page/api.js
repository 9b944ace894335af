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

/** The address of a WebSocket beside this page. */
export function socketAddress(path) {
  const address = new URL(path, document.baseURI);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

export const streamPath = (id, rest) => `api/streams/${encodeURIComponent(id)}/${rest}`;
