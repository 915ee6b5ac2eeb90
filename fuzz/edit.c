/* SPDX-License-Identifier: Apache-2.0 */
#include "edit.h"

#include <assert.h>
#include <string.h>

enum {
    EDIT_SET,
    EDIT_ADD,
    EDIT_INSERT,
    EDIT_DELETE,
    EDIT_REPEAT, /* what stands there, once more */
    EDIT_KINDS
};

static void insert(struct buf *b, size_t at, struct bytes what)
{
    CLEANUP(buf_clear) struct buf copy = buf_new(what.len);
    size_t after = b->len - at;
    assert(buf_copy(&copy, what) == OK);
    assert(buf_extend(b, what.len) == OK);
    memmove(b->data + at + what.len, b->data + at, after);
    memcpy(b->data + at, copy.data, what.len);
}

static void change(struct buf *b, size_t at, uint8_t how, uint8_t value)
{
    size_t run = value < b->len - at ? value : b->len - at;
    switch (how % EDIT_KINDS) {
    case EDIT_SET:
        b->data[at] = value;
        break;
    case EDIT_ADD:
        b->data[at] = (uint8_t)(b->data[at] + value);
        break;
    case EDIT_INSERT:
        insert(b, at, (struct bytes){&value, 1});
        break;
    case EDIT_DELETE:
        memmove(b->data + at, b->data + at + run, b->len - at - run);
        buf_truncate(b, b->len - run);
        break;
    default: /* EDIT_REPEAT */
        if (run > 0)
            insert(b, at, (struct bytes){b->data + at, run});
        break;
    }
}

void edit(struct reader *program, struct buf *b)
{
    for (unsigned i = 0; i < EDITS_MAX && reader_more(program); i++) {
        size_t at = reader_u16(program);
        uint8_t how = reader_u8(program);
        uint8_t value = reader_u8(program);
        if (program->err == OK && b->len > 0)
            change(b, at % b->len, how, value);
    }
}
