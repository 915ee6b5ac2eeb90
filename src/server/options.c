/* SPDX-License-Identifier: Apache-2.0 */
#include "server/options.h"

#include "proto/derive.h"
#include "server/keeper.h"
#include "server/store_pg.h"
#include "sys/files.h"

#include <stdlib.h>
#include <string.h>

static enum err parse_level(const char *text, void *field, struct problem *p)
{
    if (log_level_parse(text, field) == OK)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "\"%.40s\" is no log level: error, warn, info, debug",
                       text);
}

/* The name is not repeated: it may hold a password. */
static enum err parse_store(const char *text, void *field, struct problem *p)
{
    if (store_pg_named(text))
        return setting_text(text, field, p);
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "store: neither postgresql://... nor KEYWORD=VALUE...");
}

static enum err parse_pow_bits(const char *text, void *field, struct problem *p)
{
    unsigned bits = 0;
    if (setting_number(text, &bits, NULL) != OK || bits < 1 ||
        bits > POW_BITS_MAX)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.40s\" is no number from 1 to %u", text,
                           POW_BITS_MAX);
    *(unsigned *)field = bits;
    return OK;
}

static enum err parse_connections(const char *text, void *field,
                                  struct problem *p)
{
    if (setting_number(text, field, NULL) == OK)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "\"%.40s\" is no number of connections", text);
}

static enum err parse_processes(const char *text, void *field,
                                struct problem *p)
{
    unsigned count = 0;
    if (setting_number(text, &count, NULL) != OK || count > KEEPER_NETS_MAX)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.40s\" is no number from 0 to %u", text,
                           KEEPER_NETS_MAX);
    *(unsigned *)field = count;
    return OK;
}

static const struct setting table[] = {
    {"data", "DIR", NULL, "the data folder; made when it is not there",
     setting_text, offsetof(struct options, data)},
    {"store", "NAME", NULL,
     "a PostgreSQL database, as libpq names it; else files in the data folder",
     parse_store, offsetof(struct options, store)},
    {"listen", "ADDRESS", "*", "HOST[:PORT] to listen on; * is every address",
     setting_text, offsetof(struct options, listen)},
    {"proxy-listen", "ADDRESS", NULL,
     "where a proxy that ends TLS connects, and is believed", setting_text,
     offsetof(struct options, proxy_listen)},
    {"admin-listen", "ADDRESS", NULL, "where /metrics is, without TLS",
     setting_text, offsetof(struct options, admin_listen)},
    {"cert", "FILE", NULL, "TLS certificate chain, PEM", setting_text,
     offsetof(struct options, cert)},
    {"key", "FILE", NULL, "its private key, PEM", setting_text,
     offsetof(struct options, key)},
    {"net-processes", "N", "0",
     "processes for the network; 0: one for each core, at most 8",
     parse_processes, offsetof(struct options, net_processes)},
    {"open-registration", NULL, NULL, "accounts need no invite", setting_flag,
     offsetof(struct options, open_registration)},
    {"connections-per-network", "N", "0",
     "from an IPv4 address or IPv6 /64; 0: a quarter of all", parse_connections,
     offsetof(struct options, network_max)},
    {"pow-bits", "BITS", "18", "work asked of strangers, 1 to 26",
     parse_pow_bits, offsetof(struct options, pow_bits)},
    {"no-limits", NULL, NULL, "bound no rates; only for measurements",
     setting_flag, offsetof(struct options, no_limits)},
    {"port-file", "FILE", NULL, "where to write the port once ready",
     setting_text, offsetof(struct options, port_file)},
    {"log-level", "LEVEL", "info", "error, warn, info or debug", parse_level,
     offsetof(struct options, log_level)},
};
const struct settings options_table = {.table = table,
                                       .count = sizeof table / sizeof table[0]};

static const char *file_name(const struct options *o)
{
    return o->config != NULL ? o->config : OPTIONS_FILE;
}

/* Whether the store's name has a password in it, as a URI or in words. */
static bool has_password(const char *store)
{
    const char *user = strstr(store, "://");
    if (strstr(store, "password=") != NULL)
        return true;
    if (user == NULL)
        return false;
    const char *host = strchr(user + 3, '@');
    const char *colon = strchr(user + 3, ':');
    return host != NULL && colon != NULL && colon < host;
}

/* What the file holds is as secret as its most secret line. */
static enum err check_secret(const struct options *o, struct problem *p)
{
    CLEANUP(buf_clear) struct buf unused = buf_new(SETTINGS_FILE_MAX);
    if (o->store == NULL || !has_password(o->store))
        return OK;
    for (size_t i = 0; i < options_table.count; i++) {
        if (strcmp(table[i].name, "store") == 0 &&
            o->values.row[i].source == SETTING_FILE)
            return file_read_private(file_name(o), &unused, p);
    }
    return OK;
}

static enum err read_file(struct options *o, struct problem *p)
{
    o->file = buf_new(SETTINGS_FILE_MAX);
    if (o->config != NULL && o->config[0] == '\0')
        return OK;
    enum err err = file_read_trusted(file_name(o), &o->file, p);
    if (err == ERR_NOTFOUND && o->config == NULL)
        return OK;
    if (err != OK)
        return err;
    TRY(settings_file(&options_table, file_name(o), &o->file, &o->values, p));
    return check_secret(o, p);
}

enum err options_read(const struct settings *switches, char **words,
                      struct options *o, struct problem *p)
{
    const struct settings all = {options_table.table, options_table.count,
                                 switches};
    *o = (struct options){0};
    o->values.out = o;
    TRY(settings_args(&all, words, &o->values, p));
    if (!o->help && !o->version)
        TRY(read_file(o, p));
    return settings_fallbacks(&options_table, &o->values, p);
}

void options_clear(struct options *o)
{
    buf_clear(&o->file);
    *o = (struct options){0};
}

static void wipe(const char *text)
{
    char *at = NULL; /* of argv, the environment or the file's buffer: ours */
    if (text == NULL)
        return;
    memcpy(&at, &text, sizeof at);
    explicit_bzero(at, strlen(at));
}

void options_hide(const struct options *o)
{
    wipe(o->store);
    wipe(getenv("PGPASSWORD")); /* NOLINT(concurrency-mt-unsafe) */
}

/* What is shown may end up in a log or a letter: no password is in it. */
void options_show(const struct options *o, int fd)
{
    struct setting_values shown = o->values;
    for (size_t i = 0; i < options_table.count; i++) {
        bool store = strcmp(options_table.table[i].name, "store") == 0;
        if (store && o->store != NULL && has_password(o->store))
            shown.row[i].text = "(not shown: there is a password in it)";
    }
    settings_show(&options_table, &shown, file_name(o), fd);
}
