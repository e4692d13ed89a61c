"""Includes of libs run one way: a folder includes only what ROOMS puts above it, Torch stands where it may. ROOMS is the drawing in
docs/ARCHITECTURE.md as a test."""
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
print(f"{len(sources)} sources in {len(ROOMS)} folders, all includes one way")
