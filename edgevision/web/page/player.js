// One stream, live: fragments of MP4 over a WebSocket into Media Source, or JPEGs where there is none.

import {socketAddress, streamPath} from './api.js';
import {draw, isDrawn, paintMasks} from './drawing.js';
import {ShownImage} from './shown_image.js';

const TICKS = 90000;
const KEPT_S = 4;  // behind the play head; twice that is held at most
const ALLOWED_S = 0.35;  // behind the newest image, and one image more
const HIDDEN_MS = 5000;

export const players = new Set();

export class Player {
  /**
   * @param stream its id; colours and zones may change at any time.
   * @param screen holds the video and the canvas.
   * @param look what is drawn; shared with the controls.
   * @param onWords called with what to say about it; empty where it plays.
   */
  constructor(stream, video, canvas, look, onWords) {
    Object.assign(this, {stream, video, canvas, look, onWords});
    this.image = new ShownImage(video);
    this.drawings = new Map();
    this.shown = {ticks: null, found: null, masks: []};
    this.counts = {shown: 0, seeks: 0, errors: 0, matched: 0, unmatched: 0, init: 0, delay_ms: []};
    this.interval = 0.04;
    this.wait_ms = 500;
    this.size = {width: 0, height: 0};
    this.onHidden = () => this.noticeVisibility();
    document.addEventListener('visibilitychange', this.onHidden);
    video.addEventListener('error', () => this.fail('the browser cannot play the stream'));
    this.resizer = new ResizeObserver(() => this.redraw());
    this.resizer.observe(canvas);
    players.add(this);
    this.start();
  }

  get mediaSource() {
    const found = window.ManagedMediaSource ?? window.MediaSource;
    return found?.isTypeSupported('video/mp4; codecs="avc1.64001f"') ? found : null;
  }

  start() {
    if (this.socket || this.isClosed) return;
    this.kind = this.mediaSource && !this.onlyJpeg ? 'h264' : 'jpeg';
    this.video.hidden = this.kind === 'jpeg';
    this.onWords('connecting');
    const socket = new WebSocket(socketAddress(streamPath(this.stream.id, `live?as=${this.kind}`)));
    socket.binaryType = 'arraybuffer';
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => {
      if (this.socket === socket) this.lost(event);
    };
    this.socket = socket;
  }

  stop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    clearTimeout(this.timer);
    this.dropSource();
  }

  close() {
    this.isClosed = true;
    this.stop();
    clearTimeout(this.hideTimer);
    this.resizer.disconnect();
    document.removeEventListener('visibilitychange', this.onHidden);
    players.delete(this);
  }

  lost(event) {
    this.stop();
    if (event.code === 4401 || event.code === 4403) window.dispatchEvent(new Event('edgevision-login'));
    const words = {4404: 'the stream is over', 1013: 'too many viewers', 1000: 'the stream is over'}[event.code];
    this.onWords(words ?? 'the connection is lost; trying again');
    this.timer = setTimeout(() => this.start(), this.wait_ms);
    this.wait_ms = Math.min(this.wait_ms * 2, 5000);
  }

  fail(words) {
    this.counts.errors += 1;
    this.onWords(words);
    this.stop();
    this.timer = setTimeout(() => this.start(), 1000);
  }

  noticeVisibility() {
    clearTimeout(this.hideTimer);
    if (document.hidden) this.hideTimer = setTimeout(() => this.stop(), HIDDEN_MS);
    else this.start();
  }

  take(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const payload = new Uint8Array(data, 4 + length);
    this.wait_ms = 500;
    if (header.kind === 'init') this.begin(header, payload);
    else if (header.kind === 'frame') this.queueFrame(header, payload);
    else if (header.kind === 'jpeg') this.showJpeg(header, payload);
  }

  begin(header, payload) {
    this.counts.init += 1;
    const type = `video/mp4; codecs="${header.codec}"`;
    if (!this.source) {
      this.openSource(type);
    } else if (this.buffer && this.type !== type) {
      this.queue.push({change: type});
    }
    this.type = type;
    this.queue.push({data: payload});
    this.pump();
  }

  openSource(type) {
    const Source = this.mediaSource;
    const source = new Source();
    this.queue = [];
    this.source = source;
    this.video.disableRemotePlayback = true;  // or a ManagedMediaSource does not open
    this.video.muted = true;
    this.address = URL.createObjectURL(source);
    source.addEventListener('sourceopen', () => {
      if (this.source !== source) return;
      this.buffer = source.addSourceBuffer(type);
      this.buffer.addEventListener('updateend', () => {
        this.follow();
        this.pump();
      });
      this.pump();
    }, {once: true});
    this.video.src = this.address;
    this.watchFrames();
  }

  dropSource() {
    this.image.letGo();
    this.source = this.buffer = null;
    this.queue = [];
    this.drawings.clear();
    if (this.address) {
      URL.revokeObjectURL(this.address);
      this.address = null;
      this.video.removeAttribute('src');
      this.video.load();
    }
  }

  queueFrame(header, payload) {
    if (!this.source) return;  // what is left of a connection that was given up
    if (this.last !== undefined) {
      const passed = (header.t - this.last) / TICKS;
      if (passed > 0 && passed < 5) this.interval += (passed - this.interval) * 0.2;
    }
    this.last = header.t;
    this.drawings.set(header.t, {found: header.d, at: header.at, painted: null});
    if (header.d.masks && this.look.masks) {
      paintMasks(header.d.masks, this.stream.colours).then((painted) => {
        const one = this.drawings.get(header.t);
        if (one) one.painted = painted;
        if (this.shown.ticks === header.t) this.redraw();
      });
    }
    this.queue.push({data: payload});
    this.pump();
  }

  pump() {
    const buffer = this.buffer;
    if (!buffer || buffer.updating || this.source?.readyState !== 'open') return;
    const now = this.video.currentTime;
    const ranges = buffer.buffered;
    if (ranges.length && ranges.start(0) < now - 2 * KEPT_S) {
      buffer.remove(ranges.start(0), now - KEPT_S);
      return;
    }
    if (!this.queue.length) return;
    try {
      if (this.queue[0].change) {
        buffer.changeType(this.queue.shift().change);
        this.pump();
        return;
      }
      const until = this.queue.findIndex((one) => one.change);
      const parts = this.queue.splice(0, until < 0 ? this.queue.length : until);
      buffer.appendBuffer(joined(parts.map((one) => one.data)));
    } catch (error) {
      this.fail(error.name === 'QuotaExceededError' ? 'the browser has no memory left; starting again' : 'the stream cannot be played; starting again');
    }
  }

  follow() {
    const ranges = this.buffer?.buffered;
    if (!ranges?.length) return;
    const end = ranges.end(ranges.length - 1), start = ranges.start(ranges.length - 1);
    const video = this.video;
    const behind = end - video.currentTime;
    if (behind > ALLOWED_S + 2 * this.interval || video.currentTime < start) {
      video.currentTime = Math.max(start, end - 1.5 * this.interval);  // never by another rate: Safari stalls
      this.counts.seeks += 1;
    }
    if (video.paused) {
      video.play().then(() => this.onWords(''), () => this.onWords('', 'play'));
    }
  }

  watchFrames() {
    const source = this.source;
    if (!this.video.requestVideoFrameCallback) {
      const step = () => {
        if (this.source !== source) return;
        this.showAt(this.video.currentTime, false);
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
      return;
    }
    const step = (now, meta) => {
      if (this.source !== source) return;
      this.size = {width: meta.width, height: meta.height};
      this.showAt(meta.mediaTime, true);
      this.video.requestVideoFrameCallback(step);
    };
    this.video.requestVideoFrameCallback(step);
  }

  /** Draws what belongs to the image at a time; exact where the browser tells which image it shows. */
  showAt(time_s, isExact) {
    if (isDrawn(this.look)) this.image.take();
    else this.image.letGo();
    let ticks = this.image.ticksAt(time_s);
    if (!isExact) {
      this.size = {width: this.video.videoWidth, height: this.video.videoHeight};
      ticks = Math.max(...[...this.drawings.keys()].filter((one) => one <= ticks + 1));
    }
    const key = [ticks, ticks - 1, ticks + 1].find((one) => this.drawings.has(one));
    const one = key === undefined ? null : this.drawings.get(key);
    if (one) {
      this.counts.matched += this.shown.ticks !== key;
      this.counts.delay_ms.push(Date.now() - one.at);
      if (this.counts.delay_ms.length > 1000) this.counts.delay_ms.shift();
      this.onWords('');
    } else {
      this.counts.unmatched += 1;
    }
    this.shown = {ticks: key ?? ticks, found: one?.found ?? null, one};
    this.counts.shown += 1;
    this.redraw();
    for (const old of this.drawings.keys()) {
      if (old >= ticks - TICKS) break;
      this.drawings.delete(old);
    }
  }

  async showJpeg(header, payload) {
    const socket = this.socket;
    const image = await createImageBitmap(new Blob([payload], {type: 'image/jpeg'}));
    const painted = this.look.masks ? await paintMasks(header.d.masks, this.stream.colours) : [];
    this.size = {width: image.width, height: image.height};
    this.shown = {ticks: header.t, found: header.d, one: {painted}, under: image};
    this.counts.shown += 1;
    this.counts.matched += 1;
    this.counts.delay_ms.push(Date.now() - header.at);
    this.onWords('');
    this.redraw();
    if (socket?.readyState === WebSocket.OPEN) socket.send('shown');
  }

  redraw() {
    const {found, one, under} = this.shown;
    const image = under ?? (isDrawn(this.look) ? this.image.frame : null);
    draw(this.canvas, found, this.look, this.stream, this.size, one?.painted ?? [], image);
  }
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
