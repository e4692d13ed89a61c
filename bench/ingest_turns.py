"""Runs the tools of bench/ingest.sh in turns and prints medians and ratios: INGEST EXPORT MASKS OUT TURNS THREADS ALL_TURNS."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent


def measure(command: list[str], out: pathlib.Path) -> tuple[float, float, float] | None:
    """Wall and CPU seconds and MiB resident of a command that writes into `out`, which is made empty before; None if it fails."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.stdout.read()
    _, status, use = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    if status != 0:
        print(f"{command[0]} failed:\n{said[-1000:]}", file=sys.stderr)
        return None
    return wall, use.ru_utime + use.ru_stime, use.ru_maxrss / 1024


def main() -> None:
    ingest, export, masks, out = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
    turns, threads, every = int(sys.argv[5]), sys.argv[6], sys.argv[7] == "1"
    slices = sum(1 for path in pathlib.Path(export).rglob("*.dcm"))
    tools = {
        "wsp-ingest": [ingest, export, "--out", f"{out}/dataset", "--masks", masks, "--ids", "keep", "--liver-model", "none", "--threads", threads],
        "dcm2niix -z n": ["dcm2niix", "-z", "n", "-f", "%j", "-o", str(out), export],
        "dcm2niix -z y": ["dcm2niix", "-z", "y", "-f", "%j", "-o", str(out), export],
        "pydicom + h5py": ["/usr/bin/python3", str(HERE / "ingest_baseline.py"), export, masks, str(out)],
    }
    slow = ("dcm2niix -z y", "pydicom + h5py")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in tools}
    for turn in range(turns):
        for name, command in tools.items():
            if name in slow and turn > 0 and not every:
                continue
            if turn > 0 and not found[name]:
                continue
            took = measure(command, out)
            if took is None and name == "wsp-ingest":
                sys.exit(1)
            if took is None:
                print(f"turn {turn + 1}  {name:15} cannot read this export", flush=True)
                continue
            found[name].append(took)
            print(f"turn {turn + 1}  {name:15} {found[name][-1][0]:8.2f} s  CPU {found[name][-1][1]:8.2f} s", flush=True)
    shutil.rmtree(out, ignore_errors=True)
    medians = {name: [statistics.median(run[k] for run in runs) for k in range(3)] for name, runs in found.items() if runs}
    ours = medians["wsp-ingest"]
    print(f"\n{slices} slices; medians; ratios to wsp-ingest\n\n| | wall s | CPU s | CPU ms a slice | resident MiB | wall, times ours | CPU, times ours |\n|---|---|---|---|---|---|---|")
    for name, (wall, cpu, memory) in medians.items():
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {1000 * cpu / slices:.2f} | {memory:.0f} | {wall / ours[0]:.2f} | {cpu / ours[1]:.2f} |")


if __name__ == "__main__":
    main()
