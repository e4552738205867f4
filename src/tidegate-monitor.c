/* SPDX-License-Identifier: Apache-2.0 */
/* tidegate-monitor: shows by HTTP how this gateway is. Changes nothing. */
#include "monitor/monitor.h"

int
main(int argc, char *argv[])
{
	struct worker w;
	int status;

	if (worker_begin(&w, "tidegate-monitor", argc, argv, &status) != 0)
		return status;
	status = monitor_run(&w);
	worker_end(&w);
	return status;
}
