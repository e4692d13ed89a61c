#!/bin/bash
# Fuzz the readers of foreign bytes with libFuzzer (clang):
#   bash tests/fuzz/run.sh [EXECUTIONS] [TARGET...]      1,000,000 executions of each target by default
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-1000000}
shift || true
targets=(${@:-labels manifest structure nrrd nifti safetensors})
build=build/fuzz
flags="-g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
  -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS="$flags -Wno-error" -DWSP_FUZZ=ON \
  -DWSP_BUILD_TRAIN=OFF -DWSP_WITH_SEGMENTER=OFF
ninja -C "$build" "${targets[@]/#/fuzz_}"
for target in "${targets[@]}"; do
  echo "== $target"
  mkdir -p "$build/found/$target"
  (cd "$build/found/$target" &&
    "../../tests/fuzz/fuzz_$target" -runs="$runs" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
      -print_final_stats=1 . "../../tests/fuzz/corpus/$target" 2>&1 | tail -12)
done
