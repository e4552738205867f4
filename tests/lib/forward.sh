# shellcheck shell=bash
# Variables of common.sh, and those that are set for the tests:
# shellcheck disable=SC2034,SC2153,SC2154
# SPDX-License-Identifier: Apache-2.0
#
# For tests of tidegate-forward alone, without MQTT: a journal $JOURNAL_DIR that is fed
# beside the test, with a ledger of its own in $WORK/$CASE.ledger; forward's log is
# $WORK/$CASE.log. One route has the MQTT topics a/#; another, b/#, goes to the Kafka topic
# $CASE-other, and should go on whatever the first one meets. PLAIN_ADDRESS is where Kafka
# lets everybody read.

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal

# ---- forward ----

start_forward() {
	SEEN_LINES=0
	"$FORWARD" -c "$CONF" >>"$WORK/$CASE.log" 2>&1 &
	FORWARD_PID=$!
	track "$FORWARD_PID"
}

kill_forward() {
	kill -KILL "$FORWARD_PID" && wait_for 5 is_gone "$FORWARD_PID" && start_forward
}

stop_forward() {
	end_pid "$FORWARD_PID" 20 && start_forward
}

# ---- what it is fed with, and what arrives ----

# lines COUNT: of six devices of the first route and one of the second
lines() {
	awk -v count="$1" 'BEGIN {
		for (i = 1; i <= count; i++)
			print (i % 7 ? "a/" i % 7 : "b/1"), 200, 0
	}'
}

# feed: more records by the lines of stdin, all at once
feed() {
	local before
	before=$(wc -l <"$WORK/$CASE.ledger")
	tee -a "$WORK/$CASE.ledger" | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" $((before + 1))
}

# flow_start [COUNT], flow_end: 100, or so many, every 0.1 s, or so, beside the test
flow_start() {
	local before
	before=$(wc -l <"$WORK/$CASE.ledger")
	touch "$WORK/flows"
	while [ -e "$WORK/flows" ]; do
		lines "${1:-100}"
		sleep 0.1
	done | tee -a "$WORK/$CASE.ledger" |
		"$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" $((before + 1)) 2>>"$WORK/$CASE.log" &
	FLOW_PID=$!
	track "$FLOW_PID"
}

flow_end() {
	rm -f "$WORK/flows"
	wait_for 20 is_gone "$FLOW_PID" && wait "$FLOW_PID"
}

# values TOPIC: "KEY NUMBER" of all that is in it, one partition after the other
values() {
	local p partitions
	partitions=$(timeout 20 kcat -b "$PLAIN_ADDRESS" -L -J -t "$1" 2>>"$WORK/kcat.log" |
		jq '.topics[0].partitions | length')
	for ((p = 0; p < ${partitions:-0}; p++)); do
		timeout 60 kcat -C -b "$PLAIN_ADDRESS" -t "$1" -p "$p" -e -q -f '%k %s\n' \
			-X check.crcs=true 2>>"$WORK/kcat.log"
	done | awk '{ print $1, $2 }'
}

# judge TOPIC FIRST_LEVEL [FROM [BUT]]: all that the ledger has from number FROM on, but
# for some, each for the first time in the order of its device. With FROM "some": what is
# there has no hole and goes to the end.
judge() {
	values "$1" >"$WORK/values"
	awk -v level="$2/" -v from="${3:-1}" -v but=" ${4-} " '
		NR == FNR { key[FNR] = $1; count = FNR; next }
		index(key[$2], level) != 1 { print "# " $2 " does not belong here"; bad = 1 }
		seen[$2]++ { repeats++; next }
		$2 < last[key[$2]] { print "# " $2 " comes after " last[key[$2]]; bad = 1 }
		{ last[key[$2]] = $2; n++ }
		END {
			for (i = 1; i <= count; i++) {
				if (index(key[i], level) != 1)
					continue
				if (from == "some" && !seen[i] && !begun[key[i]])
					continue
				begun[key[i]] = 1
				if (seen[i] || (from != "some" && i < from) || index(but, " " i " "))
					continue
				if (!missing++)
					first = i
				bad = 1
			}
			if (missing)
				print "# missing: " missing ", first " first " of " count
			for (k in key)
				if (!begun[key[k]] && index(key[k], level) == 1)
					bad = 1
			printf "# %d records, %d repeats\n", n, repeats
			exit bad
		}' "$WORK/$CASE.ledger" "$WORK/values"
}

# acked ROUTE: up to where it owes nothing
acked() {
	dump --stat --json 2>/dev/null | jq -r --arg route "$1" '.acknowledged[$route] // 0'
}

# delivers_more ROUTE: it delivers what comes now
delivers_more() {
	local was
	was=$(acked "$1")
	was=${was:-0} # a journal that is just being made
	is_further() { [ "$(acked "$1")" -gt "$2" ] 2>/dev/null; }
	wait_for 40 is_further "$1" "$was"
}

other_goes_on() {
	delivers_more other
}

# end_of TOPIC:PARTITION: how far its log goes. (Reading has no end while records flow.)
end_of() {
	timeout 10 kcat -Q -b "$PLAIN_ADDRESS" -t "$1:-1" 2>>"$WORK/kcat.log" |
		sed -n 's/.*offset //p' | grep . || echo 0
}

# holds TEXT: a new line that the first route holds, and why
holds() {
	wait_for 30 says_more "route main holds at .*: $1"
}

says_more() {
	tail -n "+$((SEEN_LINES + 1))" "$WORK/$CASE.log" | grep -qE -- "$1"
}

# from_here: holds and says_more look at what is logged from now on
from_here() {
	SEEN_LINES=$(wc -l <"$WORK/$CASE.log")
}

goes_on() {
	wait_for "${1:-60}" journal_is_empty
}

# end_case [DEAD]
end_case() {
	check "$CASE: the journal becomes empty" wait_for 60 journal_is_empty
	check "$CASE: forward ends" end_pid "$FORWARD_PID" 20
	check "$CASE: the other route has all in order" judge "$CASE-other" b
	check "$CASE: ${1:-0} are dead" dead_is "${1:-0}"
}

dead() {
	dump --stat --json | jq -r .dead
}

dead_is() {
	[ "$(dead)" = "$1" ]
}

dead_is_more() {
	[ "$(dead)" -gt "$1" ]
}

cannot() {
	! "$@"
}
