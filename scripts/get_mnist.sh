#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Gets training data for train_mnist:
#
#   scripts/get_mnist.sh [DIRECTORY]     # default: data
#
# Downloads MNIST from its public mirrors and checks it. Without a network it installs Debian's
# package dataset-fashion-mnist instead, which train_mnist finds by itself.
set -eu

directory=${1:-data}
mirrors="https://ossci-datasets.s3.amazonaws.com/mnist
  https://storage.googleapis.com/cvdf-datasets/mnist"

# Prints the contents of a URL. The limits are short because a blocked network often does not
# refuse connections; the largest file has 10 MB.
fetch() {
  if command -v curl >/dev/null 2>&1; then
    curl --fail --silent --location --connect-timeout 5 --max-time 60 "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget --quiet --tries=1 --connect-timeout=5 --read-timeout=20 --output-document=- "$1"
  else
    echo "get_mnist.sh: neither curl nor wget is installed" >&2
    return 1
  fi
}

is_intact() { # FILE SHA256
  [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]
}

# A file gets its name only once it is complete and correct, so that an interrupted download is
# never mistaken for data.
get() { # NAME SHA256
  if is_intact "$directory/$1" "$2"; then return 0; fi
  temporary=$directory/$1.part.$$
  for mirror in $mirrors; do
    if fetch "$mirror/$1" >"$temporary" && is_intact "$temporary" "$2"; then
      mv "$temporary" "$directory/$1"
      echo "$directory/$1"
      return 0
    fi
    echo "get_mnist.sh: $mirror/$1 could not be downloaded, or its checksum is wrong" >&2
    rm -f "$temporary"
  done
  return 1
}

get_mnist() {
  while read -r name sum; do
    get "$name" "$sum" || return 1
  done <<END
train-images-idx3-ubyte.gz 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
END
}

install_fashion_mnist() {
  if [ -f /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]; then return 0; fi
  if ! command -v apt-get >/dev/null 2>&1; then return 1; fi
  if [ "$(id -u)" -eq 0 ]; then
    apt-get install --yes --no-install-recommends dataset-fashion-mnist
  else
    sudo apt-get install --yes --no-install-recommends dataset-fashion-mnist
  fi
}

mkdir -p "$directory"
temporary=
trap '[ -z "$temporary" ] || rm -f "$temporary"' EXIT
trap 'exit 130' INT TERM
if get_mnist; then
  echo "MNIST is in $directory"
elif install_fashion_mnist; then
  # An empty or partial directory would hide the package from train_mnist.
  rmdir "$directory" 2>/dev/null ||
    echo "get_mnist.sh: $directory is not complete; remove it or use --data" >&2
  echo "MNIST could not be downloaded; using Fashion-MNIST in /usr/share/datasets/fashion-mnist"
else
  rmdir "$directory" 2>/dev/null || true
  echo "get_mnist.sh: MNIST could not be downloaded, and dataset-fashion-mnist could not be" \
    "installed" >&2
  exit 1
fi
