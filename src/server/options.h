/* SPDX-License-Identifier: Apache-2.0 */
/* What sottod is told: one table of settings for the command line, the
 * configuration file, --help and sottod.conf(5). */
#pragma once

#include "sys/log.h"
#include "sys/settings.h"

#include <stdbool.h>

#define OPTIONS_FILE "/etc/sotto/sottod.conf"

struct options {
    const char *data;
    const char *store; /* NULL: files in the data folder */
    const char *listen;
    const char *proxy_listen; /* NULL: nowhere, as is the next */
    const char *admin_listen;
    const char *cert;
    const char *key;
    const char *port_file;
    enum log_level log_level;
    unsigned pow_bits;
    unsigned net_processes; /* 0: one for each core */
    unsigned network_max;   /* connections from one network; 0: a share */
    bool open_registration;
    bool no_limits;

    /* Of the command line alone. */
    const char *config; /* NULL: OPTIONS_FILE, if it is there; "": none */
    bool help;
    bool version;
    const char *to;
    const char *from;
    bool replace;
    bool yes;
    const char *word; /* what a command is about */

    struct setting_values values; /* where all that comes from */
    struct buf file;              /* borrowed by them */
};

/* Without `switches`, which are the commands'. */
extern const struct settings options_table;

/* Fills `o` from command line, file and fallbacks. Moves the words that are no
 * options to the front of `words`. */
MUST_USE enum err options_read(const struct settings *switches, char **words,
                               struct options *o, struct problem *p);
void options_clear(struct options *o);

/* Wipes what may hold a database's password, from the command line too, which
 * others can see. `store` is then empty. */
void options_hide(const struct options *o);

/* Prints what is in force, as a file that says the same. */
void options_show(const struct options *o, int fd);
