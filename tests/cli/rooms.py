"""Includes of libs run one way: a folder includes only what ROOMS puts above it, Torch stands where it may. ROOMS is the drawing in
docs/ARCHITECTURE.md as a test. No source of libs and tools is longer than 400 lines, no function of theirs than 80, unless a comment
right above it says `Long because` and why."""
import re

import support

# Folder: what it may include, beside itself and io/core. Read from the top down; nothing names a later line.
ROOMS = {
    "io/core": [],
    "io/device": [],
    "io/manifest": [],
    "io/shard": ["io/manifest"],
    "io/medical": [],
    "preprocess/ops": [],
    "preprocess/segment": ["io/device", "io/manifest", "preprocess/ops"],
    "preprocess/phantom": ["io/medical"],
    "preprocess/pipeline": ["io/manifest", "io/medical", "io/shard", "preprocess/ops", "preprocess/segment"],
    "preprocess/report": ["io/manifest", "io/shard"],
    "train/kernels": [],
    "train/data": ["io/manifest", "io/shard"],
    "train/stats": ["preprocess/ops", "train/kernels"],
    "train/model": ["train/kernels"],
    "train/run": ["io/device", "io/manifest", "train/data", "train/kernels", "train/model"],
    "train/pretrain": ["io/manifest", "train/data", "train/kernels", "train/model", "train/run", "train/stats"],
    "train/unet": ["io/manifest", "io/shard", "preprocess/ops", "train/data", "train/kernels", "train/model", "train/run", "train/stats"],
    "train/eval": ["io/manifest", "io/shard", "train/data", "train/model", "train/run", "train/pretrain", "train/stats"],
}
TORCH = {"io/device", "preprocess/segment", "train/model", "train/run", "train/pretrain", "train/unet", "train/eval"}
MOST_LINES, MOST_OF_A_FUNCTION = 400, 80
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def faults_of(room, text):
    """What a file of `room` includes and may not."""
    found = []
    for own, foreign in INCLUDE.findall(text):
        target = own.rsplit("/", 1)[0]
        if own and target in ROOMS and target not in {room, "io/core", *ROOMS[room]}:
            found.append(f"includes {own}")
        if re.match(r"(torch|ATen|c10)/", foreign) and room not in TORCH:
            found.append(f"includes <{foreign}>")
    return found


# Comments, texts, characters and lines of the preprocessor.
HIDDEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\[^\n\']+|[^\'\\\n])\'|^[ \t]*#(?:\\\n|[^\n])*',
                    re.DOTALL | re.MULTILINE)
SCOPE = re.compile(r"\s*(?:template\s*<[^{;]*?>\s*)?(?:inline\s+)?(?:namespace|class|struct|union|enum|extern)\b")


def functions(text):
    """First and last line of every function that has a body; lambdas inside count with it."""
    code = HIDDEN.sub(lambda hidden: re.sub(r"[^\n]", " ", hidden[0]), text)
    found, scopes, head = [], [("scope", 0)], 0
    for mark in re.finditer(r"[{};]", code):
        if mark[0] == "{":
            words = re.sub(r"\b(?:public|private|protected)\s*:", lambda label: " " * len(label[0]), code[head:mark.start()])
            if scopes[-1][0] != "scope":
                kind = "inside"
            elif words.count("(") > words.count(")"):
                kind = "argument"
            elif SCOPE.match(words):
                kind = "scope"
            else:
                kind = "function" if "(" in words and not words.rstrip().endswith("=") else "inside"
            scopes.append((kind, head + len(words) - len(words.lstrip())))
            if kind == "scope":
                head = mark.end()
            continue
        kind = None
        if mark[0] == "}":
            kind, start = scopes.pop()
            if kind == "function":
                found.append((text.count("\n", 0, start) + 1, text.count("\n", 0, mark.start()) + 1))
        if scopes[-1][0] == "scope" and kind != "argument":
            head = mark.end()
    return found


def too_long(path, text):
    """What of a source is longer than it may be, without a reason."""
    lines = text.splitlines()
    found = [f"{path} has {len(lines)} lines"] if len(lines) > MOST_LINES and "Long because" not in "".join(lines[:9]) else []
    for first, last in functions(text):
        above = first - 1
        while above and lines[above - 1].lstrip().startswith("//"):
            above -= 1
        if last - first + 1 > MOST_OF_A_FUNCTION and "Long because" not in "".join(lines[above:first - 1]):
            found.append(f"{path}:{first} begins a function of {last - first + 1} lines")
    return found


places = list(ROOMS)
for place, allowed in ROOMS.items():
    support.check(all(places.index(other) < places.index(place) for other in allowed), f"{place} reaches up: {allowed}")
# The test itself can fail.
support.check(faults_of("train/stats", '#include "train/run/loop.hpp"\n#include <torch/torch.h>\n') ==
              ["includes train/run/loop.hpp", "includes <torch/torch.h>"], "a planted fault was not seen")

libs = support.SOURCE / "libs"
folders = {path.parent.relative_to(libs).as_posix() for path in libs.rglob("*.[ch]pp")}
support.check(folders == set(ROOMS), f"ROOMS and the folders of libs differ in {folders ^ set(ROOMS)}")
sources = [path for path in sorted(libs.rglob("*")) if path.suffix in {".cpp", ".hpp", ".cu", ".cuh"}]
faults = [f"{path.relative_to(libs)} {fault}" for path in sources
          for fault in faults_of(path.parent.relative_to(libs).as_posix(), path.read_text())]
support.check(not faults, f"{faults}")
used = {(path.parent.relative_to(libs).as_posix(), own.rsplit("/", 1)[0]) for path in sources for own, _ in INCLUDE.findall(path.read_text())}
idle = [f"{room} -> {other}" for room, allowed in ROOMS.items() for other in allowed if (room, other) not in used]
support.check(not idle, f"allowed and not needed: {idle}")

# The measure can fail, and knows what is no function.
body = "  int x = 0;\n" * MOST_OF_A_FUNCTION
planted = f"struct S {{\n  S(int a = {{}})\n      : a_(a) {{\n{body}  }}\n  int a_{{1}};\n}};\n" f'const char* k[] = {{"}}", "{{"}};\nint f() {{ return 0; }}\n'
support.check(too_long("a", planted) == [f"a:2 begins a function of {MOST_OF_A_FUNCTION + 3} lines"], f"{too_long('a', planted)}")
support.check(not too_long("a", planted.replace("  S(", "  // Long because of a test.\n  S(")), "a reason was not seen")
support.check(too_long("a", "\n" * (MOST_LINES + 1)), "a long file was not seen")
measured = [path for room in ("libs", "tools") for path in sorted((support.SOURCE / room).rglob("*")) if path.suffix in {".cpp", ".hpp", ".cu", ".cuh"}]
counted = {path: functions(path.read_text()) for path in measured}
support.check(sum(map(len, counted.values())) > 3000, "functions are not found any more")
long = [fault for path in measured for fault in too_long(path.relative_to(support.SOURCE).as_posix(), path.read_text())]
support.check(not long, f"longer than {MOST_LINES} lines, or a function than {MOST_OF_A_FUNCTION}: {long}")
print(f"{len(sources)} sources in {len(ROOMS)} folders, all includes one way; {sum(map(len, counted.values()))} functions, none too long")
