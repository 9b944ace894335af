// Buttons of a recording. Not the browser's own: those lie under the canvas that shows image and boxes.

import {fullButton} from './controls.js';
import {duration, h} from './dom.js';

const SPEEDS = [['1/4', 0.25], ['1/2', 0.5], ['normal', 1], ['double', 2], ['4 times', 4]];

/** A video, what is drawn over it, and its buttons; `changed` is called when its size changes. */
export function playback(video, canvas, changed) {
  const screen = h('div', {class: 'screen'}, video, canvas);
  const play = h('button', {onclick: toggle}, 'Play');
  const slider = h('input', {type: 'range', min: '0', max: '0', step: '0.1', value: '0', 'aria-label': 'position', oninput: () => {
    video.currentTime = Number(slider.value);
  }});
  const time = h('span', {class: 'time'});
  const speed = h('select', {'aria-label': 'speed', onchange: () => { video.playbackRate = Number(speed.value); }},
    SPEEDS.map(([name, rate]) => h('option', {value: String(rate), selected: rate === 1}, name)));
  const element = h('section', {class: 'card tile', 'aria-label': 'recording'}, screen,
    h('div', {class: 'foot playback', role: 'group', 'aria-label': 'playback'}, play, slider, time, speed));
  element.querySelector('.foot').append(fullButton(element, changed));

  function toggle() {
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  // A file that is still being written has no end yet.
  const end = () => (Number.isFinite(video.duration) ? video.duration : video.seekable.length ? video.seekable.end(0) : 0);
  function show() {
    const last = end();
    slider.max = String(Math.max(last, video.currentTime));
    if (document.activeElement !== slider || !video.seeking) slider.value = String(video.currentTime);
    slider.setAttribute('aria-valuetext', `${duration(video.currentTime)} of ${duration(last)}`);
    time.textContent = `${duration(video.currentTime)} / ${duration(last)}`;
    play.textContent = video.paused ? 'Play' : 'Pause';
  }

  for (const kind of ['timeupdate', 'durationchange', 'play', 'pause', 'seeked', 'emptied', 'ended']) video.addEventListener(kind, show);
  video.addEventListener('click', toggle);
  video.addEventListener('loadedmetadata', () => {
    screen.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    video.playbackRate = Number(speed.value);  // a new file begins at the speed of the one before
  });
  show();
  return element;
}
