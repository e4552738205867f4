#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegated --check-connection against a real Kafka: what the configuration of a topic
# means here, a topic that is missing where the cluster makes topics and where it does
# not, a cluster that is frozen, and one that gives an address that nobody can reach.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub kcat jq timeout "$TOP_BUILDDIR/tidegated"

LIMIT_S=15

# finds STATUS: what it said is in $WORK/said
finds() {
	local from found
	from=$(now_ms)
	timeout -k 1 60 "$TOP_BUILDDIR/tidegated" -c "$CONF" --check-connection \
		>"$WORK/said" 2>"$WORK/said.err"
	found=$?
	LOOKED_MS=$(($(now_ms) - from))
	[ "$found" -eq "$1" ] && return 0
	echo "status $found"
	cat "$WORK/said" "$WORK/said.err"
	return 1
}
LOOKED_MS=0

# says RESULT TOPIC TEXT: the line of that topic
says() {
	local line
	line=$(grep "^$1 *kafka topic $2: " "$WORK/said")
	[ -n "$line" ] && [[ $line == *"$3"* ]] && return 0
	cat "$WORK/said"
	return 1
}

in_time() {
	diag "after $LOOKED_MS ms"
	# And what a busy machine needs on top.
	[ "$LOOKED_MS" -lt $((LIMIT_S * 1000 + 3000)) ]
}

# It lists all topics, and so makes none.
is_there() {
	kcat -b "$KAFKA_BOOTSTRAP" -L -J | jq -e --arg name "$1" '.topics[] | select(.topic == $name)'
}

is_missing() {
	! is_there "$1"
}

# route NAME [SETTING]: to the topic of that name
route() {
	echo "{ name = \"$1\"; topic_filters = [ \"t/#\" ]; topic = \"$1\"; envelope = \"none\"; ${2:-} }"
}

arrived() {
	timeout 30 kcat -b "$KAFKA_BOOTSTRAP" -C -t "$1" -o beginning -c 1 -q >"$WORK/arrived" &&
		grep -qx "$2" "$WORK/arrived"
}

publish() {
	mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/a -m "$1"
}

# kafka_with NAME=VALUE...: stop it, change its settings, start it
kafka_with() {
	kafka stop && printf '%s\n' "$@" >>"$KAFKA_DIR/server.properties" && kafka restart
}

SASL_MODULE=org.apache.kafka.common.security.plain.PlainLoginModule
KAFKA_LISTENERS=SASL:SASL_PLAINTEXT start_kafka \
	listener.name.sasl.sasl.enabled.mechanisms=PLAIN \
	"listener.name.sasl.plain.sasl.jaas.config=$SASL_MODULE required user_site=\"right\";" \
	authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
	super.users=User:ANONYMOUS || bail "no Kafka"
start_mosquitto || bail "no mosquitto"
kafka create-topic plain 4 || bail "no topic"
kafka create-topic brief 1 retention.ms=3000 || bail "no topic"
kafka create-topic compacted 1 cleanup.policy=compact || bail "no topic"
kafka create-topic narrow 1 max.message.bytes=20000 || bail "no topic"
kafka create-topic insync 1 min.insync.replicas=2 || bail "no topic"
kafka create-topic strict 1 message.timestamp.before.max.ms=3600000 || bail "no topic"
kafka create-topic state 1 cleanup.policy=compact || bail "no topic"

# ---- what a topic's configuration means ----

ROUTES=$(route plain)
write_conf
check "nothing is wrong" finds 0
check "the brokers are told" grep -q "^ok    kafka brokers: 1 broker: $KAFKA_BOOTSTRAP; cluster " "$WORK/said"
check "the topic is told with its partitions" says ok plain "4 partitions, 1 replica; keeps records for 7 days"
check "no line is a warning" sh -c "! grep -v '^ok ' '$WORK/said'"

ROUTES="$(route plain), $(route brief), $(route narrow), $(route insync), $(route strict),
	$(route compacted "key = \"\${user:device}\";")"
write_conf 'status = { kafka_topic = "state"; };'
check "warnings are no failure" finds 0
check "a topic that deletes by record times that may be older" says warn brief "deleted too soon"
check "how large a record may be is told" says ok narrow "up to 19.5 KiB when compressed (max.message.bytes)"
check "more replicas wanted than there are" says warn insync "min.insync.replicas is 2"
check "a topic that refuses old record times" says warn strict "refuses record times older than 60 min"
check "a compacted topic, and a key that may be empty" says warn compacted "key may be empty"
check "the status topic may be compacted" says ok state "compacted"
check "the others are as they were" says ok plain "4 partitions"
ROUTES=$(route compacted 'key = "";')
write_conf
check "a compacted topic, and no key" finds 1
check "fails" says fail compacted "the route's key is empty"
ROUTES="$(route insync)"
KAFKA_SETTINGS='acks = 1;'
write_conf
check "fewer acknowledgements wanted" finds 0
check "and it is well" says ok insync "1 replica"
KAFKA_SETTINGS=

# ---- a backlog ----

ROUTES=$(route brief 'timestamp = "received";')
write_conf
check "Kafka is frozen" kafka pause
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
check "a message is published" publish waiting
check "it is journalled" wait_for 20 has_next_seq 1
check "a frozen cluster: status 1" finds 1
check "it ends in time" in_time
check "no answer is told" grep -q '^fail  kafka brokers: .*no answer in time' "$WORK/said"
check "the backlog is told" grep -q '^ok    journal backlog: 1 records wait' "$WORK/said"
check "the gateway stops" stop_gateway
check "Kafka thaws" kafka resume
backlog_is_too_old() {
	finds 0 && says warn brief "deleted soon after they arrive"
}
check "retention is shorter than the backlog is old" wait_for 30 backlog_is_too_old

# ---- a topic that is missing ----

ROUTES=$(route absent)
write_conf
check "a missing topic" finds 0
check "the cluster does not make it" says warn absent \
	"does not exist, and the cluster does not create topics by itself"
check "Kafka makes topics by itself" kafka_with auto.create.topics.enable=true num.partitions=3
check "the same topic" finds 0
check "the cluster would make it" says warn absent \
	"the cluster creates topics by itself: the first record makes it (num.partitions=3)"
check "looking again" finds 0
check "looking has not made it" is_missing absent
check "the gateway starts" start_gateway
check "the first record makes it" wait_for 30 is_there absent
check "the journal becomes empty" wait_for 30 journal_is_empty
check "the record has arrived" arrived absent waiting
check "the topic is told" finds 0
check "with its partitions" says ok absent "3 partitions"
check "the gateway stops" stop_gateway

# ---- a user who may not ----

as_site() {
	local bootstrap=$KAFKA_BOOTSTRAP
	KAFKA_SETTINGS="properties = [ \"security.protocol=SASL_PLAINTEXT\",
		\"sasl.mechanisms=PLAIN\", \"sasl.username=site\", \"sasl.password=$1\" ];"
	KAFKA_BOOTSTRAP=$(cat "$KAFKA_DIR/address.SASL")
	write_conf
	KAFKA_BOOTSTRAP=$bootstrap
	KAFKA_SETTINGS=
}
ROUTES=$(route plain)
as_site wrong
check "a wrong password: status 1" finds 1
check "is told" grep -q '^fail  kafka authentication: .*password is wrong' "$WORK/said"
check "and shown nowhere" sh -c "! grep -qE 'sasl.password|=wrong' '$WORK/said' '$WORK/said.err'"
as_site right
check "a user without any right: status 1" finds 1
check "the way in is told" grep -q '^ok    kafka authentication: PLAIN over plain text' "$WORK/said"
check "and the topic that is closed" says fail plain "Topic authorization failed"

# ---- an address for clients that leads nowhere ----

ROUTES=$(route plain)
write_conf
nowhere=$(free_port)
check "Kafka gives out another address" kafka_with "advertised.listeners=PLAINTEXT://127.0.0.1:$nowhere"
check "status 1" finds 1
check "the leader cannot be reached there" grep -q \
	"^fail  kafka leader 127.0.0.1:$nowhere: .*does not answer at the address" "$WORK/said"
check "it ends in time" in_time
tap_done
