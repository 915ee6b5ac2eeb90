/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixture is what a version of the library stored, as text: a line for each
 * record or message, with its name and its bytes in hex. A record is named
 * `group/kind/index`; the numbers are those that a caller's store keeps.
 */
#pragma once

#include "mls/world.h"

#define FIXTURE_ENTRIES_MAX 64U
#define FIXTURE_BYTES_MAX   ((size_t)1 << 20) /* of the text */

struct fixture_entry {
    char name[32];
    struct sotto_buf value;
};

struct fixture {
    struct fixture_entry *entry; /* FIXTURE_ENTRIES_MAX */
    size_t count;
};

void fixture_clear(struct fixture *f);

/* False: no such file, or a line that is none. */
bool fixture_read(struct fixture *f, const char *path);
/* Prints it to standard output. */
void fixture_print(const struct fixture *f);

/* False: no room. */
bool fixture_add(struct fixture *f, const char *name, struct sotto_bytes value);
/* Empty when there is none of that name. */
struct sotto_bytes fixture_get(const struct fixture *f, const char *name);
/* The same to write to; NULL. */
struct fixture_entry *fixture_find(const struct fixture *f, const char *name);

/* The records of one group in it. */
struct fixture_group {
    struct fixture *fixture;
    const char *group;
};
struct sotto_store fixture_store(struct fixture_group *g);
