/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes shared by every stage. 0 is success, each failure is negative. */
#ifndef ERR_H
#define ERR_H

/*
 * X(NAME, VALUE, TEXT): the one list; err.c makes err_str() out of it.
 *
 * Classes: AWAY, LOCKED and IO are transient (try again later), FULL waits for
 * room, CORRUPT, VERSION and IDENTITY need a person.
 */
#define ERR_MAP(X)                                                   \
	X(ERR_NOMEM, -1, "out of memory")                            \
	X(ERR_INVALID, -2, "not valid")                              \
	X(ERR_FULL, -3, "full")                                      \
	X(ERR_CORRUPT, -4, "damaged")                                \
	X(ERR_IO, -5, "input/output error")                          \
	X(ERR_NOTFOUND, -6, "not found")                             \
	X(ERR_LOCKED, -7, "in use by another process")               \
	X(ERR_IDENTITY, -8, "belongs to another gateway or machine") \
	X(ERR_VERSION, -9, "written by another version")             \
	X(ERR_TOOLARGE, -10, "too large")                            \
	X(ERR_AWAY, -11, "not reachable")                            \
	X(ERR_REFUSED, -12, "refused")                               \
	X(ERR_FATAL, -13, "failed for good, must be opened anew")

enum err {
	ERR_OK = 0,
#define ERR_ENUM(name, value, text) name = (value),
	ERR_MAP(ERR_ENUM)
#undef ERR_ENUM
};

/* Text for an error code; never NULL, static. */
const char *err_str(int err);

#endif
