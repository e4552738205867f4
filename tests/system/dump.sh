#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-dump on journals made for it: what it lists, that nothing a message holds
# reaches a terminal, that damage is told with its range, and that its exit status is
# honest. No broker and no Kafka.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need jq python3 "$TOP_BUILDDIR/tidegate-dump" "$TESTLIB/make_journal"

# journal NAME OPTION...: a new one, which dump() looks at from then on
journal() {
	JOURNAL_DIR=$WORK/$1
	mkdir "$JOURNAL_DIR" || return 1
	shift
	"$TESTLIB/make_journal" "$@" "$JOURNAL_DIR"
}

# change OPTION...: the same one
change() {
	"$TESTLIB/make_journal" "$@" "$JOURNAL_DIR"
}

# lists FIRST LAST COUNT OPTION...: by number, in order, without a complaint
lists() {
	local first=$1 last=$2 count=$3 seqs
	shift 3
	dump "$@" >"$WORK/listed" 2>"$WORK/complaint" || return 1
	[ ! -s "$WORK/complaint" ] || return 1
	seqs=$(cut -f1 "$WORK/listed")
	[ "$(wc -l <"$WORK/listed")" -eq "$count" ] || return 1
	[ "$count" -eq 0 ] && return 0
	[ "$(head -n 1 <<<"$seqs")" = "$first" ] && [ "$(tail -n 1 <<<"$seqs")" = "$last" ] &&
		[ "$(sort -n <<<"$seqs")" = "$seqs" ]
}

# fails STATUS OPTION...: with that exit status, and a word on standard error
fails() {
	local expected=$1 rc
	shift
	"$TOP_BUILDDIR/tidegate-dump" "$@" >"$WORK/out" 2>"$WORK/err"
	rc=$?
	[ "$rc" -eq "$expected" ] && [ -s "$WORK/err" ]
}

# ---- what is listed ----

check "a journal is made" journal plain -n 1000 -k 100 -p -a 250 -b 100

check "by default what is not acknowledged" lists 251 1000 750
check "from a number, also one that is acknowledged" lists 201 1000 800 --from 201
check "from before the oldest" lists 201 1000 800 --from 1
check "from and to" lists 399 402 4 --from 399 --to 402
check "to alone" lists 251 260 10 --to 260
check "a count" lists 251 253 3 --count 3
check "nothing, behind the last" lists 0 0 0 --from 1001
check "since a time" lists 990 1000 11 --since 2026-11-24T10:16:30Z
check "until a time" lists 251 300 50 --until 2026-11-24T10:05:00.000Z
check "times with a zone and a fraction" \
	lists 300 301 2 --since '2026-11-24T11:04:59.001+01:00' --until 2026-11-24T04:35:01.999-05:30
check "since long ago" lists 251 1000 750 --since -40000d
check "until long ago" lists 0 0 0 --until -40000d
check "a topic filter" lists 257 997 75 --topic 'site/7/+'
check "a filter for nothing" lists 0 0 0 --topic 'other/#'
check "dead letters" lists 100 100 1 --dead
check "dead letters of another topic" lists 0 0 0 --dead --topic other

line=$'251\t2026-11-24T10:04:11.000Z\t1\tr\tsite/1/sensor\t17\trecord-000000251;'
check "a line as documented" test "$(dump --count 1)" = "$line"
dead=$'100\tdefault\ttoo large\tBroker: Message size too large\t2026-11-24T10:00:00.000Z\t2026-11-24T10:01:40.000Z\t1\tr\tsite/0/sensor\t17\trecord-000000100;'
check "a dead letter's line as documented" test "$(dump --dead)" = "$dead"

# ---- other forms ----

json_has() {
	dump --json --count 1 >"$WORK/json" && jq -e "$1" "$WORK/json"
}

check "JSON: sequence, topic, QoS, retain" json_has \
	'.seq == 251 and .topic == "site/1/sensor" and .qos == 1 and .retain'
check "JSON: time" json_has \
	'.received == "2026-11-24T10:04:11.000Z" and .received_ms == 1795514651000'
check "JSON: payload in base64 and as text" json_has \
	'(.payload | @base64d) == "record-000000251;" and .payload_text == "record-000000251;"'
check "JSON: properties" json_has \
	'.payload_format == 1 and .message_expiry_s == 60 and .subscription_id == 5 and
	 .content_type == "text/plain" and .response_topic == "answer" and .correlation_data == "AQI="'
check "JSON: user properties in order, with repeats" json_has \
	'[.user_properties[].name] == ["client-id", "repeated", "repeated", "awkward\\xff"] and
	 .user_properties[2].value == "second" and .user_properties[3].name_base64 == "YXdrd2FyZP8="'
check "JSON: a dead letter" eval \
	'dump --dead --json | jq -e ".seq == 100 and .route == \"default\" and .reason == \"too large\""'

payload_is_exact() {
	dump --payload --from 300 --to 301 >"$WORK/payload" || return 1
	printf 'record-000000300;record-000000301;' | cmp - "$WORK/payload"
}
check "payloads byte for byte" payload_is_exact

stat_says() {
	dump --stat --json >"$WORK/stat" && jq -e "$1" "$WORK/stat"
}
check "figures" stat_says \
	'.first_seq == 201 and .next_seq == 1001 and .records == 750 and .dead == 1 and
	 .acknowledged.default == 250 and .gaps == 0 and .gateway == "test" and .format == 1 and
	 .used_bytes > 0 and .free_bytes > 0 and (.uuid | length) == 36 and .oldest_age_ms >= 0'
check "figures as text" eval 'dump --stat | grep -q "^records  *750$"'
check "all of it is whole" eval 'dump --check | grep -q "^read 800 records.*whole$"'

journal compressed -n 5000 -k 1000 -z
check "a compressed journal" lists 1 5000 5000
check "is whole" dump --check

# ---- what messages hold does not reach a terminal ----

journal awkward -n 10 -w -p -b 3
is_safe() {
	dump "$@" >"$WORK/shown" || return 1
	[ -s "$WORK/shown" ] || return 1
	# Tabs and line ends are the list's own.
	! LC_ALL=C grep -q $'[\001-\010\013-\037\177]' "$WORK/shown" &&
		[ "$(tr -d '\000' <"$WORK/shown" | wc -c)" -eq "$(wc -c <"$WORK/shown")" ] &&
		! LC_ALL=C grep -q $'\302[\200-\237]\|\342\200\256' "$WORK/shown" &&
		iconv -f UTF-8 -t UTF-8 "$WORK/shown"
}
check "control characters are escaped in the list" is_safe
check "and in the list of dead letters" is_safe --dead
check "and in JSON" is_safe --json
awkward='a\x00b\xff\x1b[31m\u202e'
check "they are shown as escapes" test "$(dump --count 1 | cut -f5)" = "$awkward"

# The same on a pseudo-terminal, where payloads are made safe as well.
on_terminal() {
	python3 - "$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" --payload <<-'END'
		import os, pty, sys
		pid, fd = pty.fork()
		if pid == 0:
		    os.execv(sys.argv[1], sys.argv[1:])
		text = b""
		while True:
		    try:
		        data = os.read(fd, 65536)
		    except OSError:
		        break
		    if not data:
		        break
		    text += data
		lines = text.replace(b"\r\n", b"\n").splitlines()
		assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
		assert len(lines) == 10, text
		assert all(32 <= byte < 127 for line in lines for byte in line), text
	END
}
check "payloads on a terminal too" on_terminal

# A long read, whose reader comes late: how far it is goes to the terminal on standard
# error alone, and is cleared at the end.
shows_progress() {
	python3 - "$TOP_BUILDDIR/tidegate-dump" -d "$JOURNAL_DIR" --json <<-'END'
		import os, pty, subprocess, sys, time
		terminal, stderr = pty.openpty()
		run = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=stderr)
		os.close(stderr)
		time.sleep(1.2)
		lines = run.stdout.read().splitlines()
		shown = b""
		while True:
		    try:
		        data = os.read(terminal, 65536)
		    except OSError:
		        break
		    if not data:
		        break
		    shown += data
		assert run.wait() == 0
		assert len(lines) == 20000, len(lines)
		assert b" of 20000, " in shown and shown.endswith(b"\r\x1b[K"), shown
	END
}
journal progress -n 20000 -k 1000
check "a long read shows how far it is" shows_progress
is_silent() {
	dump --json >"$WORK/listed" 2>"$WORK/complaint" && [ ! -s "$WORK/complaint" ]
}
check "not where standard error is no terminal" is_silent

# ---- gaps ----

journal gap -n 10 -l 2>"$WORK/make.log"
check "a record that was too large is a gap" eval \
	'dump --gaps --json | jq -e ".first_seq == 5 and .last_seq == 5 and .reason == \"too large\""'
check "the others are listed" lists 1 10 9
check "and nothing is missing" dump --check

# ---- damage ----

# is_told PATTERN: --check finds it, exit status 1
is_told() {
	local rc
	dump --check >"$WORK/check-result"
	rc=$?
	[ "$rc" -eq 1 ] && grep -q "$1" "$WORK/check-result"
}

# still_lists COUNT PATTERN: so many lines, a complaint on stderr, exit status 1
still_lists() {
	local rc
	dump >"$WORK/listed" 2>"$WORK/complaint"
	rc=$?
	[ "$rc" -eq 1 ] && [ "$(wc -l <"$WORK/listed")" -eq "$1" ] && grep -q "$2" "$WORK/complaint"
}

journal damaged -n 1000 -k 100 -x 555
check "a damaged batch is found, with its range" is_told '^damaged: 501 to 600 (100)$'
check "the rest is listed, and it is said what is not" still_lists 900 'records 501 to 600'
change -x 999
check "two of them, the last as well" is_told '^damaged: 901 to 1000 (100)$'
check "the first is still told" grep -q '^damaged: 501 to 600' "$WORK/check-result"
check "in all" grep -q '2 problems' "$WORK/check-result"
check "what is wanted may lie before the damage" lists 1 500 500 --to 500

journal missing -n 1000 -k 100 -a 50 -m 301
check "a missing batch is found" is_told '^missing: 301 to 400 (100)$'
change -m 901
check "also the last" is_told '^missing: 901 to 1000 (100)$'
journal missing-first -n 1000 -k 100 -a 50 -m 1
check "also the first, as far as it was not acknowledged" is_told '^missing: 51 to 100 (50)$'

journal bad-dead -n 10 -b 2 -B 4
check "a dead letter that does not decode is found" is_told 'dead letter 4'

# ---- exit status and errors ----

JOURNAL_DIR=$WORK/plain
full_disk() {
	local rc
	dump --from 1 >/dev/full 2>"$WORK/err"
	rc=$?
	[ "$rc" -eq 1 ] && grep -q 'No space left' "$WORK/err"
}
check "a full disk is an error" full_disk
full_disk_short() {
	local rc
	dump "$1" >/dev/full 2>"$WORK/err"
	rc=$?
	[ "$rc" -eq 1 ] && [ -s "$WORK/err" ]
}
check "also for little output" full_disk_short --stat
check "also for --check" full_disk_short --check

journal long -n 20000 -k 1000
reader_leaves() {
	local rc
	dump 2>"$WORK/err" | head -n 1
	rc=${PIPESTATUS[0]}
	[ "$rc" -eq 1 ] && [ ! -s "$WORK/err" ]
}
check "a reader that leaves ends it without a word" reader_leaves

JOURNAL_DIR=$WORK/plain
check "no such directory" fails 1 -d "$WORK/nowhere"
mkdir "$WORK/empty"
check "no journal in it" fails 1 -d "$WORK/empty"
check "and none is made" test -z "$(ls -A "$WORK/empty")"
for wrong in "--no-such-option" "--from 0" "--from x" "--count -1" "--since yesterday" \
	"--since 2026-02-31T00:00:00Z" "--until 2026-11-24" "--topic a/#/b" "--json --payload" \
	"--stat --check" "--stat --from 1" "--check --json" "--gaps --payload" "argument" \
	"--follow --stat" "--follow --check" "--follow --dead" "--follow --gaps" "--stat --payload" \
	"--gaps --topic t" "--dead --gaps" "--count 0" "--from 1x" "--to -1" "--since -2w" \
	"--from 18446744073709551616" "--topic" \
	"-c x"; do
	# shellcheck disable=SC2086
	check "refused: $wrong" fails 2 -d "$JOURNAL_DIR" $wrong
done
check "--help" eval 'dump --help | grep -q usage'
check "--version" eval 'dump -V | grep -q "tidegate-dump [0-9]"'

# ---- by configuration ----

by_config() {
	"$TOP_BUILDDIR/tidegate-dump" -c "$WORK/dump.conf" --count 1
}
printf 'gateway_id = "test";\njournal = { directory = "%s"; };\n' "$JOURNAL_DIR" >"$WORK/dump.conf"
printf 'routes = ( { name = "default"; topic_filters = [ "#" ]; topic = "t"; } );\n' >>"$WORK/dump.conf"
check "the configuration names the journal" test "$(by_config)" = "$line"
echo 'no_such_key = 1;' >>"$WORK/dump.conf"
check "a wrong configuration" fails 78 -c "$WORK/dump.conf"
check "a configuration that is not there" fails 1 -c "$WORK/no.conf"

# ---- it holds nobody up ----

# A dump that waits for its reader is in write(2); its slot shows no transaction.
holds_no_transaction() {
	local pid result=1
	mkfifo "$WORK/fifo" || return 1
	dump >"$WORK/fifo" &
	pid=$!
	exec 7<"$WORK/fifo"
	is_writing() { [ "$(cut -d' ' -f1,2 "/proc/$dump_pid/syscall")" = "1 0x1" ]; }
	dump_pid=$(pgrep -P "$pid" -x tidegate-dump || echo "$pid")
	if wait_for 20 is_writing; then
		mdb_stat -r "$JOURNAL_DIR" >"$WORK/readers"
		cat "$WORK/readers"
		grep -q "^ *$dump_pid .* - *$" "$WORK/readers" && result=0
	fi
	cat <&7 >/dev/null
	exec 7<&-
	wait "$pid" || result=1
	return "$result"
}
JOURNAL_DIR=$WORK/long
if command -v mdb_stat >/dev/null && [ -r /proc/self/syscall ] && [ "$(uname -m)" = x86_64 ]; then
	check "a dump that waits for its reader holds no transaction" holds_no_transaction
else
	skip "a dump that waits for its reader holds no transaction" "no mdb_stat or /proc/PID/syscall"
fi

tap_done
