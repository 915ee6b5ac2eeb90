/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs published test vectors. Each file is one TAP result, with the number
 * of its cases that were executed, that failed, and that are of algorithms or
 * parameters that we do not have ("not ours", counted by reason).
 *
 * The data lies outside the tree, in the folder that $SOTTO_VECTORS names.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/crypto.h"

#include <jansson.h>

#define REASONS_MAX 16U
#define BLOCKS_MAX  64U

struct vectors;

/* A file, and who runs it. */
struct vectors_file {
    const char *path; /* below the folder of vectors; may be .gz */
    void (*run_json)(struct vectors *v, const json_t *root);
    void (*run_text)(struct vectors *v, struct bytes text);
    const void *kind;     /* for run_json: */
    int alg;              /*   what the file is about */
    const char *not_ours; /* why nothing of it is run */
};

struct vectors {
    struct crypto *c;
    const struct vectors_file *file; /* at hand */
    size_t executed;
    size_t failed;
    struct {
        const char *text;
        size_t count;
    } reasons[REASONS_MAX];
    size_t reason_count;
    struct { /* what the case at hand has decoded, in blocks of exact size */
        uint8_t *data;
        size_t len;
    } blocks[BLOCKS_MAX];
    size_t block_count;
};

/* Returns the exit status of the program. */
int vectors_main(const struct vectors_file *files, size_t count);

/* Reads a file that belongs to the one at hand; the caller releases it. */
json_t *vectors_load(struct vectors *v, const char *path);

/* Counts a case and forgets what it decoded; names it when it failed. */
void vectors_case(struct vectors *v, bool ok, const char *name, json_int_t id);

/* Counts cases that are not ours. */
void vectors_skip(struct vectors *v, const char *reason, size_t count);

/* Decodes hex digits, until the end of the case. */
struct bytes vectors_decode(struct vectors *v, const char *hex, size_t digits);

/* Decodes a field of hex digits, until the end of the case; empty when there
 * is no such field. */
struct bytes vectors_hex(struct vectors *v, const json_t *object,
                         const char *key);

/* The same for the value of "key = hex" in a text file. */
struct bytes vectors_line(struct vectors *v, struct bytes text,
                          const char *key);

json_int_t vectors_int(const json_t *object, const char *key);
const char *vectors_text(const json_t *object, const char *key);
bool vectors_flag(const json_t *test, const char *flag);

/* A random source that gives these bytes and no more. */
struct vectors_random {
    struct bytes rest;
};
struct random vectors_random(struct vectors_random *r);
