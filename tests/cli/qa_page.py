"""The report's page in headless Chromium: no console error, nothing from a network, search and filters, the view of a case (slices by
keys, wheel and finger, windows, mask, coronal plane, as h5py reads them), its address, ratings, sorted tables, pages; basics of accessibility; no sideways scrolling at desktop and phone width, light and dark. Screenshots go to the build
directory (qa-screenshots) to be looked at."""
import json
import os
import pathlib
import shutil

import support

support.require("numpy")
import chromium

# What an accessibility checker would ask first. Contrast is computed against the nearest opaque background.
AUDIT = """(() => {
  const problems = [];
  const visible = e => e.offsetParent !== null && getComputedStyle(e).visibility !== 'hidden';
  if (!document.documentElement.lang) problems.push('no language');
  if (!document.title) problems.push('no title');
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => problems.push('id twice: ' + id));
  document.querySelectorAll('img').forEach(e => { if (!e.alt) problems.push('img without alt'); });
  document.querySelectorAll('canvas, svg[role=img]').forEach(e => { if (!e.getAttribute('aria-label')) problems.push('picture without label'); });
  document.querySelectorAll('button').forEach(e => { if (!(e.textContent.trim() || e.getAttribute('aria-label'))) problems.push('button without name'); });
  document.querySelectorAll('input, select').forEach(e => { if (!e.closest('label') && !e.getAttribute('aria-label')) problems.push('control without label: ' + e.id); });
  document.querySelectorAll('th').forEach(e => { if (!e.scope) problems.push('th without scope'); });
  let level = 0;
  document.querySelectorAll('main h1, main h2, main h3, main h4, header h1').forEach(e => { const n = +e.tagName[1]; if (n > level + 1) problems.push('heading skips a level: ' + e.textContent); level = n; });
  const rgb = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length === 3 ? [...m, 1] : m; };
  const lum = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const seen = new Set();
  document.querySelectorAll('p, td, th, h1, h2, h3, a, button, span, label, dt, dd, summary, figcaption, b').forEach(e => {
    if (!visible(e) || e.disabled || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) return;
    let b = e; while (b && rgb(getComputedStyle(b).backgroundColor)[3] < 1) b = b.parentElement;
    const bg = rgb(getComputedStyle(b || document.body).backgroundColor), fg = rgb(getComputedStyle(e).color);
    const [hi, lo] = [lum(fg), lum(bg)].sort((x, y) => y - x), ratio = (hi + .05) / (lo + .05);
    const key = e.tagName + e.className + ratio.toFixed(2);
    if (ratio < 4.5 && !seen.has(key)) { seen.add(key); problems.push(`contrast ${ratio.toFixed(2)}: ${e.tagName}.${e.className} ${e.textContent.slice(0, 30)}`); }
  });
  return problems;
})()"""


def make_dataset(work):
    """30 phantoms, of which one has another HU scale and one no label."""
    import nibabel
    import numpy as np
    cohort = work / "cohort"
    support.run("wsp-phantom", "--out", cohort, "--subjects", 30, "--seed", 4, "--slices", "24-30", "--size", 128, "--balance", "--format", "nifti")
    first = sorted((cohort / "export").glob("*.nii.gz"))[0]
    image = nibabel.load(first)
    nibabel.save(nibabel.Nifti1Image((np.asarray(image.dataobj) + 70).astype(np.int16), image.affine), first)
    lines = (cohort / "labels.csv").read_text().splitlines()
    (cohort / "labels.csv").write_text("\n".join(lines[:-1]) + "\n")
    support.run("wsp-ingest", cohort / "export", "--out", work / "ds", "--masks", cohort / "truth", "--labels", cohort / "labels.csv",
                "--manifest", support.SOURCE / "data-manifests" / "phantom.json", "--ids", "keep", "--size", 128)
    return work / "ds"


def count(page):
    return page.evaluate("document.querySelectorAll('#sheet .thumb').length")


def choose(page, control, value):
    page.evaluate(f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})(document.getElementById('{control}'))")
    return count(page)


def clean_page(page, what):
    support.check(not page.errors, f"{what}: the console says {page.errors}")
    strange = [u[:80] for u in page.requests if not u.startswith(("file:", "data:", "blob:"))]
    support.check(not strange, f"{what}: the page asked the network for {strange}")


def use(page, dataset, cases, pixels, touch):
    found = [json.loads(line) for line in (dataset / "qa" / "findings.jsonl").read_text().splitlines()]
    support.check(count(page) == len(cases), f"{count(page)} pictures for {len(cases)} cases")
    for code in {f["code"] for f in found if f["case"]}:
        expected = len({f["case"] for f in found if f["code"] == code})
        support.check(choose(page, "finding", code) == expected, f"the filter {code} does not show {expected} cases")
    support.check(choose(page, "finding", "*error") == len({f["case"] for f in found if f["severity"] == "error" and f["case"]}), "the filter of errors is wrong")
    choose(page, "finding", "")
    name = cases[7]["name"]
    support.check(choose(page, "search", name.upper()) == 1, "search does not find one case by its name")
    support.check(choose(page, "search", "no such case") == 0, "search finds what is not there")
    choose(page, "search", "")
    for value in sorted({c["labels"]["label"] for c in cases}):
        expected = sum(c["labels"]["label"] == value for c in cases)
        support.check(choose(page, "class", str(value)) == expected, f"class {value} does not show {expected} cases")
    page.evaluate("document.getElementById('clear').click()")
    support.check(count(page) == len(cases), "Clear does not clear")
    # Keyboard: "/" goes to the search, Enter opens a case, arrows walk, Escape closes.
    page.evaluate("document.activeElement.blur()")
    page.key("/", 191, "/")
    support.check(page.evaluate("document.activeElement.id") == "search", "'/' does not go to the search")
    page.evaluate("document.querySelector('.thumb').focus()")
    page.key("Enter", 13, "\r")
    support.check(page.evaluate("document.getElementById('case').open"), "Enter does not open a case")
    title = open_case(page)
    page.key("ArrowRight", 39)
    rated = open_case(page)
    support.check(rated != title, "the right arrow does not go on")
    look(page, pixels[rated], touch)
    measure_scale_bar(page, next(c for c in cases if c["name"] == rated))
    problems = page.evaluate(AUDIT)
    support.check(not problems, f"accessibility of the dialog: {problems}")
    # Ratings by keys: the last word counts, and 0 takes it back.
    for key in "gux":
        page.key(key)
        pressed = page.evaluate("[...document.querySelectorAll('#rating [aria-pressed=true]')].map(b => b.dataset.rating).join()")
        support.check(pressed == {"g": "good", "u": "usable", "x": "exclude"}[key], f"key {key} rates {pressed}")
    page.key("n")
    page.key("g")
    page.key("0")
    page.key("Escape", 27)
    support.check(not page.evaluate("document.getElementById('case').open"), "Escape does not close the case")
    page.wait("[...document.querySelectorAll('.thumb .rating')].map(e => e.textContent).join() === 'exclude'")
    support.check(choose(page, "finding", "*unrated") == len(cases) - 1, "'not yet rated' shows others")
    choose(page, "finding", "")
    walk_by_finding(page, found)
    sort_tables(page, cases)
    # What 'Save ratings' hands to the browser is what --ratings takes.
    return rated, page.evaluate("""new Promise(done => { const make = URL.createObjectURL; URL.createObjectURL = b => { b.text().then(done); return make.call(URL, b); };
        document.getElementById('save').click(); })""")


def open_case(page):
    """The name of the case that stands open, once all its slices are read."""
    page.wait("document.getElementById('viewer').dataset.read !== undefined")
    return page.evaluate("cases[current].get('name')")


def state(page):
    return json.loads(page.evaluate("JSON.stringify(view.state())"))


# Pixels of the mask's colour in a picture, and how many are neither black nor that.
COLOURS = """(canvas => { const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true}); copy.drawImage(canvas, 0, 0);
  const d = copy.getImageData(0, 0, canvas.width, canvas.height).data; let tint = 0, grey = 0;
  for (let i = 0; i < d.length; i += 4) { if (d[i] > 200 && d[i + 1] < 150 && d[i + 2] < 110) tint++; else if (d[i] > 40) grey++; } return [tint, grey]; })(document.querySelector('#viewer canvas.%s'))"""


def look(page, kept, touch):
    """Slices by keys, wheel, finger and slider; values and mask as h5py reads them; windows, mask, coronal plane."""
    import numpy as np
    image, mask = kept["image"], kept["mask"]
    now = state(page)
    support.check(now["slices"] == len(image), f"{now['slices']} of {len(image)} kept slices")
    rng = np.random.default_rng(8)
    for y, x in rng.integers(0, image.shape[1], (40, 2)):
        value, inside = page.evaluate(f"[view.state().value({x}, {y}), view.state().inside({x}, {y})]")
        true = image[now["slice"], y, x]
        support.check(abs(value - true) <= 1, f"({x}, {y}) is {value} HU, stored {true}")
        support.check(inside == int(mask[now["slice"], y, x] > 0), f"({x}, {y}) is {inside} in the mask")
    places = []
    for key, code in (("Home", 36), ("ArrowUp", 38), ("ArrowUp", 38), ("PageUp", 33), ("ArrowDown", 40), ("End", 35)):
        page.key(key, code)
        places.append(state(page)["slice"])
    support.check(places == [0, 1, 2, 7, 6, len(image) - 1], f"keys lead to the slices {places}")
    support.check(f"Slice {len(image)} of {len(image)}" in page.evaluate("document.querySelector('.place').textContent"), "the slice is not named")
    page.evaluate("document.getElementById('case').scrollTop = 0")
    box = page.evaluate("(r => [r.left, r.top, r.width, r.height])(document.querySelector('canvas.axial').getBoundingClientRect())")
    support.check(box[2] >= (320 if touch else 600) and box[1] + box[3] <= (844 if touch else 900), f"the slice stands at {box}")
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    page.mouse("Wheel", x, y, deltaX=0, deltaY=120)
    page.wait(f"view.state().slice === {len(image) - 4}")
    if touch:
        page.swipe([(x, y)], 0, 42)
        support.check(state(page)["slice"] < len(image) - 4, "a finger does not scroll")
        page.swipe([(x - 40, y), (x + 40, y)], 60, 0)
        support.check(state(page)["width"] > 150, "two fingers do not change the window")
        page.key("1")
    page.drag(x, y, 50, -20)
    now = state(page)
    support.check((now["width"], now["level"]) == (250, 70), f"dragging gives W {now['width']} L {now['level']}")
    page.drag(x, y - box[3] / 4, 0, 0)
    support.check(abs(state(page)["row"] - image.shape[1] / 4) <= 2, f"a click sets row {state(page)['row']}")
    for key, (width, level) in {"1": (150, 90), "2": (400, 40), "3": (1800, 400), "4": (500, 150)}.items():
        page.key(key)
        now, limits = state(page), page.evaluate("document.querySelector('#viewer .limits, #viewer .side p:last-of-type').textContent")
        support.check((now["width"], now["level"]) == (width, level), f"window {key} is {now}")
        support.check(("-100 to 400 HU" in limits) == (key in "23"), f"window {key}: {limits}")
    page.key("1")
    page.evaluate("view.step(-99); view.step(9)")
    counts = {}
    for _ in range(3):
        counts[state(page)["mask"]] = page.evaluate(COLOURS % "axial")[0]
        page.key("m")
    support.check(counts["off"] == 0 and counts["outline"] > 100, f"the mask's colour: {counts}")
    support.check(page.evaluate(COLOURS % "coronal")[1] > 100, "the coronal picture is empty")
    low = page.evaluate("(c => { const r = c.getBoundingClientRect(); c.dispatchEvent(new MouseEvent('click', {clientX: r.left + 20, clientY: r.bottom - 2})); return view.state().slice; })(document.querySelector('canvas.coronal'))")
    support.check(low == 0, f"a click at the feet of the coronal picture leads to slice {low}")


def measure_scale_bar(page, facts):
    """The bar's white pixels stand for as many mm as its word says."""
    length, width, words = page.evaluate("""(canvas => { const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true}); copy.drawImage(canvas, 0, 0);
      const y = canvas.height - 14, d = copy.getImageData(0, y, canvas.width, 1).data; let x = canvas.width - 14, n = 0; while (d[4 * x] > 150) { n++; x--; }
      return [n + 2, canvas.width, view.state().bar]; })(document.querySelector('canvas.axial'))""")
    mm = length / width * facts["pixel_mm"][0] * facts["matrix"][0]
    support.check(abs(mm - 10 * words) < 2, f"the scale bar of {words} cm is {mm:.1f} mm long")


def walk_by_finding(page, found):
    code = max({f["code"] for f in found if f["case"]}, key=lambda c: sum(f["code"] == c for f in found))
    expected = {f["case"] for f in found if f["code"] == code and f["case"]}
    page.evaluate(f"openCase(byName.get({json.dumps(sorted(expected)[0])}).index)")
    page.evaluate(f"(e => {{ e.value = {json.dumps(code)}; e.dispatchEvent(new Event('input')); }})(document.getElementById('walk'))")
    for _ in expected:
        page.key("p")
    seen = [page.evaluate("cases[current].get('name')")]
    while not page.evaluate("document.getElementById('case-next').disabled"):
        page.key("ArrowRight", 39)
        seen.append(page.evaluate("cases[current].get('name')"))
    support.check(sorted(seen) == sorted(expected), f"walking through {code} shows {seen}, expected {sorted(expected)}")
    page.evaluate("(e => { e.value = ''; e.dispatchEvent(new Event('input')); })(document.getElementById('walk'))")
    page.key("Escape", 27)


def sort_tables(page, cases):
    choose(page, "view", "table")
    rows = "[...document.querySelectorAll('#sheet tbody tr')]"
    support.check(page.evaluate(f"{rows}.length") == len(cases), "the table has other rows")
    broken = page.evaluate("[...document.querySelectorAll('td > button.link')].filter(b => b.getClientRects().length > 1 || b.offsetHeight > 34).map(b => b.textContent)")
    support.check(not broken, f"names break: {broken}")
    for turn in ("ascending", "descending"):
        page.evaluate("[...document.querySelectorAll('#sheet th button')].find(b => b.textContent === 'Liver, ml').click()")
        values = page.evaluate(f"{rows}.map(r => +r.cells[6].textContent.replace(/,/g, ''))")
        support.check(values == sorted(values, reverse=turn == "descending"), f"not {turn}: {values}")
        support.check(page.evaluate("document.querySelector('#sheet th[aria-sort]').getAttribute('aria-sort')") == turn, f"the head does not say {turn}")
    page.evaluate("[...document.querySelectorAll('#codes th button')].find(b => b.textContent === 'Code').click()")
    codes = page.evaluate("[...document.querySelectorAll('#codes tbody tr')].map(r => r.cells[0].textContent)")
    support.check(codes == sorted(codes), f"the findings are not sorted by code: {codes}")
    choose(page, "order", "findings")
    choose(page, "view", "sheet")


def addresses(page, report, cases):
    """A case has an address, which a name that is not there does not open."""
    name = cases[3]["name"]
    page.open(report, f"#case={name}")
    support.check(page.evaluate("document.getElementById('case').open") and open_case(page) == name, "the address of a case does not open it")
    page.key("ArrowRight", 39)
    support.check(page.evaluate("location.hash") == f"#case={open_case(page)}" != f"#case={name}", "the address does not follow")
    page.evaluate("history.back()")
    page.wait(f"cases[current].get('name') === {json.dumps(name)}")
    page.key("Escape", 27)
    page.wait("location.hash === '#cases'")
    page.open(report, "#case=nobody")
    support.check(not page.evaluate("document.getElementById('case').open") and "nobody" in page.evaluate("document.getElementById('shown').textContent"), "an unknown case is not named")


def beside(work, dataset, cases):
    """What does not fit into the file is read from the folder beside it; where that is missing, or nothing was made, six slices stay."""
    name = cases[5]["name"]
    report = dataset / "qa" / "report.html"
    support.run("wsp-qa", dataset, "--embed-mib", 1, "--fail-on", "never")
    support.check(report.stat().st_size < 3 << 20, f"with --embed-mib 1 the page has {report.stat().st_size} bytes")
    alone = work / "moved" / "report.html"
    alone.parent.mkdir()
    with chromium.Browser() as page:
        page.open(report, f"#case={name}")
        support.check(open_case(page) == name and state(page)["slices"] == cases[5]["kept"], "slices beside the file are not shown")
        shutil.copy(report, alone)
        page.open(alone, f"#case={name}")
        page.wait("document.querySelector('#case-body .strip-scroll p') !== null")
        support.check("not beside this file" in page.evaluate("document.querySelector('#case-body .strip-scroll').textContent"), "missing slices are not told")
        support.run("wsp-qa", dataset, "--slice-size", 0, "--fail-on", "never")
        support.check(not list((dataset / "qa" / "slices").iterdir()), "--slice-size 0 leaves slices")
        page.errors.clear()
        page.open(report, f"#case={name}")
        page.wait("document.querySelector('#case img.strip') !== null")
        support.check(page.evaluate("document.querySelector('#case img.strip').decode().then(() => true)"), "the strip is no picture")
        clean_page(page, "--slice-size 0")
        support.run("wsp-qa", dataset, "--slice-size", 64, "--fail-on", "never")
        page.open(report, f"#case={name}")
        open_case(page)
        support.check(page.evaluate("JSON.parse(document.getElementById('slices-0').textContent.slice(10, -2)).width") == 64, "--slice-size 64 gives other slices")


def main():
    chromium.find()
    shots = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "qa-screenshots"
    shots.mkdir(exist_ok=True)
    with support.temporary() as place:
        work = pathlib.Path(place)
        dataset = make_dataset(work)
        support.run("wsp-qa", dataset, "--title", "<b>Liver</b> & more", expect=3)
        cases = [json.loads(p.read_text()) for p in sorted((dataset / "qa" / "cases").glob("*.json"))]
        report = dataset / "qa" / "report.html"
        pixels = support.read_cases(dataset)
        # One file: it must do without what lies beside it.
        alone = work / "alone" / "report.html"
        alone.parent.mkdir()
        shutil.copy(report, alone)
        for name, width, height, dark in (("desktop", 1280, 900, False), ("phone", 390, 844, True)):
            with chromium.Browser(width, height, dark) as page:
                # The quickest of five: the others tell of what else the machine does.
                seconds = min(page.open(alone) for _ in range(5))
                support.check(seconds < 3, f"the page took {seconds:.1f} s to open")
                support.check(page.evaluate("document.title") == "QA report: <b>Liver</b> & more", "the page does not have the title of the dataset")
                problems = page.evaluate(AUDIT)
                support.check(not problems, f"accessibility at {name} width: {problems}")
                wide = page.evaluate("document.documentElement.scrollWidth")
                support.check(wide <= width, f"{name}: the page is {wide} pixels wide on a screen of {width}")
                # Pictures below the fold are decoded when they come into view: for the screenshot, now.
                page.evaluate("""Promise.all([...document.querySelectorAll('#sheet img')].map(i => { i.loading = 'eager'; return i.decode(); })).then(() => true)""")
                page.screenshot(shots / f"{name}.png", full=True)
                rated, ratings = use(page, dataset, cases, pixels, name == "phone")
                page.evaluate("document.querySelector('.thumb').click()")
                open_case(page)
                page.screenshot(shots / f"{name}-case.png")
                addresses(page, alone, cases)
                clean_page(page, name)
        (work / "ratings.tsv").write_text(ratings)
        support.check(ratings.splitlines()[0] == "case\trating" and ratings.splitlines()[1:] == [f"{rated}\texclude"], f"ratings are {ratings!r}")
        support.run("wsp-qa", dataset, "--ratings", work / "ratings.tsv", expect=3)
        rated = [json.loads(line) for line in (dataset / "qa" / "findings.jsonl").read_text().splitlines() if "RATED_EXCLUDE" in line]
        support.check([r["case"] for r in rated] == [ratings.split("\n")[1].split("\t")[0]], "the rating did not come back")
        beside(work, dataset, cases)
        print(f"screenshots in {shots}")


main()
