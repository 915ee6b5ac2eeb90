/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/settings.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err setting_text(const char *text, void *field, struct problem *p)
{
    (void)p;
    *(const char **)field = text;
    return OK;
}

enum err setting_flag(const char *text, void *field, struct problem *p)
{
    (void)text;
    (void)p;
    *(bool *)field = true;
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

/* Finds the setting that "--name" or "--name=value" gives. */
static const struct setting *find(const struct settings *settings,
                                  const char *option)
{
    size_t len = strcspn(option, "=");
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *s = &settings->table[i];
        if (strlen(s->name) == len && strncmp(s->name, option, len) == 0)
            return s;
    }
    return NULL;
}

/* Parses the option at *args and moves *args to its last word. */
static enum err parse_option(const struct settings *settings, char ***args,
                             void *out, struct problem *p)
{
    const char *option = **args + 2;
    const struct setting *s = find(settings, option);
    if (s == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "unknown option --%.60s (see --help)", option);
    const char *equals = strchr(option, '=');
    if (s->argument == NULL) {
        if (equals != NULL)
            return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                               "--%s takes no value", s->name);
        return apply(s, "", out, p);
    }
    if (equals != NULL)
        return apply(s, equals + 1, out, p);
    if ((*args)[1] == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "--%s needs a value: %s", s->name, s->argument);
    (*args)++;
    return apply(s, **args, out, p);
}

enum err settings_parse(const struct settings *settings, char **args, void *out,
                        struct problem *p)
{
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *s = &settings->table[i];
        if (s->fallback != NULL)
            TRY(apply(s, s->fallback, out, p));
    }
    char **words = args;
    bool options = true;
    for (; *args != NULL; args++) {
        if (options && strcmp(*args, "--") == 0)
            options = false;
        else if (options && strncmp(*args, "--", 2) == 0)
            TRY(parse_option(settings, &args, out, p));
        else if (options && (*args)[0] == '-' && (*args)[1] != '\0')
            return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                               "unknown option %.60s (see --help)", *args);
        else
            *words++ = *args;
    }
    *words = NULL;
    return OK;
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
