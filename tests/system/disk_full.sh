#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A small disk. The journal fills it, with max_bytes far away: ingest pauses, says why, and
# goes on when Kafka has taken what there is. Then somebody else fills it, and makes room
# again. Then, with Kafka away, the journal full, its largest record first and a reader
# that pins every page, the disk is filled to the last byte: when Kafka comes back all of it
# is delivered and truncated nevertheless. All with preallocate off and on. The ledger
# tells what was lost. It mounts a file system of its own where nobody else sees it: root.
# With DISK_LONG=1 once more on ext4.

[ "$(id -u)" -eq 0 ] && [ "${DISK_FULL_APART:-0}" = 0 ] && unshare -m true 2>/dev/null &&
	DISK_FULL_APART=1 exec unshare -m "$0" "$@"

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

[ "${DISK_FULL_APART:-0}" = 1 ] || skip_all "only root may mount a small disk"
need mosquitto mosquitto_pub mosquitto_sub mdb_copy jq "$TESTLIB/ledger_publish" \
	"$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated"

DISK=$WORK/disk
JOURNAL_DIR=$DISK/journal
STATUS='status = { mqtt_topic = "tidegate/status"; interval_s = 1; };'
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; },
	{ name = "big"; topic_filters = [ "big" ]; topic = "others"; envelope = "none"; }'

test_cleanup() {
	umount "$DISK" 2>/dev/null
}

# says TEXT [TIMES]: in the gateway's log
says() {
	[ "$(grep -cF -- "$1" "$WORK/gateway.log")" -ge "${2:-1}" ]
}

state_says() {
	mosquitto_sub -p "$BROKER_PORT" -t tidegate/status -C 1 -W 5 | jq -r .state | grep -F -- "$1"
}

next_seq() {
	dump --stat --json 2>/dev/null | jq -r .next_seq
}

seq_is_behind() {
	[ "$(next_seq)" -gt "$1" ]
}

# fill_disk: to the last page, as somebody else
fill_disk() {
	dd if=/dev/zero of="$DISK/other" bs=4096 status=none 2>/dev/null
	[ "$(df --output=avail "$DISK" | tail -n 1)" -lt 4 ]
}

free_disk() {
	rm "$DISK/other"
}

# Its output goes nowhere: it stops in the middle, and its read transaction stays open.
reader_start() {
	rm -f "$WORK/copy"
	mkfifo "$WORK/copy"
	mdb_copy "$JOURNAL_DIR" >"$WORK/copy" 2>"$WORK/mdb_copy.log" &
	READER_PID=$!
	track "$READER_PID"
	exec 9<"$WORK/copy"
	# Past the meta pages, which it copies under the writers' lock.
	head -c 65536 <&9 >"$WORK/copied" && kill -STOP "$READER_PID"
}

reader_end() {
	kill -CONT "$READER_PID"
	cat <&9 >>"$WORK/copied"
	exec 9<&-
	wait "$READER_PID"
}

# publish NAME COUNT: of 1,000 bytes, on topics of its own
publish() {
	publish_start "$1" -t "t/$1" -d 10 -n "$2" -s 1000
	publish_wait 60
}

# mount_disk MIB
mount_disk() {
	umount "$DISK" 2>/dev/null
	if [ "$FILE_SYSTEM" = tmpfs ]; then
		mount -t tmpfs -o "size=$1m,mode=755" tmpfs "$DISK"
	else
		rm -f "$WORK/image"
		truncate -s "$(($1 + 4))M" "$WORK/image" &&
			mkfs.ext4 -q -m 0 "$WORK/image" && mount -o loop "$WORK/image" "$DISK"
	fi
}

# begin NAME MIB SETTING...: a disk, and a gateway whose journal is on it
begin() {
	local name=$1 mib=$2
	shift 2
	mount_disk "$mib" || return 1
	JOURNAL_SETTINGS="compression = \"none\"; $*"
	write_conf "$STATUS"
	: >"$WORK/gateway.log"
	start_mock records:2 others:1 || return 1
	write_conf "$STATUS"
	start_gateway && wait_for 20 is_subscribed 't/#' && consume_start "$name" records -w
}

# finish NAME
finish() {
	check "$1: the journal becomes empty" wait_for 60 journal_is_empty
	check "$1: nothing is lost or out of order" consume_finish "$1"
	check "$1: the gateway stops" stop_gateway
	check "$1: the journal is in order" journal_check
	end_pid "$MOCK_PID"
}

# alone: the journal fills it
alone() {
	local name=$FILE_SYSTEM-alone kept
	begin "$name" 8 'max_bytes = "64 MiB"; dead_max_bytes = "1 MiB";' || bail "no gateway"
	mock_down || bail "Kafka does not go away"
	check "$name: the publisher gets every PUBACK" publish "$name" 12000
	check "$name: ingest pauses" wait_for 30 says "paused: disk full"
	check "$name: the status says why" wait_for 20 state_says "paused: disk full"
	kept=$(next_seq)
	diag "$name: $((kept - 1)) records kept, $(df --output=avail "$DISK" | tail -n 1) KiB free"
	check "$name: a good part is kept, not all" test "$kept" -gt 3000 -a "$kept" -lt 12000
	mock_up
	check "$name: with Kafka back it goes on by itself" wait_for 60 seq_is_behind 12000
	finish "$name"
}

# other PREALLOCATE: somebody else fills it
other() {
	local name=$FILE_SYSTEM-other-$1 kept
	begin "$name" 16 'max_bytes = "4 MiB"; dead_max_bytes = "1 MiB";' \
		"preallocate = $1;" || bail "no gateway"
	mock_down || bail "Kafka does not go away"
	head -c 250000 /dev/zero | mosquitto_pub -p "$BROKER_PORT" -q 1 -t big -s
	check "$name: the largest record comes first" wait_for 20 seq_is_behind 1
	if [ "$1" = false ]; then
		check "$name: the disk is filled" fill_disk
		publish_start "$name" -t "t/$name" -d 10 -n 8000 -s 1000
		check "$name: ingest pauses" wait_for 30 says "paused: disk full"
		kept=$(next_seq)
		check "$name: room is made" free_disk
		check "$name: it goes on by itself" wait_for 30 seq_is_behind "$kept"
	else
		check "$name: the disk is filled" fill_disk
		publish_start "$name" -t "t/$name" -d 10 -n 8000 -s 1000
	fi
	check "$name: the publisher gets every PUBACK" publish_wait 60
	check "$name: the journal becomes full" wait_for 30 says "paused: journal full"
	kept=$(next_seq)
	check "$name: most of max_bytes is taken" test "$kept" -gt 2500
	check "$name: a reader pins all of it" reader_start
	[ "$1" = true ] || check "$name: the disk is filled again" fill_disk
	mock_up
	check "$name: all is delivered and truncated" wait_for 60 journal_is_empty
	diag "$name: data.mdb $(stat -c %s "$JOURNAL_DIR/data.mdb") bytes," \
		"$(df --output=avail "$DISK" | tail -n 1) KiB free"
	check "$name: the reader was there" grep -q '^State:.T' "/proc/$READER_PID/status"
	check "$name: the reader ends" reader_end
	check "$name: the rest comes in, on the full disk" wait_for 60 seq_is_behind 8001
	finish "$name"
}

mkdir "$DISK"
start_mosquitto || bail "no mosquitto"
FILE_SYSTEM=tmpfs
alone
other false
other true
if [ "${DISK_LONG:-0}" != 0 ]; then
	if command -v mkfs.ext4 >/dev/null && losetup -f >/dev/null 2>&1; then
		FILE_SYSTEM=ext4
		alone
		other false
		other true
	else
		skip "the same on ext4" "no mkfs.ext4 or no loop device"
	fi
fi
tap_done
