/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the two maps that record.h describes; inside record alone. */
#ifndef RECORD_KEYS_H
#define RECORD_KEYS_H

enum record_key {
	KEY_RECEIVED_MS = 0,
	KEY_TOPIC = 1,
	KEY_PAYLOAD = 2,
	KEY_QOS = 3,
	KEY_RETAIN = 4,
	KEY_PAYLOAD_FORMAT = 5,
	KEY_MESSAGE_EXPIRY = 6,
	KEY_CONTENT_TYPE = 7,
	KEY_RESPONSE_TOPIC = 8,
	KEY_CORRELATION_DATA = 9,
	KEY_USER_PROPERTIES = 10,
	KEY_SUBSCRIPTION_ID = 11,
	KEY_ROUTE = 12,
	KEY_REQUEUED_FROM = 13,
};

enum dead_letter_key {
	KEY_BURIED_MS = 0,
	KEY_REASON = 1,
	KEY_DETAIL = 2,
	KEY_RECORD = 3,
};

#endif
