/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/content.h"

#include "base/mem.h"
#include "proto/item.h"
#include "test.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SALT LIT("sixteen bytes...")

/* Where the working group's examples are; empty: nowhere. */
static char folder[4096];

static bool file_read(const char *name, const char *type, struct buf *out)
{
    char path[sizeof(folder) + 64];
    uint8_t block[8192];
    (void)snprintf(path, sizeof(path), "%s/%s.%s", folder, name, type);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    size_t len = fread(block, 1, sizeof(block), f);
    (void)fclose(f);
    return buf_append(out, (struct bytes){block, len}) == OK;
}

/* All of draft-ietf-mimi-content's examples, and what is special in each. */
static const struct vector {
    const char *name;
    size_t parts;
    enum cardinality cardinality; /* of the first */
    enum disposition disposition;
    bool replaces;
    bool in_reply_to;
    bool expires;
    const char *shown; /* how what is shown begins */
} vectors[] = {
    {"original", 1, PART_SINGLE, DISPOSITION_RENDER, false, false, false,
     "Hi everyone, we just shipped release 2.0. __Good  work__!"},
    {"reply", 1, PART_SINGLE, DISPOSITION_RENDER, false, true, false,
     "Right on! _Congratulations_ 'all!"},
    {"reaction", 1, PART_SINGLE, DISPOSITION_REACTION, false, true, false,
     NULL},
    {"mention", 1, PART_SINGLE, DISPOSITION_RENDER, false, true, false,
     "Kudos"},
    {"mention-html", 1, PART_SINGLE, DISPOSITION_RENDER, false, true, false,
     NULL},
    {"edit", 1, PART_SINGLE, DISPOSITION_RENDER, true, true, false,
     "Right on! _Congratulations_ y'all!"},
    {"delete", 1, PART_NULL, DISPOSITION_RENDER, true, true, false, NULL},
    {"unlike", 1, PART_NULL, DISPOSITION_REACTION, true, true, false, NULL},
    {"expiring", 1, PART_SINGLE, DISPOSITION_RENDER, false, false, true,
     "__*VPN GOING DOWN*__"},
    {"attachment", 1, PART_EXTERNAL, DISPOSITION_ATTACHMENT, false, false,
     false, NULL},
    {"conferencing", 1, PART_EXTERNAL, DISPOSITION_SESSION, false, false, false,
     NULL},
    {"multipart-1", 3, PART_MULTI, DISPOSITION_RENDER, false, false, false,
     "# Welcome!"},
    {"multipart-2", 4, PART_MULTI, DISPOSITION_REACTION, false, false, false,
     NULL},
    {"multipart-3", 11, PART_MULTI, DISPOSITION_RENDER, false, false, false,
     NULL},
};

static void vector_check(const struct vector *v)
{
    CLEANUP(buf_clear) struct buf in = buf_new(CONTENT_MAX);
    CLEANUP(buf_clear) struct buf out = buf_new(CONTENT_MAX);
    struct content c;
    CHECK(file_read(v->name, "cbor", &in));
    CHECK_UINT(content_read(buf_bytes(&in), &c), OK);
    CHECK_UINT(c.part_count, v->parts);
    CHECK_UINT(c.parts[0].cardinality, v->cardinality);
    CHECK_UINT(c.parts[0].disposition, v->disposition);
    CHECK(c.replaces.len == (v->replaces ? CONTENT_REF_SIZE : 0));
    CHECK(c.in_reply_to.len == (v->in_reply_to ? CONTENT_REF_SIZE : 0));
    CHECK(c.expires == v->expires);
    CHECK(c.sender_uri.len > 0 && c.room_uri.len > 0);
    struct bytes shown = content_show(&c);
    struct bytes want = bytes_str(v->shown != NULL ? v->shown : "");
    CHECK(shown.len >= want.len);
    CHECK_BYTES(((struct bytes){shown.data, want.len}), want);
    CHECK((shown.len > 0) == (v->shown != NULL));

    CHECK_UINT(content_write(&out, &c), OK); /* they are deterministic */
    CHECK_BYTES(buf_bytes(&out), buf_bytes(&in));
}

static void reads_each_published_example(void)
{
    for (size_t i = 0; i < COUNT(vectors); i++) {
        printf("# %s\n", vectors[i].name);
        vector_check(&vectors[i]);
    }
}

/* Reads the id in the comment at the top of an example: hexadecimal digits
 * over two lines, which a '#' continues. */
static enum err edn_id(struct bytes edn, uint8_t out[CONTENT_REF_SIZE])
{
    const char *p = memmem(edn.data, edn.len, "ID = h'", 7);
    size_t digits = 0;
    if (p == NULL)
        return ERR_NOTFOUND;
    memset(out, 0, CONTENT_REF_SIZE);
    for (p += 7; *p != '\'' && digits < 64; p++) {
        const char *hex = "0123456789abcdef";
        const char *at = strchr(hex, *p);
        if (at == NULL)
            continue;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | (at - hex));
        digits++;
    }
    return digits == 64 ? OK : ERR_MALFORMED;
}

static void message_ids_are_the_published_ones(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(vectors); i++) {
        CLEANUP(buf_clear) struct buf in = buf_new(CONTENT_MAX);
        CLEANUP(buf_clear) struct buf edn = buf_new(CONTENT_MAX);
        struct content content;
        uint8_t want[CONTENT_REF_SIZE];
        uint8_t id[CONTENT_REF_SIZE];
        CHECK(file_read(vectors[i].name, "cbor", &in));
        CHECK(file_read(vectors[i].name, "edn", &edn));
        CHECK_UINT(edn_id(buf_bytes(&edn), want), OK);
        CHECK_UINT(content_read(buf_bytes(&in), &content), OK);
        CHECK_UINT(content_message_id(c, content.sender_uri, content.room_uri,
                                      buf_bytes(&in), id),
                   OK);
        CHECK_BYTES(BYTES_ARRAY(id), BYTES_ARRAY(want));
    }
}

/* implied-original.cbor is no content, but what a hub knows of one
 * (implied.cddl). Its message id is of an older draft. */
static void other_items_are_read_one_by_one(void)
{
    CLEANUP(buf_clear) struct buf implied = buf_new(CONTENT_MAX);
    struct content c;
    CHECK(file_read("implied-original", "cbor", &implied));
    CHECK_UINT(content_read(buf_bytes(&implied), &c), ERR_MALFORMED);
    struct reader r = reader_of(buf_bytes(&implied));
    item_array(&r, 7);
    CHECK_UINT(item_bytes(&r).len, CONTENT_REF_SIZE);
    CHECK_UINT(item_uint(&r, UINT64_MAX), 1644387225019);
    CHECK_UINT(item_bytes(&r).len, 32);
    CHECK_UINT(item_uint(&r, UINT32_MAX), 4);
    item_skip(&r);
    CHECK_BYTES(item_text(&r), LIT("mimi://example.com/u/alice-smith"));
    CHECK_BYTES(item_text(&r), LIT("mimi://example.com/r/engineering_team"));
    CHECK_UINT(reader_finish(&r), OK);
}

static void no_prefix_of_an_example_is_read(void)
{
    for (size_t i = 0; i < COUNT(vectors); i++) {
        CLEANUP(buf_clear) struct buf in = buf_new(CONTENT_MAX);
        struct content c;
        CHECK(file_read(vectors[i].name, "cbor", &in));
        for (size_t len = 0; len < in.len; len++) {
            struct bytes cut = {in.data, len};
            CHECK_UINT(content_read(cut, &c), ERR_MALFORMED);
        }
        CHECK_UINT(buf_extend(&in, 1), OK);
        CHECK_UINT(content_read(buf_bytes(&in), &c), ERR_MALFORMED);
    }
}

static void texts_come_back_as_sent(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(CONTENT_MAX);
    struct content c;
    struct content got;
    content_text(&c, SALT, LIT("h\xc3\xa9llo"));
    CHECK_UINT(content_write(&out, &c), OK);
    CHECK_UINT(content_read(buf_bytes(&out), &got), OK);
    CHECK_BYTES(content_show(&got), LIT("h\xc3\xa9llo"));
    out.len = 0;
    content_markdown(&c, SALT, LIT("*hi*"));
    CHECK_UINT(content_write(&out, &c), OK);
    CHECK_UINT(content_read(buf_bytes(&out), &got), OK);
    CHECK_BYTES(content_show(&got), LIT("*hi*"));
}

#define HEAD "\x87\x50sixteen bytes...\xf6\x40\xf6\xf6\xa0"

static void rejects_malformed_content(void)
{
    const struct {
        struct bytes cbor;
        enum err err;
    } cases[] = {
        {LIT(HEAD "\x83\x01\x60\x00"), OK},
        {LIT(HEAD "\x84\x01\x60\x00"), ERR_MALFORMED}, /* items of a part */
        {LIT(HEAD "\x83\x01\x60\x04"), ERR_MALFORMED}, /* cardinality */
        {LIT(HEAD "\x83\x19\x01\x00\x60\x00"), ERR_MALFORMED}, /* > 255 */
        {LIT(HEAD "\x83\x01\x61\xff\x00"), ERR_MALFORMED},     /* no UTF-8 */
        {LIT(HEAD "\x83\x01\x62\xc0\x80\x00"), ERR_MALFORMED}, /* overlong */
        {LIT(HEAD "\x83\x01\x63\xed\xa0\x80\x00"), ERR_MALFORMED},
        {LIT(HEAD "\x9f\x01\x60\x00\xff"), ERR_MALFORMED}, /* indefinite */
        {LIT(HEAD "\x85\x01\x60\x03\x00\x81\x83\x01\x60\x00"),
         ERR_MALFORMED}, /* a multipart of one */
        {LIT(HEAD "\x85\x01\x60\x03\x03\x82\x83\x01\x60\x00\x83\x01\x60\x00"),
         ERR_MALFORMED}, /* semantics */
        {LIT(HEAD "\x85\x01\x60\x03\x00\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
         ERR_LIMIT},
        {LIT("\x86\x50sixteen bytes...\xf6\x40\xf6\xf6\xa0"), ERR_MALFORMED},
        {LIT("\x87\x4f"
             "fifteen bytes..\xf6\x40\xf6\xf6\xa0\x83\x01\x60\x00"),
         ERR_MALFORMED},
        {LIT("\x87\x50sixteen bytes...\x41x\x40\xf6\xf6\xa0\x83\x01\x60\x00"),
         ERR_MALFORMED}, /* a reference of one byte */
        {LIT("\x87\x50sixteen bytes...\xf6\x40\xf6\xf6"
             "\xa2\x01\x61x\x01\x61x\x83\x01\x60\x00"),
         ERR_MALFORMED}, /* one extension twice */
        {LIT("\x87\x50sixteen bytes...\xf6\x40\xf6\xf6"
             "\xa1\x63xyz\x82\x01\xa1\x02\xc1\xf9\x00\x00\x83\x01\x60\x00"),
         OK}, /* an unknown one, with nested content */
        {LIT("\x87\x50sixteen bytes...\xf6\x40\xf6\xf6"
             "\xa1\x63xyz\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
         ERR_MALFORMED}, /* an array of 2^64-1 */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct content c;
        CHECK_UINT(content_read(cases[i].cbor, &c), cases[i].err);
        CHECK(cases[i].err == OK || c.part_count == 0);
    }
}

/* Multiparts in multiparts, `depth` deep; each holds the next and a null. */
static enum err nested_write(struct buf *out, size_t depth)
{
    struct writer w = writer_to(out);
    writer_raw(&w, LIT(HEAD));
    for (size_t i = 0; i < depth; i++)
        writer_raw(&w, LIT("\x85\x01\x60\x03\x00\x82"));
    for (size_t i = 0; i < depth + 1; i++)
        writer_raw(&w, LIT("\x83\x01\x60\x00"));
    return writer_finish(&w);
}

static void depth_is_limited(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(CONTENT_MAX);
    struct content c;
    CHECK_UINT(nested_write(&out, CONTENT_DEPTH_MAX), OK);
    CHECK_UINT(content_read(buf_bytes(&out), &c), OK);
    CHECK_UINT(c.part_count, 2 * CONTENT_DEPTH_MAX + 1);
    CHECK_UINT(c.parts[CONTENT_DEPTH_MAX].depth, CONTENT_DEPTH_MAX);
    out.len = 0;
    CHECK_UINT(nested_write(&out, CONTENT_DEPTH_MAX + 1), OK);
    CHECK_UINT(content_read(buf_bytes(&out), &c), ERR_LIMIT);
}

static void writer_refuses_what_is_no_tree(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(CONTENT_MAX);
    struct content c;
    content_text(&c, SALT, LIT("x"));
    c.parts[0].depth = 1;
    CHECK_UINT(content_write(&out, &c), ERR_INVALID);
    content_text(&c, SALT, LIT("x"));
    c.part_count = 0;
    CHECK_UINT(content_write(&out, &c), ERR_INVALID);
    c.part_count = 2;
    CHECK_UINT(content_write(&out, &c), ERR_INVALID);
    content_text(&c, LIT("short"), LIT("x"));
    CHECK_UINT(content_write(&out, &c), ERR_INVALID);
    CHECK_UINT(out.len, 0);
}

static void survives_each_allocation_failure(void)
{
    static uint8_t text[5000];
    struct content c;
    content_text(&c, SALT, BYTES_ARRAY(text));
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf out = buf_new(CONTENT_MAX);
        mem_fail_after(n);
        err = content_write(&out, &c);
        CHECK(err == OK || (err == ERR_NOMEM && out.len == 0));
        CHECK(n < 100);
    }
    mem_fail_after(UINT_MAX); /* never */
}

static const struct test with_vectors[] = {
    TEST(texts_come_back_as_sent),
    TEST(rejects_malformed_content),
    TEST(depth_is_limited),
    TEST(writer_refuses_what_is_no_tree),
    TEST(survives_each_allocation_failure),
    TEST(reads_each_published_example),
    TEST(message_ids_are_the_published_ones),
    TEST(other_items_are_read_one_by_one),
    TEST(no_prefix_of_an_example_is_read),
};
#define WITHOUT_VECTORS 5U

int main(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    const char *ci = getenv("CI");
    CLEANUP(buf_clear) struct buf probe = buf_new(CONTENT_MAX);
    (void)snprintf(folder, sizeof(folder), "%s/mimi-content",
                   test_vectors_folder());
    if (file_read("original", "cbor", &probe))
        return test_run(with_vectors, COUNT(with_vectors));
    printf("# no MIMI examples in %s: scripts/vectors gets them\n", folder);
    if (ci != NULL && strcmp(ci, "true") == 0)
        return 1;
    return test_run(with_vectors, WITHOUT_VECTORS);
}
