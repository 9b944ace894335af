// Add, change, pause and remove streams while the others run.

import {ask, streamPath} from './api.js';
import {h, say} from './dom.js';

export function streamsView(content, page) {
  const source = h('input', {name: 'source', required: true, placeholder: 'rtsp://user:password@camera.local/stream', autocomplete: 'off', spellcheck: 'false'});
  const name = h('input', {name: 'name', maxlength: '100', autocomplete: 'off'});
  const track = h('input', {type: 'checkbox', checked: true});
  const submit = h('button', {class: 'main'}, 'Add');
  const form = h('form', {class: 'stack card', onsubmit: (event) => {
    event.preventDefault();
    act(submit, async () => {
      await ask('api/streams', {method: 'POST', body: {source: source.value, name: name.value, track: track.checked}});
      source.value = name.value = '';
      say('The stream runs.', true);
    });
  }}, h('h2', {}, 'Add a stream'), h('label', {}, 'Address of the camera', source), h('label', {}, 'Name', name),
  h('p', {}, h('label', {class: 'row'}, track, 'follow objects, and keep events')), submit);
  const body = h('tbody', {});
  const words = h('p', {class: 'faint'});
  content.append(words, h('div', {class: 'scroll'}, h('table', {}, h('thead', {}, h('tr', {}, ['stream', 'source', 'state', ''].map((text) => h('th', {}, text)))), body)), form);
  let newest = '';

  async function act(button, action) {
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      say(error.message);
    } finally {
      button.disabled = false;
      newest = '';
      page.refresh();
    }
  }

  const call = (id, what, method = 'POST') => ask(streamPath(id, what).replace(/\/$/, ''), {method});
  const row = (stream) => {
    const isPaused = stream.state === 'paused';
    const pause = h('button', {onclick: () => act(pause, () => call(stream.id, isPaused ? 'resume' : 'pause'))}, isPaused ? 'Resume' : 'Pause');
    const remove = h('button', {class: 'danger', onclick: () => {
      if (confirm(`Remove ${stream.name}? What was recorded of it stays.`)) act(remove, () => call(stream.id, '', 'DELETE'));
    }}, 'Remove');
    return h('tr', {}, h('td', {}, stream.name), h('td', {}, stream.source), h('td', {}, h('span', {class: `state ${stream.state}`}, stream.state)),
      h('td', {}, stream.id ? [pause, ' ', remove] : null));
  };

  return {
    update(state) {
      form.hidden = !state.can_change_streams;
      words.textContent = state.can_change_streams ? '' : 'The streams of this run cannot be changed.';
      const now = JSON.stringify(state.streams.map((one) => [one.id, one.name, one.source, one.state]));
      if (now === newest) return;
      newest = now;
      body.replaceChildren(...state.streams.map(row));
    },
    close() {},
  };
}
