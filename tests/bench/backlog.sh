#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# backlog.sh [-s]: what a backlog of ten million messages of 200 bytes costs, against a small
# one: memory of all processes, time from the start of tidegated to the first delivery, with
# the journal in the page cache and not; rate of the drain; tidegate-dump --stat; and how
# long ingest's commits take while it drains. BACKLOG=N for another number. -s: a short run.
#
# First and last delivery are by Kafka's clock: its topic has the time of appending to its
# log. That log is in memory, so that its disk is not what is measured.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

MANY=${BACKLOG:-10000000}
FEW=100000
FEWEST=1000
STARTS=5
COLD_STARTS=2
DRAINS=3
FEW_DRAINS=3 # for each of MANY
TRAFFIC=10000
if [ "${1:-}" = -s ]; then
	MANY=${BACKLOG:-60000}
	FEW=6000
	STARTS=1
	COLD_STARTS=1
	DRAINS=1
	FEW_DRAINS=1
	TRAFFIC=600
fi
RATE=2000
MEMORY_LIMIT_KIB=65536

# has_room DIRECTORY BYTES_A_MESSAGE
has_room() {
	local kib
	kib=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
	[ "$kib" -gt $((MANY * $2 / 1024 + 65536)) ]
}

# ---- a journal, a topic, a gateway ----

# use COUNT: the working journal is a copy of the one with so many messages
use() {
	rm -rf "$JOURNAL_DIR"
	cp -r "$DISK/$1" "$JOURNAL_DIR" && sync -f "$JOURNAL_DIR"
}

# Out of the page cache with it, and nothing else. What is not on disk yet would stay.
forget_cache() {
	sync -f "$JOURNAL_DIR" && dd of="$JOURNAL_DIR/data.mdb" oflag=nocache conv=notrunc,fdatasync \
		count=0 status=none
}

# on_topic COMMAND...: while the topic is there, empty at first
on_topic() {
	local rc
	"$KAFKA" create-topic "$MEMORY/kafka" records 4 message.timestamp.type=LogAppendTime \
		>>"$WORK/run.log" 2>&1 || return 1
	"$@"
	rc=$?
	"$KAFKA" delete-topic "$MEMORY/kafka" records >>"$WORK/run.log" 2>&1 || return 1
	return $rc
}

# times FROM: when the first (beginning) or last (-1) record of each partition was appended
times() {
	local partition
	for partition in 0 1 2 3; do
		timeout 20 kcat -C -q -e -b "$KAFKA_BOOTSTRAP" -t records -p $partition -o "$1" \
			-c 1 -f '%T\n' -X fetch.wait.max.ms=5 2>>"$WORK/run.log"
	done
}

# A consumer that is there before ends with the first record that arrives.
await_first() {
	timeout 60 kcat -C -q -b "$KAFKA_BOOTSTRAP" -t records -o beginning -c 1 \
		-X fetch.wait.max.ms=500 >/dev/null 2>>"$WORK/run.log"
}

# start_to_first NAME: seconds to NAME.start
start_to_first() {
	local began waiter
	await_first &
	waiter=$!
	track $waiter
	began=$(now_ms)
	start_gateway || return 1
	wait $waiter || return 1
	# At once: what it delivers now is not there for the next start.
	kill_worker forward
	stop_gateway || return 1
	times beginning | awk -v began="$began" '
		!n++ || $1 < first { first = $1 }
		END { if (!n) exit 1; printf "%.3f\n", (first - began) / 1000 }' >>"$WORK/$1.start"
}

is_drained() {
	sleep 0.3 # each look costs a little
	[ "$(dump --stat | awk '$1 == "records" { print $2 }')" = 0 ]
}

# drain NAME COUNT: seconds for a million to NAME.drain; with its memory to NAME.memory
drain() {
	local watcher
	start_gateway || return 1
	"$TESTLIB/memory_peak" "$GATEWAY_PID" >>"$WORK/$1.memory" &
	watcher=$!
	track $watcher
	wait_for 300 is_drained || return 1
	stop_gateway || return 1
	wait $watcher || return 1
	{ times beginning && times -1; } | awk -v count="$2" '
		!n++ || $1 < first { first = $1 }
		$1 > last { last = $1 }
		END {
			if (n < 2) exit 1
			ms = last > first ? last - first : 1
			printf "%.4f\n", ms * 1000 / count
		}' >>"$WORK/$1.drain"
}

# ---- ingest beside it ----

# commits: messages received, commits and the sum of their seconds so far
commits() {
	curl -sf "http://127.0.0.1:$MONITOR_PORT/metrics" | awk '
		$1 == "tidegate_received_messages_total" { received = $2 }
		$1 == "tidegate_commit_duration_seconds_count" { count = $2 }
		$1 == "tidegate_commit_duration_seconds_sum" { sum = $2 }
		END { print received + 0, count + 0, sum + 0 }'
}

# has_received COUNT: the figures come once a second
has_received() {
	sleep 0.2
	[ "$(commits | cut -d' ' -f1)" -ge "$1" ]
}

# traffic NAME: live messages for some seconds; mean of a commit in seconds to NAME.commit
traffic() {
	local before after
	before=$(commits) || return 1
	rm -f "$WORK/live.ledger"
	timeout 120 "$TESTLIB/ledger_publish" -p "$BROKER_PORT" -l "$WORK/live.ledger" -d 100 \
		-n "$TRAFFIC" -r "$RATE" -s 200 >/dev/null 2>>"$WORK/publish.log" || return 1
	wait_for 20 has_received $((${before%% *} + TRAFFIC)) || return 1
	after=$(commits) || return 1
	echo "$before $after" | awk '{ if ($5 <= $2) exit 1; print ($6 - $3) / ($5 - $2) }' \
		>>"$WORK/$1.commit"
}

# drain_with_traffic NAME: it begins with the drain
drain_with_traffic() {
	start_gateway || return 1
	wait_for 20 is_subscribed 't/#' && wait_for 20 port_open "$MONITOR_PORT" || return 1
	traffic "$1" || return 1
	stop_gateway
}

# ---- tables ----

# ratio NAME UNIT TARGET BASE OURS [RATES]: of two files with a number a line each; more is
# better with RATES, else less
ratio() {
	paste "$4" "$5" | awk -v name="$1" -v unit="$2" -v target="$3" -v rates="${6:-}" '
	function median(v, n,   i, j, t) {
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && v[j] < v[j - 1]; j--) {
				t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
			}
		return v[int(n / 2) + 1]
	}
	NF == 2 && $1 > 0 && $2 > 0 {
		n++
		a[n] = rates ? 1000000 / $1 : $1 * 1000
		b[n] = rates ? 1000000 / $2 : $2 * 1000
		r[n] = b[n] / a[n]
	}
	END {
		if (n == 0)
			exit 1
		am = median(a, n); bm = median(b, n); rm = median(r, n)
		best_a = rates ? a[n] : a[1]; best_b = rates ? b[n] : b[1]
		digits = rates ? 0 : 2
		printf "%-34s %-10s %10.*f %10.*f %10.*f %10.*f %7.2f %7.2f %7s\n", name, unit,
			digits, best_a, digits, am, digits, best_b, digits, bm,
			best_b / best_a, rm, target
		if (ENVIRON["BENCH_OUT"] != "")
			printf "%s\t%s\t%.4g\t%.4g\t%.3f\t%.3f\t%s\n", name, unit, best_a, best_b,
				best_b / best_a, rm, target >>(ENVIRON["BENCH_OUT"] "/ratios.tsv")
	}' || fail "no figures for $1"
}

heading() {
	printf '%-34s %-10s %10s %10s %10s %10s %7s %7s %7s\n' "" "" "$1" median "$2" median \
		best median target
}

# The most of all runs, by process and together.
memory() {
	awk -v limit=$MEMORY_LIMIT_KIB '
		{
			if ($2 > most) most = $2
			samples += $4
			for (i = 5; i < NF; i += 2)
				if ($(i + 1) > by[$i]) by[$i] = $(i + 1)
		}
		END {
			if (samples == 0) exit 1
			printf "all together %.1f MiB, of %d (%d samples)\n", most / 1024, limit / 1024, samples
			for (name in by) printf "  %-18s %6.1f\n", name, by[name] / 1024
			if (ENVIRON["BENCH_OUT"] != "")
				printf "memory (RssAnon), all processes, backlog\tMiB\t%d\t%.1f\t%.3f\t%.3f\t<=1\n",
					limit / 1024, most / 1024, most / limit, most / limit \
					>>(ENVIRON["BENCH_OUT"] "/ratios.tsv")
		}' "$WORK/many.memory" || fail "no figures of memory"
}

# stat_time NAME COUNT: seconds of one tidegate-dump --stat
stat_time() {
	local began i
	use "$2"
	dump --stat >/dev/null || return 1
	began=$EPOCHREALTIME
	for ((i = 0; i < 20; i++)); do
		dump --stat >/dev/null || return 1
	done
	echo "$EPOCHREALTIME $began" | awk '{ printf "%.6f\n", ($1 - $2) / 20 }' >>"$WORK/$1.stat"
}

# ---- the whole ----

# The full journal twice, and what goes to Kafka.
has_room "$DISK" 500 || fail "$MANY messages take 500 bytes each on the disk of $DISK: no room"
has_room "$MEMORY" 300 || fail "$MANY messages take 300 bytes each in $MEMORY: no room"

start_bench_kafka file.delete.delay.ms=1000 log.segment.delete.delay.ms=1000
start_mosquitto 'persistence false' || fail "no mosquitto"
MONITOR_PORT=$(free_port)
MONITOR_SETTINGS="listen = \"127.0.0.1:$MONITOR_PORT\";"
JOURNAL_SETTINGS='max_bytes = "8 GiB"; compression = "none";'
KAFKA_SETTINGS='compression = "none";'
ROUTES='{ name = "bench"; topic_filters = [ "t/#", "plant/#" ]; topic = "records"; envelope = "none"; }'
write_conf
for count in "$FEWEST" "$FEW" "$MANY"; do
	mkdir "$DISK/$count"
	"$BENCH/produce" fill "$DISK/$count" "$count" || fail "filling a journal with $count"
done

# The first producer of a new broker waits for its number.
{ use "$FEWEST" && on_topic drain warm "$FEWEST"; } || fail "warming up"

use "$MANY" || fail "copying a journal"
mv "$JOURNAL_DIR" "$DISK/used"
for ((i = 0; i < STARTS; i++)); do
	{ use "$FEWEST" && on_topic start_to_first fewest; } || fail "starting with $FEWEST"
	rm -rf "$JOURNAL_DIR"
	mv "$DISK/used" "$JOURNAL_DIR"
	cat "$JOURNAL_DIR/data.mdb" >/dev/null
	on_topic start_to_first many || fail "starting with $MANY"
	mv "$JOURNAL_DIR" "$DISK/used"
done
for ((i = 0; i < COLD_STARTS; i++)); do
	{ use "$FEWEST" && forget_cache && on_topic start_to_first fewest-cold; } || fail "starting with $FEWEST"
	rm -rf "$JOURNAL_DIR"
	mv "$DISK/used" "$JOURNAL_DIR"
	{ forget_cache && on_topic start_to_first many-cold; } || fail "starting with $MANY"
	mv "$JOURNAL_DIR" "$DISK/used"
done
rm -rf "$DISK/used"

for ((i = 0; i < DRAINS; i++)); do
	rm -f "$WORK/round.drain"
	for ((k = 0; k < FEW_DRAINS; k++)); do
		{ use "$FEW" && on_topic drain round "$FEW"; } || fail "draining $FEW"
	done
	sort -n "$WORK/round.drain" | sed -n "$((FEW_DRAINS / 2 + 1))p" >>"$WORK/few.drain"
	{ use "$MANY" && on_topic drain many "$MANY"; } || fail "draining $MANY"
done
for ((i = 0; i < STARTS; i++)); do
	{ stat_time fewest "$FEWEST" && stat_time many "$MANY"; } || fail "tidegate-dump --stat"
done
{ use "$FEWEST" && on_topic drain_with_traffic fewest; } || fail "traffic beside $FEWEST"
{ use "$MANY" && on_topic drain_with_traffic many; } || fail "traffic beside $MANY"

echo "A backlog of $MANY messages of 200 bytes against $FEWEST ($FEW for the rate of the drain):"
echo "best and median of $STARTS starts, $DRAINS drains, $STARTS times tidegate-dump --stat"
echo
heading small large
ratio "start to first delivery, backlog" ms "<=1.5" "$WORK/fewest.start" "$WORK/many.start"
ratio "the same, cold page cache" ms - "$WORK/fewest-cold.start" "$WORK/many-cold.start"
ratio "drain rate, backlog" messages/s ">=0.9" "$WORK/few.drain" "$WORK/many.drain" rates
ratio "tidegate-dump --stat, backlog" ms "<=2" "$WORK/fewest.stat" "$WORK/many.stat"
ratio "a commit of live messages, drain" ms - "$WORK/fewest.commit" "$WORK/many.commit"
echo
memory
