/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page: one HTML document with its style and its script in it, made anew for
 * each request. Its script fetches it again and takes over what has changed; without
 * script the browser loads it again.
 */
#ifndef PAGE_H
#define PAGE_H

#include "buffer.h"
#include "view.h"

/*
 * nonce:     of the Content-Security-Policy, at least 16 characters of base64; the
 *            document has no style, script or URL that this policy would not let pass:
 *            default-src 'none'; style-src 'nonce-N'; script-src 'nonce-N';
 *            connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';
 *            frame-ancestors 'none'
 *
 * Appends to out, without an end mark. Errors: ERR_NOMEM.
 */
int page_render(const struct view *v, const char *nonce, struct buffer *out);

#endif
