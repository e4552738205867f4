#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# wire.sh [-s] [messages] [idle] [outage]: what a gateway sends and receives over a metered
# link, TCP's and IP's headers included: for each message of telemetry.h, on a day without
# messages, on a day without Kafka. Without an argument all three.
#
# Each gateway has a network of its own (tests/lib/nets.sh), with one link to Kafka and one
# to the MQTT broker; what is told are those links' counters. A round trip takes no time. A
# real Apache Kafka, its log and the journals in memory; -s: a short run with librdkafka's
# mock cluster, which proves that it works, and no more.

# A network namespace first of all; where the user is not root, in a user namespace.
if [ -z "${WIRE_NET:-}" ]; then
	case " $* " in
	*" -s "*) ;;
	*) "$(dirname "$0")/../kafka/kafka.sh" libs >&2 || exit ;;
	esac
	for own in "unshare --net" "unshare --user --map-root-user --net"; do
		# shellcheck disable=SC2016,SC2086
		$own sh -c 'PATH=$PATH:/usr/sbin:/sbin
			ip link add name wire0 gso_max_segs 1 type veth peer name wire1 &&
			echo 1 >/proc/sys/net/ipv4/conf/wire0/route_localnet &&
			unshare --net true' 2>/dev/null && WIRE_NET=own exec $own "$0" "$@"
	done
	echo "Bytes on the wire: left out, no network namespaces can be made here"
	exit 0
fi

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"
# shellcheck source=../lib/nets.sh
. "$TOP_SRCDIR/tests/lib/nets.sh"

IS_SHORT=
IDLE_S=300 # librdkafka's own period: it asks for metadata once in this time
SETTLE_S=60
if [ "${1:-}" = -s ]; then
	IS_SHORT=1
	IDLE_S=1
	SETTLE_S=0
	shift
fi
[ $# -gt 0 ] || set -- messages idle outage
KAFKA_ADMIN=$TESTLIB/kafka_admin
PUBLISH=$TOP_BUILDDIR/tests/bench/publish_telemetry
export KAFKA_ADMIN
MEMORY=$(mktemp -d /dev/shm/tidegate-bench-XXXXXX 2>/dev/null) || MEMORY=$WORK
KAFKA_DIR=$MEMORY/kafka
MQTT_HOST=127.0.0.2
MQTT_PORT=1883
TSV=${BENCH_OUT:-$WORK}/wire.tsv

test_cleanup() {
	rm -rf "$MEMORY"
}

fail() {
	echo "wire.sh: $*" >&2
	for log in "$WORK"/*.log "$KAFKA_DIR/broker.log"; do
		diag_file "${log##*/}" "$log" >&2
	done
	exit 1
}

# ---- brokers ----

tls_properties() {
	printf "listener.name.$1.%s\n" ssl.keystore.type=PEM \
		"ssl.keystore.location=$CERTS/server.both" ssl.truststore.type=PEM \
		"ssl.truststore.location=$CERTS/ca.pem"
}

start_real() {
	local properties login=org.apache.kafka.common.security.plain.PlainLoginModule
	make_authority ca && make_authority stranger &&
		make_certificate server ca IP:127.0.0.1 &&
		cat "$CERTS/server.key" "$CERTS/server.pem" >"$CERTS/server.both" || return 1
	mapfile -t properties < <(tls_properties tls && tls_properties sasl)
	KAFKA_LISTENERS='TLS:SSL SASL:SASL_SSL' kafka start "${properties[@]}" \
		listener.name.sasl.sasl.enabled.mechanisms=PLAIN \
		"listener.name.sasl.plain.sasl.jaas.config=$login required user_site=\"right\";" ||
		return 1
	KAFKA_BOOTSTRAP=$(cat "$KAFKA_DIR/address")
	TLS_BOOTSTRAP=$(cat "$KAFKA_DIR/address.TLS")
	SASL_BOOTSTRAP=$(cat "$KAFKA_DIR/address.SASL")
	kafka create-topic records 4 && kafka create-topic one 1 &&
		kafka create-topic twelve 12 && kafka create-topic reports 1
}

start_brokers() {
	if [ -n "$IS_SHORT" ]; then
		start_mock records:4
	else
		start_real
	fi && start_mosquitto "listener $MQTT_PORT $MQTT_HOST"
}

# property NAME=VALUE...
property() {
	printf 'properties = [ "%s"' "$1"
	shift
	[ $# -eq 0 ] || printf ', "%s"' "$@"
	printf ' ];'
}

# tls AUTHORITY [NAME=VALUE...]
tls() {
	property security.protocol=SSL "ssl.ca.location=$CERTS/$1.pem" "${@:2}"
}

# sasl PASSWORD
sasl() {
	property security.protocol=SASL_SSL "ssl.ca.location=$CERTS/ca.pem" \
		sasl.mechanism=PLAIN sasl.username=site "sasl.password=$1"
}

# ---- gateways ----

declare -A GATEWAY=() # NAME's tidegated

# gateway NAME FILTERS [WHAT=TEXT...]: settings of kafka, mqtt and route, and at the top;
# and the topic, and the addresses: to Kafka, broker and port
# shellcheck disable=SC2034
gateway() {
	local name=$1 filters=$2 what kafka='' mqtt='' route='' top='' topic='' to='' \
		broker='' port=''
	shift 2
	for what; do
		local "${what%%=*}+=${what#*=}"
	done
	mkdir -p "$MEMORY/$name"
	cat >"$MEMORY/$name.conf" <<-EOT
		gateway_id = "site-$((${#NET[@]} + 100))";
		mqtt = { host = "${broker:-$MQTT_HOST}"; port = ${port:-$MQTT_PORT}; $mqtt };
		journal = { directory = "$MEMORY/$name"; max_bytes = "64 MiB"; };
		kafka = { bootstrap_servers = "${to:-$KAFKA_BOOTSTRAP}"; shutdown_ms = 100; $kafka };
		monitor = { listen = ""; };
		routes = ( { name = "telemetry"; topic_filters = [ $filters ];
			topic = "${topic:-records}"; $route } );
		$top
	EOT
	make_net "$name" 2>>"$WORK/net.log" || fail "no network for $name"
	nsenter -t "${HOLDER[$name]}" -n "$TOP_BUILDDIR/tidegated" -c "$MEMORY/$name.conf" \
		>>"$WORK/$name.log" 2>&1 &
	GATEWAY[$name]=$!
	track $!
}

# status_of NAME FIELD
status_of() {
	"$TOP_BUILDDIR/tidegate-admin" -c "$MEMORY/$1.conf" status --json 2>>"$WORK/status.log" |
		jq -r "$2 // 0"
}

# have STATE NAME...: the word of the status on MQTT
have() {
	local state=$1 name
	shift
	for name; do
		[ "$(status_of "$name" .mqtt.state)" = "$state" ] || return 1
	done
}

# have_delivered COUNT NAME...
have_delivered() {
	local count=$1 name
	shift
	for name; do
		[ "$(status_of "$name" '.routes[0].delivered_records')" -ge "$count" ] || return 1
	done
}

# end_gateways NAME...: all at once
end_gateways() {
	local name
	for name; do
		kill -TERM "${GATEWAY[$name]}"
	done
	for name; do
		wait_for 20 is_gone "${GATEWAY[$name]}" || fail "$name does not end"
	done
}

# publish PREFIX RATE COUNT
publish() {
	timeout 300 "$PUBLISH" "$BROKER_PORT" "$@" 2>>"$WORK/publish.log" || fail "publishing"
}

# ---- results ----

# look NAME...: what was counted until now, into $WORK/NAME.WHEN
look() {
	local at=$1 name
	shift
	for name; do
		echo "$(net_counts "$name") $(status_of "$name" .kafka.sent_bytes)" \
			>"$WORK/$name.$at"
	done
}

# row PART LINK WHAT UNIT UNITS RATE NAME: what there was for each of UNITS between the two
# times that look has looked; WHAT with compression and linger_ms, by tabs
row() {
	awk -v OFS='\t' -v link="$2" -v lead="$1$TAB$2$TAB$3$TAB$6$TAB$4" -v units="$5" '
		NR == 1 { split($0, before) }
		NR == 2 {
			at = link == "kafka" ? 0 : 4
			for (i = 1; i <= NF; i++)
				d[i] = ($i - before[i]) / units
			print lead, sprintf("%.1f", d[at + 1]), sprintf("%.1f", d[at + 3]),
				sprintf("%.3f", d[at + 2]), sprintf("%.3f", d[at + 4]),
				link == "kafka" ? sprintf("%.1f", d[11]) : "-",
				sprintf("%.1f", d[9]), sprintf("%.1f", d[10])
		}' "$WORK/$7.before" "$WORK/$7.after" >>"$TSV"
}
TAB=$'\t'

begin_results() {
	printf 'part\tlink\tcase\tcompression\tlinger_ms\tper_second\tunit\tup_bytes\t' >"$TSV"
	printf 'down_bytes\tup_packets\tdown_packets\tlibrdkafka_up_bytes\tconnects\tsyns\n' >>"$TSV"
}

# ---- for each message ----

declare -A LABEL=()
MESSAGES=()
GROUP=3 # so many at once at 2,000 a second

# message_case WHAT COMPRESSION LINGER_MS [WHAT=TEXT...]
message_case() {
	local name=message-${#MESSAGES[@]} group=$((${#MESSAGES[@]} / GROUP))
	LABEL[$name]=$1$TAB$2$TAB$3
	MESSAGES+=("$name")
	gateway "$name" "\"all/#\", \"$group/#\"" "${@:4}" \
		"kafka=compression = \"$2\"; linger_ms = $3;"
}

NONE='route=envelope = "none";'

message_cases() {
	local linger compression
	if [ -n "$IS_SHORT" ]; then
		message_case "payload" none 5 "$NONE"
		message_case "payload" zstd 5 "$NONE"
		return
	fi
	for linger in 5 1000; do
		for compression in none gzip snappy lz4 zstd; do
			message_case "payload" $compression $linger "$NONE"
		done
		message_case "no provenance" zstd $linger "$NONE" 'route= provenance = false;'
		message_case "envelope tbmq" zstd $linger
		message_case "1 partition" zstd $linger "$NONE" topic=one
		message_case "12 partitions" zstd $linger "$NONE" topic=twelve
		message_case "TLS" zstd $linger "$NONE" "to=$TLS_BOOTSTRAP" "kafka=$(tls ca)"
		message_case "exactly once" zstd $linger "$NONE" 'kafka=delivery = "exactly_once";'
	done
	message_case "payload" zstd 5000 "$NONE"
}

# measure PREFIX RATE COUNT TOTAL NAME...: TOTAL: what each has delivered when it is over
measure() {
	local prefix=$1 rate=$2 count=$3 total=$4 name
	shift 4
	look before "$@"
	publish "$prefix" "$rate" "$count"
	wait_for 60 have_delivered "$total" "$@" || fail "not all is delivered"
	wait_for 60 is_quiet "$@" || fail "a link is never quiet"
	look after "$@"
	for name; do
		row messages kafka "${LABEL[$name]}" message "$count" "$rate" "$name"
	done
	row messages mqtt "QoS 1$TAB-$TAB-" message "$count" "$rate" "$1"
}

messages() {
	local i slow=60 fast=2000 flood=10000 group
	[ -z "$IS_SHORT" ] || slow=0 fast=0 flood=500
	message_cases
	wait_for 60 have connected "${MESSAGES[@]}" || fail "a gateway does not connect"
	# One of each device: all is known that has to be asked for.
	publish all 1000 100
	wait_for 60 have_delivered 100 "${MESSAGES[@]}" || fail "nothing is delivered"
	wait_for 60 is_quiet "${MESSAGES[@]}" || fail "a link is never quiet"
	[ $slow -eq 0 ] || measure all 1 $slow $((100 + slow)) "${MESSAGES[@]}"
	[ $fast -eq 0 ] || measure all 100 $fast $((100 + slow + fast)) "${MESSAGES[@]}"
	for ((i = 0; i < ${#MESSAGES[@]}; i += GROUP)); do
		group=("${MESSAGES[@]:i:GROUP}")
		measure $((i / GROUP)) 2000 $flood $((100 + slow + fast + flood)) "${group[@]}"
		end_gateways "${group[@]}"
	done
}

# ---- a day without messages, a day without Kafka ----

DAYS=()
WATCH=
TAKING=() # those of them that have a broker
LOST=

# day_case PART WHAT [WHAT=TEXT...]
day_case() {
	local name=$1-${#DAYS[@]}
	LABEL[$name]=$2$TAB-$TAB-
	DAYS+=("$name")
	[[ $* = *" port="* || $* = *" broker="* ]] || TAKING+=("$name")
	gateway "$name" "\"$1/#\"" "${@:3}"
}

idle_cases() {
	day_case idle "as it is"
	[ -z "$IS_SHORT" ] || return
	day_case idle "exactly once" 'kafka=delivery = "exactly_once";'
	day_case idle "TLS, SASL" "to=$SASL_BOOTSTRAP" "kafka=$(sasl right)"
	day_case idle "reports each 300 s" 'top=status = { kafka_topic = "reports"; };'
	day_case idle "metadata hourly" "kafka=$(property topic.metadata.refresh.interval.ms=3600000)"
	day_case idle "MQTT keepalive 1200 s" 'mqtt=keepalive_s = 1200;'
	day_case idle "MQTT, no \$SYS" 'mqtt=broker_figures = false;'
}

outage_cases() {
	local slow=(reconnect.backoff.ms=10000 reconnect.backoff.max.ms=300000)
	day_case outage "refused" to=127.0.0.1:1
	[ -z "$IS_SHORT" ] || return
	day_case outage "refused, 3 brokers" to=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3
	day_case outage "refused, back-off 10 to 300 s" to=127.0.0.1:1 "kafka=$(property "${slow[@]}")"
	day_case outage "no answer" "to=$SILENT:9092"
	day_case outage "no answer, 3 brokers" "to=$SILENT:1,$SILENT:2,$SILENT:3"
	day_case outage "no answer, back-off 10 to 300 s" "to=$SILENT:9092" "kafka=$(property "${slow[@]}")"
	day_case outage "link lost while up"
	LOST=${DAYS[-1]}
	day_case outage "TLS, unknown authority" "to=$TLS_BOOTSTRAP" "kafka=$(tls stranger)"
	day_case outage "SASL, wrong password" "to=$SASL_BOOTSTRAP" "kafka=$(sasl wrong)"
	day_case outage "TLS, unknown, back-off 10 to 300 s" "to=$TLS_BOOTSTRAP" \
		"kafka=$(tls stranger "${slow[@]}")"
	day_case outage "MQTT refused" port=1
	day_case outage "MQTT, no answer" "broker=$SILENT"
}

# begin_days PART...: make the gateways, give them something to deliver or to keep, and
# watch them beside the rest
begin_days() {
	local part idle=0
	for part; do
		"${part}_cases"
		[ "$part" = outage ] || idle=${#DAYS[@]}
	done
	wait_for 60 have connected "${TAKING[@]}" || fail "a gateway does not connect"
	for part; do
		publish "$part" 1000 100
		[ "$part" = outage ] || wait_for 60 have_delivered 100 "${DAYS[@]::$idle}" ||
			fail "nothing is delivered"
	done
	[ -z "$LOST" ] || lose
	{
		sleep "$SETTLE_S"
		look before "${DAYS[@]}"
		sleep "$IDLE_S" # the time itself is what is wanted
		look after "${DAYS[@]}"
	} &
	WATCH=$!
	track $WATCH
}

# In the middle of the flow.
lose() {
	wait_for 60 have_delivered 100 "$LOST" || fail "nothing is delivered"
	cut_net "$LOST"
	publish outage 1000 100
}

end_days() {
	local name link
	wait "$WATCH"
	for name in "${DAYS[@]}"; do
		for link in kafka mqtt; do
			row "${name%-*}" $link "${LABEL[$name]}" day \
				"$(echo $IDLE_S | awk '{ print $1 / 86400 }')" - "$name"
		done
	done
	end_gateways "${DAYS[@]}"
}

# ---- tables ----

show_messages() {
	echo "Bytes of IP for each message of telemetry, to Kafka + from Kafka"
	echo
	awk -F '\t' '
		$1 == "messages" {
			key = sprintf("%-6s %-16s %-8s %7s", $2, $3, $4, $5)
			if (!(key in seen))
				keys[++n] = key
			seen[key] = 1
			cell[key, $6] = sprintf("%.0f + %.0f", $8, $9)
		}
		END {
			printf "%-40s %14s %14s %14s\n", "link   case             codec     linger", \
				"1/s", "100/s", "2000/s"
			for (i = 1; i <= n; i++)
				printf "%-40s %14s %14s %14s\n", keys[i], cell[keys[i], 1], \
					cell[keys[i], 100], cell[keys[i], 2000]
		}' "$TSV"
}

# show_days PART TITLE
show_days() {
	echo
	echo "$2, from $IDLE_S s"
	echo
	awk -F '\t' -v part="$1" '
		BEGIN {
			printf "%-6s %-36s %10s %10s %10s %10s %10s\n", "link", "case", "KiB up", \
				"KiB down", "connects", "SYNs", "librdkafka"
		}
		$1 == part {
			printf "%-6s %-36s %10.1f %10.1f %10.0f %10.0f %10s\n", $2, $3, $8 / 1024, \
				$9 / 1024, $13, $14, $12 == "-" ? "-" : sprintf("%.1f", $12 / 1024)
		}' "$TSV"
}

# ---- all of it ----

need jq ip nsenter openssl mosquitto "$PUBLISH" "$TOP_BUILDDIR/tidegated"
{ begin_nets && check_counters; } 2>>"$WORK/net.log" ||
	fail "the counters of a link cannot be relied on here"
start_brokers || fail "no broker"
begin_results
DAY_PARTS=()
for part in idle outage; do
	[[ " $* " != *" $part "* ]] || DAY_PARTS+=("$part")
done
[ ${#DAY_PARTS[@]} -eq 0 ] || begin_days "${DAY_PARTS[@]}"
if [[ " $* " = *" messages "* ]]; then
	messages
	show_messages
fi
[ ${#DAY_PARTS[@]} -eq 0 ] || end_days
for part in "${DAY_PARTS[@]}"; do
	case $part in
	idle) show_days idle "A day without messages" ;;
	outage) show_days outage "A day without Kafka or the broker, with records waiting" ;;
	esac
done
