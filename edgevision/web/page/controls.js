// What is drawn over video: switches that all views share.

import {h, store, stored} from './dom.js';

export const look = {boxes: true, labels: true, masks: true, zones: true, score: 0, hidden: [], ...stored('look', {})};

/** The switches; `changed` is called after each change. `setClasses` names the classes that can be left out. */
export function lookControls(changed, kinds = ['boxes', 'labels', 'masks', 'zones']) {
  const element = h('div', {class: 'bar', role: 'group', 'aria-label': 'What is drawn'});
  let names = null;
  const keep = () => {
    store('look', look);
    changed();
  };
  const box = (label, isOn, set) => h('label', {}, h('input', {
    type: 'checkbox', checked: isOn, onchange: (event) => { set(event.target.checked); keep(); },
  }), label);

  function build() {
    const output = h('output', {}, look.score.toFixed(2));
    element.replaceChildren(
      ...kinds.map((key) => box(key, look[key], (on) => { look[key] = on; })),
      h('label', {}, 'score from', h('input', {
        type: 'range', min: '0', max: '1', step: '0.05', value: String(look.score),
        oninput: (event) => { look.score = Number(event.target.value); output.value = look.score.toFixed(2); keep(); },
      }), output),
      ...(names.length ? [h('details', {}, h('summary', {}, 'classes'), h('div', {class: 'bar'}, names.map((name) => box(
        name, !look.hidden.includes(name),
        (on) => { look.hidden = on ? look.hidden.filter((one) => one !== name) : [...look.hidden, name]; },
      ))))] : []),
    );
  }

  const setClasses = (found) => {
    if (names !== null && found.join() === names.join()) return;
    names = found;
    build();
  };
  setClasses([]);
  return {element, setClasses};
}

/** Shows an element in the whole window. Not the browser's own full screen, which on a phone shows the video alone. */
export function fullButton(element, changed) {
  const full = h('button', {
    'aria-pressed': 'false',
    onclick: () => {
      const isFull = element.classList.toggle('full');
      full.setAttribute('aria-pressed', String(isFull));
      changed();
    },
  }, 'Full');
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !element.classList.contains('full')) return;
    event.preventDefault();  // a dialog around it stays open
    full.click();
  });
  return full;
}
