/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line options from one table per program (or per command), which
 * drives the parser, --help and the test of the man page:
 *
 *     static const struct setting table[] = {
 *         {"listen", "ADDRESS", "*", "where to listen", setting_text,
 *          offsetof(struct options, listen)},
 *         {"verbose", NULL, NULL, "say more", setting_flag,
 *          offsetof(struct options, verbose)},
 *     };
 */
#pragma once

#include "base/problem.h"

#include <stddef.h>

struct setting {
    const char *name;     /* "listen" is given as --listen VALUE or =VALUE */
    const char *argument; /* what to call the value; NULL: takes none */
    const char *fallback; /* parsed first; NULL: the field stays as it was */
    const char *help;     /* one line */
    enum err (*parse)(const char *text, void *field, struct problem *p);
    size_t offset; /* of the field in the struct that is filled */
};

/* Fields: const char *, bool, unsigned. setting_flag ignores the text. */
enum err setting_text(const char *text, void *field, struct problem *p);
enum err setting_flag(const char *text, void *field, struct problem *p);
enum err setting_number(const char *text, void *field, struct problem *p);

struct settings {
    const struct setting *table;
    size_t count;
};

/*
 * Fills `out` with the fallbacks and then with the options among `args` (which
 * ends with NULL). Moves the other words to the front of `args` and ends them
 * with NULL; after "--" every word is such a one. An unknown option is
 * ERR_INVALID, and `p` names it.
 */
MUST_USE enum err settings_parse(const struct settings *settings, char **args,
                                 void *out, struct problem *p);

/* Writes a line per setting, for --help. */
void settings_help(const struct settings *settings, int fd);
