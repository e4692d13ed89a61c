"""The recipes of images: every file that they take is there, what they run is a script of ours that the shell can read or apt, what
they install is what cpack makes, and nothing of a build tree goes in. They are not built here."""
import re
import shlex
import subprocess

import support

TOOLS = support.SOURCE / "tools"
PACKAGES = re.findall(r"^  wsp_package\((\w+) ([\w-]+) ", (support.SOURCE / "cmake/WspPackage.cmake").read_text(), re.M)


def sound(script):
    """The shell reads it, and its commands are there; `bash FILE` names a file of the source tree that the shell reads."""
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
    support.check(done.returncode == 0, f"{script}: {done.stderr}")
    for command in re.split(r"&&|\n|;", script):
        words = shlex.split(command)
        if words[:1] == ["bash"]:
            support.check((support.SOURCE / words[1]).is_file(), f"{command}: no such file")
            subprocess.run(["bash", "-n", support.SOURCE / words[1]], check=True)
        elif words:
            support.check(words[0] in ("cd", "rm", "apt-get"), f"an unknown command: {command}")


def dockerfile():
    text = (TOOLS / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    kinds = {line.split()[0] for line in lines}
    support.check(kinds <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "CMD"} and lines[0].startswith("FROM debian:12 "), f"Dockerfile: {kinds}")
    for line in lines:
        if line.startswith("RUN "):
            sound(line[4:])
    stages = re.findall(r"^FROM \S+ AS (\w+)$", text, re.M)
    support.check(set(re.findall(r"--from=(\w+)", text)) <= set(stages), f"stages {stages}")
    ignored = (TOOLS / "Dockerfile.dockerignore").read_text().split()
    support.check({".git", "build", "build-*", "out"} <= set(ignored), f"ignored: {ignored}")


def apptainer():
    text = (TOOLS / "apptainer.def").read_text()
    for body in re.findall(r"^%post\n(.*?)(?=^\S|\Z)", text, re.M | re.S):
        sound(re.sub(r"^    ", "", body, flags=re.M))
    taken = [name for name, place in re.findall(r"^    (\S+) /src/(\S+)$", text, re.M) if name == place]
    support.check(all((support.SOURCE / word).exists() for word in taken), f"%files: {taken}")
    # What CMake asks of the source tree for a build without tests.
    needed = set(re.findall(r"add_subdirectory\((\w+)\)", (support.SOURCE / "CMakeLists.txt").read_text())) - {"tests", "bench"}
    needed |= {"cmake", "schemas", "models", "data-manifests", "plans", "docs"}
    support.check(needed <= set(taken), f"apptainer.def leaves out {needed - set(taken)}")


dockerfile()
apptainer()
support.check({"wsp-ingest", "wsp-train", "python3-wsp"} == {package for _, package in PACKAGES}, f"packages: {PACKAGES}")
print("recipes of images: scripts and files are there")
