#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-dump --follow: each record once, in order, and a word for each that cannot be
# shown any more; whatever happens to the journal meanwhile, and beside a gateway that
# delivers.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq python3 mdb_stat "$TOP_BUILDDIR/tidegated" "$TESTLIB/make_journal" \
	"$TESTLIB/ledger_publish"

# make_records OPTION...: a journal, or more for it
make_records() {
	mkdir -p "$JOURNAL_DIR"
	"$TESTLIB/make_journal" "$@" "$JOURNAL_DIR" 2>>"$WORK/make.log"
}

# follow OPTION...: what it says is in $WORK/shown and $WORK/told
follow() {
	"$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" --follow "$@" \
		>"$WORK/shown" 2>"$WORK/told" &
	FOLLOW_PID=$!
	track "$FOLLOW_PID"
}

# ends STATUS: by itself, with that
ends() {
	wait_for 20 is_gone "$FOLLOW_PID" || return 1
	wait "$FOLLOW_PID"
	[ $? -eq "$1" ]
}

# stopped STATUS [SIGNAL]
stopped() {
	kill "-${2:-INT}" "$FOLLOW_PID"
	ends "$1"
}

# has_shown FIRST LAST: exactly these
has_shown() {
	cut -f1 "$WORK/shown" | cmp -s - <(seq "$1" "$2")
}

is_quiet() {
	[ ! -s "$WORK/told" ]
}

# ---- what is there, and what arrives ----

JOURNAL_DIR=$WORK/plain
make_records -n 100 -k 10 -a 30
follow
check "it begins with what is not acknowledged" wait_for 10 has_shown 31 100
make_records -n 50 -k 5
check "and goes on with what arrives" wait_for 10 has_shown 31 150
make_records -a 120
make_records -n 1
check "also when it has been delivered meanwhile" wait_for 10 has_shown 31 151
holds_nothing() {
	mdb_stat -r "$JOURNAL_DIR" | tee "$WORK/readers" | grep -q "^ *$FOLLOW_PID .* - *$"
}
check "no read transaction stays open" holds_nothing
check "a signal ends it with 0" stopped 0
check "without a word" is_quiet
follow
check "followed again" wait_for 10 has_shown 121 151
check "SIGTERM ends it, too" stopped 0 TERM

follow --from 150 --count 4
check "from a number" wait_for 10 has_shown 150 151
make_records -n 10
check "a count is its end" ends 0
check "with so many" has_shown 150 153
follow --from 165
make_records -n 10
check "from one that is not there yet" wait_for 10 has_shown 165 171
check "it stays" stopped 0
follow --from 1 --to 180
make_records -n 20
check "the last one that is wanted is its end" ends 0
check "what was truncated before the start is not missed" has_shown 121 180
follow --until -1s
check "so is a time that has passed" ends 0
follow --from 190 --topic 'site/7/+' --json
make_records -n 10
json_is() {
	jq -c '[.seq, .topic]' "$WORK/shown" | tr '\n' ' ' | grep -qx "$1"
}
# Each run of make_journal begins with topic 1.
check "JSON, of some topics" wait_for 10 json_is '\[198,"site/7/sensor"\] '
check "JSON is whole when it is stopped" stopped 0
follow --from 201 --payload
make_records -n 2
payload_is() {
	printf 'record-000000010;record-000000001;record-000000002;' | cmp -s - "$WORK/shown"
}
check "payloads alone" wait_for 10 payload_is
check "stopped" stopped 0

# ---- what cannot be shown ----

JOURNAL_DIR=$WORK/hasty
make_records -n 10
follow
check "ten are shown" wait_for 10 has_shown 1 10
kill -STOP "$FOLLOW_PID"
make_records -n 20 -k 5 -a 30
make_records -n 5
kill -CONT "$FOLLOW_PID"
shows_rest() {
	cut -f1 "$WORK/shown" | cmp -s - <(seq 10; seq 31 35)
}
check "those behind the ones that are gone" wait_for 10 shows_rest
check "the others are told" grep -qx \
	'tidegate-dump: records 11 to 30 were delivered before they could be shown' "$WORK/told"
kill -STOP "$FOLLOW_PID"
make_records -n 20 -k 5 -a 55
kill -CONT "$FOLLOW_PID"
check "also when nothing comes behind them" wait_for 10 grep -qx \
	'tidegate-dump: records 36 to 55 were delivered before they could be shown' "$WORK/told"
check "that is exit status 1" stopped 1

JOURNAL_DIR=$WORK/gap
make_records -n 4
follow
make_records -n 10 -l
shows_around_gap() {
	cut -f1 "$WORK/shown" | cmp -s - <(seq 8; seq 10 14)
}
check "around a gap" wait_for 10 shows_around_gap
check "the gap is told, with its reason" grep -qx \
	'tidegate-dump: records 9 to 9 were removed: too large' "$WORK/told"
check "that is no failure" stopped 0

# ---- the journal's own changes ----

JOURNAL_DIR=$WORK/changed
make_records -n 100 -k 10 -a 50
follow
check "a journal is followed" wait_for 10 has_shown 51 100
check "it is compacted" "$TOP_BUILDDIR/tidegate-admin" -d "$JOURNAL_DIR" compact
make_records -n 10
check "and followed further" wait_for 10 has_shown 51 110
check "without a word" is_quiet
check "it gets a new identity" "$TOP_BUILDDIR/tidegate-admin" -d "$JOURNAL_DIR" new-identity
check "that ends it with 1" ends 1
check "and is said" grep -q 'this is another journal now' "$WORK/told"

follow
mkdir "$WORK/other"
"$TESTLIB/make_journal" -n 3 "$WORK/other" 2>>"$WORK/make.log"
check "it is followed again" wait_for 10 has_shown 51 110
cp "$JOURNAL_DIR/data.mdb" "$WORK/older.mdb"
make_records -n 10
check "to here" wait_for 10 has_shown 51 120
rm "$JOURNAL_DIR/lock.mdb" && mv "$WORK/older.mdb" "$JOURNAL_DIR/data.mdb"
check "an older state in its place ends it" ends 1
check "and is said" grep -q 'older state of the journal' "$WORK/told"
follow
check "followed once more" wait_for 10 has_shown 51 110
rm "$JOURNAL_DIR/lock.mdb" && mv "$WORK/other/data.mdb" "$JOURNAL_DIR/data.mdb"
check "another journal in its place ends it" ends 1
check "and is said" grep -q 'this is another journal now' "$WORK/told"
follow
check "the other one is followed" wait_for 10 has_shown 1 3
rm "$JOURNAL_DIR/data.mdb"
check "one that has gone ends it" ends 1
check "and is said" grep -qx "tidegate-dump: $JOURNAL_DIR: the journal is gone" "$WORK/told"
follow
check "one that is not there yet as well" ends 1
check "with a word" test -s "$WORK/told"

# ---- the reader ----

JOURNAL_DIR=$WORK/read
make_records -n 10
# The reader leaves while nothing comes.
leaving_reader() {
	"$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" --follow 2>"$WORK/told" | head -n 1
	[ "${PIPESTATUS[0]}" -eq 1 ] && is_quiet
}
check "a reader that leaves ends it without a word" timeout 20 bash -c \
	"$(declare -f leaving_reader is_quiet); WORK=$WORK JOURNAL_DIR=$JOURNAL_DIR; leaving_reader"
closed() {
	local rc
	"$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" "$@" >&- 2>"$WORK/told"
	rc=$?
	[ "$rc" -eq 1 ] && [ -s "$WORK/told" ]
}
check "closed output is an error" closed
check "also when it follows" closed --follow
all_closed() {
	! "$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" <&- >&- 2>&- &&
		dump --check && ! grep -q record "$JOURNAL_DIR/lock.mdb"
}
check "with every stream closed nothing is written to the journal's files" all_closed

# ---- beside a gateway that delivers ----

JOURNAL_DIR=$WORK/journal
start_mosquitto || bail "no mosquitto"
start_mock records:4 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
follow
publish_more() {
	publish_start follow -d 5 -n 500 -r 2000 -s 60-900
	publish_wait 60
}
# shown_or_told N: every number up to N once, in order, as a record or in what was told
shown_or_told() {
	{
		cut -f1 "$WORK/shown"
		sed -nE 's/.*records ([0-9]+) to ([0-9]+) were delivered.*/\1 \2/p' "$WORK/told" |
			while read -r first last; do
				seq "$first" "$last"
			done
	} >"$WORK/accounted"
	cut -f1 "$WORK/shown" | sort -nc 2>/dev/null &&
		sort -n "$WORK/accounted" | cmp -s - <(seq "$1")
}
check "500 messages are published" publish_more
check "each is shown, or told" wait_for 20 shown_or_told 500
check "the gateway stops" stop_gateway
check "and starts again" start_gateway
check "500 more" publish_more
check "each is shown, or told, through the restart" wait_for 20 shown_or_told 1000
diag "$(wc -l <"$WORK/shown") of 1000 were shown"
check "most are shown" test "$(wc -l <"$WORK/shown")" -gt 500
kill -INT "$FOLLOW_PID"
wait_for 10 is_gone "$FOLLOW_PID"
check "the gateway stops again" stop_gateway
tap_done
