"""Every C++ and CUDA source as clang-format leaves it, by the version whose layout the tree holds: others break lines elsewhere."""
import shutil
import subprocess

import support

VERSION = 14  # Debian 12's
SUFFIXES = {".cpp", ".hpp", ".cu", ".cuh", ".h"}

formatter = shutil.which(f"clang-format-{VERSION}")
if formatter is None:
    support.skip(f"clang-format-{VERSION} is not installed: the sources' layout was not looked at")
sources = [path for room in ("bench", "libs", "python", "tests", "tools") for path in sorted((support.SOURCE / room).rglob("*"))
           if path.suffix in SUFFIXES]
support.check(len(sources) > 300, f"only {len(sources)} sources found below {support.SOURCE}")
done = subprocess.run([formatter, "--dry-run", "--Werror", "--ferror-limit=1", *sources], capture_output=True, text=True)
faults = [line for line in done.stderr.splitlines() if ": error:" in line]
support.check(done.returncode == 0, f"clang-format -i mends: {faults or done.stderr[:500]}")
long = [f"{path}:{number}" for path in sources for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 100 and 'R"' not in line]
support.check(not long, f"longer than 100 columns: {long}")
print(f"{len(sources)} sources as clang-format {VERSION} leaves them")
