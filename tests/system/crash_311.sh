#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# crash.sh by MQTT 3.1.1.

export MQTT_PROTOCOL=4
export CRASH_KILLS=${CRASH_KILLS:-6} CRASH_SECONDS=${CRASH_SECONDS:-5}
exec "${0%/*}/crash.sh"
