/* SPDX-License-Identifier: Apache-2.0 */
/* Work that is shared out over the threads of the caller (sotto_workers). */
#pragma once

#include "mls/public.h"

/* Many checks that do not depend on each other. `part` does those in
 * [from, to), and stops at the first that fails; it only reads what it shares
 * with the other parts. */
struct job {
    enum err (*part)(struct crypto *c, const void *arg, size_t from, size_t to);
    const void *arg;
    size_t count;
};

/* Does all of it. The result is that of the first check that failed, as it
 * would be on one thread; ERR_IO: the caller did not run all parts. */
MUST_USE enum err workers_do(const struct sotto_mls *mls,
                             const struct job *job);
