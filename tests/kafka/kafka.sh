#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A real Apache Kafka for tests: one node, KRaft, plain text, nothing outside DIR.
# Further listeners, with TLS or SASL, by KAFKA_LISTENERS.
#
#   kafka.sh libs                            fetch the broker from Maven Central, once
#   kafka.sh start DIR [PORT] [NAME=VALUE...] make DIR, start, wait until it answers
#   kafka.sh stop DIR                        in order; SIGKILL after 30 s
#   kafka.sh kill DIR                        SIGKILL
#   kafka.sh restart DIR                     same ports, same data
#   kafka.sh pause DIR | resume DIR          SIGSTOP, SIGCONT
#   kafka.sh address DIR [LISTENER]          HOST:PORT; start and restart print it too
#   kafka.sh create-topic DIR NAME PARTITIONS [NAME=VALUE...]
#   kafka.sh delete-topic DIR NAME
#   kafka.sh alter-topic DIR NAME NAME=VALUE...
#   kafka.sh deny-topic DIR NAME USER write|all
#   kafka.sh allow-topic DIR NAME USER       takes back every deny
#   kafka.sh dump-log DIR TOPIC...           the batches in the log, by Kafka's own tool
#
# start takes free ports unless PORT is given (PORT + 1 is then the controller's);
# NAME=VALUE goes into server.properties. DIR/pid, DIR/address, DIR/broker.log.
# The broker lives on when this script ends: whoever starts it stops it.
#
# KAFKA_HOST            address to bind to (127.0.0.1), for network namespaces
# KAFKA_LISTENERS       more listeners: "NAME:PROTOCOL[:HOST]...", on PORT + 2, PORT + 3, ...
# KAFKA_JOIN            start as the second broker of the cluster whose first is in this DIR
# KAFKA_FORMAT          more arguments for the formatting of the storage, a line each
# KAFKA_VERSION         4.1.1
# KAFKA_JVM             options of the Java machine
# KAFKA_START_S         how long it may take to start (120)
# KAFKA_ADMIN           the program behind the topic commands
# TIDEGATE_KAFKA_LIBS   where the jars are kept
#
# Exit status: 0 done, 1 it failed, 2 usage, 77 a program is missing (test: skip).
set -u

VERSION=${KAFKA_VERSION:-4.1.1}
HERE=$(cd "$(dirname "$0")" && pwd)
LIBS=${TIDEGATE_KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/kafka-$VERSION}
HOST=${KAFKA_HOST:-127.0.0.1}
read -ra LISTENERS <<<"${KAFKA_LISTENERS:-}"
JVM=${KAFKA_JVM:--Xms128m -Xmx512m -XX:+UseSerialGC}
START_S=${KAFKA_START_S:-120}

# shellcheck source=../lib/jars.sh
. "$HERE/../lib/jars.sh"

fail() {
	echo "kafka.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '6,19s/^# *//p' "$0" >&2
	exit 2
}

need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null && continue
		echo "kafka.sh: $program is missing" >&2
		exit 77
	done
}

fetch_libs() {
	fetch_jars "$HERE/pom.xml" "$LIBS" -Dkafka.version="$VERSION" && return 0
	[ $? -ne 77 ] || exit 77
	fail "cannot fetch Apache Kafka $VERSION"
}

# The pid counts only while it is still this broker (a zombie has no command line).
is_running() {
	local pid
	pid=$(cat "$1/pid" 2>/dev/null) || return 1
	tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$1/server.properties"
}

is_taken() {
	(exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null
}

# Below the range that the kernel gives to outgoing connections.
pick_port() {
	local port offset
	for _ in $(seq 200); do
		port=$((20000 + RANDOM % 12000))
		for ((offset = 0; offset < 2 + ${#LISTENERS[@]}; offset++)); do
			is_taken $((port + offset)) && continue 2
		done
		echo "$port"
		return 0
	done
	return 1
}

write_properties() {
	local dir=$1 port=$2 i name protocol host more='' protocols=''
	local roles=broker,controller node=1 voters=1@$HOST:$((port + 1))
	local controller=,CONTROLLER://$HOST:$((port + 1))
	shift 2
	if [ -n "${KAFKA_JOIN:-}" ]; then
		roles=broker node=2 controller=
		voters=$(sed -n 's/^controller.quorum.voters=//p' "$KAFKA_JOIN/server.properties")
	fi
	for ((i = 0; i < ${#LISTENERS[@]}; i++)); do
		IFS=: read -r name protocol host <<<"${LISTENERS[i]}"
		more+=,$name://${host:-$HOST}:$((port + 2 + i))
		protocols+=,$name:$protocol
		echo "${host:-$HOST}:$((port + 2 + i))" >"$dir/address.$name"
	done
	cat >"$dir/server.properties" <<-END
		process.roles=$roles
		node.id=$node
		controller.quorum.voters=$voters
		listeners=PLAINTEXT://$HOST:$port$controller$more
		advertised.listeners=PLAINTEXT://$HOST:$port$more
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
		controller.listener.names=CONTROLLER
		inter.broker.listener.name=PLAINTEXT
		log.dirs=$dir/data
		auto.create.topics.enable=false
		offsets.topic.num.partitions=1
		offsets.topic.replication.factor=1
		transaction.state.log.num.partitions=1
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.num.partitions=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		group.initial.rebalance.delay.ms=0
		log.cleaner.dedupe.buffer.size=16777216
		broker.session.timeout.ms=4000
		broker.heartbeat.interval.ms=1000
		num.network.threads=2
		num.io.threads=2
	END
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$dir/server.properties"
	echo "$HOST:$port" >"$dir/address"
}

format() {
	local dir=$1 id more=()
	[ -e "$dir/data/meta.properties" ] && return 0
	[ -z "${KAFKA_FORMAT:-}" ] || mapfile -t more <<<"$KAFKA_FORMAT"
	if [ -n "${KAFKA_JOIN:-}" ]; then
		id=$(sed -n 's/^cluster.id=//p' "$KAFKA_JOIN/data/meta.properties")
	else
		id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | cut -c -22)
	fi
	timeout 60 java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$LIBS/*" \
		kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" "${more[@]}" \
		>"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; return 1; }
}

# 0: it answers; 2: it died; 3: it does not answer in time
run_broker() {
	local dir=$1 address deadline
	address=$(cat "$dir/address")
	: >"$dir/start.log"
	# shellcheck disable=SC2086
	setsid java $JVM -Dlog4j2.configurationFile="$HERE/log4j2.xml" -cp "$LIBS/*" \
		kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/broker.log" 2>&1 9>&- &
	echo $! >"$dir/pid"
	deadline=$((SECONDS + START_S))
	# Until execve() it is not yet java.
	while ! is_running "$dir" && kill -0 "$!" 2>/dev/null && [ $SECONDS -lt $deadline ]; do
		sleep 0.05
	done
	while is_running "$dir"; do
		timeout 3 kcat -b "$address" -L -m 2 >/dev/null 2>>"$dir/start.log" && return 0
		[ $SECONDS -lt $deadline ] || { stop_broker "$dir" KILL; return 3; }
		sleep 0.1
	done
	return 2
}

signal_broker() {
	is_running "$1" || fail "no broker runs in $1"
	kill -s "$2" "$(cat "$1/pid")"
}

stop_broker() {
	local dir=$1 signal=$2 pid deadline
	is_running "$dir" || return 0
	pid=$(cat "$dir/pid")
	kill -s "$signal" "$pid"
	[ "$signal" = TERM ] && kill -s CONT "$pid"
	deadline=$((SECONDS + 30))
	while is_running "$dir"; do
		if [ $SECONDS -ge $deadline ]; then
			kill -s KILL "$pid"
			deadline=$((SECONDS + 30))
		fi
		sleep 0.05
	done
	return 0
}

start() {
	local dir=$1 port='' wanted='' rc try
	shift
	case ${1-} in
	'' | *=*) ;;
	*)
		wanted=$1
		shift
		;;
	esac
	need java kcat setsid timeout flock
	fetch_libs
	mkdir -p "$dir" || exit 1
	dir=$(cd "$dir" && pwd) || exit 1
	[ -e "$dir/server.properties" ] && fail "$dir is in use: restart, or another directory"
	for try in 1 2 3 4 5; do
		port=${wanted:-$(pick_port)} || fail "no free port"
		write_properties "$dir" "$port" "$@"
		format "$dir" || exit 1
		run_broker "$dir"
		rc=$?
		[ $rc -eq 0 ] && break
		# Somebody else was faster with the port: take another one.
		if [ $rc -ne 2 ] || [ -n "$wanted" ] || [ "$try" -eq 5 ] ||
			! grep -q 'Address already in use' "$dir/broker.log"; then
			tail -n 20 "$dir/broker.log" >&2
			fail "the broker does not start ($dir)"
		fi
		rm -rf "$dir/data" "$dir/broker.log"
	done
	cat "$dir/address"
}

restart() {
	local dir=$1
	need java kcat setsid timeout
	stop_broker "$dir" TERM
	run_broker "$dir" || { tail -n 20 "$dir/broker.log" >&2; fail "the broker does not start again ($dir)"; }
	cat "$dir/address"
}

admin() {
	local program=${KAFKA_ADMIN:-${TOP_BUILDDIR:-.}/tests/lib/kafka_admin}
	[ -x "$program" ] || fail "$program is not there: make tests/lib/kafka_admin"
	timeout 90 "$program" "$@"
}

dump_log() {
	local dir=$1 topic files=''
	shift
	for topic in "$@"; do
		files+=$(printf '%s,' "$dir/data/$topic"-*/*.log)
	done
	timeout 60 java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
		-Dlog4j2.configurationFile="$HERE/log4j2.xml" -cp "$LIBS/*" \
		kafka.tools.DumpLogSegments --files "${files%,}"
}

[ $# -ge 1 ] || usage
command=$1
shift
if [ "$command" = libs ]; then
	fetch_libs
	exit 0
fi
[ $# -ge 1 ] || usage
if [ "$command" = start ]; then
	start "$@"
	exit 0
fi
dir=$(cd "$1" 2>/dev/null && pwd) || fail "$1: no such directory"
[ -e "$dir/address" ] || fail "$dir: no broker was started there"
shift
case $command in
stop) stop_broker "$dir" TERM ;;
kill) stop_broker "$dir" KILL ;;
restart) restart "$dir" ;;
pause) signal_broker "$dir" STOP ;;
resume) signal_broker "$dir" CONT ;;
address) cat "$dir/address${1:+.$1}" ;;
create-topic) [ $# -ge 2 ] || usage; admin "$(cat "$dir/address")" create "$@" ;;
delete-topic) [ $# -eq 1 ] || usage; admin "$(cat "$dir/address")" delete "$@" ;;
alter-topic) [ $# -ge 2 ] || usage; admin "$(cat "$dir/address")" alter "$@" ;;
deny-topic) [ $# -eq 3 ] || usage; admin "$(cat "$dir/address")" deny "$@" ;;
allow-topic) [ $# -eq 2 ] || usage; admin "$(cat "$dir/address")" allow "$@" ;;
dump-log) [ $# -ge 1 ] || usage; dump_log "$dir" "$@" ;;
*) usage ;;
esac
