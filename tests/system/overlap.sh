#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Three filters of one route overlap, and a second route takes the same messages: each
# message reaches each route once, though the broker may send it once per filter.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

# Each message matches two of the first route's filters, and the second's.
ROUTES='{ name = "three"; topic_filters = [ "+/dev-000", "t/+", "+/dev-001" ];
	  topic = "three"; envelope = "none"; },
	{ name = "all"; topic_filters = [ "t/#" ]; topic = "all"; envelope = "none"; }'

start_mosquitto || bail "no mosquitto"
start_mock three:2 all:2 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its widest filter is taken" wait_for 20 is_subscribed 't/#'
check "a filter that it does not cover is taken" wait_for 20 is_subscribed '+/dev-001'
publish_start overlap -d 2 -n 1000
check "messages are published" publish_wait 30
check "the journal becomes empty" wait_for 30 journal_is_empty
consume_start overlap three -w -D 0 -R 0
check "each reached the first route once" consume_finish overlap
consume_start overlap all -w -D 0 -R 0
check "each reached the second route once" consume_finish overlap
check "each was journalled once" test "$(dump --stat --json | jq -r .next_seq)" = 1001
check "the gateway stops" stop_gateway
tap_done
