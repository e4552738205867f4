# shellcheck shell=bash
# Variables of soak.sh and common.sh:
# shellcheck disable=SC2034,SC2153,SC2154
# SPDX-License-Identifier: Apache-2.0
#
# What soak.sh breaks. fault_NAME A B begins it, A and B being the random numbers that say
# how; one that lasts says "lasts SECONDS", and is ended by heal_NAME. Returns 1 where there
# was nothing to break. Each counts itself under the words that the table shows.

# WEIGHT NAME; SOAK_FAULTS has others, for who looks into one
FAULTS=${SOAK_FAULTS:-'
12 kill
3 term
2 stop_tidegated
4 freeze
2 broker_restart
2 broker_freeze
5 mqtt_link
5 kafka_link
4 kafka
4 disk
1 compact
2 skip
6 reload
'}

# ---- the processes of the gateway ----

ends_by() {
	case $1 in
	tidegated) [ -n "${DUE[freeze]-}" ] && heal freeze ;;
	esac
	count "$2 of $1"
}

fault_kill() {
	local what
	what=$(one_of "$1" ingest forward tidegated)
	if [ "$what" = tidegated ]; then
		ends_by tidegated SIGKILL
		kill_gateway || violation "the workers outlive tidegated"
		run_gateway
	else
		kill_worker "$what" || return 1
		ends_by "$what" SIGKILL
	fi
}

# Not by the one that has started it.
fault_term() {
	local what pid
	what=$(one_of "$1" ingest forward)
	pid=$(worker_pid "$what") || return 1
	[ "${FROZEN:-0}" != "$pid" ] || return 1
	kill -TERM "$pid"
	ends_by "$what" SIGTERM
}

fault_stop_tidegated() {
	ends_by tidegated SIGTERM
	stop_gateway || violation "tidegated does not end"
	[ "$GATEWAY_STATUS" -eq 0 ] || violation "tidegated ended with status $GATEWAY_STATUS"
	run_gateway
}

fault_freeze() {
	local what
	what=$(one_of "$1" ingest forward tidegated)
	FROZEN=$GATEWAY_PID
	[ "$what" = tidegated ] || FROZEN=$(worker_pid "$what") || return 1
	kill -STOP "$FROZEN" || return 1
	count "SIGSTOP of $what"
	lasts $((2 + $2 % 10))
}

heal_freeze() {
	is_gone "$FROZEN" || kill -CONT "$FROZEN"
	FROZEN=
}

# ---- the broker ----
# SIGTERM alone: killed, mosquitto loses what it had not saved, which is its own affair.

fault_broker_restart() {
	[ -z "${DUE[broker_freeze]-}" ] || heal broker_freeze
	count "mosquitto restarted"
	stop_mosquitto || violation "mosquitto does not end"
	lasts $(($2 % 6))
}

heal_broker_restart() {
	start_mosquitto || violation "mosquitto does not start"
}

fault_broker_freeze() {
	[ -z "${DUE[broker_restart]-}" ] || return 1
	kill -STOP "$BROKER_PID"
	count "SIGSTOP of mosquitto"
	lasts $((2 + $2 % 8))
}

heal_broker_freeze() {
	kill -CONT "$BROKER_PID"
}

# ---- the two connections ----

# link NAME A B: break it; LASTS is how long
link() {
	local how
	how=$(one_of "$2" cut cut reset reset stall refuse)
	tell_proxy "$1-link" "$how" || violation "the proxy does not answer"
	count "connection to $1: $how"
	LASTS=0
	case $how in
	stall | refuse) LASTS=$((2 + $3 % 10)) ;;
	esac
}

fault_mqtt_link() {
	link MQTT "$@"
	[ $LASTS -eq 0 ] || lasts $LASTS
}

heal_mqtt_link() {
	tell_proxy MQTT-link pass
}

fault_kafka_link() {
	link Kafka "$@"
	[ $LASTS -eq 0 ] || lasts $LASTS
}

heal_kafka_link() {
	tell_proxy Kafka-link pass
}

# ---- Kafka ----
# The mock cluster holds its topics in memory: it goes away and comes back, it freezes, it
# refuses; it is never killed. A real one is.

fault_kafka() {
	if [ "$SOAK_KAFKA" = real ]; then
		KAFKA_HOW=$(one_of "$1" kill stop pause)
		kafka "$KAFKA_HOW" || violation "Kafka: $KAFKA_HOW"
	else
		KAFKA_HOW=$(one_of "$1" down pause slow errors)
		case $KAFKA_HOW in
		down) mock_down ;;
		pause) kill -STOP "$MOCK_PID" ;;
		slow) mock_tell rtt $((200 + $2 % 1500)) ;;
		errors)
			count "Kafka: errors"
			mock_tell error produce "$(one_of "$2" NOT_ENOUGH_REPLICAS _TRANSPORT \
				NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT)" $((1 + $2 % 20))
			return 0
			;;
		esac
	fi
	count "Kafka: $KAFKA_HOW"
	lasts $((2 + $2 % 15))
}

heal_kafka() {
	case $KAFKA_HOW in
	down) mock_up ;;
	slow) mock_tell rtt 0 ;;
	pause) if [ "$SOAK_KAFKA" = real ]; then kafka resume; else kill -CONT "$MOCK_PID"; fi ;;
	kill | stop) kafka restart || violation "Kafka does not start again" ;;
	esac
}

# ---- the disk ----

# Within what the file has already, it goes on; so most times Kafka is away as well.
fault_disk() {
	[ -n "$DISK" ] || return 1
	fill_disk
	count "disk full"
	lasts $((2 + $2 % 8))
	if [ $(($1 % 4)) -ne 0 ] && [ -z "${DUE[kafka_link]-}" ]; then
		tell_proxy Kafka-link refuse
		DUE[kafka_link]=${DUE[disk]}
		count "connection to Kafka: refuse"
	fi
}

heal_disk() {
	rm -f "$DISK/filler"
}

# It ends with "no space left": that is what is wanted.
fill_disk() {
	cat /dev/zero >"$DISK/filler" 2>/dev/null
}

# The file becomes as small as it can be: what comes then needs the disk again.
fault_compact() {
	ends_by tidegated SIGTERM
	[ -z "${DUE[disk]-}" ] || heal disk
	stop_gateway || violation "tidegated does not end"
	"$TOP_BUILDDIR/tidegate-admin" -c "$CONF" compact >>"$WORK/compact.log" 2>&1 ||
		violation "tidegate-admin compact: $(tail -n 1 "$WORK/compact.log")"
	count "tidegate-admin compact"
	run_gateway
}

# ---- orders ----

# Something that waits goes to the dead letters, and from there back into the journal. Whether
# forward has delivered it meanwhile, or has ended, is its own affair and the orders'.
fault_skip() {
	local stat seq admin=("$TOP_BUILDDIR/tidegate-admin" -c "$CONF" --wait 2)
	stat=$(dump --stat --json 2>/dev/null) || return 1
	seq=$(jq -r --argjson a "$1" 'select(.records > 0) | .first_seq + $a % .records' <<<"$stat")
	[ -n "$seq" ] || return 1
	"${admin[@]}" skip "$seq" >>"$WORK/orders.log" 2>&1
	[ $? -le 1 ] || violation "tidegate-admin skip: $(tail -n 1 "$WORK/orders.log")"
	"${admin[@]}" requeue-dead --all >>"$WORK/orders.log" 2>&1
	[ $? -le 1 ] || violation "tidegate-admin requeue-dead: $(tail -n 1 "$WORK/orders.log")"
	count "tidegate-admin skip, requeue-dead"
}

# Everything delivered, and no letter left that an order made late. What the broker still
# holds is not seen here: the ledger waits for it.
is_settled() {
	local waits dead
	read -r waits dead < <(dump --stat --json 2>/dev/null | jq -r '"\(.records) \(.dead)"')
	[ "$dead" = 0 ] ||
		"$TOP_BUILDDIR/tidegate-admin" -c "$CONF" requeue-dead --all >>"$WORK/orders.log" 2>&1
	[ "$waits" = 0 ] && [ "$dead" = 0 ]
}

# ---- the configuration ----

MAIN_ROUTE=$ROUTES
EXTRA_ROUTE=', { name = "extra"; topic_filters = [ "t/dev-000" ]; topic = "extra"; envelope = "none"; }'

fault_reload() {
	local how said
	[ "${FROZEN:-0}" != "$GATEWAY_PID" ] || return 1
	how=$(one_of "$1" level linger route interval refused)
	case $how in
	level) LOG_LEVEL=$(one_of "$2" info debug warning) ;;
	linger) LINGER=$(one_of "$2" 0 5 50) ;;
	interval) COMMIT_MS=$(one_of "$2" 0 10 100) ;;
	route)
		if [ "$ROUTES" = "$MAIN_ROUTE" ]; then
			ROUTES=$MAIN_ROUTE$EXTRA_ROUTE
		else
			ROUTES=$MAIN_ROUTE
		fi
		;;
	esac
	configure
	if [ "$how" = refused ]; then
		echo 'no_such_key = 1;' >>"$CONF"
		said=$(refusals)
		kill -HUP "$GATEWAY_PID"
		is_refused() { [ "$(refusals)" -gt "$said" ]; }
		wait_for 10 is_refused || violation "a wrong configuration is not refused"
		configure
	else
		kill -HUP "$GATEWAY_PID"
	fi
	count "SIGHUP: $how"
}

refusals() {
	grep -c 'no_such_key' "$WORK/gateway.log"
}
