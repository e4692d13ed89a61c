#!/usr/bin/env bash
# Builds what needs no Torch on Debian 12, 13 and 14, runs its tests there, and then every base verifies and reads what each has made.
#   sudo bash tests/debian.sh DIR [RELEASE...]     RELEASE: bookworm, trixie, forky (default: all three)
# DIR keeps the bases (debootstrap makes them, some 4 GB each), apt's packages (DIR/packages) and the results (DIR/results): a second
# run goes on with them. Nothing stays mounted, nothing stays running.
# Environment: WSP_JOBS, WSP_TEST_DATA (default ../shared/data), CCACHE_DIR and its like, WSP_DEBIAN_TESTS (ctest arguments; "none": no
# tests), WSP_DEBIAN_MIRROR (default: that of debootstrap).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
usage() { sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }

# A mount and a process namespace of its own: what is mounted and started ends with this script.
if [ -z "${WSP_DEBIAN_INSIDE:-}" ]; then
  [ $# -ge 1 ] || usage
  case $1 in -*) usage ;; esac
  [ "$(id -u)" -eq 0 ] || { echo "debian.sh: debootstrap, chroot and mount need root" >&2; exit 1; }
  command -v debootstrap >/dev/null || { echo "debian.sh: install debootstrap" >&2; exit 1; }
  exec env WSP_DEBIAN_INSIDE=1 unshare --mount --pid --fork --kill-child bash "$0" "$@"
fi
mkdir -p "$1/packages" "$1/results"
place=$(realpath "$1")
shift
releases=("$@")
[ $# -gt 0 ] || releases=(bookworm trixie forky)
jobs=${WSP_JOBS:-$(nproc)}
tests=${WSP_DEBIAN_TESTS:-}
data=$(realpath -m "${WSP_TEST_DATA:-../shared/data}")
inside=/srv/wsp  # where the source tree is within a base, the test data beside it

# in_base RELEASE COMMAND...: within that base, in its copy of the source tree.
in_base() {
  local base=$place/$1
  shift
  chroot "$base" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    WSP_WITHOUT_TORCH=1 WSP_JOBS="$jobs" ${CCACHE_DIR:+CCACHE_DIR=/srv/ccache} \
    CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-5G}" CCACHE_BASEDIR=/srv CCACHE_NOHASHDIR=1 \
    bash -euo pipefail -c "cd $inside && $*"
}

make_base() {
  local base=$place/$1
  if [ ! -e "$base/etc/debian_version" ]; then
    say "$1: debootstrap in $base"
    local script=$1
    [ -e "/usr/share/debootstrap/scripts/$1" ] || script=sid  # a release younger than this debootstrap
    debootstrap --variant=minbase --cache-dir="$place/packages" "$1" "$base" "${WSP_DEBIAN_MIRROR:-}" "$script" >"$place/results/$1.debootstrap.log"
  fi
  mkdir -p "$base$inside" "$base/srv/shared/data" "$base/srv/ccache" "$base/srv/results"
  mount -t proc proc "$base/proc"
  mount --rbind /dev "$base/dev"
  mount --bind "$place/packages" "$base/var/cache/apt/archives"
  mount --bind "$place/results" "$base/srv/results"
  [ ! -d "$data" ] || mount --bind -o ro "$data" "$base/srv/shared/data"
  [ -z "${CCACHE_DIR:-}" ] || mount --bind "$CCACHE_DIR" "$base/srv/ccache"
  cp /etc/resolv.conf "$base/etc/resolv.conf"
  # How this machine reaches packages (a proxy, a clock that is wrong), and that what was fetched is kept.
  { apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-)' || true
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true"; APT::Keep-Downloaded-Packages "true";'; } >"$base/etc/apt/apt.conf.d/90host"
}

# The files of the source tree as they are, committed or not; the build in the base stays.
copy_sources() {
  local base=$place/$1
  find "$base$inside" -mindepth 1 -maxdepth 1 ! -name build ! -name .git -exec rm -rf {} +
  git ls-files -z --cached --others --exclude-standard | xargs -0 -I{} sh -c '[ ! -e "$1" ] || printf "%s\0" "$1"' - {} |
    tar -c --null --files-from=- | tar -x -C "$base$inside"
}

build_and_test() {
  say "$1: packages"
  in_base "$1" bash tools/setup.sh test
  say "$1: build"
  local targets=all
  [ "$tests" != none ] || targets="wsp-phantom wsp-ingest"
  in_base "$1" "cmake --preset release -DWSP_WITH_SEGMENTER=OFF -DWSP_BUILD_TRAIN=OFF -DWSP_WITH_PYTHON=OFF -Wno-dev --log-level=NOTICE &&
    ninja -C build/release -j $jobs $targets"
  if [ "$tests" = none ]; then
    say "$1: NO TESTS RUN, as WSP_DEBIAN_TESTS asks"
  else
    say "$1: tests"
    in_base "$1" "ctest --test-dir build/release --output-on-failure -j $jobs $tests"
  fi
}

# A dataset of the export that the first base made, and what this base is.
make_dataset() {
  say "$1: a dataset"
  in_base "$1" "export PATH=\$PWD/build/release/tools:\$PATH cohort=/srv/results/cohort
    [ $1 != ${releases[0]} ] || { rm -rf \$cohort
      wsp-phantom --out \$cohort --subjects 4 --seed 5 --slices 20-24 --size 128 --balance --hospital; }
    rm -rf /srv/results/$1 && mkdir /srv/results/$1
    wsp-ingest \$cohort/export --out /srv/results/$1/dataset --ids keep --size 128 --masks \$cohort/truth \
      --labels \$cohort/labels.csv --manifest data-manifests/phantom.json
    v() { dpkg-query -W -f='\${Version}' \$1; }
    echo \"Debian \$(cat /etc/debian_version), GCC \$(g++ -dumpfullversion), DCMTK \$(v libdcmtk-dev), HDF5 \$(v libhdf5-dev),\" \
      \"h5py \$(v python3-h5py)\" >/srv/results/$1/base"
}

# read_dataset READER MAKER: verified by wsp-ingest, and every slice read by the Python of docs/SHARD_FORMAT.md.
read_dataset() {
  in_base "$1" "build/release/tools/wsp-ingest verify /srv/results/$2/dataset
    sed -n '/^\`\`\`python\$/,/^\`\`\`\$/p' docs/SHARD_FORMAT.md | sed '1d;/^\`\`\`\$/,\$d' >/srv/example.py
    python3 /srv/example.py /srv/results/$2/dataset >/srv/results/$2/read-on-$1.txt
    test -s /srv/results/$2/read-on-$1.txt"
}

for release in "${releases[@]}"; do
  make_base "$release"
  copy_sources "$release"
  build_and_test "$release"
  make_dataset "$release"
done

# One export, so that the same slices are to be read everywhere, whoever made them and whoever reads them.
say "every base reads what each has made"
failed=0
expected=$place/results/${releases[0]}/read-on-${releases[0]}.txt
for maker in "${releases[@]}"; do
  printf '   %-9s %s\n' "$maker" "$(cat "$place/results/$maker/base")"
  for reader in "${releases[@]}"; do
    log=$place/results/$maker/on-$reader.log
    verdict=same
    if ! read_dataset "$reader" "$maker" >"$log" 2>&1; then
      verdict="FAILED, see $log" failed=1
    elif ! cmp "$place/results/$maker/read-on-$reader.txt" "$expected" >>"$log"; then
      verdict="OTHER SLICES than ${releases[0]}'s, see $log" failed=1
    fi
    printf '     read on %-9s %s\n' "$reader" "$verdict"
  done
done
exit $failed
