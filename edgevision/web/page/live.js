// The grid of all streams, live.

import {ask, streamPath} from './api.js';
import {fullButton, look, lookControls} from './controls.js';
import {h, number} from './dom.js';
import {Player} from './player.js';

/** The view; `update` is called with each new state, `close` when another view is opened. */
export function liveView(content) {
  const grid = h('div', {class: 'grid'});
  const empty = h('p', {class: 'faint'}, 'No stream runs.');
  const tiles = new Map();
  const controls = lookControls(() => {
    for (const tile of tiles.values()) tile.player.redraw();
  });
  content.append(controls.element, empty, grid);
  return {
    update(state) {
      const shown = state.streams.filter((one) => one.id && one.state !== 'paused');
      empty.hidden = shown.length > 0;
      empty.textContent = state.seconds ? 'No stream runs.' : 'The run is starting: its models are being loaded.';
      for (const [id, tile] of tiles) {
        if (!shown.some((one) => one.id === id)) {
          tile.close();
          tiles.delete(id);
        }
      }
      for (const stream of shown) {
        if (!tiles.has(stream.id)) {
          const tile = makeTile(stream);
          tiles.set(stream.id, tile);
          grid.append(tile.element);
        }
        tiles.get(stream.id).update(stream);
      }
      grid.classList.toggle('many', shown.length > 4);
      controls.setClasses([...new Set(shown.flatMap((one) => Object.keys(one.classes)))]);
    },
    close() {
      for (const tile of tiles.values()) tile.close();
    },
  };
}

function makeTile(stream) {
  const video = h('video', {playsinline: true, 'aria-label': `live video of ${stream.name}`});
  video.muted = true;
  const canvas = h('canvas', {'aria-hidden': 'true'});
  const words = h('div', {class: 'words', role: 'status'});
  const play = h('button', {class: 'play main', hidden: true, onclick: () => video.play()}, 'Play');
  const state = h('span', {class: 'state'});
  const foot = h('div', {class: 'foot'});
  const problem = h('span', {});
  const screen = h('div', {class: 'screen'}, video, canvas, words, play);
  const element = h('section', {class: 'card tile', 'aria-label': stream.name});
  const full = fullButton(element, () => player.redraw());
  element.append(h('div', {class: 'head'}, h('h2', {}, stream.name), state, full), screen, foot);
  const about = {id: stream.id, colours: stream.classes, zones: null};
  const player = new Player(about, video, canvas, look, (text, wants) => {
    words.textContent = text;
    play.hidden = wants !== 'play';
  });
  video.addEventListener('playing', () => { play.hidden = true; });
  let version = 0, wasSilent = false;
  return {
    element, player,
    update(found) {
      about.colours = found.classes;
      state.textContent = found.state;
      state.className = `state ${found.state}`;
      const worst = found.remarks.find((one) => one.level !== 'note');
      const isSilent = ['failed', 'ended', 'reconnecting'].includes(found.state);
      problem.textContent = isSilent ? '' : worst?.text ?? '';  // what ended it stands on the screen
      const counts = Object.entries(found.detections).slice(0, 4).map(([name, count]) => `${number(count)} ${name}`);
      foot.replaceChildren(
        ...(isSilent ? [] : [`${number(found.frames_per_second, 1)} fps`, `latency ${number(found.last_latency_ms)} ms`]),
        ...(counts.length ? [`found ${counts.join(', ')}`] : []), problem,
      );
      for (const text of [...foot.childNodes]) if (text.nodeType === Node.TEXT_NODE) text.replaceWith(h('span', {}, text.data));
      if (found.width && found.height && !element.classList.contains('full')) screen.style.aspectRatio = `${found.width} / ${found.height}`;
      if (isSilent) words.textContent = worst?.text ?? `the stream has ${found.state}`;
      else if (wasSilent) words.textContent = '';
      wasSilent = isSilent;
      if (found.zones_version !== version) {
        const wanted = version = found.zones_version;
        const take = (layout) => {
          if (version !== wanted) return;
          about.zones = layout;
          player.redraw();
        };
        if (wanted) ask(streamPath(stream.id, 'zones')).then((zones) => take(zones.layout), () => { version = 0; });
        else take(null);
      }
    },
    close() {
      player.close();
      element.remove();
    },
  };
}
