#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Certificates that end soon, or have ended, are told in the log of the worker that uses
# them and in the status report, and change nothing else.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"

need mosquitto mosquitto_sub openssl jq "$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated"

DAY='%Y%m%d%H%M%SZ'
in_days() {
	date -u -d "$1 days 1 hour" "+$DAY"
}

# An authority for long, and gateway certificates for 10 days and none at all.
make_all() {
	make_authority signer && make_certificate broker signer IP:127.0.0.1 &&
		make_certificate soon signer '' "$(in_days -1)" "$(in_days 10)" &&
		make_certificate late signer '' "$(in_days -1)" "$(in_days 400)" &&
		make_certificate over signer '' "$(in_days -9)" "$(in_days -2)" &&
		openssl req -x509 -key "$CERTS/signer.key" -days 400 \
			-subj "/O=Tidegate tests/CN=signer" -out "$CERTS/ca.pem" \
			2>>"$WORK/certs.log" &&
		cp "$CERTS/soon.pem" "$WORK/gateway.pem"
}

report() {
	mosquitto_sub -p "$PLAIN_PORT" -t status -C 1 -W 5
}

tells() {
	report_tells() { report | tee "$WORK/status.json" | jq -e "$1"; }
	wait_for 20 report_tells "$1" && return
	cat "$WORK/status.json"
	return 1
}

says() {
	wait_for 20 grep -qE -- "$1" "$WORK/gateway.log"
}

# ends FILE: as openssl says, in the report's words
ends() {
	date -u -d "$(openssl x509 -in "$1" -noout -enddate | cut -d= -f2)" +%Y-%m-%dT%H:%M:%S.000Z
}

check "certificates are made" make_all || tap_done
start_broker() {
	local try
	for try in 1 2 3; do
		PLAIN_PORT=$(free_port)
		start_mosquitto "cafile $CERTS/ca.pem" "certfile $CERTS/broker.pem" \
			"keyfile $CERTS/broker.key" "require_certificate true" \
			"listener $PLAIN_PORT 127.0.0.1" && return 0
		diag "attempt $try failed"
		BROKER_PORT=
	done
	return 1
}
start_broker || bail "no mosquitto"
start_mock records:1 || bail "no embedded Kafka"

MQTT_SETTINGS="tls = { ca_file = \"$CERTS/ca.pem\"; cert_file = \"$WORK/gateway.pem\";
	key_file = \"$CERTS/soon.key\"; };"
write_conf 'status = { mqtt_topic = "status"; interval_s = 1; };'
start_gateway || bail "no gateway"
check "it warns of the certificate that ends soon" says \
	"warning tidegate-ingest: connection: mqtt.tls.cert_file: the certificate in $WORK/gateway.pem expires in 10 days, on "
check "once" test "$(grep -c 'expires in' "$WORK/gateway.log")" = 1
check "the report has both files" tells ".certificates == [
	{\"file\": \"$WORK/gateway.pem\", \"expires\": \"$(ends "$CERTS/soon.pem")\"},
	{\"file\": \"$CERTS/ca.pem\", \"expires\": \"$(ends "$CERTS/ca.pem")\"}]"
check "and a warning" tells ".warnings == [\"the certificate in $WORK/gateway.pem expires in 10 days\"]"
check "all is well" tells '.state == "well"'

cp "$CERTS/late.pem" "$WORK/gateway.pem" && cp "$CERTS/late.key" "$CERTS/soon.key"
kill -HUP "$GATEWAY_PID"
check "a reload takes the new one over" tells ".warnings == [] and .mqtt.state == \"connected\" and
	.certificates[0].expires == \"$(ends "$CERTS/late.pem")\""

KAFKA_SETTINGS="properties = [ \"security.protocol=SSL\", \"ssl.ca.location=$CERTS/ca.pem\",
	\"ssl.certificate.location=$CERTS/over.pem\", \"ssl.key.location=$CERTS/over.key\" ];"
write_conf 'status = { mqtt_topic = "status"; interval_s = 1; };'
kill -HUP "$GATEWAY_PID"
check "that of Kafka has expired" says \
	"error tidegate-forward: connection: kafka.properties: ssl.certificate.location: the certificate in $CERTS/over.pem has expired, on "
check "the report has it, and the authority once" tells ".warnings == [\"the certificate in $CERTS/over.pem has expired\"]
	and (.certificates | map(.file)) == [\"$WORK/gateway.pem\", \"$CERTS/ca.pem\", \"$CERTS/over.pem\"]"
check "the gateway stops" stop_gateway
tap_done
