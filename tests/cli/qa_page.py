"""The report's page in headless Chromium: no console error, nothing from a network, search and filters, the case dialog, keyboard,
ratings, pages; basics of accessibility; no sideways scrolling at desktop and phone width, light and dark. Screenshots go to the build
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


def use(page, dataset, cases):
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
    title = page.evaluate("document.getElementById('case-title').textContent")
    page.key("ArrowRight", 39)
    support.check(page.evaluate("document.getElementById('case-title').textContent") != title, "the right arrow does not go on")
    page.evaluate("document.querySelector('#case input[value=exclude]').click()")
    support.check(page.evaluate("document.querySelector('#case img.strip').decode().then(() => true)"), "the strip is no picture")
    problems = page.evaluate(AUDIT)
    support.check(not problems, f"accessibility of the dialog: {problems}")
    page.key("Escape", 27)
    support.check(not page.evaluate("document.getElementById('case').open"), "Escape does not close the case")
    choose(page, "view", "table")
    support.check(page.evaluate("document.querySelectorAll('#sheet tbody tr').length") == len(cases), "the table has other rows")
    choose(page, "view", "sheet")
    # What 'Save ratings' hands to the browser is what --ratings takes.
    return page.evaluate("""new Promise(done => { const make = URL.createObjectURL; URL.createObjectURL = b => { b.text().then(done); return make.call(URL, b); };
        document.getElementById('save').click(); })""")


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
                ratings = use(page, dataset, cases)
                page.evaluate("document.querySelector('.thumb').click()")
                page.screenshot(shots / f"{name}-case.png")
                clean_page(page, name)
        (work / "ratings.tsv").write_text(ratings)
        support.check(ratings.splitlines()[0] == "case\trating" and ratings.count("exclude") == 1, f"ratings are {ratings!r}")
        support.run("wsp-qa", dataset, "--ratings", work / "ratings.tsv", expect=3)
        rated = [json.loads(line) for line in (dataset / "qa" / "findings.jsonl").read_text().splitlines() if "RATED_EXCLUDE" in line]
        support.check([r["case"] for r in rated] == [ratings.split("\n")[1].split("\t")[0]], "the rating did not come back")
        print(f"screenshots in {shots}")


main()
