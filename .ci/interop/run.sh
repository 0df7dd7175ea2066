#!/usr/bin/env bash
# Runs the official CloudEvents SDKs of Python and JavaScript against a bus, both ways.
#
# Usage: .ci/interop/run.sh [PATH_OF_THE_EVENTYARD_BINARY]
# Needs python3 with venv, node, npm and curl; installs the SDKs into a folder of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../bus.sh
. "$here/../bus.sh"
the_binary "${1:-}"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'cloudevents>=2.2,<3'
(cd "$work" && npm install --silent --no-audit --no-fund --ignore-scripts 'cloudevents@^10.0.0' >/dev/null)
cp "$here/node_sdk.mjs" "$here/python_sdk.py" "$work/"

read -r bus_port python_port node_port < <(free_ports 3)

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

start_bus "$bus_port" --rules-dir "$work/rules"

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
