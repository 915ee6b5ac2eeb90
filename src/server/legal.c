/* SPDX-License-Identifier: Apache-2.0 */
#include "server/legal.h"
#include "server/date.h"
#include "server/export.h"
#include "server/export_pg.h"

#include <stdio.h>
#include <string.h>

#define NAME_COLUMN 36

static const char before[] =
    "This is all that the store of this server holds about the account. Times "
    "are\nkept as days or weeks; bytes are shown as hexadecimal digits.\n";

static const char after[] =
    "\nNot held, because it never reaches the server in a form that it can "
    "read: texts,\nattachments, names of groups, contacts, who is in which "
    "conversation, who talks\nto whom. Sealed items are encrypted to the "
    "device. What waits for members of\nconversations is ciphertext under "
    "random numbers, kept 30 days at most, and no\nrow ties it to an account. "
    "Addresses and times of connections are not stored.\n";

static void put_date(uint64_t days)
{
    char text[DATE_TEXT_MAX];
    date_write(days, text);
    (void)printf("%s", text);
}

/* A name has letters that can be shown; a damaged store may hold others. */
static void put_text(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        (void)putchar(b.data[i] > ' ' && b.data[i] < 0x7f ? b.data[i] : '?');
}

static void put_value(const struct export_field *f)
{
    switch (f->kind) {
    case EXPORT_TEXT:
        put_text(f->bytes);
        break;
    case EXPORT_NUMBER:
        (void)printf("%llu", (unsigned long long)f->number);
        break;
    case EXPORT_BYTES:
        for (size_t i = 0; i < f->bytes.len; i++)
            (void)printf("%02x", f->bytes.data[i]);
        break;
    case EXPORT_DAY:
        put_date(f->number);
        break;
    case EXPORT_WEEK:
        (void)printf("the week from ");
        put_date(date_of_week(f->number));
        break;
    }
}

static void put_field(void *ctx, const struct export_field *f)
{
    bool *begun = ctx;
    if (!*begun)
        (void)printf("%s", before);
    *begun = true;
    if (f->first)
        (void)printf("\n%s\n", f->row);
    (void)printf("  %-*s ", NAME_COLUMN, f->name);
    if (f->missing)
        (void)printf("(none any more)");
    else
        put_value(f);
    (void)printf("\n");
}

enum err legal_export(struct server *s, const char *name, struct problem *p)
{
    bool begun = false;
    const struct export_sink sink = {put_field, &begun};
    const struct bytes bytes = {(const uint8_t *)name, strlen(name)};
    if (s->pg != NULL)
        TRY(export_account_pg(s->pg, bytes, &sink, p));
    else
        TRY(export_account(s->sqlite, bytes, &sink, p));
    (void)printf("%s", after);
    return OK;
}
