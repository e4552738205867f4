#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-monitor: what it answers, what it does not, and that nobody is hurt by it: not by
# those who ask, not by its end, not by a port that is taken. It changes nothing.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub curl jq python3 "$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated"

LOG=$WORK/gateway.log
PORT=$(free_port)
URL=http://127.0.0.1:$PORT
PATHS="/ /metrics /healthz /readyz /status.json /events"

listen_on() { # PORT
	MONITOR_SETTINGS="listen = \"127.0.0.1:$1\";"
}

publish() { # TOPIC COUNT
	yes hello | head -n "$2" | mosquitto_pub -p "$BROKER_PORT" -q 1 -t "$1" -l
}

get() { # PATH [ARGUMENT...]: what is answered
	local path=$1
	shift
	curl -sS --max-time 20 "$@" "$URL$path"
}

# answers STATUS PATH [ARGUMENT...]: the answer is in $WORK/answer, its head in $WORK/head
answers() {
	local status=$1 path=$2
	shift 2
	[ "$(get "$path" -o "$WORK/answer" -D "$WORK/head" -w '%{http_code}' "$@")" = "$status" ]
}

has_header() { # NAME: VALUE
	tr -d '\r' <"$WORK/head" | grep -qixF -- "$1"
}

metric() { # NAME[{LABELS}]
	get /metrics | awk -v name="tidegate_$1" '
		index($0, name " ") == 1 { print $NF; n++ }
		END { exit n != 1 }'
}

metric_is() { # NAME VALUE
	[ "$(metric "$1")" = "$2" ]
}

# talk FORMAT [ARGUMENT...]: by hand; what comes back until the other side closes it, or for
# TALK_S seconds
TALK_S=20
talk() {
	local fd
	exec {fd}<>"/dev/tcp/127.0.0.1/$PORT" || return 1
	# In a shell of its own: it may be closed in the middle (SIGPIPE).
	# shellcheck disable=SC2059
	(printf "$@" >&"$fd")
	timeout "$TALK_S" cat <&"$fd"
	exec {fd}>&-
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 || bail "no embedded Kafka"
listen_on "$PORT"
write_conf
start_gateway || bail "no gateway"
check "it listens" wait_for 20 port_open "$PORT"
check "well, and it says so" wait_for 20 answers 200 /readyz

# ---- what is at which path ----

declare -A TYPES=(
	[/]="text/html; charset=utf-8" [/metrics]="text/plain; version=0.0.4; charset=utf-8"
	[/healthz]="text/plain; charset=utf-8" [/readyz]="text/plain; charset=utf-8"
	[/status.json]="application/json" [/events]="application/x-ndjson")
all_are_there() {
	local path
	for path in $PATHS; do
		if ! answers 200 "$path" || [ ! -s "$WORK/answer" ] ||
			! has_header "content-type: ${TYPES[$path]}" ||
			! has_header "cache-control: no-store" ||
			! has_header "x-content-type-options: nosniff" ||
			! has_header "referrer-policy: no-referrer"; then
			echo "$path"
			cat "$WORK/head"
			return 1
		fi
	done
}
check "every path, with its type, and nothing to be kept" all_are_there
has_fresh_policy() {
	local policies
	policies=$(for _ in 1 2; do
		get / -o /dev/null -D - | tr -d '\r' | grep -i '^content-security-policy:'
	done)
	echo "$policies"
	[ "$(sort -u <<<"$policies" | wc -l)" = 2 ] &&
		[ "$(grep -cE "default-src 'none'; style-src 'nonce-[A-Za-z0-9+/]{24}'; script-src 'nonce-[A-Za-z0-9+/]{24}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$" <<<"$policies")" = 2 ]
}
check "the page has a policy, with a new nonce each time" has_fresh_policy
publish t/x 500
check "what was received and delivered is counted" wait_for 20 metric_is \
	'delivered_records_total{route="default"}' 500
has_figures() {
	metric_is received_messages_total 500 && metric_is journal_next_seq 501 &&
		metric_is journal_max_bytes 268435456 && metric_is mqtt_connected 1 &&
		metric_is kafka_connected 1 && metric_is state_well 1 &&
		[ "$(metric journal_room_bytes)" -gt 1000000 ] &&
		metric_is 'worker_restarts_total{worker="monitor"}' 0
}
check "the journal and both ends, too" wait_for 20 has_figures
if command -v promtool >/dev/null; then
	is_good_for_prometheus() {
		get /metrics | promtool check metrics
	}
	check "promtool finds nothing to say" is_good_for_prometheus
else
	skip "promtool finds nothing to say" "promtool is not installed"
fi
has_status() {
	get /status.json | jq -e '.well and .next_seq == 501 and .routes[0].name == "default" and
		.max_bytes == 268435456 and .free_bytes > 1000000 and .rates.received_per_s >= 0'
}
check "status.json is the report, with rates" has_status
has_events() {
	get /events | jq -es 'length > 3 and all(.[]; .time and .level and .kind and .worker and .text)
		and ([.[].worker] | unique | length) == 4'
}
check "events are of all four, as JSON lines" wait_for 10 has_events

# ---- an outage ----

mock_down || bail "the embedded Kafka does not go"
publish t/x 100
is_waiting() {
	answers 503 /readyz && grep -q '^waiting for Kafka' "$WORK/answer"
}
check "Kafka is away: not ready, and why" wait_for 30 is_waiting
check "and the metrics say so" metric_is state_well 0
check "but the processes run" answers 200 /healthz
mock_up || bail "the embedded Kafka does not come back"
check "it is over: ready again" wait_for 60 answers 200 /readyz

# ---- what is not answered ----

refuses_odd_requests() {
	answers 405 /metrics -X POST -d abc && has_header "allow: GET, HEAD" &&
		answers 405 / -X DELETE && answers 405 / -X OPTIONS &&
		answers 400 /metrics -X GET -d abc &&
		answers 400 / -X GET -H 'Transfer-Encoding: chunked' -d abc
}
check "only GET and HEAD, and no bodies" refuses_odd_requests
has_nothing_else() {
	local path
	for path in /nothing /metrics/ //metrics /../../../../etc/passwd /%2e%2e/etc/passwd \
		/metrics/../status.json /METRICS; do
		answers 404 "$path" --path-as-is || {
			echo "$path"
			return 1
		}
	done
}
check "there is nothing else, however it is asked for" has_nothing_else
check "a query changes nothing" answers 200 '/healthz?x=/etc/passwd'
heads_are_alone() {
	talk 'HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' |
		tr -d '\r' >"$WORK/talk"
	grep -q '^HTTP/1.1 200 ' "$WORK/talk" &&
		grep -qE '^Content-Length: [1-9][0-9]{3,}$' "$WORK/talk" &&
		[ -z "$(tail -n 1 "$WORK/talk")" ] && ! grep -q tidegate_ "$WORK/talk"
}
check "HEAD has no body" heads_are_alone
LONG=$(head -c 100000 /dev/zero | tr '\0' x)
takes_no_nonsense() {
	talk 'GET /metrics HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n' "$LONG" >"$WORK/talk"
	! grep -q tidegate_ "$WORK/talk" || return 1
	talk 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' "$LONG" >"$WORK/talk"
	! grep -q ' 200 ' "$WORK/talk" || return 1
	# It may wait for more of it, or not: no matter.
	local TALK_S=0.2
	talk '\0\1\2\xff\r\n\r\n\r\n' >"$WORK/talk"
	talk 'GET /metrics\r\n\r\n' >"$WORK/talk"
	talk 'GET / HTTP/1.1\r\n\r\n' >"$WORK/talk"
	! grep -q ' 200 ' "$WORK/talk" || return 1
	talk 'GET / HTTP/9.9\r\nHost: x\r\n\r\n' >"$WORK/talk"
	talk '%s' "$LONG$LONG" >"$WORK/talk"
	answers 200 /healthz
}
check "nonsense and what is too long is refused, and it goes on" takes_no_nonsense

# ---- those that only hold a place ----

LORIS=()
loris() { # COUNT
	local fd
	for ((i = 0; i < $1; i++)); do
		exec {fd}<>"/dev/tcp/127.0.0.1/$PORT" || return 1
		printf 'GET /metrics HTTP/1.1\r\nX-Slow: ' >&"$fd"
		LORIS+=("$fd")
	done
}
connections() {
	find "/proc/$(worker_pid monitor)/fd" -lname 'socket:*' | wc -l
}
survives_loris() {
	loris 100 || return 1
	for _ in 1 2 3 4 5; do
		answers 200 /healthz --max-time 5 && answers 200 /metrics --max-time 5 || return 1
	done
	connections
	# 32, and the one that it listens on.
	few_are_left() { [ "$(connections)" -le 33 ]; }
	wait_for 10 few_are_left
}
check "a hundred that never finish their requests keep nobody out" survives_loris
for fd in "${LORIS[@]}"; do
	exec {fd}>&-
done

# asks COUNT PATH: as often as that, over one connection
asks() {
	[ "$(get "$2?[1-$1]" -o /dev/null -w '%{http_code}\n' | grep -c '^200$')" = "$1" ]
}
is_smaller_than() { # KIB
	local kib
	kib=$(rss_kib "$(worker_pid monitor)")
	echo "# $kib KiB"
	[ "$kib" -lt "$1" ]
}
asks_thousands() {
	asks 1500 /metrics && asks 1500 /status.json && asks 200 /
}
check "thousands of requests" asks_thousands
has_little_memory() { # WHAT KIB
	# Sanitizers keep what was freed: there is no telling.
	if grep -q __asan_init "$TOP_BUILDDIR/tidegate-monitor"; then
		diag "$1: not looked at, for the sanitizers"
	else
		check "$1" is_smaller_than "$2"
	fi
}
has_little_memory "after which it has less than 10 MiB of memory" 10240

# ---- it changes nothing ----

can_only_read() {
	local pid fd
	pid=$(worker_pid monitor) || return 1
	grep data.mdb "/proc/$pid/maps" | tee "$WORK/maps" | grep -q ' r--s ' &&
		! grep -q ' .w.. ' "$WORK/maps" || return 1
	for fd in "/proc/$pid/fd/"*; do
		[[ $(readlink "$fd") == */data.mdb ]] || continue
		# The last digit of the flags: 0 is O_RDONLY.
		grep -E '^flags:.*0$' "/proc/$pid/fdinfo/${fd##*/}" || return 1
	done
}
check "the journal is open to be read alone" can_only_read
if command -v mdb_stat >/dev/null; then
	pins_nothing() {
		mdb_stat -r "$JOURNAL_DIR" | awk -v pid="$(worker_pid monitor)" '
			{ print "# " $0 }
			$1 == pid { n++; if ($NF != "-") pinned = 1 }
			END { exit n == 0 || pinned }'
	}
	check "and no snapshot of it is kept" pins_nothing
else
	skip "and no snapshot of it is kept" "mdb_stat is not installed"
fi

# ---- its end ----

INGEST=$(worker_pid ingest) FORWARD=$(worker_pid forward)
are_untouched() {
	[ "$(worker_pid ingest)" = "$INGEST" ] && [ "$(worker_pid forward)" = "$FORWARD" ]
}
kill_worker monitor || bail "there is no tidegate-monitor"
check "killed, it comes back" wait_for 20 answers 200 /readyz
check "which is counted" wait_for 10 metric_is 'worker_restarts_total{worker="monitor"}' 1
listen_on "$BROKER_PORT"
write_conf
kill -HUP "$GATEWAY_PID"
check "a port that is taken: it says so" wait_for 20 \
	grep -qF "cannot listen on 127.0.0.1:$BROKER_PORT: another program has this port" "$LOG"
check "it ends, and is tried again" wait_for 20 grep -qE \
	'tidegate-monitor \(pid [0-9]+\) died: exit status 1; it is started again' "$LOG"
publish t/x 100
check "messages go their way meanwhile" wait_for 20 journal_is_empty
check "neither of the others was touched" are_untouched
MONITOR_SETTINGS='listen = "";'
write_conf
kill -HUP "$GATEWAY_PID"
is_off() { grep -qF "the configuration was read again" "$LOG" && ! worker_pid monitor; }
check "switched off, there is none" wait_for 20 is_off
listen_on "$PORT"
write_conf
kill -HUP "$GATEWAY_PID"
check "switched on, it is there" wait_for 20 answers 200 /readyz
check "and neither of the others was touched by that" are_untouched
check "it stops" stop_gateway
stops_last() {
	grep ' has ended: ' "$LOG" | tail -n 3 | grep -oE 'tidegate-[a-z]+ ' | tr -d '\n' |
		grep -qx 'tidegate-ingest tidegate-forward tidegate-monitor '
}
check "last of all, so that it can show how the others do" stops_last

# ---- much to tell ----

many_routes() {
	local i
	for ((i = 1; i < 4096; i++)); do
		printf '{ name = "a-route-with-a-long-name-%d"; topic_filters = [ "t/%d" ]; topic = "records"; envelope = "none"; },\n' \
			"$i" "$i"
	done
	echo '{ name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; }'
}
(ROUTES=$(many_routes) && write_conf)
start_gateway || bail "no gateway with thousands of routes"
is_told_of_all() {
	[ "$(get /metrics | grep -c '^tidegate_route_held{')" = 4096 ]
}
check "thousands of routes" wait_for 30 is_told_of_all
check "it is up with that" wait_for 20 answers 200 /healthz
check "to one who takes it slowly, while others are answered" \
	"$TOP_SRCDIR/tests/lib/slow_http.py" sip "$PORT" /metrics
check "and again and again" asks 20 /metrics
has_little_memory "in less than 20 MiB of memory" 20480
check "it stops with that" stop_gateway

# ---- alone ----

write_conf
ALONE_LOG=$WORK/alone.log
start_alone() {
	"$TOP_BUILDDIR/tidegate-monitor" -c "$CONF" >>"$ALONE_LOG" 2>&1 &
	ALONE_PID=$!
	track "$ALONE_PID"
	wait_for 20 port_open "$PORT"
}
SUM=$(sha256sum <"$JOURNAL_DIR/data.mdb")
check "alone" start_alone
says_nobody_runs() {
	answers 503 /healthz && grep -qxF 'tidegated does not run' "$WORK/answer" &&
		answers 503 /readyz && metric_is journal_next_seq 701 && answers 200 / &&
		answers 200 /status.json && answers 200 /events
}
check "it shows the journal, and that nobody works on it" says_nobody_runs
check "which it has not changed by a bit" [ "$SUM" = "$(sha256sum <"$JOURNAL_DIR/data.mdb")" ]
MONITOR_SETTINGS='listen = "";'
write_conf
start_gateway || bail "no gateway beside it"
check "it finds a gateway that comes" wait_for 30 answers 200 /readyz
check "that stops beside it" stop_gateway
check "and sees it go" wait_for 30 answers 503 /healthz
end_pid "$ALONE_PID"

listen_on "$PORT"
JOURNAL_DIR=$WORK/empty
write_conf
check "where there is no journal yet" start_alone
has_no_journal() {
	answers 503 /readyz && grep -qF 'the journal cannot be read' "$WORK/answer" &&
		answers 200 /status.json && answers 200 /metrics && answers 200 / &&
		! grep -q '^tidegate_journal_records' "$WORK/answer" &&
		[ -z "$(ls -A "$JOURNAL_DIR")" ]
}
check "it says so, and makes none" has_no_journal
end_pid "$ALONE_PID"
tap_done
