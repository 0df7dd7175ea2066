#!/usr/bin/env bash
# A bus that has something to tell shows metrics that Prometheus' own linter has nothing against; its
# promtool takes the configuration and the alerts, and these fire when they should.
#
# Usage: .ci/metrics/run.sh [PATH_OF_THE_EVENTYARD_BINARY]
# Needs Go, curl and python3; fetches the linter. promtool is taken from the PATH; elsewhere it is built
# once and kept, which takes some minutes and 2 GB of sources.
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

promtool_version=v0.316.0
kept=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/eventyard-ci/promtool-$promtool_version
promtool=$(command -v promtool || true)
if [[ -z $promtool ]]; then
  promtool=$kept/promtool
  [[ -x $promtool ]] || GOBIN=$kept GOFLAGS=-mod=mod \
    go install "github.com/prometheus/prometheus/cmd/promtool@$promtool_version" ||
    promtool=
fi
if [[ -n $promtool ]]; then
  (
    cd "$here/../../docker/prometheus"
    "$promtool" check config prometheus.yaml
    "$promtool" test rules alerts_test.yaml
    # Each alert has a case in which it fires.
    for alert in $(sed -n 's/^ *- alert: //p' alerts.yaml); do
      grep -A1 "alertname: $alert\$" alerts_test.yaml | grep -q exp_alerts || {
        echo "no case of alerts_test.yaml fires $alert"
        exit 1
      }
    done
  )
else
  echo "left out: promtool is not here and cannot be built"
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
if [[ -n $promtool ]]; then "$promtool" check metrics < "$work/metrics"; fi
echo "$(grep -c '^# TYPE' "$work/metrics") metrics are well-formed"
