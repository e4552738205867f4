/* SPDX-License-Identifier: Apache-2.0 */
/* --check-connection: the MQTT broker. */
#ifndef MQTT_CHECK_H
#define MQTT_CHECK_H

#include "check.h"
#include "settings.h"

/*
 * Connect as the gateway would, under its client id with "-check" behind it and without
 * its session, ask for each filter, and leave. Nothing is taken away from the gateway's
 * session or from a share group, and no message that arrives is looked at.
 */
void mqtt_check(struct check *c, const struct settings *settings);

#endif
