/* SPDX-License-Identifier: Apache-2.0 */
/* What a delivery report means for the forwarder. */
#ifndef KAFKA_RESULT_H
#define KAFKA_RESULT_H

#include <librdkafka/rdkafka.h>

#include "sink.h"

enum sink_result kafka_result(rd_kafka_resp_err_t err);

#endif
