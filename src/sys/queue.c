/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/queue.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define CAP_FIRST (1U << 10)

/* Makes room: moves what waits to the front, of a larger block if it must. */
static enum err reserve(struct queue *q, size_t len)
{
    size_t used = q->end - q->start;
    size_t need = 0;
    if (len <= q->cap - q->end)
        return OK;
    if (__builtin_add_overflow(used, len, &need) || need > SIZE_MAX / 2)
        return ERR_LIMIT;
    if (need <= q->cap / 2) {
        memmove(q->data, q->data + q->start, used);
    } else {
        size_t cap = q->cap > CAP_FIRST ? q->cap : CAP_FIRST;
        while (cap < need)
            cap *= 2;
        uint8_t *data = mem_alloc(cap);
        if (data == NULL)
            return ERR_NOMEM;
        if (used > 0)
            memcpy(data, q->data + q->start, used);
        mem_free(q->data, q->cap);
        q->data = data;
        q->cap = cap;
    }
    q->start = 0;
    q->end = used;
    return OK;
}

enum err queue_extend(struct queue *q, size_t len, uint8_t **out)
{
    TRY(reserve(q, len));
    *out = q->data + q->end;
    q->end += len;
    return OK;
}

enum err queue_add(struct queue *q, struct bytes b)
{
    uint8_t *to = NULL;
    if (b.len == 0)
        return OK;
    TRY(queue_extend(q, b.len, &to));
    memcpy(to, b.data, b.len);
    return OK;
}

struct bytes queue_front(const struct queue *q)
{
    if (q->start == q->end)
        return (struct bytes){NULL, 0};
    return (struct bytes){q->data + q->start, q->end - q->start};
}

void queue_drop(struct queue *q, size_t len)
{
    assert(len <= q->end - q->start);
    q->start += len;
    if (q->start < q->end)
        return;
    q->start = q->end = 0;
    if (q->cap > q->keep)
        queue_clear(q);
}

void queue_clear(struct queue *q)
{
    mem_free(q->data, q->cap);
    *q = (struct queue){.keep = q->keep};
}
