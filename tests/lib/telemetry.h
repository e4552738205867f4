/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON telemetry of 100 devices, as a plant's meters would send it: for what compresses,
 * where constant text would compress for nothing. The same numbers each time.
 *
 * Each device sends ten fields at its own moment of the period, with some jitter, by a
 * clock of its own that is a little wrong:
 *
 *   ts           ms since the epoch, when the device read its sensors
 *   seq          counts the device's messages
 *   state        run, idle or fault: some minutes each, fault seldom
 *   temperature  °C by 0.01: hours of drift, warmer while it runs, noise 0.015
 *   humidity     % by 0.1: falls as temperature rises, noise 0.12
 *   voltage      V by 0.1: the grid's drift for all, the line's drop by load, noise 0.12
 *   current      A by 0.01: load that wanders, noise 0.5 %; 0.1 A while it stands
 *   power        W: voltage and current and a power factor that moves, noise 0.3 %
 *   energy       kWh by 0.001: counts what power adds
 *   rssi         dBm: wanders, noise 1.2
 *
 * A message takes about 157 bytes, its topic 29.
 */
#ifndef TESTS_TELEMETRY_H
#define TESTS_TELEMETRY_H

#include <stddef.h>
#include <stdint.h>

#define TELEMETRY_DEVICES 100

/* Borrowed: valid until the next call. */
struct telemetry_message {
	const char *topic;
	const char *payload;
	size_t payload_size;
	uint64_t received_ms; /* when it reaches the gateway: never falls */
};

struct telemetry;

/*
 * per_second: messages of all devices together; what moves, moves by the seconds
 * between. NULL: no memory.
 */
struct telemetry *telemetry_open(double per_second, uint64_t start_ms);
void telemetry_close(struct telemetry *t);

/* The next message that arrives. There is no end. */
void telemetry_next(struct telemetry *t, struct telemetry_message *m);

#endif
