#!/usr/bin/env bash
# The main job on the built-in simulator: 2 VDCs of 4 nodes, short intervals. Shows the first event of every type,
# says where the endpoints are, and leaves no process behind. DEMO_SECONDS ends it by itself.
set -euo pipefail

bin=${1:-target/release}
dir=$(mktemp -d)
pids=()
stop() {
  trap - EXIT INT TERM
  # ecsbeat first: it logs out of the simulator.
  for pid in "${pids[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$dir"
  exit "${1:-0}"
}
trap 'stop 0' INT TERM
trap 'stop $?' EXIT

"$bin/ecs-sim" --ca-file "$dir/ca.pem" --events 30 --alerts 10 --control 127.0.0.1:0 >"$dir/sim.log" 2>&1 &
sim=$!
for _ in $(seq 100); do
  [ -s "$dir/ca.pem" ] && break
  kill -0 "$sim" 2>/dev/null || { cat "$dir/sim.log" >&2; exit 1; }
  sleep 0.1
done

cat >"$dir/ecsbeat.yml" <<YML
ecsbeat:
  period: 10s
  customers:
    - customername: demo
      username: monitor
      password: CANARY-password-monitor
      ssl.certificate_authorities: [$dir/ca.pem]
      vdcs:
        - vdcname: vdc-north
          nodes: [{host: 127.10.0.1}, {host: 127.10.0.2}, {host: 127.10.0.3}, {host: 127.10.0.4}]
        - vdcname: vdc-south
          nodes: [{host: 127.11.0.1}, {host: 127.11.0.2}, {host: 127.11.0.3}, {host: 127.11.0.4}]
  commands:
    - {type: auditevent, uri: /vdc/events.json, level: vdc, interval: 10s, window: {step: 10s, lag: 10s, overlap: 60s, format: rfc3339}}
    - {type: alert, uri: /vdc/alerts.json, level: vdc, interval: 10s, window: {step: 10s, lag: 10s, overlap: 60s, format: rfc3339}}
    - {type: latestalert, uri: /vdc/alerts/latest.json, level: vdc, interval: 10s}
    - {type: localzone, uri: "/dashboard/zones/localzone?dataType=current", level: vdc}
    - {type: nodes, uri: "/dashboard/zones/localzone/nodes?dataType=current", level: vdc}
    - {type: replicationgroups, uri: "/dashboard/zones/localzone/replicationgroups?dataType=current", level: vdc}
    - {type: storagepools, uri: "/dashboard/zones/localzone/storagepools?dataType=current", level: vdc}
    - {type: disks, uri: "/dashboard/nodes/%s/disks?dataType=current", level: node}
    - {type: processes, uri: "/dashboard/nodes/%s/processes?dataType=current", level: node}
    - {type: capacity, uri: /object/capacity.json, level: system}
    - {type: nsbilling, uri: "/object/billing/namespace/info.json?include_bucket_detail=false", level: system}
    - {type: nsbillingsample, uri: "/object/billing/namespace/sample.json?include_bucket_detail=false", level: system, interval: 5m}
    - {type: dtinfo, uri: dummy, level: dtinfo}
output.file: {path: $dir/events, filename: demo}
http: {enabled: true, port: ${DEMO_PORT:-5066}}
path.data: $dir/data
logging.level: warning
logging.format: text
YML
"$bin/ecsbeat" -c "$dir/ecsbeat.yml" -e 2>"$dir/ecsbeat.log" &
beat=$!
pids=("$beat" "$sim")

shown=" "
end=$((SECONDS + ${DEMO_SECONDS:-1000000}))
told=
printf 'ecsbeat polls two simulated VDCs of four nodes every 10 s. The first event of every type:\n\n'
while [ $SECONDS -lt "$end" ]; do
  for pid in "${pids[@]}"; do
    kill -0 "$pid" 2>/dev/null || { echo "ended unexpectedly:" >&2; cat "$dir/ecsbeat.log" "$dir/sim.log" >&2; exit 1; }
  done
  for file in "$dir"/events/*.ndjson; do
    [ -e "$file" ] || continue
    while IFS= read -r line; do
      [[ $line =~ \"ecs-event-type\":\"([a-z]+)\" ]] || continue
      type=${BASH_REMATCH[1]}
      case "$shown" in *" $type "*) continue ;; esac
      shown+="$type "
      # Without what all events have alike.
      short=$(sed -E 's/"(agent|host|ecs|ecsbeat|event|observer)":\{[^}]*\},?//g; s/"(@version|type|ecs-customer|ecs-event-type)":"[^"]*",?//g' <<<"$line" | cut -c1-500)
      printf '\033[1m%-18s\033[0m %s\n\n' "$type" "$short"
    done < <(awk 'match($0, /"ecs-event-type":"[a-z]+"/) { t = substr($0, RSTART, RLENGTH); if (!(t in seen)) { seen[t] = 1; print } }' "$file")
  done
  if [ -z "$told" ] && [ "$(wc -w <<<"$shown")" -ge 13 ]; then
    told=1
    cat <<TXT
All 13 types are there. While it runs:
  curl -s localhost:${DEMO_PORT:-5066}/health     how it is
  curl -s localhost:${DEMO_PORT:-5066}/commands   every command of every VDC
  curl -s localhost:${DEMO_PORT:-5066}/metrics    for Prometheus
  $dir/events    the events, one JSON document a line
Ctrl-C ends it.
TXT
  fi
  sleep 0.5
done
[ -n "$told" ] || { echo "not all types arrived: $shown" >&2; cat "$dir/ecsbeat.log" >&2; exit 1; }
