/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/content.h"

#include "crypto/hash.h"
#include "proto/item.h"

#include <string.h>

#define EXTENSIONS_MAX  64U
#define EXT_SENDER_URI  1U
#define EXT_ROOM_URI    2U
#define MESSAGE_ID_SHA2 0x01U /* named information registry: SHA-256 */

/* Items of a part's array (mimi-content.cddl). */
static const size_t part_items[] = {
    [PART_NULL] = 3,
    [PART_SINGLE] = 5,
    [PART_EXTERNAL] = 15,
    [PART_MULTI] = 5,
};

/* --- reading --- */

static struct bytes ref_read(struct reader *r, size_t size)
{
    struct bytes b = item_bytes(r);
    if (b.len != size)
        reader_fail(r, ERR_MALFORMED);
    return b;
}

static struct bytes optional_ref_read(struct reader *r)
{
    return item_null(r) ? (struct bytes){0} : ref_read(r, CONTENT_REF_SIZE);
}

static void expires_read(struct reader *r, struct content *c)
{
    c->expires = !item_null(r);
    if (!c->expires)
        return;
    item_array(r, 2);
    c->expires_relative = item_bool(r);
    c->expires_time = (uint32_t)item_uint(r, UINT32_MAX);
}

/* Keys are integers or texts; no key comes twice, but only of those that we
 * know is that checked. */
static void extensions_read(struct reader *r, struct content *c)
{
    struct item map = item_next(r);
    bool seen[EXT_ROOM_URI + 1] = {false};

    if (map.kind != ITEM_MAP || map.value > EXTENSIONS_MAX)
        reader_fail(r, ERR_MALFORMED);
    for (uint64_t i = 0; i < map.value && r->err == OK; i++) {
        struct item key = item_next(r);
        bool known = key.kind == ITEM_UINT &&
                     (key.value == EXT_SENDER_URI || key.value == EXT_ROOM_URI);
        if (known && seen[key.value])
            reader_fail(r, ERR_MALFORMED);
        if (known)
            seen[key.value] = true;

        if (known && key.value == EXT_SENDER_URI)
            c->sender_uri = item_text(r);
        else if (known)
            c->room_uri = item_text(r);
        else if (key.kind == ITEM_UINT || key.kind == ITEM_NEGINT ||
                 key.kind == ITEM_TEXT)
            item_skip(r);
        else
            reader_fail(r, ERR_MALFORMED);
    }
}

static void external_read(struct reader *r, struct part *p)
{
    struct external_part *e = &p->external;
    p->content_type = item_text(r);
    e->url = item_text(r);
    e->expires = (uint32_t)item_uint(r, UINT32_MAX);
    e->size = item_uint(r, UINT64_MAX);
    e->enc_alg = (uint16_t)item_uint(r, UINT16_MAX);
    e->key = item_bytes(r);
    e->nonce = item_bytes(r);
    e->aad = item_bytes(r);
    e->hash_alg = (uint8_t)item_uint(r, UINT8_MAX);
    e->content_hash = item_bytes(r);
    e->description = item_text(r);
    e->filename = item_text(r);
}

static void multi_read(struct reader *r, struct part *p)
{
    p->semantics = (uint8_t)item_uint(r, PROCESS_ALL);
    p->children = (size_t)item_array_any(r);
    if (p->children < 2)
        reader_fail(r, ERR_MALFORMED);
    if (p->children > CONTENT_PARTS_MAX)
        reader_fail(r, ERR_LIMIT);
}

static void part_read(struct reader *r, struct part *p)
{
    uint64_t items = item_array_any(r);
    p->disposition = (uint8_t)item_uint(r, UINT8_MAX);
    p->language = item_text(r);
    p->cardinality = (uint8_t)item_uint(r, PART_MULTI);
    if (r->err == OK && items != part_items[p->cardinality])
        reader_fail(r, ERR_MALFORMED);
    if (r->err != OK)
        return;
    if (p->cardinality == PART_SINGLE) {
        p->content_type = item_text(r);
        p->content = item_bytes(r);
    }
    if (p->cardinality == PART_EXTERNAL)
        external_read(r, p);
    if (p->cardinality == PART_MULTI)
        multi_read(r, p);
}

/* Where one is in the tree: parts still to come at each depth. */
struct walk {
    size_t left[CONTENT_DEPTH_MAX + 1];
    uint8_t depth;
};

/* Goes to where the next part is; false at the end of the tree. */
static bool walk_next(struct walk *w)
{
    while (w->depth > 0 && w->left[w->depth] == 0)
        w->depth--;
    if (w->left[w->depth] == 0)
        return false;
    w->left[w->depth]--;
    return true;
}

static bool walk_enter(struct walk *w, size_t children)
{
    if (w->depth == CONTENT_DEPTH_MAX)
        return false;
    w->left[++w->depth] = children;
    return true;
}

static void parts_read(struct reader *r, struct content *c)
{
    struct walk walk = {.left = {1}};
    while (r->err == OK && walk_next(&walk)) {
        if (c->part_count == CONTENT_PARTS_MAX) {
            reader_fail(r, ERR_LIMIT);
            return;
        }
        struct part *p = &c->parts[c->part_count++];
        *p = (struct part){.depth = walk.depth};
        part_read(r, p);
        if (r->err == OK && p->cardinality == PART_MULTI &&
            !walk_enter(&walk, p->children))
            reader_fail(r, ERR_LIMIT);
    }
}

enum err content_read(struct bytes cbor, struct content *out)
{
    if (cbor.len > CONTENT_MAX)
        return ERR_LIMIT;
    struct reader r = reader_of(cbor);
    *out = (struct content){0};
    item_array(&r, 7);
    out->salt = ref_read(&r, CONTENT_SALT_SIZE);
    out->replaces = optional_ref_read(&r);
    out->topic = item_bytes(&r);
    expires_read(&r, out);
    out->in_reply_to = optional_ref_read(&r);
    extensions_read(&r, out);
    parts_read(&r, out);
    enum err err = reader_finish(&r);
    if (err != OK)
        *out = (struct content){0};
    return err;
}

/* --- writing --- */

static void optional_ref_write(struct writer *w, struct bytes ref)
{
    if (ref.len == 0)
        item_put_null(w);
    else
        item_put_bytes(w, ref);
}

static void extension_write(struct writer *w, uint64_t key, struct bytes uri)
{
    if (uri.len == 0)
        return;
    item_put_uint(w, key);
    item_put_text(w, uri);
}

static void head_write(struct writer *w, const struct content *c)
{
    item_put_array(w, 7);
    item_put_bytes(w, c->salt);
    optional_ref_write(w, c->replaces);
    item_put_bytes(w, c->topic);
    if (c->expires) {
        item_put_array(w, 2);
        item_put_bool(w, c->expires_relative);
        item_put_uint(w, c->expires_time);
    } else {
        item_put_null(w);
    }
    optional_ref_write(w, c->in_reply_to);
    item_put_map(w, (c->sender_uri.len > 0) + (size_t)(c->room_uri.len > 0));
    extension_write(w, EXT_SENDER_URI, c->sender_uri);
    extension_write(w, EXT_ROOM_URI, c->room_uri);
}

static void external_write(struct writer *w, const struct part *p)
{
    const struct external_part *e = &p->external;
    item_put_text(w, p->content_type);
    item_put_text(w, e->url);
    item_put_uint(w, e->expires);
    item_put_uint(w, e->size);
    item_put_uint(w, e->enc_alg);
    item_put_bytes(w, e->key);
    item_put_bytes(w, e->nonce);
    item_put_bytes(w, e->aad);
    item_put_uint(w, e->hash_alg);
    item_put_bytes(w, e->content_hash);
    item_put_text(w, e->description);
    item_put_text(w, e->filename);
}

static void part_write(struct writer *w, const struct part *p)
{
    item_put_array(w, part_items[p->cardinality]);
    item_put_uint(w, p->disposition);
    item_put_text(w, p->language);
    item_put_uint(w, p->cardinality);
    if (p->cardinality == PART_SINGLE) {
        item_put_text(w, p->content_type);
        item_put_bytes(w, p->content);
    }
    if (p->cardinality == PART_EXTERNAL)
        external_write(w, p);
    if (p->cardinality == PART_MULTI) {
        item_put_uint(w, p->semantics);
        item_put_array(w, p->children);
    }
}

/* The list must be a tree in preorder, as content_read gives it. */
static enum err parts_write(struct writer *w, const struct content *c)
{
    struct walk walk = {.left = {1}};
    size_t at = 0;
    while (walk_next(&walk)) {
        if (at == c->part_count)
            return ERR_INVALID;
        const struct part *p = &c->parts[at++];
        if (p->depth != walk.depth || p->cardinality > PART_MULTI)
            return ERR_INVALID;
        part_write(w, p);
        if (p->cardinality == PART_MULTI &&
            (p->children < 2 || !walk_enter(&walk, p->children)))
            return ERR_INVALID;
    }
    return at == c->part_count ? writer_finish(w) : ERR_INVALID;
}

static bool ref_valid(struct bytes ref)
{
    return ref.len == 0 || ref.len == CONTENT_REF_SIZE;
}

enum err content_write(struct buf *out, const struct content *c)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (c->salt.len != CONTENT_SALT_SIZE || !ref_valid(c->replaces) ||
        !ref_valid(c->in_reply_to) || c->part_count > CONTENT_PARTS_MAX)
        return ERR_INVALID;
    head_write(&w, c);
    enum err err = parts_write(&w, c);
    if (err != OK)
        buf_truncate(out, before);
    return err;
}

static void content_single(struct content *out, struct bytes salt,
                           const char *type, struct bytes text)
{
    *out = (struct content){.salt = salt, .part_count = 1};
    out->parts[0] = (struct part){
        .disposition = DISPOSITION_RENDER,
        .cardinality = PART_SINGLE,
        .content_type = bytes_str(type),
        .content = text,
    };
}

void content_text(struct content *out, struct bytes salt, struct bytes text)
{
    content_single(out, salt, "text/plain;charset=utf-8", text);
}

void content_markdown(struct content *out, struct bytes salt, struct bytes text)
{
    content_single(out, salt, "text/markdown;variant=GFM-MIMI", text);
}

/* Compares the media type without its parameters. */
static bool type_is(struct bytes content_type, const char *type)
{
    struct bytes want = bytes_str(type);
    if (content_type.len < want.len ||
        !bytes_equal((struct bytes){content_type.data, want.len}, want))
        return false;
    return content_type.len == want.len || content_type.data[want.len] == ';';
}

struct bytes content_show(const struct content *c)
{
    for (size_t i = 0; i < c->part_count; i++) {
        const struct part *p = &c->parts[i];
        if (p->disposition == DISPOSITION_RENDER &&
            p->cardinality == PART_SINGLE &&
            (type_is(p->content_type, "text/plain") ||
             type_is(p->content_type, "text/markdown")))
            return p->content;
    }
    return (struct bytes){0};
}

enum err content_message_id(struct crypto *c, struct bytes sender_uri,
                            struct bytes room_uri, struct bytes cbor,
                            uint8_t out[CONTENT_REF_SIZE])
{
    struct reader r = reader_of(cbor);
    struct digest d;

    item_array(&r, 7);
    struct bytes salt = ref_read(&r, CONTENT_SALT_SIZE);
    if (r.err != OK)
        return r.err;
    if (sender_uri.len > UINT16_MAX || room_uri.len > UINT16_MAX)
        return ERR_LIMIT;
    uint8_t sender_len[] = {(uint8_t)(sender_uri.len >> 8),
                            (uint8_t)sender_uri.len};
    uint8_t room_len[] = {(uint8_t)(room_uri.len >> 8), (uint8_t)room_uri.len};
    TRY(hash(c, HASH_SHA256,
             PARTS(BYTES_ARRAY(sender_len), sender_uri, BYTES_ARRAY(room_len),
                   room_uri, cbor, salt),
             &d));
    out[0] = MESSAGE_ID_SHA2;
    memcpy(out + 1, d.data, CONTENT_REF_SIZE - 1);
    return OK;
}
