/* SPDX-License-Identifier: Apache-2.0 */
#include "server/operate.h"

#include "server/date.h"
#include "sys/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS       1000U /* what is quicker needs no word */
#define TERMINAL_PAUSE_MS 200U
#define LINE_PAUSE_MS     10000U
#define CLEAR_LINE        "\r\033[K"

struct teller teller_begin(const char *what)
{
    return (struct teller){.what = what,
                           .next_ms = clock_mono_ms() + PATIENCE_MS,
                           .terminal = isatty(STDERR_FILENO) == 1};
}

void teller_say(void *ctx, const char *part, uint64_t done, uint64_t total)
{
    struct teller *t = ctx;
    char far[32] = "";
    uint64_t now = clock_mono_ms();
    if (now < t->next_ms)
        return;
    t->next_ms = now + (t->terminal ? TERMINAL_PAUSE_MS : LINE_PAUSE_MS);
    t->shown = true;
    if (total > 0)
        (void)snprintf(far, sizeof far, " %u%%",
                       (unsigned)((done < total ? done : total) * 100 / total));
    (void)dprintf(STDERR_FILENO, "%ssottod: %s: %s%s%s",
                  t->terminal ? CLEAR_LINE : "", t->what, part, far,
                  t->terminal ? "" : "\n");
}

void teller_end(struct teller *t)
{
    if (t->shown && t->terminal)
        (void)dprintf(STDERR_FILENO, CLEAR_LINE);
}

static void put_week(uint32_t week)
{
    char text[DATE_TEXT_MAX];
    date_write(date_of_week(week), text);
    (void)printf("\t%s", text);
}

static void put_account(void *ctx, const struct store_account *a)
{
    (void)ctx;
    /* A name has letters that can be shown; a damaged store may hold others. */
    for (size_t i = 0; i < a->name.len; i++)
        (void)putchar(a->name.data[i] > ' ' && a->name.data[i] < 0x7f
                          ? a->name.data[i]
                          : '?');
    (void)putchar('\t');
    for (size_t i = 0; i < a->id.len; i++)
        (void)printf("%02x", a->id.data[i]);
    put_week(a->made_week);
    put_week(a->used_week);
    (void)printf("\t%" PRIu64 "\t%s\n", a->devices,
                 a->disabled ? "disabled" : "enabled");
}

enum err operate_list(const struct store_admin *admin, struct problem *p)
{
    const struct store_account_sink sink = {put_account, NULL};
    (void)printf("name\taccount\tregistered\tlast_used\tdevices\tstate\n");
    return admin->accounts(admin->ctx, &sink, p);
}

enum err operate_disable(const struct store_admin *admin, const char *name,
                         bool disabled, uint32_t day, struct problem *p)
{
    TRY(admin->account_disable(admin->ctx, bytes_str(name), disabled, day, p));
    (void)printf("%s is %s\n", name, disabled ? "disabled" : "enabled");
    return OK;
}

enum err operate_delete(const struct store_admin *admin, const char *name,
                        uint32_t day, struct problem *p)
{
    TRY(admin->account_delete(admin->ctx, bytes_str(name), day, p));
    (void)printf("%s is deleted\n", name);
    return OK;
}

static void put_number(void *ctx, const char *name, uint64_t value,
                       bool estimated)
{
    (void)ctx;
    (void)printf("%s\t%" PRIu64 "\t%s\n", name, value,
                 estimated ? "about" : "exact");
}

enum err operate_stats(const struct store_admin *admin, uint64_t now,
                       struct problem *p)
{
    const struct store_stats_sink sink = {put_number, NULL};
    return admin->stats(admin->ctx, &sink, now, p);
}
