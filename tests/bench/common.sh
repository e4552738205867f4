# shellcheck shell=bash
# Variables set for the benchmarks:
# shellcheck disable=SC2034
# SPDX-License-Identifier: Apache-2.0
#
# What the benchmarks with a Kafka have in common; sourced, never run. One that sources it
# has what tests/lib/common.sh gives, and
#   - $DISK, a directory on the disk of the build tree (/tmp may be memory), for the journal,
#   - $MEMORY, one in memory where there is a file system for it,
#   - start_bench_kafka, a real Kafka with its log in $MEMORY, so that its disk is not what
#     is measured; $KAFKA is kafka.sh,
#   - fail WHY, which shows the logs and ends it.
# Both directories are removed at the end, after bench_cleanup where there is one.

# shellcheck source=../lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

BENCH=$TOP_BUILDDIR/tests/bench
KAFKA=$TOP_SRCDIR/tests/kafka/kafka.sh
KAFKA_ADMIN=$TESTLIB/kafka_admin
export KAFKA_ADMIN
GATEWAY_ID=bench
DISK=$(mktemp -d "$TOP_BUILDDIR/bench-XXXXXX") || exit 1
MEMORY=$(mktemp -d /dev/shm/tidegate-bench-XXXXXX 2>/dev/null) || MEMORY=$DISK
JOURNAL_DIR=$DISK/journal

test_cleanup() {
	"$KAFKA" stop "$MEMORY/kafka" >/dev/null 2>&1
	if declare -F bench_cleanup >/dev/null; then
		bench_cleanup
	fi
	# Never into something that is still mounted.
	rm -rf --one-file-system "$DISK" "$MEMORY"
}

fail() {
	echo "${0##*/}: $*" >&2
	for log in "$WORK"/*.log "$MEMORY/kafka/broker.log"; do
		diag_file "${log##*/}" "$log" >&2
	done
	exit 1
}

# start_bench_kafka [NAME=VALUE...]: KAFKA_BOOTSTRAP says where
start_bench_kafka() {
	"$KAFKA" start "$MEMORY/kafka" "$@" >"$WORK/kafka.log" 2>&1 || fail "no Kafka"
	KAFKA_BOOTSTRAP=$("$KAFKA" address "$MEMORY/kafka")
}
