'use strict';
// The kept slices of one case at a readable size: scrolled, windowed, with the mask and a coronal plane through them.
// A slice is 8 bits that span the stored window; both planes are drawn from them, so that nothing but the file is needed.
window.wspSlices = data => { document.currentScript.slices = data; };
const wspViewer = (() => {
const PRESETS = [{name: 'Liver', width: 150, level: 90}, {name: 'Soft tissue', width: 400, level: 40}, {name: 'Bone', width: 1800, level: 400}, {name: 'All stored'}];
const MASKS = ['outline', 'filled', 'off'];
const OUTLINE = '#ff6a3d', CURSOR = '#f5d042', INK = '#fff';
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

// A zlib stream of rows, each its first value and then differences (case_slices.hpp).
async function unpack(text, columns) {
  const packed = atob(text), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
  const values = new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer());
  for (let row = 0; row < values.length; row += columns)
    for (let x = 1; x < columns; x++) values[row + x] += values[row + x - 1];
  return values;
}
// The sides of the mask's pixels that have no neighbour in it.
function outlineOf(mask, w, h) {
  const path = new Path2D(), inside = (x, y) => x >= 0 && y >= 0 && x < w && y < h && mask[y * w + x];
  const side = (x0, y0, x1, y1) => { path.moveTo(x0, y0); path.lineTo(x1, y1); };
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      if (!mask[y * w + x]) continue;
      if (!inside(x - 1, y)) side(x, y, x, y + 1);
      if (!inside(x + 1, y)) side(x + 1, y, x + 1, y + 1);
      if (!inside(x, y - 1)) side(x, y, x + 1, y);
      if (!inside(x, y + 1)) side(x, y + 1, x + 1, y + 1);
    }
  return path;
}

// `root` is filled; `el` makes elements as the page does.
return function makeViewer(root, el) {
  const axial = el('canvas', {class: 'axial', tabindex: 0, role: 'img', 'aria-label': 'Axial slice'}), coronal = el('canvas', {class: 'coronal', role: 'img', 'aria-label': 'Coronal plane'});
  const place = el('output', {class: 'place'}), under = el('output', {class: 'muted'}), limits = el('p', {class: 'muted limits'});
  const slider = el('input', {type: 'range', min: 0, value: 0, step: 1, 'aria-label': 'Slice, from feet to head'});
  const windowWords = el('span', {class: 'muted'});
  const presets = PRESETS.map((p, i) => el('button', {type: 'button', 'aria-pressed': 'false', title: `key ${i + 1}`, onclick: () => preset(i)}, p.name));
  const maskButton = el('button', {type: 'button', title: 'key m', onclick: () => toggleMask()}, 'Mask: outline');
  const side = el('div', {class: 'plane side'}, el('div', {class: 'tools of-slices', role: 'group', 'aria-label': 'Window and mask'}, ...presets, maskButton, windowWords),
    el('div', {class: 'of-slices'}, coronal, el('p', {class: 'muted'}, 'Coronal, through the yellow marks; click either picture to move them. Kept slices only.'), limits));
  root.replaceChildren(el('div', {class: 'plane of-slices'}, axial, slider, el('p', {class: 'readout'}, place, ' ', under)), side);
  const sheet = document.createElement('canvas'), rows = document.createElement('canvas');
  let data = null, images = [], masks = [], outlines = [], k = 0, row = 0, turn = 0;
  let level = PRESETS[0].level, width = PRESETS[0].width, mask = 'outline';

  const count = () => data ? data.z_mm.length : 0;
  const hu = value => data.low + data.step * value;
  function greys() {
    const lut = new Uint8ClampedArray(256), low = level - width / 2;
    for (let v = 0; v < 256; v++) lut[v] = Math.round(255 * (hu(v) - low) / Math.max(1, width));
    return lut;
  }
  // Values and mask of w x h pixels into a canvas of that size.
  function paint(canvas, w, h, values, inside, tinted) {
    canvas.width = w; canvas.height = h;
    const context = canvas.getContext('2d'), picture = context.createImageData(w, h), lut = greys(), out = picture.data;
    for (let i = 0, o = 0; i < w * h; i++, o += 4) {
      const grey = lut[values[i]], tint = tinted && inside[i];
      out[o] = tint ? .65 * grey + 89 : grey; out[o + 1] = tint ? .65 * grey + 37 : grey; out[o + 2] = tint ? .65 * grey + 21 : grey; out[o + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
  }
  // A canvas as wide as its place, sharp on any screen; pixels of the screen per CSS pixel.
  function fit(canvas, aspect) {
    const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth;
    canvas.style.aspectRatio = String(1 / aspect);
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(w * aspect * ratio);
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    return [context, ratio];
  }
  function words(context, ratio, list) {
    context.font = `${Math.round(13 * ratio)}px system-ui, "DejaVu Sans", sans-serif`;
    context.textBaseline = 'middle';
    context.fillStyle = INK; context.shadowColor = '#000'; context.shadowBlur = 4 * ratio;
    list.forEach(([text, x, y, align]) => { context.textAlign = align; context.fillText(text, x, y); });
    context.shadowBlur = 0;
  }
  function line(context, ratio, colour, points) {
    context.strokeStyle = colour; context.lineWidth = 1.5 * ratio;
    context.beginPath();
    points.forEach(([x0, y0, x1, y1]) => { context.moveTo(x0, y0); context.lineTo(x1, y1); });
    context.stroke();
  }
  function drawAxial() {
    const {width: w, height: h, pixel_mm: mm} = data, [context, ratio] = fit(axial, h * mm[1] / (w * mm[0]));
    const W = axial.width, H = axial.height, edge = 10 * ratio;
    context.fillStyle = '#000'; context.fillRect(0, 0, W, H);
    if (images[k]) {
      paint(sheet, w, h, images[k], masks[k], mask === 'filled');
      context.drawImage(sheet, 0, 0, W, H);
      if (mask === 'outline') {
        outlines[k] = outlines[k] || outlineOf(masks[k], w, h);
        context.save();
        context.scale(W / w, H / h);
        context.strokeStyle = OUTLINE; context.lineWidth = 1.5 * ratio * w / W;
        context.stroke(outlines[k]);
        context.restore();
      }
    }
    const y = (row + .5) * H / h;
    line(context, ratio, CURSOR, [[0, y, 2 * edge, y], [W - 2 * edge, y, W, y]]);
    // x runs to the patient's left.
    words(context, ratio, [['R', edge, H / 2, 'left'], ['L', W - edge, H / 2, 'right'], ['A', W / 2, edge, 'center'], ['P', W / 2, H - edge, 'center']]);
    scaleBar(context, ratio, W, H, w * mm[0]);
    place.textContent = `Slice ${k + 1} of ${count()}, ${data.z_mm[k].toFixed(1)} mm${images[k] ? '' : ' (reading)'}`;
    axial.setAttribute('aria-label', `Axial ${place.textContent}; mask ${mask}; window ${Math.round(width)} at ${Math.round(level)} HU; right of the patient on the left`);
  }
  const barOf = fieldMm => [10, 5, 2, 1].find(cm => cm * 10 < fieldMm / 2) || 1;
  function scaleBar(context, ratio, W, H, fieldMm) {
    const cm = barOf(fieldMm), length = cm * 10 * W / fieldMm, x = W - 12 * ratio, y = H - 14 * ratio;
    line(context, ratio, INK, [[x - length, y, x, y], [x - length, y - 4 * ratio, x - length, y + 4 * ratio], [x, y - 4 * ratio, x, y + 4 * ratio]]);
    words(context, ratio, [[`${cm} cm`, x - length / 2, y - 12 * ratio, 'center']]);
  }
  // Heights of the coronal picture at which slices meet, in mm below its upper edge: the head's.
  function edges() {
    const z = data.z_mm, n = z.length, gap = i => n < 2 ? 5 : z[i + 1] - z[i];
    const top = z[n - 1] + gap(Math.max(0, n - 2)) / 2, at = [top - (z[0] - gap(0) / 2)];
    for (let i = 1; i < n; i++) at.push(top - (z[i - 1] + z[i]) / 2);
    return [...at, 0];
  }
  function drawCoronal() {
    const {width: w, pixel_mm: mm} = data, n = count(), at = edges(), [context, ratio] = fit(coronal, at[0] / (w * mm[0]));
    const W = coronal.width, H = coronal.height, scale = H / at[0], edge = 10 * ratio;
    context.fillStyle = '#000'; context.fillRect(0, 0, W, H);
    const values = new Uint8Array(w * n), inside = new Uint8Array(w * n);
    images.forEach((image, s) => { values.set(image.subarray(row * w, (row + 1) * w), s * w); inside.set(masks[s].subarray(row * w, (row + 1) * w), s * w); });
    paint(rows, w, n, values, inside, mask !== 'off');
    for (let s = 0; s < n; s++) context.drawImage(rows, 0, s, w, 1, 0, at[s + 1] * scale, W, (at[s] - at[s + 1]) * scale);
    const y = (at[k] + at[k + 1]) / 2 * scale;
    line(context, ratio, CURSOR, [[0, y, W, y]]);
    words(context, ratio, [['R', edge, H / 2, 'left'], ['L', W - edge, H / 2, 'right'], ['H', W / 2, edge, 'center'], ['F', W / 2, H - edge, 'center']]);
    coronal.setAttribute('aria-label', `Coronal plane ${row + 1} of ${data.height}, head above; the line is slice ${k + 1}`);
  }
  function draw() {
    if (!data) return;
    drawAxial();
    drawCoronal();
    slider.value = k;
    maskButton.textContent = `Mask: ${mask}`;
    windowWords.textContent = `W ${Math.round(width)} L ${Math.round(level)}`;
    presets.forEach((b, i) => { const p = presetValues(i); b.setAttribute('aria-pressed', String(p.width === width && p.level === level)); });
    const beyond = level - width / 2 < data.low || level + width / 2 > data.high;
    limits.textContent = `Values are exact to ${Math.max(1, Math.ceil(data.step / 2))} HU.` + (beyond ? ` The dataset holds ${data.low} to ${data.high} HU: this window reaches further, and what lies beyond shows as these ends (fat and air as one, no detail in bone).` : '');
  }
  const presetValues = i => PRESETS[i].width ? PRESETS[i] : {width: data.high - data.low, level: (data.high + data.low) / 2};
  function preset(i) { if (data && PRESETS[i]) { ({width, level} = presetValues(i)); draw(); } }
  function toggleMask() { mask = MASKS[(MASKS.indexOf(mask) + 1) % MASKS.length]; draw(); }
  function go(to) { if (data) { k = clamp(to, 0, count() - 1); draw(); } }
  function setWindow(w, l) { width = clamp(w, 1, 4000); level = clamp(l, -1000, 3000); draw(); }
  function setRow(y) { row = clamp(Math.round(y), 0, data.height - 1); draw(); }

  // Where the pointer stands in the axial picture, in its pixels.
  const pixelAt = e => { const r = axial.getBoundingClientRect(); return [(e.clientX - r.left) / r.width * data.width, (e.clientY - r.top) / r.height * data.height].map(Math.floor); };
  function tell(e) {
    const [x, y] = pixelAt(e), inside = data && images[k] && x >= 0 && y >= 0 && x < data.width && y < data.height;
    if (!inside) { under.textContent = ''; return; }
    const v = images[k][y * data.width + x];
    under.textContent = `${v === 0 ? '≤ ' : v === 255 ? '≥ ' : ''}${Math.round(hu(v))} HU`;
  }
  let wheel = 0;
  [axial, coronal].forEach(canvas => canvas.addEventListener('wheel', e => {
    if (!data || e.ctrlKey) return;
    e.preventDefault();
    wheel += e.deltaMode ? 40 * e.deltaY : e.deltaY;
    const steps = Math.trunc(wheel / 40);
    wheel -= 40 * steps;
    if (steps) go(k - steps);
  }, {passive: false}));
  // A mouse drags the window; one finger scrolls, two drag the window; what does not move sets the coronal plane.
  const down = new Map();
  let moved = false;
  axial.addEventListener('pointerdown', e => { if (e.button) return; down.set(e.pointerId, [e.clientX, e.clientY]); moved = moved && down.size > 1; axial.setPointerCapture(e.pointerId); });
  axial.addEventListener('pointermove', e => {
    if (!data) return;
    tell(e);
    const last = down.get(e.pointerId);
    if (!last) return;
    const dx = e.clientX - last[0], dy = e.clientY - last[1];
    if (!moved && Math.hypot(dx, dy) < 4) return;
    moved = true;
    if (e.pointerType === 'touch' && down.size === 1) {
      const steps = Math.trunc(dy / 10);
      if (!steps) return;
      down.set(e.pointerId, [e.clientX, last[1] + 10 * steps]);
      go(k - steps);
    } else {
      down.set(e.pointerId, [e.clientX, e.clientY]);
      setWindow(width + 2 * dx / down.size, level + dy / down.size);
    }
  });
  const up = e => { if (down.delete(e.pointerId) && !moved && e.type === 'pointerup' && data) setRow(pixelAt(e)[1]); if (!down.size) moved = false; };
  ['pointerup', 'pointercancel'].forEach(type => axial.addEventListener(type, up));
  axial.addEventListener('pointerleave', () => { under.textContent = ''; });
  coronal.addEventListener('click', e => {
    if (!data) return;
    const r = coronal.getBoundingClientRect(), at = edges(), mm = (e.clientY - r.top) / r.height * at[0];
    go(at.findIndex((_, s) => s + 1 < at.length && mm >= at[s + 1]));
  });
  slider.addEventListener('input', () => go(+slider.value));
  new ResizeObserver(draw).observe(root);

  return {
    stage: axial, side,
    // Show a case, or none: the middle slice first, then its neighbours outwards. Another case ends the reading of this one.
    async show(given) {
      const mine = ++turn;
      data = given;
      images = []; masks = []; outlines = [];
      root.classList.toggle('none', !data);
      delete root.dataset.read;
      if (!data) return;
      const n = count(), middle = n >> 1;
      k = middle;
      row = data.height >> 1;
      slider.max = n - 1;
      draw();
      const order = [...Array(n).keys()].sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
      for (const [read, s] of order.entries()) {
        const [image, its] = await Promise.all([unpack(data.image[s], data.width), unpack(data.mask[s], data.width)]);
        if (mine !== turn) return;
        images[s] = image;
        masks[s] = its;
        if (!read) row = centre(its);
        if (s === k || read % 8 === 0 || read + 1 === n) draw();
      }
      root.dataset.read = String(n);
    },
    step: by => go(k + by), first: () => go(0), last: () => go(count() - 1), preset, toggleMask,
    state: () => ({slice: k, slices: count(), row, width, level, mask, bar: barOf(data.width * data.pixel_mm[0]), value: (x, y) => hu(images[k][y * data.width + x]), inside: (x, y) => masks[k][y * data.width + x]}),
  };
  // The row through the middle of a mask, where there is one.
  function centre(its) {
    let sum = 0, n = 0;
    its.forEach((inside, i) => { if (inside) { sum += Math.floor(i / data.width); n++; } });
    return n ? Math.round(sum / n) : data.height >> 1;
  }
};
})();
