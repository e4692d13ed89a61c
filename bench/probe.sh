#!/usr/bin/env bash
# The cross-validated probe beside Debian's scikit-learn on the same threads (default 2), in turns.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${WSP_BUILD_DIR:-build/release}
threads=${WSP_JOBS:-2}
export OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads
python=${WSP_PYTHON:-/usr/bin/python3}
data=$(mktemp)
trap 'rm -f "$data"' EXIT
"$python" bench/probe.py make "$data"
for turn in 1 2 3; do
  printf 'turn %s\n  scikit-learn lbfgs (its default tolerance)\n' "$turn"
  "$python" bench/probe.py "$data" 2 lbfgs 1e-4 | sed 's/^/    /'
  printf '  scikit-learn newton-cholesky, tol 1e-8\n'
  "$python" bench/probe.py "$data" 2 newton-cholesky 1e-8 | sed 's/^/    /'
  printf '  ours, stopped as lbfgs stops (gradient below 1e-4)\n'
  "$build/bench/probe_bench" "$data" --rounds 2 --threads "$threads" --tolerance 1e-4 | sed 's/^/    /'
  printf '  ours (gradient below 1e-8)\n'
  "$build/bench/probe_bench" "$data" --rounds 2 --threads "$threads" | sed 's/^/    /'
done
