#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A damaged journal. A batch that is damaged is set aside: all others are delivered, the
# gap has its range, and what is missing in Kafka is that and nothing else. A damaged
# structure, a file that is too short, of another version or another machine is refused
# with the way out, and is left as it is; what is salvaged is delivered, and what is
# missing then is what the gap markers say.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq python3 "$TESTLIB/ledger_publish" "$TESTLIB/mockkafka" \
	"$TOP_BUILDDIR/tidegate-ingest" "$TOP_BUILDDIR/tidegate-forward" \
	"$TOP_BUILDDIR/tidegate-admin"

JOURNAL_SETTINGS='max_bytes = "64 MiB"; compression = "none"; commit_interval_ms = 0;'
COUNT=6000

admin() {
	"$TOP_BUILDDIR/tidegate-admin" -d "$JOURNAL_DIR" "$@"
}

# backlog: COUNT messages in the journal, nothing delivered; the file beside it as "whole"
backlog() {
	"$TOP_BUILDDIR/tidegate-ingest" -c "$CONF" >>"$WORK/ingest.log" 2>&1 &
	local pid=$!
	track "$pid"
	wait_for 20 is_subscribed 't/#' || return 1
	publish_start damage -d 10 -n "$COUNT" -s 300
	publish_wait 60 && wait_for 20 has_next_seq "$COUNT" && end_pid "$pid" || return 1
	cp "$JOURNAL_DIR/data.mdb" "$WORK/whole"
}

# whole: as it was after backlog
whole() {
	rm -f "$JOURNAL_DIR"/*
	cp "$WORK/whole" "$JOURNAL_DIR/data.mdb"
}

# flip SEQ: a byte in the record of that number, in each place where the file has it
flip() {
	dump --from "$1" --count 1 --json | python3 -c '
import base64, json, sys
text = base64.b64decode(json.load(sys.stdin)["payload"])
data = bytearray(open(sys.argv[1], "rb").read())
at = data.find(text)
assert at >= 0
while at >= 0:
    data[at + 5] ^= 1
    at = data.find(text)
open(sys.argv[1], "r+b").write(data)
' "$JOURNAL_DIR/data.mdb"
}

# write_at OFFSET BYTES, as printf has it
write_at() {
	# shellcheck disable=SC2059
	printf "$2" | dd of="$JOURNAL_DIR/data.mdb" bs=1 seek="$1" conv=notrunc status=none
}

# missing: how many numbers the gap markers "damaged" stand for
missing() {
	dump --gaps --json | jq -s 'map(select(.reason == "damaged") | .last_seq - .first_seq + 1) | add // 0'
}

# is_refused PATTERN [BYTES]: forward does not start, says that, and the file is as it was
is_refused() {
	local before rc
	before=$(md5sum <"$JOURNAL_DIR/data.mdb")
	timeout 20 "$TOP_BUILDDIR/tidegate-forward" -c "$CONF" --once >"$WORK/refused.log" 2>&1
	rc=$?
	[ "$rc" -eq 1 ] && grep -q -- "$1" "$WORK/refused.log" &&
		[ "$(md5sum <"$JOURNAL_DIR/data.mdb")" = "$before" ] &&
		! dump --check >/dev/null 2>&1
}

start_mosquitto || bail "no mosquitto"
start_mock flipped:2 salvaged:2 kept:2 || bail "no embedded Kafka"
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "flipped"; envelope = "none"; }'
write_conf
check "a backlog of $COUNT" backlog

# ---- batches ----

flip 1000
flip 3000
expected=$(dump --check | awk -F'[()]' '/^damaged: / { sum += $2 } END { print sum + 0 }')
diag "two damaged batches of $expected records"
check "tidegate-dump tells both" test "$(dump --check | grep -c '^damaged: ')" -eq 2
lists_the_rest() {
	! dump --from 1 >"$WORK/listed" 2>/dev/null &&
		[ "$(wc -l <"$WORK/listed")" -eq $((COUNT - expected)) ]
}
check "and goes on behind them, exit status 1" lists_the_rest
consume_start damage flipped -w -M "$expected"
check "the gateway starts with it" start_gateway
check "it delivers all that is whole" wait_for 60 journal_is_empty
check "it is the ranges of the two that are gaps" test "$(missing)" -eq "$expected"
check "they were set aside, and are kept" test "$(dump --stat --json | jq .damaged_batches)" -eq 2
check "with a line in the log for each" \
	test "$(grep -c 'the batch was set aside' "$WORK/gateway.log")" -eq 2
check "what Kafka lacks is what they held" consume_finish damage
nothing_crashed() { ! grep -q 'killed by\|signal' "$WORK/gateway.log"; }
check "nothing crashed" nothing_crashed
check "the gateway ends" stop_gateway
check "the journal is in order" journal_check

# ---- structure ----

cut_half() { truncate -s $(($(stat -c %s "$WORK/whole") / 3)) "$JOURNAL_DIR/data.mdb"; }
zero_meta() { write_at 4096 "$(printf '\\000%.0s' {1..200})"; }

whole
cut_half
check "a file that was cut is refused, with the way out" is_refused 'its end is lost.*tidegate-admin salvage'
whole
zero_meta
check "so is one with half a last write" is_refused 'page 1 is no meta page.*tidegate-admin salvage'
whole
write_at 20 '\002'
write_at 4116 '\002'
check "another version is refused" is_refused "data format is version 2"
whole
write_at 16 '\276\357\300\336'
write_at 4112 '\276\357\300\336'
check "another byte order is refused" is_refused "another byte order"

# The root of a tree and some leaves become zeros.
zero_leaves() {
	python3 - "$JOURNAL_DIR/data.mdb" <<-'END'
		import struct, sys
		data = bytearray(open(sys.argv[1], "rb").read())
		pages = [n for n in range(2, len(data) // 4096)
		         if struct.unpack_from("<Q", data, n * 4096)[0] == n]
		branches = [n for n in pages if data[n * 4096 + 10] == 1]
		first = [n for n in pages if data[n * 4096 + 10] == 4 and data[n * 4096 + 16] == 1]
		for n in branches + first[10:12]:
		    data[n * 4096:n * 4096 + 4096] = bytes(4096)
		leaves = [n for n in pages if data[n * 4096 + 10] == 2 and b"log" in data[n * 4096:n * 4096 + 4096]]
		for n in leaves:
		    data[n * 4096:n * 4096 + 4096] = bytes(4096)
		open(sys.argv[1], "r+b").write(data)
	END
}
whole
zero_leaves
check "pages of zeros are refused" is_refused 'tidegate-admin salvage'
mkdir "$WORK/new"
check "it is salvaged" admin salvage "$WORK/new"
diag_file "salvage" "$WORK/check.out"
JOURNAL_DIR=$WORK/new
check "the new journal is in order" journal_check
lost=$(missing)
diag "$lost records are lost"
check "some, not all, are lost" test "$lost" -gt 0 -a "$lost" -lt "$COUNT"
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "salvaged"; envelope = "none"; }'
write_conf
consume_start damage salvaged -w -M "$lost"
check "a gateway starts with it" start_gateway
check "it delivers the rest" wait_for 60 journal_is_empty
check "what Kafka lacks is what the gap markers say" consume_finish damage

# ---- copies ----

check "a backup beside the gateway" admin backup "$WORK/backup.mdb"
not_again() { ! admin backup "$WORK/backup.mdb"; }
check "not over one that is there" not_again
check "the gateway ends" stop_gateway
check "compaction" admin compact
check "the journal is in order" journal_check
mkdir "$WORK/restored"
cp "$WORK/backup.mdb" "$WORK/restored/data.mdb"
uuid=$(dump --stat --json | jq -r .uuid)
JOURNAL_DIR=$WORK/restored
check "what was restored is in order" journal_check
check "and has a UUID of its own" test "$(dump --stat --json | jq -r .uuid)" != "$uuid" \
	-a "$(dump --stat --json | jq -r .parent)" = "$uuid"

# ---- a batch that is not safe to delete ----

JOURNAL_DIR=$WORK/journal
whole
# The first page of one says that it has one page more.
bend_first_page() {
	python3 - "$JOURNAL_DIR/data.mdb" <<-'END'
		import struct, sys
		data = bytearray(open(sys.argv[1], "rb").read())
		first = [n for n in range(2, len(data) // 4096)
		         if struct.unpack_from("<QHH", data, n * 4096) == (n, 0, 4)]
		data[first[len(first) // 2] * 4096 + 12] += 1
		open(sys.argv[1], "r+b").write(data)
	END
}
bend_first_page
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "kept"; envelope = "none"; }'
write_conf
ends_with_1() {
	timeout 60 "$TOP_BUILDDIR/tidegate-forward" -c "$CONF" --once >"$WORK/kept.log" 2>&1
	[ $? -eq 1 ]
}
consume_start damage kept -w
check "forward --once delivers, and fails because it cannot be deleted" ends_with_1
check "with the way out" grep -q 'not the first of a value.*tidegate-admin salvage' "$WORK/kept.log"
diag_file "kept" "$WORK/kept.log"
check "nothing else was wrong" test "$(grep -c 'cannot record' "$WORK/kept.log")" -eq 0
check "Kafka has all of it" consume_finish damage
check "that is recorded" test "$(dump --stat --json | jq .records)" -eq 0

# ---- under a running gateway ----

JOURNAL_DIR=$WORK/journal
whole
mock_down
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "flipped"; envelope = "none"; }'
write_conf
: >"$WORK/gateway.log"
# The bus error that may end tidegate-forward, see below, is no finding of a sanitizer's.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}handle_sigbus=0"
check "a gateway starts" start_gateway
check "with the backlog" wait_for 20 grep -q "started; $COUNT records wait" "$WORK/gateway.log"
cut_half
mock_up
tells_why() {
	grep -q 'cannot be read\|its end is lost\|damaged' "$WORK/gateway.log"
}
check "the file is cut under it: the log says what is wrong" wait_for 60 tells_why
lives() { ! is_gone "$GATEWAY_PID"; }
check "tidegated lives on" lives
# Where the end has values only, all others are delivered, but for those behind one whose
# first page is a hole since the file grew again: that one must not be deleted. Where the
# end has a page of the tree, tidegate-forward dies, and is started again only to refuse the
# file. Where the pages are depends on how many commits there were.
is_over() {
	local why='its end is lost\|is not the first of a value'
	journal_is_empty ||
		grep -q "tidegate-forward: .*\($why\).*tidegate-admin salvage" "$WORK/gateway.log"
}
check "it is delivered, or refused with the way out" wait_for 60 is_over
diag "$(grep -c 'started\|died' "$WORK/gateway.log") starts and ends of workers"
check "the gateway ends" stop_gateway
tap_done
