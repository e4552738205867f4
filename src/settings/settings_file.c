/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files behind the settings: the configuration itself, and those that hold
 * secrets.
 *
 * Failure modes: a file that is missing may come later (a mount, a credential), so
 * each failure here is ERR_IO and not a mistake in the configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "settings.h"
#include "settings_parts.h"

#define LARGEST_FILE   ((size_t)1 << 20)
#define LARGEST_SECRET ((size_t)64 << 10)

/* Append up to limit bytes of a file. ERR_IO: errno tells; ERR_TOOLARGE; ERR_NOMEM. */
static int
read_file(const char *path, size_t limit, struct buffer *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? ERR_IO : 0;
	int saved_errno;

	while (err == 0) {
		ssize_t n;

		err = buffer_reserve(out, 4096);
		if (err != 0)
			break;
		n = read(fd, out->data + out->size, 4096);
		if (n == 0)
			break;
		if (n < 0)
			err = errno == EINTR ? 0 : ERR_IO;
		else
			out->size += (size_t)n;
		if (out->size > limit)
			err = ERR_TOOLARGE;
	}
	saved_errno = errno;
	if (fd >= 0)
		(void)close(fd);
	errno = saved_errno;
	return err;
}

int
settings_read(const char *path, struct buffer *text, struct buffer *mistakes)
{
	int err = read_file(path, LARGEST_FILE, text);

	if (err == ERR_IO && buffer_printf(mistakes, "%s: cannot be read: %s\n", path,
				 strerror(errno)) != 0)
		return ERR_NOMEM;
	if (err == ERR_TOOLARGE ||
	    (err == 0 && memchr(text->data, '\0', text->size) != NULL)) {
		if (buffer_printf(
			mistakes, "%s:1: this is not a configuration\n", path) != 0)
			return ERR_NOMEM;
		return ERR_INVALID;
	}
	if (err == 0)
		err = buffer_append(text, "", 1);
	return err;
}

/* The path that a reference stands for. Errors: ERR_IO (logged), ERR_NOMEM. */
static int
secret_path(const char *name, const char *value, struct buffer *path)
{
	const char *directory;
	int err;

	if (strncmp(value, "file:", 5) == 0) {
		err = buffer_append_str(path, value + 5);
	} else {
		directory = getenv("CREDENTIALS_DIRECTORY");
		if (directory == NULL) {
			log_error(LOG_LIFECYCLE,
			    "%s: %s: systemd gives no credentials to this process "
			    "(CREDENTIALS_DIRECTORY is not set)",
			    name, value);
			return ERR_IO;
		}
		err = buffer_printf(
		    path, "%s/%s", directory, value + strlen("credential:"));
	}
	return err != 0 ? err : buffer_append(path, "", 1);
}

/* Was the file met before in this process? Notes it; forgets nothing but counts to 64. */
static bool
is_known(const struct stat *st)
{
	static struct {
		dev_t device;
		ino_t inode;
	} known[64];
	static size_t count;

	for (size_t i = 0; i < count; i++) {
		if (known[i].device == st->st_dev && known[i].inode == st->st_ino)
			return true;
	}
	if (count < sizeof(known) / sizeof(known[0])) {
		known[count].device = st->st_dev;
		known[count].inode = st->st_ino;
		count++;
	}
	return false;
}

void
settings_warn_readable(const char *path)
{
	struct stat st;

	/* One that is missing is noticed by who opens it. */
	if (stat(path, &st) != 0 || (st.st_mode & (S_IROTH | S_IWOTH)) == 0 ||
	    is_known(&st))
		return;
	if ((st.st_mode & S_IROTH) != 0)
		log_warning(LOG_LIFECYCLE,
		    "%s can be read by every user of this machine: chmod o-rwx", path);
	else
		log_warning(LOG_LIFECYCLE,
		    "%s can be changed by every user of this machine: chmod o-rwx",
		    path);
}

void
settings_secret_forget(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

int
settings_secret(const char *name, const char *value, char **out)
{
	struct buffer path = {0};
	struct buffer text = {0};
	char *secret = NULL;
	int err = 0;

	if (!settings_secret_is_reference(value)) {
		secret = strdup(value);
		goto done;
	}
	err = secret_path(name, value, &path);
	if (err != 0)
		goto done;
	err = read_file((const char *)path.data, LARGEST_SECRET, &text);
	if (err == ERR_IO || err == ERR_TOOLARGE) {
		log_error(LOG_LIFECYCLE, "%s: the secret in %s cannot be read: %s",
		    name, (const char *)path.data,
		    err == ERR_IO ? strerror(errno) : "the file is too large");
		err = ERR_IO;
	}
	if (err == 0)
		err = buffer_append(&text, "", 1);
	if (err != 0)
		goto done;
	settings_warn_readable((const char *)path.data);
	/* The first line: editors end a file with a line feed. */
	((char *)text.data)[strcspn((const char *)text.data, "\r\n")] = '\0';
	secret = strdup((const char *)text.data);
done:
	if (text.data != NULL)
		explicit_bzero(text.data, text.size);
	buffer_fini(&text);
	buffer_fini(&path);
	if (err == 0 && secret == NULL)
		err = ERR_NOMEM;
	if (err == 0)
		*out = secret;
	return err;
}
