"""A Python person's first hour: the package put into a new environment, and every snippet of README.md and docs/PYTHON.md run in
order, as cells of one notebook, on a small cohort that the commands made. Only paths are replaced."""
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import support

support.require("numpy", "torch", "venv")

# What the documents call it, and what stands there in the test.
PLACES = {"/data/dataset": "dataset", "/runs/wsp": "run"}


def cells(document):
    """Every block of Python of a document."""
    found = re.findall(r"^```python\n(.*?)^```$", (support.SOURCE / document).read_text(), re.M | re.S)
    support.check(found, f"{document} has no Python")
    return found


def here(text, work):
    for told, name in PLACES.items():
        text = text.replace(told, str(work / name))
    return text


def environment(work):
    """A virtual environment with the package, by pip where what builds it can be fetched, else as docs/PYTHON.md installs it below a
    prefix."""
    if importlib.util.find_spec("ensurepip") is None:
        support.skip("Python makes no virtual environments: install python3-venv")
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", work / "env"], check=True)
    python = work / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    project = support.SOURCE / "python"
    requires = tomllib.loads((project / "pyproject.toml").read_text())["build-system"]["requires"]
    fetched = subprocess.run([*pip, "download", "--dest", work / "wheels", *requires], capture_output=True, text=True)
    if fetched.returncode == 0:  # whatever fails from here on is ours
        subprocess.run([*pip, "install", "--no-index", "--find-links", work / "wheels", project], check=True)
        print("installed by pip install ./python")
        return python
    print(f"*** {' and '.join(requires)} cannot be fetched: pip install ./python was NOT tested, cmake --install was ***\n"
          f"{fetched.stderr}", file=sys.stderr)
    (line,) = re.findall(r"^sudo (cmake --install build/release --component python --prefix) /usr/local$",
                         (support.SOURCE / "docs/PYTHON.md").read_text(), re.M)
    command = line.replace("build/release", os.environ["WSP_BINARY_DIR"]).split()
    subprocess.run([*command, work / "env"], check=True, stdout=subprocess.DEVNULL)
    return python


def can_import(python, module):
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def cohort(work):
    support.run("wsp-phantom", "--out", work / "cohort", "--subjects", 24, "--seed", 6, "--slices", "16-18", "--size", 64, "--balance",
                "--format", "nifti")
    support.run("wsp-ingest", work / "cohort" / "export", "--out", work / "dataset", "--masks", work / "cohort" / "truth", "--ids", "keep",
                "--labels", work / "cohort" / "labels.csv", "--manifest", support.SOURCE / "data-manifests" / "phantom.json", "--size", 64)
    support.run("wsp-train", work / "dataset", "--out", work / "run", "--encoder", "resnet18", "--norm", "group", "--image-size", 48, "--batch", 8,
                "--samples-per-epoch", 32, "--epochs", 2, "--device", "cpu", "--log-every", 1)
    support.run("wsp-eval", "embed", work / "dataset", "--weights", work / "run" / "encoder.safetensors", "--device", "cpu", "--out",
                work / "wsp.h5")


# What must be so after all cells, in the notebook's own names.
CHECKS = """
import numpy
assert wsp.__file__.startswith(sys.prefix), f"not the installed package: {wsp.__file__}"
assert len(small) == len(wsp.Dataset(DATASET)) == f.values.shape[0] == len(f.label("label")) == len(f.subject)
assert small[0].hu.shape == (160, 160) and small[0].hu.dtype == numpy.float32
assert features.shape == (512,) and torch.isfinite(features).all()
row = [i for i in range(len(f.values)) if f.cases["name"][f.slices["case"][i]] == s.case and f.slices["depth"][i] == s.depth]
assert len(row) == 1 and numpy.abs(f.values[row[0]] - features.numpy()).max() <= 1e-5 * numpy.abs(f.values[row[0]]).max()
assert first.x.shape == (16, 1, 160, 160) and first.label.shape == (16,)
told = list(points(sys.path[0] + "/run"))
assert len(told) > 8 and max(step for step, _ in told) == 8, told
assert sorted(v["train/loss"] for _, v in told if "train/loss" in v) == sorted(curves["train"]["loss"])
assert batch.x.shape == (16, 1, 160, 160) and torch.isfinite(loss)
assert sum(1 for _ in loader.torch()) == 10, "an epoch is 160 slices in batches of 16"
assert any((p != q).any() for p, q in zip(net.parameters(), before)), "the epoch trained nothing"
assert len(curves["train"]["loss"]) == 8 and numpy.isfinite(curves["train"]["loss"]).all() and "probe" in curves
if "mlflow" in sys.modules:
    history = mlflow.MlflowClient().get_metric_history(mlflow.last_active_run().info.run_id, "train/loss")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == list(curves["train"]["loss"]), history
print("all cells ran:", ds, "loss", [round(float(v), 3) for v in curves["train"]["loss"]])
"""


def main():
    with support.temporary() as place:
        work = pathlib.Path(place)
        python = environment(work)
        cohort(work)
        cell_list = []
        for cell in [*cells("README.md"), *cells("docs/PYTHON.md")]:
            # Trackers are nothing that the package needs.
            absent = [t for t in ("mlflow", "wandb") if f"import {t}\n" in cell and not can_import(python, t)]
            if absent:
                print(f"*** {absent[0]} is not here: the cell that imports it was NOT run ***", file=sys.stderr)
            else:
                cell_list.append(cell)
        notebook = "import sys\n"
        for number, cell in enumerate(cell_list):
            if "optimizer.step()" in cell:  # a copy of what the cell trains, taken before its loop
                cell = cell.replace("\nfor batch in", "\nbefore = [p.detach().clone() for p in net.parameters()]\nfor batch in", 1)
            notebook += f"# cell {number}\n{here(cell, work)}\n"
        told = sorted(set(re.findall(r'"(/[^"]*)"', notebook)))
        support.check(all(path.startswith(str(work)) for path in told), f"paths of the documents that the test does not know: {told}")
        (work / "notebook.py").write_text(notebook + f"\nDATASET = {str(work / 'dataset')!r}\n" + CHECKS)
        # Nothing of the build may help: only what was installed.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WSP_"))}
        clean |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_TRACKING_URI": f"file://{work}/mlruns",
                  "MLFLOW_ALLOW_FILE_STORE": "true"}
        done = subprocess.run([python, "notebook.py"], cwd=work, env=clean, capture_output=True, text=True, timeout=600)
        support.check(done.returncode == 0, f"{notebook}\n{done.stdout}\n{done.stderr}")
        print(done.stdout.strip())


main()
