/* SPDX-License-Identifier: Apache-2.0 */
/* What sottod is told: one table of settings for the command line, --help and
 * the man page. */
#pragma once

#include "sys/log.h"
#include "sys/settings.h"

#include <stdbool.h>

struct options {
    const char *data;
    const char *listen;
    const char *proxy_listen; /* NULL: nowhere, as is the next */
    const char *admin_listen;
    const char *cert;
    const char *key;
    const char *port_file;
    enum log_level log_level;
    unsigned pow_bits;
    bool open_registration;
    bool no_limits;
    bool help;
    bool version;
    const char *word; /* what a command is about */
};

extern const struct settings options_table;
