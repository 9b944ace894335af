// Events: a list and a timeline, filtered, and the clip of each.

import {ask} from './api.js';
import {look} from './controls.js';
import {counted, duration, h, moment, s, say} from './dom.js';
import {playback} from './playback.js';
import {Replay} from './replay.js';

const DAY_MS = 86400000;
const SPANS = [['hour', DAY_MS / 24], ['day', DAY_MS], ['week', 7 * DAY_MS], ['30 days', 30 * DAY_MS]];

export function eventsView(content, page) {
  const wanted = {stream: '', class: '', zone: '', span: DAY_MS, from: null, to: null};
  const stream = h('select', {onchange: () => change('stream', stream.value)}, h('option', {value: ''}, 'all'));
  const kind = h('select', {onchange: () => change('class', kind.value)}, h('option', {value: ''}, 'all'));
  const zone = h('input', {type: 'search', size: '10', onchange: () => change('zone', zone.value.trim())});
  const span = h('select', {onchange: () => {
    wanted.from = wanted.to = null;
    change('span', Number(span.value));
  }}, SPANS.map(([name, ms]) => h('option', {value: String(ms), selected: ms === DAY_MS}, `last ${name}`)));
  const timeline = h('div', {});
  const list = h('ul', {class: 'events'});
  const words = h('p', {class: 'faint', role: 'status'});
  const more = h('button', {hidden: true, onclick: () => load(false)}, 'Show earlier ones');
  const dialog = h('dialog', {'aria-label': 'event'});
  content.append(
    h('div', {class: 'bar'}, h('label', {}, 'stream', stream), h('label', {}, 'class', kind), h('label', {}, 'zone', zone), h('label', {}, 'time', span)),
    timeline, words, list, more, dialog);
  let replay = null, events = [], isClosed = false, isLoading = false, newest = '';

  const change = (key, value) => {
    wanted[key] = value;
    load(true);
  };
  const bounds = () => {
    const to = wanted.to ?? Date.now();
    return {from: wanted.from ?? to - wanted.span, to};
  };
  const question = (extra) => {
    const {from, to} = bounds();
    const found = new URLSearchParams({from: String(Math.round(from)), to: String(Math.round(to)), ...extra});
    for (const key of ['stream', 'class', 'zone']) if (wanted[key]) found.set(key, wanted[key]);
    return found;
  };

  async function load(anew) {
    if (isLoading) return;
    isLoading = true;
    try {
      const last = anew ? null : events.at(-1);
      const found = await ask(`api/events?${question({limit: '60', ...(last ? {before: `${last.first_ms},${last.id}`} : {})})}`);
      if (isClosed) return;
      options(stream, found.streams, wanted.stream);
      options(kind, found.classes, wanted.class);
      events = anew ? found.events : [...events, ...found.events];
      more.hidden = found.events.length < 60;
      const state = JSON.stringify(events);
      if (state !== newest) {
        newest = state;
        list.replaceChildren(...events.map(card));
      }
      words.textContent = events.length ? counted(events.length, 'event') : 'No events in this time. Events come of streams that are tracked.';
      if (anew) await drawTimeline();
    } catch (error) {
      words.textContent = error.status === 404 ? 'No events are kept in this run.' : error.message;
    } finally {
      isLoading = false;
    }
  }

  async function drawTimeline() {
    const {from, to} = bounds();
    const found = await ask(`api/events/counts?${question({})}`);
    const rows = Object.values(found.streams);
    const sums = rows.length ? rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0)) : [];
    const highest = Math.max(1, ...sums), total = sums.reduce((a, b) => a + b, 0);
    const label = `${counted(total, 'event')} from ${moment(from)} to ${moment(to)}; drag over a part to look closer`;
    const picture = s('svg', {class: 'timeline', viewBox: '0 0 240 50', preserveAspectRatio: 'none', role: 'img', 'aria-label': label},
      sums.map((count, i) => (count ? s('rect', {x: String(i), y: String(50 - 48 * count / highest), width: '.9', height: String(48 * count / highest), fill: 'currentColor'}) : null)));
    let begin = null;
    const share = (event) => {
      const box = picture.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    picture.addEventListener('pointerdown', (event) => { begin = share(event); });
    picture.addEventListener('pointerup', (event) => {
      const end = share(event);
      if (begin !== null && Math.abs(end - begin) > 0.01) {
        wanted.from = from + Math.min(begin, end) * (to - from);
        wanted.to = from + Math.max(begin, end) * (to - from);
        load(true);
      }
      begin = null;
    });
    timeline.replaceChildren(picture, h('p', {class: 'faint'}, label, wanted.from === null ? null : h('button', {onclick: () => {
      wanted.from = wanted.to = null;
      load(true);
    }}, 'Whole time')));
  }

  const card = (one) => h('li', {}, h('button', {class: 'card', onclick: () => show(one.id)},
    one.has_image
      ? h('img', {src: `api/events/${encodeURIComponent(one.id)}/image.jpg?${one.last_ms}`, alt: `${one.class_name}, best image`, loading: 'lazy'})
      : h('span', {class: 'none'}),
    h('span', {}, h('strong', {}, one.class_name), ` ${one.score.toFixed(2)}`, h('br'), one.stream, h('br'), moment(one.first_ms), h('br'),
      h('span', {class: 'faint'}, `${one.is_over ? duration((one.last_ms - one.first_ms) / 1000) : 'still there'}${one.zones.length ? `, ${one.zones.join(', ')}` : ''}${one.has_clip ? ', clip' : ''}`))));

  async function show(id) {
    try {
      const {event, changes, clip} = await ask(`api/events/${encodeURIComponent(id)}`);
      const path = `api/events/${encodeURIComponent(id)}`;
      const video = clip ? h('video', {playsinline: true, preload: 'auto', 'aria-label': 'clip of the event'}) : null;
      const canvas = h('canvas', {'aria-hidden': 'true'}), said = h('p', {class: 'faint', role: 'status'});
      replay?.close();
      replay = null;
      if (video) {
        const colours = page.current()?.streams.find((one) => one.name === event.stream)?.classes ?? {};
        replay = new Replay(video, canvas, {colours}, look, (text) => { said.textContent = text; });
        replay.open(`${path}/clip.mp4#t=${clip.start_s}`, clip.has_boxes ? `${path}/boxes` : null);
        video.muted = true;
        video.addEventListener('loadedmetadata', () => {
          if (video.currentTime < clip.start_s) video.currentTime = clip.start_s;
          video.play().catch(() => {});
        }, {once: true});
      }
      dialog.replaceChildren(h('div', {},
        h('div', {class: 'bar'}, h('h2', {}, `${event.class_name} at ${event.stream}`), h('button', {onclick: () => dialog.close()}, 'Close')),
        video ? [playback(video, canvas, () => replay?.redraw()), said] : h('p', {class: 'faint'}, 'There is no recording of it; record the stream to have clips.'),
        event.has_image ? h('p', {}, h('img', {src: `${path}/image.jpg`, alt: `best image of the ${event.class_name}`})) : null,
        h('ul', {class: 'remarks'}, changes.map((one) => h('li', {}, `${moment(one.at_ms)}: ${one.why}`)))));
      dialog.showModal();
    } catch (error) {
      say(error.message);
    }
  }

  dialog.addEventListener('close', () => {
    replay?.close();
    replay = null;
    dialog.replaceChildren();
  });
  load(true);
  return {
    update() {
      if (wanted.to === null && !dialog.open && events.length <= 60) load(true);
    },
    close() {
      isClosed = true;
      replay?.close();
    },
  };
}

function options(select, names, chosen) {
  if ([...select.options].slice(1).map((one) => one.value).join('\n') === names.join('\n')) return;
  select.replaceChildren(h('option', {value: ''}, 'all'), ...names.map((name) => h('option', {value: name, selected: name === chosen}, name)));
}
