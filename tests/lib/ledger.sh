# shellcheck shell=bash
# Variables of common.sh, and those that are set for the tests:
# shellcheck disable=SC2034,SC2153,SC2154
# SPDX-License-Identifier: Apache-2.0
#
# The proof for the shell tests: what goes in and what comes out held against each other,
# through crashes. Sourced by common.sh.

# ---- the ledger ----

# publish_start NAME [OPTION...]: ledger_publish beside the test; its pid in PUBLISH_PID
publish_start() {
	local name=$1
	shift
	"$TESTLIB/ledger_publish" -p "$BROKER_PORT" -l "$WORK/$name.ledger" "$@" \
		>"$WORK/$name.published" 2>"$WORK/$name-publish.log" &
	PUBLISH_PID=$!
	track "$PUBLISH_PID"
}

# publish_wait [SECONDS]: until it has ended by itself
publish_wait() {
	wait_for "${1:-60}" is_gone "$PUBLISH_PID" || return 1
	wait "$PUBLISH_PID"
}

# publish_stop: no new messages; it waits for what is not acknowledged, then ends
publish_stop() {
	kill -TERM "$PUBLISH_PID"
	publish_wait 60
}

# consume_start NAME TOPIC [OPTION...]: ledger_consume beside the test
consume_start() {
	local name=$1 topic=$2
	shift 2
	"$TESTLIB/ledger_consume" -b "$KAFKA_BOOTSTRAP" -t "$topic" -l "$WORK/$name.ledger" "$@" \
		>"$WORK/$name.consumed" 2>"$WORK/$name-consume.log" &
	CONSUME_PID=$!
	track "$CONSUME_PID"
	wait_for 10 grep -q ^reading "$WORK/$name-consume.log"
}

# consume_finish NAME [SECONDS]: the ledger is complete: let it read to the end and judge.
# Its line is in LEDGER_LINE and printed as a diagnostic.
LEDGER_LINE=
consume_finish() {
	local rc
	kill -USR1 "$CONSUME_PID"
	wait_for "${2:-90}" is_gone "$CONSUME_PID" || {
		diag "ledger_consume does not end"
		kill -KILL "$CONSUME_PID"
	}
	wait "$CONSUME_PID"
	rc=$?
	LEDGER_LINE=$(tail -n 1 "$WORK/$1.consumed")
	diag "ledger $1: $LEDGER_LINE"
	[ $rc -eq 0 ] || diag_file "ledger_consume" "$WORK/$1-consume.log"
	return $rc
}

# ---- crashes ----

# has_next_seq N: has the journal given out the sequence number N?
has_next_seq() {
	[ "$(dump --stat --json 2>/dev/null | jq -r .next_seq)" -gt "$1" ] 2>/dev/null
}

# kill_one WHAT: SIGKILL ingest, forward or tidegated, and have the gateway whole again
kill_one() {
	case $1 in
	tidegated) kill_gateway && start_gateway ;;
	*) wait_for 30 worker_pid "$1" >/dev/null && kill_worker "$1" ;;
	esac
}

# crash_run KILLS SECONDS SEED: that many kills, over at least that time; after each one
# the journal is checked. Three test points. The same seed kills the same in that order.
crash_run() {
	local kills=$1 seconds=$2 damaged=0 failed=0 i what pause
	local counts='' begun
	diag "CRASH_SEED=$3"
	RANDOM=$3
	begun=$(now_ms)
	for ((i = 1; i <= kills; i++)); do
		case $((RANDOM % 3)) in
		0) what=ingest ;;
		1) what=forward ;;
		*) what=tidegated ;;
		esac
		pause=$((RANDOM % 1000))
		# Spread over the time; how far inside its work the victim is, is left to chance.
		pause=$((begun + seconds * 1000 * i / kills + pause * seconds / kills - $(now_ms)))
		[ "$pause" -le 0 ] || sleep "$((pause / 1000)).$(printf %03d $((pause % 1000)))"
		counts+="$what "
		kill_one "$what" || failed=$((failed + 1))
		dump --check >>"$WORK/crash-check.log" 2>&1 || damaged=$((damaged + 1))
	done
	# shellcheck disable=SC2086
	diag "killed: $(printf '%s\n' $counts | sort | uniq -c | tr -s ' \n' ' ')"
	check "$kills kills, and it came back each time" test $failed -eq 0
	check "the journal was in order after each of them" test $damaged -eq 0
	check "they took at least $seconds s" test $(($(now_ms) - begun)) -ge $((seconds * 1000))
}
