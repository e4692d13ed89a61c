"""The gpu-node preset on a machine that has a compiler, LibTorch, HDF5, c-blosc, TBB, xxHash, OpenSSL and headers, and nothing else: it
configures where no other package can be found, and what it compiles reads no header of protobuf or libpng.

By default what knows no Torch is compiled and linked (under a minute on two cores, again two seconds). WSP_GPU_NODE_FULL=1 builds
wsp-train and the benchmarks too and makes two steps (ten minutes of CPU).
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import build_tree
import support

HIDDEN = "DCMTK GDCM PkgConfig OpenSSL PNG TBB fmt spdlog CLI11 nlohmann_json HDF5 GTest rapidcheck benchmark".split()
FORBIDDEN = re.compile(r"/google/protobuf/|/png\.h$|/pngconf\.h$")
HEADERS = ("blosc.h blosc-export.h xxhash.h xxh3.h xxh_x86dispatch.h zlib.h zconf.h tbb oneapi nlohmann CLI fmt spdlog "
           "valijson Eigen").split()
BEGAN = time.monotonic()
FULL = os.environ.get("WSP_GPU_NODE_FULL") == "1"


def library_folder():
    return subprocess.run(["c++", "-print-multiarch"], capture_output=True, text=True).stdout.strip()


def link_dependencies(folder):
    """What bench/gpu/dependencies.sh fills, out of this machine's own files."""
    (folder / "include").mkdir(parents=True)
    (folder / "lib").mkdir()
    usr = pathlib.Path("/usr")
    libraries = usr / "lib" / library_folder()
    for header in HEADERS:
        for place in (usr / "include" / header, usr / "include" / library_folder() / header, usr / "include/eigen3" / header):
            if place.exists() and not (folder / "include" / header).exists():
                (folder / "include" / header).symlink_to(place)
    for header in (usr / "include/hdf5/serial").glob("*.h"):
        (folder / "include" / header.name).symlink_to(header)
    (folder / "include/openssl").mkdir()
    for place in (usr / "include/openssl", usr / "include" / library_folder() / "openssl"):
        for header in place.glob("*.h"):
            (folder / "include/openssl" / header.name).symlink_to(header)
    for name in ("hdf5_serial", "blosc", "tbb", "xxhash", "crypto", "z"):
        found = libraries / f"lib{name}.so"
        support.check(found.exists(), f"{found} is missing")
        (folder / "lib" / found.name).symlink_to(found)


def check_cuda_of_torch(work):
    """What a LibTorch says of its CUDA: pip's wheel, the archive of pytorch.org, one without CUDA."""
    script = work / "ask.cmake"
    script.write_text(f'include({support.SOURCE}/cmake/WspTorchCuda.cmake)\nwsp_cuda_of_torch(found ${{FOLDER}})\n'
                      'message(NOTICE "found=${found}.")\n')
    for named, expected in ((b"libcudart.so.13", "13"), (b"libcudart-9335f6a2.so.12.0", "12"), (b"libcuda.so.1", ""), (None, "")):
        if named is not None:
            (work / "libc10_cuda.so").write_bytes(b"\x7fELF\0" + named + b"\0libc.so.6\0")
        else:
            (work / "libc10_cuda.so").unlink()
        said = subprocess.run(["cmake", f"-DFOLDER={work}", "-P", script], capture_output=True, text=True)
        support.check(f"found={expected}." in said.stderr, (named, said.stderr))


# One place at every run, so that a second one compiles what changed; what CMake found is forgotten each time.
place = build_tree.BUILD / "gpu_node_test"
build = place / ("full" if FULL else "few")
shutil.rmtree(place / "dependencies", ignore_errors=True)
link_dependencies(place / "dependencies")
with support.temporary() as work:
    work = pathlib.Path(work)
    check_cuda_of_torch(work)
    # Debian's LibTorch itself asks CMake for protobuf: that one is left out, not hidden.
    # What is compiled, found and linked does not depend on the optimiser, which takes half of the time.
    build_tree.shell("cmake", "--fresh", "-S", support.SOURCE, "--preset", "gpu-node", "-B", build, "-Wno-dev",
                     "-DWSP_WITH_CUDA=OFF", "-DCMAKE_CXX_FLAGS_RELEASE=-O0", "-DWSP_WITH_PROTOBUF=OFF",
                     f"-DWSP_DEPENDENCIES={place / 'dependencies'}",
                     *[f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in HIDDEN])
    cache = (build / "CMakeCache.txt").read_text()
    for name in ("PNG_LIBRARY", "DCMTK_DIR"):
        support.check(not re.search(rf"^{name}[^=]*=/", cache, re.MULTILINE), f"{name} was found")
    targets = build_tree.shell("ninja", "-C", build, "-t", "targets", "all")
    support.check("tools/wsp-train:" in targets and "tools/wsp-qa:" not in targets, "wsp-train, and no wsp-qa")
    wanted = ["wsp_core", "wsp_png", "wsp_runlog", "loader_bench"]
    done = subprocess.run(["ninja", "-C", build, "-j2", *(["gpu_benchmarks"] if FULL else []), *wanted], capture_output=True, text=True,
                          timeout=5000 if FULL else 800)
    support.check(done.returncode == 0, done.stdout[-4000:])
    build_tree.BUILD = build
    opened = build_tree.files_opened()
    support.check(len(opened) > 30, f"only {len(opened)} objects")
    # What Torch's own headers read is Torch's business.
    of_torch = {path for name, paths in opened.items() if name.endswith("/torch_pch.cpp.o") for path in paths}
    guilty = {name: [p for p in paths if FORBIDDEN.search(p) and p not in of_torch][:3] for name, paths in opened.items()}
    guilty = {name: paths for name, paths in guilty.items() if paths}
    support.check(not guilty, f"objects that read what a bare machine lacks: {guilty}")
    # SHA-256 and XXH3 work: a dataset is made, hashed and read back.
    build_tree.shell(build / "bench/loader_bench", work / "data", "--only-make", "--slices", "40")
    import hashlib

    description = json.loads((work / "data/dataset.json").read_text())
    named = description["files"]
    support.check(len(named) > 2, description)
    for name, digest in (named.items() if isinstance(named, dict) else [(e["path"], e["sha256"]) for e in named]):
        support.check(hashlib.sha256((work / "data" / description["state"] / name).read_bytes()).hexdigest() == digest, name)
    if FULL:
        done = subprocess.run([build / "tools/wsp-train", work / "data", "--out", work / "run", "--image-size", "160", "--batch", "2",
                               "--samples-per-epoch", "10", "--max-steps", "2", "--device", "cpu", "--log-every", "1",
                               "--hold-back", "0", "--probe-every", "0"], capture_output=True, text=True, timeout=600)
        support.check(done.returncode == 0, done.stderr)
        support.check("no TensorBoard files" in done.stderr, done.stderr)
        lines = [json.loads(line) for line in (work / "run/metrics.jsonl").read_text().splitlines()]
        support.check([line["step"] for line in lines if line["kind"] == "train"] == [1, 2], lines)
        support.check(not (work / "run/tensorboard").exists(), "tensorboard/ is there")
print(f"{time.monotonic() - BEGAN:.0f} s; {len(opened)} objects, none reads protobuf or libpng")
