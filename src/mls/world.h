/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a group of members in one process, each with a store of its own
 * in memory. It uses the public functions only. One seed decides everything.
 */
#pragma once

#include "crypto/entropy.h"
#include "sotto/mls_components.h"

/* TRY for the installed header. */
#define TRY_PUBLIC(call)              \
    do {                              \
        enum sotto_err err_ = (call); \
        if (err_ != SOTTO_OK)         \
            return err_;              \
    } while (0)

#define WORLD_MAX       40U
#define RECORDS_MAX     512U
#define WORLD_EXT       0xf100U /* an extension type that all members support */
#define WORLD_COMPONENT 0x8001U /* with app_data */

struct record {
    enum sotto_record kind;
    uint32_t index;
    struct sotto_buf value;
};

struct memory_store {
    struct record *record; /* RECORDS_MAX */
    size_t count;
    size_t puts, put_bytes; /* since the caller zeroed them */
};
struct sotto_store memory_store_of(struct memory_store *m);
void memory_store_clear(struct memory_store *m);
struct record *memory_store_find(struct memory_store *m, enum sotto_record kind,
                                 uint32_t index);

struct member {
    uint8_t name;
    struct sotto_buf signature_private, signature_public;
    struct sotto_buf key_package, key_package_private;
    struct sotto_group *group; /* NULL: not in it */
    struct memory_store store;
};

struct world {
    struct sotto_mls *mls;
    struct entropy_seeded entropy;
    uint16_t suite;
    bool grease;   /* of those who come from now on */
    bool app_data; /* the same: they support AppDataUpdate, and a component */
    struct member member[WORLD_MAX];
};

struct sotto_bytes view_of(const struct sotto_buf *b);
struct sotto_bytes text_of(const char *s);

enum sotto_err world_open(struct world *w, uint16_t suite, uint64_t seed);
void world_close(struct world *w);

/* What the i-th member says about itself; it borrows from the world. */
struct sotto_identity world_identity(const struct world *w, size_t i);
/* The i-th member makes a fresh KeyPackage, which stays in `member`. */
enum sotto_err world_key_package(struct world *w, size_t i);
/* The i-th member makes the group. */
enum sotto_err world_found(struct world *w, size_t i);
enum sotto_err world_join(struct world *w, size_t i,
                          struct sotto_bytes welcome);
/* Everybody takes a commit and merges it; who was removed is out. */
enum sotto_err world_spread(struct world *w, struct sotto_bytes message);
/* `by` commits, merges; all others process and merge; the added join. */
enum sotto_err world_commit(struct world *w, size_t by,
                            const struct sotto_commit *ask, const size_t *added,
                            size_t added_count);
/* Adds members from..to-1 in one commit of member `by`. */
enum sotto_err world_add(struct world *w, size_t by, size_t from, size_t to);
/* A group of members 0, 1 and 2; false when that failed. */
bool world_three(struct world *w, uint16_t suite, uint64_t seed);
/* A member processes a message, and merges it when it is a commit. */
enum sotto_err world_take(struct world *w, size_t i, struct sotto_bytes message,
                          enum sotto_outcome *out_outcome);
/* The same for a message that is no error; 0 when it is one. */
enum sotto_outcome world_outcome(struct world *w, size_t i,
                                 const struct sotto_buf *message);
/* Saves a member's group, forgets it and loads it again. */
enum sotto_err world_reload(struct world *w, size_t i);
/* Whether all members have the same epoch and authenticator. */
bool world_agrees(const struct world *w);
size_t world_in_group(const struct world *w);
