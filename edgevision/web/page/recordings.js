// What was recorded of each stream: play it, or keep a copy.

import {ask, streamPath} from './api.js';
import {counted, h, moment, number, say} from './dom.js';

export function recordingsView(content) {
  const choose = h('select', {onchange: () => open(choose.value)});
  const video = h('video', {controls: true, playsinline: true, hidden: true, 'aria-label': 'recording'});
  const words = h('p', {class: 'faint', role: 'status'});
  const body = h('tbody', {});
  const time = () => h('input', {type: 'datetime-local', step: '1'});
  const from = time(), to = time();
  const span = h('button', {onclick: () => {
    const ends = [from, to].map((one) => new Date(one.value).getTime());
    if (!id || ends.some(Number.isNaN)) say('Choose when the part begins and ends.');
    else location.href = streamPath(id, `span.mp4?from=${ends[0]}&to=${ends[1]}`);
  }}, 'Download this part');
  content.append(h('div', {class: 'bar'}, h('label', {}, 'stream', choose), h('label', {}, 'from', from), h('label', {}, 'to', to), span), words, video,
    h('div', {class: 'scroll'}, h('table', {}, h('thead', {}, h('tr', {}, ['begins', 'size', ''].map((name) => h('th', {}, name)))), body)));
  let id = null;

  async function open(name) {
    id = name;
    try {
      const {files} = await ask(streamPath(id, 'recordings'));
      words.textContent = files.length ? counted(files.length, 'file') : 'Nothing is recorded of this stream.';
      body.replaceChildren(...files.map((file) => {
        const address = streamPath(id, `recordings/${encodeURIComponent(file.name)}`);
        return h('tr', {}, h('td', {}, moment(file.start_ms)), h('td', {}, `${number(file.size / 1e6, 1)} MB`), h('td', {},
          h('button', {onclick: () => {
            video.hidden = false;
            video.src = address;
            video.play().catch(() => say('The browser cannot play this file yet.'));
          }}, 'Play'), ' ', h('a', {href: `${address}?download=yes`, download: file.name}, 'Download')));
      }));
    } catch (error) {
      words.textContent = error.message;
    }
  }

  return {
    update(state) {
      const streams = state.streams.filter((one) => one.id && one.is_recorded);
      const names = streams.map((one) => one.id).join('\n');
      if ([...choose.options].map((one) => one.value).join('\n') !== names) {
        choose.replaceChildren(...streams.map((one) => h('option', {value: one.id, selected: one.id === id}, one.name)));
      }
      if (!id && streams.length) open(streams[0].id);
      else if (!streams.length) words.textContent = 'No stream is recorded; the run has to be started with a folder for recordings.';
    },
    close() {},
  };
}
