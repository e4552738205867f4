#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-forward against a Kafka whose answers are spoilt on the way, from a seed: lengths,
# numbers, ends, garbage. It does not crash; once the answers are right again, everything
# arrives, in order.
#
#   peer_kafka.sh [-t SECONDS] [-s SEED] [-k | -x]
#
# -k: with a real Apache Kafka, which is fetched; -x: that, and delivery = "exactly_once"
# (which the mock cluster cannot show: it does not take back what was aborted).

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/proxy.sh
. "$TOP_SRCDIR/tests/lib/proxy.sh"

# It counts as one result.
skip_all() {
	echo "skipped: $*" >&2
	exit 77
}

seconds=10
seed=$RANDOM
is_real=
delivery=at_least_once
once=
while getopts t:s:kx option; do
	case $option in
	t) seconds=$OPTARG ;;
	s) seed=$OPTARG ;;
	k) is_real=yes ;;
	x)
		is_real=yes
		delivery=exactly_once
		once='-x -D 0'
		;;
	*) exit 2 ;;
	esac
done

need python3 mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

# An answer that never comes must not take a minute each time.
KAFKA_SETTINGS="delivery = \"$delivery\"; properties = [ \"socket.timeout.ms=1000\",
	\"reconnect.backoff.ms=10\", \"reconnect.backoff.max.ms=200\" ];"

diag "seed $seed"
start_mosquitto || bail "no mosquitto"
if [ -n "$is_real" ]; then
	start_kafka || bail "no Kafka"
	kafka create-topic records 4 || bail "no topic"
else
	start_mock records:4 || bail "no embedded Kafka"
fi
start_proxy kafka-proxy "${KAFKA_BOOTSTRAP##*:}" --kafka --seed "$seed" || bail "no proxy"
# shellcheck disable=SC2086 # options
consume_start fuzz records -w -T 120 $once
KAFKA_BOOTSTRAP=127.0.0.1:$PROXY_PORT write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
publish_start fuzz -d 20 -r 300

forward=$(worker_pid forward)
RANDOM=$seed
end=$(($(now_ms) + seconds * 1000))
while [ "$(now_ms)" -lt $end ]; do
	tell_proxy kafka-proxy mangle "0.$((RANDOM % 6))"
	sleep "$((RANDOM % 2)).$((RANDOM % 10))"
	# Else nothing but the handshake would ever be spoilt.
	tell_proxy kafka-proxy pass
	sleep "0.$((RANDOM % 10))"
done
check "forward is the process that it was" test "$(worker_pid forward)" = "$forward"
check "the answers are right again" tell_proxy kafka-proxy pass
check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 60 journal_is_empty
check "nothing is lost${once:+, repeated} or out of order" consume_finish fuzz 150
check "nothing went to the dead letters" test "$(dump --stat --json | jq .dead)" -eq 0
check "the proxy counts" tell_proxy kafka-proxy count
diag "spoilt: $PROXY_ANSWER"
check "the gateway stops" stop_gateway
check "in order" test "$GATEWAY_STATUS" -eq 0
tap_done
