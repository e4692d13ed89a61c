"""The train-node preset needs no ITK and no DCMTK: it configures where neither can be found, and nothing that it compiles
has read a header of theirs (the compiler's own list of what it opened), nor does wsp-train load a library of theirs."""
import os
import pathlib
import re
import subprocess
import tempfile

import support

SOURCE = pathlib.Path(os.environ["WSP_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["WSP_BINARY_DIR"])
INGEST_ONLY = re.compile(r"/(ITK-|itk[A-Z]|dcmtk/|gdcm)", re.IGNORECASE)


def shell(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)
    support.check(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def objects(build):
    lines = shell("ninja", "-C", build, "-t", "targets", "all").splitlines()
    return {line.split(": ")[0] for line in lines
            if re.match(r"(libs|tools)/.*\.(cpp|cu)\.o: ", line)}


def dependencies(build):
    """Object -> files that the compiler opened for it."""
    found, name = {}, None
    for line in shell("ninja", "-C", build, "-t", "deps").splitlines():
        if line.startswith("    "):
            found[name].append(line.strip())
        elif ": #deps" in line:
            name = line.split(":")[0]
            found[name] = []
    return found


with tempfile.TemporaryDirectory() as scratch:
    hidden = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("ITK", "DCMTK", "GDCM")]
    shell("cmake", "-S", SOURCE, "--preset", "train-node", "-B", scratch, "-DWSP_BUILD_TESTS=OFF", "-Wno-dev", *hidden)
    wanted = objects(scratch)

opened = dependencies(BUILD)
support.check(len(wanted) > 40, f"only {len(wanted)} objects in the train-node preset")
missing = sorted(wanted - opened.keys())
support.check(not missing, f"not built here: {missing}")
read = {name: [path for path in opened[name] if INGEST_ONLY.search(path)] for name in wanted}
guilty = {name: paths[:3] for name, paths in read.items() if paths}
support.check(not guilty, f"objects of the train node that read ITK or DCMTK: {guilty}")
# The search finds what it looks for: the ingest half does read both.
ingest = [path for name, paths in opened.items() if "preprocess" in name or "medical" in name for path in paths]
for word in ("ITK-", "dcmtk/"):
    support.check(any(word in path for path in ingest), f"control: no object of the ingest half reads {word}")
# What wsp-train itself asks for; Debian's LibTorch brings GDCM through OpenCV.
loaded = re.findall(r"NEEDED.*\[(.*)\]", shell("readelf", "-d", BUILD / "tools" / "wsp-train"))
support.check(any("libtorch" in name for name in loaded), f"wsp-train loads {loaded}")
support.check(not re.search(r"libitk|libdcm|libgdcm", " ".join(loaded).lower()), f"wsp-train loads {loaded}")
print(f"{len(wanted)} objects of the train node, none reads ITK or DCMTK")
