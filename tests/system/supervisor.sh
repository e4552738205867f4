#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegated with workers that only note down what happens to them: what they inherit,
# restarts, the order of stopping, SIGHUP.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

BIN=$WORK/bin
EVENTS=$WORK/events
LOG=$WORK/supervisor.log
export WORK EVENTS
mkdir -p "$BIN"
cp "$TOP_BUILDDIR/tidegated" "$BIN/" || exit 99

# A worker. $WORK/NAME.mode says how it behaves; each event is a line in $EVENTS. It
# starts no process of its own while it waits, so that none is left when it is killed.
cat >"$BIN/tidegate-ingest" <<'EOT'
#!/bin/bash
name=${0##*/tidegate-}
arguments=$*
parent=$PPID
while [ $# -gt 0 ]; do
	case $1 in
	-c) config=$2 ;;
	--config-name) config_name=$2 ;;
	--check)
		grep -q 'debug=refuse' "$config" || exit 0
		echo "$config_name:7: kafka.properties: debug is refused" >&2
		exit 78
		;;
	esac
	shift
done
mode=$(cat "$WORK/$name.mode" 2>/dev/null)
cat "$config" >"$WORK/$name.text"
ls -l "/proc/$$/fd" >"$WORK/$name.fds"
cat "/proc/$$/status" >"$WORK/$name.status"
echo "$arguments" >"$WORK/$name.arguments"
mkfifo "$WORK/$$.fifo"
exec 9<>"$WORK/$$.fifo"
rm "$WORK/$$.fifo"
on_term() {
	echo "$name term" >>"$EVENTS"
	[ "$mode" != stubborn ] || return
	while [ "$mode" = slow ] && [ ! -e "$WORK/release" ] && [ -d "/proc/$parent" ]; do
		read -r -t 0.05 -u 9
	done
	echo "$name end" >>"$EVENTS"
	exit 0
}
trap on_term TERM
echo "$name start $$" >>"$EVENTS"
case $mode in
exit-*) exit "${mode#exit-}" ;;
esac
while [ -d "/proc/$parent" ]; do
	read -r -t 0.05 -u 9
done
EOT
chmod +x "$BIN/tidegate-ingest"
cp "$BIN/tidegate-ingest" "$BIN/tidegate-forward"

# Nobody connects to them.
BROKER_PORT=1883
KAFKA_BOOTSTRAP=127.0.0.1:9092

# The process id that a worker noted down last.
fake_pid() {
	sed -n "s/^$1 start //p" "$EVENTS" | tail -n 1
}

has_event() { # TEXT [TIMES]
	[ "$(grep -c "^$1" "$EVENTS")" -ge "${2:-1}" ]
}

both_started() {
	has_event 'ingest start' && has_event 'forward start'
}

started_only() { # WORKER TIMES
	[ "$(grep -c "^$1 start" "$EVENTS")" = "$2" ]
}

start_daemon() {
	: >"$EVENTS"
	: >"$LOG"
	rm -f "$WORK/release"
	"$BIN/tidegated" -c "$CONF" >>"$LOG" 2>&1 &
	DAEMON=$!
	track "$DAEMON"
	wait_for 20 both_started
}

# Waits for the daemon to end, and sets STATUS.
await_end() {
	wait_for 30 is_gone "$DAEMON" || return 1
	wait "$DAEMON"
	STATUS=$?
}

stop_daemon() {
	kill -TERM "$DAEMON"
	await_end
}

logged() {
	grep -qF -- "$1" "$LOG"
}

# ---- what a worker gets ----

write_conf
start_daemon || bail "both workers are started"
ok "both workers are started"

gets_the_text() {
	cmp "$CONF" "$WORK/ingest.text" && cmp "$CONF" "$WORK/forward.text"
}
check "each gets the text that was checked" gets_the_text

gets_the_arguments() {
	cat "$WORK/ingest.arguments"
	grep -qxE -- "-c /proc/self/fd/[0-9]+ --config-name $CONF --parent $DAEMON --wake-fd [0-9]+ --board-fd [0-9]+ --events-fd [0-9]+" \
		"$WORK/ingest.arguments" &&
		cmp "$WORK/ingest.arguments" "$WORK/forward.arguments"
}
check "and its name, its parent, and the descriptors for waking, figures and events" gets_the_arguments

# Beside whatever the test was started with.
inherits_no_more() {
	cat "$WORK/ingest.fds"
	[ "$(grep -c 'memfd:tidegate.conf' "$WORK/ingest.fds")" = 1 ] &&
		[ "$(grep -c 'memfd:tidegate-board' "$WORK/ingest.fds")" = 1 ] &&
		[ "$(grep -c 'eventfd' "$WORK/ingest.fds")" = 1 ] &&
		! grep -qE 'signalfd|tidegated.lock' "$WORK/ingest.fds"
}
check "and no other descriptor" inherits_no_more

# SIGHUP 1, SIGINT 2, SIGPIPE 13, SIGTERM 15; bash blocks SIGCHLD itself now and then.
signals_are_free() {
	local blocked ignored
	blocked=$(sed -n 's/^SigBlk:\t//p' "$WORK/forward.status")
	ignored=$(sed -n 's/^SigIgn:\t//p' "$WORK/forward.status")
	echo "$blocked $ignored"
	[ $(((0x$blocked | 0x$ignored) & 0x5003)) -eq 0 ]
}
check "and no signal that is blocked or ignored" signals_are_free

# ---- restarts ----

old=$(fake_pid ingest)
kill -KILL "$old"
check "a worker that was killed is started again" wait_for 20 has_event 'ingest start' 2
check "the log says how it died and when it comes back" logged \
	"tidegate-ingest (pid $old) died: signal 9, Killed; it is started again in 100 ms (restart 1)"
check "the other one was left alone" started_only forward 1

echo 'half a file {' >"$CONF"
kill -KILL "$(fake_pid forward)"
check "one that crashes while the file is edited is started again" \
	wait_for 20 has_event 'forward start' 2
check "with the text that was checked" grep -q '^gateway_id' "$WORK/forward.text"
write_conf

echo exit-3 >"$WORK/ingest.mode"
kill -KILL "$(fake_pid ingest)"
check "one that dies at once is waited for" \
	wait_for 60 logged "died: exit status 3; it is started again in 2000 ms"
check "longer and longer" \
	wait_for 60 logged "died: exit status 3; it is started again in 4000 ms"
check "and the other one runs on" started_only forward 2
echo exit-78 >"$WORK/ingest.mode"
check "one that refuses its settings is waited for longest" \
	wait_for 60 logged "died: exit status 78; it is started again in 30000 ms"
check "stopping does not wait for it" stop_daemon
check "exit status 0" [ "$STATUS" = 0 ]
rm "$WORK/ingest.mode"

# ---- stopping ----

order_is() {
	grep -v start "$EVENTS" | tr '\n' ' '
	[ "$(grep -v start "$EVENTS" | tr '\n' ' ')" = "$1" ]
}

echo slow >"$WORK/ingest.mode"
start_daemon || bail "started again"
kill -INT "$DAEMON"
check "ingest is asked to end" wait_for 20 has_event 'ingest term'
touch "$WORK/release"
check "the daemon ends" await_end
check "exit status 0" [ "$STATUS" = 0 ]
check "forward was asked when ingest had ended" \
	order_is 'ingest term ingest end forward term forward end '
rm "$WORK/ingest.mode"

# The limit for forward is kafka.shutdown_ms and 5 s.
KAFKA_SETTINGS='shutdown_ms = 0;'
write_conf
echo stubborn >"$WORK/forward.mode"
start_daemon || bail "started again"
check "a worker that does not end is killed" stop_daemon
check "and that is in the log" logged "does not end: it is killed"
check "exit status 0" [ "$STATUS" = 0 ]

# Asked before ingest, for a new configuration: its time does not wait for ingest's.
echo slow >"$WORK/ingest.mode"
start_daemon || bail "started again"
KAFKA_SETTINGS='shutdown_ms = 0; linger_ms = 9;'
write_conf
kill -HUP "$DAEMON"
check "forward is asked to end" wait_for 20 logged "tidegate-forward is restarted"
kill -TERM "$DAEMON"
check "and killed" wait_for 20 logged "tidegate-forward (pid $(fake_pid forward)) does not end"
check "while ingest may still take its time" [ -d "/proc/$(fake_pid ingest)" ]
touch "$WORK/release"
check "the daemon ends" await_end
rm "$WORK/ingest.mode" "$WORK/forward.mode"

# ---- SIGHUP ----

KAFKA_SETTINGS=
write_conf
start_daemon || bail "started again"
ingest=$(fake_pid ingest)

reload() { # MESSAGE: the log has it one time more afterwards
	local before
	before=$(grep -cF -- "$1" "$LOG")
	kill -HUP "$DAEMON"
	again() { [ "$(grep -cF -- "$1" "$LOG")" -gt "$before" ]; }
	wait_for 20 again "$1"
}

write_conf 'log = { level = "loud"; };'
check "SIGHUP with a mistake in the file is refused" reload "was not taken over"
check "the mistake is in the log, with its line" logged "$CONF:7: log.level: \"loud\" is not one of"
write_conf
sed -i 's/9092";/9092"; properties = "debug=refuse";/' "$CONF"
check "so is one that tidegate-forward refuses" reload "was not taken over"
check "in its words" logged "$CONF:7: kafka.properties: debug is refused"
JOURNAL_DIR=$WORK/elsewhere
write_conf
check "and another journal" reload "journal.directory and gateway_id cannot change"
JOURNAL_DIR=$WORK/journal
check "no worker was touched" [ "$(grep -cv start "$EVENTS")" = 0 ]

KAFKA_SETTINGS='linger_ms = 7;'
write_conf
check "a change for forward" reload "the configuration was read again"
check "restarts forward" wait_for 20 has_event 'forward start' 2
check "with the new text" grep -q 'linger_ms = 7' "$WORK/forward.text"
check "and not ingest" [ "$(fake_pid ingest)" = "$ingest" ]
kill -KILL "$ingest"
check "ingest has the new text after a crash, too" wait_for 20 has_event 'ingest start' 2
check "(it does)" grep -q 'linger_ms = 7' "$WORK/ingest.text"

echo slow >"$WORK/ingest.mode"
kill -KILL "$(fake_pid ingest)"
wait_for 20 has_event 'ingest start' 3 || bail "ingest is slow now"
: >"$EVENTS"
write_conf 'log = { level = "debug"; };'
check "a change for both" reload "the configuration was read again"
check "asks ingest to end" wait_for 20 has_event 'ingest term'
rm "$WORK/ingest.mode"
touch "$WORK/release"
check "and then forward" wait_for 20 has_event 'forward start'
check "in order" order_is 'ingest term ingest end forward term forward end '
check "and both are there again" both_started
check "the daemon ends in order" stop_daemon
check "exit status 0" [ "$STATUS" = 0 ]

# ---- what ends it at the start ----

KAFKA_SETTINGS=
write_conf
start_daemon || bail "started again"
refused() { # STATUS TEXT
	local rc
	"$BIN/tidegated" -c "$CONF" >"$WORK/second.log" 2>&1
	rc=$?
	cat "$WORK/second.log"
	[ "$rc" = "$1" ] && grep -qF -- "$2" "$WORK/second.log"
}
check "a second daemon on the same journal is refused" \
	refused 1 "the journal in $JOURNAL_DIR is in use by another tidegated (pid $DAEMON)"
kill -KILL "$DAEMON"
wait "$DAEMON" 2>/dev/null
check "SIGKILL leaves no lock behind" start_daemon
stop_daemon || bail "stopped"

: >"$EVENTS"
rmdir_journal() { rm "$JOURNAL_DIR/tidegated.lock" && rmdir "$JOURNAL_DIR"; }
rmdir_journal || bail "the journal's directory is gone"
check "a journal's directory that is missing may come later: 1" \
	refused 1 "$JOURNAL_DIR/tidegated.lock: No such file or directory"
check "and is not made" [ ! -e "$JOURNAL_DIR" ]
mkdir "$JOURNAL_DIR"
echo 'mqtt = { port = 0; };' >>"$CONF"
check "a mistake in the file: 78" refused 78 "$CONF:7: "
rm "$CONF"
check "a file that is missing: 1" refused 1 "$CONF: cannot be read: No such file or directory"
check "no worker was started for those" [ ! -s "$EVENTS" ]

tap_done
