/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: an account with all its private keys, whose states are made at
 * will, valid or not. Keys are a function of the seed.
 */
#pragma once

#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "identity/chain.h"

#define TEST_DEVICES_MAX 96U
#define BY_RECOVERY      SIZE_MAX

struct test_device {
    struct secret private_key;
    uint8_t id[STATE_ID_SIZE];
    uint8_t public_key[STATE_KEY_SIZE];
    uint8_t sealing_key[KEM_PUBLIC_MAX];
};

struct test_account {
    struct crypto *crypto; /* owned */
    struct entropy_seeded seeded;
    struct secret recovery[2]; /* the current and a spare one */
    uint8_t recovery_key[2][STATE_KEY_SIZE];
    uint8_t server_key[STATE_KEY_SIZE];
    struct test_device devices[TEST_DEVICES_MAX];
    size_t device_count; /* made so far; the first is in the first state */
    struct buf encoding; /* the newest state */
    struct digest hash;
    struct state state; /* borrows from `encoding` */
    struct buf list;    /* all states, as chain_extend takes them */
};

/* Makes an account of one state. Large: keep it in static memory. */
MUST_USE enum err test_account_new(struct test_account *a, uint64_t seed);
void test_account_clear(struct test_account *a);

/* Makes a device and describes it. */
MUST_USE enum err test_device_new(struct test_account *a,
                                  struct device *out_device);
struct device test_device_of(const struct test_account *a, size_t index);
/* Which of the devices has this id. */
size_t test_device_index(const struct test_account *a, struct bytes id);

/* Starts the next state; signs it as a device (or BY_RECOVERY) into `out`; and
 * makes a signed one the newest. */
void test_account_next(const struct test_account *a, enum state_reason reason,
                       struct state *out);
MUST_USE enum err test_account_sign(const struct test_account *a,
                                    const struct state *s, size_t signer,
                                    struct buf *out);
MUST_USE enum err test_account_push(struct test_account *a,
                                    struct bytes encoding);

/* Swaps the recovery keys, after a state that rotated them was made. */
void test_account_rotate(struct test_account *a);
