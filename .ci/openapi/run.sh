#!/usr/bin/env bash
# Asks a bus everything that its description allows, and much that it does not: no answer may be a
# failure of the bus's own, or one that the description does not know.
#
# Usage: .ci/openapi/run.sh [PATH_OF_THE_EVENTYARD_BINARY] [SECONDS] [SEED]
# The seed is the same every time unless another is given: a commit is not refused for luck.
# Needs python3 with venv and curl; installs schemathesis into a folder of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../bus.sh
. "$here/../bus.sh"
the_binary "${1:-}"
seconds=${2:-120}
seed=${3:-20261127}

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'schemathesis>=4.32,<5'

# Callers need keys, so that it shows when one is let in without.
EVENTYARD_ROOT_KEY=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export EVENTYARD_ROOT_KEY
mkdir "$work/rules"
# What a made-up rule may reach: this machine only, where nobody answers.
elsewhere=0.0.0.0/2,64.0.0.0/3,96.0.0.0/4,112.0.0.0/5,120.0.0.0/6,124.0.0.0/7,126.0.0.0/8,128.0.0.0/1,::/0
start_bus "$(free_ports 1)" --access keys --targets-deny "$elsewhere" --rules-dir "$work/rules"

# ask PATH ARGUMENTS...
ask() {
  local path=$1
  shift
  curl --silent --show-error --fail -H "authorization: Bearer $EVENTYARD_ROOT_KEY" "$bus$path" "$@"
}

# What the examples name: a rule with a target, events, dead letters.
ask /v1/buses/default/rules/large-orders --output /dev/null -X PUT \
  -d '{"pattern": {"source": ["/example/shop"]}, "targets": [{"id": "billing", "url": "http://127.0.0.1:9/", "retry": {"max_attempts": 1}}]}'
for number in $(seq 20); do
  ask / --output /dev/null -H 'content-type: application/cloudevents+json' \
    -d "{\"specversion\": \"1.0\", \"id\": \"$number\", \"source\": \"/example/shop\", \"type\": \"com.example.order.placed\"}"
done
for _ in $(seq 300); do
  ask /v1/buses/default/dead-letters | grep -q '"reason":"attempts_exhausted"' && break
  sleep 0.1
done

code=0
# What is the same every time, and what the seed draws: each has half of the time, however slow the
# machine is.
for phases in examples,coverage fuzzing,stateful; do
  (cd "$work" && timeout $((seconds / 2 + 60)) venv/bin/schemathesis --config-file "$here/schemathesis.toml" \
    --no-color run "$bus/openapi.json" --phases "$phases" --max-time $((seconds / 2)) --seed "$seed" --no-shrink) ||
    code=$?
done
if ! curl --silent --fail --output /dev/null "$bus/readyz"; then
  echo "the bus is not ready any more"
  code=1
fi
if grep -E ' ERROR |panicked' "$work/bus.log"; then
  echo "the bus has logged errors"
  code=1
fi
exit "$code"
