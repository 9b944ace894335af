// Small helpers for building the page: no library is needed for what it does.

/** An element: h('p', {class: 'x', onclick: f}, 'text', child). Attributes that are null or false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  fill(element, attributes, children);
  return element;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== 'string' && typeof value !== 'boolean') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child);
}

/** Says something for a few seconds. */
export function say(text, good = false) {
  const line = h('p', {class: good ? 'good' : null}, text);
  document.getElementById('messages').append(line);
  setTimeout(() => line.remove(), good ? 4000 : 9000);
}

export const number = (value, digits = 0) =>
  Number(value).toLocaleString('en', {minimumFractionDigits: digits, maximumFractionDigits: digits});

/** A number with its noun: 1 file, 2 files. */
export const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? '' : 's'}`;

/** Seconds as 1:02:03. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, '0'));
  return `${Math.floor(whole / 3600)}:${parts.join(':')}`;
}

/** A time in the viewer's own zone. */
export const moment = (ms) => new Date(ms).toLocaleString(undefined, {dateStyle: 'short', timeStyle: 'medium'});

export function stored(key, otherwise) {
  try {
    const text = localStorage.getItem(`edgevision.${key}`);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

export function store(key, value) {
  try {
    localStorage.setItem(`edgevision.${key}`, JSON.stringify(value));
  } catch {
    // A private window keeps nothing.
  }
}
