/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Counts down to the planned failure; 0: none. The only mutable global; only
 * tests write it. */
static unsigned countdown;

void *mem_alloc(size_t size)
{
    if (countdown > 0) {
        countdown--;
        if (countdown == 0)
            return NULL;
    }
    return calloc(1, size);
}

void mem_free(void *block, size_t size)
{
    if (block == NULL)
        return;
    explicit_bzero(block, size);
    free(block);
}

void mem_drop(void *block) { free(block); }

void mem_fail_after(unsigned n) { countdown = n + 1; }
