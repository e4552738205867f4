#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a real Kafka says to a route while records flow: it may not write there any more,
# the topic is deleted and made again with fewer partitions, no record time suits it, a
# record can never be taken, Kafka has forgotten the producer, its log has lost records,
# the password is wrong. Each time a second route goes on meanwhile; when it is mended the
# first goes on by itself; nothing is missing, and the order is kept. See also rejection.sh
# (what one record is refused for, an unknown topic), replicas.sh (too few, leaders that
# move), security.sh (who may come in).

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/forward.sh
. "$TOP_SRCDIR/tests/lib/forward.sh"

need jq kcat "$FORWARD" "$FEED" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it

MODULE=org.apache.kafka.common.security.plain.PlainLoginModule
BROKER_SETTINGS=(
	listener.name.sasl.sasl.enabled.mechanisms=PLAIN
	"listener.name.sasl.plain.sasl.jaas.config=$MODULE required user_gateway=\"right\";"
	authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
	super.users=User:ANONYMOUS allow.everyone.if.no.acl.found=true
	producer.id.expiration.ms=2000 producer.id.expiration.check.interval.ms=500
)

# ---- a case: a journal, a topic for a/#, another for b/#, and forward beside the test ----

# new_case NAME PARTITIONS [ROUTE_SETTINGS [KAFKA_SETTINGS]]
new_case() {
	CASE=$1
	JOURNAL_DIR=$WORK/$1
	kafka create-topic "$1" "$2" || bail "no topic"
	kafka create-topic "$1-other" 1 || bail "no topic"
	KAFKA_SETTINGS="properties = [ \"security.protocol=SASL_PLAINTEXT\",
		\"sasl.mechanisms=PLAIN\", \"sasl.username=gateway\", \"sasl.password=right\",
		\"topic.metadata.propagation.max.ms=1000\", \"reconnect.backoff.max.ms=500\" ]; ${4-}"
	ROUTES="{ name = \"main\"; topic_filters = [ \"a/#\" ]; topic = \"$1\";
		  envelope = \"none\"; ${3-} },
		{ name = \"other\"; topic_filters = [ \"b/#\" ]; topic = \"$1-other\";
		  envelope = \"none\"; }"
	write_conf
	: >"$WORK/$1.ledger"
	start_forward
}

KAFKA_LISTENERS=SASL:SASL_PLAINTEXT start_kafka "${BROKER_SETTINGS[@]}" || bail "no Kafka"
PLAIN_ADDRESS=$KAFKA_BOOTSTRAP
KAFKA_BOOTSTRAP=$(cat "$KAFKA_DIR/address.SASL")

# ---- not authorised: to write, then also to see it ----

for what in write all; do
	new_case "no-$what" 2
	flow_start
	check "no-$what: records flow" other_goes_on
	check "no-$what: it is taken away" kafka deny-topic "no-$what" gateway "$what"
	check "no-$what: the route holds" holds '.*([Aa]uthoriz|let us)'
	check "no-$what: the other route goes on" other_goes_on
	check "no-$what: records end" flow_end
	check "no-$what: it is given back" kafka allow-topic "no-$what" gateway
	check "no-$what: the route goes on by itself" goes_on
	check "no-$what: all are there in order" judge "no-$what" a
	end_case
done

# ---- deleted and made again, with fewer partitions ----

make_again() {
	kafka delete-topic again && kafka create-topic again "$1"
}

# again_has_some: is anything in its partition 0 to 3?
again_has_some() {
	local p
	for p in 0 1 2 3; do
		[ "$(end_of "again:$p")" -gt 0 ] && return 0
	done
	return 1
}

new_case again 4
flow_start 1000
check "again: records flow" other_goes_on
check "again: the topic is deleted in use" kafka delete-topic again
check "again: the route holds" holds '.*([Uu]nknown|does not know)'
check "again: the other route goes on" other_goes_on
check "again: it is made again with 2 of its 4 partitions" kafka create-topic again 2
check "again: the route goes on by itself" wait_for 30 again_has_some
for count in ${AGAIN_COUNTS:-4 1 3 1}; do
	check "again: deleted and made again at once, with $count" make_again "$count"
	check "again: the other route goes on" other_goes_on
	check "again: the route goes on by itself" wait_for 30 again_has_some
done
check "again: records end" flow_end
check "again: the route goes on by itself" goes_on
check "again: what is there has no hole" judge again a some
from=$(($(wc -l <"$WORK/again.ledger") + 1))
lines 700 | feed
check "again: more records are delivered" goes_on
check "again: they are there in order" judge again a "$from"
end_case

# ---- no record time suits it: neither the arrival nor the time of sending ----

new_case time 2
flow_start
check "time: records flow" other_goes_on
from_here
check "time: a clock that is exact is wanted" kafka alter-topic time \
	message.timestamp.before.max.ms=0
check "time: the route holds" holds '.*timestamp'
check "time: the other route goes on" other_goes_on
check "time: records end" flow_end
check "time: any time will do" kafka alter-topic time message.timestamp.before.max.ms=60000
check "time: the route goes on by itself" goes_on
check "time: all are there in order" judge time a
end_case

# ---- a record that the topic can never take, among others ----

# shellcheck disable=SC2016
new_case keyless 1 'key = "${topic:2}";'
check "keyless: its keys are kept" kafka alter-topic keyless cleanup.policy=compact
flow_start
check "keyless: records flow" other_goes_on
check "keyless: records end" flow_end
feed_lines() {
	{ lines 100; echo a 200 0; lines 100; } | feed
}
check "keyless: one without a key comes, too" feed_lines
check "keyless: it is dead" wait_for 30 dead_is 1
check "keyless: for what it is" says_more 'went to the dead letters .refused: .*Broker failed to validate'
odd=$(($(wc -l <"$WORK/keyless.ledger") - 100))
check "keyless: the route goes on by itself" goes_on
check "keyless: all others are there in order" judge keyless a 1 "$odd"
end_case 1

# ---- bury: what is refused for the topic goes, the rest stays in order ----

new_case bury 2 'on_reject = "bury";' 'retries = 2;'
flow_start
check "bury: records flow" other_goes_on
check "bury: it is taken away" kafka deny-topic bury gateway write
check "bury: records are buried" wait_for 30 dead_is_more 0
check "bury: the other route goes on" other_goes_on
check "bury: it is given back" kafka allow-topic bury gateway
check "bury: records end" flow_end
check "bury: the route goes on by itself" goes_on
dump --dead --json | jq -r .seq >"$WORK/buried"
check "bury: all others are there in order" judge bury a 1 "$(tr '\n' ' ' <"$WORK/buried")"
end_case "$(dead)"

# ---- Kafka forgets the producer ----

producers_are() {
	[ "$(python3 "$TOP_SRCDIR/tests/lib/kafka_producers.py" "$PLAIN_ADDRESS" "$CASE")" = "$1" ]
}

new_case forgotten 1
lines 700 | feed
check "forgotten: records are delivered" goes_on
check "forgotten: Kafka knows the producer" producers_are 1
check "forgotten: Kafka knows it no more" wait_for 30 producers_are 0
flow_start
check "forgotten: records flow again" other_goes_on
check "forgotten: records end" flow_end
check "forgotten: the route goes on" goes_on
check "forgotten: all are there in order" judge forgotten a
end_case

# ---- Kafka loses what it has acknowledged: its numbers and ours differ ----

# restart_kafka [SED_SCRIPT]: killed, with other settings, and with what lose() does
restart_kafka() {
	kafka kill && sed -i "$1" "$KAFKA_DIR/server.properties" && "${2:-true}" && kafka restart
}

lose() {
	truncate -s 5000 "$KAFKA_DIR"/data/lost-0/00000000000000000000.log
}

new_case lost 1 '' 'compression = "none";'
lines 700 | feed
check "lost: records are delivered" goes_on
check "lost: Kafka is killed and its log is cut" \
	restart_kafka 's/^producer.id.expiration.ms=.*/producer.id.expiration.ms=86400000/' lose
check "lost: that has cut something" cannot judge lost a
flow_start
check "lost: records flow again" other_goes_on
check "lost: the numbers do not fit any more" \
	wait_for 30 says_more 'made anew: .*sequence desynchronization'
check "lost: records end" flow_end
check "lost: the route goes on by itself" goes_on
check "lost: all new ones are there in order" judge lost a 701
end_case

# ---- a route that holds, through kills of forward and of Kafka ----

KILLS=${ANSWERS_KILLS:-20}
kills_of_forward() {
	local i
	for ((i = 0; i < KILLS; i++)); do
		kill_forward && other_goes_on || return 1
	done
}

new_case held 2
flow_start
check "held: records flow" other_goes_on
check "held: it is taken away" kafka deny-topic held gateway write
check "held: the route holds" holds '.*([Aa]uthoriz|let us)'
check "held: forward is killed $KILLS times, the other route goes on" kills_of_forward
check "held: forward is stopped and started, the other route goes on" stop_forward
check "held: the other route goes on" other_goes_on
check "held: Kafka is killed and takes our password no more" \
	restart_kafka 's/user_gateway="right"/user_gateway="other"/'
check "held: that is told" wait_for 30 says_more \
	"Kafka does not let us in: .* user name or password is wrong"
check "held: Kafka is killed and takes it again" \
	restart_kafka 's/user_gateway="other"/user_gateway="right"/'
check "held: the other route goes on" other_goes_on
check "held: the route still holds" holds '.*([Aa]uthoriz|let us)'
check "held: records end" flow_end
kept=$(journal_count)
check "held: all of them are kept" test "$kept" -gt 1000
check "held: it is given back" kafka allow-topic held gateway
check "held: the route goes on by itself" goes_on
check "held: all are there in order" judge held a
end_case
kafka stop
tap_done
