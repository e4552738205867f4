#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# TLS, mutual TLS, SASL PLAIN, SCRAM and OAUTHBEARER against a real Kafka, with
# certificates made on the spot: what is right delivers; what is wrong is refused with a
# line that names the cause, and arrives when that is mended; no secret is seen anywhere.
#
# Kafka 4 takes no SCRAM of a librdkafka before 2.6.1: then Kafka 3.9 shows that it works.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
need jq kcat openssl "$FORWARD" "$FEED" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it
COUNT=20

CERTS=$WORK/certs
mkdir -p "$CERTS"

# Long enough to be found by chance nowhere.
secret() {
	echo "S3cret-$1-$(openssl rand -hex 8)"
}
PLAIN_SECRET=$(secret plain)
SCRAM_SECRET=$(secret scram)
WRONG_SECRET=$(secret wrong)
KEY_SECRET=$(secret key)
OAUTH_SECRET=$(secret oauth)

# ---- certificates ----

# make_authority NAME
make_authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
		-subj "/CN=$1" -keyout "$CERTS/$1.key" -out "$CERTS/$1.pem" 2>>"$WORK/openssl.log"
}

authority_conf() {
	cat <<-EOT
		[ca]
		default_ca = here
		[here]
		database = $CERTS/index.txt
		serial = $CERTS/serial
		new_certs_dir = $CERTS
		default_md = sha256
		default_days = 90
		policy = any
		unique_subject = no
		x509_extensions = leaf
		[any]
		commonName = supplied
		[leaf]
		subjectAltName = $1
	EOT
}

# make_certificate NAME ALTERNATIVE_NAMES [ARGUMENT...]: of the authority "ca"; NAME.both
# is what Kafka wants as a key store
make_certificate() {
	local name=$1
	authority_conf "$2" >"$CERTS/ca.conf"
	touch "$CERTS/index.txt"
	shift 2
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
		-keyout "$CERTS/$name.key" -out "$CERTS/$name.csr" 2>>"$WORK/openssl.log" &&
		openssl ca -batch -notext -rand_serial -config "$CERTS/ca.conf" -cert "$CERTS/ca.pem" \
			-keyfile "$CERTS/ca.key" "$@" -in "$CERTS/$name.csr" -out "$CERTS/$name.pem" \
			2>>"$WORK/openssl.log" &&
		cat "$CERTS/$name.key" "$CERTS/$name.pem" >"$CERTS/$name.both"
}

make_certificates() {
	local here='IP:127.0.0.1,DNS:localhost'
	make_authority ca && make_authority stranger && make_certificate server "$here" &&
		make_certificate other DNS:kafka.example && make_certificate client DNS:client.example &&
		make_certificate expired "$here" -startdate 20200101000000Z -enddate 20200201000000Z &&
		openssl pkcs8 -topk8 -in "$CERTS/client.key" -out "$CERTS/client.locked.key" \
			-passout "pass:$KEY_SECRET"
}

# ---- brokers ----

SASL_MODULE=org.apache.kafka.common.security

# tls_properties LISTENER CERTIFICATE
tls_properties() {
	printf "listener.name.$1.%s\n" ssl.keystore.type=PEM "ssl.keystore.location=$CERTS/$2.both" \
		ssl.truststore.type=PEM "ssl.truststore.location=$CERTS/ca.pem"
}

sasl_properties() {
	tls_properties sasl server
	printf 'listener.name.sasl.%s\n' \
		sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER \
		"plain.sasl.jaas.config=$SASL_MODULE.plain.PlainLoginModule required user_plain=\"$PLAIN_SECRET\";" \
		"scram-sha-256.sasl.jaas.config=$SASL_MODULE.scram.ScramLoginModule required;" \
		"scram-sha-512.sasl.jaas.config=$SASL_MODULE.scram.ScramLoginModule required;" \
		"oauthbearer.sasl.jaas.config=$SASL_MODULE.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
}

start_brokers() {
	local properties
	mapfile -t properties < <(sasl_properties)
	export KAFKA_FORMAT="--add-scram
SCRAM-SHA-256=[name=scram,password=$SCRAM_SECRET]
--add-scram
SCRAM-SHA-512=[name=scram,password=$SCRAM_SECRET]"
	if scram_is_old; then
		KAFKA_DIR=$WORK/kafka39 KAFKA_VERSION=3.9.1 KAFKA_LISTENERS=SASL:SASL_SSL \
			start_kafka "${properties[@]}" auto.create.topics.enable=true || return 1
	fi
	mapfile -t -O ${#properties[@]} properties < <(tls_properties tls server
		tls_properties mutual server
		echo listener.name.mutual.ssl.client.auth=required
		tls_properties expired expired
		tls_properties other other)
	KAFKA_LISTENERS='TLS:SSL MUTUAL:SSL EXPIRED:SSL OTHER:SSL SASL:SASL_SSL' \
		start_kafka "${properties[@]}" auto.create.topics.enable=true || return 1
	unset KAFKA_FORMAT # it would be in the environment of a gateway
}

LIBRDKAFKA=$(kcat -V | sed -n 's/.*librdkafka \([0-9.]*\).*/\1/p')

scram_is_old() {
	[ "$(printf '%s\n' 2.6.1 "$LIBRDKAFKA" | sort -V | head -n 1)" != 2.6.1 ]
}

# ---- one gateway ----

# new_case NAME ADDRESS PROPERTY...: a journal with records for the topic NAME
new_case() {
	local properties
	CASE=$1
	CONF=$WORK/$1.conf
	JOURNAL_DIR=$WORK/journal-$1
	KAFKA_BOOTSTRAP=$2
	shift 2
	properties=$(printf '"%s", ' "$@")
	KAFKA_SETTINGS="shutdown_ms = 200; properties = [ ${properties%, } ];"
	ROUTES="{ name = \"r\"; topic_filters = [ \"#\" ]; topic = \"$CASE\"; envelope = \"none\"; }"
	write_conf "${LOG_SETTINGS-}"
	yes 'dev/1 20 0' | head -n "$COUNT" | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" ||
		bail "no journal"
}

address() {
	cat "$WORK/kafka${2-}/address.$1"
}

# has_all [NAME]: they are in Kafka
has_all() {
	[ "$(timeout 20 kcat -C -b "${2:-$PLAIN_ADDRESS}" -t "${1:-$CASE}" -e -q -f '%s\n' \
		2>>"$WORK/kcat.log" | wc -l)" -ge "$COUNT" ]
}

forward_once() {
	timeout 30 "$FORWARD" -c "$CONF" --once >>"$WORK/$CASE.log" 2>&1
}

# delivers WHAT [ADDRESS]: everything, by itself, in time
delivers() {
	check "$1: delivers" forward_once || return
	check "$1: all have arrived" has_all "$CASE" "${2-}"
}

# Two attempts, which the log at its lowest level shows.
has_failed_twice() {
	[ "$(grep -c 'debug tidegate-forward: connection: librdkafka: FAIL' "$WORK/$1.log")" -ge 2 ]
}

# refused NAME WORDS [LINES]: by now there is one line for people, and it has these words
refused() {
	local lines
	wait_for 20 grep -qF -- "$2" "$WORK/$1.log" && wait_for 20 has_failed_twice "$1"
	lines=$(grep -E '(error|warning) tidegate-forward: connection' "$WORK/$1.log")
	# For the summary of the test, as an example of what people see.
	echo "# ${lines#* }"
	grep -qF -- "$2" <<<"$lines" && [ "$(wc -l <<<"$lines")" -eq "${3:-1}" ]
}

# start_refused NAME LISTENER PROPERTY...: beside the test
declare -A FORWARD_PID
start_refused() {
	local listener=$2 name=$1
	shift 2
	LOG_SETTINGS='log = { level = "debug"; };' \
		new_case "$name" "$(address "$listener")" reconnect.backoff.max.ms=500 "$@"
	"$FORWARD" -c "$CONF" >>"$WORK/$name.log" 2>&1 &
	FORWARD_PID[$name]=$!
	track $!
	PIDS+=($!)
}

# ---- secrets ----

PIDS=()
SEEN=$WORK/seen
: >"$SEEN"

# look: command lines and environments of what runs
look() {
	local pid
	for pid in "${PIDS[@]}" $(worker_pid ingest) $(worker_pid forward); do
		tr '\0' '\n' <"/proc/$pid/cmdline"
		tr '\0' '\n' <"/proc/$pid/environ"
	done >>"$SEEN" 2>/dev/null
}

no_secret_in() {
	local secret
	for secret in "$PLAIN_SECRET" "$SCRAM_SECRET" "$WRONG_SECRET" "$KEY_SECRET" "$OAUTH_SECRET"; do
		! grep -lF -- "$secret" "$@" || return 1
	done
}

print_configs() {
	local conf
	for conf in "$WORK"/*.conf; do
		"$TOP_BUILDDIR/tidegated" -c "$conf" --print-config || return 1
	done >"$WORK/printed"
	grep -q 'sasl.password=\*\*\*' "$WORK/printed"
}

# ---- what is right ----

check "certificates are made" make_certificates || bail "no certificates"
umask 077
echo "$PLAIN_SECRET" >"$WORK/plain.secret"
echo "$WRONG_SECRET" >"$WORK/fleet.secret"
echo "$SCRAM_SECRET" >"$WORK/scram"
echo "$KEY_SECRET" >"$WORK/key.secret"
cp "$CERTS/stranger.pem" "$WORK/fleet.ca"
umask 022
chmod 600 "$CERTS"/*.key
start_brokers || bail "no Kafka"
PLAIN_ADDRESS=$KAFKA_BOOTSTRAP

TLS=(security.protocol=SSL "ssl.ca.location=$CERTS/ca.pem")
SASL=(security.protocol=SASL_SSL "ssl.ca.location=$CERTS/ca.pem")
CLIENT=("ssl.certificate.location=$CERTS/client.pem")

new_case tls "$(address TLS)" "${TLS[@]}"
delivers TLS
new_case mutual "$(address MUTUAL)" "${TLS[@]}" "${CLIENT[@]}" \
	"ssl.key.location=$CERTS/client.key"
delivers "mutual TLS"
# librdkafka tells every property under debug=all.
chmod 644 "$CERTS/client.locked.key"
LOG_SETTINGS='log = { level = "debug"; };' new_case locked "$(address MUTUAL)" "${TLS[@]}" \
	"${CLIENT[@]}" "ssl.key.location=$CERTS/client.locked.key" \
	"ssl.key.password=file:$WORK/key.secret" debug=all
delivers "mutual TLS, the key locked"
check "a key that everyone can read draws a warning" \
	grep -q "warning .*client.locked.key can be read by every user" "$WORK/locked.log"
LOG_SETTINGS='log = { level = "debug"; };' new_case plain "$(address SASL)" "${SASL[@]}" \
	sasl.mechanisms=PLAIN sasl.username=plain "sasl.password=file:$WORK/plain.secret" debug=all
delivers "SASL PLAIN over TLS"
check "a secret that only we can read draws none" \
	bash -c "! grep -h 'can be read by every user' '$WORK/plain.log' '$WORK/mutual.log'"
LOG_SETTINGS='log = { level = "debug"; };' new_case inline "$(address SASL)" "${SASL[@]}" \
	sasl.mechanism=PLAIN sasl.username=plain "sasl.password=$PLAIN_SECRET"
delivers "SASL PLAIN, the password in the file itself"
LOG_SETTINGS='log = { level = "debug"; };' new_case oauth "$(address SASL)" "${SASL[@]}" \
	sasl.mechanisms=OAUTHBEARER enable.sasl.oauthbearer.unsecure.jwt=true \
	"sasl.oauthbearer.config=principal=gateway scope=$OAUTH_SECRET" debug=all
delivers "SASL OAUTHBEARER, unsecured"

export CREDENTIALS_DIRECTORY=$WORK
for hash in 256 512; do
	SCRAM=("sasl.mechanisms=SCRAM-SHA-$hash" sasl.username=scram sasl.password=credential:scram)
	if scram_is_old; then
		KAFKA_OLD=$(cat "$WORK/kafka39/address")
		LOG_SETTINGS='log = { level = "debug"; };' new_case "scram-$hash" "$(address SASL 39)" \
			"${SASL[@]}" "${SCRAM[@]}" debug=all
		delivers "SASL SCRAM-SHA-$hash, Kafka 3.9" "$KAFKA_OLD"
	else
		new_case "scram-$hash" "$(address SASL)" "${SASL[@]}" "${SCRAM[@]}"
		delivers "SASL SCRAM-SHA-$hash"
	fi
done
if scram_is_old; then
	[ ! -s "$WORK/kafka39/pid" ] || KAFKA_DIR=$WORK/kafka39 kafka stop
fi

# ---- what cannot be ----

# says_at_once WORDS: the check of the configuration
says_at_once() {
	"$TOP_BUILDDIR/tidegated" -c "$CONF" --test-config >"$WORK/test-config.out" 2>&1
	[ $? -eq 78 ] && grep -F -- "$1" "$WORK/test-config.out" | sed 's/^/# /'
	[ "${PIPESTATUS[0]}" -eq 0 ]
}

new_case no-mechanism "$(address SASL)" "${SASL[@]}" sasl.username=plain \
	"sasl.password=file:$WORK/plain.secret"
check "a mechanism that is missing is a mistake" says_at_once "sasl.mechanisms is missing"
new_case no-token "$(address SASL)" "${SASL[@]}" sasl.mechanisms=OAUTHBEARER
check "so is OAUTHBEARER without a token" says_at_once "sasl.oauthbearer.method=oidc is missing"
new_case oidc "$(address SASL)" "${SASL[@]}" sasl.mechanisms=OAUTHBEARER \
	sasl.oauthbearer.method=oidc sasl.oauthbearer.client.id=gateway \
	"sasl.oauthbearer.client.secret=$OAUTH_SECRET" \
	sasl.oauthbearer.token.endpoint.url=https://127.0.0.1:1/token
if kcat -V | grep -q 'oidc'; then
	check "OIDC is passed on" "$TOP_BUILDDIR/tidegated" -c "$CONF" --test-config
else
	check "OIDC, which librdkafka $LIBRDKAFKA here was built without, is refused with that reason" \
		says_at_once "OAuth/OIDC depends on libcurl"
fi

# ---- what is wrong ----

start_refused expired EXPIRED "${TLS[@]}"
start_refused other OTHER "${TLS[@]}"
start_refused no-client MUTUAL "${TLS[@]}"
start_refused strange-client MUTUAL "${TLS[@]}" "ssl.certificate.location=$CERTS/stranger.pem" \
	"ssl.key.location=$CERTS/stranger.key"
start_refused no-user SASL "${SASL[@]}" sasl.mechanisms=PLAIN sasl.username=nobody \
	"sasl.password=$WRONG_SECRET"
if scram_is_old; then
	start_refused new-scram SASL "${SASL[@]}" sasl.mechanisms=SCRAM-SHA-256 \
		sasl.username=scram "sasl.password=credential:scram"
fi
start_refused no-tls TLS client.rack=none
LOG_SETTINGS='log = { level = "debug"; };' new_case fleet "$(address SASL)" \
	reconnect.backoff.max.ms=500 security.protocol=SASL_SSL "ssl.ca.location=$WORK/fleet.ca" \
	sasl.mechanisms=PLAIN sasl.username=plain "sasl.password=file:$WORK/fleet.secret" debug=security
check "a gateway with a wrong CA and a wrong password starts" start_gateway
check "expired certificate" refused expired "its certificate has expired"
check "wrong host name" refused other "its certificate does not match the host name"
check "no client certificate" refused no-client "the broker asks for a client certificate, and none is given"
check "client certificate of a stranger" refused strange-client "the broker refuses our certificate"
check "unknown user" refused no-user "user name or password is wrong (SASL PLAIN)"
scram_is_old && check "SCRAM that Kafka 4 does not take" refused new-scram "cannot do SCRAM with Kafka 4"
check "no TLS where it is wanted" refused no-tls "connecting to a SSL listener?"
cp "$WORK/gateway.log" "$WORK/fleet.log"
check "wrong CA" wait_for 20 grep -q "Kafka is not trusted: .* authority that is not trusted" "$WORK/gateway.log"
look

# ---- and mended ----

check "what was refused is kept" test "$(KAFKA_BOOTSTRAP=x journal_count)" = "$COUNT"
cp "$CERTS/ca.pem" "$WORK/fleet.ca"
kill -HUP "$GATEWAY_PID"
check "with the right CA the wrong password is next" wait_for 20 \
	grep -q "Kafka does not let us in: .* user name or password is wrong" "$WORK/gateway.log"
look
cp "$WORK/plain.secret" "$WORK/fleet.secret"
kill -HUP "$GATEWAY_PID"
check "with the right password all arrive" wait_for 30 has_all fleet
check "the gateway stops" stop_gateway

cp "$CERTS/server.both" "$CERTS/expired.both"
cp "$CERTS/server.both" "$CERTS/other.both"
kafka restart || bail "Kafka does not start again"
check "with a certificate that is valid all arrive" wait_for 60 has_all expired
check "with one of the right name all arrive" wait_for 60 has_all other
check "the log says so" grep -q "Kafka is reachable again" "$WORK/expired.log"
for name in "${!FORWARD_PID[@]}"; do
	end_pid "${FORWARD_PID[$name]}" 20
done
new_case no-client "$(address MUTUAL)" "${TLS[@]}" "${CLIENT[@]}" "ssl.key.location=$CERTS/client.key"
delivers "a client certificate where it is wanted"

# ---- and no secret was seen ----

check "configurations are shown without secrets" print_configs
check "no secret is in a log, a command line, an environment, or what is shown" \
	no_secret_in "$WORK"/*.log "$WORK/printed" "$SEEN" "$WORK/test-config.out"
check "there was something to look at" grep -q "$CONF" "$SEEN" "$WORK/printed"
kafka stop
tap_done
