// Zones and lines, drawn on a still of the stream. Positions are shares of the image, whatever its size.

import {ask, streamPath} from './api.js';
import {placed} from './drawing.js';
import {h, s, say} from './dom.js';

const STEP = 0.005;
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

export function zonesView(content) {
  const choose = h('select', {onchange: () => {
    if (mayLeave()) open(choose.value);
    else choose.value = id;
  }});
  const image = h('img', {alt: 'still of the stream'});
  const svg = s('svg', {class: 'editor', tabindex: '0', 'aria-label': 'zones on the image'});
  const screen = h('div', {class: 'screen'}, image, svg);
  const list = h('ul', {class: 'remarks'});
  const words = h('p', {class: 'faint', role: 'status'});
  const counts = h('dl', {}), nothing = h('p', {class: 'faint'}, 'Nothing is counted yet.');
  const button = (text, action, kind = '') => h('button', {class: kind, onclick: action}, text);
  const save = button('Save', () => send(), 'main');
  content.append(
    h('div', {class: 'bar'}, h('label', {}, 'stream', choose), button('New zone', () => begin('zone')), button('New line', () => begin('line')),
      button('Finish', () => finish()), button('New still', () => still()), save),
    h('div', {class: 'zones'}, screen, h('div', {class: 'card'}, words, list, h('h2', {}, 'Counts'), counts, nothing)));
  let id = null, version = 'none', places = [], drawing = null, dragging = null, isChanged = false, size = {width: 16, height: 9}, canChange = false;

  const mayLeave = () => !(isChanged || drawing?.points.length) || confirm('What you drew is not saved. Leave it?');

  async function open(name) {
    id = name;
    drawing = null;
    isChanged = false;
    try {
      const found = await ask(streamPath(id, 'zones'));
      take(found);
      words.textContent = canChange ? 'Choose New zone or New line, then click on the image. Enter finishes, Escape gives up; arrow keys move a corner that has the focus.' : 'This stream has no model that detects, so zones would count nothing.';
    } catch (error) {
      words.textContent = error.message;
    }
    still();
  }

  function take(found) {
    version = found.version;
    canChange = found.can_change;
    places = [
      ...(found.layout?.zones ?? []).map((one) => ({...one, kind: 'zone', points: one.polygon.map((point) => [...point])})),
      ...(found.layout?.lines ?? []).map((one) => ({...one, kind: 'line', points: [[...one.from], [...one.to]]})),
    ];
    redraw();
  }

  async function still() {
    if (!id) return;
    image.src = `${streamPath(id, 'still.jpg')}?${Date.now()}`;
  }

  image.addEventListener('load', () => {
    size = {width: image.naturalWidth, height: image.naturalHeight};
    screen.style.aspectRatio = `${size.width} / ${size.height}`;
    redraw();
  });
  image.addEventListener('error', () => { words.textContent = 'The stream gives no still at the moment.'; });

  function begin(kind) {
    finish();
    const names = new Set(places.map((one) => one.name));
    let number = 1;
    while (names.has(`${kind}-${number}`)) number += 1;
    drawing = {kind, name: `${kind}-${number}`, points: [], at: [0.5, 0.5]};
    const keys = 'With keys: arrows move the cross (with Shift in small steps), Space sets a corner.';
    words.textContent = kind === 'zone' ? `Click the corners in order; Enter or a double click finishes. ${keys}` : `Click where the line begins and where it ends; who crosses it to the right goes in. ${keys}`;
    svg.focus();
    redraw();
  }

  function finish() {
    if (!drawing) return;
    const needed = drawing.kind === 'zone' ? 3 : 2;
    if (drawing.points.length >= needed) {
      places.push(drawing);
      isChanged = true;
      words.textContent = 'Not saved yet.';
    } else if (drawing.points.length) {
      say(`A ${drawing.kind} needs ${needed} points.`);
    }
    drawing = null;
    redraw();
  }

  /** Where a pointer is, as shares of the image. */
  function share(event) {
    const box = svg.getBoundingClientRect();
    const place = placed(size.width, size.height, box.width, box.height);
    const x = (event.clientX - box.left - place.left) / place.width, y = (event.clientY - box.top - place.top) / place.height;
    return [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
  }

  svg.addEventListener('pointerdown', (event) => {
    if (!drawing || event.target.closest('circle')) return;
    event.preventDefault();
    add(share(event));
    redraw();
  });
  svg.addEventListener('dblclick', () => finish());
  svg.addEventListener('pointermove', (event) => {
    if (!dragging) return;
    dragging.points[dragging.index] = share(event);
    isChanged = true;
    redraw();
  });
  svg.addEventListener('pointerup', () => { dragging = null; });
  svg.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') finish();
    if (event.key === 'Escape') {
      drawing = null;
      redraw();
    }
    const way = ARROWS[event.key];
    if (!drawing || event.target !== svg || !(way || event.key === ' ')) return;
    event.preventDefault();
    const step = event.shiftKey ? STEP : 5 * STEP;
    if (way) drawing.at = drawing.at.map((value, axis) => Math.min(1, Math.max(0, value + step * way[axis])));
    else add(drawing.at);
    redraw();
  });

  /** A corner of what is being drawn. */
  function add(point) {
    const last = drawing.points.at(-1);
    if (!last || Math.hypot(last[0] - point[0], last[1] - point[1]) > 0.002) drawing.points.push([...point]);
    if (drawing.kind === 'line' && drawing.points.length === 2) finish();
  }

  function arrow([[x1, y1], [x2, y2]]) {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1, x = (x1 + x2) / 2, y = (y1 + y2) / 2;
    const tip = [x - (y2 - y1) / length * 26, y + (x2 - x1) / length * 26];  // to the right of its direction
    return [
      s('line', {x1: String(x), y1: String(y), x2: String(tip[0]), y2: String(tip[1]), stroke: '#42d392', 'stroke-width': '4'}),
      s('text', {x: String(tip[0]), y: String(tip[1]), fill: '#fff', stroke: '#000', 'stroke-width': '3', 'paint-order': 'stroke', 'text-anchor': 'middle'}, 'in'),
    ];
  }

  function redraw() {
    const box = svg.getBoundingClientRect();
    const place = placed(size.width, size.height, box.width || 1, box.height || 1);
    const at = ([x, y]) => [place.left + x * place.width, place.top + y * place.height];
    const focused = document.activeElement?.dataset?.corner;
    svg.setAttribute('viewBox', `0 0 ${box.width || 1} ${box.height || 1}`);
    const shapes = [];
    for (const one of [...places, ...(drawing ? [drawing] : [])]) {
      const corners = one.points.map(at), text = corners.map((corner) => corner.join(',')).join(' ');
      const isOpen = one.kind === 'line' || one === drawing;
      shapes.push(s(isOpen ? 'polyline' : 'polygon', {points: text, fill: isOpen ? 'none' : '#ffc80033', stroke: '#ffc800', 'stroke-width': '2.5'}));
      if (one.kind === 'line' && corners.length === 2) shapes.push(...arrow(corners));
      corners.forEach(([x, y], index) => shapes.push(s('circle', {
        cx: String(x), cy: String(y), r: '8', fill: '#10202c', stroke: '#ffc800', 'stroke-width': '2.5', tabindex: '0', role: 'button',
        'data-corner': `${one.name}/${index}`, 'aria-label': `corner ${index + 1} of ${one.name}`,
        onpointerdown: (event) => {
          if (one === drawing && one.kind === 'zone' && index === 0 && one.points.length > 2) {
            finish();
            return;
          }
          dragging = {points: one.points, index};
          svg.setPointerCapture(event.pointerId);
        },
        onkeydown: (event) => {
          const way = ARROWS[event.key];
          if (!way) return;
          event.preventDefault();
          one.points[index] = one.points[index].map((value, axis) => Math.min(1, Math.max(0, value + STEP * way[axis])));
          isChanged = true;
          redraw();
        },
      })));
      if (corners.length) shapes.push(s('text', {x: String(corners[0][0] + 10), y: String(corners[0][1] - 10), fill: '#fff', stroke: '#000', 'stroke-width': '3', 'paint-order': 'stroke'}, one.name));
    }
    if (drawing && document.activeElement === svg) {
      const [x, y] = at(drawing.at);
      for (const [dx, dy] of [[14, 0], [0, 14]]) {
        shapes.push(s('line', {x1: String(x - dx), y1: String(y - dy), x2: String(x + dx), y2: String(y + dy), stroke: '#42d392', 'stroke-width': '3'}));
      }
    }
    svg.replaceChildren(...shapes);
    if (focused) [...svg.querySelectorAll('circle')].find((one) => one.dataset.corner === focused)?.focus();
    list.replaceChildren(...places.map((one) => h('li', {class: 'place'}, h('input', {
      value: one.name, 'aria-label': `name of ${one.name}`, onchange: (event) => {
        one.name = event.target.value.trim() || one.name;
        isChanged = true;
        redraw();
      },
    }), h('button', {class: 'danger', 'aria-label': `remove ${one.name}`, onclick: () => {
      places = places.filter((other) => other !== one);
      isChanged = true;
      redraw();
    }}, 'Remove'))));
    save.disabled = !canChange;
  }

  async function send() {
    finish();
    const kept = ({kind, points, polygon, from, to, at, ...rest}) => rest;
    const body = {
      version,
      zones: places.filter((one) => one.kind === 'zone').map((one) => ({...kept(one), polygon: one.points})),
      lines: places.filter((one) => one.kind === 'line').map((one) => ({...kept(one), from: one.points[0], to: one.points[1]})),
    };
    try {
      take(await ask(streamPath(id, 'zones'), {method: 'PUT', body}));
      isChanged = false;
      words.textContent = 'Saved, and in force.';
      say('Saved; the zones are in force.', true);
    } catch (error) {
      say(error.message);
      if (error.status === 412) {
        const mine = places;
        await open(id);
        const names = new Set(places.map((one) => one.name));
        places.push(...mine.filter((one) => !names.has(one.name)));  // both are on the image; saving keeps both
        isChanged = true;
        words.textContent = 'Somebody else changed the zones. What you drew is added to theirs; save again to keep both.';
        redraw();
      }
    }
  }

  const watcher = new ResizeObserver(() => redraw());
  watcher.observe(svg);
  return {
    update(state) {
      const streams = state.streams.filter((one) => one.id && one.state !== 'paused');
      const names = streams.map((one) => one.id).join('\n');
      if ([...choose.options].map((one) => one.value).join('\n') !== names) {
        choose.replaceChildren(...streams.map((one) => h('option', {value: one.id, selected: one.id === id}, one.name)));
      }
      if (!id && streams.length) open(streams[0].id);
      const stream = streams.find((one) => one.id === id);
      const rows = Object.entries(stream?.zone_counts ?? {});
      counts.replaceChildren(...rows.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, text)]));
      nothing.hidden = rows.length > 0;
    },
    mayLeave,
    close() {
      watcher.disconnect();
    },
  };
}
