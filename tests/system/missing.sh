#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is missing and may come, a mount, a certificate, a secret, is exit status 1 and never
# 78, by which systemd would give up; and when it comes, it goes on: tidegated started again,
# as systemd does, or a worker by tidegated itself.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"

need mosquitto mosquitto_passwd mosquitto_pub openssl jq kcat "$TESTLIB/mockkafka" \
	"$TOP_BUILDDIR/tidegated"

SECRET=Tide-4-turns
CREDENTIALS=$WORK/credentials
mkdir -p "$CREDENTIALS" "$WORK/away"

start_broker() {
	make_authority ca && make_certificate broker ca IP:127.0.0.1 &&
		make_certificate client ca '' && chmod 600 "$CERTS"/*.key &&
		printf '%s\n' "$SECRET" >"$CREDENTIALS/mqtt" && chmod 600 "$CREDENTIALS/mqtt" &&
		: >"$WORK/passwords" && chmod 600 "$WORK/passwords" &&
		mosquitto_passwd -b "$WORK/passwords" gate "$SECRET" 2>/dev/null || return 1
	TLS_PORT=$(free_port)
	start_mosquitto "listener $TLS_PORT 127.0.0.1" "cafile $CERTS/ca.pem" \
		"certfile $CERTS/broker.pem" "keyfile $CERTS/broker.key" \
		'require_certificate true' "password_file $WORK/passwords"
}

check "certificates and a broker" start_broker || tap_done
start_mock records:1 || bail "no embedded Kafka"
export CREDENTIALS_DIRECTORY=$CREDENTIALS

tls="tls = { ca_file = \"$CERTS/ca.pem\"; cert_file = \"$CERTS/client.pem\"; key_file = \"$CERTS/client.key\"; };"
plain_port=$BROKER_PORT

use() { # tls | credential | file | properties PROPERTY
	BROKER_PORT=$plain_port MQTT_SETTINGS='' KAFKA_SETTINGS=''
	case $1 in
	tls) BROKER_PORT=$TLS_PORT MQTT_SETTINGS="username = \"gate\"; password = \"credential:mqtt\"; $tls" ;;
	file) BROKER_PORT=$TLS_PORT MQTT_SETTINGS="username = \"gate\"; password = \"file:$CREDENTIALS/mqtt\"; $tls" ;;
	kafka-secret) KAFKA_SETTINGS="properties = [ \"security.protocol=SASL_PLAINTEXT\", \"sasl.mechanism=PLAIN\", \"sasl.username=u\", \"sasl.password=file:$WORK/kafka-secret\" ];" ;;
	kafka-ca) KAFKA_SETTINGS="properties = [ \"security.protocol=SSL\", \"ssl.ca.location=$CERTS/kafka-ca.pem\" ];" ;;
	esac
	write_conf
	rm -rf "$JOURNAL_DIR"
	mkdir -p "$JOURNAL_DIR"
}

# ---- tidegated itself ends ----

# ends_with_1 TEXT: within a short time, and says so
ends_with_1() {
	timeout 30 "$TOP_BUILDDIR/tidegated" -c "$CONF" >"$WORK/ended" 2>&1
	[ $? -eq 1 ] && grep -qF -- "$1" "$WORK/ended" && return 0
	cat "$WORK/ended"
	return 1
}

connected() {
	grep -q 'connected to 127.0.0.1' "$WORK/gateway.log"
}

goes_on() {
	: >"$WORK/gateway.log"
	start_gateway && wait_for 30 connected && stop_gateway && [ "$GATEWAY_STATUS" -eq 0 ]
}

use plain
rmdir "$JOURNAL_DIR"
check "journal.directory is not there: 1" ends_with_1 "$JOURNAL_DIR"
mkdir "$JOURNAL_DIR"
check "it is mounted: it goes on" goes_on
cp "$CONF" "$WORK/conf" && rm "$CONF"
check "the configuration is not there: 1" ends_with_1 "$CONF"
cp "$WORK/conf" "$CONF"
check "it is there: it goes on" goes_on
if [ "$(id -u)" -ne 0 ]; then
	chmod a-w "$JOURNAL_DIR"
	check "journal.directory may not be written: 1" ends_with_1 "$JOURNAL_DIR"
	chmod u+w "$JOURNAL_DIR"
elif mount --bind "$JOURNAL_DIR" "$JOURNAL_DIR" 2>/dev/null &&
	mount -o remount,bind,ro "$JOURNAL_DIR" 2>/dev/null; then
	test_cleanup() { umount "$JOURNAL_DIR" 2>/dev/null; }
	rm -f "$WORK/nothing"
	check "journal.directory is read-only: 1" ends_with_1 "Read-only file system"
	umount "$JOURNAL_DIR"
	check "it can be written: it goes on" goes_on
else
	umount "$JOURNAL_DIR" 2>/dev/null
	skip "journal.directory is read-only: 1" "it cannot be mounted so here"
fi

# ---- a worker has nothing to work with ----

nobody_gave_up() {
	! grep -q 'exit status 78' "$WORK/gateway.log"
}

# missing WHAT FILE WORD: tidegated does not end with 78, whoever ends does so with 1, the
# word is said; and by itself it goes on when the file is there
missing() {
	local what=$1 file=$2 word=$3
	mv "$file" "$WORK/away/" || return 1
	: >"$WORK/gateway.log"
	"$TOP_BUILDDIR/tidegated" -c "$CONF" >>"$WORK/gateway.log" 2>&1 &
	GATEWAY_PID=$!
	track $GATEWAY_PID
	said_or_gone() { is_gone "$GATEWAY_PID" || grep -qF -- "$word" "$WORK/gateway.log"; }
	check "$what is missing: that is said" wait_for 20 said_or_gone
	if is_gone $GATEWAY_PID; then
		wait $GATEWAY_PID
		check "... and the exit status is 1" test $? -eq 1
		mv "$WORK/away/${file##*/}" "$file"
		: >"$WORK/gateway.log"
		start_gateway
	else
		check "... tidegated stays" test -d /proc/$GATEWAY_PID
		mv "$WORK/away/${file##*/}" "$file"
	fi
	check "... it is there: it goes on by itself" wait_for 45 "${4:-connected}"
	check "... nobody ended with 78" nobody_gave_up
	stop_gateway
	cat "$WORK/gateway.log" >>"$WORK/all-gateways.log"
}

use tls
missing "a credential" "$CREDENTIALS/mqtt" "$CREDENTIALS/mqtt"
missing "mqtt.tls.ca_file" "$CERTS/ca.pem" "$CERTS/ca.pem"
missing "mqtt.tls.key_file" "$CERTS/client.key" "$CERTS/client.key"
use file
missing "a file with a secret" "$CREDENTIALS/mqtt" "$CREDENTIALS/mqtt"

forward_runs() {
	grep -q 'tidegate-forward: lifecycle: started' "$WORK/gateway.log"
}
printf 'secret\n' >"$WORK/kafka-secret" && chmod 600 "$WORK/kafka-secret"
use kafka-secret
missing "a secret of Kafka's" "$WORK/kafka-secret" "$WORK/kafka-secret" forward_runs
cp "$CERTS/ca.pem" "$CERTS/kafka-ca.pem"
use kafka-ca
missing "Kafka's ssl.ca.location" "$CERTS/kafka-ca.pem" "$CERTS/kafka-ca.pem" forward_runs
tap_done
