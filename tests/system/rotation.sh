#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A client certificate and a password are replaced while messages flow: after SIGHUP the
# gateway is connected with the new ones, and nothing is lost or doubled.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"

need mosquitto mosquitto_passwd openssl jq "$TESTLIB/mockkafka" "$TESTLIB/ledger_publish" \
	"$TOP_BUILDDIR/tidegated"

set_password() {
	(umask 077 && : >"$WORK/passwords.new" &&
		mosquitto_passwd -b "$WORK/passwords.new" gate "$1" 2>/dev/null &&
		mv "$WORK/passwords.new" "$WORK/passwords")
}

# use_certificate NAME: in the place of the one before, each file at once
use_certificate() {
	cp "$CERTS/$1.pem" "$WORK/new.pem" && cp "$CERTS/$1.key" "$WORK/new.key" &&
		chmod 600 "$WORK/new.key" && mv "$WORK/new.key" "$WORK/gate.key" &&
		mv "$WORK/new.pem" "$WORK/gate.pem"
}

use_secret() {
	(umask 077 && printf '%s\n' "$1" >"$WORK/secret.new" && mv "$WORK/secret.new" "$WORK/secret")
}

start_broker() {
	make_authority ca && make_certificate broker ca IP:127.0.0.1 &&
		make_certificate gate-one ca '' && make_certificate gate-two ca '' &&
		set_password first-password && use_certificate gate-one && use_secret first-password ||
		return 1
	MUTUAL_PORT=$(free_port)
	PASSWORD_PORT=$(free_port)
	start_mosquitto "password_file $WORK/passwords" \
		"listener $MUTUAL_PORT 127.0.0.1" "cafile $CERTS/ca.pem" \
		"certfile $CERTS/broker.pem" "keyfile $CERTS/broker.key" \
		'require_certificate true' 'use_identity_as_username true' \
		"listener $PASSWORD_PORT 127.0.0.1" "cafile $CERTS/ca.pem" \
		"certfile $CERTS/broker.pem" "keyfile $CERTS/broker.key"
}

# connections USER: how many there were with it
connections() {
	grep -c "New client connected .*u'$1'" "$WORK/mosquitto.log"
}

has_connections() { # USER COUNT
	[ "$(connections "$1")" -ge "$2" ]
}

write_for() { # PORT SETTING...
	local port=$1
	shift
	MQTT_SETTINGS="$*"
	BROKER_PORT=$port write_conf
}

check "certificates and a broker" start_broker || tap_done
start_mock records:4 || bail "no embedded Kafka"
consume_start rotate records -w -D 0

# ---- the certificate ----
write_for "$MUTUAL_PORT" "tls = { ca_file = \"$CERTS/ca.pem\"; cert_file = \"$WORK/gate.pem\";
	key_file = \"$WORK/gate.key\"; };"
start_gateway || bail "the gateway does not start"
check "connected with the first certificate" wait_for 20 has_connections gate-one 1
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
publish_start rotate -d 10 -r 1000
check "messages come in" wait_for 30 has_next_seq 500
use_certificate gate-two
kill -HUP "$GATEWAY_PID"
check "with the second one after SIGHUP" wait_for 20 has_connections gate-two 1
check "and no more with the first" test "$(connections gate-one)" -eq 1
check "messages come in" wait_for 30 has_next_seq "$(($(dump --stat --json | jq -r .next_seq) + 500))"

# ---- the password; by another listener, so the session goes on ----
write_for "$PASSWORD_PORT" "tls = { ca_file = \"$CERTS/ca.pem\"; };" \
	"username = \"gate\"; password = \"file:$WORK/secret\";"
kill -HUP "$GATEWAY_PID"
check "connected with the first password" wait_for 20 has_connections gate 1
set_password second-password
use_secret second-password
kill -HUP "$BROKER_PID"
kill -HUP "$GATEWAY_PID"
check "with the second one after SIGHUP" wait_for 30 has_connections gate 2
check "messages come in" wait_for 30 has_next_seq "$(($(dump --stat --json | jq -r .next_seq) + 500))"
check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 60 journal_is_empty
check "nothing is lost" consume_finish rotate
check "the gateway stops" stop_gateway
no_secret() {
	! grep -q 'first-password\|second-password' "$WORK"/*.log
}
check "no secret is in the log" no_secret
tap_done
