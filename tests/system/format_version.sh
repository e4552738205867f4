#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A journal of another version: one of a later format, or with batches of a later version,
# is refused by every program with not a byte of it changed; what a later version has merely
# added is let be, and one of the first version is read and delivered.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need jq kcat "$TESTLIB/mockkafka" "$TESTLIB/feed_journal" "$TESTLIB/change_journal" \
	"$TOP_BUILDDIR/tidegated" "$TOP_BUILDDIR/tidegate-admin"

BROKER_PORT=1 # nobody is there
start_mock records:1 || bail "no embedded Kafka"
write_conf

change() {
	"$TESTLIB/change_journal" "$JOURNAL_DIR" "$@"
}

# What is in each file, and when data.mdb was written; locks hold nothing.
fingerprint() {
	(cd "$JOURNAL_DIR" && find . -type f ! -name '*.lock' ! -name lock.mdb -exec sha256sum {} + |
		sort && stat -c '%y %s %b' data.mdb)
}

# refuses WHAT COMMAND...: exit status 1, a sentence that says what to do, nothing changed
refuses() {
	local rc
	timeout 60 "$@" >"$WORK/refused" 2>&1 </dev/null
	rc=$?
	if [ "$rc" -ne 1 ] || ! grep -q 'use the Tidegate that wrote it' "$WORK/refused"; then
		echo "exit status $rc"
		cat "$WORK/refused"
		return 1
	fi
	[ "$(fingerprint)" = "$BEFORE" ] || {
		echo "it was changed"
		return 1
	}
}

workers_refuse() {
	"$TOP_BUILDDIR/tidegated" -c "$CONF" >"$WORK/gateway.log" 2>&1 &
	local pid=$!
	track "$pid"
	both_said() {
		local worker
		for worker in ingest forward; do
			grep -q "tidegate-$worker: journal: .*use the Tidegate that wrote it" \
				"$WORK/gateway.log" || return 1
		done
	}
	wait_for 20 both_said || return 1
	end_pid "$pid" && [ "$(fingerprint)" = "$BEFORE" ]
}

all_refuse() { # WHAT
	local command name
	BEFORE=$(fingerprint)
	for name in ingest 'ingest --leave' forward 'forward --once'; do
		# shellcheck disable=SC2086
		check "$1: refused by tidegate-$name" \
			refuses "$TOP_BUILDDIR"/tidegate-$name -c "$CONF"
	done
	check "$1: refused by the workers of tidegated" workers_refuse
	for command in '' --stat --check --dead --gaps; do
		# shellcheck disable=SC2086
		check "$1: refused by tidegate-dump $command" \
			refuses "$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" $command
	done
	mkdir -p "$WORK/into"
	for command in status 'status --json' orders 'requeue-dead --all' 'discard-dead --all' \
		'skip 1' 'withdraw 1' "backup $WORK/backup" compact adopt new-identity leave; do
		# shellcheck disable=SC2086
		check "$1: refused by tidegate-admin ${command%%/*}" \
			refuses "$TOP_BUILDDIR/tidegate-admin" -c "$CONF" $command
	done
}

# ---- later ----
for i in 1 2 3; do
	echo "t/a 100 0"
done | "$TESTLIB/feed_journal" "$JOURNAL_DIR" "$GATEWAY_ID" || bail "no journal"
cp "$JOURNAL_DIR/data.mdb" "$WORK/v1.mdb"

change put meta format 02000000
all_refuse "format 2"
check "format 2: refused by tidegate-admin salvage" \
	refuses "$TOP_BUILDDIR/tidegate-admin" -c "$CONF" salvage "$WORK/into"

cp "$WORK/v1.mdb" "$JOURNAL_DIR/data.mdb"
rm -f "$JOURNAL_DIR/lock.mdb"
change later-batch
all_refuse "a later batch"

# ---- added ----
cp "$WORK/v1.mdb" "$JOURNAL_DIR/data.mdb"
rm -f "$JOURNAL_DIR/lock.mdb"
change put later-things key c0ffee
change put meta later-thing 01020304
change put meta later/default 05
change strange-record
forward_once() {
	timeout 60 "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF" >>"$WORK/forward.log" 2>&1
}
check "a database, names and a field that are not known: it is in order" journal_check
check "and delivered" forward_once
check "to the last record" journal_is_empty
all_arrived() {
	[ "$(kcat -q -C -e -b "$KAFKA_BOOTSTRAP" -t records -o beginning | grep -c .)" -eq 4 ] &&
		kcat -q -C -e -b "$KAFKA_BOOTSTRAP" -t records -o -1 | grep -qx strange
}
check "the one with the field, too" all_arrived
still_there() {
	[ "$(change get later-things key)" = c0ffee ] &&
		[ "$(change get meta later-thing)" = 01020304 ] &&
		[ "$(change get meta later/default)" = 05 ]
}
check "what is not known is kept" still_there
check "it is compacted" "$TOP_BUILDDIR/tidegate-admin" -c "$CONF" compact
check "with what is not known" still_there
tap_done
