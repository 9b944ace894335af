// Each stream in numbers and small curves, and what is wrong in words.

import {duration, h, number, s} from './dom.js';

export const wantsCurves = true;

export function stateView(content) {
  const about = h('p', {class: 'faint'});
  const grid = h('div', {class: 'grid'});
  content.append(about, grid);
  return {
    wantsCurves: true,
    update(state) {
      about.textContent = `edgevision ${state.version}, running for ${duration(state.seconds)}; the engine is busy ${number(100 * state.busy)} % of the time.`;
      grid.replaceChildren(...state.streams.map(card));
    },
    close() {},
  };
}

function card(stream) {
  const frames = stream.frames;
  const rows = frames ? [
    ['source', stream.source],
    ['engine', Object.entries(stream.models).map(([name, engine]) => `${name}: ${engine}`).join('; ')],
    ['rate', `${number(stream.frames_per_second, 1)} frames a second`],
    ['latency', `last ${number(stream.last_latency_ms)} ms, p50 ${number(stream.latency.p50_ms)} ms, p95 ${number(stream.latency.p95_ms)} ms`],
    ['captured', `${number(frames.captured)} frames`],
    ['inferred', `${number(frames.inferred)} frames`],
    ['dropped', total(frames.dropped)],
    ['failed', total(frames.failed)],
    ['under way', number(frames.waiting)],
    ['reconnects', `${stream.reconnects} (${stream.failed_attempts} attempts failed)`],
    ['found', Object.entries(stream.detections).map(([name, count]) => `${name} ${number(count)}`).join(', ') || 'nothing'],
    ...stream.deliveries.map((one) => [one.kind, `${one.output}: ${number(one.delivered)} kept, ${number(one.waiting)} waiting, ${number(one.lost)} lost`]),
    ['viewers', number(stream.viewers)],
  ] : [['source', stream.source]];
  return h('section', {class: 'card', 'aria-label': stream.name},
    h('h2', {}, stream.name, ' ', h('span', {class: `state ${stream.state}`}, stream.state)),
    stream.remarks.length ? h('ul', {class: 'remarks'}, stream.remarks.map((one) => h('li', {class: one.level}, one.text))) : null,
    h('dl', {}, rows.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
    stream.curves ? [
      curve('frames a second', stream.curves.at_ms, stream.curves.rate, 1),
      curve('latency in ms', stream.curves.at_ms, stream.curves.latency_ms, 0),
      curve('frames lost in two seconds', stream.curves.at_ms, stream.curves.lost, 0, 'bad'),
    ] : null);
}

const total = (counts) => {
  const parts = Object.entries(counts).filter(([, count]) => count);
  return parts.length ? parts.map(([reason, count]) => `${number(count)} ${reason.replaceAll('_', ' ')}`).join(', ') : '0';
};

/** One line over ten minutes; the newest value on the right. */
function curve(name, at, values, digits, kind = '') {
  const highest = Math.max(...values, 0.001), now = at.at(-1) ?? 0;
  const points = values.map((value, i) => `${(600 - (now - at[i]) / 1000).toFixed(1)},${(38 - 36 * value / highest).toFixed(1)}`);
  const label = values.length
    ? `${name}: now ${number(values.at(-1), digits)}, highest ${number(Math.max(...values), digits)}`
    : `${name}: no data yet`;
  return h('figure', {}, s('svg', {class: 'curve', viewBox: '0 0 600 40', preserveAspectRatio: 'none', role: 'img', 'aria-label': label},
    points.length > 1 ? s('path', {class: kind, d: `M${points.join('L')}`}) : null), h('figcaption', {}, label));
}
