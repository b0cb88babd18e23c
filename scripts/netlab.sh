#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a program under mpirun across "hosts" that are network namespaces of this machine, joined by a
# bridge, with shaped links:
#
#   scripts/netlab.sh --hosts 2 --per-host 2 --rate 1gbit build/release/benchmarks/step_bench
#   scripts/netlab.sh --hosts 4 --delay 100us PROGRAM     # where the kernel has netem
#
# Prints the goodput and the round trip that it measured between the first two hosts, then runs the
# program with one or more ranks on each. The bridge and the hosts' names are in namespaces of their
# own, so they end with the last process, however it ends, and several labs can run at once. Exits
# with 77 where namespaces cannot be made.
set -eu

name=ringlab
network=10.177.0
hosts=2
per_host=1
rate=
delay=

fail() {
  echo "netlab.sh: $*" >&2
  exit 1
}

# Called by mpirun instead of a remote shell: agent ADDRESS COMMAND...
if [ "${1:-}" = agent ]; then
  number=${2##*.}
  shift 2
  folder=$RINGLEADER_TEST_NETLAB/$name$number
  mkdir -p "$folder"
  exec ip netns exec "$name$number" unshare --uts sh -c "hostname $name$number
    TMPDIR=$folder; export TMPDIR; $*"
fi

if [ "${1:-}" = inside ]; then
  shift
else
  can_run() {
    [ "$(id -u)" -eq 0 ] && command -v ip >/dev/null && command -v tc >/dev/null &&
      mkdir -p /run/netns && unshare --net --mount mount -t tmpfs netlab /run/netns 2>/dev/null
  }
  if ! can_run; then
    echo "netlab.sh: network namespaces cannot be made here; they need root and Debian's iproute2" >&2
    exit 77
  fi
  exec unshare --net --mount "$0" inside "$@"
fi

while [ $# -gt 0 ]; do
  case $1 in
    --hosts) hosts=$2; shift 2 ;;
    --per-host) per_host=$2; shift 2 ;;
    --rate) rate=$2; shift 2 ;;
    --delay) delay=$2; shift 2 ;;
    -*) fail "unknown option $1" ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || fail "which program?"

mount -t tmpfs netlab /run/netns
RINGLEADER_TEST_NETLAB=$(mktemp -d)
export RINGLEADER_TEST_NETLAB
trap 'rm -rf "$RINGLEADER_TEST_NETLAB"' EXIT
trap 'exit 1' INT TERM
hostfile=$RINGLEADER_TEST_NETLAB/hosts

shape() { # DEVICE [PREFIX...]: limits what the device sends
  device=$1
  shift
  [ -z "$rate" ] || "$@" tc qdisc add dev "$device" root handle 1: tbf rate "$rate" burst 128k \
    latency 50ms
}

delay_by() { # DEVICE [PREFIX...]
  device=$1
  shift
  parent="root"
  [ -z "$rate" ] || parent="parent 1:"
  # shellcheck disable=SC2086
  "$@" tc qdisc add dev "$device" $parent netem delay "$delay" 2>/dev/null ||
    fail "this kernel has no netem, so --delay cannot be had"
}

ip link set lo up
ip link add "$name" type bridge
ip addr add "$network.254/24" dev "$name"
ip link set "$name" up
for i in $(seq 1 "$hosts"); do
  host=$name$i
  ip netns add "$host"
  ip link add "v$host" type veth peer name eth0 netns "$host"
  ip link set "v$host" master "$name"
  ip link set "v$host" up
  ip -n "$host" addr add "$network.$i/24" dev eth0
  ip -n "$host" link set eth0 up
  ip -n "$host" link set lo up
  # What is installed for the machine may need more than a namespace may ask for.
  ip netns exec "$host" sysctl -qw net.ipv4.tcp_congestion_control=reno 2>/dev/null || true
  shape "v$host"
  shape eth0 ip netns exec "$host"
  [ -z "$delay" ] || delay_by eth0 ip netns exec "$host"
  echo "$network.$i slots=$per_host" >>"$hostfile"
done

measure() { # server and client in the first two hosts
  ip netns exec "${name}1" python3 -c "
import socket
listener = socket.create_server(('$network.1', 7177))
connection = listener.accept()[0]
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range(200): connection.sendall(connection.recv(1))
while connection.recv(1 << 20): pass
" &
  server=$!
  ip netns exec "${name}2" python3 -c "
import socket, statistics, time
for attempt in range(100):
    try:
        connection = socket.create_connection(('$network.1', 7177))
        break
    except OSError:
        time.sleep(0.05)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
trips = []
for _ in range(200):
    start = time.perf_counter()
    connection.sendall(b'x')
    connection.recv(1)
    trips.append(time.perf_counter() - start)
block, sent, start = bytes(1 << 20), 0, time.perf_counter()
while time.perf_counter() - start < 1.5:
    connection.sendall(block)
    sent += len(block)
rate = sent / (time.perf_counter() - start)
print(f'# $hosts hosts: goodput {rate * 8 / 1e6:.0f} Mbit/s, round trip {statistics.median(trips) * 1e6:.0f} us')
"
  wait "$server"
}
if [ "$hosts" -gt 1 ]; then measure; fi

if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
mpirun=$(command -v mpirun.openmpi || command -v mpirun)
"$mpirun" --mca plm_rsh_agent "$(realpath "$0") agent" --mca plm_rsh_no_tree_spawn 1 \
  --mca oob_tcp_if_include "$network.0/24" --mca pml ob1 --mca btl self,vader,tcp \
  --mca btl_tcp_if_include "$network.0/24" --mca mpi_yield_when_idle 1 --bind-to none \
  --hostfile "$hostfile" -np $((hosts * per_host)) "$@"
