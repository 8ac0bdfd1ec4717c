#!/usr/bin/env bash
# Builds the images that the tests over hosts and deploy/compose.yml run, without any registry: ecsbeat and the
# simulator out of binaries that are there, etcd out of what tests/tools.sh has unpacked, HAProxy out of Debian's
# package. Everything else in them is what `ldd` says the programs need.
#
#   tests/images.sh [FOLDER [NAME…]]    with the binaries of that folder, target/debug unless given; only these
#                                       images of ecsbeat, ecs-sim, etcd, haproxy
#
# Writes one line for each image, as docker compose reads them with --env-file. The tag of an image is the hash of what
# it was built from: one that is there is not built again, and builds of other trees do not get in each other's way.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${1:-target/debug}
names=("${@:2}")
[ $# -gt 1 ] || names=(ecsbeat ecs-sim etcd haproxy)
prefix=ecsbeat-test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "tests/images.sh: $*" >&2
  exit 1
}

# Copies program $2 into tree $1 as $3, and all libraries that it is linked with, the loader included. Libraries that
# are not installed come from the unpacked packages in $4.
install_program() {
  local tree=$1 program=$2 place=$3 packages=${4:-/nonexistent} folders libraries library
  install -D -m 755 "$program" "$tree$place"
  folders=$(find "$packages" -name '*.so.*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd: || true)
  # Of a static program there is nothing to tell.
  libraries=$(LD_LIBRARY_PATH=$folders ldd "$program" 2>/dev/null || true)
  [[ $libraries != *"not found"* ]] || fail "of $program: $(grep 'not found' <<<"$libraries")"
  while read -r library; do
    install -D -m 755 "$library" "$tree${library#"$packages"}"
  done < <(grep -oE '/[^ ]+' <<<"$libraries" | sort -u)
}

# Builds image $1 from context $2 with further arguments of docker build, unless it is there; prints variable $3.
build() {
  local name=$1 context=$2 variable=$3 hash image
  shift 3
  hash=$({
    echo "$@"
    # Names, modes and contents.
    cd "$context"
    find . -printf '%P %m\n' | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum
  } | sha256sum)
  image=$prefix/$name:${hash:0:16}
  if ! docker image inspect "$image" >/dev/null 2>&1; then
    # The classic builder has everything that is needed here and comes with every engine.
    DOCKER_BUILDKIT=0 docker build --quiet --label "$prefix=$name" --tag "$image" "$@" "$context" >"$work/log" 2>&1 \
      || fail "docker build of $name: $(tail -5 "$work/log")"
  fi
  echo "$variable=$image"
}

# A binary that cargo builds.
binary() {
  [ -x "$bin/$1" ] || fail "there is no $bin/$1: cargo build --workspace --bins"
  echo "$bin/$1"
}

# By the stage of the Dockerfile that ships which takes what is there.
image_ecsbeat() {
  local context=$work/ecsbeat program
  program=$(binary ecsbeat)
  mkdir -p "$context"/{deploy,rootfs}
  cp Dockerfile "$context"
  cp -r deploy/image "$context/deploy"
  install_program "$context/rootfs" "$program" /ecsbeat
  # As the Dockerfile does; symbols are most of it.
  strip "$context/rootfs/ecsbeat"
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$context/rootfs/etc/ssl/certs/ca-certificates.crt"
  fi
  mkdir "$context/data"
  build ecsbeat "$context" ECSBEAT_IMAGE --target ready-made
}

image_ecs-sim() {
  local context=$work/ecs-sim program
  program=$(binary ecs-sim)
  mkdir -p "$context"/{data,rootfs}
  cp -r deploy/image "$context"
  install_program "$context/rootfs" "$program" /ecs-sim
  strip --strip-debug "$context/rootfs/ecs-sim"
  cat >"$context/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY image/ rootfs/ /
COPY --chown=65532:65532 data /data
VOLUME /data
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/ecs-sim"]
DOCKERFILE
  build ecs-sim "$context" SIM_IMAGE
}

# Where the official image has it.
image_etcd() {
  local context=$work/etcd etcd=${ETCD_BIN:-target/etcd/3.5/usr/bin/etcd}
  [ -x "$etcd" ] || fail "there is no $etcd: run tests/tools.sh, or set ETCD_BIN"
  mkdir -p "$context/rootfs/tmp"
  cp -r deploy/image "$context"
  install_program "$context/rootfs" "$etcd" /usr/local/bin/etcd
  cat >"$context/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY image/ rootfs/ /
CMD ["/usr/local/bin/etcd"]
DOCKERFILE
  build etcd "$context" ETCD_IMAGE
}

# It looks for its configuration where the official image does.
image_haproxy() {
  local context=$work/haproxy haproxy=target/haproxy/usr/sbin/haproxy
  [ -x "$haproxy" ] || fail "there is no $haproxy: run tests/tools.sh hosts"
  mkdir -p "$context/rootfs"
  cp -r deploy/image "$context"
  install_program "$context/rootfs" "$haproxy" /usr/sbin/haproxy "$PWD/target/haproxy"
  cat >"$context/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY image/ rootfs/ /
USER 65532:65532
ENTRYPOINT ["/usr/sbin/haproxy"]
CMD ["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
  build haproxy "$context" HAPROXY_IMAGE
}

docker version >/dev/null 2>&1 || fail "there is no Docker engine, or this user may not use it"
for name in "${names[@]}"; do
  declare -F "image_$name" >/dev/null || fail "no image $name: there are ecsbeat, ecs-sim, etcd and haproxy"
  "image_$name"
done

# Those of yesterday that nobody runs.
docker image prune --all --force --filter "label=$prefix" --filter until=24h >/dev/null
