/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of what goes out. A pushed entry is encoded once and shared. */
#include "server/core_impl.h"

#include "base/mem.h"

enum err blob_create(struct core_blob **out)
{
    struct core_blob *b = mem_alloc(sizeof *b);
    if (b == NULL)
        return ERR_NOMEM;
    b->users = 1;
    b->message = buf_new(MESSAGE_MAX);
    *out = b;
    return OK;
}

void blob_release(struct core_blob **b)
{
    if (*b != NULL && --(*b)->users == 0) {
        mem_drop((*b)->message.data); /* clients get it: no need to wipe */
        mem_drop(*b);
    }
    *b = NULL;
}

static void queue(struct core *c, struct output *o)
{
    *c->outputs_end = o;
    c->outputs_end = &o->next;
}

enum err output_add(struct core *c, const struct conn *conn, uint8_t kind,
                    uint32_t id, struct core_blob *b)
{
    struct output *o = mem_alloc(sizeof *o);
    if (o == NULL)
        return ERR_NOMEM;
    b->users++;
    o->out = (struct core_output){
        .conn = conn->number,
        .kind = kind,
        .id = id,
        .owner = b,
        .message = buf_bytes(&b->message),
    };
    c->output_bytes += b->message.len;
    queue(c, o);
    return OK;
}

void output_close(struct core *c, struct conn *conn)
{
    conn->last->out = (struct core_output){.conn = conn->number, .close = true};
    queue(c, conn->last);
    conn->last = NULL; /* handed over */
}

static struct output *next_output(struct core *c)
{
    struct output *o = c->outputs;
    if (o == NULL)
        return NULL;
    c->outputs = o->next;
    if (c->outputs == NULL)
        c->outputs_end = &c->outputs;
    c->output_bytes -= o->out.message.len;
    return o;
}

bool core_take(struct core *c, struct core_output *out)
{
    for (struct output *o = next_output(c); o != NULL; o = next_output(c)) {
        *out = o->out;
        mem_free(o, sizeof *o);
        if (conn_find(c, out->conn) != NULL)
            return true;
        core_output_clear(out); /* it has been closed outside */
    }
    return false;
}

void core_output_clear(struct core_output *out)
{
    blob_release(&out->owner);
    *out = (struct core_output){0};
}
