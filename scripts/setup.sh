#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs, on Debian 12 and 13, the packages that building Ringleader needs and that are missing:
#
#   scripts/setup.sh            # the library, the examples and the benchmarks
#   scripts/setup.sh --tests    # the tests too
#
# Asks dpkg first, so that it takes no time when there is nothing to do.

# Lists of packages are split into words on purpose:
# shellcheck disable=SC2086
set -eu

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

required="g++ cmake ninja-build pkg-config libfmt-dev libhwy-dev libhwloc-dev libxxhash-dev openmpi-bin libopenmpi-dev libdnnl-dev
  libcli11-dev nlohmann-json3-dev zlib1g-dev"
# What can be done without: a data set, a second MPI, checks of the source's form.
optional="dataset-fashion-mnist"
case ${1:-} in
  "") ;;
  --tests)
    required="$required catch2 python3 procps"
    optional="$optional mpich libmpich-dev clang-format iproute2 libgloo-dev libtorch-dev libdlib-dev doxygen"
    ;;
  *) fail "unknown option $1" ;;
esac

is_installed() { # PACKAGE
  [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

has_candidate() { # PACKAGE
  LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^ *Candidate: [^(]'
}

not_installed() { # PACKAGES
  for package in "$@"; do
    is_installed "$package" || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

has_apt() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null
}

can_install() {
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

has_apt || fail "this system has no apt-get; install what Debian calls" $required
missing=$(not_installed $required)
missing_optional=$(not_installed $optional)
[ -n "$missing$missing_optional" ] || exit 0
if ! can_install; then
  [ -z "$missing" ] || fail "run it as root, or install these packages first:" $missing
  echo "setup.sh: going on without" $missing_optional >&2
  exit 0
fi

lists_suffice() {
  ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || return 1
  for package in $missing; do
    has_candidate "$package" || return 1
  done
}
lists_suffice || as_root apt-get update --quiet || fail "apt-get update failed"

wanted=
for package in $missing; do
  has_candidate "$package" || fail "this release has no package $package, which is needed"
  wanted="$wanted $package"
done
for package in $missing_optional; do
  if has_candidate "$package"; then
    wanted="$wanted $package"
  else
    echo "setup.sh: this release has no package $package; going on without it" >&2
  fi
done
[ -n "$wanted" ] || exit 0

install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet --no-install-recommends $wanted
}
# Lists may be so old that the archive no longer has the versions in them.
install || { as_root apt-get update --quiet && install; } ||
  fail "apt-get could not install:" $wanted
