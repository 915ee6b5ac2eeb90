/* SPDX-License-Identifier: Apache-2.0 */
/* What people pass on and type to find a server or each other: invite codes,
 * handles, addresses, and fingerprints of certificates. */
#pragma once

#include "crypto/crypto.h"
#include "identity/recovery.h"
#include "proto/message.h"

#define INVITE_PIN_SIZE      16U
#define FINGERPRINT_TEXT_MAX 96U /* 32 pairs of digits, colons, NUL */
#define HOST_MAX             249U
#define ADDRESS_TEXT_MAX     256U /* HOST:PORT and NUL */

/* An invite code holds the secret that the server asks for, and the beginning
 * of the SHA-256 of the server's key, which it pins. */
struct invite {
    uint8_t secret[INVITE_SIZE];
    uint8_t pin[INVITE_PIN_SIZE];
};
MUST_USE enum err invite_write(struct crypto *c, struct bytes secret,
                               struct bytes server_key,
                               char out[CODE_TEXT_MAX]);
/* ERR_MALFORMED: not a code; ERR_INVALID: mistyped. */
MUST_USE enum err invite_read(struct crypto *c, const char *text,
                              struct invite *out);
/* ERR_AUTH: the pin is not of that key. */
MUST_USE enum err invite_pin_check(struct crypto *c, struct bytes pin,
                                   struct bytes server_key);

/* A name has 1 to 32 characters a-z 0-9 . _ - and begins and ends with a
 * letter or digit. */
bool name_valid(struct bytes name);

/*
 * Reads HOST[:PORT], where an IPv6 address as HOST is in brackets, and writes
 * it in its one form: lower case, with a port. ERR_MALFORMED if it is none.
 */
MUST_USE enum err address_normalise(struct bytes text,
                                    char out[ADDRESS_TEXT_MAX]);

/* Splits a normal address: the host without brackets, and the port. */
MUST_USE enum err address_split(struct bytes text, char out_host[HOST_MAX],
                                uint16_t *out_port);

/* NAME or NAME@HOST[:PORT]. */
struct handle {
    char name[NAME_MAX_LEN + 1];
    char address[ADDRESS_TEXT_MAX]; /* empty: none was given */
};
MUST_USE enum err handle_read(struct bytes text, struct handle *out);

/* SHA-256 as AB:CD:…; reading takes it without colons too, in any case. */
void fingerprint_write(const uint8_t hash[32], char out[FINGERPRINT_TEXT_MAX]);
MUST_USE enum err fingerprint_read(const char *text, uint8_t out[32]);
