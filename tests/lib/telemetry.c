/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telemetry that moves as a plant's does.
 *
 * Invariant: what a sensor shows is a value that wanders and noise of its own, both of the
 * size that such sensors have; only what is printed is rounded. Numbers come from one
 * generator with a fixed seed, so two of the same rate tell the same story.
 */
#include "telemetry.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A walk that is drawn back to 0: within some time it forgets, about so far it goes. */
struct walk {
	double value;
	double spread;   /* standard deviation, in the long run */
	double memory_s; /* time after which little of a value is left */
};

enum state {
	STATE_RUN,
	STATE_IDLE,
	STATE_FAULT,
};

struct device {
	char topic[40];
	double due_s;     /* when it is to read its sensors next, since the start */
	double next_s;    /* when it will, for it is never quite on time */
	double arrival_s; /* when that message is there */
	double read_s;    /* when it did before */
	double clock_s;   /* how wrong its clock is */
	double drift;     /* and how much more, each second */
	uint64_t seq;
	enum state state;
	double state_ends_s;
	double warmth; /* follows the state, slowly: 0 cold, 1 warm */
	double nominal_a;
	double factor;
	double energy_kwh;
	double base_temperature;
	double base_rssi;
	struct walk temperature;
	struct walk humidity;
	struct walk load;
	struct walk radio;
};

struct telemetry {
	uint64_t random;
	uint64_t start_ms;
	double period_s;
	double now_s;
	struct walk ambient; /* for all: weather, and the grid */
	struct walk grid;
	double arrived_s;
	char payload[256];
	struct device devices[TELEMETRY_DEVICES];
};

static const char *const state_names[] = {"run", "idle", "fault"};

/* xorshift64*: from 0 up to, not including, 1. */
static double
uniform(struct telemetry *t)
{
	t->random ^= t->random >> 12;
	t->random ^= t->random << 25;
	t->random ^= t->random >> 27;
	return (double)(t->random * 2685821657736338717U >> 11) / 9007199254740992.0;
}

/* Near enough to normal: standard deviation 1, never past 3.5. */
static double
noise(struct telemetry *t)
{
	double sum = 0;

	for (size_t i = 0; i < 4; i++)
		sum += uniform(t);
	return (sum - 2) * 1.7320508;
}

static double
exponential(struct telemetry *t, double mean)
{
	return -mean * log(1 - uniform(t));
}

static double
walk(struct telemetry *t, struct walk *w, double seconds)
{
	double kept = exp(-seconds / w->memory_s);

	w->value = w->value * kept + w->spread * sqrt(1 - kept * kept) * noise(t);
	return w->value;
}

static struct walk
walk_make(struct telemetry *t, double spread, double memory_s)
{
	return (struct walk){spread * noise(t), spread, memory_s};
}

/* ---- one device ---- */

static void
enter_state(struct telemetry *t, struct device *d)
{
	double chance = uniform(t);

	if (d->state != STATE_RUN)
		d->state = STATE_RUN;
	else
		d->state = chance < 0.03 ? STATE_FAULT : STATE_IDLE;
	d->state_ends_s += 30 + exponential(t, d->state == STATE_RUN ? 1500 : 500);
}

/* When it reads next, and when that will have crossed the network. */
static void
plan(struct telemetry *t, struct device *d, double seconds)
{
	double jitter_s = t->period_s * 0.02 < 0.003 ? t->period_s * 0.02 : 0.003;

	d->due_s += seconds;
	d->next_s = d->due_s + jitter_s * fabs(noise(t));
	d->arrival_s = d->next_s + 0.004 +
		       exponential(t, t->period_s < 1 ? 0.012 * t->period_s : 0.012);
}

static void
device_make(struct telemetry *t, struct device *d, size_t number)
{
	(void)snprintf(d->topic, sizeof(d->topic), "plant/line-%zu/device-%03zu/meter",
	    number / 20 + 1, number + 1);
	d->clock_s = 0.2 * noise(t);
	d->drift = 2e-5 * noise(t);
	d->seq = (uint64_t)(uniform(t) * 3e6);
	d->state = uniform(t) < 0.7 ? STATE_RUN : STATE_IDLE;
	d->state_ends_s = exponential(t, d->state == STATE_RUN ? 1500 : 500);
	d->warmth = d->state == STATE_RUN ? 1 : 0;
	d->nominal_a = 1.5 + 10 * uniform(t) * uniform(t);
	d->factor = 0.78 + 0.17 * uniform(t);
	d->energy_kwh = 40000 * uniform(t);
	d->base_temperature = 19 + 4 * uniform(t);
	d->base_rssi = -80 + 25 * uniform(t);
	d->temperature = walk_make(t, 0.8, 3600);
	d->humidity = walk_make(t, 2, 7200);
	d->load = walk_make(t, 0.12, 60);
	d->radio = walk_make(t, 3, 300);
	plan(t, d, t->period_s * uniform(t));
}

struct reading {
	double temperature;
	double humidity;
	double voltage;
	double current;
	double power;
	double rssi;
};

/* What is true at the moment, and what the sensors make of it. */
static void
device_read(struct telemetry *t, struct device *d, struct reading *r)
{
	double seconds = d->next_s - d->read_s, goal = d->state == STATE_RUN ? 1 : 0;
	double ambient = t->ambient.value + walk(t, &d->temperature, seconds);
	double humidity = walk(t, &d->humidity, seconds);
	double load = 1 + walk(t, &d->load, seconds);
	double voltage, current, power;

	d->read_s = d->next_s;
	while (d->state_ends_s < d->next_s)
		enter_state(t, d);
	d->warmth += (goal - d->warmth) * (1 - exp(-seconds / 600));
	current = d->state == STATE_RUN ? d->nominal_a * load : 0.1;
	voltage = 230 + t->grid.value - 0.35 * current;
	power = voltage * current * (d->factor + 0.05 * (load - 1));
	d->energy_kwh += power * seconds / 3.6e6;
	r->temperature =
	    d->base_temperature + ambient + 9 * d->warmth + 0.015 * noise(t);
	r->humidity = 52 - 1.4 * (ambient + 9 * d->warmth) + humidity + 0.12 * noise(t);
	r->voltage = voltage + 0.12 * noise(t);
	r->current = current * (1 + 0.005 * noise(t));
	r->power = power * (1 + 0.003 * noise(t));
	r->rssi = d->base_rssi + walk(t, &d->radio, seconds) + 1.2 * noise(t);
}

static int
device_print(struct telemetry *t, struct device *d, const struct reading *r)
{
	double ts_s = d->next_s * (1 + d->drift) + d->clock_s + 60; /* more than 0 */

	return snprintf(t->payload, sizeof(t->payload),
	    "{\"ts\":%llu,\"seq\":%llu,\"state\":\"%s\",\"temperature\":%.2f,"
	    "\"humidity\":%.1f,\"voltage\":%.1f,\"current\":%.2f,\"power\":%.0f,"
	    "\"energy\":%.3f,\"rssi\":%.0f}",
	    (unsigned long long)(t->start_ms - 60000 + (uint64_t)(ts_s * 1000)),
	    (unsigned long long)d->seq, state_names[d->state], r->temperature,
	    r->humidity, r->voltage, r->current, r->power, d->energy_kwh, r->rssi);
}

/* ---- all of them ---- */

struct telemetry *
telemetry_open(double per_second, uint64_t start_ms)
{
	struct telemetry *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->random = 88172645463325252U;
	t->start_ms = start_ms;
	t->period_s = TELEMETRY_DEVICES / per_second;
	t->ambient = walk_make(t, 1.5, 6 * 3600);
	t->grid = walk_make(t, 1.2, 200);
	for (size_t i = 0; i < TELEMETRY_DEVICES; i++)
		device_make(t, &t->devices[i], i);
	return t;
}

void
telemetry_close(struct telemetry *t)
{
	free(t);
}

static struct device *
first_to_arrive(struct telemetry *t)
{
	struct device *first = &t->devices[0];

	for (size_t i = 1; i < TELEMETRY_DEVICES; i++)
		if (t->devices[i].arrival_s < first->arrival_s)
			first = &t->devices[i];
	return first;
}

void
telemetry_next(struct telemetry *t, struct telemetry_message *m)
{
	struct device *d = first_to_arrive(t);
	struct reading reading;
	int size;

	if (d->next_s > t->now_s) {
		(void)walk(t, &t->ambient, d->next_s - t->now_s);
		(void)walk(t, &t->grid, d->next_s - t->now_s);
		t->now_s = d->next_s;
	}
	device_read(t, d, &reading);
	size = device_print(t, d, &reading);
	m->topic = d->topic;
	m->payload = t->payload;
	m->payload_size = (size_t)size;
	if (d->arrival_s > t->arrived_s)
		t->arrived_s = d->arrival_s;
	m->received_ms = t->start_ms + (uint64_t)(t->arrived_s * 1000);
	d->seq++;
	plan(t, d, t->period_s * (1 - d->drift));
}
