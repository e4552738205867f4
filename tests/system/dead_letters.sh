#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Dead letters: what is too large is put away, goes again once the limit is raised, or is
# discarded and leaves a gap marker; a record that holds its route is skipped. By
# tidegate-admin alone, and by its orders to a gateway that is under load and is killed in
# between: each message is in one place. DEAD_LETTERS_ROUNDS says how often.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto kcat jq "$TESTLIB/feed_journal" "$TESTLIB/ledger_publish" \
	"$TOP_BUILDDIR/tidegate-ingest" "$TOP_BUILDDIR/tidegate-admin"

BROKER_PORT=1883 # not used at first
# Not by tidegated, which would wait longer and longer after each kill.
start_forward() {
	"$TOP_BUILDDIR/tidegate-forward" -c "$CONF" >>"$WORK/beside.log" 2>&1 &
	FORWARD_PID=$!
	track $FORWARD_PID
}

TWO_ROUTES='{ name = "a"; topic_filters = "plant/#"; topic = "ta"; envelope = "none"; },
	{ name = "b"; topic_filters = "plant/#"; topic = "tb"; envelope = "none"; }'

# write_limit [BYTES]: what may be sent; librdkafka itself refuses what is larger
write_limit() {
	KAFKA_SETTINGS="properties = [ ${1:+\"message.max.bytes=$1\"} ];"
	write_conf
}

feed() {
	"$TESTLIB/feed_journal" "$JOURNAL_DIR" "$GATEWAY_ID"
}

forward_once() {
	timeout 60 "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF" >>"$WORK/forward.log" 2>&1
}

admin() {
	timeout 60 "$TOP_BUILDDIR/tidegate-admin" -d "$JOURNAL_DIR" "$@" 2>>"$WORK/admin.err"
}

# says TEXT COMMAND...: exit status 0, and just this
says() {
	local text=$1 said
	shift
	said=$("$@") || return 1
	[ "$said" = "$text" ] && return 0
	echo "$said"
	return 1
}

# ends_with STATUS COMMAND...
ends_with() {
	local status=$1
	shift
	"$@"
	[ $? -eq "$status" ]
}

# headers TOPIC: of each record, in a line
headers() {
	timeout 20 kcat -q -C -b "$KAFKA_BOOTSTRAP" -t "$1" -o beginning -e -f '%h\n' \
		2>>"$WORK/kcat.log"
}

# has TOPIC NUMBERS...: exactly these, in this order
has() {
	local topic=$1
	shift
	[ "$(timeout 20 kcat -q -C -b "$KAFKA_BOOTSTRAP" -t "$topic" -o beginning -e \
		2>>"$WORK/kcat.log" | cut -d ' ' -f 1 | tr '\n' ' ')" = "$*${1:+ }" ]
}

# dead_is "SEQ:ROUTE ...": these letters are there
dead_is() {
	[ "$(dump --dead --json | jq -r '"\(.seq):\(.route)"' | tr '\n' ' ')" = "$1${1:+ }" ]
}

gaps_are() {
	[ "$(dump --gaps --json | jq -r '"\(.first_seq)-\(.last_seq) \(.reason)"')" = "$1" ]
}

# ---- by itself, with nothing running ----

start_mock ta:1 tb:1 good:1 records:2 || bail "no embedded Kafka"
ROUTES=$TWO_ROUTES
write_limit 1000
for size in 100 100 5000 100 5000 100 5000; do
	echo "plant/1 $size 0"
done | feed || bail "no journal"
check "forward ends" forward_once
check "what was too large is in the dead letters of both routes" \
	dead_is "3:a 3:b 5:a 5:b 7:a 7:b"
check "with the reason" eval 'dump --dead --json | jq -es "all(.reason == \"too large\")"'
check "requeue-dead wants to know which" ends_with 2 admin requeue-dead
check "and takes no number that is none" ends_with 2 admin discard-dead 3 0x5
check "nor numbers beside --all" ends_with 2 admin discard-dead --all 3
check "a letter that is not there is a failure" ends_with 1 admin discard-dead 4
check "two are requeued by one number" says "2 dead letters requeued" admin requeue-dead 3
check "they wait under new numbers, bound to their routes" test "$(dump --json --from 8 |
	jq -r '"\(.seq) \(.bound_to) \(.requeued_from)"' | tr '\n' ' ')" = "8 a 3 9 b 3 "
check "two are discarded, by a number that is given twice" \
	says "2 dead letters discarded; a gap marker was left for each" admin discard-dead 7 7
check "that left a gap marker" gaps_are "7-7 operator"
write_limit
check "forward ends with the limit raised" forward_once
check "what was requeued arrived once on the one route" has ta 1 2 4 6 3
check "and once on the other" has tb 1 2 4 6 3
# requeued TOPIC: "NEW OLD" of each record with that header
requeued() {
	headers "$1" | sed -n \
		's|^tidegate=[^/]*/[^/]*/\([0-9]*\)/.*,tidegate-requeued-from=\([0-9]*\)$|\1 \2|p'
}
check "with the number that it had" says "8 3" requeued ta
check "on both" says "9 3" requeued tb
check "the others stay in the dead letters" dead_is "5:a 5:b"
check "all are discarded" says "2 dead letters discarded; a gap marker was left for each" \
	admin discard-dead --all
check "none is left" says "0 dead letters requeued" admin requeue-dead --all
check "each has its gap marker" gaps_are "5-5 operator
7-7 operator"
check "the journal is in order" journal_check

# ---- beside a gateway: a record holds its route ----

JOURNAL_DIR=$WORK/held
ROUTES='{ name = "held"; topic_filters = "#"; topic = "good"; envelope = "none"; }'
write_limit
for i in 1 2 3 4 5; do
	echo "plant/$i 100 0"
done | feed || bail "no journal"
mock_tell error produce TOPIC_AUTHORIZATION_FAILED 1000 || bail "no error"
check "what is to be skipped, without forward, is queued" says \
	"queued: tidegate-forward will carry it out when it runs" admin skip 1
start_forward
is_held_at() {
	grep -q "route held holds at $1:" "$WORK/beside.log"
}
check "then it is skipped, and the route comes to the next one" wait_for 30 is_held_at 2
check "which is skipped at once" says "2 went to the dead letters, for 1 route" admin skip 2
check "asked again, it says the same" says "1 went to the dead letters, for 1 route" \
	admin skip 1
check "one that has not come yet is refused" ends_with 1 admin skip 77
check "the two are in the dead letters" dead_is "1:held 2:held"
check "with the reason" eval 'dump --dead --json | jq -es "all(.reason == \"skipped\")"'
check "beside it, a letter is discarded by order" \
	says "1 dead letter discarded; a gap marker was left for it" admin discard-dead 2
check "the log says who did that" grep -q "discarded, as ordered: 1" \
	"$WORK/beside.log"
check "and the other is requeued" says "1 dead letter requeued" admin requeue-dead --all
check "the others wait" has good
mock_tell error produce TOPIC_AUTHORIZATION_FAILED 0 || bail "no end of the error"
check "without the error the route goes on, by itself" wait_for 30 has good 3 4 5 1
check "what has left is not skipped" says "3: no route owes it any more" admin skip 3
check "forward ends" end_pid $FORWARD_PID
check "the journal is in order" journal_check

# ---- no room for dead letters ----

JOURNAL_DIR=$WORK/full
JOURNAL_SETTINGS='max_bytes = "16 MiB"; dead_max_bytes = "256 KiB";'
ROUTES='{ name = "all"; topic_filters = "#"; topic = "ta"; envelope = "none"; }'
write_limit 1000
for ((i = 0; i < 8; i++)); do
	echo "plant/1 50000 0"
done | feed || bail "no journal"
start_forward
check "dead letters without room hold the route, with an alarm" \
	wait_for 20 grep -q 'error.*route all holds at .*dead letters.*full' "$WORK/beside.log"
discard_until_empty() {
	journal_is_empty || {
		admin discard-dead --all
		return 1
	}
}
check "discarding lets it go on by itself" wait_for 30 discard_until_empty
check "it says so" grep -q 'route all goes on' "$WORK/beside.log"
check "forward ends" end_pid $FORWARD_PID
check "the last ones are discarded" admin discard-dead --all
check "each of them left its mark" gaps_are "1-8 operator"

# ---- under load; forward is killed ----

JOURNAL_DIR=$WORK/load
JOURNAL_SETTINGS=
ROUTES='{ name = "load"; topic_filters = "t/#"; topic = "records"; envelope = "none"; }'
BROKER_PORT=
start_mosquitto || bail "no mosquitto"
write_limit 2000

# dead_seqs: every third letter, ten at most
dead_seqs() {
	dump --dead --json | jq -r .seq | sed -n '1~3p' | head -n 10
}

has_letters() {
	[ "$(dump --dead --json | wc -l)" -ge "$1" ]
}

# In turn; forward is killed while it has the order, or is about to.
requeue_and_discard() {
	local seqs pid rc i
	for ((i = 0; i < ${DEAD_LETTERS_ROUNDS:-6}; i++)); do
		wait_for 20 has_letters 20 || return 1
		if [ $((i % 2)) -eq 0 ]; then
			admin --wait 30 requeue-dead --all &
		else
			mapfile -t seqs < <(dead_seqs)
			admin --wait 30 discard-dead "${seqs[@]}" &
		fi
		pid=$!
		sleep "0.$((RANDOM % 4))" # how far it has come is left to chance
		kill -KILL "$FORWARD_PID"
		wait "$FORWARD_PID"
		start_forward
		wait "$pid"
		rc=$?
		# An order to requeue all that still waits may come before: then some are gone.
		[ "$rc" -eq 0 ] || [ "$rc$((i % 2))" = 11 ] || return 1
	done
}

# Nothing is in two places, and no number is without one.
each_in_one_place() {
	local next
	next=$(dump --stat --json | jq -r .next_seq)
	{
		headers records | sed -n 's|^tidegate=[^/]*/[^/]*/\([0-9]*\)/.*|sent \1|p'
		requeued records | awk '{ print "again", $2, $1 }'
		dump --dead --json | jq -r '"dead \(.seq)"'
		dump --gaps --json | jq -r 'range(.first_seq; .last_seq + 1) | "gap \(.)"'
	} | awk -v next_seq="$next" '
		$1 == "again" && ($2 in again) && again[$2] != $3 { print "twice: " $2; bad = 1 }
		$1 == "again" { again[$2] = $3; count["again"]++; next }
		$1 == "sent" && ($2 in sent) { count["repeated"]++; next }
		$1 == "sent" { sent[$2] = 1 }
		$1 == "gap" { gap[$2] = 1 }
		$1 == "dead" { dead[$2] = 1 }
		{ count[$1]++ }
		END {
			for (seq = 1; seq < next_seq; seq++) {
				places = (seq in sent) + (seq in again) + (seq in gap) + (seq in dead)
				if (places != 1) {
					print places " places: " seq
					bad = 1
				}
			}
			printf "# sent %d, repeated %d, requeued %d, gaps %d, dead %d\n", count["sent"],
				count["repeated"], count["again"], count["gap"], count["dead"]
			exit bad || count["again"] == 0 || count["gap"] == 0
		}'
}

"$TOP_BUILDDIR/tidegate-ingest" -c "$CONF" >>"$WORK/ingest.log" 2>&1 &
INGEST_PID=$!
track $INGEST_PID
start_forward
check "the subscription is taken" wait_for 20 is_subscribed 't/#'
publish_start load -d 5 -r 400 -s 100-2400
check "letters are requeued and discarded while forward is killed" requeue_and_discard
check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 60 journal_is_empty
check "there are dead letters" test "$(dump --dead --json | wc -l)" -gt 0
check "forward stops" end_pid $FORWARD_PID
write_limit
start_forward # with the limit raised
check "all letters are requeued" admin --wait 30 requeue-dead --all
check "the journal becomes empty again" wait_for 60 journal_is_empty
check "there are no dead letters any more" dead_is ""
check "each message is in one place" each_in_one_place
check "the journal is in order" journal_check
check "forward stops again" end_pid $FORWARD_PID
check "ingest stops" end_pid $INGEST_PID
tap_done
