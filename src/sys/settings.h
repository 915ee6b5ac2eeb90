/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of a program from one table, which drives the command line, the
 * configuration file, --help and the test of the man page:
 *
 *     static const struct setting table[] = {
 *         {"listen", "ADDRESS", "*", "where to listen", setting_text,
 *          offsetof(struct options, listen)},
 *         {"verbose", NULL, NULL, "say more", setting_flag,
 *          offsetof(struct options, verbose)},
 *     };
 *
 * On the command line that is --listen ADDRESS and --verbose; in a file, lines
 * of `listen = ADDRESS` and `verbose = yes`, and comments that begin with #.
 */
#pragma once

#include "base/buf.h"
#include "base/problem.h"

#include <stdbool.h>
#include <stddef.h>

#define SETTINGS_MAX      64U /* rows of a table */
#define SETTINGS_FILE_MAX (64U << 10)

struct setting {
    const char *name;     /* "listen" is given as --listen VALUE or =VALUE */
    const char *argument; /* what to call the value; NULL: yes or no */
    const char *fallback; /* when it is not given; NULL: the field stays */
    const char *help;     /* one line */
    enum err (*parse)(const char *text, void *field, struct problem *p);
    size_t offset; /* of the field in the struct that is filled */
};

/* Fields: const char *, bool, unsigned. */
enum err setting_text(const char *text, void *field, struct problem *p);
enum err setting_flag(const char *text, void *field, struct problem *p);
enum err setting_number(const char *text, void *field, struct problem *p);

struct settings {
    const struct setting *table;
    size_t count;
    /* More rows, for the command line alone; NULL: none. */
    const struct settings *switches;
};

enum setting_source {
    SETTING_UNSET,
    SETTING_ARGUMENT,
    SETTING_FILE,
    SETTING_FALLBACK,
};

/* The struct that is filled, and what each row of the table was given. Begins
 * as zeros but for `out`. */
struct setting_values {
    void *out;
    struct {
        enum setting_source source;
        const char *text; /* borrowed from arguments or file */
        bool in_file;
    } row[SETTINGS_MAX];
};

/*
 * Each of these fills in what was not given before: so the command line, which
 * comes first, beats the file. ERR_INVALID: `p` says what is wrong, in a file
 * also where.
 *
 * settings_args moves words that are no options to the front of `args`, which
 * ends with NULL; after "--" every word is such a one.
 */
MUST_USE enum err settings_args(const struct settings *settings, char **args,
                                struct setting_values *v, struct problem *p);
/* `text` is what the file `name` holds. It is cut into pieces, which `v`
 * borrows. */
MUST_USE enum err settings_file(const struct settings *settings,
                                const char *name, struct buf *text,
                                struct setting_values *v, struct problem *p);
MUST_USE enum err settings_fallbacks(const struct settings *settings,
                                     struct setting_values *v,
                                     struct problem *p);

/* Command line and fallbacks, for a program without a file. */
MUST_USE enum err settings_parse(const struct settings *settings, char **args,
                                 void *out, struct problem *p);

/* Writes a line per setting, for --help. */
void settings_help(const struct settings *settings, int fd);

/* Writes what was given as a file that gives the same; `file` is what to call
 * the one that was read. */
void settings_show(const struct settings *settings,
                   const struct setting_values *v, const char *file, int fd);
