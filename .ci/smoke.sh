#!/usr/bin/env bash
# Runs the README's first command as a reader would: on a clone, in an empty folder.
#
# Usage: .ci/smoke.sh FOLDER     (an empty folder for the clone; its path decides what cargo rebuilds)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clone=$1
out=$(mktemp)
pid=
cleanup() {
  if [[ -n $pid ]]; then
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$out" "$clone"
}
trap cleanup EXIT

fail() {
  echo "smoke: $1"
  cat "$out"
  exit 1
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds, or the bus is gone.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    if ! kill -0 "$pid" 2>/dev/null; then fail "it ended before $what"; fi
    if ((SECONDS >= deadline)); then fail "$what did not happen"; fi
    sleep 0.2
  done
}

# What git knows of the work tree as it stands, which in CI is the submitted commit.
rm -rf "$clone"
mkdir -p "$clone"
(cd "$root" && git ls-files -z | xargs -0 cp --parents --target-directory "$clone")
cd "$clone"

# Built before, so that the wait below measures the program and not the compiler.
cargo build --quiet --release
# cargo becomes the program: signals reach it.
cargo run --quiet --release -- quickstart > "$out" 2>&1 < /dev/null &
pid=$!

wait_for 60 "saying where the bus is" grep -qE 'bus +http://127\.0\.0\.1:[0-9]+' "$out"
bus=$(grep -oE 'bus +http://127\.0\.0\.1:[0-9]+' "$out" | head -n 1 | sed -E 's/^bus +//')
wait_for 60 "being ready" curl --silent --fail --output /dev/null "$bus/readyz"
wait_for 60 "showing a delivery" grep -q 'delivered' "$out"
wait_for 60 "inviting the reader" grep -q 'stays up' "$out"

order="smoke-$RANDOM"
status=$(curl --silent --output /dev/null --write-out '%{http_code}' "$bus/v1/buses/default/events" \
  -H 'ce-specversion: 1.0' -H 'ce-type: com.example.order.placed' -H 'ce-source: /smoke' \
  -H "ce-id: $order" -H 'content-type: application/json' \
  -d "{\"order\":\"$order\",\"total\":500}")
[[ $status == 202 ]] || fail "publishing was answered with $status"
# Once as the event that came in, and once as the body that a target got.
delivered() { sed -n "/delivered/,\$p" "$out" | grep -A 1 'delivered' | grep -q "$order"; }
wait_for 30 "delivering the reader's event" delivered

kill -INT "$pid"
code=0
wait "$pid" || code=$?
pid=
[[ $code -eq 0 ]] || fail "SIGINT ended it with exit code $code"
if curl --silent --output /dev/null "$bus/healthz"; then fail "something still answers at $bus"; fi
left=$(git -C "$root" ls-files | sort | comm -13 - <(find . -type f -printf '%P\n' | sort))
[[ -z $left ]] || fail "it left files behind: $left"
echo "smoke: quickstart shows, delivers and stops"
