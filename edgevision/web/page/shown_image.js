// The image that a video shows, held so that what is drawn on it is of no other one.

const TICKS = 90000;

/**
 * A video moves on by itself, so what is drawn over it would often be of the image before on a busy machine;
 * image and boxes in one canvas cannot part. Browsers give a page the image over TLS and from this machine,
 * not over plain HTTP from another one.
 */
export class ShownImage {
  constructor(video) {
    this.video = video;
    this.frame = null;
  }

  /** Takes the image that is shown now, if the browser gives it. */
  take() {
    this.letGo();
    if (!window.VideoFrame) return;
    try {
      this.frame = new VideoFrame(this.video);
    } catch {
      this.frame = null;  // there is no image yet
    }
  }

  letGo() {
    this.frame?.close();
    this.frame = null;
  }

  /** Its time in ticks of 1/90000 s; that of `time_s` where there is none. */
  ticksAt(time_s) {
    return Math.round((this.frame ? this.frame.timestamp / 1e6 : time_s) * TICKS);
  }
}
