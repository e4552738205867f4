/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks. Everything that can be tested takes its time as a parameter instead. */
#ifndef NOW_H
#define NOW_H

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC: for intervals and deadlines. */
int64_t now_monotonic_ms(void);

/* The same clock in microseconds. */
int64_t now_monotonic_us(void);

/* Milliseconds since the epoch (CLOCK_REALTIME): may jump. */
int64_t now_real_ms(void);

/* Milliseconds since the machine started, sleep included (CLOCK_BOOTTIME). */
int64_t now_boot_ms(void);

/* The kernel's boot id, 16 bytes; all zero where it cannot be read. */
void now_boot_id(uint8_t id[16]);

/* Wait; shorter where a signal comes. For who looks again anyway. */
void now_pause_ms(int64_t ms);

/* Does the kernel hold the real-time clock to be synchronised (adjtimex(2))? */
bool now_is_synchronised(void);

#endif
