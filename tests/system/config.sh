#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the programs say to their command lines and to a configuration, before anything
# is opened.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

BROKER_PORT=1883
KAFKA_BOOTSTRAP=127.0.0.1:9092

# What the programs are run by, if anything.
WRAP=()

# gives STATUS TEXT PROGRAM [ARGUMENT...]: exit status, and a part of what it prints.
gives() {
	local status=$1 text=$2 program=$3 rc
	shift 3
	timeout 30 "${WRAP[@]}" "$TOP_BUILDDIR/$program" "$@" >"$WORK/out" 2>&1
	rc=$?
	echo "status $rc"
	cat "$WORK/out"
	[ "$rc" = "$status" ] && grep -qF -- "$text" "$WORK/out"
}

# line_of TEXT: where it stands in the configuration
line_of() {
	grep -nF -- "$1" "$CONF" | cut -d: -f1
}

# ---- command lines ----

for program in tidegated tidegate-ingest tidegate-forward; do
	check "$program --help" gives 0 "Usage: $program" "$program" --help
	check "$program -V" gives 0 "$program " "$program" -V
	check "$program with an unknown option" gives 2 "--help" "$program" --nonsense
	check "$program with an argument too many" gives 2 "unexpected argument: x" "$program" x
done
check "--once is for forward alone" gives 2 "wrong usage" tidegate-ingest --once

# ---- -t ----

write_conf
rmdir "$JOURNAL_DIR"
check "-t with a good file" gives 0 "$CONF: ok" tidegated -t -c "$CONF"
check "--test-config is the same" gives 0 "$CONF: ok" tidegated --test-config --config "$CONF"
check "it opened nothing" [ ! -e "$JOURNAL_DIR" ]

check "the shipped file" gives 0 ": ok" tidegated -t -c "$TOP_SRCDIR/etc/tidegate.conf"

write_conf 'mqtt2 = { };' 'log = { level = 5; };'
all_mistakes() {
	gives 78 "$CONF:$(line_of mqtt2): mqtt2: there is no such option; did you mean \"mqtt\"?" \
		tidegated -t -c "$CONF" &&
		grep -qF "$CONF:$(line_of 'level = 5'): log.level: \"5\" is not one of" "$WORK/out" &&
		[ "$(wc -l <"$WORK/out")" = 2 ]
}
check "-t with mistakes names each with its line" all_mistakes

KAFKA_SETTINGS='properties = [ "no.such.property=1" ];'
write_conf
check "-t asks librdkafka about its properties" gives 78 "no.such.property" \
	tidegated -t -c "$CONF"
check "with the line of the file" grep -q "^$CONF:$(line_of no.such): " "$WORK/out"
WRAP=(env --ignore-signal=CHLD)
check "also where whoever calls ignores SIGCHLD" gives 78 "no.such.property" \
	tidegated -t -c "$CONF"
WRAP=()
check "the daemon does not start with them" gives 78 "no.such.property" tidegated -c "$CONF"
KAFKA_SETTINGS='properties = [ "message.timeout.ms=1000", "acks=1" ];'
write_conf
check "properties that would break a promise are refused" gives 78 \
	"$CONF:$(line_of message.timeout): kafka.properties: message.timeout.ms" tidegated -t -c "$CONF"
check "and those that repeat an option" grep -q "^$CONF:$(line_of acks=1): .*kafka\.acks" "$WORK/out"
KAFKA_SETTINGS=

check "-t without the file" gives 1 "$WORK/none: cannot be read: No such file or directory" \
	tidegated -t -c "$WORK/none"

# ---- --print-config ----

MQTT_SETTINGS='username = "u"; password = "geheim";
	tls = { cert_file = "/c"; key_file = "/k"; key_password = "geheim"; };'
# shellcheck disable=SC2034  # common.sh puts it into the file
KAFKA_SETTINGS='properties = [ "sasl.password=geheim", "ssl.key.password=geheim",
	"sasl.jaas.config=required username=\"u\" password=\"geheim\";" ];'
write_conf
print_twice() {
	"$TOP_BUILDDIR/tidegated" --print-config -c "$CONF" >"$WORK/once.conf" &&
		"$TOP_BUILDDIR/tidegated" --print-config -c "$WORK/once.conf" >"$WORK/twice.conf" &&
		cmp "$WORK/once.conf" "$WORK/twice.conf"
}
check "what --print-config prints can be read back" print_twice
no_secret() {
	grep -F '***' "$WORK/once.conf" && ! grep -F geheim "$WORK/once.conf"
}
check "and gives no secret away" no_secret
printed_to_nowhere() {
	! "$TOP_BUILDDIR/tidegated" --print-config -c "$CONF" >/dev/full
}
check "a full disk under its output is a failure" printed_to_nowhere

# ---- files that are not there ----

# says_only TEXT: that is wrong, and so it does not start
says_only() {
	gives 1 "$1" tidegate-forward -c "$CONF" && grep -q 'lifecycle: cannot start$' "$WORK/out" &&
		[ "$(grep -c ' error ' "$WORK/out")" = 2 ]
}

KAFKA_SETTINGS='properties = [ "security.protocol=SSL", "ssl.ca.location=/nowhere/ca.pem" ];'
write_conf
check "-t does not look for the files of TLS" gives 0 ok tidegated -t -c "$CONF"
check "one that is not there is named" says_only \
	"$CONF:$(line_of ssl.ca): kafka.properties: ssl.ca.location: /nowhere/ca.pem: No such file or directory"
# shellcheck disable=SC2034
KAFKA_SETTINGS='properties = [ "security.protocol=SASL_SSL", "sasl.mechanism=PLAIN",
	"sasl.username=u", "sasl.password=file:/nowhere/secret" ];'
write_conf
check "so is a secret's" says_only \
	"kafka.properties: sasl.password: the secret in /nowhere/secret cannot be read: No such file or directory"

# ---- one of several ----

KAFKA_SETTINGS=
write_conf
check "one of several that says who it is" gives 0 ok tidegated --instance north -t -c "$CONF"
sed -e '/^gateway_id/d' -e '/^journal/d' "$CONF" >"$WORK/bare.conf"
check "one that does not" gives 78 "bare.conf:1: gateway_id: is missing: each of several" \
	tidegated --instance north -t -c "$WORK/bare.conf"
check "and where its journal is" grep -q 'journal.directory: is missing: .*/lib/tidegate/north"$' "$WORK/out"
check "nor does it start" gives 78 "bare.conf:1: gateway_id: is missing: each of several" \
	tidegated --instance north -c "$WORK/bare.conf"

# ---- workers ----

echo 'mqtt = { };' >"$CONF"
for program in tidegate-ingest tidegate-forward; do
	check "$program with a mistake in the file" gives 78 "$CONF:1: routes: is missing" \
		"$program" -c "$CONF"
	check "$program without the file" gives 1 "cannot be read" "$program" -c "$WORK/none"
	check "--config-name stands in messages" gives 78 "shown:1: routes: is missing" \
		"$program" -c "$CONF" --config-name shown
done
check "tidegate-forward --check writes its lines as they are" \
	gives 78 "$CONF:1: routes: is missing" tidegate-forward --check -c "$CONF"
check "without a time in front" grep -q "^$CONF:1: routes" "$WORK/out"

tap_done
