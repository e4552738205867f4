#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegated --check-connection: what it says when all is well and when something is not,
# that it ends whatever hangs, and that a running daemon does not notice it.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"
# shellcheck source=../lib/peer.sh
. "$TOP_SRCDIR/tests/lib/peer.sh"

need mosquitto mosquitto_passwd mosquitto_pub openssl pgrep python3 jq timeout "$TESTLIB/ledger_publish" \
	"$TOP_BUILDDIR/tidegated"

LIMIT_S=15

ROUTE_TAIL='topic = "records"; envelope = "none"; }'
ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\" ]; $ROUTE_TAIL"

# finds STATUS [ARGUMENT...]: what it said is in $WORK/said
finds() {
	local status=$1 found
	shift
	timeout 60 "$TOP_BUILDDIR/tidegated" -c "$CONF" --check-connection "$@" \
		>"$WORK/said" 2>"$WORK/said.err"
	found=$?
	[ "$found" -eq "$status" ] && return 0
	echo "status $found"
	cat "$WORK/said" "$WORK/said.err"
	return 1
}

# said TEXT: a line begins so
said() {
	awk -v text="$1" 'index($0, text) == 1 { found = 1 } END { exit !found }' "$WORK/said"
}

all_is() {
	! grep -v "^$1 " "$WORK/said"
}

ends_are_in_order() {
	[ "$(awk '{ print $2 }' "$WORK/said" | uniq | tr '\n' ' ')" = "mqtt journal kafka " ]
}

is_json() {
	[ "$(jq -r 'select(.check and .result and .text) | .result' "$WORK/said" | sort -u)" = ok ] &&
		[ "$(wc -l <"$WORK/said")" -ge 7 ] &&
		[ "$(jq -r 'select(.check == "kafka.topic").name' "$WORK/said")" = records ]
}

# with EXPRESSION: write the configuration anew, changed by sed
with() {
	write_conf && sed -i "$1" "$CONF"
}

# odd WORD...: such a broker in place of mosquitto, until end_peer
odd() {
	start_peer odd_broker.py "$@" &&
		with "s/port = $BROKER_PORT/port = $PEER_PORT/"
}

mosquitto_passwd -b -c "$WORK/passwords" site right 2>/dev/null || bail "mosquitto_passwd"
make_certificates() {
	make_authority ours && make_authority theirs && make_certificate broker ours IP:127.0.0.1
}
make_certificates || bail "no certificates"
TLS_PORT=$(free_port)
start_mosquitto "password_file $WORK/passwords" "listener $TLS_PORT 127.0.0.1" \
	"certfile $CERTS/broker.pem" "keyfile $CERTS/broker.key" || bail "no mosquitto"
start_mock records:4 || bail "no embedded Kafka"

# ---- whatever hangs: it takes its time, beside the rest ----

# Takes connections into the kernel's queue, and nothing more. Its port on stdout.
python3 -c 'import socket, time
one = socket.create_server(("127.0.0.1", 0))
print(one.getsockname()[1], flush=True)
time.sleep(120)' >"$WORK/hole" &
track $!
wait_for 10 test -s "$WORK/hole" || bail "no black hole"
hole=$(cat "$WORK/hole")

# hang NAME COMMAND...: beside the others; its time and status in $WORK/NAME.end
hang() {
	local name=$1
	shift
	(
		from=$(now_ms)
		timeout -k 1 60 "$@" >"$WORK/$name.said" 2>"$WORK/$name.err"
		echo "$? $(($(now_ms) - from))" >"$WORK/$name.end"
	) &
	track $!
}

# ended NAME: by itself, with a failure, in time (and what a busy machine needs on top)
ended() {
	local status ms
	wait_for $((LIMIT_S + 15)) test -s "$WORK/$1.end" || return 1
	read -r status ms <"$WORK/$1.end"
	diag "status $status after $ms ms"
	sed 's/^/# /' "$WORK/$1.said" "$WORK/$1.err"
	[ "$status" -eq 1 ] && [ "$ms" -lt $((LIMIT_S * 1000 + 3000)) ]
}

mkdir "$WORK/hole-journal" || bail "no directory"
with "s/port = $BROKER_PORT/port = $hole/; s/$KAFKA_BOOTSTRAP/127.0.0.1:$hole/; s|/journal\"|/hole-journal\"|"
mv "$CONF" "$WORK/hole.conf"
hang hole "$TOP_BUILDDIR/tidegated" -c "$WORK/hole.conf" --check-connection --json

# A TLS handshake; and a worker that does not even keep its own time.
sed "s/port = $hole;/& tls = {};/" "$WORK/hole.conf" >"$WORK/stopped.conf"
hang stopped "$TOP_BUILDDIR/tidegated" -c "$WORK/stopped.conf" --check-connection
has_worker() {
	local pid
	for pid in $(pgrep -f -- "--config-name $WORK/stopped.conf .*--check-connection\$"); do
		[ "$(readlink "/proc/$pid/exe")" = "$TOP_BUILDDIR/tidegate-forward" ] &&
			WORKER_PID=$pid && return 0
	done
	return 1
}
WORKER_PID=
wait_for 10 has_worker && kill -STOP "$WORKER_PID" && track "$WORKER_PID"

# A worker that does not even come to the end of the settings.
mkdir "$WORK/stuck"
cp "$TOP_BUILDDIR/tidegated" "$WORK/stuck"
ln -s "$TOP_BUILDDIR/tidegate-ingest" "$WORK/stuck"
printf '#!/bin/sh\nexec sleep 60\n' >"$WORK/stuck/tidegate-forward"
chmod +x "$WORK/stuck/tidegate-forward"
hang stuck "$WORK/stuck/tidegated" -c "$WORK/hole.conf" --check-connection

# A name server that takes the question, and nothing more: needs namespaces.
sed "s/127.0.0.1/broker.example/" "$WORK/hole.conf" >"$WORK/names.conf"
cat >"$WORK/names.sh" <<-EOT
	printf 'nameserver 127.0.0.1\\noptions timeout:30\\n' >"$WORK/resolv.conf"
	ip link set lo up &&
	mount --bind "$WORK/resolv.conf" /etc/resolv.conf || exit 77
	python3 -c 'import socket, time
	one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	one.bind(("127.0.0.1", 53))
	print("bound", flush=True)
	time.sleep(60)' >"$WORK/names.bound" &
	until [ -s "$WORK/names.bound" ]; do sleep 0.05; done
	"$TOP_BUILDDIR/tidegated" -c "$WORK/names.conf" --check-connection
	status=\$?
	kill \$!
	exit \$status
EOT
if unshare -rmn true 2>/dev/null; then
	hang names unshare -rmn sh "$WORK/names.sh"
fi

# ---- nothing is wrong, or something is ----

write_conf
check "nothing is wrong: status 0" finds 0
check "all lines are ok" all_is ok
check "MQTT, then the journal, then Kafka" ends_are_in_order
check "the broker is told" said "ok    mqtt connect: 127.0.0.1:$BROKER_PORT takes tidegate-test-site-check"
check "the filter is told" said "ok    mqtt subscription t/#: granted at QoS 1"
check "no journal is made" test ! -e "$JOURNAL_DIR/data.mdb" -a ! -e "$JOURNAL_DIR/lock.mdb"
check "the topic is told with its partitions" said "ok    kafka topic records: 4 partitions"
check "the same as JSON lines" finds 0 --json
check "each of them whole" is_json

with 's/topic = "records"/topic = "absent"/'
check "a missing topic is a warning" finds 0
check "it is said that one cannot tell" said \
	"warn  kafka topic absent: does not exist; whether the cluster creates topics by itself cannot be told"
check "looking has not made it" finds 0
check "it is missing still" said "warn  kafka topic absent: does not exist"

ROUTES="{ name = \"many\"; topic_filters = [ \"t/#\" ]; topic = \"of.\${topic:1}\"; envelope = \"none\"; },
	{ name = \"off\"; enabled = false; topic_filters = [ \"u/#\" ]; topic = \"off\"; envelope = \"none\"; }"
write_conf
check "a topic from a template" finds 0
check "is not looked at" said "ok    kafka topic of.\${topic:1}: route many: the topic comes from each message"
check "nor that of a route that is off" test "$(grep -c 'kafka topic' "$WORK/said")" = 1
ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\" ]; $ROUTE_TAIL"

closed=$(free_port)
with "s/port = $BROKER_PORT/port = $closed/; s/$KAFKA_BOOTSTRAP/127.0.0.1:$closed/"
check "nobody listens: status 1" finds 1
check "at the broker's port" said "fail  mqtt connect: 127.0.0.1:$closed cannot be reached: Connection refused"
check "nor at Kafka's" said "fail  kafka brokers: 127.0.0.1:$closed cannot be reached"

MQTT_SETTINGS='username = "site"; password = "wrong";'
write_conf
check "a wrong password: status 1" finds 1
check "the broker's words are told" said \
	"fail  mqtt connect: 127.0.0.1:$BROKER_PORT refuses the connection of tidegate-test-site-check: Not authorized"
check "the password is not" sh -c "! grep -r wrong '$WORK/said' '$WORK/said.err'"
MQTT_SETTINGS='username = "site"; password = "right";'
write_conf
check "the right one" finds 0
MQTT_SETTINGS="tls = { ca_file = \"$CERTS/ours.pem\"; };"
with "s/port = $BROKER_PORT/port = $TLS_PORT/"
check "TLS" finds 0
check "is told" said "ok    mqtt connect: 127.0.0.1:$TLS_PORT takes tidegate-test-site-check by MQTT 5 over TLS"
MQTT_SETTINGS="tls = { ca_file = \"$CERTS/theirs.pem\"; };"
with "s/port = $BROKER_PORT/port = $TLS_PORT/"
check "an authority that is not trusted: status 1" finds 1
check "is told" said "fail  mqtt connect: 127.0.0.1:$TLS_PORT cannot be reached: "
check "as the cause" grep -q 'mqtt connect: .*certificate' "$WORK/said"
MQTT_SETTINGS=

with 's|/journal"|/absent"|'
check "a missing directory: status 1" finds 1
check "it is told" said "fail  journal directory: $WORK/absent: No such file or directory"
check "the other checks are made all the same" said "ok    kafka topic records"
with "s/256 MiB/$(($(df --output=avail -B1G "$WORK" | tail -n 1) + 10)) GiB/"
check "more than the disk has" finds 0
check "is a warning" said "warn  journal room: "

check "a usage error" sh -c "'$TOP_BUILDDIR/tidegated' -c '$CONF' --json; [ \$? -eq 2 ]"
with 's/envelope/envelop/'
check "a mistake in the file: status 78" finds 78
check "told with its line" grep -qE 'tidegate.conf:[0-9]+: .*envelop' "$WORK/said.err"
check "and nothing else" test ! -s "$WORK/said"

# ---- brokers that say no ----

ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\", \"+/b\", \"\$share/g/u\" ]; $ROUTE_TAIL"
check "a broker that refuses and lowers" odd deny=t/# lower=+/b noshared expiry=3600
check "status 1" finds 1
check "it keeps the session for an hour only" said "warn  mqtt connect: "
check "which is told" grep -q 'keeps the session for no longer than 3600 s' "$WORK/said"
check "the refused filter fails" said "fail  mqtt subscription t/#: refused: Not authorized"
check "the lowered one is a warning" said "warn  mqtt subscription +/b: granted at QoS 0"
check "there are no shared ones" said "fail  mqtt subscription \$share/g/u: "
check "retained messages are not asked for" grep -qx 'SUBSCRIBE +/b 0 41' "$WORK/peer.out"
check "nor is a member of the group" grep -qx 'SUBSCRIBE u 0 41' "$WORK/peer.out"
check "it is left with DISCONNECT" grep -qx 'PACKET 14' "$WORK/peer.out"
check "the broker ends" end_peer
check "a broker of MQTT 3.1.1 alone, that sends at once" odd old send
check "status 0" finds 0
check "the fall back is a warning" said "warn  mqtt connect: "
check "a share group is asked for by its filter" said "ok    mqtt subscription \$share/g/u: granted at QoS 1"
check "the broker ends" end_peer
check "a broker that refuses the connection" odd reject
check "status 1" finds 1
check "its words are told" grep -q 'come back on Monday' "$WORK/said"
check "the broker ends" end_peer

# ---- beside a running daemon ----

ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\" ]; $ROUTE_TAIL"
write_conf
connections() {
	grep -cE 'New client connected from .* as tidegate-test-site \(' "$WORK/mosquitto.log"
}
look_until_published() {
	local count=0
	while ! is_gone "$PUBLISH_PID" || [ "$count" -lt 3 ]; do
		finds 0 || return 1
		count=$((count + 1))
	done
	diag "looked $count times"
	publish_wait 1
}
before=$(connections)
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
check "a retained message is there" mosquitto_pub -p "$BROKER_PORT" -r -q 1 -t u/x -m kept
consume_start beside records -w -f -D 0 -R 0
publish_start beside -d 3 -n 1000 -r 500
check "it is looked at again and again while messages flow" look_until_published
check "they are journalled" wait_for 30 has_next_seq 1000
check "the journal becomes empty" wait_for 30 journal_is_empty
check "each arrived once, in order" consume_finish beside
check "the daemon has connected once" test "$(connections)" -eq $((before + 1))
check "the journal's owner is told" said "ok    journal identity: of gateway test-site"
check "Kafka goes away" mock_down
check "10 messages are published" mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/a -m a --repeat 10
check "they are journalled" wait_for 20 has_next_seq 1010
check "status 1" finds 1
check "the backlog is told" said "ok    journal backlog: 10 records wait"
check "Kafka is away" said "fail  kafka brokers: "
check "the gateway stops" stop_gateway

with 's/gateway_id = "test-site"/gateway_id = "other"/'
check "another gateway's journal: status 1" finds 1
check "is told, and the ways out" sh -c \
	"grep '^fail  journal identity: .*test-site' '$WORK/said' | grep -q 'tidegate-admin adopt'"

# ---- what hangs, since the beginning ----

check "two ends that never answer: it ends" ended hole
check "both are told" test "$(jq -r 'select(.result == "fail").check' "$WORK/hole.said" | tr '\n' ' ')" = \
	"mqtt.connect kafka.brokers "
check "a worker that stands still: it ends" ended stopped
check "the handshake is told" grep -q '^fail  mqtt connect: 127.0.0.1:.* no answer' "$WORK/stopped.said"
check "and the worker" grep -q '^fail  kafka: tidegate-forward gives no answer in time' "$WORK/stopped.said"
check "the worker is gone" wait_for 5 is_gone "${WORKER_PID:-1}"
check "a worker that does not read the settings: it ends" ended stuck
check "the worker is told" grep -q 'tidegate-forward --check ended with signal 9' "$WORK/stuck.err"
if [ ! -s "$WORK/names.bound" ]; then
	skip "a name server that never answers" "no namespaces here"
else
	check "a name server that never answers: it ends" ended names
	check "the broker is told" grep -q '^fail  mqtt connect: broker.example' "$WORK/names.said"
	check "Kafka is told" grep -q '^fail  kafka brokers: broker.example' "$WORK/names.said"
	check "by workers that have kept the time themselves" test "$(grep -c ^fail "$WORK/names.said")" = 2
fi
tap_done
