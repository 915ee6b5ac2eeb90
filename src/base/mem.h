/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Returns `size` zeroed bytes, or NULL when memory has run out. */
void *mem_alloc(size_t size);

/* Wipes and frees a block of `size` bytes; does nothing for NULL. */
void mem_free(void *block, size_t size);

/* Frees a block without wiping: for bulk data that was never secret. */
void mem_drop(void *block);

/* Makes the (n+1)th allocation from now fail, once. For tests. */
void mem_fail_after(unsigned n);

/* Replaces malloc and free, once and before the first allocation; returns
 * false when it is too late. `alloc` returns NULL when memory has run out;
 * `release` gets blocks that mem_free() has wiped already. */
bool mem_set_allocator(void *(*alloc)(size_t size),
                       void (*release)(void *block));
