#!/usr/bin/env bash
# Installs what is missing, configures, builds and runs the tests.
#   bash tests/run.sh                          all but the slow ones
#   bash tests/run.sh -L slow                  those; with arguments ctest gets them as they are (-R ops; -LE none: all)
# Environment: WSP_TEST_DATA, WSP_GOLDEN_DIR (default ../shared/data, ../shared/golden), WSP_JOBS, WSP_BUILD_DIR, WSP_PRESET (release).
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${WSP_PRESET:-release}
build=${WSP_BUILD_DIR:-$PWD/build/$preset}
jobs=${WSP_JOBS:-$(nproc)}
say() { printf '\n== %s\n' "$*"; }

say "1/3  packages: installing what is missing (also what the tests compare with)"
bash tools/setup.sh test

say "2/3  configure and build in $build"
cmake --preset "$preset" -B "$build" -Wno-dev --log-level=NOTICE
ninja -C "$build" -j "$jobs"

data=${WSP_TEST_DATA:-$PWD/../shared/data}
if [ ! -f "$data/MANIFEST.md" ]; then
  say "TEST DATA ABSENT at $data: the tests on real CT will skip. Set WSP_TEST_DATA to run them."
fi

say "3/3  tests"
[ $# -gt 0 ] || set -- -LE slow
ctest --test-dir "$build" --output-on-failure -j "$jobs" "$@"
