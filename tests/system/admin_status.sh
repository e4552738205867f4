#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-admin status: well only while data moves, by word and by exit status; one line
# fits into a short message. And the orders that wait: listed, and taken back.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub jq kcat "$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated" \
	"$TOP_BUILDDIR/tidegate-admin"

ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; }'

publish() { # COUNT
	seq "$1" | mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/a -l
}

admin() {
	timeout 60 "$TOP_BUILDDIR/tidegate-admin" -c "$CONF" "$@" 2>>"$WORK/admin.err"
}

# short_is STATUS PATTERN [OPTION...]: the line, its length and the exit status
short_is() {
	local status=$1 pattern=$2 rc
	shift 2
	timeout 60 "$TOP_BUILDDIR/tidegate-admin" "${@:--c$CONF}" status --short \
		>"$WORK/short" 2>>"$WORK/admin.err"
	rc=$?
	cat "$WORK/short"
	[ "$rc" -eq "$status" ] && [ "$(wc -l <"$WORK/short")" -eq 1 ] &&
		[ "$(wc -c <"$WORK/short")" -le 80 ] && grep -qE "^$pattern\$" "$WORK/short" &&
		! LC_ALL=C grep -q '[^ -~]' "$WORK/short"
}

# long_has PATTERN...: each is in a line of the long form
long_has() {
	local pattern
	admin status >"$WORK/long"
	for pattern; do
		grep -qE "$pattern" "$WORK/long" && continue
		echo "missing: $pattern"
		cat "$WORK/long"
		return 1
	done
}

order_number() { # the last one of the list
	admin orders | tail -n 1 | awk '{ print $1 }'
}

orders_have() { # PATTERN
	admin orders >"$WORK/orders"
	cat "$WORK/orders"
	grep -qE "$1" "$WORK/orders"
}

start_mosquitto || bail "no mosquitto"
start_mock records:1 || bail "no embedded Kafka"
write_conf

check "with no journal and no daemon it is not well" \
	short_is 1 'NOT WELL: tidegated does not run.*'
check "and what is not known is not told as none" long_has '^orders +not known'

start_gateway || bail "the gateway does not start"
check "well, once both ends are there" wait_for 20 short_is 0 'well; 0 wait'
check "the exit status of the long form is the same" admin status
publish 12
check "what was delivered is told, with the route and the workers" wait_for 20 \
	long_has '^state +well$' '^tidegated +runs since' 'tidegate-forward +runs \(pid' \
	'^broker +connected since .*, 12 messages received' '^Kafka +reachable' \
	'^default +12 +0 +0 +moves' '^orders +0 wait'
json_is_well() {
	admin status --json | jq -e '.well and .state == "well" and .records_waiting == 0'
}
check "as JSON it is the status report" json_is_well
check "by the directory alone it is the same" short_is 0 'well; 0 wait' -d "$JOURNAL_DIR"

mock_down || bail "the embedded Kafka does not go"
publish 1234
check "without Kafka it is not well, and says what waits" wait_for 30 \
	short_is 1 'NOT WELL: waiting for Kafka.*; 1,234 wait, oldest [0-9]+[sm].*'
json_tells() {
	! admin status --json >"$WORK/json" && jq -e '(.well | not) and .records_waiting == 1234' \
		"$WORK/json"
}
check "nor as JSON" json_tells
check "the long form tells the same first" long_has '^state +NOT WELL: waiting for Kafka' \
	'^default +12 +1,234 +0 +waits for Kafka'

# ---- orders ----
check "no orders" orders_have 'there are no orders'
check "an order that cannot be carried out yet waits" admin --wait 0 skip 20
check "and is listed" orders_have ' waits +skip 20'
N=$(order_number)
check "it can be withdrawn" admin withdraw "$N"
check "then it does not wait any more" orders_have "^$N .* withdrawn +skip 20"
not_again() {
	! admin withdraw "$N" && ! admin withdraw 4711
}
check "it cannot be withdrawn twice, nor one that is not there" not_again

mock_up || bail "the embedded Kafka does not come back"
check "well again, when all is delivered" wait_for 60 short_is 0 'well; 0 wait'
withdrawn_was_delivered() {
	[ "$(kcat -q -C -e -b "$KAFKA_BOOTSTRAP" -t records -o beginning | wc -l)" -eq 1246 ] &&
		dump --dead | wc -l | grep -qx 0
}
check "what was to be skipped was delivered" withdrawn_was_delivered

# ---- it does not run, or may not be looked at ----
kill_worker forward
check "a worker that died is told" wait_for 20 long_has 'tidegate-forward .* 1 restarts.*signal 9'
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	chmod o+x "$WORK" && chmod o+rx "$JOURNAL_DIR" && chmod o+rw "$JOURNAL_DIR"/*
	other_user() {
		setpriv --reuid 65534 --regid 65534 --clear-groups \
			"$WORK/tidegate-admin" -d "$JOURNAL_DIR" status >"$WORK/other" 2>&1
		[ $? -eq 1 ] && grep -q 'belongs to another user' "$WORK/other" &&
			grep -q '^state .*NOT WELL' "$WORK/other" && return 0
		cat "$WORK/other"
		return 1
	}
	# The build tree may be somebody's private one.
	cp "$TOP_BUILDDIR/tidegate-admin" "$WORK"
	check "another user is told who may look" other_user
else
	skip "another user is told who may look" "it takes root"
fi
check "well, when it is back" wait_for 20 short_is 0 'well; 0 wait'
kill -STOP "$GATEWAY_PID"
looked_and_let_go() {
	for _ in 1 2 3 4 5; do
		short_is 0 'well.*' || return 1
	done
}
check "looking needs nobody's answer" looked_and_let_go
kill -CONT "$GATEWAY_PID"
check "it stops" stop_gateway
check "a daemon that does not run is not well" short_is 1 'NOT WELL: tidegated does not run; 0 wait'
check "also by the directory" short_is 1 'NOT WELL: tidegated does not run; 0 wait' -d "$JOURNAL_DIR"

check "without a daemon an order to skip is queued" admin skip 99999
check "listed" orders_have ' waits +skip 99999'
check "and withdrawn at once" admin withdraw "$(order_number)"
check "that is told, too" orders_have ' withdrawn +skip 99999'
tap_done
