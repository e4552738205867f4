#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# chain.sh [-s]: how long a message takes from publish to Kafka's acknowledgement, by
# mosquitto, tidegated with its workers and Kafka, against an idempotent producer that
# hands the same records straight to Kafka: 2,000 a second, one by one, linger 5 ms, same
# key, header as long, no compression; the gateway commits at once. Both are observed by
# hops_watch.so, up to the call of the delivery report. A real Apache Kafka, with its log
# in memory. Also the legs of the way. -s: a short run.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

RATE=2000
RUNS=5
COUNT=30000
WARM=4000
FIRST_RUN=0 # it warms up Kafka's machine
if [ "${1:-}" = -s ]; then
	RUNS=1
	COUNT=2000
	WARM=500
	FIRST_RUN=1
fi
ROWS=$((COUNT + WARM))
HOPS=$BENCH/hops
WATCH=$BENCH/hops_watch.so

# report NAME FILE RUN: without what came while it warmed up
report() {
	"$HOPS" report "$2" $(($3 * ROWS + WARM)) "$COUNT" >"$WORK/$1.$3"
}

chain() {
	timeout 120 "$HOPS" mqtt "$MEMORY/chain" $(($1 * ROWS)) "$ROWS" "$RATE" \
		"$BROKER_PORT" 2>>"$WORK/feed.log" && report chain "$MEMORY/chain" "$1"
}

direct() {
	TIDEGATE_HOPS=$MEMORY/direct LD_PRELOAD=$WATCH timeout 120 "$HOPS" kafka \
		"$MEMORY/direct" $(($1 * ROWS)) "$ROWS" "$RATE" "$KAFKA_BOOTSTRAP" records \
		2>>"$WORK/feed.log" && report direct "$MEMORY/direct" "$1"
}

# value SIDE LEG COLUMN: of all runs, in their order
value() {
	local run
	for ((run = 1; run <= RUNS; run++)); do
		awk -v leg="$2" -v column="$3" '$1 == leg { print $column }' "$WORK/$1.$run"
	done
}

# compare ROW COLUMN TARGET QUIET: the lowest of each side, and the medians
compare() {
	paste <(value direct to-ack "$2") <(value chain to-ack "$2") |
		"$TOP_SRCDIR/tests/bench/ratios.awk" -v costs=1 -v count=1000000 -v unit=ms \
			-v base=direct -v ours=chain -v row="$1" -v quiet="$4" -v target="$3" \
			-v name="chain at $RATE/s, publish to acknowledgement, $1" ||
		fail "no times"
}

# legs SIDE: the mean of the runs' means, the medians of the others
legs() {
	local leg
	for leg in publish-arrive arrive-commit commit-wake wake-produce produce-wire \
		wire-ack to-ack commit-puback; do
		paste <(value "$1" $leg 2) <(value "$1" $leg 3 | sort -n) \
			<(value "$1" $leg 4 | sort -n) |
			awk -v leg="$leg" 'NF == 3 { n++; mean += $1; p50[n] = $2; p99[n] = $3 }
				END { if (n > 0) printf "%-22s %12.2f %12.2f %12.2f\n", leg, mean / n, \
					p50[int(n / 2) + 1], p99[int(n / 2) + 1] }'
	done
}

start_bench_kafka
"$KAFKA" create-topic "$MEMORY/kafka" records 4 >>"$WORK/kafka.log" 2>&1 || fail "no topic"
start_mosquitto || fail "no mosquitto"
JOURNAL_SETTINGS='max_bytes = "1 GiB"; commit_interval_ms = 0;'
KAFKA_SETTINGS='compression = "none"; linger_ms = 5;'
ROUTES='{ name = "bench"; topic_filters = "#"; topic = "records"; envelope = "none";
	user_properties = false; }'
write_conf
"$HOPS" make "$MEMORY/chain" $(((RUNS + 1) * ROWS)) || fail "no memory"
"$HOPS" make "$MEMORY/direct" $(((RUNS + 1) * ROWS)) || fail "no memory"
TIDEGATE_HOPS=$MEMORY/chain LD_PRELOAD=$WATCH start_gateway || fail "no gateway"
wait_for 20 is_subscribed '#' || fail "no subscription"

for ((run = FIRST_RUN; run <= RUNS; run++)); do
	if ((run % 2)); then
		chain "$run" && direct "$run"
	else
		direct "$run" && chain "$run"
	fi || fail "run $run"
done
stop_gateway || fail "the gateway does not end"

echo "From publish to Kafka's acknowledgement at $RATE messages a second, linger 5 ms:"
echo "the whole chain against a producer straight to Kafka; ms, $RUNS runs in turn"
echo
compare p50 3 '<=1.6' 0
compare p99 4 '<=2.5' 1
echo
printf "%-22s %12s %12s %12s\n" "legs of the chain" mean p50 p99
legs chain
echo
printf "%-22s %12s %12s %12s\n" "direct" mean p50 p99
legs direct
