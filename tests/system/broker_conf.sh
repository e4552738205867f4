#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# etc/mosquitto-tidegate.conf, as it is shipped: mosquitto takes it, and keeps what is
# published while the gateway is away, over its own restart, in order. (With mosquitto's
# defaults 1,000 of these messages are left.)

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
need mosquitto mosquitto_pub mosquitto_sub

COUNT=3000

start_shipped() {
	local try
	mkdir -p "$WORK/mosquitto"
	for try in 1 2 3 4 5; do
		BROKER_PORT=$(free_port)
		cat "$TOP_SRCDIR/etc/mosquitto-tidegate.conf" - >"$WORK/mosquitto.conf" <<-EOT
			listener $BROKER_PORT 127.0.0.1
			allow_anonymous true
			user $(id -un)
			persistence_location $WORK/mosquitto/
			log_dest file $WORK/mosquitto.log
		EOT
		broker_run && return 0
		end_pid "$BROKER_PID"
	done
	diag "mosquitto did not start in $try attempts"
	return 1
}

# As the gateway does it, receive maximum included.
subscribe() {
	timeout 60 mosquitto_sub -h 127.0.0.1 -p "$BROKER_PORT" -V 5 -i site -c -x 86400 -q 1 \
		-D connect receive-maximum 10000 -t 't/#' "$@"
}

publish() {
	seq "$COUNT" | mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -V 5 -q 1 -t t/a -l
}

receive() {
	subscribe -C $((COUNT + 1)) >"$WORK/received"
}

is_whole() {
	(seq "$COUNT"; echo qos0) | cmp - "$WORK/received"
}

start_shipped || bail "mosquitto takes the shipped configuration"
ok "mosquitto takes the shipped configuration"
check "a session for the gateway" subscribe -E
check "$COUNT messages at QoS 1 while it is away" publish
check "and one at QoS 0" mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 0 -t t/a -m qos0
stop_mosquitto || not_ok "the broker ends by itself"
start_mosquitto || bail "the broker starts again"
ok "the broker was stopped and started"
check "no complaint in its log" sh -c "! grep -E 'Error|Unknown' '$WORK/mosquitto.log'"
check "everything is delivered" receive
check "each once, in order" is_whole
tap_done
