/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define FIRST_CAP 256U

struct buf buf_new(size_t max) { return (struct buf){.max = max}; }

void buf_clear(struct buf *b)
{
    mem_free(b->data, b->cap);
    *b = buf_new(b->max);
}

struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->data, b->len};
}

/* The next capacity that holds `need` bytes: double, but at most max. */
static size_t next_cap(const struct buf *b, size_t need)
{
    size_t cap = b->cap > b->max / 2 ? b->max : 2 * b->cap;
    if (cap < FIRST_CAP)
        cap = FIRST_CAP < b->max ? FIRST_CAP : b->max;
    return cap > need ? cap : need;
}

enum err buf_reserve(struct buf *b, size_t len)
{
    if (len > b->max - b->len)
        return ERR_LIMIT;
    if (len > b->cap - b->len) {
        size_t cap = next_cap(b, b->len + len);
        uint8_t *data = mem_alloc(cap);
        if (data == NULL)
            return ERR_NOMEM;
        if (b->len > 0)
            memcpy(data, b->data, b->len);
        mem_free(b->data, b->cap); /* realloc would leave the old copy */
        b->data = data;
        b->cap = cap;
    }
    return OK;
}

enum err buf_extend(struct buf *b, size_t len)
{
    TRY(buf_reserve(b, len));
    b->len += len;
    return OK;
}

enum err buf_append(struct buf *to, struct bytes b)
{
    TRY(buf_extend(to, b.len));
    if (b.len > 0)
        memcpy(to->data + to->len - b.len, b.data, b.len);
    return OK;
}

enum err buf_copy(struct buf *to, struct bytes b)
{
    size_t old = to->len;
    if (b.len > to->max)
        return ERR_LIMIT;
    if (b.len > old)
        TRY(buf_extend(to, b.len - old));
    if (b.len > 0)
        memcpy(to->data, b.data, b.len);
    buf_truncate(to, b.len);
    return OK;
}

void buf_truncate(struct buf *b, size_t len)
{
    assert(len <= b->len);
    if (len < b->len)
        explicit_bzero(b->data + len, b->len - len);
    b->len = len;
}
