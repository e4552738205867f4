# shellcheck shell=bash
# Variables set for the tests, and functions that only wait_for calls:
# shellcheck disable=SC2034,SC2317
# SPDX-License-Identifier: Apache-2.0
#
# What the shell tests have in common; sourced, never run. A test that sources it has
#   - a private directory $WORK, removed at the end (kept with KEEP_WORK=1),
#   - helpers that start and stop mosquitto, the embedded Kafka and the gateway,
#   - TAP: check, ok, not_ok, skip, diag, and tap_done at the end.
#
# Only processes that were started here are ended, each by its pid. Everything waits for
# a condition with a time-out; nothing sleeps in place of one. Helpers that start or stop
# something return 1 and say why on failure; the test decides what that means.
#
# automake gives TOP_SRCDIR and TOP_BUILDDIR; a test run by hand from the top of a build
# tree finds them by itself.

set -u

TOP_SRCDIR=${TOP_SRCDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
TOP_BUILDDIR=${TOP_BUILDDIR:-$PWD}
export TOP_SRCDIR TOP_BUILDDIR
PATH=$PATH:/usr/sbin:/sbin

TESTLIB=$TOP_BUILDDIR/tests/lib

# ---- TAP ----

TAP_COUNT=0
TAP_FAILED=0

diag() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

# diag_file TITLE FILE [LINES]: the end of a log
diag_file() {
	[ -s "$2" ] || return 0
	diag "$1:"
	tail -n "${3:-15}" "$2" | tr -cd '\11\12\15\40-\176' | cut -c1-300 | sed 's/^/#   /'
}

ok() {
	TAP_COUNT=$((TAP_COUNT + 1))
	echo "ok $TAP_COUNT - $*"
}

not_ok() {
	TAP_COUNT=$((TAP_COUNT + 1))
	TAP_FAILED=$((TAP_FAILED + 1))
	echo "not ok $TAP_COUNT - $*"
}

# skip WHAT WHY: one test point that cannot run here
skip() {
	TAP_COUNT=$((TAP_COUNT + 1))
	echo "ok $TAP_COUNT - $1 # SKIP $2"
}

# skip_all WHY: nothing of this test can run here
skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

# check WHAT COMMAND...: ok if the command succeeds; what it printed otherwise
check() {
	local what=$1 out=$WORK/check.out rc
	shift
	# Not in a subshell: the command may be a function that sets variables.
	"$@" >"$out" 2>&1 </dev/null
	rc=$?
	if [ $rc -eq 0 ]; then
		ok "$what"
		grep '^# ' "$out"
	else
		not_ok "$what"
		diag "exit status $rc of: $*"
		tail -n 20 "$out" | sed 's/^\(# \)*/# /'
	fi
	return $rc
}

# bail WHY: no sense in going on
bail() {
	not_ok "$*"
	tap_done
}

# tap_plan N: say in front how many; otherwise tap_done says it at the end.
TAP_PLANNED=
tap_plan() {
	TAP_PLANNED=$1
	echo "1..$1"
}

tap_done() {
	# In a build with sanitizers a worker's end tells nobody but the log.
	if grep -qsE '(Address|Leak|Thread)Sanitizer|runtime error:' "$WORK"/*.log; then
		not_ok "no sanitizer has found anything"
		diag "$(grep -hE -A 12 '(Address|Leak|Thread)Sanitizer|runtime error:' \
			"$WORK"/*.log | head -n 30)"
	fi
	[ -n "$TAP_PLANNED" ] || echo "1..$TAP_COUNT"
	if [ "$TAP_FAILED" -gt 0 ] && [ -d "$WORK" ]; then
		local log
		for log in "$WORK"/*.log; do
			diag_file "$(basename "$log")" "$log"
		done
	fi
	[ "$TAP_FAILED" -eq 0 ]
	exit
}

# ---- tools ----

# need TOOL...: skip the whole test if one is missing
need() {
	local tool
	for tool in "$@"; do
		case $tool in
		*/*) [ -x "$tool" ] || skip_all "$tool is not there" ;;
		*) command -v "$tool" >/dev/null || skip_all "$tool is not installed" ;;
		esac
	done
}

# ---- time and processes ----

now_ms() {
	local t=${EPOCHREALTIME/[.,]/}
	echo $((t / 1000))
}

# wait_for SECONDS COMMAND...: until it succeeds; 1 when the time is up
wait_for() {
	local deadline=$(($(now_ms) + $1 * 1000))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

STARTED=()

# track PID: end it in cleanup
track() {
	STARTED+=("$1")
}

# is_gone PID: no such process, or nothing but its zombie
is_gone() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	stat=${stat##*) }
	[ "${stat%% *}" = Z ]
}

# end_pid PID [SECONDS]: SIGTERM, wait, SIGKILL. 1 if SIGKILL was needed.
end_pid() {
	is_gone "$1" && return 0
	# In this order: SIGCONT after it would undo the SIGSTOP by which the leak sanitizer
	# looks at a process that ends, and hang it.
	kill -CONT "$1" 2>/dev/null
	kill -TERM "$1" 2>/dev/null
	wait_for "${2:-10}" is_gone "$1" && return 0
	kill -KILL "$1" 2>/dev/null
	wait_for 5 is_gone "$1"
	return 1
}

cleanup() {
	local status=$? pid i
	trap - EXIT INT TERM HUP
	if [ -n "${GATEWAY_PID:-}" ]; then
		for pid in $(worker_pid ingest) $(worker_pid forward) $(worker_pid monitor); do
			track "$pid"
		done
	fi
	# The last started first: a gateway before its broker.
	for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do
		end_pid "${STARTED[i]}" 5
	done
	if declare -F test_cleanup >/dev/null; then
		test_cleanup
	fi
	exec
	if [ "${KEEP_WORK:-0}" = 1 ]; then
		diag "kept: $WORK"
	else
		rm -rf "$WORK"
	fi
	exit "$status"
}

WORK=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-test-XXXXXX") || exit 1
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# port_open PORT: does somebody listen on 127.0.0.1?
port_open() {
	(exec 7<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port: below the range that the kernel gives out. Whoever binds it must be ready to
# find it taken, and try another.
free_port() {
	local port
	while :; do
		port=$((RANDOM % 12000 + 20000))
		port_open "$port" || break
	done
	echo "$port"
}

# ---- mosquitto ----

BROKER_PORT=
BROKER_PID=

broker_conf() {
	mkdir -p "$WORK/mosquitto"
	cat >"$WORK/mosquitto.conf" <<-EOT
		listener $BROKER_PORT 127.0.0.1
		allow_anonymous true
		user $(id -un)
		persistence true
		persistence_location $WORK/mosquitto/
		max_queued_messages 0
		max_queued_bytes 0
		max_inflight_messages 1000
		set_tcp_nodelay true
		log_dest file $WORK/mosquitto.log
		log_type error
		log_type warning
		log_type notice
		log_type information
		log_type subscribe
		log_type unsubscribe
	EOT
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$WORK/mosquitto.conf"
}

broker_run() {
	mosquitto -c "$WORK/mosquitto.conf" >>"$WORK/mosquitto-out.log" 2>&1 &
	BROKER_PID=$!
	track "$BROKER_PID"
	broker_settled() { is_gone "$BROKER_PID" || port_open "$BROKER_PORT"; }
	wait_for 10 broker_settled && ! is_gone "$BROKER_PID"
}

# start_mosquitto [LINE...]: on its first use with further lines for its configuration;
# later the same broker again, with what it had stored.
start_mosquitto() {
	local try
	if [ -n "$BROKER_PORT" ]; then
		broker_run
		return
	fi
	for try in 1 2 3 4 5; do
		BROKER_PORT=$(free_port)
		broker_conf "$@"
		broker_run && return 0
		end_pid "$BROKER_PID"
	done
	diag "mosquitto did not start in $try attempts"
	return 1
}

# It saves its sessions and messages, then ends.
stop_mosquitto() {
	end_pid "$BROKER_PID" 20
}

kill_mosquitto() {
	kill -KILL "$BROKER_PID"
	wait "$BROKER_PID" 2>/dev/null
	return 0
}

# is_subscribed FILTER [CLIENT]: has the broker (since it started first) taken it?
is_subscribed() {
	grep -qF -- " ${2:-tidegate-$GATEWAY_ID} 1 $1" "$WORK/mosquitto.log"
}

# ---- the embedded Kafka ----

KAFKA_BOOTSTRAP=
MOCK_PID=

# start_mock [TOPIC:PARTITIONS...]: the mock cluster of librdkafka; KAFKA_BOOTSTRAP says where
start_mock() {
	local arg args=()
	for arg in "$@"; do
		args+=(--topic "$arg")
	done
	: >"$WORK/mock.out"
	"$TESTLIB/mockkafka" --control "$WORK/mock.control" "${args[@]}" \
		>"$WORK/mock.out" 2>"$WORK/mock.log" &
	MOCK_PID=$!
	track "$MOCK_PID"
	mock_settled() { is_gone "$MOCK_PID" || grep -q ^bootstrap "$WORK/mock.out"; }
	if ! wait_for 10 mock_settled || is_gone "$MOCK_PID"; then
		diag "mockkafka did not start"
		return 1
	fi
	KAFKA_BOOTSTRAP=$(sed -n 's/^bootstrap //p' "$WORK/mock.out")
}

# mock_tell COMMAND...: returns once it has taken effect
mock_tell() {
	local answers
	answers=$(wc -l <"$WORK/mock.out")
	echo "$*" >"$WORK/mock.control"
	mock_answered() { [ "$(wc -l <"$WORK/mock.out")" -gt "$answers" ]; }
	wait_for 10 mock_answered && tail -n 1 "$WORK/mock.out" | grep -q '^ok'
}

mock_down() {
	mock_tell down
}

mock_up() {
	mock_tell up
}

# ---- a real Kafka ----

KAFKA_DIR=$WORK/kafka

# kafka COMMAND [ARGUMENT...]: kafka.sh on the one broker of this test
kafka() {
	local command=$1 rc
	shift
	"$TOP_SRCDIR/tests/kafka/kafka.sh" "$command" "$KAFKA_DIR" "$@" \
		>>"$WORK/kafka.out" 2>>"$WORK/kafka.log" </dev/null
	rc=$?
	case $command in
	start | restart) [ ! -s "$KAFKA_DIR/pid" ] || track "$(cat "$KAFKA_DIR/pid")" ;;
	esac
	return $rc
}

# start_kafka [NAME=VALUE...]: skips the whole test where it cannot be had
start_kafka() {
	kafka start "$@"
	case $? in
	0) ;;
	77) skip_all "$(tail -n 1 "$WORK/kafka.log")" ;;
	*)
		diag_file kafka.sh "$WORK/kafka.log"
		return 1
		;;
	esac
	KAFKA_BOOTSTRAP=$(cat "$KAFKA_DIR/address")
}

# ---- the gateway ----

GATEWAY_ID=${GATEWAY_ID:-test-site}
GATEWAY_PID=
CONF=$WORK/tidegate.conf
JOURNAL_DIR=$WORK/journal

# 5, or 4 for MQTT 3.1.1: NAME_311.sh run NAME.sh with that.
MQTT_PROTOCOL=${MQTT_PROTOCOL:-5}

# A test sets these before write_conf; each is text in libconfig's syntax, with a ; at the
# end of each setting.
MQTT_SETTINGS=
JOURNAL_SETTINGS='max_bytes = "256 MiB";'
KAFKA_SETTINGS=
MONITOR_SETTINGS='listen = "";'
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; }'

# write_conf [LINE...]: the lines are further settings at the top level
write_conf() {
	mkdir -p "$JOURNAL_DIR"
	cat >"$CONF" <<-EOT
		gateway_id = "$GATEWAY_ID";
		mqtt = { host = "127.0.0.1"; port = $BROKER_PORT; protocol = $MQTT_PROTOCOL; $MQTT_SETTINGS };
		journal = { directory = "$JOURNAL_DIR"; $JOURNAL_SETTINGS };
		kafka = { bootstrap_servers = "$KAFKA_BOOTSTRAP"; $KAFKA_SETTINGS };
		monitor = { $MONITOR_SETTINGS };
		routes = ( $ROUTES );
	EOT
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$CONF"
}

# worker_pid ingest|forward|monitor: of the gateway that was started last; nothing when it is not there
worker_pid() {
	local pid exe
	# The kernel may be built without the list of children; then look at all.
	for pid in $(cat "/proc/$GATEWAY_PID/task/$GATEWAY_PID/children" 2>/dev/null ||
		ps -o pid= --ppid "$GATEWAY_PID" 2>/dev/null); do
		exe=$(readlink "/proc/$pid/exe") || continue
		if [ "${exe##*/}" = "tidegate-$1" ] && ! is_gone "$pid"; then
			echo "$pid"
			return 0
		fi
	done
	return 1
}

gateway_has_workers() {
	worker_pid ingest && worker_pid forward
}

# start_gateway [ARGUMENT...]: waits for both workers; not for their connections
start_gateway() {
	"$TOP_BUILDDIR/tidegated" -c "$CONF" "$@" >>"$WORK/gateway.log" 2>&1 &
	GATEWAY_PID=$!
	track "$GATEWAY_PID"
	gateway_settled() { is_gone "$GATEWAY_PID" || gateway_has_workers; }
	wait_for 20 gateway_settled && ! is_gone "$GATEWAY_PID"
}

# stop_gateway: SIGTERM; GATEWAY_STATUS is its exit status. 1 when it had to be killed.
GATEWAY_STATUS=
stop_gateway() {
	local rc=0
	end_pid "$GATEWAY_PID" 30 || rc=1
	wait "$GATEWAY_PID" 2>/dev/null
	GATEWAY_STATUS=$?
	return $rc
}

# kill_gateway: SIGKILL of tidegated alone; waits until its workers have ended, as they must
kill_gateway() {
	local ingest forward
	ingest=$(worker_pid ingest)
	forward=$(worker_pid forward)
	kill -KILL "$GATEWAY_PID"
	wait "$GATEWAY_PID" 2>/dev/null
	wait_for 15 is_gone "${ingest:-0}" && wait_for 15 is_gone "${forward:-0}"
}

# kill_worker ingest|forward: SIGKILL, and wait until it is gone; 1 when it is not there
kill_worker() {
	local pid
	pid=$(worker_pid "$1") || return 1
	kill -KILL "$pid" && wait_for 5 is_gone "$pid"
}

# rss_kib PID: its anonymous memory
rss_kib() {
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status" 2>/dev/null
}

# memory_watch_start: look at the memory of the gateway's workers now and then, beside the
# test, whichever processes they are
memory_watch_start() {
	while sleep 0.5; do
		local worker pid
		for pid in /proc/[0-9]*; do
			worker=$(readlink "$pid/exe") || continue
			case $worker in
			"$TOP_BUILDDIR"/tidegate-ingest | "$TOP_BUILDDIR"/tidegate-forward)
				# Somebody else's test may run the same program.
				grep -qzF -- "$CONF" "$pid/cmdline" || continue
				echo "${worker##*/} $(rss_kib "${pid#/proc/}")"
				;;
			esac
		done
	done >"$WORK/memory" 2>/dev/null &
	track $!
}

# memory_max ingest|forward: the most that was seen, in KiB
memory_max() {
	awk -v worker="tidegate-$1" '
		$1 == worker && $2 > most { most = $2 }
		END { print most + 0 }' "$WORK/memory"
}

# ---- the journal ----

dump() {
	"$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" "$@"
}

# journal_count: records that are not yet acknowledged by every route
journal_count() {
	dump --stat --json 2>/dev/null | jq -r .records
}

journal_is_empty() {
	[ "$(journal_count)" = 0 ]
}

# journal_check: reads all of it, verifies checksums and the sequence
journal_check() {
	dump --check
}

# shellcheck source=ledger.sh
. "$TOP_SRCDIR/tests/lib/ledger.sh"
