#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# TLS to the broker, mutual TLS, user and password: what is right connects, and each
# thing that can be wrong is refused with one line that names it. No secret shows.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"
# shellcheck source=../lib/peer.sh
. "$TOP_SRCDIR/tests/lib/peer.sh"

need mosquitto mosquitto_passwd mosquitto_pub openssl python3 jq "$TESTLIB/ledger_publish" \
	"$TOP_BUILDDIR/tidegate-ingest" "$TOP_BUILDDIR/tidegate-dump" "$TOP_BUILDDIR/tidegated"

KAFKA_BOOTSTRAP=127.0.0.1:9
SECRET=Wave-7-breaks

make_all() {
	make_authority ca && make_authority other-ca &&
		make_certificate broker ca DNS:localhost,IP:127.0.0.1 &&
		make_certificate elsewhere ca DNS:broker.example &&
		make_certificate expired ca IP:127.0.0.1 20200101000000Z 20200201000000Z &&
		make_certificate future ca IP:127.0.0.1 20400101000000Z 20400201000000Z &&
		make_certificate client ca '' && make_certificate stranger other-ca '' &&
		make_certificate client-expired ca '' 20200101000000Z 20200201000000Z &&
		openssl pkcs8 -topk8 -in "$CERTS/client.key" -out "$CERTS/locked.key" \
			-passout "pass:$SECRET" 2>>"$WORK/certs.log" &&
		chmod 600 "$CERTS"/*.key && : >"$WORK/empty.pem" &&
		printf '%s\n' "$SECRET" >"$WORK/secret" && chmod 600 "$WORK/secret"
}

# One broker with a listener for each kind, each at its PORT
declare -A PORT
start_broker() {
	local try kind file lines
	for try in 1 2 3; do
		lines=()
		for kind in broker elsewhere expired future mutual; do
			PORT[$kind]=$(free_port)
			file=$kind
			[ "$kind" != mutual ] || file=broker
			lines+=("listener ${PORT[$kind]} 127.0.0.1" "cafile $CERTS/ca.pem"
				"certfile $CERTS/$file.pem" "keyfile $CERTS/$file.key")
		done
		lines+=("require_certificate true")
		start_mosquitto "${lines[@]}" && return 0
		diag "attempt $try failed"
		BROKER_PORT=
	done
	return 1
}

# ingest PORT [SETTING...]: one that tries to connect, with a journal of its own
ingest() {
	local port=$1
	shift
	MQTT_SETTINGS="$*"
	rm -rf "$JOURNAL_DIR"
	BROKER_PORT=$port write_conf
	"$TOP_BUILDDIR/tidegate-ingest" -v -c "$CONF" >"$WORK/ingest.log" 2>&1 &
	INGEST_PID=$!
	track "$INGEST_PID"
}

end_ingest() {
	end_pid "$INGEST_PID" 5 && wait "$INGEST_PID" 2>/dev/null
	cat "$WORK/ingest.log" >>"$WORK/all-ingest.log"
}

says() {
	wait_for 20 grep -qF -- "$1" "$WORK/ingest.log"
}

# tls SETTING...: text for a tls group
tls() {
	echo "tls = { $* };"
}

ca="ca_file = \"$CERTS/ca.pem\";"
client="cert_file = \"$CERTS/client.pem\"; key_file = \"$CERTS/client.key\";"
locked="cert_file = \"$CERTS/client.pem\"; key_file = \"$CERTS/locked.key\";"

# connects WHAT PORT [SETTING...]
connects() {
	local what=$1 rc=0
	shift
	ingest "$@"
	check "$what" says "connected to 127.0.0.1:$1" || rc=1
	end_ingest
	return $rc
}

# refused WHAT TEXT PORT [SETTING...]: it says so, in one line, and the next try says nothing
# more. (That there has been one, the broker's log or its silence tells; a second is enough.)
refused() {
	local what=$1 text=$2
	shift 2
	ingest "$@"
	check "$what" says "$text"
	check "... and goes on trying" test -e "/proc/$INGEST_PID"
	end_ingest
	# That the gateway's own certificate has expired is told apart from the connection.
	check "... in one line" test "$(grep -E ' (warning|error) ' "$WORK/ingest.log" |
		grep -vc ' has expired, on ')" -eq 1
}

check "certificates are made" make_all || tap_done
check "a broker with TLS" start_broker || tap_done

# ---- what is right ----

connects "TLS with ca_file" "${PORT[broker]}" "$(tls "$ca")"
check "openssl makes a directory of authorities" openssl rehash "$CERTS"
connects "TLS with ca_path" "${PORT[broker]}" "$(tls "ca_path = \"$CERTS\";")"
connects "mutual TLS" "${PORT[mutual]}" "$(tls "$ca $client")"
connects "mutual TLS, key with a password from a file" "${PORT[mutual]}" \
	"$(tls "$ca $locked key_password = \"file:$WORK/secret\";")"
connects "another host name, insecure" "${PORT[elsewhere]}" "$(tls "$ca insecure = true;")"
check "of which a line warns" grep -qF "mqtt.tls.insecure is on" "$WORK/ingest.log"

# ---- what is wrong at the other end ----

refused "a wrong authority" \
	"certificate is not signed by an authority in ca_file" \
	"${PORT[broker]}" "$(tls "ca_file = \"$CERTS/other-ca.pem\";")"
refused "the system's authorities" \
	"certificate is not signed by an authority that this system trusts" \
	"${PORT[broker]}" "$(tls)"
refused "a wrong host name" \
	"the broker's certificate is not for 127.0.0.1, but for DNS:broker.example" \
	"${PORT[elsewhere]}" "$(tls "$ca")"
refused "an expired certificate" \
	"the broker's certificate expired on 2020-02-01 00:00 UTC" \
	"${PORT[expired]}" "$(tls "$ca")"
refused "a certificate of the future" \
	"the broker's certificate is not valid before 2040-01-01 00:00 UTC" \
	"${PORT[future]}" "$(tls "$ca")"
refused "no client certificate" \
	"the broker wants a client certificate (mqtt.tls.cert_file)" \
	"${PORT[mutual]}" "$(tls "$ca")"
refused "a client certificate of a stranger" \
	"the broker does not know the authority that signed the certificate in cert_file" \
	"${PORT[mutual]}" "$(tls "$ca cert_file = \"$CERTS/stranger.pem\";
		key_file = \"$CERTS/stranger.key\";")"
refused "an expired client certificate" \
	"the broker refuses the certificate in cert_file: certificate expired" \
	"${PORT[mutual]}" "$(tls "$ca cert_file = \"$CERTS/client-expired.pem\";
		key_file = \"$CERTS/client-expired.key\";")"
refused "TLS to a port without" "does it speak TLS at this port?" \
	"$BROKER_PORT" "$(tls "$ca")"
refused "a port with TLS without it" "does it want TLS at this port (mqtt.tls)?" \
	"${PORT[broker]}"
check "a peer that knows TLS 1.1" \
	start_peer tls_peer.py old "$CERTS/broker.pem" "$CERTS/broker.key"
refused "is refused" "the broker speaks neither TLS 1.2 nor 1.3" \
	"$PEER_PORT" "$(tls "$ca")"
end_peer
check "a peer that resets connections" start_peer tls_peer.py reset
refused "is told from one that refuses" \
	"the broker ended the connection in the TLS handshake" "$PEER_PORT" "$(tls "$ca")"
end_peer

# ---- what is wrong here ----

refused "a wrong password of the key" \
	"locked.key cannot be opened: key_password is wrong" \
	"${PORT[mutual]}" "$(tls "$ca $locked key_password = \"nonsense\";")"
refused "a key that wants a password" \
	"locked.key cannot be opened: it wants a key_password" \
	"${PORT[mutual]}" "$(tls "$ca $locked")"
refused "a certificate that is missing" \
	"cannot read cert_file $WORK/none.pem: No such file or directory" \
	"${PORT[mutual]}" "$(tls "$ca cert_file = \"$WORK/none.pem\";
		key_file = \"$CERTS/client.key\";")"
refused "an authority's file without one" \
	"there is no certificate of an authority in ca_file $WORK/empty.pem" \
	"${PORT[broker]}" "$(tls "ca_file = \"$WORK/empty.pem\";")"
refused "a key of another certificate" \
	"does not belong to the certificate in cert_file" \
	"${PORT[mutual]}" "$(tls "$ca cert_file = \"$CERTS/client.pem\";
		key_file = \"$CERTS/stranger.key\";")"

ingest "${PORT[broker]}" "$(tls "ca_file = \"$WORK/later.pem\";")"
check "an authority's file that is not there yet" says "cannot read ca_file $WORK/later.pem"
cp "$CERTS/ca.pem" "$WORK/later.pem"
check "is read when it is" says "connected to 127.0.0.1:${PORT[broker]}"
end_ingest
chmod 644 "$CERTS/client.key"
connects "a key that everyone can read" "${PORT[mutual]}" "$(tls "$ca $client")"
check "draws a warning" \
	grep -qF "client.key can be read by every user of this machine" "$WORK/ingest.log"

# ---- a peer that is silent, and one that gathers ----

check "a peer that never answers" start_peer tls_peer.py silent
ingest "$PEER_PORT" "$(tls "$ca")"
check "has a connection" wait_for 20 grep -q connection "$WORK/peer.out"
started=$(now_ms)
check "SIGTERM ends the wait" end_ingest
check "at once" test $(($(now_ms) - started)) -lt 3000
end_peer

# Many messages in one TLS record: poll(2) shows nothing of what OpenSSL has decrypted.
check "a peer that gathers records" \
	start_peer tls_peer.py gather "$CERTS/broker.pem" "$CERTS/broker.key" "$BROKER_PORT"
JOURNAL_SETTINGS='max_bytes = "64 MiB"; commit_max_messages = 100;'
ingest "$PEER_PORT" "$(tls "$ca")"
check "the subscription is taken" wait_for 20 is_subscribed 't/#'
publish_start gather -n 5000 -s 64 -w 5000
check "messages are published" publish_wait 30
check "all arrive" wait_for 20 has_next_seq 5000
check "ingest ends" end_ingest

# Records that do not end with a packet: libmosquitto would go on with the next message
# as long as they come. (With QoS 1 it stops by chance, after some 280.)
publish_unasked() { seq -f %08g 4000 | mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -t t/0 -l; }
no_commit_was_larger() {
	local line
	line=$(grep -o 'stopped: 4000 messages in [0-9]* commits' "$WORK/ingest.log") || return 1
	diag "$line"
	[ "$(echo "$line" | cut -d ' ' -f 5)" -ge 40 ]
}
: >"$WORK/mosquitto.log"
ingest "$PEER_PORT" "$(tls "$ca")"
check "the subscription is taken" wait_for 20 is_subscribed 't/#'
check "messages of QoS 0 are published" publish_unasked
check "all arrive" wait_for 20 has_next_seq 4000
check "ingest ends" end_ingest
check "no commit had more than commit_max_messages" no_commit_was_larger
end_peer
JOURNAL_SETTINGS='max_bytes = "64 MiB";'

# ---- user and password ----

check "the broker ends" stop_mosquitto
check "a password file is made" \
	mosquitto_passwd -c -b "$WORK/passwords" site "$SECRET"
chmod 644 "$WORK/passwords"
sed -i 's/^allow_anonymous true$/allow_anonymous false/' "$WORK/mosquitto.conf"
echo "password_file $WORK/passwords" >>"$WORK/mosquitto.conf"
check "and starts with users" start_mosquitto
refused "no user" "Not authorized" "$BROKER_PORT"
refused "a wrong password" "refuses the connection of tidegate-test-site: Not authorized" \
	"$BROKER_PORT" 'username = "site"; password = "nonsense";'
connects "user and password" "$BROKER_PORT" \
	"username = \"site\"; password = \"$SECRET\";"
connects "user and password from a file, over TLS" "${PORT[broker]}" "$(tls "$ca")" \
	"username = \"site\"; password = \"file:$WORK/secret\";"
mkdir "$WORK/credentials" && cp "$WORK/secret" "$WORK/credentials/mqtt"
export CREDENTIALS_DIRECTORY=$WORK/credentials
connects "password as a credential" "$BROKER_PORT" \
	'username = "site"; password = "credential:mqtt";'
refused "a credential that is missing" \
	"mqtt.password: the secret in $WORK/credentials/none cannot be read" \
	"$BROKER_PORT" 'username = "site"; password = "credential:none";'

# ---- nothing of it shows ----

MQTT_SETTINGS="username = \"site\"; password = \"$SECRET\";
	$(tls "$ca $locked key_password = \"$SECRET\";")"
BROKER_PORT=${PORT[mutual]} write_conf
shows() {
	"$TOP_BUILDDIR/tidegated" -c "$CONF" --print-config | grep -F "$1"
}
no_secret() {
	! grep -rqF -- "$SECRET" "$@"
}
command_lines() {
	local pid
	for pid in "$GATEWAY_PID" "$(worker_pid ingest)" "$(worker_pid forward)"; do
		tr '\0' ' ' <"/proc/$pid/cmdline"
	done >"$WORK/command-lines"
	grep -q ingest "$WORK/command-lines" && no_secret "$WORK/command-lines"
}
check "the gateway starts" start_gateway -v
check "connects" wait_for 20 grep -qF "connected to 127.0.0.1:${PORT[mutual]}" \
	"$WORK/gateway.log"
check "no secret is in a command line" command_lines
check "none in --print-config, which masks them" shows 'password = "***"'
check "really none" test -z "$(shows "$SECRET")"
check "the gateway stops" stop_gateway
check "none in a log" no_secret "$WORK/gateway.log" "$WORK/all-ingest.log"
tap_done
