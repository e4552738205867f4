/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker, as the supervisor sees it: its process, how it ended, and when it is
 * started again.
 *
 * Failure modes: one that cannot be started, or says that its configuration is wrong, is
 * tried again after the longest delay.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "log.h"
#include "supervisor_parts.h"
#include "worker.h"

#define FIRST_DELAY_MS   100
#define SECOND_DELAY_MS  1000
#define LONGEST_DELAY_MS 30000
#define HEALTHY_MS       60000
#define KILL_AGAIN_MS    10000

/*
 * When to start it again. A worker that lived ten times as long as was waited for it
 * starts afresh, so that single crashes cost little and a crash loop costs little more.
 */
static void
schedule(struct member *m, int64_t now_ms, bool is_hopeless)
{
	int64_t alive_ms = now_ms - m->started_at_ms;

	if (is_hopeless)
		m->delay_ms = LONGEST_DELAY_MS;
	else if (alive_ms >= HEALTHY_MS || alive_ms >= 10 * m->delay_ms)
		m->delay_ms = FIRST_DELAY_MS;
	else if (m->delay_ms < SECOND_DELAY_MS)
		m->delay_ms = SECOND_DELAY_MS;
	else if (m->delay_ms < LONGEST_DELAY_MS / 2)
		m->delay_ms *= 2;
	else
		m->delay_ms = LONGEST_DELAY_MS;
	m->start_at_ms = now_ms + m->delay_ms;
	m->restart_count++;
}

void
member_start(struct member *m, const struct child_options *child, int64_t now_ms)
{
	struct log_details details;

	m->started_at_ms = now_ms;
	m->is_asked = false;
	m->is_silent = false;
	if (child_start(&m->pid, m->name, child) != 0) {
		schedule(m, now_ms, true);
		return;
	}
	details = (struct log_details){.counts = {{"pid", (uint64_t)m->pid}}};
	log_event(LOG_LEVEL_INFO, LOG_LIFECYCLE, &details, "%s started (pid %d)",
	    m->name, (int)m->pid);
}

void
member_end(struct member *m, const struct settings *settings, int64_t now_ms)
{
	if (!m->is_asked) {
		m->is_asked = true;
		m->kill_at_ms = now_ms + m->stop_ms(settings);
		(void)kill(m->pid, SIGTERM);
	} else if (now_ms >= m->kill_at_ms) {
		log_warning(LOG_LIFECYCLE, "%s (pid %d) does not end: it is killed",
		    m->name, (int)m->pid);
		m->kill_at_ms = now_ms + KILL_AGAIN_MS;
		(void)kill(m->pid, SIGKILL);
	}
}

static void
describe_status(int status, char *text, size_t size)
{
	if (WIFEXITED(status))
		(void)snprintf(text, size, "exit status %d", WEXITSTATUS(status));
	else
		(void)snprintf(text, size, "signal %d, %s", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
}

void
member_bury(struct member *m, int status, int64_t now_ms)
{
	bool is_hopeless = WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_CONFIG ||
						    WEXITSTATUS(status) == EXIT_USAGE);
	struct log_details details;
	pid_t pid = m->pid;
	char how[80];

	describe_status(status, how, sizeof(how));
	m->pid = 0;
	if (m->want != WANT_RUN) {
		log_info(
		    LOG_LIFECYCLE, "%s (pid %d) has ended: %s", m->name, (int)pid, how);
		return;
	}
	schedule(m, now_ms, is_hopeless);
	(void)snprintf(m->died, sizeof(m->died), "%s", how);
	details = (struct log_details){
	    .counts = {{"pid", (uint64_t)pid}, {"delay_ms", (uint64_t)m->delay_ms},
		{"restarts", m->restart_count}}};
	log_event(LOG_LEVEL_ERROR, LOG_LIFECYCLE, &details,
	    "%s (pid %d) died: %s; it is started again in %lld ms (restart %u)",
	    m->name, (int)pid, how, (long long)m->delay_ms, m->restart_count);
}
