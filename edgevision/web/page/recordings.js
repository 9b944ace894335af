// What was recorded of each stream: play it, or keep a copy.

import {ask, download, streamPath} from './api.js';
import {look, lookControls} from './controls.js';
import {counted, h, moment, number, say} from './dom.js';
import {playback} from './playback.js';
import {Replay} from './replay.js';

export function recordingsView(content) {
  const choose = h('select', {onchange: () => open(choose.value)});
  const video = h('video', {playsinline: true, 'aria-label': 'recording'});
  const canvas = h('canvas', {'aria-hidden': 'true'});
  const words = h('p', {class: 'faint', role: 'status'});
  const body = h('tbody', {});
  const time = () => h('input', {type: 'datetime-local', step: '1'});
  const from = time(), to = time();
  const span = h('button', {onclick: keepPart}, 'Download this part');
  const withBoxes = h('input', {type: 'checkbox', checked: true});
  const boxesToo = h('label', {hidden: true}, withBoxes, 'and its boxes');
  const about = {colours: {}};
  const said = h('p', {class: 'faint', role: 'status'});
  const replay = new Replay(video, canvas, about, look, (text) => { said.textContent = text; });
  const player = playback(video, canvas, () => replay.redraw());
  player.classList.add('replay');
  player.hidden = true;
  const controls = lookControls(() => replay.showNow());
  controls.element.hidden = true;
  content.append(h('div', {class: 'bar'}, h('label', {}, 'stream', choose), h('label', {}, 'from', from), h('label', {}, 'to', to), span, boxesToo), words,
    controls.element, said, player,
    h('div', {class: 'scroll'}, h('table', {}, h('thead', {}, h('tr', {}, ['begins', 'size', 'play or keep'].map((name) => h('th', {scope: 'col'}, name)))), body)));
  let id = null, streams = [];

  async function keepPart() {
    const ends = [from, to].map((one) => new Date(one.value).getTime());
    if (!id || ends.some(Number.isNaN)) {
      say('Choose when the part begins and ends.');
      return;
    }
    const part = `?from=${ends[0]}&to=${ends[1]}`;
    try {
      const found = await ask(streamPath(id, `span${part}`));
      download(streamPath(id, `span.mp4${part}`));
      if (found.has_boxes && withBoxes.checked) download(streamPath(id, `span.boxes.jsonl${part}`));
    } catch (error) {
      say(error.message);
    }
  }

  function play(file, address) {
    player.hidden = false;
    controls.element.hidden = !file.has_boxes;
    replay.open(address, file.has_boxes ? `${address}/boxes` : null);
    video.play().catch(() => say('The browser cannot play this file yet.'));
    player.scrollIntoView({block: 'nearest'});
  }

  async function open(name) {
    id = name;
    about.colours = streams.find((one) => one.id === id)?.classes ?? {};
    controls.setClasses(Object.keys(about.colours));
    try {
      const {files} = await ask(streamPath(id, 'recordings'));
      boxesToo.hidden = !files.some((file) => file.has_boxes);
      words.textContent = files.length ? counted(files.length, 'file') : 'Nothing is recorded of this stream.';
      body.replaceChildren(...files.map((file) => {
        const address = streamPath(id, `recordings/${encodeURIComponent(file.name)}`);
        const begins = moment(file.start_ms);
        return h('tr', {}, h('td', {}, begins), h('td', {}, file.size < 1e6 ? `${number(file.size / 1e3)} kB` : `${number(file.size / 1e6, 1)} MB`), h('td', {},
          h('button', {'aria-label': `Play ${begins}`, onclick: () => play(file, address)}, 'Play'), ' ',
          h('a', {href: `${address}?download=yes`, download: file.name, 'aria-label': `Download ${begins}`}, 'Download')));
      }));
    } catch (error) {
      words.textContent = error.message;
    }
  }

  return {
    update(state) {
      streams = state.streams.filter((one) => one.id && one.is_recorded);
      const names = streams.map((one) => one.id).join('\n');
      if ([...choose.options].map((one) => one.value).join('\n') !== names) {
        choose.replaceChildren(...streams.map((one) => h('option', {value: one.id, selected: one.id === id}, one.name)));
      }
      if (!id && streams.length) open(streams[0].id);
      else if (!streams.length) words.textContent = 'No stream is recorded; the run has to be started with a folder for recordings.';
    },
    close() {
      replay.close();
    },
  };
}
