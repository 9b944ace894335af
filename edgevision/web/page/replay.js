// A recording without drawings: what was found lies beside it, and is drawn over the image it was found in.

import {draw, paintMasks} from './drawing.js';

const TICKS = 90000;
const PART_S = 20;  // of the recording, asked for at once
const KEPT = 4;  // parts in memory
const OLDEST_S = 1;  // boxes of an image before, where those of the one that is shown are not there

export const replays = new Set();

export class Replay {
  /**
   * @param video plays the recording; its parent holds the canvas too.
   * @param stream colours of its classes.
   * @param look what is drawn; shared with the controls.
   */
  constructor(video, canvas, stream, look) {
    Object.assign(this, {video, canvas, stream, look});
    this.parts = new Map();
    this.shown = {found: null, painted: []};
    this.counts = {shown: 0, matched: 0};
    this.resizer = new ResizeObserver(() => this.redraw());
    this.resizer.observe(canvas);
    replays.add(this);
    const step = (time_s) => {
      if (this.isClosed) return;
      this.showAt(time_s);
      this.next();
    };
    // Without the callback of each image the nearest one before is drawn.
    this.next = video.requestVideoFrameCallback
      ? () => video.requestVideoFrameCallback((now, meta) => step(meta.mediaTime))
      : () => requestAnimationFrame(() => step(video.currentTime));
    this.next();
  }

  /** Plays another file; `boxes` is where what was found is asked for, null where it has drawings. */
  open(address, boxes) {
    this.boxes = boxes;
    this.parts.clear();
    this.shown = {found: null, painted: []};
    this.video.src = address;
    if (boxes) this.part(0);
    this.redraw();
  }

  close() {
    this.isClosed = true;
    this.resizer.disconnect();
    replays.delete(this);
  }

  /** What was found in one part, by ticks; a promise's answer comes later. */
  part(number) {
    if (!this.parts.has(number)) {
      const one = {found: new Map(), ticks: []};
      this.parts.set(number, one);
      const boxes = this.boxes, begin = Math.round(number * PART_S * TICKS), end = Math.round((number + 1) * PART_S * TICKS);
      fetch(`${boxes}?from=${begin}&to=${end}`, {credentials: 'same-origin'}).then((answer) => (answer.ok ? answer.text() : '')).then((text) => {
        for (const line of text.split('\n')) {
          if (!line) continue;
          const {t, d} = JSON.parse(line);
          one.found.set(t, d);
        }
        one.ticks = [...one.found.keys()];
        if (this.boxes === boxes) this.showAt(this.at ?? 0);
      }, () => this.parts.delete(number));
      for (const old of this.parts.keys()) {
        if (this.parts.size <= KEPT) break;
        if (old !== number) this.parts.delete(old);
      }
    }
    return this.parts.get(number);
  }

  showAt(time_s) {
    this.at = time_s;
    if (!this.boxes) return;
    const ticks = Math.round(time_s * TICKS), number = Math.floor(time_s / PART_S);
    const part = this.part(number);
    if (time_s - number * PART_S > PART_S / 2) this.part(number + 1);
    const key = [ticks, ticks - 1, ticks + 1].find((one) => part.found.has(one))
      ?? part.ticks.findLast?.((one) => one <= ticks && one > ticks - OLDEST_S * TICKS);
    const found = key === undefined ? null : part.found.get(key);
    this.counts.shown += 1;
    this.counts.matched += Math.abs(key - ticks) <= 1;
    const shown = {found, painted: []};
    this.shown = shown;
    if (found?.masks && this.look.masks) {
      paintMasks(found.masks, this.stream.colours).then((painted) => {
        shown.painted = painted;
        if (this.shown === shown) this.redraw();
      });
    }
    this.redraw();
  }

  redraw() {
    const size = {width: this.video.videoWidth, height: this.video.videoHeight};
    draw(this.canvas, this.boxes ? this.shown.found : null, this.look, this.stream, size, this.shown.painted);
  }
}
