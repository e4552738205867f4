/* SPDX-License-Identifier: Apache-2.0 */
/* A template of a route. One that is the same for every record is rendered once. */
#include "err.h"
#include "log.h"
#include "route_parts.h"

int
route_field_open(
    struct route *r, struct route_field *f, const char *what, const char *text)
{
	const char *why;
	int err;

	err = template_open(&f->template, text, &why);
	if (err == ERR_INVALID)
		log_error(LOG_LIFECYCLE, "route %s: the %s \"%s\" %s",
		    r->settings->name, what, text, why);
	if (err != 0 || !template_is_constant(f->template))
		return err;
	err = route_field_render(r, f);
	f->is_constant = err == 0;
	return err;
}

void
route_field_close(struct route_field *f)
{
	template_close(f->template);
}

int
route_field_render(struct route *r, struct route_field *f)
{
	if (f->is_constant)
		return 0;
	return template_render(f->template, &r->values, &f->text);
}
