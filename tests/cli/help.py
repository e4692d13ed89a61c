"""What each command says of itself: --help in 100 columns, a man page, completion for bash and zsh that completes."""
import pathlib
import re
import shutil
import subprocess

import support

TOOLS = ("wsp-ingest", "wsp-qa", "wsp-train", "wsp-unet", "wsp-eval", "wsp-phantom")


def verbs_of(text):
    found = re.search(r"^Subcommands:\n((?: .*\n?)+)", text, re.M)
    return re.findall(r"^  ([a-z]+)\b", found[1], re.M) if found else []


def completed(tool, script, *words):
    """What bash would offer for the last of the words."""
    line = " ".join(f"'{word}'" for word in (tool, *words))
    code = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _{tool.replace('-', '_')}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()


def check_help(tool):
    text = support.run(tool, "--help").stdout
    verbs = verbs_of(text)
    for said in (text, *(support.run(tool, verb, "--help").stdout for verb in verbs)):
        long = [line for line in said.splitlines() if len(line) > 100]
        support.check(not long, f"{tool}: lines of more than 100 columns: {long}")
        support.check(not re.search(r"(INT|FLOAT) in \[", said), f"{tool}: a range as the library writes it")
    return verbs


def check_man(tool, verbs):
    page = support.run(tool, "--man").stdout
    for name in (tool, *(f"{tool} {verb}" for verb in verbs)):
        support.check(name.replace("-", "\\-") in page, f"the man page lacks {name}")
    support.check(page.startswith(f".TH {tool} 1\n.SH NAME\n"), page[:80])
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-rLL=100n"], input=page, capture_output=True, text=True)
        support.check(done.returncode == 0 and not done.stderr, f"groff on {tool}: {done.stderr[:300]}")


def check_completion(tool, verbs, work):
    script = work / f"{tool}.bash"
    script.write_text(support.run(tool, "--completion", "bash").stdout)
    if verbs:
        support.check(completed(tool, script, "") == verbs, f"{tool}: verbs {completed(tool, script, '')}")
        support.check(verbs[0] in completed(tool, script, verbs[0][:2]), f"{tool}: {verbs[0]}")
    support.check("--threads" in completed(tool, script, "--th"), f"{tool}: --threads")
    zsh = support.run(tool, "--completion", "zsh").stdout
    support.check(zsh.startswith(f"#compdef {tool}\n"), zsh[:60])
    if shutil.which("zsh"):
        (work / f"_{tool}").write_text(zsh)
        subprocess.run(["zsh", "-n", work / f"_{tool}"], check=True)
    support.run(tool, "--completion", "fish", expect=2)


with support.temporary() as directory:
    directory = pathlib.Path(directory)
    missing = [name for name in ("groff", "zsh") if not shutil.which(name)]
    if missing:
        print(f"*** not installed: {missing}: what they would read was not looked at ***")
    for each in TOOLS:
        found = check_help(each)
        check_man(each, found)
        check_completion(each, found, directory)
    bash = directory / "wsp-ingest.bash"
    support.check(completed("wsp-ingest", bash, "make", "--codec", "z") == ["zstd"], "words of an option")
    support.check(completed("wsp-ingest", bash, "scan", "--pix") == ["--pixels"], "an option of a verb")
    support.check(completed("wsp-ingest", bash, "merge", "--pix") == [], "an option of another verb")
    support.check(completed("wsp-ingest", bash, "EXPORT", "--new") == ["--new-site-key"], "the usual verb's options")
print("commands describe themselves")
