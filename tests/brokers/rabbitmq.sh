#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A broker that is not mosquitto and speaks MQTT 3.1.1: RabbitMQ with its MQTT plugin. It
# does not refuse an MQTT 5 CONNECT but hangs up (3.10), so the gateway has to be told.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=walk.sh
. "$(dirname "$0")/walk.sh"

need epmd jq kcat "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"
SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server
[ -x "$SERVER" ] || skip_all "rabbitmq-server is not installed"

# A node of its own, with everything in $WORK and on free ports of the loopback.
start_broker() {
	local epmd_port
	BROKER_PORT=$(free_port)
	mkdir -p "$WORK/rabbit"
	echo '[rabbitmq_mqtt].' >"$WORK/rabbit/plugins"
	cat >"$WORK/rabbit/rabbitmq.conf" <<-EOT
		listeners.tcp = none
		mqtt.listeners.tcp.default = 127.0.0.1:$BROKER_PORT
		mqtt.allow_anonymous = true
		distribution.listener.interface = 127.0.0.1
		log.console = true
		log.file = false
	EOT
	# Otherwise the node starts one of its own, which outlives it.
	epmd_port=$(free_port)
	epmd -address 127.0.0.1 -port "$epmd_port" >"$WORK/epmd.log" 2>&1 &
	track $!
	wait_for 10 port_open "$epmd_port" || return 1
	env -i PATH="$PATH" HOME="$WORK/rabbit" LANG=C.UTF-8 \
		ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd_port" \
		RABBITMQ_NODENAME="tidegate-$$@localhost" RABBITMQ_DIST_PORT="$(free_port)" \
		RABBITMQ_CONFIG_FILE="$WORK/rabbit/rabbitmq.conf" \
		RABBITMQ_ENABLED_PLUGINS_FILE="$WORK/rabbit/plugins" \
		RABBITMQ_MNESIA_BASE="$WORK/rabbit/mnesia" RABBITMQ_LOG_BASE="$WORK/rabbit/log" \
		RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_PID_FILE="$WORK/rabbit/pid" \
		"$SERVER" >"$WORK/rabbit.log" 2>&1 &
	BROKER_PID=$!
	track "$BROKER_PID"
	broker_settled() { is_gone "$BROKER_PID" || port_open "$BROKER_PORT"; }
	wait_for 90 broker_settled && ! is_gone "$BROKER_PID"
}

start_broker || bail "RabbitMQ does not start"
MQTT_PROTOCOL=4
walk -4
check "it was MQTT 3.1.1 all the time" test "$(session_said "MQTT 5,")" -eq 0
tap_done
