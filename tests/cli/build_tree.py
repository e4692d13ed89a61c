"""What a build is made of: objects by CMake preset, and the files that the compiler opened for each."""
import os
import pathlib
import re
import subprocess
import tempfile

import support

SOURCE = pathlib.Path(os.environ["WSP_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["WSP_BINARY_DIR"])


def shell(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)
    support.check(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def sources_of_preset(preset, *hidden_packages):
    """Sources of a preset's libraries and tools, configured where CMake finds none of the packages."""
    with tempfile.TemporaryDirectory() as scratch:
        hidden = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in hidden_packages]
        # With the Python package where this build has it.
        python = re.search(r"^WSP_WITH_PYTHON:STRING=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)[1]
        shell("cmake", "-S", SOURCE, "--preset", preset, "-B", scratch, "-DWSP_BUILD_TESTS=OFF", "-DWSP_UNITY=OFF",
              f"-DWSP_WITH_PYTHON={python}", "-Wno-dev", *hidden)
        lines = shell("ninja", "-C", scratch, "-t", "targets", "all").splitlines()
    objects = (re.match(r"((?:libs|tools)/.*)CMakeFiles/[^/]+/(.*\.(?:cpp|cu))\.o: ", line) for line in lines)
    return {o[1] + o[2] for o in objects if o and "generated/" not in o[2]}


def files_opened():
    """Object of this build -> files that the compiler opened for it."""
    found, name = {}, None
    for line in shell("ninja", "-C", BUILD, "-t", "deps").splitlines():
        if line.startswith("    "):
            found[name].append(line.strip())
        elif ": #deps" in line:
            name = line.split(":")[0]
            found[name] = []
    return found


def opened_for_sources():
    """Source of libs and tools -> files that the compiler opened for it, and for those that are compiled together with it."""
    found = {}
    for paths in files_opened().values():
        for path in paths:
            inside = os.path.relpath(BUILD / path, SOURCE)
            if re.match(r"(libs|tools)/.*\.(cpp|cu)$", inside):
                found.setdefault(inside, []).extend(paths)
    return found


def libraries_of(program):
    return re.findall(r"NEEDED.*\[(.*)\]", shell("readelf", "-d", program))
