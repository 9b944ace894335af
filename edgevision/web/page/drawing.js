// What the models found, drawn over the image it was found in.

const PLATE = 'rgb(0 0 0 / .75)';
const ZONE = '#c8c8c8', BUSY = '#ffc800';

/** Where an image of this shape lies in a box, as object-fit: contain puts it. */
export function placed(width, height, boxWidth, boxHeight) {
  const scale = Math.min(boxWidth / width, boxHeight / height);
  return {
    left: (boxWidth - width * scale) / 2, top: (boxHeight - height * scale) / 2,
    width: width * scale, height: height * scale,
  };
}

/** Whether anything is wanted. */
export const isDrawn = (look) => look.boxes || look.labels || look.masks || look.zones;

/** Whether a box is wanted. */
export const isShown = (box, look) => box[1] >= look.score && !look.hidden.includes(box[0]);

/**
 * Draws one frame's results.
 * @param canvas covers the whole tile; it gets its own pixels.
 * @param found the drawing, of which positions are shares of the image.
 * @param look what is switched on: boxes, labels, masks, zones, score, hidden classes.
 * @param stream colours and zones.
 */
export function draw(canvas, found, look, stream, size, masks, under = null) {
  const ratio = window.devicePixelRatio || 1;
  const box = canvas.getBoundingClientRect();
  const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, width, height);
  if (!size.width || !width) return;
  const place = placed(size.width, size.height, width, height);
  if (under) pen.drawImage(under, place.left, place.top, place.width, place.height);
  if (!found) return;
  pen.save();
  pen.beginPath();
  pen.rect(place.left, place.top, place.width, place.height);
  pen.clip();
  if (look.masks) {
    pen.globalAlpha = 0.45;
    pen.imageSmoothingEnabled = false;
    for (const mask of masks) pen.drawImage(mask, place.left, place.top, place.width, place.height);
    pen.globalAlpha = 1;
  }
  const x = (share) => place.left + share * place.width, y = (share) => place.top + share * place.height;
  if (look.zones && stream.zones) drawZones(pen, stream.zones, found, x, y, ratio);
  if (look.labels) drawLabels(pen, found.labels ?? [], stream.colours ?? {}, place, ratio);
  if (look.boxes) {
    drawBoxes(pen, found, look, stream.colours ?? {}, x, y, ratio);
    drawShapes(pen, found, look, stream.colours ?? {}, x, y, ratio);
  }
  pen.restore();
}

function drawBoxes(pen, found, look, colours, x, y, ratio) {
  const rows = [...(found.boxes ?? []).entries()];
  pen.font = `${13 * ratio}px system-ui, sans-serif`;
  pen.textBaseline = 'top';
  for (const [i, box] of rows.reverse()) {
    if (!isShown(box, look)) continue;
    const [name, score, left, top, right, bottom, id] = box;
    const colour = colours[name] ?? '#42d392';
    const frame = [x(left), y(top), x(right) - x(left), y(bottom) - y(top)];
    if (!found.outlines?.[i]) {
      for (const [style, wide] of [[PLATE, 4], [colour, 2]]) {
        pen.lineWidth = wide * ratio;
        pen.strokeStyle = style;
        pen.strokeRect(...frame);
      }
    }
    if (look.labels) {
      plate(pen, `${name}${id === null || id === undefined ? '' : ` #${id}`} ${score.toFixed(2)}`, frame[0], frame[1], colour, ratio);
    }
  }
}

const SURE = 0.3;  // of a key point that is drawn

function drawShapes(pen, found, look, colours, x, y, ratio) {
  (found.boxes ?? []).forEach((box, i) => {
    if (!isShown(box, look)) return;
    const colour = colours[box[0]] ?? '#42d392';
    const outline = found.outlines?.[i];
    if (outline) trace(pen, outline, x, y, colour, ratio, true);
    const points = found.points?.[i] ?? [];
    for (const [from, to] of found.limbs ?? []) {
      const ends = [points[from], points[to]];
      if (ends.every((end) => end && end[2] >= SURE)) trace(pen, ends, x, y, colour, ratio, false);
    }
    pen.fillStyle = colour;
    for (const [left, top, sure] of points) if (sure >= SURE) pen.fillRect(x(left) - 3 * ratio, y(top) - 3 * ratio, 6 * ratio, 6 * ratio);
  });
}

function drawLabels(pen, labels, colours, place, ratio) {
  pen.font = `${13 * ratio}px system-ui, sans-serif`;
  pen.textBaseline = 'top';
  for (const [i, [name, score]] of labels.entries()) {
    plate(pen, `${name} ${score.toFixed(2)}`, place.left, place.top + 18 * (i + 1) * ratio, colours[name] ?? '#42d392', ratio);
  }
}

function plate(pen, text, left, top, colour, ratio) {
  const high = 17 * ratio, wide = pen.measureText(text).width + 8 * ratio;
  const at = top - high >= 0 ? top - high : top;
  left = Math.max(0, Math.min(left, pen.canvas.width - wide));  // a label at the right edge stays whole
  pen.fillStyle = PLATE;
  pen.fillRect(left, at, wide, high);
  pen.fillStyle = colour;
  pen.fillRect(left, at, 3 * ratio, high);
  pen.fillStyle = '#fff';
  pen.fillText(text, left + 5 * ratio, at + 2 * ratio);
}

function drawZones(pen, layout, found, x, y, ratio) {
  pen.font = `${13 * ratio}px system-ui, sans-serif`;
  pen.textBaseline = 'top';
  const zones = new Map((found.zones ?? []).map((one) => [one[0], one]));
  const lines = new Map((found.lines ?? []).map((one) => [one[0], one]));
  for (const zone of layout.zones) {
    const counts = zones.get(zone.name);
    const colour = counts && counts[1] ? BUSY : ZONE;
    trace(pen, zone.polygon, x, y, colour, ratio, true);
    const [left, top] = zone.polygon.reduce((best, point) => (point[0] + point[1] < best[0] + best[1] ? point : best));
    const words = counts ? `${zone.name}: ${counts[1]} inside, ${counts[2]} entered, ${counts[3]} left` : zone.name;
    plate(pen, words, x(left), y(top) + 17 * ratio, colour, ratio);
  }
  for (const line of layout.lines) {
    const counts = lines.get(line.name);
    trace(pen, [line.from, line.to], x, y, ZONE, ratio, false);
    plate(pen, counts ? `${line.name}: ${counts[1]} in, ${counts[2]} out` : line.name, x(line.from[0]), y(line.from[1]) + 17 * ratio, ZONE, ratio);
  }
}

function trace(pen, points, x, y, colour, ratio, closed) {
  pen.beginPath();
  for (const [i, point] of points.entries()) pen[i ? 'lineTo' : 'moveTo'](x(point[0]), y(point[1]));
  if (closed) pen.closePath();
  for (const [style, width] of [[PLATE, 4], [colour, 2]]) {
    pen.strokeStyle = style;
    pen.lineWidth = width * ratio;
    pen.stroke();
  }
}

/** Class maps as images in the colours of their classes. */
export async function paintMasks(masks, colours) {
  const painted = [];
  for (const [names, data] of masks ?? []) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const map = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
    const canvas = new OffscreenCanvas(map.width, map.height);
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    pen.drawImage(map, 0, 0);
    const pixels = pen.getImageData(0, 0, map.width, map.height);
    const palette = names.map((name) => parseInt((colours[name] ?? '#42d392').slice(1), 16));
    for (let i = 0; i < pixels.data.length; i += 4) {
      const colour = palette[pixels.data[i]];
      if (colour === undefined) pixels.data[i + 3] = 0;
      else pixels.data.set([colour >> 16, (colour >> 8) & 255, colour & 255, 255], i);
    }
    pen.putImageData(pixels, 0, 0);
    painted.push(canvas);
  }
  return painted;
}
