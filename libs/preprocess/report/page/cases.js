'use strict';
// The cases: contact sheet, table, the view of one, ratings; then what starts the page.
const rank = c => c.findings.reduce((a, f) => a + (f.severity === 'error' ? 1000 : 1), 0);
let shown = [], page = 0;
const classOf = c => c.get(`label:${D.labels[0]}`) < 0 ? 'unknown' : c.get(`label:${D.labels[0]}`);
// The columns of the table of cases.
const ROW = [['Case', c => caseLink(c.get('name'))], ['Subject', c => el('span', {title: c.get('subject')}, short(c.get('subject')))], ['Class', c => classOf(c)], ['Slices', c => c.get('kept')], ['Spacing, mm', c => c.get('spacing_mm')],
  ['Pixel, mm', c => c.get('pixel_mm')], ['Liver, ml', c => c.get('liver_ml')], ['Liver, HU', c => c.get('liver_median_hu')], ['Rating', c => ratings.get(c.get('name')) || ''], ['Findings', c => codesOf(c).map(([k]) => k).join(', ')]];
const sorting = {column: -1, down: false, by: () => { refresh(); document.querySelectorAll('#sheet th button')[sorting.column].focus(); }};
function picture(kind, c) {
  const script = document.getElementById(`${kind}-${c.index}`);
  if (script) return 'data:image/png;base64,' + script.textContent;
  const place = D.pictures[kind];
  return place ? place.replace('*', encodeURIComponent(c.get('name'))) : null;
}
function image(kind, c, cls, alt) {
  const src = c.get('slices_read') || kind === 'preview' ? picture(kind, c) : null;
  if (!src) return kind === 'thumb' ? el('span', {class: 'noimage'}, 'no picture') : null;
  const img = el('img', {src, alt, class: cls, loading: 'lazy', decoding: 'async'});
  img.addEventListener('error', () => img.replaceWith(el('span', {class: kind === 'thumb' ? 'noimage' : 'muted'}, 'no picture')));
  return img;
}
const unrated = c => !ratings.has(c.get('name'));
const codesOf = c => [...new Map(c.findings.map(f => [f.code, f.severity]))];
function filterChoices() {
  const codes = [...new Set(D.findings.filter(f => byName.has(f.case)).map(f => f.code))].sort();
  $('finding').append(el('option', {value: ''}, 'all'), el('option', {value: '*error'}, 'any error'), el('option', {value: '*any'}, 'any finding'), el('option', {value: '*none'}, 'none'), el('option', {value: '*unrated'}, 'not yet rated'), ...codes.map(c => el('option', {value: c}, c)));
  $('label-name').append(...D.labels.map(n => el('option', {value: n}, n)));
  classChoices();
}
function classChoices() {
  const values = [...new Set(cases.map(c => c.get(`label:${$('label-name').value}`)))].sort((a, b) => a - b);
  $('class').replaceChildren(el('option', {value: ''}, 'all'), ...values.map(v => el('option', {value: v}, v < 0 ? 'unknown' : v)));
}
function refresh() {
  const words = $('search').value.trim().toLowerCase(), finding = $('finding').value, cls = $('class').value, label = `label:${$('label-name').value}`;
  const matches = {'': () => true, '*error': c => c.findings.some(f => f.severity === 'error'), '*any': c => c.findings.length, '*none': c => !c.findings.length, '*unrated': unrated}[finding] || (c => c.findings.some(f => f.code === finding));
  shown = cases.filter(c => (!words || c.get('name').toLowerCase().includes(words) || c.get('subject').toLowerCase().includes(words)) && matches(c) && (cls === '' || String(c.get(label)) === cls));
  const order = {findings: (a, b) => rank(b) - rank(a) || a.index - b.index, name: (a, b) => a.get('name') < b.get('name') ? -1 : 1, liver: (a, b) => a.get('liver_ml') - b.get('liver_ml')}[$('order').value];
  const key = ROW[sorting.column];
  shown.sort(key ? (a, b) => (sorting.down ? -1 : 1) * compare(shownText(key[1](a)), shownText(key[1](b))) || a.index - b.index : order);
  page = 0;
  render();
}
function render() {
  const asTable = $('view').value === 'table', size = asTable ? ROWS : SHEET, pages = Math.max(1, Math.ceil(shown.length / size));
  page = Math.min(page, pages - 1);
  const part = shown.slice(page * size, (page + 1) * size);
  $('shown').textContent = `${fmt(shown.length)} of ${fmt(cases.length)} cases`;
  $('page').textContent = `page ${page + 1} of ${pages}`;
  $('previous').disabled = page === 0;
  $('next').disabled = page + 1 >= pages;
  $('sheet').className = asTable ? 'sheet table' : 'sheet';
  if (asTable) {
    $('sheet').replaceChildren(table(el('table', {class: 'cases'}), ROW.map(([head]) => head), part.map(c => ROW.map(([, value]) => value(c))), [2, 3, 4, 5, 6, 7], sorting));
    return;
  }
  $('sheet').replaceChildren(...part.map(c => el('button', {type: 'button', class: 'thumb', onclick: () => openCase(c.index)},
    image('thumb', c, '', `Middle kept slice of ${c.get('name')}, liver outlined`), el('span', {class: 'name', title: c.get('name')}, short(c.get('name'), 20)),
    el('span', {class: 'muted'}, `class ${classOf(c)} · ${fmt(Math.round(c.get('liver_ml')))} ml`),
    ratings.has(c.get('name')) ? el('span', {class: `badge rating ${ratings.get(c.get('name'))}`}, ratings.get(c.get('name'))) : null,
    el('span', {class: 'codes'}, ...codesOf(c).map(([code, severity]) => el('span', {class: `badge ${severity}`}, code))))));
}
let current = -1;
const view = wspViewer($('viewer'), el);
const told = el('div');
view.side.prepend($('rating'));
view.side.append(told);
const facts = [['name', 'Case'], ['subject', 'Subject'], ['split', 'Split'], ['matrix', 'Matrix'], ['pixel_mm', 'Pixel, mm'], ['spacing_mm', 'Slice distance, mm'], ['acquired', 'Acquired slices'], ['kept', 'Kept slices'], ['scan_range_mm', 'Scan range, mm'],
  ['liver_height_mm', 'Liver height, mm'], ['liver_ml', 'Liver, ml'], ['liver_median_hu', 'Liver, HU'], ['vessel_hu', 'Vessels, HU'], ['noise_hu', 'Noise, HU'], ['air_hu', 'Air, HU'], ['fat_hu', 'Fat, HU'], ['phase', 'Phase by header'],
  ['hu_phase', 'Phase by HU'], ['kernel', 'Kernel'], ['mask_source', 'Mask from'], ['odd_share', 'Odd share of the mask'], ['liver_shape', 'Liver height / width'], ['depth_correlation', 'Depth and anatomy, r'], ['flags', 'Flags of the ingest']];
// What the page holds of a case's slices, or the file beside it; null where there are none.
function slicesOf(c) {
  const here = document.getElementById(`slices-${c.index}`);
  if (!D.pictures.has_slices || !c.get('slices_read') || !window.DecompressionStream) return Promise.resolve(null);
  if (here) return Promise.resolve(JSON.parse(here.textContent.slice('wspSlices('.length, here.textContent.lastIndexOf(')'))));
  return new Promise(done => {
    const script = el('script', {src: D.pictures.slices.replace('*', encodeURIComponent(c.get('name')))});
    script.addEventListener('load', () => { done(script.slices || null); script.remove(); });
    script.addEventListener('error', () => { done(null); script.remove(); });
    document.head.append(script);
  });
}
const hashOf = name => `#case=${encodeURIComponent(name)}`;
function openCase(index) {
  const c = cases[index], name = c.get('name');
  current = index;
  if (location.hash !== hashOf(name)) location.hash = hashOf(name);
  $('case-title').textContent = short(name);
  $('case-title').title = name;
  showRating();
  const preview = D.pictures.has_previews ? image('preview', c, 'preview', `Coronal and sagittal projection of ${name}: liver outlined in red, first and last kept slice in yellow`) : null;
  told.replaceChildren(...(c.findings.length ? c.findings.map(f => el('div', {class: `finding ${f.severity}`}, el('p', {}, badge(f.severity), ' ',
          el('button', {type: 'button', class: 'link', title: 'walk through the cases with this finding', onclick: () => { $('walk').value = f.code; walked(); }}, f.code)), el('p', {}, f.detail), el('p', {class: 'muted'}, f.remedy))) : [el('p', {}, 'No finding.')]));
  const strip = el('div', {class: 'strip-scroll'});
  $('case-body').replaceChildren();
  add($('case-body'), strip,
    el('div', {class: 'two'},
      el('div', {}, preview, preview ? el('p', {class: 'muted'}, 'Coronal and sagittal; yellow lines are the first and last kept slice.') : null),
      el('dl', {}, ...facts.filter(([k]) => c.get(k) !== '' && c.get(k) !== null).flatMap(([k, words]) => [el('dt', {}, words), el('dd', {}, String(fmt(c.get(k))))]),
        ...D.labels.flatMap(n => [el('dt', {}, `Label ${n}`), el('dd', {}, c.get(`label:${n}`) < 0 ? 'unknown' : String(c.get(`label:${n}`)))]),
        ...D.numbers.flatMap(n => [el('dt', {}, n), el('dd', {}, c.get(`number:${n}`) === null ? 'unknown' : String(fmt(c.get(`number:${n}`))))]))));
  if (!$('case').open) { walkChoices(); $('case').showModal(); }
  walked();
  view.show(null);
  slicesOf(c).then(slices => {
    if (current !== index) return;
    if (slices) { view.show(slices); view.stage.focus(); return; }
    const six = image('strip', c, 'strip', `Six kept slices of ${name} from feet to head, liver outlined in orange, first and last framed in yellow`);
    add(strip, six || el('p', {class: 'muted'}, 'No kept slice could be read.'), six ? el('p', {class: 'muted'}, `${whyNone()} Six of them, from the first (feet) to the last (head); window −60 to 220 HU.`) : null);
  });
}
function whyNone() {
  if (!D.pictures.has_slices) return 'The report was made without the kept slices (--slice-size 0).';
  if (!window.DecompressionStream) return 'This browser is too old to show all kept slices.';
  return 'The kept slices are in slices/, which is not beside this file.';
}
// Which cases the arrows walk through.
const WALKS = {'': () => shown, '*unrated': () => shown.filter(c => unrated(c) || c.index === current)};
const walk = () => (WALKS[$('walk').value] || (() => cases.filter(c => c.findings.some(f => f.code === $('walk').value)).sort((a, b) => rank(b) - rank(a) || a.index - b.index)))();
function walkChoices() {
  const was = $('walk').value, n = code => cases.filter(c => c.findings.some(f => f.code === code)).length;
  $('walk').replaceChildren(el('option', {value: ''}, `cases shown (${fmt(shown.length)})`), el('option', {value: '*unrated'}, `of them not yet rated (${fmt(shown.filter(unrated).length)})`),
    ...[...new Set(cases.flatMap(c => c.findings.map(f => f.code)))].sort().map(code => el('option', {value: code}, `${code} (${fmt(n(code))})`)));
  if ([...$('walk').options].some(o => o.value === was)) $('walk').value = was;
}
function walked() {
  const list = walk(), at = list.findIndex(c => c.index === current);
  $('case-place').textContent = `${at + 1 || '–'} of ${list.length}`;
  $('case-previous').disabled = at === 0 || !list.length;
  $('case-next').disabled = at + 1 >= list.length;
}
function step(by) {
  const list = walk(), next = list[list.findIndex(c => c.index === current) + by];
  if (next) openCase(next.index);
}
let unsaved = false, rated = false;  // since the last save; since the sheet was drawn
function rate(rating) {
  const name = cases[current].get('name');
  if ((ratings.get(name) || '') === rating) return;
  if (rating) ratings.set(name, rating); else ratings.delete(name);
  unsaved = rated = true;
  showRating(); walked();
}
function showRating() {
  const rating = ratings.get(cases[current].get('name')) || '';
  document.querySelectorAll('#rating [data-rating]').forEach(b => b.setAttribute('aria-pressed', String(b.dataset.rating === rating)));
}
// The address names the case: a link, a reload and the browser's own arrows lead to it.
function follow() {
  const asked = /^#case=(.*)$/.exec(location.hash);
  if (!asked) { if ($('case').open) $('case').close(); return; }
  let name = asked[1];
  try { name = decodeURIComponent(name); } catch { /* as it stands */ }
  const c = byName.get(name);
  if (!c) { $('shown').textContent = `No case ${name} in this report. ` + $('shown').textContent; $('cases').scrollIntoView(); return; }
  if (!$('case').open || current !== c.index) openCase(c.index);
}
const KEYS = {ArrowUp: () => view.step(1), ArrowDown: () => view.step(-1), PageUp: () => view.step(5), PageDown: () => view.step(-5), Home: () => view.first(), End: () => view.last(),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), p: () => step(-1), n: () => step(1), m: () => view.toggleMask(), g: () => rate('good'), u: () => rate('usable'), x: () => rate('exclude'), 0: () => rate(''),
  1: () => view.preset(0), 2: () => view.preset(1), 3: () => view.preset(2), 4: () => view.preset(3)};
function caseKey(e) {
  const slides = e.target.type === 'range' && e.key.startsWith('Arrow');
  if (e.ctrlKey || e.altKey || e.metaKey || e.target.tagName === 'SELECT' || slides || !KEYS[e.key]) return;
  e.preventDefault();
  KEYS[e.key]();
}
function saveRatings() {
  const text = 'case\trating\n' + [...ratings].sort((a, b) => a[0] < b[0] ? -1 : 1).map(([n, r]) => `${n}\t${r}\n`).join('');
  const link = el('a', {href: URL.createObjectURL(new Blob([text], {type: 'text/tab-separated-values'})), download: 'ratings.tsv'});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  unsaved = false;
}
function theme(dark) {
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  $('theme').textContent = dark ? 'Light' : 'Dark';
  $('theme').setAttribute('aria-pressed', String(dark));
}

theme(matchMedia('(prefers-color-scheme: dark)').matches);
summary(); files(); cohort(); geometry(); intensity(); liver(); depth(); outliers(); drift();
filterChoices(); refresh(); drawCharts(); follow();
$('limits').textContent = D.note;
$('theme').addEventListener('click', () => { theme(document.documentElement.dataset.theme !== 'dark'); drawCharts(); });
['search', 'finding', 'class'].forEach(id => $(id).addEventListener('input', refresh));
$('label-name').addEventListener('input', () => { classChoices(); refresh(); });
$('view').addEventListener('input', () => { page = 0; render(); });
$('clear').addEventListener('click', () => { $('search').value = ''; $('finding').value = ''; $('class').value = ''; refresh(); });
$('previous').addEventListener('click', () => { page--; render(); });
$('next').addEventListener('click', () => { page++; render(); });
['save', 'case-save'].forEach(id => $(id).addEventListener('click', saveRatings));
$('order').addEventListener('input', () => { sorting.column = -1; refresh(); });
$('case-close').addEventListener('click', () => $('case').close());
$('case-previous').addEventListener('click', () => step(-1));
$('case-next').addEventListener('click', () => step(1));
$('case').addEventListener('keydown', caseKey);
$('case').addEventListener('close', () => { view.show(null); if (/^#case=/.test(location.hash)) history.replaceState(null, '', '#cases'); if (rated) { rated = false; render(); } });
$('walk').addEventListener('input', () => { walked(); view.stage.focus(); });
document.querySelectorAll('#rating [data-rating]').forEach(b => b.addEventListener('click', () => rate(b.dataset.rating)));
addEventListener('hashchange', follow);
addEventListener('beforeunload', e => { if (unsaved) { e.preventDefault(); e.returnValue = true; } });
document.addEventListener('keydown', e => { if (e.key === '/' && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) { e.preventDefault(); $('search').focus(); } });
let before = null;
addEventListener('beforeprint', () => { before = document.documentElement.dataset.theme; theme(false); drawCharts(); document.querySelectorAll('img[loading]').forEach(i => { i.loading = 'eager'; }); });
addEventListener('afterprint', () => { theme(before === 'dark'); drawCharts(); });
document.body.dataset.ready = 'yes';
