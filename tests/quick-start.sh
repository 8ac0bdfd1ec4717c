#!/usr/bin/env bash
# docs/quick-start.md as a reader runs it: every block of shell in it, as it stands there and in one shell, and after
# each what the text promises. What it needs is installed by its own first block; its ports are those of the text, so
# nothing else may have them. Ends whatever it has started, and leaves no file behind.
set -euo pipefail
cd "$(dirname "$0")/.."

# Beyond that a line that waits for something waits in vain; the build is included.
[ -n "${QUICK_START:-}" ] || exec env QUICK_START=guarded timeout --foreground 900 "$0"

blocks=$(mktemp -d)
block="no block"
finish() {
  local code=$?
  trap - EXIT
  if [ $code -ne 0 ]; then
    echo "quick start: $block did not work (exit code $code)" >&2
    tail -n 20 /tmp/quick-start/*.log >&2 2>/dev/null || true
  fi
  # The replicas first: they give the lease back and log out.
  local pid
  for pid in $(cat /tmp/quick-start/node-?.pid 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
  for pid in $(cat /tmp/quick-start/node-?.pid 2>/dev/null); do wait "$pid" 2>/dev/null || true; done
  # shellcheck disable=SC2046
  kill $(jobs -p) 2>/dev/null || true
  wait
  rm -rf "$blocks" /tmp/quick-start ecs-sim-ca.pem
  exit $code
}
trap 'exit 143' TERM
trap 'exit 130' INT
trap finish EXIT

for port in 2379 2380 4480 5066 5067 5068 8080 8404 9200; do
  ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "port $port is in use" >&2; exit 1; }
done
rm -rf /tmp/quick-start

# One file a block, named after its section: 1.1, 2.1, 2.2, ...
awk -v dir="$blocks" '
  /^## / { section = $2 + 0; n = 0 }
  /^```$/ { inside = 0 }
  inside { print > (dir "/" section "." n) }
  /^```sh$/ { inside = 1; n++ }
' docs/quick-start.md

promise() { # what, command
  local what=$1
  shift
  "$@" >/dev/null || { echo "quick start: after $block, it does not hold that $what" >&2; exit 1; }
}
page_shows_leading() { # where, instance
  curl -fs -H "Accept: text/html" "$1/" | grep -oE '<h1[^>]*>[^<]*' | grep -qF ">$2 leads "
}
json() { curl -fs "$1" | jq -e "$2"; }

ran=0
for file in $(ls "$blocks" | sort -V); do
  block="block $file"
  echo "--- $block (${SECONDS} s)"
  # shellcheck disable=SC1090
  source "$blocks/$file"
  ran=$((ran + 1))
  case $file in
    2.1) promise "the simulator answers" json localhost:4480/state . ;;
    3.1) promise "three replicas are there and one leads" json localhost:5066/cluster '.leader and (.members | length == 3)' ;;
    4.1) promise "one leads through HAProxy" json localhost:8080/leader .instance ;;
    5.1) promise "all 13 types have arrived" json localhost:9200/_recorded/counts '.by_type | length >= 13' ;;
    5.2) promise "all 13 types are in the files" test 13 -eq \
           "$(cat /tmp/quick-start/events/*.ndjson | grep -oE '"ecs-event-type":"[a-z]+"' | sort -u | wc -l)"
         before=$(curl -fs localhost:8080/leader | jq .term) ;;
    6.1) promise "another leads, in a later term" jq -e --arg dead "$leader" --argjson before "$before" \
           '.instance != $dead and .term > $before' /tmp/quick-start/leader.json
         promise "the status page names it" page_shows_leading localhost:8080 "$(jq -r .instance /tmp/quick-start/leader.json)" ;;
    6.2) promise "the history says why" json "$url/history" '.history[-1].reason' ;;
    6.3) promise "nothing is stored twice" json localhost:9200/_recorded/counts '.documents > 0 and .duplicates == 0' ;;
    6.4) promise "the one that was dead leads again" json "$url/cluster" ".leader.name == \"$leader\"" ;;
  esac
done
promise "the page has the blocks that are checked here" test "$ran" -ge 12
echo "quick start: all $ran blocks hold (${SECONDS} s)"
