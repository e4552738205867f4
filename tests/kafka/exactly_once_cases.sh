#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Exactly once where something is wrong with the site or the cluster, straight from a
# journal, without MQTT: the position topic is deleted, or of the wrong kind; so is the
# topic itself; one record is too large for it, in the middle of a transaction; a topic is
# unknown beside a good one; we may not write to one, or read positions; Kafka forgets the
# transactional id; another transaction hides the position; a second gateway has the same
# id. What Kafka has then, as a consumer with read_committed sees it, is each record once
# and in order.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
HOLD=$TESTLIB/hold_transaction
need jq kcat "$FORWARD" "$FEED" "$HOLD" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it
POSITIONS=tidegate.positions

# new_case NAME [KAFKA_SETTINGS]: a journal and a topic of its own
new_case() {
	CASE=$1
	JOURNAL_DIR=$WORK/$1
	GATEWAY_ID=$1
	CONF=$WORK/$1.conf
	KAFKA_SETTINGS="delivery = \"exactly_once\"; ${2-}"
	ROUTES="{ name = \"r\"; topic_filters = [ \"a/#\" ]; topic = \"$1\"; envelope = \"none\"; }"
	write_conf
}

make_topic() {
	kafka create-topic "$@" || bail "no topic"
}

# feed FIRST LAST [TOPIC [LARGE_AT]]: records of 200 bytes, one perhaps of 100,000
feed() {
	awk -v first="$1" -v last="$2" -v topic="${3:-a/1}" -v large="${4:-0}" 'BEGIN {
		for (i = first; i <= last; i++)
			print topic, i == large ? 100000 : 200, 0
	}' | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" "$1"
}

start_forward() {
	"$FORWARD" -c "$CONF" >>"$WORK/$CASE.log" 2>&1 &
	FORWARD_PID=$!
	track "$FORWARD_PID"
}

end_forward() {
	end_pid "$FORWARD_PID" 20
}

forward_once() {
	timeout 120 "$FORWARD" -c "$CONF" --once >>"$WORK/$CASE.log" 2>&1
}

# says TEXT: in the log of this case
says() {
	grep -q -- "$1" "$WORK/$CASE.log"
}

# values TOPIC: the numbers of the records that were committed, a line each
values() {
	timeout 60 kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -p 0 -e -q -f '%s\n' \
		-X isolation.level=read_committed 2>>"$WORK/kcat.log" | awk '{ print $1 }'
}

# has TOPIC NUMBERS...: those, once each, in that order, and no other
has() {
	local topic=$1
	shift
	printf '%s\n' "$@" >"$WORK/wanted"
	values "$topic" >"$WORK/values"
	diff "$WORK/wanted" "$WORK/values" | head -n 20
	cmp -s "$WORK/wanted" "$WORK/values"
}

count_is() {
	[ "$(values "$1" | wc -l)" -ge "$2" ]
}

dead_is() {
	[ "$(dump --stat --json | jq -r .dead)" = "$1" ]
}

has_one_partition() {
	timeout 20 kcat -L -b "$KAFKA_BOOTSTRAP" -t "$1" | grep -q "topic \"$1\" with 1 partitions"
}

# ANONYMOUS, of the plain listener, may do all; "gateway", of the other, what is not denied.
MODULE=org.apache.kafka.common.security.plain.PlainLoginModule
KAFKA_LISTENERS=SASL:SASL_PLAINTEXT start_kafka transactional.id.expiration.ms=4000 \
	listener.name.sasl.sasl.enabled.mechanisms=PLAIN \
	"listener.name.sasl.plain.sasl.jaas.config=$MODULE required user_gateway=\"right\";" \
	authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
	super.users=User:ANONYMOUS allow.everyone.if.no.acl.found=true \
	transaction.abort.timed.out.transaction.cleanup.interval.ms=1000 \
	transaction.remove.expired.transaction.cleanup.interval.ms=1000 || bail "no Kafka"

# ---- the position topic ----

new_case missing
make_topic missing 1
feed 1 500 || bail "no journal"
check "missing: the journal is drained" forward_once
check "missing: the log tells that the position topic was made" says "made the topic $POSITIONS"
check "missing: it has one partition" has_one_partition "$POSITIONS"
check "missing: each is there once" has missing $(seq 500)

new_case deleted
make_topic deleted 1
feed 1 500 || bail "no journal"
start_forward
check "deleted: the first arrive" wait_for 60 count_is deleted 500
check "deleted: the position topic is deleted" kafka delete-topic "$POSITIONS"
feed 501 1000 || bail "no journal"
check "deleted: the rest arrive all the same" wait_for 90 count_is deleted 1000
feed 1001 1500 || bail "no journal"
check "deleted: and what comes later" wait_for 60 count_is deleted 1500
check "deleted: the log tells that it was made again" says "made the topic $POSITIONS"
check "deleted: forward ends" end_forward
check "deleted: each is there once" has deleted $(seq 1500)

new_case short 'position_topic = "short-positions";'
make_topic short 1
make_topic short-positions 1 cleanup.policy=delete
feed 1 100 || bail "no journal"
start_forward
check "short: they arrive" wait_for 60 count_is short 100
feed 101 200 || bail "no journal"
check "short: and the next" wait_for 60 count_is short 200
check "short: forward ends" end_forward
check "short: a position topic that deletes is warned of" wait_for 5 says "cleanup.policy=delete"

# Another gateway has a transaction open in the position topic: what was committed behind
# its beginning is hidden from a consumer with read_committed, but must not be overlooked.
hold_transaction() {
	mkfifo "$WORK/hold"
	"$HOLD" "$KAFKA_BOOTSTRAP" another "$POSITIONS" 5000 <"$WORK/hold" >"$WORK/held" \
		2>>"$WORK/$CASE.log" &
	track $!
	exec 6>"$WORK/hold"
	wait_for 30 grep -q open "$WORK/held"
}

copy_journal() {
	cp -r "$JOURNAL_DIR" "$WORK/copy"
}

restore_journal() {
	rm -rf "$JOURNAL_DIR" && mv "$WORK/copy" "$JOURNAL_DIR"
}

new_case hidden
make_topic hidden 1
feed 1 100 || bail "no journal"
check "hidden: the first arrive" forward_once
feed 101 200 || bail "no journal"
check "hidden: the journal is kept as it is" copy_journal
check "hidden: another transaction is open" hold_transaction
check "hidden: the rest arrive" forward_once
check "hidden: the journal forgets that" restore_journal
check "hidden: it is delivered again" forward_once
check "hidden: Kafka had it already" says "Kafka has what is for it up to 200"
exec 6>&-
check "hidden: each is there once" has hidden $(seq 200)

# ---- what is sent ----

new_case too-large 'compression = "none";'
make_topic too-large 1 max.message.bytes=20000
feed 1 2000 a/1 1000 || bail "no journal"
check "too-large: the journal is drained" forward_once
check "too-large: all others are there once" has too-large $(seq 999) $(seq 1001 2000)
check "too-large: the one is dead" dead_is 1

new_case unknown
ROUTES='{ name = "good"; topic_filters = [ "a/#" ]; topic = "unknown"; envelope = "none"; },
	{ name = "later"; topic_filters = [ "b/#" ]; topic = "later"; envelope = "none"; }'
write_conf
make_topic unknown 1
feed 1 500 b/1 || bail "no journal"
feed 501 1000 || bail "no journal"
start_forward
check "unknown: the good route is served at once" wait_for 10 count_is unknown 500
check "unknown: the other one holds" wait_for 30 says "route later holds"
feed 1001 1500 || bail "no journal"
check "unknown: the good route goes on" wait_for 10 count_is unknown 1000
make_topic later 1
check "unknown: the other one goes on when its topic is made" wait_for 90 count_is later 500
check "unknown: forward ends" end_forward
check "unknown: each is there once" has unknown $(seq 501 1500)
check "unknown: in both" has later $(seq 500)
check "unknown: nothing is dead" dead_is 0

new_case gone
make_topic gone 1
feed 1 300 || bail "no journal"
start_forward
check "gone: the first arrive" wait_for 60 count_is gone 300
check "gone: the topic is deleted" kafka delete-topic gone
feed 301 600 || bail "no journal"
check "gone: the route holds" wait_for 90 says "route r holds"
make_topic gone 1
check "gone: it goes on in the new one" wait_for 120 count_is gone 300
check "gone: forward ends" end_forward
check "gone: each is there once" has gone $(seq 301 600)

# ---- the transactional id ----

new_case expired
make_topic expired 1
feed 1 100 || bail "no journal"
start_forward
check "expired: the first arrive" wait_for 60 count_is expired 100
# Nothing tells from outside when Kafka has forgotten it.
sleep 9
feed 101 200 || bail "no journal"
check "expired: the rest arrive" wait_for 60 count_is expired 200
check "expired: forward ends" end_forward
check "expired: each is there once" has expired $(seq 200)

# ---- rights ----

PLAIN_ADDRESS=$KAFKA_BOOTSTRAP
KAFKA_BOOTSTRAP=$(cat "$KAFKA_DIR/address.SASL")
new_case denied 'position_topic = "denied-positions";
	properties = [ "security.protocol=SASL_PLAINTEXT", "sasl.mechanisms=PLAIN",
		"sasl.username=gateway", "sasl.password=right" ];'
ROUTES='{ name = "good"; topic_filters = [ "a/#" ]; topic = "denied-good"; envelope = "none"; },
	{ name = "bad"; topic_filters = [ "b/#" ]; topic = "denied"; envelope = "none"; }'
write_conf
KAFKA_BOOTSTRAP=$PLAIN_ADDRESS
make_topic denied 1
make_topic denied-good 1
make_topic denied-positions 1 cleanup.policy=compact
kafka deny-topic denied-positions gateway all || bail "no rule"
feed 1 100 || bail "no journal"
start_forward
check "denied: which rights the position topic needs is said" \
	wait_for 30 says "this user needs READ, WRITE and DESCRIBE"
check "denied: nothing is sent without them" test "$(values denied-good | wc -l)" -eq 0
check "denied: they are given back" kafka allow-topic denied-positions gateway
check "denied: records arrive" wait_for 60 count_is denied-good 100
check "denied: one topic is taken away" kafka deny-topic denied gateway write
feed 101 200 b/1 || bail "no journal"
check "denied: its route holds" wait_for 60 says "route bad holds"
feed 201 300 || bail "no journal"
check "denied: the other one goes on" wait_for 60 count_is denied-good 200
check "denied: the topic is given back" kafka allow-topic denied gateway
check "denied: its route goes on" wait_for 90 count_is denied 100
check "denied: forward ends" end_forward
check "denied: each is there once" has denied-good $(seq 100) $(seq 201 300)
check "denied: in both" has denied $(seq 101 200)

# ---- a second gateway ----

# Two gateways, two journals, one id: they fence one another, and both arrive.
new_case first 'transactional_id = "shared";'
make_topic first 1
feed 1 3000 || bail "no journal"
start_forward
FIRST_PID=$FORWARD_PID
new_case second 'transactional_id = "shared";'
make_topic second 1
feed 1 3000 || bail "no journal"
start_forward
check "shared: the second arrives" wait_for 120 count_is second 3000
CASE=first JOURNAL_DIR=$WORK/first
check "shared: the first arrives" wait_for 120 count_is first 3000
for ((i = 1; i <= 3; i++)); do
	JOURNAL_DIR=$WORK/first GATEWAY_ID=first feed $((2901 + i * 100)) $((3000 + i * 100)) || bail "no journal"
	check "shared: the first is fenced, and goes on ($i)" wait_for 60 count_is first $((3000 + i * 100))
	JOURNAL_DIR=$WORK/second GATEWAY_ID=second feed $((2901 + i * 100)) $((3000 + i * 100)) || bail "no journal"
	check "shared: so does the second ($i)" wait_for 60 count_is second $((3000 + i * 100))
done
check "shared: the first says who else it may be" says "another gateway uses the transactional id shared"
CASE=second
check "shared: the second ends" end_forward
FORWARD_PID=$FIRST_PID
check "shared: the first ends" end_forward
check "shared: each of the first is there once" has first $(seq 3300)
check "shared: each of the second is there once" has second $(seq 3300)

kafka stop
tap_done
