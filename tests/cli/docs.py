"""What README and docs/ tell to type: options exist, files are there, plans have the cells that are told."""
import json
import re

import support

DOCUMENTS = [support.SOURCE / "README.md", *sorted((support.SOURCE / "docs").glob("*.md"))]
USUAL = {"wsp-ingest": "make", "wsp-train": "run"}  # the verb that is meant where none stands
TOOLS = ("wsp-ingest", "wsp-qa", "wsp-train", "wsp-unet", "wsp-eval", "wsp-phantom")
OPTION = re.compile(r"(?<![\w-])--[A-Za-z][A-Za-z0-9-]*")
helps = {}


def options_of(tool, *command):
    if (tool, *command) not in helps:
        helps[(tool, *command)] = support.run(tool, *command, "--help").stdout
    return set(OPTION.findall(helps[(tool, *command)]))


def shell_blocks(document):
    """The indented lines of every block of shell, a continued line as one."""
    language, lines = None, []
    for line in document.read_text().splitlines():
        if line.strip().startswith("```"):
            if language in ("", "sh"):
                yield re.sub(r"\\\n\s*", " ", "\n".join(lines))
            language, lines = (line.strip()[3:] if language is None else None), []
        elif language is not None:
            lines.append(line)


def commands(text):
    """(tool, the rest of its command) of every call in a text."""
    for line in text.splitlines():
        for call in re.split(r" [|;&>#]+(?= |$)|\$\(|;", line):
            if found := re.search(r"(?<![\w/-])(wsp-[a-z]+)(?= )(.*)", call):
                if found[1] in TOOLS:
                    yield found[1], found[2]


def check_options():
    checked = 0
    for document in DOCUMENTS:
        text = document.read_text()
        inline = "\n".join(re.findall(r"`(wsp-[^`\n]+)`", text))
        for tool, rest in commands("\n".join([*shell_blocks(document), inline])):
            words = rest.split()
            known = options_of(tool)
            if words and re.fullmatch("[a-z]+", words[0]) and re.search(rf"^  {words[0]} ", helps[(tool,)], re.M):
                known |= options_of(tool, words[0])
            elif tool in USUAL:
                known |= options_of(tool, USUAL[tool])
            for option in OPTION.findall(rest):
                checked += 1
                support.check(option in known, f"{document.name}: '{tool}{rest}': {tool} knows no {option}")
    elsewhere = {"--array", "--signal", "--tflops", "--gbps"}  # Slurm, bench/gpu/roofline.py
    everywhere = elsewhere.union(*(OPTION.findall(text) for text in helps.values()))
    for document in DOCUMENTS:
        for span in re.findall(r"`(--[^`\n]+)`", document.read_text()):
            for option in OPTION.findall(span):
                checked += 1
                support.check(option in everywhere, f"{document.name}: '{span}': no tool knows {option}")
    support.check(checked > 150, f"only {checked} options found in the documents")
    return checked


def cells(plan):
    rows = support.run("wsp-eval", "table", support.SOURCE / plan, "--list").stdout.splitlines()
    support.check([int(row.split("\t")[0]) for row in rows] == list(range(len(rows))), f"{plan} --list: {rows}")
    return len(rows)


def check_arrays():
    arrays = 0
    for document in DOCUMENTS:
        for block in shell_blocks(document):
            if array := re.search(r"--array=0-(\d+)", block):
                (plan,) = re.findall(r"plans/[\w-]+\.json", block)
                support.check(int(array[1]) == cells(plan) - 1, f"{document.name}: --array ends at {array[1]}, {plan} has {cells(plan)} cells")
                arrays += 1
    support.check(arrays > 0, "no Slurm array found in the documents")
    cluster = " ".join((support.SOURCE / "docs/CLUSTER.md").read_text().split())
    support.check(f"cell 1 of {cells('plans/phantom-full.json')}`" in cluster and f"the {cells('plans/phantom-full.json')} cells" in cluster,
                  "docs/CLUSTER.md: the number of cells of plans/phantom-full.json")
    results = (support.SOURCE / "docs/RESULTS.md").read_text()
    support.check(f"The plan has {cells('plans/phantom-small.json')} cells" in results, "docs/RESULTS.md: the number of cells of plans/phantom-small.json")


def check_files():
    for document in DOCUMENTS:
        for path in set(re.findall(r"(?<![\w/])((?:plans|data-manifests|schemas|bench|tools|tests|libs)/[\w./-]+\.\w+)", document.read_text())):
            support.check((support.SOURCE / path).exists(), f"{document.name}: there is no {path}")


def check_plan_fields():
    text = (support.SOURCE / "docs/EVALUATE.md").read_text()
    rows = "\n".join(line for line in text[text.index("## A whole table from one file"):].splitlines() if line.startswith("| `"))
    for field in json.loads((support.SOURCE / "schemas/plan.schema.json").read_text())["properties"]:
        support.check(f"`{field}`" in rows, f"docs/EVALUATE.md does not explain the plan's field {field}")


check_files()
check_plan_fields()
check_arrays()
print("documents:", check_options(), "options of commands exist; arrays, plans and files are right")
