#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The settings of the producer, seen from a real Kafka: what its requests say and what
# its log holds. The first server in the list is dead; the second is in IPv6.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
need jq kcat "$FORWARD" "$FEED"
BROKER_PORT=1883 # nobody connects to it
COUNT=200

# run_case NAME SETTINGS: a journal, delivered to the topic NAME
run_case() {
	JOURNAL_DIR=$WORK/$1
	KAFKA_SETTINGS=$2
	ROUTES="{ name = \"r\"; topic_filters = [ \"#\" ]; topic = \"$1\"; envelope = \"none\"; }"
	write_conf
	yes 'dev/1 200 0' | head -n "$COUNT" | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" &&
		timeout 60 "$FORWARD" -c "$CONF" --once >>"$WORK/$1.log" 2>&1 && count_is "$1"
}

count_is() {
	[ "$(timeout 20 kcat -C -b "$ADDRESS" -t "$1" -e -q -f '%s\n' 2>>"$WORK/kcat.log" |
		wc -l)" -eq "$COUNT" ]
}

# requests TOPIC: of the producer, a JSON object each
requests() {
	sed -n 's/.*Completed request://p' "$KAFKA_DIR/broker.log" |
		jq -c --arg topic "$1" 'select(.requestHeader.requestApiKeyName == "PRODUCE" and
			.request.topicData[0].name == $topic)' 2>/dev/null
}

# asked TOPIC EXPRESSION: is it true of every request that it made? The broker's log may lag.
asked() {
	requests "$1" | jq -se --arg topic "$1" "length > 0 and all($2)"
}

# batches TOPIC: of its log, a line each
batches() {
	awk -v topic="$1" '/^Dumping/ { here = index($0, "/data/" topic "-") } /^baseOffset/ && here' \
		"$WORK/dumped"
}

# The codec of all batches of more than one record: a codec must be worth it.
has_codec() {
	batches "codec-$1" | grep -v ' count: 1 ' >"$WORK/batches"
	[ -s "$WORK/batches" ] && ! grep -v " compresscodec: $1 " "$WORK/batches"
}

# largest TOPIC: the size of its largest batch
largest() {
	batches "$1" | sed 's/.* size: \([0-9]*\) .*/\1/' | sort -n | tail -n 1
}

SIX='SIX:PLAINTEXT:[::1]'
[ -e /proc/net/if_inet6 ] && (exec 7<>/dev/udp/::1/9) 2>/dev/null || SIX=SIX:PLAINTEXT
export KAFKA_JVM='-Xms128m -Xmx512m -XX:+UseSerialGC -Dkafka.requests=debug'
KAFKA_LISTENERS=$SIX start_kafka auto.create.topics.enable=true || bail "no Kafka"
ADDRESS=$KAFKA_BOOTSTRAP
KAFKA_BOOTSTRAP="127.0.0.1:$(free_port),$(cat "$KAFKA_DIR/address.SIX")"
diag "$KAFKA_BOOTSTRAP"

for acks in all -1 1 0; do
	number=${acks/all/-1}
	check "acks $acks: delivered" run_case "acks-$acks" "acks = \"$acks\";"
	check "acks $acks: asked for" wait_for 20 asked "acks-$acks" ".request.acks == $number"
	says=$(grep -c "acks = $acks: records may be lost" "$WORK/acks-$acks.log")
	check "acks $acks: the log says what it promises" test "$says" -eq $((number < 0 ? 0 : 1))
done
check "acks as a number: delivered" run_case acks-number "acks = 1;"
check "acks as a number: asked for" wait_for 20 asked acks-number ".request.acks == 1"

for codec in none gzip snappy lz4 zstd; do
	check "compression $codec: delivered" run_case "codec-$codec" "compression = \"$codec\";"
done
check "batch_size_bytes: delivered" run_case small \
	'compression = "none"; batch_size_bytes = "2000 B";'
# Twice: the first record to a partition goes alone.
began=$(now_ms)
check "linger_ms: delivered" run_case linger 'linger_ms = 1000;'
check "linger_ms: waits for more" test $(($(now_ms) - began)) -ge 1900
check "client id and property: delivered" run_case others \
	'client_id_prefix = "fleet"; properties = [ "request.timeout.ms=12345" ];'
check "client id: prefix and gateway id" wait_for 20 asked others \
	".requestHeader.clientId == \"fleet-$GATEWAY_ID\""
check "property: asked for" wait_for 20 asked others ".request.timeoutMs == 12345"

kafka dump-log codec-none codec-gzip codec-snappy codec-lz4 codec-zstd small
mv "$WORK/kafka.out" "$WORK/dumped"
for codec in none gzip snappy lz4 zstd; do
	check "compression $codec: in Kafka's log" has_codec "$codec"
done
check "batch_size_bytes: no batch is larger" test "$(largest small)" -le 2000
check "batch_size_bytes: that is not by chance" test "$(largest codec-none)" -gt 2000

kafka stop
tap_done
