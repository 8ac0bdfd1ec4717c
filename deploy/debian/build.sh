#!/usr/bin/env bash
# Builds the Debian package with cargo-deb out of a release that is built already, and says where it is.
#
#   deploy/debian/build.sh [FOLDER [OPTION…]]    FOLDER is cargo's target folder, `target` unless given; options are
#                                                cargo-deb's
#
# Manual page and completions come from the program itself, as it is packed.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(realpath "${1:-target}")
ecsbeat=$target/release/ecsbeat
[ -x "$ecsbeat" ] || { echo "there is no $ecsbeat: make release" >&2; exit 1; }
# What `make deb` has installed, or whatever else there is.
PATH=$PWD/target/cargo-deb/bin:$PATH

package=$target/release/package
mkdir -p "$package"
"$ecsbeat" export man | gzip -9n >"$package/ecsbeat.1.gz"
for shell in bash zsh fish; do
  "$ecsbeat" completion "$shell" >"$package/ecsbeat.$shell"
done

# Every crate that is linked, and the C libraries in them, with what their licences ask to be passed on.
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
tree() {
  cargo tree --locked --prefix none --format '{p}|{l}' --package "$@"
}
# OpenSSL comes by way of a build script.
{ tree ecsbeat --edges normal; tree openssl-src --depth 0; } \
  | sed -n 's/^\([^ ]*\) v\([^ |]*\).*|\(.*\)$/\1 \2 \3/p' | sort -u | while read -r name version licence; do
    folder=$(find "$crates" -mindepth 2 -maxdepth 2 -name "$name-$version" | head -1)
    [ -n "$folder" ] || continue
    echo "=== $name $version: $licence ==="
    find "$folder" -maxdepth 2 -type f -iregex '.*/\(licen[cs]es?\|copying\|notice\)[^/]*' | sort | while read -r notice; do
      echo "--- ${notice#"$folder"/}"
      cat "$notice"
      echo
    done
  done | gzip -9n >"$package/third-party.gz"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
date=$(date -u -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
printf 'ecsbeat (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
  "$version" "$maintainer" "$date" | gzip -9n >"$package/changelog.Debian.gz"

CARGO_TARGET_DIR=$target cargo-deb --no-build --locked --output "$target/debian/" "${@:2}"
