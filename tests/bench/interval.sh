#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# interval.sh [-s]: what journal.commit_interval_ms costs and saves: bytes written to the
# block device for each message, commits a second, and how long a message takes to the
# gateway's PUBACK and to Kafka's acknowledgement, for 0, 10, 100 and 1,000 ms at 10, 100
# and 1,000 messages a second. The gateway is whole, so the device also takes what
# tidegate-forward writes. -s: a short run.
#
# With root and loop devices the journal is on an ext4 of its own in a file, in a mount
# namespace of its own; otherwise on the disk of the build tree, and what is counted is
# all that the machine writes there.

if [ -z "${TIDEGATE_OWN_MOUNTS:-}" ] && [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	TIDEGATE_OWN_MOUNTS=1 exec unshare -m --propagation private "$0" "$@"
fi

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

INTERVALS=(0 10 100 1000)
RATES=(10 100 1000)
SECONDS_EACH=14
WARM_S=1
if [ "${1:-}" = -s ]; then
	INTERVALS=(0 100)
	RATES=(100)
	SECONDS_EACH=1
fi
DISK_MIB=128
CARD_TB=10 # of writes, for the column with its life
HOPS=$BENCH/hops
WATCH=$BENCH/hops_watch.so
IS_OWN=0
LOOP=

bench_cleanup() {
	[ $IS_OWN = 0 ] || umount "$DISK/mount"
	[ -z "$LOOP" ] || losetup -d "$LOOP"
}

# Written out in full first, so that the file below it is never enlarged meanwhile.
mount_own() {
	[ -n "${TIDEGATE_OWN_MOUNTS:-}" ] && command -v losetup mkfs.ext4 >/dev/null || return 1
	mkdir "$DISK/mount" &&
		dd if=/dev/zero of="$DISK/image" bs=1M count=$DISK_MIB conv=fsync &&
		mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$DISK/image" || return 1
	LOOP=$(losetup -f --show --direct-io=on "$DISK/image") ||
		LOOP=$(losetup -f --show "$DISK/image") || return 1
	mount "$LOOP" "$DISK/mount" || return 1
	IS_OWN=1
}

# Bytes written to the device so far; "-" where it does not say.
written() {
	sync -f "$JOURNAL_DIR"
	awk '{ print $7 * 512 }' "/sys/dev/block/$DEVICE/stat" 2>/dev/null || echo -
}

FIRST=0 # the next row
feed() {
	timeout 120 "$HOPS" mqtt "$MEMORY/hops" "$FIRST" "$1" "$2" "$BROKER_PORT" \
		2>>"$WORK/feed.log" || return 1
	FIRST=$((FIRST + $1))
	# What was delivered is truncated a little later.
	wait_for 20 journal_is_empty
}

# cell INTERVAL RATE: a line of INTERVAL RATE SECONDS BYTES COMMITS PUBACK50 PUBACK99 ACK50 ACK99
cell() {
	local count=$(($2 * SECONDS_EACH)) before after
	feed $(($2 * WARM_S)) "$2" || return 1
	before=$(written)
	feed "$count" "$2" || return 1
	after=$(written)
	"$HOPS" report "$MEMORY/hops" $((FIRST - count)) "$count" >"$WORK/report" || return 1
	awk -v interval="$1" -v rate="$2" -v count="$count" -v before="$before" -v after="$after" '
		$1 == "commits" { commits = $2 }
		$1 == "to-puback" { puback = $3 "\t" $4; seen = $5 }
		$1 == "to-ack" { ack = $3 "\t" $4 }
		END {
			if (seen != count)
				exit 1
			bytes = before == "-" ? "-" : (after - before) / count
			print interval "\t" rate "\t" bytes "\t" commits * rate / count "\t" puback "\t" ack
		}' "$WORK/report"
}

table() {
	echo "| commit_interval_ms | messages/s | commits/s | bytes to disk a message | a day |" \
		"years to $CARD_TB TB | PUBACK p50 / p99 ms | Kafka p50 / p99 ms |"
	echo "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
	awk -F '\t' -v card=$CARD_TB '
		function day(bytes) {
			return bytes < 995e6 ? sprintf("%.0f MB", bytes / 1e6) : \
				sprintf("%.1f GB", bytes / 1e9)
		}
		function number(v) { return sprintf(v < 1 ? "%.2f" : v < 10 ? "%.1f" : "%.0f", v) }
		{
			a_day = $3 * $2 * 86400
			disk = "- | - | -"
			if ($3 != "-")
				disk = sprintf("%.0f | %s | %s", $3, day(a_day), \
					number(card * 1e12 / a_day / 365.25))
			printf "| %s | %s | %s | %s | %s / %s | %s / %s |\n", $1, $2, number($4), \
				disk, number($5), number($6), number($7), number($8)
		}' "$WORK/cells"
}

if mount_own >"$WORK/mount.log" 2>&1; then
	JOURNAL_DIR=$DISK/mount/journal
fi
mkdir "$JOURNAL_DIR"
DEVICE=$(stat -c %Hd:%Ld "$JOURNAL_DIR")
start_bench_kafka
"$KAFKA" create-topic "$MEMORY/kafka" records 4 >>"$WORK/kafka.log" 2>&1 || fail "no topic"
start_mosquitto || fail "no mosquitto"
KAFKA_SETTINGS='compression = "none";'
ROUTES='{ name = "bench"; topic_filters = "#"; topic = "records"; envelope = "none"; }'
rows=0
for rate in "${RATES[@]}"; do
	rows=$((rows + rate * (SECONDS_EACH + WARM_S) * ${#INTERVALS[@]}))
done
"$HOPS" make "$MEMORY/hops" $rows || fail "no memory"
for interval in "${INTERVALS[@]}"; do
	JOURNAL_SETTINGS="max_bytes = \"32 MiB\"; commit_interval_ms = $interval;"
	write_conf
	: >"$WORK/mosquitto.log" # of the earlier ones' subscriptions
	TIDEGATE_HOPS=$MEMORY/hops LD_PRELOAD=$WATCH start_gateway || fail "no gateway"
	wait_for 20 is_subscribed '#' || fail "no subscription"
	for rate in "${RATES[@]}"; do
		cell "$interval" "$rate" || fail "$interval ms at $rate/s"
	done >>"$WORK/cells" || exit 1
	stop_gateway || fail "the gateway does not end"
done

echo "What commit_interval_ms costs and saves, messages of 200 bytes. Years: until a card"
echo "has taken $CARD_TB TB; how much yours takes, its maker says."
[ $IS_OWN = 1 ] ||
	echo "No loop device of its own: bytes to disk are all that the machine wrote to $DEVICE."
echo
table
if [ -n "${BENCH_OUT:-}" ]; then
	printf '%s\t' interval_ms messages_per_s disk_bytes_per_message commits_per_s \
		puback_p50_ms puback_p99_ms ack_p50_ms >"$BENCH_OUT/interval.tsv"
	echo ack_p99_ms >>"$BENCH_OUT/interval.tsv"
	cat "$WORK/cells" >>"$BENCH_OUT/interval.tsv"
fi
