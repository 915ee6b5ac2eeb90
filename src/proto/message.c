/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include "proto/entry.h"

#include <stddef.h>
#include <string.h>

enum field_kind {
    FIELD_END,
    FIELD_UINT,     /* of max bytes: 1, 2, 4 or 8 */
    FIELD_VERSION,  /* uint16; nothing is read after one that is not ours */
    FIELD_ENUM,     /* uint8 from min to max */
    FIELD_RAW,      /* opaque x[max] */
    FIELD_VEC,      /* opaque x<min..max> */
    FIELD_OPTIONAL, /* opaque x<V> of 0 or max bytes */
    FIELD_VECS,     /* list of opaque x<min..max> */
    FIELD_LIST,     /* list of structs */
};

/* How one member of a struct is encoded. */
struct field {
    enum field_kind kind;
    size_t offset; /* of the member */
    size_t min;
    size_t max;
    const struct field *element; /* of a FIELD_LIST */
};

/* --- the tables --- */

#define AT(kind, type, member, min, max) \
    {kind, offsetof(struct type, member), min, max, NULL}
#define UINT(type, member, size)     AT(FIELD_UINT, type, member, 0, size)
#define RAW(type, member, size)      AT(FIELD_RAW, type, member, size, size)
#define VEC(type, member, min, max)  AT(FIELD_VEC, type, member, min, max)
#define OPT(type, member, size)      AT(FIELD_OPTIONAL, type, member, size, size)
#define VECS(type, member, min, max) AT(FIELD_VECS, type, member, min, max)
#define LIST(type, member, table) \
    {FIELD_LIST, offsetof(struct type, member), 0, 0, table}
#define SIGNATURE(type, member) \
    VEC(type, member, SIGNATURE_SIZE, SIGNATURE_SIZE)
#define END {FIELD_END, 0, 0, 0, NULL}

static const struct field nothing[] = {END};

static const struct field inbox_item_fields[] = {
    UINT(inbox_item, seq, 8),
    RAW(inbox_item, item, INBOX_ITEM_SIZE),
    END,
};
static const struct field device_package_fields[] = {
    RAW(device_package, device_id, ID_SIZE),
    VEC(device_package, package, 1, KEY_PACKAGE_MAX),
    END,
};
static const struct field entry_fields[] = {
    UINT(entry, seq, 8),
    UINT(entry, time, 8),
    AT(FIELD_ENUM, entry, kind, ENTRY_APPLICATION, ENTRY_EPHEMERAL),
    VEC(entry, body, 1, ENTRY_MAX),
    END,
};

/* Requests. */
#define Q_UINT(member, size)    UINT(request, member, size)
#define Q_RAW(member, size)     RAW(request, member, size)
#define Q_VEC(member, min, max) VEC(request, member, min, max)
#define Q_OPT(member, size)     OPT(request, member, size)
/* NOLINTBEGIN(bugprone-macro-parentheses): a member cannot have any */
#define Q_POW(member) Q_UINT(member.day, 4), Q_UINT(member.nonce, 8)
#define Q_ACCESS(member)                                        \
    Q_RAW(member.channel, ID_SIZE), Q_RAW(member.sub, ID_SIZE), \
        Q_RAW(member.cap, CAP_SIZE)
/* NOLINTEND(bugprone-macro-parentheses) */

static const struct field hello_request[] = {
    AT(FIELD_VERSION, request, hello.version, 0, 2),
    AT(FIELD_ENUM, request, hello.lane, LANE_IDENTIFIED, LANE_ANONYMOUS),
    Q_RAW(hello.client_nonce, NONCE_SIZE),
    END,
};
static const struct field register_request[] = {
    Q_VEC(reg.name, 1, NAME_MAX_LEN),
    Q_OPT(reg.invite, INVITE_SIZE),
    Q_VEC(reg.state, 1, STATE_SIZE_MAX),
    Q_RAW(reg.device_id, ID_SIZE),
    Q_RAW(reg.contact_hash, CAP_SIZE),
    SIGNATURE(request, reg.signature),
    END,
};
static const struct field login_request[] = {
    Q_RAW(login.account_id, ID_SIZE),
    Q_RAW(login.device_id, ID_SIZE),
    SIGNATURE(request, login.signature),
    END,
};
static const struct field state_append_request[] = {
    Q_VEC(state_append.state, 1, STATE_SIZE_MAX),
    END,
};
static const struct field contact_set_request[] = {
    Q_RAW(contact_set.contact_hash, CAP_SIZE),
    END,
};
static const struct field kp_publish_request[] = {
    VECS(request, kp_publish.packages, 1, KEY_PACKAGE_MAX),
    Q_VEC(kp_publish.last_resort, 0, KEY_PACKAGE_MAX),
    END,
};
static const struct field inbox_read_request[] = {
    Q_UINT(inbox_read.after, 8),
    Q_UINT(inbox_read.max, 4),
    END,
};
static const struct field inbox_ack_request[] = {
    Q_UINT(inbox_ack.upto, 8),
    END,
};
static const struct field lookup_request[] = {
    Q_VEC(lookup.name, 1, NAME_MAX_LEN),
    END,
};
static const struct field chain_request[] = {
    Q_RAW(chain.account_id, ID_SIZE),
    Q_UINT(chain.from, 8),
    END,
};
static const struct field kp_take_request[] = {
    Q_RAW(kp_take.account_id, ID_SIZE),
    Q_OPT(kp_take.device_id, ID_SIZE),
    Q_OPT(kp_take.contact_cap, CAP_SIZE),
    Q_RAW(kp_take.pow_subject, ID_SIZE),
    Q_POW(kp_take.pow),
    END,
};
static const struct field inbox_append_request[] = {
    Q_RAW(inbox_append.account_id, ID_SIZE),
    Q_RAW(inbox_append.device_id, ID_SIZE),
    Q_OPT(inbox_append.contact_cap, CAP_SIZE),
    Q_POW(inbox_append.pow),
    Q_RAW(inbox_append.item, INBOX_ITEM_SIZE),
    END,
};
static const struct field channel_create_request[] = {
    Q_RAW(channel_create.channel, ID_SIZE),
    Q_RAW(channel_create.sub, ID_SIZE),
    Q_RAW(channel_create.cap_hash, CAP_SIZE),
    Q_POW(channel_create.pow),
    END,
};
static const struct field attach_request[] = {
    Q_ACCESS(attach.access),
    END,
};
static const struct field read_request[] = {
    Q_ACCESS(read.access),
    Q_UINT(read.after, 8),
    Q_UINT(read.max_bytes, 4),
    END,
};
static const struct field append_request[] = {
    Q_ACCESS(append.access),
    Q_UINT(append.after, 8),
    AT(FIELD_ENUM, request, append.kind, ENTRY_APPLICATION, ENTRY_EPHEMERAL),
    Q_RAW(append.idempotency_key, IDEMPOTENCY_KEY),
    Q_VEC(append.body, 1, ENTRY_MAX),
    END,
};
static const struct field ack_request[] = {
    Q_ACCESS(ack.access),
    Q_UINT(ack.upto, 8),
    END,
};
static const struct field reopen_request[] = {
    Q_ACCESS(reopen.access),
    Q_RAW(reopen.target, ID_SIZE),
    END,
};
static const struct field blob_put_request[] = {
    Q_ACCESS(blob_put.access),
    Q_RAW(blob_put.blob, ID_SIZE),
    Q_UINT(blob_put.offset, 8),
    Q_UINT(blob_put.total, 8),
    Q_UINT(blob_put.days, 2),
    Q_VEC(blob_put.data, 0, BLOB_PIECE_MAX),
    END,
};
static const struct field blob_get_request[] = {
    Q_RAW(blob_get.blob, ID_SIZE),
    Q_UINT(blob_get.offset, 8),
    Q_UINT(blob_get.max, 4),
    END,
};
static const struct field inbox_event[] = {
    Q_UINT(inbox_event.seq, 8),
    END,
};
static const struct field entry_event[] = {
    Q_RAW(entry_event.channel, ID_SIZE),
    Q_UINT(entry_event.seq, 8),
    Q_UINT(entry_event.time, 8),
    AT(FIELD_ENUM, request, entry_event.kind, ENTRY_APPLICATION,
       ENTRY_EPHEMERAL),
    Q_VEC(entry_event.body, 1, ENTRY_MAX),
    END,
};
static const struct field head_event[] = {
    Q_RAW(head_event.channel, ID_SIZE),
    Q_UINT(head_event.head, 8),
    END,
};

/* Answers. */
#define A_UINT(member, size)    UINT(answer, member, size)
#define A_RAW(member, size)     RAW(answer, member, size)
#define A_VEC(member, min, max) VEC(answer, member, min, max)

static const struct field hello_answer[] = {
    A_UINT(hello.version, 2),
    A_RAW(hello.server_key, KEY_SIZE),
    A_RAW(hello.server_nonce, NONCE_SIZE),
    A_UINT(hello.time, 8),
    A_UINT(hello.pow_bits, 1),
    A_UINT(hello.reconnect_delay_ms, 4),
    SIGNATURE(answer, hello.signature),
    END,
};
static const struct field login_answer[] = {
    A_UINT(login.state_version, 8),
    END,
};
static const struct field kp_count_answer[] = {
    A_UINT(kp_count.single_use, 4),
    END,
};
static const struct field inbox_read_answer[] = {
    LIST(answer, inbox_read.items, inbox_item_fields),
    END,
};
static const struct field lookup_answer[] = {
    A_RAW(lookup.account_id, ID_SIZE),
    END,
};
static const struct field chain_answer[] = {
    A_UINT(chain.newest, 8),
    VECS(answer, chain.states, 1, STATE_SIZE_MAX),
    END,
};
static const struct field kp_take_answer[] = {
    LIST(answer, kp_take.packages, device_package_fields),
    END,
};
static const struct field attach_answer[] = {
    A_UINT(attach.head, 8),
    A_UINT(attach.handshake, 8),
    A_UINT(attach.cursor, 8),
    A_UINT(attach.oldest, 8),
    END,
};
static const struct field read_answer[] = {
    A_UINT(read.head, 8),
    A_UINT(read.oldest, 8),
    LIST(answer, read.entries, entry_fields),
    END,
};
static const struct field append_answer[] = {
    A_UINT(append.seq, 8),
    END,
};
static const struct field blob_put_answer[] = {
    A_UINT(blob_put.stored, 8),
    END,
};
static const struct field blob_get_answer[] = {
    A_UINT(blob_get.total, 8),
    A_VEC(blob_get.data, 0, BLOB_PIECE_MAX),
    END,
};

#define OWN  (1U << LANE_IDENTIFIED)
#define ANON (1U << LANE_ANONYMOUS)
#define BOTH (OWN | ANON)

static const struct method_info methods[] = {
    {METHOD_HELLO, BOTH, STAGE_OPEN, FRAME_REQUEST, "hello", hello_request,
     hello_answer},
    {METHOD_PING, BOTH, STAGE_HELLO, FRAME_REQUEST, "ping", nothing, nothing},

    {METHOD_REGISTER, OWN, STAGE_HELLO, FRAME_REQUEST, "register",
     register_request, nothing},
    {METHOD_LOGIN, OWN, STAGE_HELLO, FRAME_REQUEST, "login", login_request,
     login_answer},
    {METHOD_STATE_APPEND, OWN, STAGE_LOGIN, FRAME_REQUEST, "state_append",
     state_append_request, nothing},
    {METHOD_CONTACT_SET, OWN, STAGE_LOGIN, FRAME_REQUEST, "contact_set",
     contact_set_request, nothing},
    {METHOD_KP_PUBLISH, OWN, STAGE_LOGIN, FRAME_REQUEST, "kp_publish",
     kp_publish_request, kp_count_answer},
    {METHOD_KP_COUNT, OWN, STAGE_LOGIN, FRAME_REQUEST, "kp_count", nothing,
     kp_count_answer},
    {METHOD_INBOX_READ, OWN, STAGE_LOGIN, FRAME_REQUEST, "inbox_read",
     inbox_read_request, inbox_read_answer},
    {METHOD_INBOX_ACK, OWN, STAGE_LOGIN, FRAME_REQUEST, "inbox_ack",
     inbox_ack_request, nothing},

    {METHOD_LOOKUP, ANON, STAGE_HELLO, FRAME_REQUEST, "lookup", lookup_request,
     lookup_answer},
    {METHOD_CHAIN, ANON, STAGE_HELLO, FRAME_REQUEST, "chain", chain_request,
     chain_answer},
    {METHOD_KP_TAKE, ANON, STAGE_HELLO, FRAME_REQUEST, "kp_take",
     kp_take_request, kp_take_answer},
    {METHOD_INBOX_APPEND, ANON, STAGE_HELLO, FRAME_REQUEST, "inbox_append",
     inbox_append_request, nothing},
    {METHOD_CHANNEL_CREATE, ANON, STAGE_HELLO, FRAME_REQUEST, "channel_create",
     channel_create_request, nothing},
    {METHOD_ATTACH, ANON, STAGE_HELLO, FRAME_REQUEST, "attach", attach_request,
     attach_answer},
    {METHOD_READ, ANON, STAGE_HELLO, FRAME_REQUEST, "read", read_request,
     read_answer},
    {METHOD_APPEND, ANON, STAGE_HELLO, FRAME_REQUEST, "append", append_request,
     append_answer},
    {METHOD_ACK, ANON, STAGE_HELLO, FRAME_REQUEST, "ack", ack_request, nothing},
    {METHOD_REOPEN, ANON, STAGE_HELLO, FRAME_REQUEST, "reopen", reopen_request,
     nothing},
    {METHOD_BLOB_PUT, ANON, STAGE_HELLO, FRAME_REQUEST, "blob_put",
     blob_put_request, blob_put_answer},
    {METHOD_BLOB_GET, ANON, STAGE_HELLO, FRAME_REQUEST, "blob_get",
     blob_get_request, blob_get_answer},

    {EVENT_INBOX_ITEM, OWN, STAGE_LOGIN, FRAME_EVENT, "inbox_item", inbox_event,
     nothing},
    {EVENT_ENTRY, ANON, STAGE_HELLO, FRAME_EVENT, "entry", entry_event,
     nothing},
    {EVENT_HEAD, ANON, STAGE_HELLO, FRAME_EVENT, "head", head_event, nothing},
};

const struct method_info *method_find(uint16_t number)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (methods[i].number == number)
            return &methods[i];
    }
    return NULL;
}

bool method_allowed(const struct method_info *m, enum lane lane,
                    enum stage stage)
{
    if (m->kind != FRAME_REQUEST)
        return false;
    if (m->number == METHOD_HELLO) /* once, and it decides the lane */
        return stage == STAGE_OPEN;
    return (m->lanes & 1U << lane) != 0 && stage >= m->stage;
}

const char *status_text(enum status status)
{
    static const char *const texts[] = {
        "ok",
        "behind",
        "busy",
        "malformed",
        "invalid",
        "auth",
        "not found",
        "exists",
        "too large",
        "version not supported",
        "not in this state",
        "the operator of the server has disabled the account",
    };
    _Static_assert(sizeof(texts) / sizeof(texts[0]) == STATUS_COUNT_,
                   "a text for each status");
    return status < STATUS_COUNT_ ? texts[status] : "unknown";
}

/* --- the codec --- */

static void uint_read(struct reader *r, size_t size, void *at)
{
    switch (size) {
    case 8:
        *(uint64_t *)at = reader_u64(r);
        break;
    case 4:
        *(uint32_t *)at = reader_u32(r);
        break;
    case 2:
        *(uint16_t *)at = reader_u16(r);
        break;
    default:
        *(uint8_t *)at = reader_u8(r);
        break;
    }
}

static void uint_write(struct writer *w, size_t size, const void *at)
{
    switch (size) {
    case 8:
        writer_u64(w, *(const uint64_t *)at);
        break;
    case 4:
        writer_u32(w, *(const uint32_t *)at);
        break;
    case 2:
        writer_u16(w, *(const uint16_t *)at);
        break;
    default:
        writer_u8(w, *(const uint8_t *)at);
        break;
    }
}

static bool length_ok(const struct field *f, size_t len)
{
    return (len >= f->min && len <= f->max) ||
           (len == 0 && f->kind == FIELD_OPTIONAL);
}

static struct bytes vec_read(struct reader *r, const struct field *f)
{
    struct bytes b = reader_vec(r);
    if (!length_ok(f, b.len))
        reader_fail(r, ERR_MALFORMED);
    return b;
}

static void scalar_read(struct reader *r, const struct field *f, void *at)
{
    switch (f->kind) {
    case FIELD_VERSION:
    case FIELD_UINT:
        uint_read(r, f->max, at);
        break;
    case FIELD_ENUM:
        uint_read(r, 1, at);
        if (*(uint8_t *)at < f->min || *(uint8_t *)at > f->max)
            reader_fail(r, ERR_MALFORMED);
        break;
    case FIELD_RAW:
        *(struct bytes *)at = reader_raw(r, f->max);
        break;
    case FIELD_VEC:
    case FIELD_OPTIONAL:
        *(struct bytes *)at = vec_read(r, f);
        break;
    case FIELD_VECS:
    case FIELD_LIST:
    case FIELD_END:
        break; /* not scalars */
    }
}

/* Reads an element of a list, which has scalars only. */
static void element_read(struct reader *r, const struct field *table, void *to)
{
    for (const struct field *f = table; f->kind != FIELD_END; f++)
        scalar_read(r, f, (uint8_t *)to + f->offset);
}

/* Checks each element, so that later readers of the list cannot fail. */
static struct bytes list_read(struct reader *r, const struct field *f)
{
    union {
        struct inbox_item item;
        struct device_package package;
        struct entry entry;
    } scratch;
    struct bytes list = reader_vec(r);
    struct reader in = reader_of(list);
    while (reader_more(&in)) {
        if (f->kind == FIELD_LIST)
            element_read(&in, f->element, &scratch);
        else
            (void)vec_read(&in, f);
    }
    enum err err = reader_finish(&in);
    if (err != OK)
        reader_fail(r, err);
    return list;
}

static void fields_read(struct reader *r, const struct field *table, void *to)
{
    for (const struct field *f = table; f->kind != FIELD_END; f++) {
        void *at = (uint8_t *)to + f->offset;
        if (f->kind == FIELD_LIST || f->kind == FIELD_VECS)
            *(struct bytes *)at = list_read(r, f);
        else
            scalar_read(r, f, at);
        if (f->kind == FIELD_VERSION && r->err == OK &&
            *(uint16_t *)at != PROTOCOL_VERSION) {
            r->rest = (struct bytes){0}; /* in a format that we do not know */
            return;
        }
    }
}

static void writer_fail(struct writer *w, enum err err)
{
    if (w->err == OK)
        w->err = err;
}

static void field_write(struct writer *w, const struct field *f, const void *at)
{
    const struct bytes *b = at;

    switch (f->kind) {
    case FIELD_VERSION:
    case FIELD_UINT:
        uint_write(w, f->max, at);
        break;
    case FIELD_ENUM:
        if (*(const uint8_t *)at < f->min || *(const uint8_t *)at > f->max)
            writer_fail(w, ERR_INVALID);
        uint_write(w, 1, at);
        break;
    case FIELD_RAW:
        if (!length_ok(f, b->len))
            writer_fail(w, ERR_INVALID);
        writer_raw(w, *b);
        break;
    case FIELD_VEC:
    case FIELD_OPTIONAL:
        if (!length_ok(f, b->len))
            writer_fail(w, ERR_INVALID);
        writer_vec(w, *b);
        break;
    case FIELD_VECS:
    case FIELD_LIST:
        writer_vec(w, *b);
        break;
    case FIELD_END:
        break;
    }
}

static void fields_write(struct writer *w, const struct field *table,
                         const void *from)
{
    for (const struct field *f = table; f->kind != FIELD_END; f++)
        field_write(w, f, (const uint8_t *)from + f->offset);
}

enum err request_read(struct bytes message, struct request *out)
{
    struct reader r = reader_of(message);
    *out = (struct request){.method = reader_u16(&r)};
    const struct method_info *m = method_find(out->method);
    if (r.err == OK && m == NULL)
        return ERR_NOTFOUND;
    if (m != NULL)
        fields_read(&r, m->request, out);
    return reader_finish(&r);
}

enum err answer_read(struct bytes message, struct answer *out)
{
    struct reader r = reader_of(message);
    *out = (struct answer){.method = reader_u16(&r), .status = reader_u8(&r)};
    const struct method_info *m = method_find(out->method);
    if (r.err == OK && m == NULL)
        return ERR_NOTFOUND;
    if (out->status >= STATUS_COUNT_)
        reader_fail(&r, ERR_MALFORMED);
    if (out->status != STATUS_OK)
        out->detail = reader_u64(&r);
    else if (m != NULL)
        fields_read(&r, m->answer, out);
    return reader_finish(&r);
}

enum err request_write(struct buf *out, const struct request *q)
{
    const struct method_info *m = method_find(q->method);
    size_t before = out->len;
    struct writer w = writer_to(out);

    if (m == NULL)
        return ERR_NOTFOUND;
    writer_u16(&w, q->method);
    fields_write(&w, m->request, q);
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

enum err answer_write(struct buf *out, const struct answer *a)
{
    const struct method_info *m = method_find(a->method);
    size_t before = out->len;
    struct writer w = writer_to(out);

    if (m == NULL && a->status == STATUS_OK)
        return ERR_NOTFOUND;
    writer_u16(&w, a->method);
    writer_u8(&w, a->status);
    if (a->status != STATUS_OK)
        writer_u64(&w, a->detail);
    else
        fields_write(&w, m->answer, a);
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

void inbox_item_read(struct reader *r, struct inbox_item *item)
{
    element_read(r, inbox_item_fields, item);
}
void inbox_item_write(struct writer *w, const struct inbox_item *item)
{
    fields_write(w, inbox_item_fields, item);
}
void device_package_read(struct reader *r, struct device_package *p)
{
    element_read(r, device_package_fields, p);
}
void device_package_write(struct writer *w, const struct device_package *p)
{
    fields_write(w, device_package_fields, p);
}
void entry_read(struct reader *r, struct entry *e)
{
    element_read(r, entry_fields, e);
}
void entry_write(struct writer *w, const struct entry *e)
{
    fields_write(w, entry_fields, e);
}
