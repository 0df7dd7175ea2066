#!/usr/bin/env bash
# Runs the official CloudEvents SDKs of Python and JavaScript against a bus, both ways.
#
# Usage: .ci/interop/run.sh [PATH_OF_THE_EVENTYARD_BINARY]
# Needs python3 with venv, node, npm and curl; installs the SDKs into a folder of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=${1:-${EVENTYARD_BINARY:-}}
if [[ -z $binary ]]; then
  cargo build --quiet --manifest-path "$here/../../Cargo.toml"
  binary=${CARGO_TARGET_DIR:-$here/../../target}/debug/eventyard
fi
binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")

work=$(mktemp -d)
bus_pid=
cleanup() {
  if [[ -n $bus_pid ]]; then
    kill "$bus_pid" 2>/dev/null || true
    wait "$bus_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'cloudevents>=2.2,<3'
(cd "$work" && npm install --silent --no-audit --no-fund --ignore-scripts 'cloudevents@^10.0.0' >/dev/null)
cp "$here/node_sdk.mjs" "$here/python_sdk.py" "$work/"

read -r bus_port python_port node_port < <(python3 - <<'PORTS'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in sockets))
PORTS
)

# rule NAME PORT MODE: events of /NAME/... to http://127.0.0.1:PORT/MODE
rule() {
  cat > "$work/rules/default/$1-$3.json" <<RULE
{
  "description": "Events of the $1 SDK come back to it in $3 mode",
  "pattern": { "source": [{ "prefix": "/$1/" }] },
  "targets": [{ "id": "$3", "url": "http://127.0.0.1:$2/$3", "mode": "$3" }]
}
RULE
}
mkdir -p "$work/rules/default"
for mode in binary structured; do
  rule python "$python_port" "$mode"
done
for mode in binary structured batch; do
  rule node "$node_port" "$mode"
done

bus=http://127.0.0.1:$bus_port
(cd "$work" && exec "$binary" serve --listen "127.0.0.1:$bus_port" \
  --data-dir "$work/data" --rules-dir "$work/rules") > "$work/bus.log" 2>&1 &
bus_pid=$!
for _ in $(seq 300); do
  if curl --silent --fail --output /dev/null "$bus/readyz"; then break; fi
  if ! kill -0 "$bus_pid" 2>/dev/null; then break; fi
  sleep 0.1
done
if ! curl --silent --fail --output /dev/null "$bus/readyz"; then
  echo "the bus does not answer:"
  cat "$work/bus.log"
  echo "interop: 0 passed, 1 failed"
  exit 1
fi

status=0
"$work/venv/bin/python" "$work/python_sdk.py" "$bus" "$python_port" > "$work/python.out" 2>&1 || status=1
(cd "$work" && node node_sdk.mjs "$bus" "$node_port") > "$work/node.out" 2>&1 || status=1
cat "$work/python.out" "$work/node.out"
if [[ $status -ne 0 ]]; then
  echo "the last lines of the bus's log:"
  tail -n 20 "$work/bus.log"
fi

# The sum of both, in a line of its own; an SDK whose script broke off counts as one failure.
total() {
  local sum=0 out count
  for out in "$work/python.out" "$work/node.out"; do
    count=$(sed -nE "s/^[a-z]+: ([0-9]+) passed, ([0-9]+) failed$/\\$1/p" "$out" | tail -n 1)
    if [[ -z $count ]]; then count=$(($1 - 1)); fi
    sum=$((sum + count))
  done
  echo "$sum"
}
echo "$(total 1) passed, $(total 2) failed"
exit "$status"
