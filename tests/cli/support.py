"""What the command-line tests share: running tools, finding data, reading datasets with h5py."""
import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

BINARIES = pathlib.Path(os.environ["WSP_TOOLS_DIR"])
SOURCE = pathlib.Path(os.environ["WSP_SOURCE_DIR"])
SKIP = 77  # ctest: SKIP_RETURN_CODE


def skip(why):
    print(f"*** SKIPPED: {why} ***", file=sys.stderr)
    sys.exit(SKIP)


def data_dir():
    path = pathlib.Path(os.environ.get("WSP_TEST_DATA") or SOURCE.parent / "shared" / "data")
    if not (path / "MANIFEST.md").exists():
        skip("test data absent: set WSP_TEST_DATA")
    return path


def require(*modules):
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            skip(f"python3-{module} is not installed")


def run(tool, *arguments, expect=None, env=None):
    """Run a tool; fail with its output when the exit code is another than expected: 0 where nothing is said, and for a
    scan 4 too, its word for an export of which nothing can be used."""
    allowed = [expect] if expect is not None else [0, 4] if arguments[:1] == ("scan",) else [0]
    command = [str(BINARIES / tool), *map(str, arguments)]
    done = run_any(tool, *arguments, env=env)
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}, expected {allowed[0]}\n{done.stdout}\n{done.stderr}")
    return done


def run_any(tool, *arguments, env=None):
    """Run a tool whose exit code is the caller's to judge."""
    return subprocess.run([str(BINARIES / tool), *map(str, arguments)], capture_output=True, text=True, env=env, timeout=900)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def temporary():
    return tempfile.TemporaryDirectory(prefix="wsp-cli-")


def state(dataset):
    """Where the files of a dataset are: the folder that dataset.json names; the dataset itself where it names none."""
    dataset = pathlib.Path(dataset)
    try:
        return dataset / json.loads((dataset / "dataset.json").read_text()).get("state", "")
    except (FileNotFoundError, ValueError):
        return dataset


def tree(root):
    """Path, in a dataset relative to its state -> bytes of every file that must be reproducible."""
    root = pathlib.Path(root)
    inside = state(root)
    return {
        str(p.relative_to(inside if p.is_relative_to(inside) else root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != "run.json"
    }


def standing(dataset):
    """tree() without what an update that did not end left beside the dataset."""
    return {name: data for name, data in tree(dataset).items() if not name.startswith("state-") and name != "dataset.json.tmp"}


def sealed(weights):
    """Changed bytes of a safetensors file of ours, with the hash that fits them: what is in it is judged, not damage."""
    key = re.search(rb'"wsp\.sha256":"([0-9a-f]{64})"', weights)
    at = key.start(1)
    blank = weights[:at] + b"0" * 64 + weights[at + 64:]
    return weights[:at] + hashlib.sha256(blank).hexdigest().encode() + weights[at + 64:]


def text(value):
    return value.decode().rstrip("\0") if isinstance(value, bytes) else str(value)


def read_cases(dataset):
    """Case name -> {column: array} over its kept slices, pixels included, read with h5py alone."""
    import h5py
    import numpy as np

    cases = {}
    with h5py.File(state(dataset) / "index.h5") as index:
        names = [text(n) for n in index["cases/name"][:]]
        columns = {k: v[:] for k, v in index["slices"].items()}
    for i, name in enumerate(names):
        rows = np.flatnonzero(columns["case"] == i)
        case = {k: v[rows] for k, v in columns.items()}
        shard = int(case["shard"][0])
        with h5py.File(state(dataset) / "shards" / f"shard-{shard:02d}.h5") as f:
            first, last = int(case["row"][0]), int(case["row"][-1])
            case["image"] = f["slices/image"][first : last + 1]
            case["mask"] = f["slices/mask"][first : last + 1]
        cases[name] = case
    return cases
