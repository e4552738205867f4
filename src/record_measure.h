/* SPDX-License-Identifier: Apache-2.0 */
/* How far one MessagePack object reaches; inside record alone. */
#ifndef RECORD_MEASURE_H
#define RECORD_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes of the object at data; 0 when it is not MessagePack, is not there as a whole,
 * or nests too deeply. Whatever lengths it claims are then there.
 */
size_t record_measure(const uint8_t *data, size_t size);

#endif
