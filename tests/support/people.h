/* SPDX-License-Identifier: Apache-2.0 */
/*
 * People with a profile each and one server, all real programs in one temporary
 * folder: $SOTTO and $SOTTOD name them. `last` is what the last command said.
 */
#pragma once

#include "support/program.h"
#include "support/sottod.h"

#define PEOPLE_PATH_MAX 160

struct people {
    struct sottod server;
    struct program last;
    char listen[40]; /* an address that no other process uses */
    char server_name[40];
};

/* Makes the folder, starts the server, and registers each of the names (ends
 * with NULL). */
MUST_USE enum err people_prepare(struct people *t, const char *const *names);
void people_clear(struct people *t);

MUST_USE enum err people_serve(struct people *t); /* always at one address */
MUST_USE enum err people_register(struct people *t, const char *who);
MUST_USE enum err people_invite(struct people *t, char code[80]);

/* A path in the folder. */
const char *people_path(const struct people *t, const char *name,
                        char out[PEOPLE_PATH_MAX]);
/* Copies a folder in the folder, over what was there. */
MUST_USE enum err people_copy(struct people *t, const char *from,
                              const char *to);

/* Runs sotto with the profile `who`, and input if not NULL; its status. */
int people_run(struct people *t, const char *who, const char *const *args,
               const char *input);
MUST_USE enum err people_start(struct people *t, struct program *p,
                               const char *who, const char *const *args);
/* Runs a command of sottod, with its words, on the server's folder. */
int people_server_run(struct people *t, const char *command);
int people_operate(struct people *t, const char *const *args);

/* Whether the last command said it, on standard error and output. */
bool people_complained(const struct people *t, const char *words);
bool people_printed(const struct people *t, const char *words);

#define AS(t, who, ...) \
    people_run((t), (who), (const char *const[]){__VA_ARGS__, NULL}, NULL)
#define OPERATE(t, ...) \
    people_operate((t), (const char *const[]){__VA_ARGS__, NULL})
#define AS_TYPING(t, who, input, ...) \
    people_run((t), (who), (const char *const[]){__VA_ARGS__, NULL}, (input))
