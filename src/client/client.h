/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client as a state machine without I/O: it is given the bytes of
 * connections, the time and a database, and gives back bytes to send and
 * events. Everything that must still happen is a row in the database, and
 * every step is one transaction, so the client may be killed and created again
 * from its database at any moment; nothing but requests in flight is held in
 * memory only, and those are made again.
 *
 * After any call, take the outputs, the events and the lanes' wishes.
 * Times are milliseconds since 1970. A function that returns ERR_IO or
 * ERR_NOMEM has changed nothing that lasts; the owner may call again.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"

#include <stdbool.h>

struct client;
struct crypto;
struct sql;

#define CLIENT_ID_SIZE 32

struct client_settings {
    struct crypto *crypto;       /* borrowed */
    const struct random *random; /* borrowed */
    struct sql *db;        /* borrowed; open, keyed, used by nobody else */
    unsigned key_packages; /* single-use ones to keep up; 0: 100 */
};

MUST_USE enum err client_create(const struct client_settings *settings,
                                uint64_t now, struct client **out);
void client_free(struct client **c);

/* --- Connections ------------------------------------------------------- */

enum client_lane_kind {
    CLIENT_IDENTIFIED = 1, /* the own account, at its home server */
    CLIENT_ANONYMOUS = 2,  /* channels, blobs, other accounts' chains */
};

/* How the TLS layer must know that it speaks with the right server. */
enum client_trust {
    CLIENT_TRUST_SYSTEM = 0,      /* the system's certificate authorities */
    CLIENT_TRUST_FINGERPRINT = 1, /* SHA-256 of the certificate */
    CLIENT_TRUST_KEY = 2,         /* any: the server signs hello for itself */
};

/* A connection that the client uses; lanes are numbered from 0 and never
 * renumbered while the client lives. */
struct client_lane {
    const char *address; /* HOST:PORT; lent until the client is next called */
    enum client_lane_kind kind;
    enum client_trust trust;
    struct bytes fingerprint; /* with CLIENT_TRUST_FINGERPRINT */
    bool wanted;              /* connect it, or keep it connected */
    bool ready;               /* said hello (and logged in, if identified) */
    uint32_t reconnect_ms;    /* the server's wish for a random delay */
};

size_t client_lane_count(const struct client *c);
struct client_lane client_lane_at(const struct client *c, size_t lane);

/* A lane's connection is there. `exporter` is the TLS exporter's value
 * ("EXPORTER-sotto-v1", 32 bytes), or empty where TLS is not end to end. */
MUST_USE enum err client_lane_up(struct client *c, size_t lane,
                                 struct bytes exporter, uint64_t now);
void client_lane_down(struct client *c, size_t lane, uint64_t now);

/* Takes one whole message (its frames joined) of a lane. */
MUST_USE enum err client_receive(struct client *c, size_t lane, uint8_t kind,
                                 uint32_t id, struct bytes message,
                                 uint64_t now);

/* Does what is due; to be called when client_deadline has come. */
MUST_USE enum err client_tick(struct client *c, uint64_t now);
uint64_t client_deadline(const struct client *c); /* UINT64_MAX: nothing */

/* What to send. With `close`, end the connection instead: the server broke
 * the protocol or is not the one we know (an event says which). */
struct client_output {
    size_t lane;
    bool close;
    uint8_t kind; /* of enum frame_kind */
    uint32_t id;
    struct buf message; /* the taker clears it */
};

bool client_take_output(struct client *c, struct client_output *out);

/* --- Events ------------------------------------------------------------ */

/* What is worth telling a person. Those of a conversation are also rows of
 * its log, so they survive a crash; the queue only wakes the reader. */
enum client_event_kind {
    CLIENT_REGISTERED,
    CLIENT_REGISTER_FAILED, /* detail: why */
    CLIENT_SERVER_UNKNOWN,  /* the server's key is not the pinned one */
    CLIENT_SERVER_VERSION,  /* it does not speak our version */
    CLIENT_SERVER_BROKEN,   /* it broke the protocol */
    CLIENT_LOGIN_FAILED,    /* detail: why */
    CLIENT_MESSAGE,         /* received; `message` is its row */
    CLIENT_ACCEPTED,        /* an own message is in the log */
    CLIENT_SEND_FAILED,     /* will never be sent; detail: why */
    CLIENT_CONVERSATION,    /* a conversation began or changed its state */
    CLIENT_MEMBER_JOINED,   /* `account` */
    CLIENT_MEMBER_LEFT,     /* `account` */
    CLIENT_COMMAND_FAILED,  /* an add or the like cannot be done; detail */
    CLIENT_ENTRY_SKIPPED,   /* detail: the cause */
    CLIENT_LOG_MISMATCH,    /* the server shows different logs: alarm */
    CLIENT_SERVER_RESTORED, /* its log ends before what we have read */
    CLIENT_STORE_OLD,       /* our own store was restored: rejoining */
    CLIENT_REJOIN,          /* asked the others to add this device again */
    CLIENT_REJOINED,        /* and is back */
    CLIENT_ACCOUNT_FROZEN,  /* two states with one number: `account` */
    CLIENT_EVENT_KINDS
};

struct client_event {
    enum client_event_kind kind;
    int64_t conversation; /* 0: none */
    int64_t message;      /* row of the conversation's log; 0: none */
    uint8_t account[CLIENT_ID_SIZE];
    char detail[160];
};

bool client_take_event(struct client *c, struct client_event *out);
const char *client_event_name(enum client_event_kind kind);

/* --- Commands ---------------------------------------------------------- */

#define CLIENT_RECOVERY_SIZE 32
#define CLIENT_HANDLE_MAX    64
#define CLIENT_ADDRESS_MAX   255
#define CLIENT_NAME_MAX      256
#define CLIENT_TEXT_MAX      65536

struct client_registration {
    const char *address;   /* HOST:PORT of the home server */
    const char *handle;    /* without the server */
    struct bytes invite;   /* its secret part; empty: open registration */
    struct bytes key_hash; /* first 16 bytes of SHA-256(server key), or empty */
    struct bytes fingerprint; /* SHA-256 of the certificate, or empty */
};

/* Makes the account's keys and begins to register. The recovery key is
 * shown once and kept nowhere. ERR_EXISTS: there is an account already. */
MUST_USE enum err client_register(struct client *c,
                                  const struct client_registration *r,
                                  uint8_t out_recovery[CLIENT_RECOVERY_SIZE],
                                  uint64_t now);

/* Finds the conversation of two with `handle` (NAME or NAME@HOST:PORT), or
 * begins one. */
MUST_USE enum err client_direct(struct client *c, const char *handle,
                                uint64_t now, int64_t *out_conversation);
MUST_USE enum err client_group_create(struct client *c, const char *name,
                                      uint64_t now, int64_t *out_conversation);
MUST_USE enum err client_group_add(struct client *c, int64_t conversation,
                                   const char *handle, uint64_t now);
MUST_USE enum err client_group_remove(struct client *c, int64_t conversation,
                                      const char *handle, uint64_t now);
MUST_USE enum err client_group_leave(struct client *c, int64_t conversation,
                                     uint64_t now);
/* Says that the person wants a conversation that somebody else began. */
MUST_USE enum err client_accept(struct client *c, int64_t conversation);

/* Puts a text into the outbox; it is sent as soon as that is possible. */
MUST_USE enum err client_send(struct client *c, int64_t conversation,
                              struct bytes text, uint64_t now,
                              int64_t *out_message);
MUST_USE enum err client_mark_read(struct client *c, int64_t message);

/* --- Questions --------------------------------------------------------- */

enum client_conversation_state {
    CLIENT_CREATING = 0, /* its channel or its first member is not there yet */
    CLIENT_ACTIVE = 1,
    CLIENT_REJOINING = 2, /* waits to be added again */
    CLIENT_STOPPED = 3,   /* its server was restored from an old copy */
    CLIENT_LEFT = 4,      /* left or was removed; read only */
};

struct client_conversation {
    int64_t id;
    bool direct;
    bool accepted;
    enum client_conversation_state state;
    struct bytes name;    /* UTF-8; for a direct one, the peer's handle */
    struct bytes channel; /* its id */
    uint64_t cursor;      /* sequence number of the last entry applied */
    uint64_t epoch;       /* of the MLS group */
    struct bytes epoch_authenticator;
    uint64_t unread;
    uint64_t queued; /* own messages that are not in the log yet */
    uint64_t members;
};

enum client_message_kind {
    CLIENT_TEXT = 0,
    CLIENT_NOTICE = 1, /* `event` says what happened */
};

struct client_message {
    int64_t id;
    int64_t conversation;
    enum client_message_kind kind;
    enum client_event_kind event; /* of a notice */
    uint64_t seq;                 /* 0: not in the log yet */
    uint64_t time;
    bool own;
    bool read;
    bool failed;          /* will never be sent */
    struct bytes account; /* sender, or whom the notice is about */
    struct bytes sender;  /* the handle, where known */
    struct bytes content_id;
    struct bytes text;
};

/* Visitors borrow what they are shown until they return; one that returns an
 * error ends the walk with it. */
struct client_visitor {
    enum err (*conversation)(void *ctx, const struct client_conversation *);
    enum err (*message)(void *ctx, const struct client_message *);
    enum err (*member)(void *ctx, struct bytes account, struct bytes handle);
    void *ctx;
};

MUST_USE enum err client_conversations(struct client *c,
                                       const struct client_visitor *v);
MUST_USE enum err client_conversation_get(struct client *c, int64_t id,
                                          const struct client_visitor *v);
MUST_USE enum err client_members(struct client *c, int64_t conversation,
                                 const struct client_visitor *v);
/* The log of one conversation in its order, own unsent messages last. */
MUST_USE enum err client_log(struct client *c, int64_t conversation,
                             const struct client_visitor *v);
/* What nobody has marked as read, of all conversations. */
MUST_USE enum err client_unread(struct client *c,
                                const struct client_visitor *v);
MUST_USE enum err client_message_get(struct client *c, int64_t message,
                                     const struct client_visitor *v);
/* Finds a group by its name, or a conversation of two by the handle, without
 * beginning one; ERR_NOTFOUND, or ERR_EXISTS when several groups fit. */
MUST_USE enum err client_find(struct client *c, const char *who,
                              int64_t *out_conversation);

enum client_account_state {
    CLIENT_NEW = 0, /* no account yet */
    CLIENT_REGISTERING = 1,
    CLIENT_READY = 2,
    CLIENT_REFUSED = 3, /* the server refused the registration */
};

struct client_status {
    enum client_account_state state;
    uint8_t account[CLIENT_ID_SIZE];
    uint8_t device[CLIENT_ID_SIZE];
    char handle[CLIENT_HANDLE_MAX + 1];
    char address[CLIENT_ADDRESS_MAX + 1];
    bool online;     /* the identified lane is ready */
    bool synced;     /* all that the servers hold for us has been read */
    uint64_t queued; /* own messages that no server has accepted yet */
    uint64_t busy;   /* other work that waits for a server */
};

MUST_USE enum err client_status_get(struct client *c,
                                    struct client_status *out);

/* What the simulation counts; kept in memory only. */
struct client_counters {
    uint64_t behind, retried, lost_races, rejoins, skipped, duplicates;
};
struct client_counters client_counters(const struct client *c);
