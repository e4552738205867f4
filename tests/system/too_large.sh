#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A message that the journal can never hold: a line in the log and a gap marker with a
# sequence number of its own; the others pass, and the broker does not send it again.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

# A sixteenth of this is the largest that may come in: 256 KiB.
JOURNAL_SETTINGS='max_bytes = "4 MiB";'

publish_some() {
	publish_start large -d 4 -n 200
	publish_wait 30
}

publish_large() {
	head -c 400000 /dev/zero | tr '\0' x >"$WORK/large.payload"
	mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t t/large -f "$WORK/large.payload"
}

is_logged() {
	grep -i 'too large\|larger' "$WORK/gateway.log"
}

start_mosquitto || bail "no mosquitto"
start_mock records:1 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
check "messages are published" publish_some
check "one that is too large is published" publish_large
check "more are published" publish_some
check "each took a sequence number, the large one too" wait_for 30 has_next_seq 401
check "the journal becomes empty" wait_for 30 journal_is_empty
consume_start large records -w -D 0 -R 0
check "all the others arrived once" consume_finish large
check "the log says so" is_logged
check "there is one gap marker" test "$(dump --stat --json | jq -r .gaps)" = 1
check "the journal is in order" journal_check
check "the gateway stops" stop_gateway
check "the gateway starts again" start_gateway
check "messages are published again" publish_some
check "they are journalled" wait_for 30 has_next_seq 601
check "and the large one did not come again" test "$(dump --stat --json | jq -r .next_seq)" = 602
check "the gateway stops again" stop_gateway
tap_done
