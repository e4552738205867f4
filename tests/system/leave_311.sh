#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# leave.sh by MQTT 3.1.1.

export MQTT_PROTOCOL=4
exec "${0%/*}/leave.sh"
