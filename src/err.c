/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of the error codes. */
#include "err.h"

const char *
err_str(int err)
{
	switch ((enum err)err) {
	case ERR_OK:
		return "ok";
#define ERR_CASE(name, value, text) \
	case name:                  \
		return text;
		ERR_MAP(ERR_CASE)
#undef ERR_CASE
	}
	return "unknown error";
}
