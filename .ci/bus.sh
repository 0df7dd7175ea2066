# What the scripts share that ask a bus something: a folder, free ports, a bus, and an end that leaves
# nothing running. Sourced, not run.

ci=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
pids=()
cleanup() {
  local pid
  for pid in "${pids[@]}"; do
    kill "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT

# the_binary [PATH]: sets `binary` to it, or to the debug build, which it makes.
the_binary() {
  binary=${1:-${EVENTYARD_BINARY:-}}
  if [[ -z $binary ]]; then
    cargo build --quiet --manifest-path "$ci/../Cargo.toml"
    binary=${CARGO_TARGET_DIR:-$ci/../target}/debug/eventyard
  fi
  binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
}

# free_ports COUNT: prints so many.
free_ports() {
  python3 - "$1" << 'PORTS'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(each.getsockname()[1] for each in sockets))
PORTS
}

# start_bus PORT ARGUMENTS...: a bus with its data in `work`, its log in `work/bus.log` and its address
# in `bus`; back once it is ready.
start_bus() {
  local port=$1
  shift
  bus=http://127.0.0.1:$port
  (cd "$work" && exec "$binary" serve --listen "127.0.0.1:$port" --data-dir "$work/data" "$@") \
    > "$work/bus.log" 2>&1 &
  local pid=$!
  pids+=("$pid")
  for _ in $(seq 300); do
    if curl --silent --fail --output /dev/null "$bus/readyz"; then return; fi
    if ! kill -0 "$pid" 2> /dev/null; then break; fi
    sleep 0.1
  done
  echo "the bus does not answer:"
  cat "$work/bus.log"
  return 1
}
