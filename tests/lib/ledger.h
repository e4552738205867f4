/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what ledger_publish promises, and what ledger_consume holds the gateway
 * to. A text file:
 *
 *   ledger 1 PREFIX DEVICES
 *   ACKNOWLEDGED PUBLISHED          a line for each device, from device 0 on
 *
 * Device D publishes on the topic PREFIX/dev-D (three digits at least) the payloads
 * "dev-D NUMBER SIZE " and letters up to SIZE bytes, NUMBER from 1 on. Every number up
 * to ACKNOWLEDGED has had its PUBACK.
 */
#ifndef TESTS_LEDGER_H
#define TESTS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_PREFIX_MAX  128
#define LEDGER_TOPIC_MAX   160
#define LEDGER_PAYLOAD_MIN 20
#define LEDGER_DEVICES_MAX 100000

struct ledger_device {
	uint64_t acked;
	uint64_t published;
};

struct ledger {
	char prefix[LEDGER_PREFIX_MAX];
	size_t count;
	struct ledger_device *devices;
};

/* A ledger in which nothing has happened yet. Exits the program without memory. */
void ledger_init(struct ledger *l, const char *prefix, size_t count);
void ledger_fini(struct ledger *l);

/* 0, or -1: not there, or not a ledger (*l is as before). */
int ledger_load(struct ledger *l, const char *path);

/* Replaces the file in one step. 0 or -1. */
int ledger_save(const struct ledger *l, const char *path);

uint64_t ledger_acked(const struct ledger *l);
uint64_t ledger_published(const struct ledger *l);

void ledger_topic(const struct ledger *l, size_t device, char topic[LEDGER_TOPIC_MAX]);

/*
 * Fill size bytes: at least LEDGER_PAYLOAD_MIN, which is enough up to device 999 and number
 * 99,999,999; 48 are enough for all. Exits the program where they are not.
 */
void ledger_payload_make(char *data, size_t size, size_t device, uint64_t number);

/* Is it a payload as made, each byte of it? Gives device and number where it is. */
bool ledger_payload_parse(
    const char *data, size_t size, size_t *device, uint64_t *number);

#endif
