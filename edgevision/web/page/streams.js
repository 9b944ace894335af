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
  const dialog = h('dialog', {'aria-label': 'Change a stream'});
  content.append(words, h('div', {class: 'scroll'}, h('table', {}, h('thead', {}, h('tr', {}, ['stream', 'source', 'state', 'change'].map((text) => h('th', {scope: 'col'}, text)))), body)), form, dialog);
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

  function change(stream) {
    const address = h('input', {name: 'source', placeholder: stream.source, autocomplete: 'off', spellcheck: 'false'});
    const follow = h('input', {type: 'checkbox', checked: stream.is_tracked});
    const save = h('button', {class: 'main'}, 'Save');
    const body = () => ({
      ...(address.value.trim() ? {source: address.value.trim()} : {}),
      ...(follow.checked === stream.is_tracked ? {} : {track: follow.checked}),
    });
    dialog.replaceChildren(h('form', {class: 'stack', onsubmit: (event) => {
      event.preventDefault();
      act(save, async () => {
        await ask(streamPath(stream.id, '').replace(/\/$/, ''), {method: 'PATCH', body: body()});
        dialog.close();
        say('Changed.', true);
      });
    }}, h('h2', {}, `Change ${stream.name}`),
    h('label', {}, 'Another address, with its password; empty keeps the one it has', address),
    h('p', {}, h('label', {class: 'row'}, follow, 'follow objects, and keep events')),
    h('p', {class: 'bar'}, save, h('button', {type: 'button', onclick: () => dialog.close()}, 'Cancel'))));
    dialog.showModal();
  }

  const call = (id, what, method = 'POST') => ask(streamPath(id, what).replace(/\/$/, ''), {method});
  const row = (stream) => {
    const isPaused = stream.state === 'paused';
    const pause = h('button', {onclick: () => act(pause, () => call(stream.id, isPaused ? 'resume' : 'pause'))}, isPaused ? 'Resume' : 'Pause');
    const remove = h('button', {class: 'danger', onclick: () => {
      if (confirm(`Remove ${stream.name}? What was recorded of it stays.`)) act(remove, () => call(stream.id, '', 'DELETE'));
    }}, 'Remove');
    const edit = h('button', {onclick: () => change(stream)}, 'Change');
    return h('tr', {}, h('td', {}, stream.name), h('td', {}, stream.source), h('td', {}, h('span', {class: `state ${stream.state}`}, stream.state)),
      h('td', {class: 'acts'}, stream.id ? [edit, ' ', pause, ' ', remove] : null));
  };

  return {
    update(state) {
      form.hidden = !state.can_change_streams;
      words.textContent = state.can_change_streams ? '' : 'The streams of this run cannot be changed.';
      const now = JSON.stringify(state.streams.map((one) => [one.id, one.name, one.source, one.state, one.is_tracked]));
      if (now === newest) return;
      newest = now;
      body.replaceChildren(...state.streams.map(row));
    },
    close() {},
  };
}
