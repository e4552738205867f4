#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# drain.sh [-s]: tidegate-ingest takes a broker's backlog, against the same libmosquitto
# loop with nothing where the journal is (drain_null): the same receive maximum, PUBACKs
# as late. Each finds a mosquitto that has just started with the same stored backlog, and
# ingest the same small journal. Time is from start to the last message; the processor's
# is that of the whole process. With the settings as they are by default, and without
# compression. -s: a short run.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

COUNT=500000
RUNS=5
if [ "${1:-}" = -s ]; then
	COUNT=5000
	RUNS=1
fi
BENCH=$TOP_BUILDDIR/tests/bench
# On the disk of the build tree: /tmp may be memory.
DISK=$(mktemp -d "$TOP_BUILDDIR/bench-XXXXXX") || exit 1
JOURNAL_DIR=$DISK/journal

test_cleanup() {
	rm -rf "$DISK"
}

fail() {
	echo "drain.sh: $*" >&2
	for log in "$WORK"/*.log; do
		diag_file "${log##*/}" "$log" >&2
	done
	exit 1
}

# Both sessions are there before the first message is published; then the broker stores.
make_backlog() {
	"$BENCH/drain_null" -p "$BROKER_PORT" -i null -t 't/#' -n 0 2>"$WORK/null.log" || return 1
	"$TOP_BUILDDIR/tidegate-ingest" -c "$CONF" 2>"$WORK/ingest.log" &
	track $!
	wait_for 20 is_subscribed 't/#' && end_pid $! || return 1
	timeout 300 "$TESTLIB/ledger_publish" -p "$BROKER_PORT" -l "$WORK/bench.ledger" -d 100 \
		-n "$COUNT" -s 200 >/dev/null 2>"$WORK/publish.log" || return 1
	end_pid "$BROKER_PID" 60
	[ -s "$WORK/mosquitto/mosquitto.db" ] && mv "$JOURNAL_DIR" "$DISK/empty"
}

# with_broker COMMAND...: one that has the backlog; it is killed, and so its store stays as
# it is. Nothing that was written before goes to the disk meanwhile.
with_broker() {
	local rc
	sync -f "$WORK" "$DISK"
	start_mosquitto || return 1
	"$@"
	rc=$?
	kill_mosquitto
	return $rc
}

drain_null() {
	timeout 300 "$BENCH/drain_null" -p "$BROKER_PORT" -i null -t 't/#' -n "$COUNT" \
		>>"$WORK/loop" 2>"$WORK/null.log"
}

# drain_ingest NAME COMPRESSION
drain_ingest() {
	JOURNAL_SETTINGS="compression = \"$2\";"
	write_conf
	rm -rf "$JOURNAL_DIR"
	cp -r "$DISK/empty" "$JOURNAL_DIR" || return 1
	sync -f "$JOURNAL_DIR"
	timeout 300 "$BENCH/watch_journal" "$JOURNAL_DIR" "$COUNT" \
		"$TOP_BUILDDIR/tidegate-ingest" -c "$CONF" >>"$WORK/$1" 2>"$WORK/ingest.log"
}

# Each of them once; another one begins each time
run_all() {
	local cases=("drain_null" "drain_ingest ingest zstd" "drain_ingest plain none") k
	for k in 0 1 2; do
		# shellcheck disable=SC2086 # words
		with_broker ${cases[($1 + k) % 3]} || return 1
	done
}

# table QUIET OURS ROW COLUMN ARGUMENT...: OURS against the loop
table() {
	local quiet=$1 ours=$2 row=$3 column=$4
	shift 4
	paste -d ' ' <(cut -d ' ' -f "$column" "$WORK/loop") \
		<(cut -d ' ' -f "$column" "$WORK/$ours") |
		"$TOP_SRCDIR/tests/bench/ratios.awk" -v count="$COUNT" -v base=loop -v ours=ingest \
			-v quiet="$quiet" -v row="$row" "$@" || fail "no times"
}

KAFKA_BOOTSTRAP=127.0.0.1:1 # nobody asks for it
JOURNAL_SETTINGS=
start_mosquitto || fail "no mosquitto"
write_conf
make_backlog || fail "no backlog"
for ((i = 0; i < RUNS; i++)); do
	run_all "$i" || fail "draining"
done

echo "Ingest of a backlog of $COUNT messages of 200 bytes, against the same loop without"
echo "a journal; messages a second, $RUNS runs in turn"
echo
table 0 ingest "default settings" 1 -v name="ingest drain" -v target=">=1.0"
table 1 plain "no compression" 1 -v name="ingest drain, no compression"
echo
echo "Processor time, its own and the system's, microseconds a message"
echo
table 0 ingest "default settings" 2 -v costs=1 -v name="cpu drain"
table 1 plain "no compression" 2 -v costs=1 -v name="cpu drain, no compression"
