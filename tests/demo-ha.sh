#!/usr/bin/env bash
# High availability on one machine: a real etcd, three replicas with one configuration, and the simulator. Shows who
# leads, kills the leader every 20 s, and holds what arrived against what happened: no audit event missing, none
# twice. Leaves no process and no file behind. DEMO_SECONDS ends it by itself; DEMO_PORT is the first of three ports.
set -euo pipefail

bin=${1:-target/release}
etcd=${ETCD_BIN:-$(ls -r target/etcd/3.5/usr/bin/etcd target/etcd/3.4/usr/bin/etcd 2>/dev/null | head -1)}
[ -x "$etcd" ] || { echo "no etcd to run: make tools unpacks one, or set ETCD_BIN" >&2; exit 1; }
port=${DEMO_PORT:-5066}
nodes=(node-a node-b node-c)
dir=$(mktemp -d)
declare -A pids
stop() {
  trap - EXIT INT TERM
  # The replicas first: they give their lease back and log out of the simulator.
  for name in "${nodes[@]}" sim bulk etcd; do
    [ -n "${pids[$name]:-}" ] || continue
    kill -TERM "${pids[$name]}" 2>/dev/null || true
    case $name in node-*) ;; *) wait "${pids[$name]}" 2>/dev/null || true ;; esac
    [ "$name" != node-c ] || for node in "${nodes[@]}"; do wait "${pids[$node]}" 2>/dev/null || true; done
  done
  rm -rf "$dir"
  exit "${1:-0}"
}
trap 'stop 0' INT TERM
trap 'stop $?' EXIT

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }
fail() { echo "$*" >&2; tail -n 15 "$dir"/*.log >&2; exit 1; }
wait_for() { # what, seconds, command
  local what=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "$what does not come"
    sleep 0.1
  done
}
millis() { local now=${EPOCHREALTIME/[.,]/}; echo $((now / 1000)); }

# Ports nobody else is likely to have; the rest of the addresses are chosen by the kernel.
client=$((port + 1000)) peer=$((port + 1001))
"$etcd" --name demo --data-dir "$dir/etcd" --log-level error \
  --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
  --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
  --initial-cluster "demo=http://127.0.0.1:$peer" \
  --auto-compaction-mode periodic --auto-compaction-retention 1h >"$dir/etcd.log" 2>&1 &
pids[etcd]=$!
"$bin/ecs-sim" --ca-file "$dir/ca.pem" --events 60 --alerts 10 --control 127.0.0.1:0 >"$dir/sim.log" 2>&1 &
pids[sim]=$!
"$bin/ecs-sim" bulk --listen 127.0.0.1:0 >"$dir/bulk.log" 2>&1 &
pids[bulk]=$!
wait_for etcd 20 curl -fs "http://127.0.0.1:$client/health"
wait_for "the simulator" 20 grep -q 'control API' "$dir/sim.log"
wait_for "the receiver" 20 grep -q 'http://' "$dir/bulk.log"
control=$(grep -oE 'http://[0-9.:]+' "$dir/sim.log" | head -1)
bulk=$(grep -oE 'http://[0-9.:]+' "$dir/bulk.log" | head -1)

cat >"$dir/ecsbeat.yml" <<YML
ecsbeat:
  period: 2s
  start_jitter: 0s
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
    - {type: auditevent, uri: /vdc/events.json, level: vdc, interval: 2s, window: {step: 2s, lag: 2s, overlap: 65s, format: rfc3339}}
    - {type: nodes, uri: "/dashboard/zones/localzone/nodes?dataType=current", level: vdc}
output.elasticsearch: {hosts: ["$bulk"]}
queue.mem.flush.timeout: 200ms
ha:
  cluster: demo
  instance: \${INSTANCE}
  ttl: 5s
  loop_wait: 1s
  retry_timeout: 1s
  drain_timeout: 2s
  etcd.hosts: ["127.0.0.1:$client"]
http: {enabled: true, host: 127.0.0.1}
logging: {level: warning, format: text}
YML

start() { # index
  local name=${nodes[$1]}
  INSTANCE=$name "$bin/ecsbeat" -c "$dir/ecsbeat.yml" -E "http.port=$((port + $1))" -E "path.data=$dir/$name" -e \
    2>>"$dir/$name.log" &
  pids[$name]=$!
}
leader() { # prints the index of the replica that leads
  local i
  for i in 0 1 2; do
    curl -fs -m 1 -o /dev/null "http://127.0.0.1:$((port + i))/leader" && echo "$i" && return
  done
  return 1
}
term() { curl -fs -m 1 "http://127.0.0.1:$((port + $1))/leader" | grep -oE '"term":[0-9]+' | cut -d: -f2; }
table() {
  local i
  for i in 0 1 2; do
    local body
    body=$(curl -s -m 1 "http://127.0.0.1:$((port + i))/health" || true)
    printf '          %s  http://127.0.0.1:%s  %s\n' "${nodes[$i]}" "$((port + i))" \
      "$(grep -oE '"state":"[a-z]+"' <<<"$body" | cut -d'"' -f4 || true)"
  done
}
# Audit events that happened in the simulator until 12 s ago against those that the receiver has. Where the machine
# itself stood still for a while they are given some more time.
compare() {
  local until=$(($(date +%s) - 12)) patience=$((SECONDS + 20)) missing doubles
  [ "$until" -gt "$since" ] || return 0
  while :; do
    curl -fs "$control/truth?from=$since&to=$until" | grep -oE 'urn:storageos:Event:[0-9a-f-]+' | sort -u >"$dir/happened"
    curl -fs "$bulk/_recorded?limit=1000000" | grep -oE '"id":"urn:storageos:Event:[0-9a-f-]+' | cut -d'"' -f4 \
      | sort >"$dir/arrived.all"
    sort -u "$dir/arrived.all" >"$dir/arrived"
    missing=$(comm -23 "$dir/happened" "$dir/arrived" | wc -l)
    doubles=$(uniq -d "$dir/arrived.all" | wc -l)
    [ "$missing" -gt 0 ] && [ $SECONDS -lt $patience ] || break
    sleep 1
  done
  say "audit events: $(wc -l <"$dir/happened") happened, $missing missing, $doubles stored twice"
  [ "$missing" -eq 0 ] && [ "$doubles" -eq 0 ] || fail "the sequence of audit events is broken"
}

for i in 0 1 2; do start $i; done
wait_for "a leader" 20 leader
since=$(($(date +%s) + 1))
led=$(leader)
say "${nodes[$led]} leads (term $(term "$led")); the others stand by:"
table
cat <<TXT

While it runs:
  curl -s '127.0.0.1:$port/cluster?pretty'   the replicas, as any of them sees them
  curl -s '127.0.0.1:$port/history?pretty'   who led when, and why that ended
Every 20 s the leader is killed (SIGKILL, as if its host had died). Its lease of 5 s has to run out first.

TXT
end=$((SECONDS + ${DEMO_SECONDS:-1000000}))
while [ $SECONDS -lt "$end" ]; do
  sleep $((end - SECONDS < 14 ? end - SECONDS : 14))
  [ $SECONDS -lt "$end" ] || break
  led=$(leader) || fail "nobody leads"
  old=$(term "$led")
  say "kill -9 ${nodes[$led]}, the leader of term $old"
  began=$(millis)
  kill -KILL "${pids[${nodes[$led]}]}"
  wait "${pids[${nodes[$led]}]}" 2>/dev/null || true
  # Another host would not know its lease.
  rm -f "$dir/${nodes[$led]}/lease.json"
  wait_for "a new leader" 20 leader
  next=$(leader)
  say "${nodes[$next]} leads (term $(term "$next")) after $(($(millis) - began)) ms"
  start "$led"
  sleep 6
  compare
done
compare
