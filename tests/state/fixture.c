/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

void fixture_clear(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        sotto_buf_free(&f->entry[i].value);
    mem_drop(f->entry);
    *f = (struct fixture){0};
}

struct fixture_entry *fixture_find(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->entry[i].name, name) == 0)
            return &f->entry[i];
    return NULL;
}

struct sotto_bytes fixture_get(const struct fixture *f, const char *name)
{
    const struct fixture_entry *e = fixture_find(f, name);
    return e != NULL ? view_of(&e->value) : (struct sotto_bytes){0};
}

/* Replaces an entry of the name, as a store does. */
bool fixture_add(struct fixture *f, const char *name, struct sotto_bytes value)
{
    if (f->entry == NULL)
        f->entry = mem_alloc(FIXTURE_ENTRIES_MAX * sizeof(*f->entry));
    struct fixture_entry *e = f->entry != NULL ? fixture_find(f, name) : NULL;
    uint8_t *copy = mem_alloc(value.len);
    if (f->entry == NULL || copy == NULL || value.len == 0 ||
        (e == NULL && f->count == FIXTURE_ENTRIES_MAX)) {
        mem_drop(copy);
        return false;
    }
    if (e == NULL)
        e = &f->entry[f->count++];
    sotto_buf_free(&e->value);
    (void)snprintf(e->name, sizeof(e->name), "%s", name);
    memcpy(copy, value.data, value.len);
    e->value = (struct sotto_buf){copy, value.len, value.len};
    return true;
}

/* ---- Text ---- */

void fixture_print(const struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct fixture_entry *e = &f->entry[i];
        (void)printf("%s ", e->name);
        for (size_t k = 0; k < e->value.len; k++)
            (void)printf("%02x", e->value.data[k]);
        (void)printf("\n");
    }
}

static bool read_text(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "re");
    if (file == NULL || buf_extend(out, FIXTURE_BYTES_MAX) != OK) {
        if (file != NULL)
            (void)fclose(file);
        return false;
    }
    size_t len = fread(out->data, 1, out->len, file);
    bool whole = feof(file) != 0;
    (void)fclose(file);
    buf_truncate(out, len);
    return whole;
}

static int digit(uint8_t ch)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = ch != 0 ? strchr(digits, ch) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Turns hex into bytes where it stands; false for what is none. */
static bool unhex(uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len / 2; i++) {
        int high = digit(text[2 * i]);
        int low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        text[i] = (uint8_t)(high << 4 | low);
    }
    return len % 2 == 0;
}

/* Adds `name hex`; a line that begins with # says nothing. */
static bool read_line(struct fixture *f, uint8_t *line, size_t len)
{
    char name[sizeof(f->entry->name)] = {0};
    if (len > 0 && line[0] == '#')
        return true;
    const uint8_t *space = len > 0 ? memchr(line, ' ', len) : NULL;
    size_t used = space != NULL ? (size_t)(space - line) : len;
    if (space == NULL || used >= sizeof(name))
        return false;
    memcpy(name, line, used);
    uint8_t *hex = line + used + 1;
    size_t hex_len = len - used - 1;
    return unhex(hex, hex_len) &&
           fixture_add(f, name, (struct sotto_bytes){hex, hex_len / 2});
}

bool fixture_read(struct fixture *f, const char *path)
{
    CLEANUP(buf_clear) struct buf text = buf_new(FIXTURE_BYTES_MAX);
    if (!read_text(path, &text))
        return false;
    for (size_t at = 0; at < text.len;) {
        uint8_t *line = text.data + at;
        const uint8_t *end = memchr(line, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - line) : text.len - at;
        if (!read_line(f, line, len))
            return false;
        at += len + 1;
    }
    return true;
}

/* ---- A store ---- */

static void name_of(const struct fixture_group *g, enum sotto_record kind,
                    uint32_t index, struct fixture_entry *out)
{
    (void)snprintf(out->name, sizeof(out->name), "%s/%u/%u", g->group,
                   (unsigned)kind, (unsigned)index);
}

static enum sotto_err put(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes value)
{
    struct fixture_group *g = ctx;
    struct fixture_entry e = {0};
    name_of(g, kind, index, &e);
    return fixture_add(g->fixture, e.name, value) ? SOTTO_OK : SOTTO_ERR_IO;
}

static enum sotto_err del(void *ctx, enum sotto_record kind, uint32_t index)
{
    struct fixture_group *g = ctx;
    struct fixture_entry name = {0};
    name_of(g, kind, index, &name);
    struct fixture_entry *e = fixture_find(g->fixture, name.name);
    if (e != NULL) {
        sotto_buf_free(&e->value);
        *e = g->fixture->entry[--g->fixture->count];
    }
    return SOTTO_OK;
}

static enum sotto_err get(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes *out)
{
    struct fixture_group *g = ctx;
    struct fixture_entry name = {0};
    name_of(g, kind, index, &name);
    struct fixture_entry *e = fixture_find(g->fixture, name.name);
    if (e == NULL)
        return SOTTO_ERR_NOTFOUND;
    *out = view_of(&e->value);
    return SOTTO_OK;
}

struct sotto_store fixture_store(struct fixture_group *g)
{
    return (struct sotto_store){g, put, del, get};
}
