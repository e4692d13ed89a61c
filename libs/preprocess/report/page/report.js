'use strict';
// Data, tables, charts and the sections above the cases; cases.js goes on, in the same scope.
const D = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const SHEET = 60, ROWS = 50;
const col = Object.fromEntries(D.columns.map((name, i) => [name, i]));
const cases = D.rows.map((row, index) => ({row, index, get: name => row[col[name]], findings: []}));
const byName = new Map(cases.map(c => [c.get('name'), c]));
D.findings.forEach(f => { const c = byName.get(f.case); if (c) c.findings.push(f); });
const ratings = new Map(Object.entries(D.ratings).filter(([name]) => byName.has(name)));
const number = new Intl.NumberFormat('en-GB', {maximumFractionDigits: 2});
// What was not measured is null.
const fmt = v => typeof v === 'number' ? number.format(v) : v ?? '';

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k === 'class') node.className = v;
    else if (k.startsWith('on')) node.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== null && v !== false) node.setAttribute(k, v === true ? '' : v);
  }
  add(node, ...children);
  return node;
}
const add = (parent, ...children) => parent.append(...children.filter(c => c !== null && c !== undefined));
const shownText = cell => cell instanceof Node ? cell.title || cell.textContent : cell ?? '';
// Numbers by size, text by its words; what is absent last.
function compare(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return (a === '') - (b === '') || String(a).localeCompare(String(b), 'en', {numeric: true});
}
// Its head sorts the rows, or asks `sorted` ({column, down, by(column, down)}) to, where it shows a part of them.
function table(node, head, rows, numeric = [], sorted = null) {
  const cls = i => numeric.includes(i) ? {class: 'n'} : {}, state = sorted || {column: -1, down: false};
  const body = el('tbody');
  const fill = () => body.replaceChildren(...rows.map(r => el('tr', {}, ...r.map((c, i) => el('td', cls(i), c instanceof Node ? c : fmt(c))))));
  const by = i => {
    state.down = state.column === i && !state.down;
    state.column = i;
    if (sorted) { sorted.by(); return; }
    rows.sort((a, b) => (state.down ? -1 : 1) * compare(shownText(a[i]), shownText(b[i])));
    fill(); mark();
  };
  const heads = head.map((h, i) => el('th', {scope: 'col', ...cls(i)}, h === '' ? h : el('button', {type: 'button', class: 'sort', onclick: () => by(i)}, h)));
  const mark = () => heads.forEach((h, i) => { if (i === state.column) h.setAttribute('aria-sort', state.down ? 'descending' : 'ascending'); else h.removeAttribute('aria-sort'); });
  node.replaceChildren(el('thead', {}, el('tr', {}, ...heads)), body);
  fill(); mark();
  return node;
}
const badge = severity => el('span', {class: `badge ${severity}`}, severity);
const caseLink = name => byName.has(name) ? el('button', {type: 'button', class: 'link', title: name, onclick: () => openCase(byName.get(name).index)}, short(name)) : name;
// Names on one line: of a long one, as a UID, the ends, which tell it from others.
const short = (name, most = 24) => name.length <= most ? name : `${name.slice(0, most / 4)}…${name.slice(1 - 3 * most / 4)}`;

// ---- charts: rebuilt when the theme changes -------------------------------------------------
const makers = [];
let built = [];
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function chart(parent, title, make, head, rows, wide = false) {
  const canvas = el('canvas', {role: 'img', 'aria-label': title});
  $(parent).append(el('figure', {class: wide ? 'wide' : ''}, el('figcaption', {}, title), el('div', {class: 'canvas'}, canvas),
    el('details', {}, el('summary', {}, 'Numbers'), el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Numbers of: ${title}`},
      table(el('table'), head, rows, head.map((_, i) => i).slice(1))))));
  makers.push([canvas, make]);
}
function drawCharts() {
  built.forEach(c => c.destroy());
  Chart.defaults.color = css('--muted');
  Chart.defaults.borderColor = css('--line');
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.font.family = 'system-ui, "DejaVu Sans", sans-serif';
  built = makers.map(([canvas, make]) => new Chart(canvas, make()));
}
const axis = (text, extra = {}) => ({title: {display: true, text}, ...extra});

// Draws a vertical band behind the bars: mean less one to mean plus one standard deviation.
const bandPlugin = {id: 'band', beforeDatasetsDraw(c) {
  const b = c.options.plugins.band;
  if (!b || b.low === undefined) return;
  const {ctx, chartArea: a, scales: {x}} = c;
  const at = v => Math.min(a.right, Math.max(a.left, x.getPixelForValue(v)));
  ctx.fillStyle = css('--band');
  ctx.fillRect(at(b.low), a.top, at(b.high) - at(b.low), a.bottom - a.top);
}};
Chart.register(bandPlugin);

function histogram(parent, title, name, unit, band) {
  const values = cases.map(c => c.get(name)).filter(v => typeof v === 'number');
  if (!values.length) return;
  const lowest = Math.min(...values, ...(band ? [band[0]] : [])), highest = Math.max(...values, ...(band ? [band[1]] : []));
  const raw = (highest - lowest) / 24 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
  const first = Math.floor(lowest / step), bins = Math.floor(highest / step) - first + 1;
  const counts = new Array(bins).fill(0);
  values.forEach(v => counts[Math.min(bins - 1, Math.floor(v / step + 1e-9) - first)]++);
  const data = counts.map((n, i) => ({x: (first + i + .5) * step, y: n}));
  chart(parent, title, () => ({type: 'bar', data: {datasets: [{label: 'cases', data, backgroundColor: css('--blue'), barPercentage: 1, categoryPercentage: .92}]},
    options: {plugins: {legend: {display: false}, band: band ? {low: band[0], high: band[1]} : {}, tooltip: {callbacks: {title: t => `${number.format(t[0].parsed.x - step / 2)} to ${number.format(t[0].parsed.x + step / 2)} ${unit}`}}},
      scales: {x: axis(unit, {type: 'linear', min: first * step, max: (first + bins) * step, grid: {display: false}, ticks: {includeBounds: false}}), y: axis('cases', {beginAtZero: true, ticks: {precision: 0}})}}}),
    [`from (${unit || 'value'})`, 'cases'], data.filter(p => p.y).map(p => [p.x - step / 2, p.y]));
}
function scatter(parent, title, xName, yName, xText, yText) {
  const groups = [['no finding', '--blue', c => !c.findings.length], ['warning', '--orange', c => c.findings.length && !c.findings.some(f => f.severity === 'error')],
    ['error', '--error', c => c.findings.some(f => f.severity === 'error')]];
  const measured = cases.filter(c => c.get(xName) !== null && c.get(yName) !== null);
  if (!measured.length) return;
  const sets = groups.map(([label, colour, pick]) => [label, colour, measured.filter(pick)]).filter(g => g[2].length);
  chart(parent, title, () => ({type: 'scatter', data: {datasets: sets.map(([label, colour, of]) => ({label, backgroundColor: css(colour), pointRadius: cases.length > 400 ? 2 : 4,
      data: of.map(c => ({x: c.get(xName), y: c.get(yName), index: c.index}))}))},
    options: {onClick: (_, hit, ch) => { if (hit.length) openCase(ch.data.datasets[hit[0].datasetIndex].data[hit[0].index].index); },
      plugins: {tooltip: {callbacks: {label: t => `${cases[t.raw.index].get('name')}: ${fmt(t.raw.x)}, ${fmt(t.raw.y)}`}}},
      scales: {x: axis(xText), y: axis(yText)}}}),
    ['case', xText, yText], measured.slice(0, 200).map(c => [c.get('name'), c.get(xName), c.get(yName)]));
}

// ---- sections ------------------------------------------------------------------------------
function summary() {
  const count = s => D.findings.filter(f => f.severity === s).length;
  const errors = count('error'), warnings = count('warning');
  const clean = cases.filter(c => !c.findings.length).length;
  if (D.title) document.title = document.querySelector('h1').textContent = `QA report: ${D.title}`;
  $('subtitle').textContent = `${fmt(cases.length)} cases of ${fmt(D.fingerprint.subjects)} subjects, ${fmt(D.fingerprint.slices)} slices · wsp-qa ${D.version}`;
  const tile = (value, text, cls = '') => el('div', {class: `tile ${cls}`}, el('b', {}, fmt(value)), text);
  $('tiles').append(tile(errors, errors === 1 ? 'error' : 'errors', errors ? 'error' : 'ok'), tile(warnings, warnings === 1 ? 'warning' : 'warnings', warnings ? 'warning' : 'ok'),
    tile(clean, 'cases without a finding'), tile(D.account.quarantined_cases, 'cases refused by the ingest'), tile(D.account.files, 'input files'));
  const codes = new Map();
  D.findings.forEach(f => { const e = codes.get(f.code) || {severity: f.severity, n: 0, cases: new Set(), remedy: f.remedy}; e.n++; if (f.case) e.cases.add(f.case); codes.set(f.code, e); });
  if (!codes.size) { $('codes').replaceWith(el('p', {}, 'Nothing was found.')); return; }
  table($('codes'), ['Code', 'Severity', 'Cases', 'What it means', 'What to do'], [...codes].map(([code, e]) => [
    [...e.cases].some(n => byName.has(n)) ? el('button', {type: 'button', class: 'link', onclick: () => { $('finding').value = code; refresh(); $('cases').scrollIntoView(); $('search').focus({preventScroll: true}); }}, code) : code,
    badge(e.severity), e.cases.size || '—', D.meanings[code] || '', e.remedy]), [2]);
  const general = D.findings.filter(f => !byName.has(f.case));
  if (general.length) add($('dataset-findings'), el('h3', {}, 'On the dataset as a whole, and on refused cases'),
    ...general.slice(0, 50).map(f => el('div', {class: `finding ${f.severity}`}, el('p', {}, badge(f.severity), ' ', el('b', {}, f.code), f.case ? ` ${f.case}` : '', ' — ', f.detail))),
    general.length > 50 ? el('p', {class: 'muted'}, `and ${general.length - 50} more in findings.jsonl`) : null);
}
function files() {
  const kinds = Object.entries(D.account.kinds).map(([kind, codes]) => ({kind, codes: Object.entries(codes).sort((a, b) => b[1] - a[1]), n: Object.values(codes).reduce((a, b) => a + b, 0)})).sort((a, b) => b.n - a.n);
  const total = D.account.files;
  const told = kinds.reduce((a, k) => a + k.n, 0);
  $('account').textContent = `${fmt(total)} files came in: ${kinds.map(k => `${fmt(k.n)} ${k.kind}`).join(' + ')} = ${fmt(told)}. ` + (D.account.problems.length ? `It does not reconcile: ${D.account.problems.join('; ')}.` : 'Every file is accounted for, and dataset.json agrees.');
  table($('ledger'), ['Kind', 'Code', 'Files', 'What it means'], kinds.flatMap(k => k.codes.map(([code, n]) => [k.kind, code, n, D.meanings[code] || ''])), [2]);
  const gap = 8, line = 19, rows = kinds.reduce((a, k) => a + k.codes.length, 0);
  // On a narrow screen the columns move together; the last one is as wide as its longest label.
  const narrow = innerWidth < 700, xKind = narrow ? 128 : 300, xLeaf = narrow ? 176 : 500;
  const label = Math.max(...kinds.flatMap(k => k.codes.map(([code, n]) => `${code} ${fmt(n)}`.length)), 0);
  const W = Math.max(narrow ? 320 : 760, xLeaf + 20 + Math.ceil(8.6 * label));
  const H = Math.max(160, rows * (line + gap) + 20), scale = (H - gap * (rows + 1)) / Math.max(1, total);
  const NS = 'http://www.w3.org/2000/svg';
  const s = (tag, at, text) => { const n = document.createElementNS(NS, tag); for (const [k, v] of Object.entries(at)) n.setAttribute(k, v); if (text) n.textContent = text; return n; };
  const svg = s('svg', {viewBox: `0 0 ${W} ${H}`, width: W, height: H, class: 'flow', role: 'img', 'aria-label': $('account').textContent});
  const colour = {used: 'var(--teal)', ignored: 'var(--grey)', rejected: 'var(--error)'};
  const ribbon = (x0, y0, x1, y1, h0, h1, fill) => { const m = (x0 + x1) / 2; svg.append(s('path', {d: `M${x0},${y0} C${m},${y0} ${m},${y1} ${x1},${y1} L${x1},${y1 + h1} C${m},${y1 + h1} ${m},${y0 + h0} ${x0},${y0 + h0} Z`, fill, opacity: .35})); };
  // Leaves have room for a line of text; nodes in proportion.
  const used = rows * line, leafScale = Math.max(0, H - gap * (rows + 1) - used) / Math.max(1, total);
  let yLeaf = gap, yKind = gap, ySource = gap;
  const kindHeight = kinds.map(k => Math.max(14, k.n * scale)), kindTotal = kindHeight.reduce((a, b) => a + b, 0) + gap * (kinds.length + 1);
  yKind = Math.max(gap, (H - kindTotal) / 2);
  ySource = yKind;
  const sourceHeight = kindHeight.reduce((a, b) => a + b, 0);
  svg.append(s('rect', {x: 4, y: ySource, width: 14, height: sourceHeight, rx: 3, fill: 'var(--blue)'}));
  if (!narrow) svg.append(s('text', {x: 24, y: ySource + 15}, `${fmt(total)} files`));
  kinds.forEach((k, i) => {
    const h = kindHeight[i], fill = colour[k.kind] || 'var(--purple)';
    ribbon(18, ySource, xKind, yKind, h, h, fill);
    svg.append(s('rect', {x: xKind, y: yKind, width: 14, height: h, rx: 3, fill}), s('text', {x: xKind - 8, y: yKind + h / 2 + 5, 'text-anchor': 'end'}, `${k.kind} ${fmt(k.n)}`));
    let inside = yKind;
    k.codes.forEach(([code, n]) => {
      const part = h * n / k.n, leaf = line + n * leafScale;
      ribbon(xKind + 14, inside, xLeaf, yLeaf, part, leaf, fill);
      svg.append(s('rect', {x: xLeaf, y: yLeaf, width: 10, height: leaf, rx: 2, fill}), s('text', {x: xLeaf + 16, y: yLeaf + leaf / 2 + 5}, `${code} ${fmt(n)}`));
      inside += part; yLeaf += leaf + gap;
    });
    ySource += h; yKind += h + gap;
  });
  $('flow').append(svg);
  if (D.quarantine.length) add($('quarantine'), el('h3', {}, 'Quarantine'), el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Quarantine'},
    table(el('table'), ['What', 'Name', 'Code', 'Detail', 'What to do'], D.quarantine.map(q => [q.what, q.name, q.code, q.detail, q.remedy]))),
    D.quarantine_total > D.quarantine.length ? el('p', {class: 'muted'}, `and ${D.quarantine_total - D.quarantine.length} more in quarantine.tsv`) : null);
}
function cohort() {
  const missing = cases.filter(c => c.get(`label:${D.labels[0]}`) < 0).length;
  $('cohort-words').textContent = `${fmt(D.fingerprint.subjects)} subjects, ${fmt(cases.length)} cases; the weak label is “${D.labels[0]}”, unknown for ${fmt(missing)} ${missing === 1 ? 'case' : 'cases'}.`;
  D.labels.forEach((name, i) => {
    const entries = Object.entries(D.fingerprint.labels[name]).sort((a, b) => a[0] - b[0]);
    chart('cohort-charts', `${name}${i ? '' : ' (weak label)'}`, () => ({type: 'bar', data: {labels: entries.map(([v]) => v < 0 ? 'unknown' : v), datasets: [
        {label: 'subjects', data: entries.map(([, e]) => e.subjects), backgroundColor: css('--teal')}, {label: 'cases', data: entries.map(([, e]) => e.cases), backgroundColor: css('--blue')}]},
      options: {scales: {x: axis('class', {grid: {display: false}}), y: axis('', {beginAtZero: true, ticks: {precision: 0}})}}}),
      ['class', 'subjects', 'cases', 'slices'], entries.map(([v, e]) => [v < 0 ? 'unknown' : v, e.subjects, e.cases, e.slices]));
  });
}
function geometry() {
  histogram('geometry-charts', 'Slice distance', 'spacing_mm', 'mm', [3.23 - 1.29, 3.23 + 1.29]);
  histogram('geometry-charts', 'Pixel size', 'pixel_mm', 'mm', [.69, .89]);
  histogram('geometry-charts', 'Scan range', 'scan_range_mm', 'mm');
  histogram('geometry-charts', 'Kept slices per case', 'kept', 'slices');
  const m = Object.entries(D.fingerprint.matrix);
  chart('geometry-charts', 'Acquired matrix', () => ({type: 'bar', data: {labels: m.map(e => e[0]), datasets: [{label: 'cases', data: m.map(e => e[1]), backgroundColor: css('--blue')}]},
    options: {indexAxis: 'y', plugins: {legend: {display: false}}, scales: {x: axis('cases', {beginAtZero: true, ticks: {precision: 0}}), y: {grid: {display: false}}}}}), ['matrix', 'cases'], m);
}
function intensity() {
  const H = D.histograms, x = i => H.low + (i + .5) * H.bin;
  const range = {body: [-400, 700], liver: [-150, 350], air: [-1100, -300]};
  for (const part of ['body', 'liver', 'air']) {
    const [low, high] = range[part];
    const curves = H.curves;
    const pick = values => values.map((y, i) => ({x: x(i), y: 100 * y})).filter(p => p.x >= low && p.x <= high);
    chart('intensity-charts', `HU of ${part === 'air' ? 'what lies outside the body' : part}`, () => ({type: 'line', data: {datasets: [
        {label: '5 to 95 % of cases', data: pick(H[part].p95), borderWidth: 0, backgroundColor: css('--band'), pointRadius: 0, fill: '+1'},
        {label: 'low', data: pick(H[part].p05), borderWidth: 0, pointRadius: 0},
        {label: 'median', data: pick(H[part].p50), borderColor: css('--blue'), borderWidth: 2, pointRadius: 0},
        ...curves.map((c, i) => ({label: c.name, data: pick(c[part]), borderColor: css(['--orange', '--purple', '--error', '--teal'][i % 4]), borderWidth: 1.2, pointRadius: 0}))]},
      options: {parsing: false, plugins: {legend: {labels: {filter: l => l.text !== 'low', boxWidth: 14}, display: curves.length <= 6}}, interaction: {mode: 'nearest'},
        scales: {x: axis('HU', {type: 'linear', min: low, max: high, ticks: {includeBounds: false}}), y: axis('% of voxels', {beginAtZero: true})}}}),
      ['HU', '5 %', 'median', '95 %'], H[part].p50.map((m, i) => [x(i), 100 * H[part].p05[i], 100 * m, 100 * H[part].p95[i]]).filter(r => r[0] >= low && r[0] <= high && r[3] > .005));
  }
  scatter('intensity-charts', 'Is this portal venous? Vessels against parenchyma', 'liver_median_hu', 'vessel_hu', 'liver, HU', 'vessels, HU');
  scatter('intensity-charts', 'HU scale: fat against air', 'air_hu', 'fat_hu', 'air, HU', 'fat, HU');
}
function liver() {
  histogram('liver-charts', 'Liver volume', 'liver_ml', 'ml');
  histogram('liver-charts', 'Liver height', 'liver_height_mm', 'mm');
  histogram('liver-charts', 'Liver HU (median)', 'liver_median_hu', 'HU');
  scatter('liver-charts', 'Mask: share that holds fat, air or bone, against volume', 'liver_ml', 'odd_share', 'liver, ml', 'odd share');
}
function depth() {
  const A = D.fingerprint.depth;
  $('depth-words').replaceChildren('This dataset suits ', el('b', {}, A.recommended), `: ${A.reason}. Train with `, el('code', {}, `--depth ${A.recommended.replace('depth_', '')}`), '.');
  const names = ['depth_kept', 'depth_liver', 'depth_volume'];
  histogram('depth-charts', 'Scan range of the cases', 'scan_range_mm', 'mm');
  if (!A.regression) return;
  chart('depth-charts', 'Variance of depth that the anatomy explains', () => ({type: 'bar', data: {labels: names, datasets: [{label: 'R², cross-validated', data: names.map(n => A.conventions[n].r2), backgroundColor: names.map(n => css(n === A.recommended ? '--teal' : '--grey'))}]},
    options: {plugins: {legend: {display: false}}, scales: {x: {grid: {display: false}}, y: axis('R²', {beginAtZero: true, max: 1})}}}), ['convention', 'R²', 'RMSE'], names.map(n => [n, A.conventions[n].r2, A.conventions[n].rmse]));
  names.forEach((name, i) => {
    const flipped = p => cases[p[0]].findings.some(f => f.code === 'DEPTH_FLIPPED');
    const of = pick => D.depth_points.filter(pick).map(p => ({x: p[1 + i], y: p[4 + i], index: p[0]}));
    const sets = [['slices', '--blue', of(p => !flipped(p))], ['of flipped cases', '--error', of(flipped)]].filter(g => g[2].length);
    chart('depth-charts', `${name}: stated, and predicted from the anatomy`, () => ({type: 'scatter', data: {datasets: [
        ...sets.map(([label, colour, data]) => ({label, data, backgroundColor: css(colour), pointRadius: 2})),
        {label: 'equal', type: 'line', data: [{x: 0, y: 0}, {x: 1, y: 1}], borderColor: css('--grey'), borderDash: [5, 4], pointRadius: 0, borderWidth: 1}]},
      options: {onClick: (_, hit, ch) => { const p = hit.length && ch.data.datasets[hit[0].datasetIndex].data[hit[0].index]; if (p && p.index !== undefined) openCase(p.index); },
        scales: {x: axis('stated', {min: 0, max: 1}), y: axis('predicted', {suggestedMin: 0, suggestedMax: 1})}}}),
      ['case', 'stated', 'predicted'], D.depth_points.slice(0, 100).map(p => [cases[p[0]].get('name'), p[1 + i], p[4 + i]]));
  });
}
function outliers() {
  const measures = [['spacing_mm', 'slice distance, mm'], ['pixel_mm', 'pixel size, mm'], ['scan_range_mm', 'scan range, mm'], ['liver_ml', 'liver volume, ml'], ['liver_height_mm', 'liver height, mm'],
    ['liver_median_hu', 'liver HU'], ['vessel_hu', 'vessel HU'], ['noise_hu', 'noise, HU'], ['air_hu', 'air HU'], ['fat_hu', 'fat HU'], ['odd_share', 'odd share of the mask'], ['liver_shape', 'liver height / width'], ['depth_rmse', 'depth error']];
  const median = v => { const s = [...v].sort((a, b) => a - b); return s.length ? (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2 : 0; };
  const found = [];
  measures.forEach(([name, words]) => {
    const values = cases.map(c => c.get(name)).filter(v => typeof v === 'number');
    if (values.length < 8) return;
    const m = median(values), sd = Math.max(1.4826 * median(values.map(v => Math.abs(v - m))), .02 * Math.abs(m), 1e-3);
    cases.forEach(c => { const v = c.get(name); if (typeof v === 'number' && Math.abs(v - m) > 4 * sd) found.push({c, words, v, m, z: (v - m) / sd}); });
  });
  found.sort((a, b) => Math.abs(b.z) - Math.abs(a.z));
  if (!found.length) { $('outlier-table').replaceWith(el('p', {}, 'No case lies more than 4 robust standard deviations from the median of any measure.')); return; }
  table($('outlier-table'), ['Case', 'Measure', 'Value', 'Median', 'Robust SDs'], found.slice(0, 30).map(o => [caseLink(o.c.get('name')), o.words, o.v, o.m, Math.round(o.z * 10) / 10]), [2, 3, 4]);
}
function drift() {
  if (!D.baseline.length) return;
  $('drift').hidden = false; $('nav-drift').hidden = false;
  table($('drift-table'), ['What', 'Here', 'Baseline', 'Test', 'Statistic', 'p', ''], D.baseline.map(r => [r.what, r.here, r.baseline, r.test, r.statistic, r.p < 1e-6 ? '< 1e-6' : r.p.toPrecision(2), r.drift ? badge('warning') : '']), [4, 5]);
}

