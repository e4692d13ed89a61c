"""Without root: tools/setup.sh, run by an ordinary user, installs nothing and needs nothing where all is there; where something lacks
it names, in one line that an administrator can run, exactly that; and the quickstart then ends there. The user is a real one; what is
installed is dpkg's own word on a copy of its state."""
import os
import pathlib
import re
import shutil
import subprocess

import support

ADMIN = pathlib.Path("/var/lib/dpkg")


def packages(name):
    text = (support.SOURCE / "tools" / "setup.sh").read_text()
    body = re.search(rf"^{name}=\((.*?)\)$", text, re.M | re.S)[1]
    return re.sub(r"#.*", "", body).split()


def as_user(work, script, *arguments, without=()):
    """Run a script of the copy as nobody, on a state of dpkg that lacks some packages."""
    state = work / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    blocks = (ADMIN / "status").read_text().split("\n\n")
    # Sound packages first: this machine may lack some itself.
    there = {re.match(r"Package: (\S+)", b)[1] for b in blocks if "\nStatus: install ok installed" in b}
    blocks += [f"Package: {p}\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\nVersion: 1\nDescription: here\n"
               for p in {*packages("build_packages"), *packages("spare_packages")} - there]
    (state / "status").write_text("\n\n".join(b for b in blocks if b.strip() and re.match(r"Package: (\S+)", b.strip())[1] not in without) + "\n")
    (state / "info").mkdir()
    (state / "updates").mkdir()
    for path in (state, *state.iterdir()):
        path.chmod(0o755)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    path = ":".join(p for p in ("/usr/bin", "/bin"))
    return subprocess.run([*user, "bash", work / "tree" / "tools" / script, *arguments], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={"PATH": path, "HOME": str(work), "DPKG_ADMINDIR": str(state), "LANG": "C.UTF-8"})


def lines(done):
    return [line for line in done.stderr.splitlines() if "administrator" in line]


if not (ADMIN / "status").exists():
    support.skip("no dpkg here")
if os.getuid() == 0 and not shutil.which("setpriv"):
    support.skip("no setpriv: nothing was run as an ordinary user")
with support.temporary() as directory:
    work = pathlib.Path(directory)
    work.chmod(0o755)
    shutil.copytree(support.SOURCE / "tools", work / "tree" / "tools")
    done = as_user(work, "setup.sh", "build")
    support.check(done.returncode == 0 and not done.stderr and not done.stdout, f"all is there: {done.returncode} {done.stdout} {done.stderr}")
    done = as_user(work, "setup.sh", "build", without=("ccache", "pybind11-dev"))
    support.check(done.returncode == 0 and len(lines(done)) == 1 and lines(done)[0].endswith("apt-get install -y ccache pybind11-dev"),
                  f"spare packages lack: {done.returncode} {done.stderr}")
    for script, argument in (("setup.sh", "build"), ("quickstart.sh", "ingest")):
        done = as_user(work, script, argument, without=("libdcmtk-dev", "cmake", "ccache"))
        support.check(done.returncode != 0 and len(lines(done)) == 1 and lines(done)[0].endswith("apt-get install -y cmake libdcmtk-dev"),
                      f"{script}: {done.returncode} {done.stderr}")
        support.check("building" not in done.stdout, f"{script} went on: {done.stdout}")
    print("an ordinary user is told what to ask for, in one line")
