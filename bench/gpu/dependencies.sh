#!/usr/bin/env bash
# Puts the few libraries that the training half needs beside LibTorch and CUDA into one folder (about 40 MiB), from Debian's
# packages and without installing them, to be carried to a machine without internet or root:
#   bench/gpu/dependencies.sh [FOLDER]                 default build/gpu-dependencies
#   cmake --preset gpu-node -DWSP_DEPENDENCIES=FOLDER -DCMAKE_PREFIX_PATH="$(python3 -c 'import torch; print(torch.utils.cmake_prefix_path)')"
# FOLDER gets include/, lib/ (with what these libraries load in turn, the C and C++ libraries excepted), src/googletest and
# packages.txt. The other machine's C library must be this one's version or newer (printed last). Needs apt's package
# lists (apt-get update) and dpkg-deb.
set -euo pipefail
folder=${1:-$(dirname "$0")/../../build/gpu-dependencies}
if [ -e "$folder" ]; then
  echo "dependencies.sh: $folder exists: remove it, or name another folder" >&2
  exit 5
fi
mkdir -p "$(dirname "$folder")"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/root"

development="libhdf5-dev libblosc-dev libtbb-dev libxxhash-dev libssl-dev zlib1g-dev nlohmann-json3-dev libcli11-dev libfmt-dev libspdlog-dev
  libvalijson-dev libeigen3-dev googletest"
depends() {
  apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@"
}
# The libraries behind the headers, by the names that this release gives them, and all that those need.
libraries=$(depends $development | sed -nE 's/^ *Depends: (libhdf5-[0-9]+[-0-9a-z]*|libblosc[0-9]+|libtbb[0-9]+|libxxhash[0-9]+|libssl[0-9][0-9a-z]*|zlib1g)$/\1/p' | sort -u)
if [ "$(wc -w <<<"$libraries")" -lt 6 ]; then
  echo "dependencies.sh: apt knows only '$libraries' of HDF5, Blosc, TBB, XXHash, OpenSSL and zlib: run apt-get update" >&2
  exit 1
fi
closure=$(depends --recurse $libraries | grep -E '^[a-z0-9]' |
  grep -vE '^(libc6|libgcc-s1|libstdc\+\+6|gcc-[0-9]+-base|libcrypt1|debconf.*|cdebconf|.*-data|.*-common|.*:i386)$' | sort -u)
echo "$development $closure" | xargs -n1 | sort -u >"$work/packages.txt"
(cd "$work/debs" && apt-get download -qq $(cat "$work/packages.txt"))
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

# 1. Headers, flat: HDF5's stand in a folder of their own in Debian.
root=$work/root/usr
mkdir -p "$work/out/include" "$work/out/lib" "$work/out/src"
for header in blosc.h blosc-export.h xxhash.h xxh3.h xxh_x86dispatch.h zlib.h tbb oneapi nlohmann CLI fmt spdlog valijson; do
  [ ! -e "$root/include/$header" ] || cp -r "$root/include/$header" "$work/out/include/"
done
find "$root/include" -name zconf.h -exec cp {} "$work/out/include/" \;
find "$root/include" -type d -name openssl -exec cp -r {} "$work/out/include/" \;  # in two places: some are the architecture's
cp -r "$root/include/eigen3/Eigen" "$work/out/include/"
cp "$root"/include/hdf5/serial/*.h "$work/out/include/"
cp -r "$root/src/googletest" "$work/out/src/"

# 2. Libraries: the ones linked, and whatever of the packages they load in turn.
places=$(find "$work/root" -name '*.so*' -printf '%h\n' | sort -u)
find_file() { for place in $places; do [ ! -e "$place/$1" ] || { echo "$place/$1"; return; }; done; }
needed() { readelf -d "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p'; }
take() {  # NAME: copies it under its own name, then what it needs
  [ ! -e "$work/out/lib/$1" ] || return 0
  local file
  file=$(find_file "$1")
  [ -n "$file" ] || return 0  # the C and C++ libraries: the other machine's own
  cp -L "$file" "$work/out/lib/$1"
  local name
  for name in $(needed "$work/out/lib/$1"); do take "$name"; done
}
for link in hdf5_serial blosc tbb xxhash crypto z; do
  file=$(find_file "lib$link.so")
  soname=$(readelf -d "$file" | sed -nE 's/.*\(SONAME\).*\[(.*)\]/\1/p')
  take "$soname"
  ln -s "$soname" "$work/out/lib/lib$link.so"
done
cp "$work/packages.txt" "$work/out/"
(cd "$work/debs" && ls *.deb) >"$work/out/packages.txt"
mv "$work/out" "$folder"

glibc=$(for file in "$folder"/lib/*.so*; do readelf -V "$file" | grep -oE 'GLIBC_[0-9.]+'; done | sort -uV | tail -1)
echo "$folder: $(du -sh "$folder" | cut -f1), $(ls "$folder/lib" | wc -l) libraries; needs ${glibc/_/ } or newer"
