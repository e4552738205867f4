#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A message that is taken from the broker and journalled costs no allocation of
# tidegate-ingest's own: a long backlog takes no more of them than a short one. Counted in
# a build of it that does nothing else otherwise; its libraries' are their own affair. And
# it has no socket pair, into which libmosquitto would write for each message.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

COUNTED=$TESTLIB/tidegate-ingest-counted
need mosquitto jq "$TESTLIB/ledger_publish" "$COUNTED"

SHORT=6000
LONG=30000
# Growth of buffers, and what is done once a second: less than one for 100 messages.
MOST_MORE=240

ingest_start() {
	"$COUNTED" -c "$CONF" >"$WORK/$1.log" 2>&1 &
	INGEST_PID=$!
	track "$INGEST_PID"
}

has_next() {
	dump --stat --json | jq -e ".next_seq > $1"
}

# drain NAME COUNT ALL: publish COUNT with properties while nobody takes them, then take them
drain() {
	timeout 120 "$TESTLIB/ledger_publish" -p "$BROKER_PORT" -l "$WORK/$1.ledger" -d 20 \
		-n "$2" -s 200 -u || return 1
	ingest_start "$1"
	wait_for 60 has_next "$3" && end_pid "$INGEST_PID" 20
}

allocations() {
	sed -n 's/^allocations: //p' "$WORK/$1.log"
}

# compare SHORT LONG
is_steady() {
	local short long
	short=$(allocations "$1") && long=$(allocations "$2") || return 1
	diag "$SHORT messages: $short allocations; $LONG messages: $long"
	[ "$short" -gt 20 ] && [ $((long - short)) -le "$MOST_MORE" ]
}

# One would be two sockets of the kind of /proc/net/unix.
has_no_pair() {
	local fd inode
	for fd in "/proc/$INGEST_PID"/fd/*; do
		inode=$(readlink "$fd")
		[[ $inode = socket:* ]] || continue
		inode=${inode//[!0-9]/}
		awk -v inode="$inode" '$7 == inode { found = 1 } END { exit !found }' \
			/proc/net/unix && return 1
	done
	[ -e "/proc/$INGEST_PID/fd" ]
}

KAFKA_BOOTSTRAP=127.0.0.1:1 # nobody asks for it
start_mosquitto || bail "mosquitto starts"
write_conf
ingest_start first
check "it subscribes" wait_for 20 is_subscribed 't/#'
check "it has no socket pair" has_no_pair
end_pid "$INGEST_PID"
check "a short backlog is taken" drain short $SHORT $SHORT
check "a long backlog is taken" drain long $LONG $((SHORT + LONG))
check "the long one costs no more allocations than the short one" is_steady short long
tap_done
