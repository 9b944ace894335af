// A recording without drawings: what was found lies beside it, and is drawn over the image it was found in.

import {askLines} from './api.js';
import {draw, isDrawn, paintMasks} from './drawing.js';
import {ShownImage} from './shown_image.js';

const TICKS = 90000;
const PART_S = 20;  // of the recording, asked for at once
const RETRY_MS = 3000;
const KEPT = 4;  // parts in memory
const OLDEST_S = 1;  // boxes of an image before, where those of the one that is shown are not there

export const replays = new Set();

export class Replay {
  /**
   * @param video plays the recording; its parent holds the canvas too.
   * @param stream colours of its classes.
   * @param look what is drawn; shared with the controls.
   * @param onWords called with what is wrong with the boxes; empty where nothing is.
   */
  constructor(video, canvas, stream, look, onWords) {
    Object.assign(this, {video, canvas, stream, look, onWords});
    this.parts = new Map();
    this.image = new ShownImage(video);
    this.shown = {found: null, painted: []};
    this.counts = {shown: 0, matched: 0};
    this.resizer = new ResizeObserver(() => this.redraw());
    this.resizer.observe(canvas);
    replays.add(this);
    const step = (time_s) => {
      if (this.isClosed) return;
      this.showNow(time_s);
      this.next();
    };
    this.next = video.requestVideoFrameCallback
      ? () => video.requestVideoFrameCallback((now, meta) => step(meta.mediaTime))
      : () => requestAnimationFrame(() => step(video.currentTime));
    this.next();
  }

  /** Plays another file; `boxes` is where what was found is asked for, null where it has drawings. */
  open(address, boxes) {
    this.boxes = boxes;
    this.parts.clear();
    this.image.letGo();
    this.onWords('');
    this.shown = {found: null, painted: []};
    this.video.src = address;
    if (boxes) this.part(0);
    this.redraw();
  }

  close() {
    this.isClosed = true;
    this.image.letGo();
    this.resizer.disconnect();
    replays.delete(this);
  }

  /** What was found in one part, by ticks; a promise's answer comes later. */
  part(number) {
    if (!this.parts.has(number)) {
      const one = {found: new Map(), ticks: [], places: []}, boxes = this.boxes;
      this.parts.set(number, one);
      this.read(one, boxes, Math.round(number * PART_S * TICKS), Math.round((number + 1) * PART_S * TICKS)).catch((error) => {
        if (this.boxes !== boxes) return;
        this.onWords(`The boxes of this part are missing: ${error.message}.`);
        setTimeout(() => this.parts.get(number) === one && this.parts.delete(number), RETRY_MS);  // and then it is asked for again
      });
      for (const old of this.parts.keys()) {
        if (this.parts.size <= KEPT) break;
        if (old !== number) this.parts.delete(old);
      }
    }
    return this.parts.get(number);
  }

  /** Reads a part; one that is too long for an answer comes in several. */
  async read(one, boxes, begin, end) {
    for (let next = begin; next !== null && this.boxes === boxes;) {
      const lines = await askLines(`${boxes}?from=${next}&to=${end}`);
      for (const {t, d} of lines.found) {
        one.found.set(t, d);
        if (d.places) one.places.push([t, d.places]);
      }
      one.ticks = [...one.found.keys()];
      next = lines.rest;
    }
    if (this.boxes !== boxes) return;
    this.onWords('');
    this.showAt(this.at ?? 0);
  }

  /** Draws the image that is shown now and what was found in it; also after a change of what is drawn. */
  showNow(time_s = this.video.currentTime) {
    if (this.boxes && isDrawn(this.look)) this.image.take();
    else this.image.letGo();
    this.showAt(this.image.ticksAt(time_s) / TICKS);
  }

  /** Draws what was found at a time, or in the nearest image before: not each one is looked at in each run. */
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
    const places = part.places.findLast?.(([one]) => one <= ticks) ?? part.places[0];
    const isCounted = found?.zones?.length || found?.lines?.length;  // zones came later than the recording began
    const shown = {found, painted: [], zones: isCounted ? places?.[1] ?? null : null};
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
    const stream = {...this.stream, zones: this.shown.zones};
    draw(this.canvas, this.boxes ? this.shown.found : null, this.look, stream, size, this.shown.painted, this.image.frame);
  }
}
