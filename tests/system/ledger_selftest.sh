#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Does the ledger see what it is there to see? Topics with planted faults: a message that
# is missing, one out of order, one twice, and so on. Whoever trusts "lost 0" elsewhere
# trusts this test.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need kcat "$TESTLIB/ledger_consume" "$TESTLIB/mockkafka"

# payload NUMBER: as ledger_payload_make() makes it for device 0
payload() {
	awk -v n="$1" 'BEGIN {
		text = "dev-000 " n " 48 "
		for (i = length(text); i < 48; i++)
			text = text substr("abcdefghijklmnopqrstuvwxyz", (n + i) % 26 + 1, 1)
		printf "%s", text
	}'
}

# plant TOPIC NUMBER:SEQ...: one record each; a third field takes the place of the key, a
# fourth of the payload
plant() {
	local topic=$1 item number seq key text
	shift
	for item in "$@"; do
		IFS=: read -r number seq key text <<<"$item"
		printf '%s' "${text:-$(payload "$number")}" >"$WORK/$topic.record"
		kcat -P -b "$KAFKA_BOOTSTRAP" -t "$topic" -p 0 -k "${key:-t/dev-000}" \
			-H "tidegate=site/00000000-0000-4000-8000-000000000000/$seq/1" \
			-X queue.buffering.max.ms=0 "$WORK/$topic.record" || return 1
	done
}

# expect WHAT TOPIC STATUS TEXT [OPTION...]: start ledger_consume; settle() looks at it.
# Only those that miss something need their whole time.
expected=()
expect() {
	local n=${#expected[@]} topic=$2
	expected+=("$1|$3|$4")
	shift 4
	{
		"$TESTLIB/ledger_consume" -b "$KAFKA_BOOTSTRAP" -t "$topic" \
			-l "$WORK/test.ledger" -T 6 -q 0.3 "$@" 2>"$WORK/consume-$n.log"
		echo "status $?"
	} >"$WORK/consume-$n.out" &
	track $!
}

settle() {
	local n what status text out
	for n in "${!expected[@]}"; do
		IFS='|' read -r what status text <<<"${expected[n]}"
		wait_for 30 grep -q ^status "$WORK/consume-$n.out"
		out=$(tr '\n' ' ' <"$WORK/consume-$n.out")
		case $out in
		*"$text"*"status $status "*) ok "$what" ;;
		*)
			not_ok "$what"
			diag "expected \"$text\" and status $status: $out"
			;;
		esac
	done
}

start_mock good:1 lost:1 reordered:1 duplicated:1 redelivered:1 reused:1 key:1 \
	payload:1 foreign:1 || bail "no embedded Kafka"
printf 'ledger 1 t 1\n4 4\n' >"$WORK/test.ledger"

planting=()
start_plant() {
	plant "$@" 2>>"$WORK/plant.log" &
	planting+=($!)
}
start_plant good 1:1 2:2 3:3 4:4
start_plant lost 1:1 2:2 4:4
start_plant reordered 1:1 3:3 2:2 4:4
start_plant duplicated 1:1 2:2 3:3 2:2 4:4
start_plant redelivered 1:1 2:2 3:3 2:4 4:5
start_plant reused 1:1 2:2 3:2 4:4
start_plant key 1:1 2:2:t/dev-001 3:3 4:4
start_plant payload 1:1 "2:2::$(payload 2 | tr z y | sed 's/.$/?/')" 3:3 4:4
start_plant foreign 1:1 2:2 3:3 4:4 5:5::hello
planted=0
for pid in "${planting[@]}"; do
	wait "$pid" || planted=1
done
check "records are planted" test "$planted" = 0

expect "all there" good 0 \
	"published 4, delivered 4, lost 0, duplicated 0 (same header), redelivered 0, reordered 0"
expect "one lost" lost 1 "delivered 3, lost 1"
expect "one reordered" reordered 1 "lost 0, duplicated 0 (same header), redelivered 0, reordered 1"
expect "one twice under the same header" duplicated 0 "duplicated 1 (same header), redelivered 0"
expect "one twice where none is allowed" duplicated 1 "duplicated 1" -D 0
expect "one twice under another header" redelivered 0 "duplicated 0 (same header), redelivered 1"
expect "a redelivery where none is allowed" redelivered 1 "redelivered 1" -R 0
expect "one sequence number for two messages" reused 1 "delivered 3, lost 1"
expect "a wrong key" key 1 "lost 0"
expect "any key where it does not matter" key 0 "lost 0" -k
expect "a payload with a changed byte" payload 1 "lost 1"
expect "a record of somebody else" foreign 1 "lost 0"
expect "a record of somebody else where others are allowed" foreign 0 "lost 0" -f
settle
check "the lost one is named" grep -q '^lost: dev-000 3$' "$WORK/consume-1.log"
tap_done
