/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed, read-only run of bytes. It never owns what it points to. */
struct bytes {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
};

/* Some runs of bytes that are taken as one, in order. */
struct parts {
    const struct bytes *list;
    size_t count;
};

/* The bytes of a string literal without its final NUL; those of an array; a
 * list of struct bytes. The list lives as long as the enclosing block. */
#define BYTES_LIT(s)   ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})
#define BYTES_ARRAY(a) ((struct bytes){(a), sizeof(a)})
#define PARTS(...)                                          \
    ((struct parts){(struct bytes[]){__VA_ARGS__},          \
                    sizeof((struct bytes[]){__VA_ARGS__}) / \
                        sizeof(struct bytes)})

/* Compares public data; the time it takes depends on the content. */
bool bytes_equal(struct bytes a, struct bytes b);

/* Orders like memcmp, and a prefix before what it begins: <0, 0 or >0. */
int bytes_compare(struct bytes a, struct bytes b);

/* The bytes of a C string without its NUL. */
struct bytes bytes_str(const char *s);
