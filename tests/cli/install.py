"""cmake --install and cpack -G DEB give tools that run, and documents whose links lead somewhere."""
import json
import pathlib
import re
import shutil
import subprocess

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


with support.temporary() as directory:
    work = pathlib.Path(directory)
    shell("cmake", "--install", BUILD, "--prefix", work / "prefix")
    tools_run(work / "prefix")
    print(links_lead_somewhere(work / "prefix" / "share" / "doc" / "wsp"), "links of the installed documents")
    links_lead_somewhere(support.SOURCE / "docs")

    if not shutil.which("dpkg-deb") or not shutil.which("cpack"):
        support.skip("dpkg-deb or cpack is not installed: the package is not tested")
    shell("cpack", "-G", "DEB", "-B", work / "package", "--config", BUILD / "CPackConfig.cmake", cwd=work)
    (package,) = (work / "package").glob("*.deb")
    fields = shell("dpkg-deb", "--field", package)
    support.check("Package: wsp\n" in fields and "libdcmtk" in fields, f"the package's fields: {fields}")
    shell("dpkg-deb", "--extract", package, work / "root")
    prefix = next(work.glob("root/**/bin")).parent
    tools_run(prefix)
    links_lead_somewhere(prefix / "share" / "doc" / "wsp")
print("installed and packaged tools work")
