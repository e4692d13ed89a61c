"""wsp-qa on a small dataset: its files and their schemas, rules and exit codes, judging again without reading pixels, baseline,
numbers against scipy, the same bytes at any number of threads."""
import hashlib
import json
import pathlib
import shutil

import support

support.require("numpy", "h5py", "scipy")
import numpy as np
import scipy.stats


def table(path):
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    support.check(len({len(line) for line in lines}) == 1, "rows of group.tsv differ in length")
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def qa(dataset, *options, expect=0):
    return json.loads(support.run("wsp-qa", dataset, "--json", *options, expect=expect).stdout)


def make(work, name, subjects, seed, *options):
    cohort = work / f"{name}-cohort"
    support.run("wsp-phantom", "--out", cohort, "--subjects", subjects, "--seed", seed, "--slices", "24-30", "--size", 128, "--balance",
                "--format", "nifti", *options)
    support.run("wsp-ingest", cohort / "export", "--out", work / name, "--masks", cohort / "truth", "--labels", cohort / "labels.csv",
                "--manifest", support.SOURCE / "data-manifests" / "phantom.json", "--ids", "keep", "--size", 128, "--shards", 4)
    return work / name


def check_files(dataset):
    """The table against h5py's reading of the same pixels; croissant against the shards' bytes."""
    rows = {r["case"]: r for r in table(dataset / "qa" / "group.tsv")}
    read = support.read_cases(dataset)
    support.check(rows.keys() == read.keys(), "group.tsv has other cases than the index")
    for name, case in read.items():
        liver = case["image"][case["mask"] > 0]
        support.check(abs(float(rows[name]["liver_mean_hu"]) - liver.mean()) < 0.06, f"{name}: mean liver HU {rows[name]['liver_mean_hu']}, h5py says {liver.mean():.2f}")
        support.check(int(rows[name]["kept"]) == len(case["image"]), f"{name}: kept slices")
        step = np.median(np.diff(case["z_mm"]))
        support.check(abs(float(rows[name]["spacing_mm"]) - step) < 2e-3, f"{name}: slice distance")
    croissant = json.loads((dataset / "qa" / "croissant.json").read_text())
    support.check(croissant["conformsTo"] == "http://mlcommons.org/croissant/1.0", "croissant version")
    for f in croissant["distribution"]:
        data = (dataset / "qa" / f["contentUrl"]).read_bytes()
        support.check(hashlib.sha256(data).hexdigest() == f["sha256"], f"croissant: SHA-256 of {f['name']}")
    support.check({f["name"] for f in croissant["distribution"]} >= {p.relative_to(support.state(dataset)).as_posix() for p in (support.state(dataset) / "shards").glob("*.h5")}, "croissant lacks a shard")
    columns = set(next(iter(rows.values())))
    for field in croissant["recordSet"][0]["field"]:
        support.check(field["source"]["extract"]["column"] in columns, f"croissant: no column {field['name']}")
    schema = json.loads((support.SOURCE / "schemas" / "finding.schema.json").read_text())
    for line in (dataset / "qa" / "findings.jsonl").read_text().splitlines():
        finding = json.loads(line)
        support.check(set(schema["required"]) <= set(finding) <= set(schema["properties"]), f"a finding of another form: {line}")
    support.run("wsp-ingest", "verify", dataset)


def check_rules(work, dataset):
    support.check(qa(dataset)["errors"] == 0, "a clean dataset has errors")
    warnings = qa(dataset, "--fail-on", "warning", expect=3)["codes"]
    rules = work / "rules.json"

    def write(**fields):
        rules.write_text(json.dumps({"format": "wsp-qa-rules", "version": 1, **fields}))
        return "--rules", rules
    all_ignored = write(severity={code: "ignore" for code in warnings})
    support.check(qa(dataset, *all_ignored, "--fail-on", "warning")["codes"] == {}, "ignored codes are reported")
    strict = qa(dataset, *write(limits={"liver_ml": [5000, 9000]}, severity={"LIVER_SMALL": "error"}), expect=3)
    support.check(strict["codes"]["LIVER_SMALL"] == strict["cases"] and strict["pixels_read"] == 0, f"other rules read pixels again, or do not hold: {strict}")
    for bad in ({"severity": {"NO_SUCH_CODE": "error"}}, {"severity": {"GAP": "fatal"}}, {"limits": {"liver_ml": [2, 1]}}, {"limits": {"unknown": 1}}, {"more": 1}):
        support.run("wsp-qa", dataset, *write(**bad), expect=2)
    support.run("wsp-qa", work / "nothing", expect=4)
    support.run("wsp-qa", dataset, "--baseline", work / "nothing", expect=2)


def check_baseline(work, dataset, other):
    """Drift with tests that scipy computes too; a volume that stands in both."""
    qa(other, "--fail-on", "never")
    result = qa(dataset, "--baseline", other, "--fail-on", "never")
    tests = result["baseline"]
    support.check(tests["tests"] >= 10 and tests["drifts"] == result["codes"].get("BASELINE_DRIFT", 0), f"the baseline's summary: {tests}")
    for line in (dataset / "qa" / "findings.jsonl").read_text().splitlines():
        support.check("BASELINE_DRIFT" not in line or " here, " in line, f"a drift without both figures: {line}")
    support.check(result["codes"].get("DUPLICATE_VOLUME", 0) == 2, f"two volumes stand in both datasets: {result['codes']}")
    page = (dataset / "qa" / "report.html").read_text()
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    rows = {r["what"]: r for r in data["baseline"]}
    mine, theirs = table(dataset / "qa" / "group.tsv"), table(other / "qa" / "group.tsv")
    for what, column in (("liver volume", "liver_ml"), ("scan range", "scan_range_mm"), ("noise", "noise_hu")):
        a, b = ([float(r[column]) for r in t] for t in (mine, theirs))
        expected = scipy.stats.ks_2samp(a, b, method="asymp")
        support.check(abs(rows[what]["statistic"] - expected.statistic) < 2e-3, f"{what}: D {rows[what]['statistic']}, scipy {expected.statistic}")
        support.check(abs(rows[what]["p"] - expected.pvalue) < 0.12, f"{what}: p {rows[what]['p']}, scipy {expected.pvalue}")
    values = sorted({int(r["label"]) for r in mine + theirs})
    counts = [[sum(int(r["label"]) == v for r in t) for v in values] for t in (mine, theirs)]
    expected = scipy.stats.chi2_contingency(counts, correction=False)
    support.check(abs(rows["classes of label"]["p"] - expected[1]) < 1e-5, f"chi-squared p {rows['classes of label']['p']}, scipy {expected[1]}")


def check_threads(work, dataset):
    """Every file but state.json (it knows the shards' times) is the same bytes with one thread and with four."""
    trees = []
    for threads in (1, 4):
        out = work / f"threads-{threads}" / "qa"
        out.parent.mkdir()
        qa(dataset, "--out", out, "--threads", threads, "--fail-on", "never")
        trees.append({k: v for k, v in support.tree(out).items() if k != "state.json"})
    support.check(trees[0] == trees[1], f"files differ with the threads: {[k for k in trees[0] if trees[0][k] != trees[1].get(k)]}")


def check_place(work, dataset):
    """No dataset and nothing of other origin is overwritten; a report elsewhere links to the dataset."""
    before = support.tree(dataset)
    for out in (dataset, dataset / "cases", dataset / "shards" / "new", dataset / "previews"):
        support.run("wsp-qa", dataset, "--out", out, "--force", expect=2)
    foreign = work / "foreign"
    (foreign / "cases").mkdir(parents=True)
    (foreign / "cases" / "mine.json").write_text("{}")
    support.run("wsp-qa", dataset, "--out", foreign, "--fail-on", "never", expect=2)
    support.check(support.tree(dataset) == before, "a refused --out changed the dataset")
    for _ in range(2):
        qa(dataset, "--out", foreign, "--force", "--fail-on", "never")
    support.check((foreign / "cases" / "mine.json").exists(), "a file that is no report's was removed")
    for f in json.loads((foreign / "croissant.json").read_text())["distribution"]:
        support.check((foreign / f["contentUrl"]).is_file(), f"croissant: {f['contentUrl']} points nowhere")
    for wrong in (("--date", "2024-13-01"), ("--license", "MIT"), ("--url", "example.org")):
        support.run("wsp-qa", dataset, *wrong, expect=2)
    support.run("wsp-qa", dataset, "--date", "2024-05-31", "--license", "https://example.org/by", "--fail-on", "never")


def check_words(work, dataset):
    """What is broken is said by its name: JSON, a rule, previews."""
    broken = work / "broken"
    shutil.copytree(dataset, broken)
    shutil.rmtree(support.state(broken) / "previews")
    done = support.run("wsp-qa", broken, "--fail-on", "never")
    support.check("wsp-ingest verify" in done.stderr, f"previews are missing in silence: {done.stderr}")
    (broken / "dataset.json").write_text("{")
    done = support.run("wsp-qa", broken, expect=6)
    support.check("not valid JSON" in done.stderr, f"dataset.json is no JSON: {done.stderr}")
    (work / "odd.json").write_text(json.dumps({"format": "wsp-qa-rules", "version": 1, "limits": {"unknown": 1}}))
    done = support.run("wsp-qa", dataset, "--rules", work / "odd.json", expect=2)
    support.check("expected object, found object" not in done.stderr and "unknown" in done.stderr, f"a rule's error: {done.stderr}")


def check_ratings(work, dataset):
    """Ratings of other cases are counted and named; a reader's notes are allowed."""
    name = next(iter(table(dataset / "qa" / "group.tsv")))["case"]
    (work / "notes.tsv").write_text(f"reader\tcase\trating\tnote\nA\t{name}\tgood\tfine\nA\tno-such-case\texclude\tx\n")
    done = support.run("wsp-qa", dataset, "--ratings", work / "notes.tsv", "--fail-on", "never", "--json")
    support.check(json.loads(done.stdout)["ratings"] == {"given": 2, "unmatched": ["no-such-case"]}, "unmatched ratings are not counted")
    support.check("no-such-case" in done.stderr, "an unmatched rating is not named")


def check_unlabelled(work):
    """All slices of phantoms without a label table or air: one note, no slice taken for a computed one, no measure of 0."""
    cohort = work / "plain-cohort"
    support.run("wsp-phantom", "--out", cohort, "--subjects", 8, "--seed", 3, "--slices", "40-60", "--size", 256, "--balance", "--format", "nifti")
    support.run("wsp-ingest", cohort / "export", "--out", work / "plain", "--masks", cohort / "truth", "--ids", "keep", "--slices", "all", "--size", 256)
    name = sorted((support.state(work / "plain") / "cases").glob("*.json"))[0]
    case = json.loads(name.read_text())
    case["histogram"]["air"] = [0] * len(case["histogram"]["air"])
    name.write_text(json.dumps(case))
    codes = qa(work / "plain", "--fail-on", "never")["codes"]
    support.check(codes.get("LABELS_ABSENT") == 1 and not codes.keys() & {"LABEL_MISSING", "BATCH_INFEASIBLE", "SLICE_INTERPOLATED"}, f"a clean unlabelled dataset: {codes}")
    airless = json.loads((work / "plain" / "qa" / "cases" / name.name).read_text())
    support.check(airless["air_hu"] is None, f"air that is not there has {airless['air_hu']} HU")
    air = json.loads((work / "plain" / "qa" / "dataset_fingerprint.json").read_text())["air_hu"]
    support.check(air["n"] == 7 and air["max"] < -900, f"the fingerprint counts air that is not there: {air}")
    qa(work / "plain", "--baseline", work / "plain", "--fail-on", "never")


def check_document():
    """docs/QA.md names every code that the default rules judge, with its severity, and every limit with its value."""
    document = (support.SOURCE / "docs" / "QA.md").read_text()
    rules = json.loads((support.SOURCE / "libs" / "preprocess" / "report" / "page" / "default_rules.json").read_text())
    for code, severity in rules["severity"].items():
        support.check(f"| `{code}` | {severity} |" in document, f"docs/QA.md lacks {code}, or calls it something else than {severity}")
    for limit, value in rules["limits"].items():
        said = " to ".join(f"{v:g}" for v in value) if isinstance(value, list) else f"{value:g}"
        support.check(f"| `{limit}` | {said}" in document, f"docs/QA.md does not say that {limit} is {said}")
    codes = json.loads((support.SOURCE / "schemas" / "codes.json").read_text())["codes"]
    unjudged = {c["code"] for c in codes if c["kind"] == "qa"} - rules["severity"].keys()
    support.check(not unjudged, f"no default severity for {unjudged}")


def main():
    check_document()
    with support.temporary() as place:
        work = pathlib.Path(place)
        dataset = make(work, "one", 12, 1)
        cohort = work / "two-cohort"
        first = qa(dataset)
        support.check(first["pixels_read"] == 12, "not all pixels were read")
        check_files(dataset)
        check_rules(work, dataset)
        # The other dataset holds two volumes of the first.
        support.run("wsp-phantom", "--out", cohort, "--subjects", 10, "--seed", 2, "--slices", "30-40", "--size", 128, "--format", "nifti")
        for n, name in enumerate(sorted(p.name for p in (work / "one-cohort" / "export").iterdir())[:2]):
            shutil.copy(work / "one-cohort" / "export" / name, cohort / "export" / f"other-{n}.nii.gz")
            shutil.copy(work / "one-cohort" / "truth" / name, cohort / "truth" / f"other-{n}.nii.gz")
        support.run("wsp-ingest", cohort / "export", "--out", work / "two", "--masks", cohort / "truth", "--labels", cohort / "labels.csv",
                    "--manifest", support.SOURCE / "data-manifests" / "phantom.json", "--ids", "keep", "--size", 128)
        check_baseline(work, dataset, work / "two")
        check_threads(work, dataset)
        check_place(work, dataset)
        check_ratings(work, dataset)
        check_words(work, dataset)
        check_unlabelled(work)


main()
