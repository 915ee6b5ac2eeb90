/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of sotto, a row each. */
#pragma once

#include "cli/session.h"

struct command {
    const char *name;
    const char *arguments;
    const char *help;
    unsigned min; /* words after the name */
    unsigned max;
    int (*run)(const struct options *o, char **words);
};

extern const struct command command_table[];
extern const size_t command_count;
