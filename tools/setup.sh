#!/usr/bin/env bash
# Installs what the toolkit needs on Debian 12 or 13 through apt, and only what is missing.
#   tools/setup.sh build   compilers and libraries (enough for quickstart)
#   tools/setup.sh test    the same, and what the tests and benchmarks compare with (optional: a missing one is said loudly)
# WSP_WITHOUT_TORCH=1 leaves Torch out: enough for the preset ingest-node, and for its tests.
# Without root and sudo it installs nothing: it goes on with what is there, or says in one line what an administrator must install.
set -euo pipefail

build_packages=(
  g++ cmake ninja-build pkg-config python3
  libdcmtk-dev libopenjp2-7-dev libdeflate-dev
  libhdf5-dev libblosc-dev libeigen3-dev libxxhash-dev libssl-dev libtbb-dev libpng-dev zlib1g-dev libjs-chart.js
  nlohmann-json3-dev libvalijson-dev libcli11-dev libspdlog-dev libfmt-dev
  libtorch-dev
)
# Without these a part is left out, which CMake says.
spare_packages=(
  ccache git libutf8proc-dev libopenblas0-pthread libgloo-dev libprotobuf-dev protobuf-compiler
  pybind11-dev python3-dev python3-numpy  # the Python package
  file dpkg-dev  # cpack asks them which files a Debian package has to depend on libraries for
)
# The same of what Debian 12 does not have yet.
later_packages=(libonnxruntime-dev)  # liver models that are ONNX
later_references=(python3-onnxruntime)
gtest_packages=(libgtest-dev libgmock-dev librapidcheck-dev)
reference_packages=(
  python3-numpy python3-torch python3-sklearn python3-protobuf python3-pydicom python3-nibabel python3-h5py python3-scipy python3-pil
  python3-setuptools python3-pandas python3-onnx python3-venv dcm2niix dcmtk dicom3tools hdf5-tools hdf5-filter-plugin-blosc-serial
  python3-hdf5plugin chromium clang-format-14 lintian
)

if [ -n "${WSP_WITHOUT_TORCH:-}" ]; then
  mapfile -t build_packages < <(printf '%s\n' "${build_packages[@]}" | grep -v torch)
  mapfile -t reference_packages < <(printf '%s\n' "${reference_packages[@]}" | grep -v torch)
fi

say() { printf '\n== %s\n' "$*" >&2; }

# Root, or a sudo that works or can ask for its password.
may_install() {
  [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

ask_administrator() {
  printf 'setup: you are not root and cannot use sudo. An administrator must run once:  apt-get install -y %s\n' "$*" >&2
}

find_missing() {  # names of packages that dpkg does not have installed
  missing=()
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
}

apt_ready=no
apt_install() {
  [ "$apt_ready" = yes ] || as_root apt-get update -qq
  apt_ready=yes
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if ! command -v dpkg-query >/dev/null 2>&1; then
  say "no dpkg here: install these libraries with your own package manager, then run cmake --preset release"
  printf '%s\n' "${build_packages[@]}" "${spare_packages[@]}" >&2
  exit 1
fi

mode=${1:-build}
needed=("${build_packages[@]}")
[ "$mode" = test ] && needed+=("${gtest_packages[@]}")
if ! may_install; then
  find_missing "${needed[@]}"
  if [ "${#missing[@]}" -gt 0 ]; then
    ask_administrator "${missing[@]}"
    exit 1
  fi
  find_missing "${spare_packages[@]}"
  if [ "$mode" = test ]; then
    spare=("${missing[@]}")
    find_missing "${reference_packages[@]}"
    missing=("${spare[@]}" "${missing[@]}")
  fi
  if [ "${#missing[@]}" -gt 0 ]; then
    say "going on without ${#missing[@]} packages, and without what they are for"
    ask_administrator "${missing[@]}"
  fi
  exit 0
fi
find_missing "${needed[@]}" "${spare_packages[@]}"
if [ "${#missing[@]}" -gt 0 ]; then
  say "installing ${#missing[@]} packages: ${missing[*]}"
  apt_install "${missing[@]}"
fi

[ "$mode" = test ] && later_packages+=("${later_references[@]}")
find_missing "${later_packages[@]}"
for package in "${missing[@]}"; do
  if apt-cache show "$package" >/dev/null 2>&1; then
    say "installing $package"
    apt_install "$package"
  fi
done

if [ "$mode" = test ]; then
  find_missing "${reference_packages[@]}"
  if [ "${#missing[@]}" -gt 0 ]; then
    say "installing ${#missing[@]} packages that tests compare with: ${missing[*]}"
    for package in "${missing[@]}"; do
      apt_install "$package" || say "ABSENT: $package could not be installed; the tests that need it will say so and skip"
    done
  fi
fi
