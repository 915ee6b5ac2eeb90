/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Counts down to the planned failure; 0: none. Only tests write it. */
static unsigned countdown;

/* The program's own allocator, set once before the first allocation. */
static void *(*alloc_hook)(size_t size);
static void (*release_hook)(void *block);
static atomic_bool used;

bool mem_set_allocator(void *(*alloc)(size_t size),
                       void (*release)(void *block))
{
    if (atomic_load(&used) || alloc_hook != NULL)
        return false;
    alloc_hook = alloc;
    release_hook = release;
    return true;
}

/* Zeroed memory from whoever gives it. */
static void *take(size_t size)
{
    if (!atomic_load_explicit(&used, memory_order_relaxed))
        atomic_store(&used, true);
    if (alloc_hook == NULL)
        return calloc(1, size);
    void *block = alloc_hook(size > 0 ? size : 1);
    if (block != NULL && size > 0)
        memset(block, 0, size);
    return block;
}

void *mem_alloc(size_t size)
{
    if (countdown > 0) {
        countdown--;
        if (countdown == 0)
            return NULL;
    }
    return take(size);
}

void mem_drop(void *block)
{
    if (release_hook != NULL && block != NULL)
        release_hook(block);
    else
        free(block);
}

void mem_free(void *block, size_t size)
{
    if (block == NULL)
        return;
    explicit_bzero(block, size);
    mem_drop(block);
}

void mem_fail_after(unsigned n) { countdown = n + 1; }
