/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/settings.h"

#include <assert.h>
#include <string.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define LIMIT (64U << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct options {
    const char *listen;
    bool verbose;
    unsigned count;
};

static const struct setting table[] = {
    {"listen", "ADDRESS", "*", "", setting_text,
     offsetof(struct options, listen)},
    {"verbose", NULL, NULL, "", setting_flag,
     offsetof(struct options, verbose)},
    {"count", "N", "1", "", setting_number, offsetof(struct options, count)},
};
#define ROWS (sizeof table / sizeof table[0])
static const struct settings settings = {.table = table, .count = ROWS};

static enum err put(struct buf *to, const char *text)
{
    return buf_append(to, bytes_str(text));
}

/* Writes what was given as a file again. */
static void write_again(const struct setting_values *v, struct buf *to)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (v->row[i].source != SETTING_FILE)
            continue;
        assert(put(to, table[i].name) == OK && put(to, "=") == OK &&
               put(to, v->row[i].text) == OK && put(to, "\n") == OK);
    }
}

/* Loses a number when the file has another line. */
static bool breaks(const struct options *o)
{
    return PLANTED_BUG && o->count == 7 && o->verbose;
}

/* A file is refused with its name and a line, or says the same when it is
 * written again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf text = buf_new(LIMIT);
    CLEANUP(buf_clear) struct buf again = buf_new(LIMIT);
    struct options o = {0};
    struct options o2 = {0};
    struct setting_values v = {.out = &o};
    struct setting_values v2 = {.out = &o2};
    struct problem p = {0};
    if (size > LIMIT / 4)
        return 0;
    assert(buf_append(&text, (struct bytes){data, size}) == OK);
    enum err err = settings_file(&settings, "f", &text, &v, &p);
    assert(err == OK || err == ERR_INVALID);
    assert((err == OK) == (p.detail[0] == '\0'));
    if (err != OK)
        return 0;
    write_again(&v, &again);
    assert(settings_file(&settings, "f", &again, &v2, NULL) == OK);
    assert(settings_fallbacks(&settings, &v, NULL) == OK);
    assert(settings_fallbacks(&settings, &v2, NULL) == OK);
    if (breaks(&o))
        o2.count++;
    assert(strcmp(o.listen, o2.listen) == 0 && o.verbose == o2.verbose &&
           o.count == o2.count);
    return 0;
}
