#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# drain.sh [-s]: tidegate-ingest takes a broker's backlog, against the same loop with
# nothing where the journal is (drain_null). mosquitto holds the same messages for both,
# and they take turns. Time is from start to the last message. -s: a short run.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

COUNT=150000
RUNS=5
if [ "${1:-}" = -s ]; then
	COUNT=5000
	RUNS=1
fi
BENCH=$TOP_BUILDDIR/tests/bench
# On the disk of the build tree: /tmp may be memory.
JOURNAL_DIR=$(mktemp -d "$TOP_BUILDDIR/bench-XXXXXX") || exit 1

test_cleanup() {
	rm -rf "$JOURNAL_DIR"
}

fail() {
	echo "drain.sh: $*" >&2
	for log in "$WORK"/*.log; do
		diag_file "${log##*/}" "$log" >&2
	done
	exit 1
}

publish() {
	rm -f "$WORK/bench.ledger"
	timeout 300 "$TESTLIB/ledger_publish" -p "$BROKER_PORT" -l "$WORK/bench.ledger" -d 100 \
		-n "$COUNT" -s 200 >/dev/null 2>"$WORK/publish.log"
}

drain_null() {
	timeout 300 "$BENCH/drain_null" -p "$BROKER_PORT" -i null -t 't/#' -n "$1" 2>"$WORK/null.log"
}

drain_ingest() {
	timeout 300 "$BENCH/watch_journal" "$JOURNAL_DIR" "$1" "$TOP_BUILDDIR/tidegate-ingest" \
		-c "$CONF" 2>"$WORK/ingest.log"
}

# Both sessions are there before the first message is published.
make_sessions() {
	drain_null 0 || return 1
	"$TOP_BUILDDIR/tidegate-ingest" -c "$CONF" 2>>"$WORK/ingest.log" &
	track $!
	wait_for 20 is_subscribed 't/#' && end_pid $!
}

JOURNAL_SETTINGS='max_bytes = "8 GiB"; compression = "none";'
KAFKA_BOOTSTRAP=127.0.0.1:1 # nobody asks for it
start_mosquitto 'persistence false' || fail "no mosquitto"
write_conf
make_sessions || fail "no sessions"
for ((i = 0; i < RUNS; i++)); do
	publish || fail "publishing"
	if ((i % 2)); then
		ingest=$(drain_ingest "$COUNT") && null=$(drain_null "$COUNT")
	else
		null=$(drain_null "$COUNT") && ingest=$(drain_ingest "$COUNT")
	fi || fail "draining"
	echo "$null $ingest"
done >"$WORK/times" || exit 1

echo "Ingest of a backlog of $COUNT messages of 200 bytes, against the same loop without"
echo "a journal; messages a second, $RUNS runs in turn"
echo
"$TOP_SRCDIR/tests/bench/ratios.awk" -v count="$COUNT" -v base=loop -v ours=ingest "$WORK/times"
