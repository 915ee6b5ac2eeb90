/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define MUST_USE   __attribute__((warn_unused_result))
#define CLEANUP(f) __attribute__((cleanup(f)))

/* The result of every fallible function: what the caller can do about it. */
enum err {
    OK = 0,
    ERR_NOMEM,     /* no memory left */
    ERR_LIMIT,     /* larger than we are willing to handle */
    ERR_MALFORMED, /* input does not parse */
    ERR_INVALID,   /* parses, but breaks a rule of the protocol */
    ERR_AUTH,      /* a signature, MAC or AEAD does not verify */
    ERR_STATE,     /* valid, but not now */
    ERR_NOTFOUND,  /* no such thing */
    ERR_EXISTS,    /* there already */
    ERR_IO,        /* the system refused */
};

/* Names an error in a few words, for logs and messages. */
const char *err_text(enum err err);

/* Runs a fallible call and passes its failure up. */
#define TRY(call)               \
    do {                        \
        enum err err_ = (call); \
        if (err_ != OK)         \
            return err_;        \
    } while (0)
