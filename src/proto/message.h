/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between client and server (docs/protocol.md, section 3): each
 * method's number, name, where it is allowed, and its request, answer or event.
 *
 *     request, event:  uint16 method; the fields of its struct, in order
 *     answer:          uint16 method; uint8 status; when the status is ok the
 *                      fields of its struct, otherwise uint64 detail
 *
 * One table describes the fields, and one reader and one writer serve them all.
 * What was read borrows from the message. A field whose comment gives a size is
 * exactly that long: the reader rejects, and the writer refuses, any other.
 */
#pragma once

#include "proto/frame.h"

#define PROTOCOL_VERSION 1U
#define SERVER_PORT      7470U
#define TLS_ALPN         "sotto/1"
#define TLS_EXPORTER     "EXPORTER-sotto-v1" /* empty context, 32 bytes */

#define ID_SIZE         32U /* of accounts, devices, channels, … */
#define CAP_SIZE        32U /* a capability, and its hash */
#define NONCE_SIZE      32U
#define EXPORTER_SIZE   32U
#define KEY_SIZE        32U /* an Ed25519 public key */
#define SIGNATURE_SIZE  64U
#define IDEMPOTENCY_KEY 16U

#define NAME_MAX_LEN    32U /* the part of a handle before the @ */
#define INVITE_SIZE     16U /* an invite's secret; empty: none */
#define STATE_SIZE_MAX  (64U << 10)
#define KEY_PACKAGE_MAX (16U << 10)
#define KEY_PACKAGES    100U /* single-use ones of a device, at most */
#define INBOX_ITEM_SIZE 2048U
#define INBOX_READ_MAX  64U /* items in an answer */
#define ENTRY_MAX       (16U << 20)
#define EPHEMERAL_MAX   (16U << 10)
#define READ_BYTES_MAX  (1U << 20) /* of bodies; one entry always fits */
#define CHAIN_BYTES_MAX                                   \
    (1U << 20) /* of states in an answer; one always fits \
                */
#define BLOB_PIECE_MAX (1U << 20)
#define BLOB_DAYS_MAX  37U
#define RETENTION_DAYS 30U /* of entries and inbox items, at most */
#define PACKAGE_DAYS   20U /* that a single-use KeyPackage is given out */
#define PACKAGE_LIFE   30U /* days that a KeyPackage is valid */

enum lane {
    LANE_IDENTIFIED = 1, /* for an account's own affairs, after a login */
    LANE_ANONYMOUS,      /* for everything else: no account is named as one's */
};

/* What must have happened on the connection before. */
enum stage {
    STAGE_OPEN,  /* nothing */
    STAGE_HELLO, /* hello was answered with ok */
    STAGE_LOGIN, /* and login or register */
};

enum status {
    STATUS_OK,
    STATUS_BEHIND,      /* detail: the newest handshake's sequence number */
    STATUS_BUSY,        /* detail: retry after so many milliseconds */
    STATUS_MALFORMED,   /* does not parse, or not allowed here */
    STATUS_INVALID,     /* breaks a rule */
    STATUS_AUTH,        /* signature, capability or proof of work is wrong */
    STATUS_NOTFOUND,    /* no such object, as far as this caller may know */
    STATUS_EXISTS,      /* taken already, with other content */
    STATUS_LIMIT,       /* more than the server gives; waiting does not help */
    STATUS_UNSUPPORTED, /* detail: the version that the server speaks */
    STATUS_STATE,       /* not in this state; blob_put: detail is `stored` */
    STATUS_BARRED,      /* by the server's operator; detail: enum barred */
    STATUS_COUNT_,
};

enum barred {
    BARRED_DISABLED, /* for a while, perhaps */
    BARRED_DELETED,
};

enum method {
    METHOD_HELLO = 1,
    METHOD_PING,

    METHOD_REGISTER = 16,
    METHOD_LOGIN,
    METHOD_STATE_APPEND,
    METHOD_CONTACT_SET,
    METHOD_KP_PUBLISH,
    METHOD_KP_COUNT,
    METHOD_INBOX_READ,
    METHOD_INBOX_ACK,

    METHOD_LOOKUP = 32,
    METHOD_CHAIN,
    METHOD_KP_TAKE,
    METHOD_INBOX_APPEND,
    METHOD_CHANNEL_CREATE,
    METHOD_ATTACH,
    METHOD_READ,
    METHOD_APPEND,
    METHOD_ACK,
    METHOD_REOPEN,
    METHOD_BLOB_PUT,
    METHOD_BLOB_GET,

    EVENT_INBOX_ITEM = 64,
    EVENT_ENTRY,
    EVENT_HEAD,
};

struct method_info {
    uint16_t number;
    uint8_t lanes; /* bit 1 << lane */
    enum stage stage;
    enum frame_kind kind; /* a request or an event */
    const char *name;
    const struct field *request; /* of an event: its fields */
    const struct field *answer;
};

/* Returns NULL when there is no such method. */
const struct method_info *method_find(uint16_t number);

/* Says whether a client may send the method as a request, there and then. */
bool method_allowed(const struct method_info *m, enum lane lane,
                    enum stage stage);

const char *status_text(enum status status);

/* The right to use a channel: what each request on one begins with. */
struct access {
    struct bytes channel; /* [32] */
    struct bytes sub;     /* [32] subscription id */
    struct bytes cap;     /* [32] */
};

/* Proof of work (proto/pow.h); zeros where a capability is given. */
struct pow {
    uint32_t day;
    uint64_t nonce;
};

/* --- both lanes --- */

struct hello_request {
    uint16_t version;
    uint8_t lane;
    struct bytes client_nonce; /* [32] */
};
struct hello_answer {
    uint16_t version;
    struct bytes server_key;   /* [32] */
    struct bytes server_nonce; /* [32] */
    uint64_t time;             /* seconds since 1970, by the server's clock */
    uint8_t pow_bits;
    uint32_t reconnect_delay_ms; /* wait a random part of it before the next */
    struct bytes signature;      /* <64> proto/hello.h */
};

/* --- identified lane --- */

struct register_request {
    struct bytes name;         /* <1..NAME_MAX_LEN> */
    struct bytes invite;       /* <0> or <INVITE_SIZE> */
    struct bytes state;        /* <1..STATE_SIZE_MAX> the first of the chain */
    struct bytes device_id;    /* [32] */
    struct bytes contact_hash; /* [32] cap_hash of the contact capability */
    struct bytes signature;    /* <64> proto/hello.h */
};
struct login_request {
    struct bytes account_id; /* [32] */
    struct bytes device_id;  /* [32] */
    struct bytes signature;  /* <64> proto/hello.h */
};
struct login_answer {
    uint64_t state_version; /* the newest that the server holds */
};
struct state_append_request {
    struct bytes state; /* <1..STATE_SIZE_MAX> */
};
struct contact_set_request {
    struct bytes contact_hash; /* [32] */
};
struct kp_publish_request {
    struct bytes packages;    /* list of opaque<1..KEY_PACKAGE_MAX> */
    struct bytes last_resort; /* <0..KEY_PACKAGE_MAX>; empty: keep the old */
};
struct kp_count_answer { /* also of kp_publish */
    uint32_t single_use;
};
struct inbox_read_request {
    uint64_t after;
    uint32_t max; /* items */
};
struct inbox_read_answer {
    struct bytes items; /* list of struct inbox_item */
};
struct inbox_ack_request {
    uint64_t upto;
};

/* --- anonymous lane --- */

struct lookup_request {
    struct bytes name; /* <1..NAME_MAX_LEN> */
};
struct lookup_answer {
    struct bytes account_id; /* [32] */
};
struct chain_request {
    struct bytes account_id; /* [32] */
    uint64_t from;           /* version of the first state that is wanted */
};
struct chain_answer {
    uint64_t newest;     /* version; ask on when it is not in `states` */
    struct bytes states; /* list of opaque<1..STATE_SIZE_MAX> */
};
struct kp_take_request {
    struct bytes account_id;  /* [32] */
    struct bytes device_id;   /* <0>: of every device; or <32> */
    struct bytes contact_cap; /* <0>: proof of work; or <32> */
    struct bytes pow_subject; /* [32] random, used once; or zeros */
    struct pow pow;
};
struct kp_take_answer {
    struct bytes packages; /* list of struct device_package */
};
struct inbox_append_request {
    struct bytes account_id;  /* [32] */
    struct bytes device_id;   /* [32] names the inbox */
    struct bytes contact_cap; /* <0>: proof of work; or <32> */
    struct pow pow;
    struct bytes item; /* [INBOX_ITEM_SIZE] */
};
struct channel_create_request {
    struct bytes channel;  /* [32] */
    struct bytes sub;      /* [32] */
    struct bytes cap_hash; /* [32] */
    struct pow pow;
};
struct attach_request {
    struct access access;
};
struct attach_answer {
    uint64_t head;      /* the newest entry; 0: none yet */
    uint64_t handshake; /* the newest commit or proposal; 0: none yet */
    uint64_t cursor;    /* what this subscription has acknowledged */
    uint64_t oldest;    /* the oldest entry still held; head + 1: none */
};
struct read_request {
    struct access access;
    uint64_t after;
    uint32_t max_bytes; /* of bodies; at least one entry is given */
};
struct read_answer {
    uint64_t head;
    uint64_t oldest;
    struct bytes entries; /* list of struct entry */
};
struct append_request {
    struct access access;
    uint64_t after; /* newest handshake applied; ephemeral: not looked at */
    uint8_t kind;   /* enum entry_kind */
    struct bytes idempotency_key; /* [16] */
    struct bytes body;            /* <1..ENTRY_MAX> */
};
struct append_answer {
    uint64_t seq; /* 0 for an ephemeral entry */
};
struct ack_request {
    struct access access;
    uint64_t upto;
};
struct reopen_request {
    struct access access;
    struct bytes target; /* [32] the subscription that was wrongly ended */
};
struct blob_put_request {
    struct access access;
    struct bytes blob; /* [32] random id */
    uint64_t offset;   /* must be what is stored already */
    uint64_t total;
    uint16_t days;     /* how long to keep it, up to BLOB_DAYS_MAX */
    struct bytes data; /* <0..BLOB_PIECE_MAX>; empty: asks for `stored` */
};
struct blob_put_answer {
    uint64_t stored; /* equal to total: it can be fetched now */
};
struct blob_get_request {
    struct bytes blob; /* [32] */
    uint64_t offset;
    uint32_t max;
};
struct blob_get_answer {
    uint64_t total;
    struct bytes data; /* <0..BLOB_PIECE_MAX> */
};

/* --- events --- */

struct inbox_event { /* "there is something to read" */
    uint64_t seq;
};
struct entry_event {
    struct bytes channel; /* [32] */
    uint64_t seq;         /* 0 for an ephemeral entry */
    uint64_t time;
    uint8_t kind;
    struct bytes body; /* <1..ENTRY_MAX> */
};
struct head_event { /* pushes have stopped for now: read on from the cursor */
    struct bytes channel; /* [32] */
    uint64_t head;
};

/* --- elements of lists --- */

struct inbox_item {
    uint64_t seq;
    struct bytes item; /* [INBOX_ITEM_SIZE] */
};
struct device_package {
    struct bytes device_id; /* [32] */
    struct bytes package;   /* <1..KEY_PACKAGE_MAX> */
};
struct entry {
    uint64_t seq;
    uint64_t time;     /* seconds since 1970, when the server took it */
    uint8_t kind;      /* enum entry_kind */
    struct bytes body; /* <1..ENTRY_MAX> */
};

/* An event is a request that the server sends. */
struct request {
    uint16_t method;
    union {
        struct hello_request hello;
        struct register_request reg;
        struct login_request login;
        struct state_append_request state_append;
        struct contact_set_request contact_set;
        struct kp_publish_request kp_publish;
        struct inbox_read_request inbox_read;
        struct inbox_ack_request inbox_ack;
        struct lookup_request lookup;
        struct chain_request chain;
        struct kp_take_request kp_take;
        struct inbox_append_request inbox_append;
        struct channel_create_request channel_create;
        struct attach_request attach;
        struct read_request read;
        struct append_request append;
        struct ack_request ack;
        struct reopen_request reopen;
        struct blob_put_request blob_put;
        struct blob_get_request blob_get;
        struct inbox_event inbox_event;
        struct entry_event entry_event;
        struct head_event head_event;
    };
};

struct answer {
    uint16_t method;
    uint8_t status;  /* enum status */
    uint64_t detail; /* unless ok */
    union {
        struct hello_answer hello;
        struct login_answer login;
        struct kp_count_answer kp_count;
        struct inbox_read_answer inbox_read;
        struct lookup_answer lookup;
        struct chain_answer chain;
        struct kp_take_answer kp_take;
        struct attach_answer attach;
        struct read_answer read;
        struct append_answer append;
        struct blob_put_answer blob_put;
        struct blob_get_answer blob_get;
    };
};

/* ERR_NOTFOUND: no such method. Lists were checked: reading them again with
 * the readers below cannot fail. `out` is zeroed on failure. */
MUST_USE enum err request_read(struct bytes message, struct request *out);
MUST_USE enum err answer_read(struct bytes message, struct answer *out);

/* Append the message to `out`. ERR_INVALID: a field has a wrong length. */
MUST_USE enum err request_write(struct buf *out, const struct request *q);
MUST_USE enum err answer_write(struct buf *out, const struct answer *a);

/*
 * A list is a vector's content. To read one:
 *
 *     struct reader r = reader_of(answer.read.entries);
 *     while (reader_more(&r))
 *         entry_read(&r, &entry);
 *
 * To make one, write elements into a buf. Plain opaque<V> elements are
 * reader_vec and writer_vec.
 */
void inbox_item_read(struct reader *r, struct inbox_item *item);
void inbox_item_write(struct writer *w, const struct inbox_item *item);
void device_package_read(struct reader *r, struct device_package *p);
void device_package_write(struct writer *w, const struct device_package *p);
void entry_read(struct reader *r, struct entry *e);
void entry_write(struct writer *w, const struct entry *e);
