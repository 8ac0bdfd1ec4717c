#!/usr/bin/env bash
# Installs what building and testing needs and the machine does not have. On anything but Debian, or without
# root and sudo, it says what to install and fails.
set -euo pipefail

missing=()
have() { command -v "$1" >/dev/null 2>&1; }
have cc || missing+=(gcc libc6-dev)
have curl || missing+=(curl)
# The etcd client compiles etcd's protocol.
have protoc || missing+=(protobuf-compiler)
[ -e /usr/include/google/protobuf/any.proto ] || missing+=(libprotobuf-dev)

if ! have cargo; then
  echo "cargo is missing: install Rust $(grep -oP '^rust-version = "\K[^"]+' Cargo.toml) or newer (https://rustup.rs)" >&2
  exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if ! have apt-get; then
  echo "please install: ${missing[*]} (the names of Debian's packages), then run make again" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if ! have sudo; then
    echo "please install as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
fi
echo "installing ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
