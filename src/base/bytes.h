/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A borrowed, read-only run of bytes. It never owns what it points to. */
struct bytes {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
};
