// The page: which view is open, the state of the run every two seconds, and logging in.

import {ask} from './api.js';
import {h, say} from './dom.js';
import {eventsView} from './events.js';
import {liveView} from './live.js';
import {recordingsView} from './recordings.js';
import {stateView} from './state.js';
import {streamsView} from './streams.js';
import {players} from './player.js';
import {replays} from './replay.js';
import {zonesView} from './zones.js';

const VIEWS = [['live', 'Live', liveView], ['state', 'State', stateView], ['events', 'Events', eventsView], ['zones', 'Zones', zonesView],
  ['recordings', 'Recordings', recordingsView], ['streams', 'Streams', streamsView]];
const STEP_MS = 2000;

const content = document.getElementById('content');
const links = document.getElementById('views');
const summary = document.getElementById('summary');
let view = null, state = null, timer = null, isAsking = false, hasPassword = false, shown = '';

window.edgevision = {players, replays};  // for tests, and for whoever wants to know why a tile lags

function open() {
  shown = location.hash;
  const name = location.hash.slice(1).split('/')[0] || 'live';
  const [, label, make] = VIEWS.find(([key]) => key === name) ?? VIEWS[0];
  view?.close();
  content.replaceChildren();
  for (const link of links.children) {
    if (link.dataset?.view === name) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({block: 'nearest', inline: 'nearest'});  // on a phone the list is wider than the screen
    } else link.removeAttribute('aria-current');
  }
  document.title = `${label} - edgevision`;
  view = make(content, {refresh: tick, current: () => state});
  if (state) view.update(state);
  tick();
}

async function tick() {
  clearTimeout(timer);
  if (isAsking || !view) return;
  isAsking = true;
  try {
    state = await ask(`api/state${view.wantsCurves ? '?curves=yes' : ''}`);
    const bad = state.streams.filter((one) => ['failed', 'reconnecting'].includes(one.state)).length;
    const running = state.streams.filter((one) => one.state === 'running').length;
    summary.textContent = `${running} of ${state.streams.length} streams running${bad ? `, ${bad} with a problem` : ''}`;
    view.update(state);
  } catch (error) {
    summary.textContent = error.status === 401 ? '' : error.message;
  } finally {
    isAsking = false;
    if (view) timer = setTimeout(tick, STEP_MS);
  }
}

function begin() {
  links.replaceChildren(...VIEWS.map(([key, label]) => h('a', {href: `#${key}`, 'data-view': key}, label)),
    ...(hasPassword ? [h('button', {onclick: logout}, 'Log out')] : []));
  open();
}

async function logout() {
  await ask('api/logout', {method: 'POST'}).catch(() => {});
  login();
}

function login() {
  if (content.querySelector('form.login')) return;
  clearTimeout(timer);
  view?.close();
  view = state = null;
  links.replaceChildren();
  summary.textContent = '';
  const field = h('input', {type: 'password', name: 'password', autocomplete: 'current-password', required: true});
  const form = h('form', {class: 'login card', onsubmit: async (event) => {
    event.preventDefault();
    try {
      await ask('api/login', {method: 'POST', body: {password: field.value}});
      hasPassword = true;
      begin();
    } catch (error) {
      say(error.message);
      field.select();
    }
  }}, h('h2', {}, 'Log in'), h('label', {}, 'Password', field), h('button', {class: 'main'}, 'Log in'));
  content.replaceChildren(form);
  field.focus();
}

window.addEventListener('hashchange', () => {
  if (!view || shown === location.hash) return;
  if (view.mayLeave && !view.mayLeave()) history.replaceState(null, '', shown || '#live');
  else open();
});
window.addEventListener('edgevision-login', login);

try {
  const found = await ask('api/session');
  hasPassword = found.has_password;
  if (found.needs_login) login();
  else begin();
} catch (error) {
  say(error.message);
  begin();
}
