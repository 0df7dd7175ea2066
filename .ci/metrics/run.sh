#!/usr/bin/env bash
# A bus that has something to tell shows metrics that Prometheus' own linter has nothing against.
#
# Usage: .ci/metrics/run.sh [PATH_OF_THE_EVENTYARD_BINARY]
# Needs Go, curl and python3; fetches the linter.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v go > /dev/null; then
  echo "left out: there is no Go to build the linter with (tests/it/exposition.rs has its main rules)"
  exit
fi
# shellcheck source=../bus.sh
. "$here/../bus.sh"
the_binary "${1:-}"

if ! (cd "$here" && go build -o "$work/lint" .); then
  echo "left out: the linter cannot be had here"
  exit
fi
# It finds what there is to find.
if printf '# TYPE bad counter\nbad 1\n' | "$work/lint" > /dev/null; then
  echo "the linter is content with anything"
  exit 1
fi

start_bus "$(free_ports 1)"
export EVENTYARD_URL=$bus
curl --silent --show-error --fail --output /dev/null -X PUT "$bus/v1/buses/default/rules/nobody" \
  -d '{"pattern": {"type": ["t"]}, "targets": [{"id": "t", "url": "http://127.0.0.1:9/", "retry": {"max_attempts": 1}}]}'
"$binary" send --type t --data '{}' > /dev/null
for _ in $(seq 300); do
  curl --silent --fail "$bus/v1/buses/default/dead-letters" | grep -q '"reason":"attempts_exhausted"' && break
  sleep 0.1
done
curl --silent --show-error --fail "$bus/metrics" > "$work/metrics"
"$work/lint" < "$work/metrics"
echo "$(grep -c '^# TYPE' "$work/metrics") metrics are well-formed"
