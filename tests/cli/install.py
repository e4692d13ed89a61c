"""cmake --install and the three packages of cpack -G DEB give tools that run, and documents whose links lead somewhere. Each package is
put into a root of its own by dpkg, and used alone; lintian finds nothing in it."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import support

BUILD = support.BINARIES.parent


def shell(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **options)
    support.check(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def tools_run(prefix):
    for tool in ("wsp-ingest", "wsp-phantom"):
        support.check("0.1" in shell(prefix / "bin" / tool, "--version"), f"{tool} --version")
    # A whole round with nothing of the source tree or the build.
    work = prefix / "work"
    shell(prefix / "bin" / "wsp-phantom", "--out", work / "c", "--subjects", 1, "--slices", "12-12", "--size", 64)
    shell(prefix / "bin" / "wsp-ingest", work / "c" / "export", "--out", work / "d", "--ids", "keep", "--size", 64, "--masks",
          work / "c" / "truth", "--labels", work / "c" / "labels.csv", "--manifest",
          prefix / "share" / "wsp" / "data-manifests" / "phantom.json")
    shell(prefix / "bin" / "wsp-ingest", "verify", work / "d")
    if (prefix / "libexec" / "wsp" / "wsp-ingest-torch").exists():  # the network comes along, too
        shell(prefix / "bin" / "wsp-phantom", "--out", work / "r", "--anatomy", "rich", "--subjects", 4, "--seed", 9100, "--slices", "16-24",
              "--size", 128, "--format", "nifti")
        shell(prefix / "bin" / "wsp-ingest", work / "r" / "export", "--out", work / "e", "--ids", "keep", "--size", 64, "--mask-cache", "none",
              "--liver-model", "builtin")
        flags = [json.loads(p.read_text())["flags"] for p in (support.state(work / "e") / "cases").glob("*.json")]
        support.check(flags and all("MASK_FROM_BUILTIN_MODEL" in f for f in flags), f"the installed network: {flags}")


def links_lead_somewhere(root):
    checked = 0
    for document in sorted(root.rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" in target:
                continue
            checked += 1
            support.check((document.parent / target).exists(), f"{document.relative_to(root)}: {target} leads nowhere")
    support.check(checked > 5, f"only {checked} links found below {root}")
    return checked


# Package: the commands in it, how the names of what it depends on begin (versions are the release's), and what it must do without.
PACKAGES = {"wsp-ingest": (["wsp-ingest", "wsp-qa", "wsp-phantom"], ["libdcmtk", "libhdf5-"], []),
            "wsp-train": (["wsp-train", "wsp-unet", "wsp-eval"], ["libtorch", "libhdf5-"], []),
            "python3-wsp": ([], ["python3", "python3-numpy", "libhdf5-"], ["libtorch", "libdcmtk"])}


def own_root(work, package):
    """The package alone, unpacked and configured by dpkg in a root that has nothing else; without root extracted. Its /usr."""
    root = work / "roots" / package.name
    for name in ("info", "updates"):
        (root / "var/lib/dpkg" / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    if os.getuid() == 0:
        shell("dpkg", "--root", root, "--force-depends", "--install", package)
        told = shell("dpkg-query", "--root", root, "-W", "-f", "${Package} ${Status}\n")
        support.check(told == f"{package.name.split('_')[0]} install ok installed\n", told)
    else:
        shell("dpkg-deb", "--extract", package, root)
    return root / "usr"


def use_alone(name, usr, prefix):
    if name == "wsp-ingest":
        tools_run(usr)
    elif name == "python3-wsp":
        code = "import wsp, sys; print(wsp.__file__, len(wsp.Dataset(sys.argv[1])))"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        told = shell("/usr/bin/python3", "-c", code, prefix / "work" / "d", env={**clean, "PYTHONPATH": str(usr / "lib/python3/dist-packages")}).split()
        support.check(told[0] == str(usr / "lib/python3/dist-packages/wsp/__init__.py") and int(told[1]) > 0, f"import wsp: {told}")
    else:
        data, out = prefix / "work" / "d", usr / "run"
        shell(usr / "bin/wsp-train", data, "--out", out, "--encoder", "resnet18", "--norm", "group", "--image-size", 48, "--batch", 2, "--samples-per-epoch", 4,
              "--epochs", 1, "--hold-back", 0, "--device", "cpu", "--method", "simclr")
        shell(usr / "bin/wsp-eval", "embed", data, "--weights", out / "encoder.safetensors", "--out", usr / "f.h5", "--device", "cpu")
        shell(usr / "bin/wsp-eval", "table", usr / "share/wsp/plans/phantom-small.json", "--list")


def packages(work):
    shell("cpack", "-G", "DEB", "-B", work / "package", "--config", BUILD / "CPackConfig.cmake", cwd=work)
    made = {p.name.split("_")[0]: p for p in (work / "package").glob("*.deb")}
    expected = {name for name in PACKAGES if (name != "python3-wsp" or list(BUILD.glob("python/wsp/_native*.so"))) and
                (name != "wsp-train" or (support.BINARIES / "wsp-train").exists())}
    support.check(set(made) == expected, f"packages: {sorted(made)}")
    owner = {}
    for name, package in sorted(made.items()):
        commands, needed, unwanted = PACKAGES[name]
        fields = dict(line.split(": ", 1) for line in shell("dpkg-deb", "--field", package).splitlines() if re.match(r"[A-Z][A-Za-z-]+: ", line))
        support.check(fields["Package"] == name and fields["Version"].startswith("0.1"), f"fields: {fields}")
        depends = re.findall(r"(?:^|, )([a-z0-9.+-]+)", fields["Depends"])
        support.check(all(any(d.startswith(n) for d in depends) for n in needed) and not [d for d in depends for u in unwanted if d.startswith(u)], f"{name} depends on {depends}")
        support.check(not [d for d in depends if d in PACKAGES], f"{name} is not alone: {depends}")
        files = {line.split()[5][1:] for line in shell("dpkg-deb", "-c", package).splitlines() if not line.startswith("d")}
        support.check({f"/usr/bin/{c}" for c in commands} == {f for f in files if f.startswith("/usr/bin/")}, f"{name} holds {sorted(files)[:20]}")
        for file in files:
            support.check(owner.setdefault(file, name) == name, f"{file} is in {owner[file]} and in {name}")
        usr = own_root(work, package)
        links_lead_somewhere(usr / "share/doc" / name)
        use_alone(name, usr, work / "prefix")
        if shutil.which("lintian"):
            said = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", package], capture_output=True, text=True)
            support.check(said.returncode == 0, f"lintian: {said.stdout}{said.stderr}")
        else:
            print("*** lintian is not installed: the packages were NOT checked by it ***", file=sys.stderr)
    print("packages:", ", ".join(f"{name} {made[name].stat().st_size / 2**20:.1f} MiB" for name in sorted(made)))


with support.temporary() as directory:
    work = pathlib.Path(directory)
    shell("cmake", "--install", BUILD, "--prefix", work / "prefix")
    tools_run(work / "prefix")
    print(links_lead_somewhere(work / "prefix" / "share" / "doc" / "wsp"), "links of the installed documents")
    links_lead_somewhere(support.SOURCE / "docs")

    if not shutil.which("dpkg-deb") or not shutil.which("cpack"):
        support.skip("dpkg-deb or cpack is not installed: the packages are not tested")
    packages(work)
print("installed and packaged tools work")
