#!/usr/bin/env bash
# Signed deliveries, verified by the Standard Webhooks libraries of Python and JavaScript, before
# and after a key is changed.
#
# Usage: .ci/interop/signed.sh PATH_OF_THE_EVENTYARD_BINARY
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../bus.sh
. "$here/../bus.sh"
the_binary "${1:-}"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'standardwebhooks==1.1.0' 'PyNaCl>=1.5,<2'
(cd "$work" && npm install --silent --no-audit --no-fund --ignore-scripts 'standardwebhooks@^1.1.1' > /dev/null)
cp "$here"/signed.py "$here"/signed.mjs "$work/"

read -r bus_port python_port node_port < <(free_ports 3)
start_bus "$bus_port"
export EVENTYARD_URL=$bus

old=$("$binary" secret generate receivers-key)
public=$("$binary" secret generate receivers-pair --ed25519)
for receiver in python:$python_port node:$node_port; do
  cat > "$work/${receiver%%:*}.json" << RULE
{"pattern": {"type": ["signed"]}, "targets": [{"id": "t", "url": "http://127.0.0.1:${receiver##*:}/",
 "signing": {"secrets": ["receivers-key", "receivers-pair"]},
 "retry": {"initial_delay": "100ms", "max_delay": "200ms", "max_attempts": 100}}]}
RULE
  "$binary" rule apply --bus default "$work/${receiver%%:*}.json" > /dev/null
done

status=0
# round KEY: both receivers verify two events with this key.
round() {
  "$work/venv/bin/python" "$work/signed.py" "$python_port" 2 "$1" "$public" & local python=$!
  (cd "$work" && exec node signed.mjs "$node_port" 2 "$1" "$public") & local node=$!
  "$binary" send --type signed --data '{"greeting": "Grüße 🚚", "n": 1.50}' > /dev/null
  "$binary" send --type signed --data 'plain text' --datacontenttype text/plain > /dev/null
  wait "$python" || status=1
  wait "$node" || status=1
}
round "$old"
new=$("$binary" secret generate receivers-key 2> /dev/null)
round "$old"
round "$new"
if grep -qF -e "${old#whsec_}" -e "${new#whsec_}" "$work/bus.log" "$work/data/secrets.json"; then
  echo "a key shows in the log or on disk"
  status=1
fi
if ((status)); then tail -n 20 "$work/bus.log"; fi
exit "$status"
