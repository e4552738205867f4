/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

bool
fault_now(struct fault *f)
{
	if (f->countdown < 0 || --f->countdown > 0)
		return false;
	f->countdown = -1;
	f->hit = true;
	return true;
}

void
fault_arm(struct fault *f, int nth)
{
	f->countdown = nth;
	f->hit = false;
}
