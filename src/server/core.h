/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server without I/O: whole messages of connections and the time go in,
 * messages and closings come out of a queue. What must last is handed to a
 * store; an answer leaves only after the store has made it durable, so
 * everything that arrived between two flushes is one durable step.
 *
 *     core_message(core, conn, kind, id, message, now);    any number
 *     core_flush(core, now);                               then once
 *     while (core_take(core, &out)) { send or close; core_output_clear(&out); }
 *
 * Answers to one connection come in any order; pushed events of one channel
 * come in the channel's order. Times are milliseconds since 1970; they may
 * jump.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core;
struct crypto;
struct secret;
struct store;

#define CORE_EXPORTER_SIZE 32U
#define CORE_INVITE_SIZE   16U

/* What one may do in a minute, unless said otherwise. Counted in memory. */
struct core_limits {
    uint32_t subscription_appends;
    uint32_t subscription_commits;
    uint32_t subscription_bytes;
    uint32_t channel_appends;
    uint32_t channel_commits;
    uint32_t channel_bytes;
    uint32_t remote_requests;       /* of one address prefix, all kinds */
    uint32_t remote_bytes;          /* that one prefix wants to be stored */
    uint32_t subscription_reads;    /* bytes that one reads; a read that is
                                       under way counts ENTRY_MAX */
    uint32_t remote_reads;          /* the same of one prefix */
    uint32_t remote_stranger_tasks; /* proof-of-work requests of one prefix */
};

/* Zero fields take the value in brackets. */
struct core_config {
    bool open_registration;      /* no invite needed */
    uint8_t pow_bits;            /* work asked of strangers [18] */
    uint32_t reconnect_delay_ms; /* told in hello [grows with the number of
                                    connections] */
    uint32_t busy_retry_ms;      /* told with busy answers [1000] */
    uint32_t pending_max;        /* requests in the store at a time [1024] */
    size_t pending_bytes;        /* of those requests [64 MiB] */
    uint32_t conn_pending_max;   /* of one connection [64] */
    size_t output_max;           /* bytes queued for core_take [64 MiB] */
    size_t connections_max;      /* [1 Mi] */
    size_t attached_max;         /* channels, of all connections [2 Mi] */
    struct core_limits limits;   /* [see core_config.c] */
};

struct core_parts {
    struct crypto *crypto;           /* borrowed, as all of these */
    const struct random *random;     /* */
    struct store *store;             /* */
    const struct secret *server_key; /* Ed25519 signing key's 32-byte seed */
    struct core_config config;
};

MUST_USE enum err core_create(const struct core_parts *parts,
                              struct core **out);
void core_free(struct core **c);

/* The public part of the server's signing key, for those who pin it. */
struct bytes core_public_key(const struct core *c);

/*
 * Opens a connection under a number of the caller's that is not in use.
 * `exporter` has CORE_EXPORTER_SIZE bytes, or none where TLS is not end to end;
 * `remote` stands for its address prefix, in limits only. ERR_LIMIT: too many;
 * ERR_EXISTS: the number is in use.
 */
MUST_USE enum err core_open(struct core *c, uint32_t number,
                            struct bytes exporter, uint64_t remote);

/* Takes one whole message of an open connection; ignores an unknown one. A
 * breach of the protocol, or no memory for an answer, closes the connection. */
void core_message(struct core *c, uint32_t number, uint8_t kind, uint32_t id,
                  struct bytes message, uint64_t now_ms);

/* The other side has gone, or was closed by an output. What it asked for is
 * still done; nobody is told. Its number can be used again once core_take has
 * returned false. */
void core_close(struct core *c, uint32_t number);

/* True when this connection should not be read from for now: it has
 * conn_pending_max requests under way, or the core's queues are full. */
bool core_is_full(const struct core *c, uint32_t number);

/* True when nobody should be read from for now: the core's queues are full. */
bool core_is_loaded(const struct core *c);

/* True while something is under way in an asynchronous store. */
bool core_is_waiting(const struct core *c);

/* True when a flush has left something for the next one, so that the answers of
 * one are bounded: to be called once they have been taken. */
bool core_has_more(const struct core *c);

/* Makes what was submitted durable and queues the answers. With an asynchronous
 * store, the answers come with a later flush. Also does what is due: collects
 * what nobody needs, a little at a time. */
void core_flush(struct core *c, uint64_t now_ms);

struct core_output {
    uint32_t conn;
    bool close;   /* close it after what is already on the way; no message */
    uint8_t kind; /* of the frame: answer or event */
    uint32_t id;  /* the request's; 0 for an event */
    struct bytes message;    /* borrowed until core_output_clear */
    struct core_blob *owner; /* internal: an event is shared by its readers */
};

bool core_take(struct core *c, struct core_output *out);
void core_output_clear(struct core_output *out);

/* The connection's queue outside is full: from now on only a `head` event is
 * sent for each channel, until the client has read on and attaches again. */
void core_slow(struct core *c, uint32_t number);

/* Draws and stores an invite for one registration. */
MUST_USE enum err core_invite(struct core *c, uint64_t now_ms,
                              uint8_t out_secret[CORE_INVITE_SIZE]);

/* Numbers for the operator; none of them is about a person or a channel. */
struct core_stats {
    uint64_t connections;
    uint64_t requests;
    uint64_t appends;
    uint64_t busy;
    uint64_t refused; /* by a limit */
    uint64_t pushed;
    uint64_t flushes;
    uint64_t failed_flushes;
};
struct core_stats core_stats(const struct core *c);
