#!/usr/bin/env bash
# Builds the images that the tests over hosts and deploy/compose.yml run, without any registry: ecsbeat and the
# simulator out of binaries that are there, etcd out of what tests/tools.sh has unpacked, HAProxy out of Debian's
# package. Everything else in them is what `ldd` says the programs need.
#
#   tests/images.sh [FOLDER]     binaries of that folder; target/debug unless given
#
# Writes one line for each image, as docker compose reads them with --env-file. The tag of an image is the hash of what
# it was built from: one that is there is not built again, and builds of other trees do not get in each other's way.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${1:-target/debug}
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

docker version >/dev/null 2>&1 || fail "there is no Docker engine, or this user may not use it"
for name in ecsbeat ecs-sim; do
  [ -x "$bin/$name" ] || fail "there is no $bin/$name: cargo build --workspace --bins"
done
etcd=${ETCD_BIN:-target/etcd/3.5/usr/bin/etcd}
[ -x "$etcd" ] || fail "there is no $etcd: run tests/tools.sh, or set ETCD_BIN"

# --- ecsbeat, by the last stage of the Dockerfile that ships.
mkdir -p "$work"/ecsbeat/{deploy,rootfs/data}
cp -r Dockerfile "$work/ecsbeat"
cp -r deploy/image "$work/ecsbeat/deploy"
install_program "$work/ecsbeat/rootfs" "$bin/ecsbeat" /ecsbeat
# What the debugger needs is most of it.
strip --strip-debug "$work/ecsbeat/rootfs/ecsbeat"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$work/ecsbeat/rootfs/etc/ssl/certs/ca-certificates.crt"
fi
chmod 750 "$work/ecsbeat/rootfs/data"
build ecsbeat "$work/ecsbeat" ECSBEAT_IMAGE --target ready-made

# --- The simulator.
mkdir -p "$work"/sim/rootfs/data
cp -r deploy/image "$work/sim/image"
install_program "$work/sim/rootfs" "$bin/ecs-sim" /ecs-sim
strip --strip-debug "$work/sim/rootfs/ecs-sim"
cat >"$work/sim/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY image/ rootfs/ /
COPY --chown=65532:65532 rootfs/data /data
VOLUME /data
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/ecs-sim"]
DOCKERFILE
build ecs-sim "$work/sim" SIM_IMAGE

# --- etcd, where the official image has it.
mkdir -p "$work"/etcd/rootfs/tmp
cp -r deploy/image "$work/etcd/image"
install_program "$work/etcd/rootfs" "$etcd" /usr/local/bin/etcd
cat >"$work/etcd/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY image/ rootfs/ /
CMD ["/usr/local/bin/etcd"]
DOCKERFILE
build etcd "$work/etcd" ETCD_IMAGE

# --- HAProxy, with its configuration where the official image has it.
[ -x target/haproxy/usr/sbin/haproxy ] || fail "there is no target/haproxy/usr/sbin/haproxy: run tests/tools.sh"
mkdir -p "$work"/haproxy/rootfs
cp -r deploy/image "$work/haproxy/image"
install_program "$work/haproxy/rootfs" target/haproxy/usr/sbin/haproxy /usr/sbin/haproxy "$PWD/target/haproxy"
cat >"$work/haproxy/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY image/ rootfs/ /
USER 65532:65532
ENTRYPOINT ["/usr/sbin/haproxy"]
CMD ["-W", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
build haproxy "$work/haproxy" HAPROXY_IMAGE

# Those of yesterday that nobody runs.
docker image prune --all --force --filter "label=$prefix" --filter until=24h >/dev/null
