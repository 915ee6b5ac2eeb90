/* SPDX-License-Identifier: Apache-2.0 */
#include "mls_vectors.h"

#include "base/mem.h"

#include <string.h>

struct hex_block {
    struct hex_block *next;
    uint8_t *data;
};

void hex_arena_clear(struct hex_arena *a)
{
    while (a->first != NULL) {
        struct hex_block *b = a->first;
        a->first = b->next;
        mem_drop(b->data);
        mem_drop(b);
    }
}

static int digit(char ch)
{
    const char *digits = "0123456789abcdef";
    const char *at = ch != '\0' ? strchr(digits, ch) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

struct bytes hex_value(struct hex_arena *a, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = text != NULL ? strlen(text) / 2 : 0;
    if (len == 0)
        return (struct bytes){0};
    struct hex_block *b = mem_alloc(sizeof *b);
    uint8_t *data = mem_alloc(len);
    if (b == NULL || data == NULL) {
        mem_drop(b);
        mem_drop(data);
        return (struct bytes){0};
    }
    for (size_t i = 0; i < len; i++) {
        int high = digit(text[2 * i]);
        int low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            mem_drop(b);
            mem_drop(data);
            return (struct bytes){0};
        }
        data[i] = (uint8_t)(high << 4 | low);
    }
    *b = (struct hex_block){.next = a->first, .data = data};
    a->first = b;
    return (struct bytes){data, len};
}

struct bytes hex_field(struct hex_arena *a, const json_t *object,
                       const char *key)
{
    return hex_value(a, json_object_get(object, key));
}

uint64_t int_field(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

const struct suite *suite_field(const json_t *object)
{
    return suite_find((uint16_t)int_field(object, "cipher_suite"));
}
