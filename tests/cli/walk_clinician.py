"""A clinician's first afternoon: an export folder and a table from a German Excel, with semicolons and decimal commas. The manifest that
`init` drafts, the dry run, the dataset, its report in a browser: a case is scrolled, rated, the ratings saved, and the dataset made
again without it."""
import csv
import json
import pathlib
import re
import subprocess
import time

import support

support.require("numpy", "h5py")
import chromium


def excel_table(work, encoding):
    """What Excel saves of a table typed in German: semicolons, decimal commas, CRLF; cells that are empty or say that nothing is known."""
    rows = list(csv.DictReader((work / "cohort" / "labels.csv").open()))
    words = {"none": "keine", "mild": "leicht", "moderate": "mittel", "severe": "schwer"}
    lines = ["Patienten-ID;Fibrose (Befund);Fibroscan (kPa);Bemerkung Ärztin"]
    for i, row in enumerate(rows):
        stiffness = "n.d." if i == 2 else f"{4.1 + 2.3 * i:.1f}".replace(".", ",")
        lines.append(f"{row['subject']};{words.get(row['radiological'], '')};{stiffness};\"Größe {i}; unauffällig\"")
    path = work / f"Tabelle-{encoding}.csv"
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path


def manifest_of(work, table, export):
    """init, its advice followed to the letter, init --check."""
    draft = work / "klinik.json"
    told = support.run("wsp-ingest", "init", "--labels", table, "--out", draft)
    manifest = json.loads(draft.read_text())
    support.check(manifest["key_column"] == "Patienten-ID" and manifest["labels"][0]["column"] == "Fibrose (Befund)" and
                  manifest["labels"][0]["values"].items() <= {"keine": 0, "leicht": 1, "mittel": 2, "schwer": 3}.items(),
                  f"the draft: {manifest}")
    (entry,) = re.findall(r"add to 'continuous': (\{.*\})", "\n".join(manifest["guessed"]))
    support.check(entry in " ".join((told.stdout + told.stderr).split("\n")), f"init does not show what to add: {told.stdout}{told.stderr}")
    manifest["continuous"] = [json.loads(entry)]
    draft.write_text(json.dumps(manifest, ensure_ascii=False))
    support.run("wsp-ingest", "init", "--check", draft, "--labels", table, export)
    return draft


def read_report(page, work, report):
    """Open a case, go through its slices with the wheel, rate it, save: what the browser wrote, and the case."""
    folder = work / "Downloads"
    folder.mkdir()
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.open(report)
    page.evaluate("document.querySelector('.thumb').click()")
    page.wait("document.getElementById('viewer').dataset.read !== undefined")
    name = page.evaluate("cases[current].get('name')")
    at = lambda: page.evaluate("view.state().slice")
    x, y, width, height = page.evaluate("(r => [r.left, r.top, r.width, r.height])(document.querySelector('canvas.axial').getBoundingClientRect())")
    before = at()
    page.mouse("Wheel", x + width / 2, y + height / 2, deltaX=0, deltaY=240)
    page.wait(f"view.state().slice !== {before}")
    page.key("x")
    page.key("Escape", 27)
    page.wait("[...document.querySelectorAll('.thumb .rating')].map(e => e.textContent).join() === 'exclude'")
    page.evaluate("document.getElementById('save').click()")
    began = time.monotonic()
    while not (folder / "ratings.tsv").exists():
        support.check(time.monotonic() - began < 30, f"nothing was saved: {list(folder.iterdir())}")
        time.sleep(0.05)
    support.check(not page.errors, f"the console says {page.errors}")
    return name, folder / "ratings.tsv"


def main():
    chromium.find()
    with support.temporary() as place:
        work = pathlib.Path(place)
        support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 5, "--seed", 12, "--slices", "30-34", "--size", 128, "--balance",
                    "--hospital")
        export = work / "cohort" / "export"
        # Excel's first offer is no UTF-8: the message says what to choose instead, and no cell of a patient.
        wrong = support.run("wsp-ingest", "init", "--labels", excel_table(work, "cp1252"), "--out", work / "never.json", expect=2)
        support.check("UTF-8" in wrong.stderr and "Gr" not in wrong.stderr and not (work / "never.json").exists(), wrong.stderr)
        table = excel_table(work, "utf-8-sig")
        manifest = manifest_of(work, table, export)
        options = ["--masks", work / "cohort" / "truth", "--manifest", manifest, "--labels", table, "--size", 128]
        planned = json.loads(support.run("wsp-ingest", "plan", export, *options, "--json").stdout)
        support.check(planned["totals"]["cases"] == 5, f"the dry run: {planned['totals']}")
        dataset = work / "dataset"
        support.run("wsp-ingest", export, "--out", dataset, "--new-site-key", work / "site.key", *options)
        cases = support.read_cases(dataset)
        support.check(len(cases) == 5, f"{len(cases)} cases of 5 patients")
        numbers = sorted((float(c["fibroscan_kpa"][0]) for c in cases.values()), key=str)
        support.check(numbers[:4] == [11.0, 13.3, 4.1, 6.4] and numbers[4] != numbers[4], f"the numbers of the table: {numbers}")
        support.check(support.run_any("wsp-qa", dataset).returncode in (0, 3), "wsp-qa")
        with chromium.Browser() as page:
            name, ratings = read_report(page, work, dataset / "qa" / "report.html")
        done = support.run("wsp-ingest", export, "--out", dataset, "--site-key", work / "site.key", *options, "--exclude-cases", ratings)
        support.check(f"1 cases were left out as rated: {name}" in done.stdout, done.stdout)
        support.check(set(support.read_cases(dataset)) == set(cases) - {name}, "the rated case is still there")
        support.run("wsp-ingest", "verify", dataset)
        print(f"a German table, a report, a rating: {len(cases)} cases, then {len(cases) - 1}")


main()
