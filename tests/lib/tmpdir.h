/* SPDX-License-Identifier: Apache-2.0 */
/* A scratch directory per test, as cmocka setup/teardown. *state is the path. */
#ifndef TESTS_TMPDIR_H
#define TESTS_TMPDIR_H

int tmpdir_setup(void **state);
int tmpdir_teardown(void **state);

#endif
