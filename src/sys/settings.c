/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/settings.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define YES    "yes"
#define NO     "no"
#define BLANKS " \t\r"

enum err setting_text(const char *text, void *field, struct problem *p)
{
    (void)p;
    *(const char **)field = text;
    return OK;
}

enum err setting_flag(const char *text, void *field, struct problem *p)
{
    bool yes = strcmp(text, YES) == 0;
    if (!yes && strcmp(text, NO) != 0)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.60s\" is neither yes nor no", text);
    *(bool *)field = yes;
    return OK;
}

enum err setting_number(const char *text, void *field, struct problem *p)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        value > UINT_MAX)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.60s\" is not a number", text);
    *(unsigned *)field = (unsigned)value;
    return OK;
}

static enum err apply(const struct setting *s, const char *text, void *out,
                      struct problem *p)
{
    return s->parse(text, (char *)out + s->offset, p);
}

static const struct setting *find(const struct settings *settings,
                                  struct bytes name)
{
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *s = &settings->table[i];
        if (bytes_equal(
                (struct bytes){(const uint8_t *)s->name, strlen(s->name)},
                name))
            return s;
    }
    return NULL;
}

/* Sets a row of the table and notes where its value comes from. */
static enum err set(const struct settings *settings, const struct setting *s,
                    const char *text, enum setting_source source,
                    struct setting_values *v, struct problem *p)
{
    TRY(apply(s, text, v->out, p));
    size_t i = (size_t)(s - settings->table);
    assert(i < settings->count && i < SETTINGS_MAX);
    v->row[i].source = source;
    v->row[i].text = text;
    return OK;
}

/* --- the command line --- */

/* The value of the option at *args, which moves to its last word. */
static enum err option_value(const struct setting *s, char ***args,
                             const char **out, struct problem *p)
{
    const char *equals = strchr(**args, '=');
    if (equals != NULL) {
        *out = equals + 1;
        return OK;
    }
    *out = YES;
    if (s->argument == NULL)
        return OK;
    if ((*args)[1] == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "--%s needs a value: %s", s->name, s->argument);
    (*args)++;
    *out = **args;
    return OK;
}

static enum err parse_option(const struct settings *settings, char ***args,
                             struct setting_values *v, struct problem *p)
{
    const char *option = **args + 2;
    const char *text = NULL;
    const struct bytes name = {(const uint8_t *)option, strcspn(option, "=")};
    const struct setting *s = find(settings, name);
    if (s != NULL) {
        TRY(option_value(s, args, &text, p));
        return set(settings, s, text, SETTING_ARGUMENT, v, p);
    }
    if (settings->switches != NULL)
        s = find(settings->switches, name);
    if (s == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "unknown option --%.60s (see --help)", option);
    TRY(option_value(s, args, &text, p));
    return apply(s, text, v->out, p);
}

enum err settings_args(const struct settings *settings, char **args,
                       struct setting_values *v, struct problem *p)
{
    char **words = args;
    bool options = true;
    for (; *args != NULL; args++) {
        if (options && strcmp(*args, "--") == 0)
            options = false;
        else if (options && strncmp(*args, "--", 2) == 0)
            TRY(parse_option(settings, &args, v, p));
        else if (options && (*args)[0] == '-' && (*args)[1] != '\0')
            return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                               "unknown option %.60s (see --help)", *args);
        else
            *words++ = *args;
    }
    *words = NULL;
    return OK;
}

/* --- the file --- */

/* Cuts blanks from both ends. */
static char *trim(char *text)
{
    text += strspn(text, BLANKS);
    size_t len = strlen(text);
    while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return text;
}

static enum err parse_line(const struct settings *settings, char *line,
                           struct setting_values *v, struct problem *p)
{
    line = trim(line);
    if (*line == '\0' || *line == '#')
        return OK;
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "write it as NAME = VALUE");
    *equals = '\0';
    const char *name = trim(line);
    const char *text = trim(equals + 1);
    const struct setting *s =
        find(settings, (struct bytes){(const uint8_t *)name, strlen(name)});
    if (s == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "no setting is called \"%.40s\": see "
                           "sottod.conf(5)",
                           name);
    if (*text == '\0')
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "%s needs a value: %s", s->name,
                           s->argument != NULL ? s->argument : "yes or no");
    size_t i = (size_t)(s - settings->table);
    if (v->row[i].in_file)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "%s is set twice: keep one line", s->name);
    v->row[i].in_file = true;
    if (v->row[i].source == SETTING_UNSET)
        return set(settings, s, text, SETTING_FILE, v, p);
    max_align_t unused; /* it was given before; but the line must be sound */
    return s->parse(text, &unused, p);
}

enum err settings_file(const struct settings *settings, const char *name,
                       struct buf *text, struct setting_values *v,
                       struct problem *p)
{
    unsigned number = 1;
    if (text->len > 0 && memchr(text->data, '\0', text->len) != NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "%.100s is not a text: it holds a zero byte", name);
    TRY(buf_append(text, (struct bytes){(const uint8_t *)"", 1}));
    for (char *line = (char *)text->data; line != NULL; number++) {
        struct problem why = {0};
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        enum err err = parse_line(settings, line, v, &why);
        if (err != OK)
            return problem_set(p, err, why.kind, "%.80s:%u: %.100s", name,
                               number, why.detail);
        line = end != NULL ? end + 1 : NULL;
    }
    return OK;
}

/* --- the rest --- */

enum err settings_fallbacks(const struct settings *settings,
                            struct setting_values *v, struct problem *p)
{
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *s = &settings->table[i];
        if (s->fallback != NULL && v->row[i].source == SETTING_UNSET)
            TRY(set(settings, s, s->fallback, SETTING_FALLBACK, v, p));
    }
    return OK;
}

enum err settings_parse(const struct settings *settings, char **args, void *out,
                        struct problem *p)
{
    struct setting_values v = {.out = out};
    TRY(settings_args(settings, args, &v, p));
    return settings_fallbacks(settings, &v, p);
}

void settings_help(const struct settings *settings, int fd)
{
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *s = &settings->table[i];
        char option[64];
        (void)snprintf(option, sizeof option, "--%s%s%s", s->name,
                       s->argument != NULL ? " " : "",
                       s->argument != NULL ? s->argument : "");
        if (s->fallback != NULL && s->argument != NULL)
            (void)dprintf(fd, "  %-24s %s (default %s)\n", option, s->help,
                          s->fallback);
        else
            (void)dprintf(fd, "  %-24s %s\n", option, s->help);
    }
}

static void show_group(const struct settings *settings,
                       const struct setting_values *v,
                       enum setting_source source, const char *title, int fd)
{
    bool begun = false;
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *s = &settings->table[i];
        if (v->row[i].source != source)
            continue;
        if (!begun)
            (void)dprintf(fd, "# %s\n", title);
        begun = true;
        if (source == SETTING_UNSET)
            (void)dprintf(fd, "# %s = %s\n", s->name,
                          s->argument != NULL ? s->argument : NO);
        else
            (void)dprintf(fd, "%s = %s\n", s->name, v->row[i].text);
    }
}

void settings_show(const struct settings *settings,
                   const struct setting_values *v, const char *file, int fd)
{
    show_group(settings, v, SETTING_ARGUMENT, "from the command line", fd);
    show_group(settings, v, SETTING_FILE, file, fd);
    show_group(settings, v, SETTING_FALLBACK, "defaults", fd);
    show_group(settings, v, SETTING_UNSET, "not set", fd);
}
