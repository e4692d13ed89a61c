#!/usr/bin/env bash
# Builds the Debian packages wsp-ingest, wsp-train and python3-wsp on Debian 12 or 13:
#   bash tools/package.sh [DIRECTORY]     (default out/packages)
# Environment: WSP_JOBS (default: all cores), WSP_BUILD_DIR (default build/package).
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-out/packages}")
build=$(realpath -m "${WSP_BUILD_DIR:-build/package}")

bash tools/setup.sh build
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWSP_UNITY=ON -DWSP_BUILD_TESTS=OFF -DWSP_WITH_PYTHON=ON -Wno-dev --log-level=NOTICE
ninja -C "$build" -j "${WSP_JOBS:-$(nproc)}"
cpack -G DEB --config "$build/CPackConfig.cmake" -B "$out"
rm -rf "$out/_CPack_Packages"
