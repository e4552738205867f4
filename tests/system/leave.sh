#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-admin leave: what the broker holds for a gateway that is retired comes into the
# journal before its session ends; what the journal holds, tidegate-forward --once delivers.
# Nothing is lost and nothing doubled, also where it meets a full journal, or is killed.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub mosquitto_sub jq "$TESTLIB/mockkafka" \
	"$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegate-admin" "$TOP_BUILDDIR/tidegate-ingest"

V=()
[ "$MQTT_PROTOCOL" = 5 ] || V=(-4)
ID=tidegate-$GATEWAY_ID
# They overlap: the copy that is surplus stays so to the end.
ROUTES='{ name = "default"; topic_filters = [ "t/#", "+/d1/#" ]; topic = "records"; envelope = "none"; }'
JOURNAL_SETTINGS='max_bytes = "2 MiB"; compression = "none";'
MQTT_SETTINGS="client_id = \"$ID\";"
STATUS='status = { mqtt_topic = "tidegate/status"; interval_s = 1; };'

admin() {
	timeout 120 "$TOP_BUILDDIR/tidegate-admin" -c "$CONF" "$@" >"$WORK/admin.out" 2>&1
}

# leave_says STATUS TEXT
leave_says() {
	admin leave
	[ $? -eq "$1" ] && grep -qF -- "$2" "$WORK/admin.out" && return 0
	cat "$WORK/admin.out"
	return 1
}

# What it says is next, as it says it.
do_what_is_next() {
	local command
	command=$(sed -n 's/^.*; next: //p' "$WORK/admin.out")
	[ -n "$command" ] || return 1
	# shellcheck disable=SC2086
	timeout 60 $command >>"$WORK/forward.log" 2>&1
}

# publish COUNT [OPTION...]: each with its PUBACK
publish() {
	local count=$1
	shift
	publish_start leave -d 4 -n "$count" "${V[@]}" "$@"
	publish_wait 60
}

# connect_flags FLAGS: the broker's answer to CONNECT with our id (MQTT 3.1.1, 3.1)
connect_flags() {
	local length=${#ID}
	exec 8<>"/dev/tcp/127.0.0.1/$BROKER_PORT" || return 1
	# shellcheck disable=SC2059
	printf "\\x10\\x$(printf %02x $((12 + length)))\\0\\x04MQTT\\x04\\x$1\\0\\x3c\\0\\x$(
		printf %02x "$length")$ID" >&8
	timeout 5 head -c 4 <&8 | od -An -tx1
	printf '\xe0\0' >&8
	exec 8>&-
}

# Somebody with our id who wants to go on with an earlier session meets none.
has_no_session() {
	local answer
	answer=$(connect_flags 00)
	connect_flags 02 # ends what that has begun
	[ "$answer" = ' 20 02 00 00' ]
}

retained_status() {
	mosquitto_sub -p "$BROKER_PORT" -t tidegate/status -C 1 -W 2
}


start_mosquitto || bail "no mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf "$STATUS"
start_gateway || bail "the gateway does not start"
check "the subscriptions are taken" wait_for 20 is_subscribed '+/d1/#' "$ID"
consume_start leave records -w -D 0 -R 0
check "messages come" publish 500
check "the report is kept by the broker" wait_for 20 retained_status
check "beside a daemon it is refused" leave_says 1 'stop tidegated first'
check "the gateway stops" stop_gateway
check "the broker keeps what comes now" publish 1000

stop_mosquitto
check "without the broker it fails, and the session stays" leave_says 1 'the session at the broker stays'
start_mosquitto || bail "no mosquitto any more"

# ---- killed in the middle ----
"$TOP_BUILDDIR/tidegate-ingest" --leave -c "$CONF" >>"$WORK/leave.log" 2>&1 &
LEAVE_PID=$!
track $LEAVE_PID
came_over() { [ "$(dump --stat --json | jq -r .next_seq)" -ge 1501 ]; }
check "what the broker holds comes into the journal" wait_for 20 came_over
kill -KILL $LEAVE_PID
wait $LEAVE_PID 2>/dev/null
start_gateway || bail "the gateway does not start again"
subscribed_again() { [ "$(grep -cF " $ID 1 t/#" "$WORK/mosquitto.log")" -ge 2 ]; }
check "killed, it was not the end: a gateway subscribes again" wait_for 20 subscribed_again
check "and takes messages" publish 500
check "the gateway stops again" stop_gateway

# ---- a full journal ----
check "the broker keeps more than the journal can hold" publish 3000 -s 2000
check "a full journal ends it, and the session stays" leave_says 1 'the journal is full'
check "that is said" grep -q 'the session at the broker stays' "$WORK/admin.out"
for round in 1 2 3 4 5 6 7 8 9; do
	timeout 60 "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF" >>"$WORK/forward.log" 2>&1 ||
		break
	admin leave && break
done
diag "rounds: $round"
check "in turn with tidegate-forward --once it comes to its end" \
	grep -q 'the session at the broker has ended' "$WORK/admin.out"
check "what it names as next empties the journal" do_what_is_next
check "nothing is lost, nothing doubled" consume_finish leave
check "the journal is empty" journal_is_empty
check "the broker has no session any more" has_no_session
no_report() { ! retained_status; }
check "nor a report of this gateway" no_report
check "done twice, it says so" leave_says 0 'the broker has no session of this gateway'
check "and that it can be retired" grep -q 'the gateway can be retired' "$WORK/admin.out"
without_configuration() {
	! "$TOP_BUILDDIR/tidegate-admin" -d "$JOURNAL_DIR" leave
}
check "without the configuration it does not guess" without_configuration
tap_done
