/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/objects.h"

#include "base/mem.h"
#include "test.h"

#include <limits.h>

static const struct leaf_node a_leaf = {
    .encryption_key = {(const uint8_t *)"enc", 3},
    .signature_key = {(const uint8_t *)"sig", 3},
    .credential = {CREDENTIAL_BASIC, {(const uint8_t *)"alice", 5}},
    .capabilities = {.versions = {(const uint8_t *)"\0\1", 2},
                     .cipher_suites = {(const uint8_t *)"\0\1\x0a\x0a", 4}},
    .source = LEAF_KEY_PACKAGE,
    .not_before = 1,
    .not_after = 0x0102030405060708,
    .extensions = {(const uint8_t *)"\x1a\x1a\x01x", 4},
    .signature = {(const uint8_t *)"signed", 6},
};

/* The codecs under test: what is read is written again. */

static void leaf_echo(struct reader *r, struct writer *w)
{
    struct leaf_node leaf;
    leaf_node_read(r, &leaf);
    leaf_node_write(w, &leaf);
}

static void key_package_echo(struct reader *r, struct writer *w)
{
    struct key_package kp;
    key_package_read(r, &kp);
    key_package_write(w, &kp);
}

static void update_path_echo(struct reader *r, struct writer *w)
{
    struct update_path path;
    update_path_read(r, &path);
    update_path_write(w, &path);
}

static void group_info_echo(struct reader *r, struct writer *w)
{
    struct group_info gi;
    group_info_read(r, &gi);
    group_info_write(w, &gi);
}

static void group_secrets_echo(struct reader *r, struct writer *w)
{
    CLEANUP(group_secrets_clear) struct group_secrets gs = {0};
    group_secrets_read(r, &gs);
    group_secrets_write(w, &gs);
}

static void welcome_echo(struct reader *r, struct writer *w)
{
    struct welcome welcome;
    welcome_read(r, &welcome);
    welcome_write(w, &welcome);
}

static void required_echo(struct reader *r, struct writer *w)
{
    struct required_capabilities rc;
    required_capabilities_read(r, &rc);
    required_capabilities_write(w, &rc);
}

static void external_sender_echo(struct reader *r, struct writer *w)
{
    struct external_sender s;
    external_sender_read(r, &s);
    external_sender_write(w, &s);
}

static enum err run(void (*e)(struct reader *r, struct writer *w),
                    struct bytes in, struct buf *out)
{
    struct reader r = reader_of(in);
    struct writer w = writer_to(out);
    e(&r, &w);
    TRY(reader_finish(&r));
    return writer_finish(&w);
}

/* What parses encodes back; what is cut anywhere does not parse. */
static bool holds_the_laws(void (*e)(struct reader *r, struct writer *w),
                           struct bytes in)
{
    CLEANUP(buf_clear) struct buf out = buf_new(1U << 16);
    if (run(e, in, &out) != OK || !bytes_equal(buf_bytes(&out), in))
        return false;
    for (size_t n = 0; n < in.len; n++) {
        CLEANUP(buf_clear) struct buf cut = buf_new(1U << 16);
        if (run(e, (struct bytes){in.data, n}, &cut) != ERR_MALFORMED)
            return false;
    }
    return true;
}

static enum err encode_leaf(const struct leaf_node *leaf, struct buf *out)
{
    struct writer w = writer_to(out);
    leaf_node_write(&w, leaf);
    return writer_finish(&w);
}

static void leaves_of_each_source_encode_back(void)
{
    static const enum leaf_source sources[] = {LEAF_KEY_PACKAGE, LEAF_UPDATE,
                                               LEAF_COMMIT};
    for (size_t i = 0; i < COUNT(sources); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        struct leaf_node leaf = a_leaf;
        struct leaf_node back;
        leaf.source = sources[i];
        leaf.parent_hash = LIT("parent hash");
        CHECK_UINT(encode_leaf(&leaf, &out), OK);
        CHECK(holds_the_laws(leaf_echo, buf_bytes(&out)));
        struct reader r = reader_of(buf_bytes(&out));
        leaf_node_read(&r, &back);
        CHECK_UINT(back.source, sources[i]);
        CHECK_BYTES(back.raw, buf_bytes(&out));
        CHECK_UINT(back.signed_part.len + 7, out.len); /* "signed" */
        CHECK_UINT(back.parent_hash.len, i == 2 ? 11 : 0);
        CHECK_UINT(back.not_after, i == 0 ? a_leaf.not_after : 0);
    }
}

/* Section 7.2: what a leaf signs names its group and place, except in a
 * KeyPackage, which has neither. */
static void signs_group_and_place_except_in_a_key_package(void)
{
    for (int source = LEAF_KEY_PACKAGE; source <= LEAF_COMMIT; source++) {
        CLEANUP(buf_clear) struct buf tbs = buf_new(4096);
        CLEANUP(buf_clear) struct buf part = buf_new(4096);
        struct leaf_node leaf = a_leaf;
        leaf.source = (enum leaf_source)source;
        struct writer w = writer_to(&tbs);
        leaf_node_write_tbs(&w, &leaf, LIT("id"), 0x01020304);
        struct writer p = writer_to(&part);
        leaf_node_write_unsigned(&p, &leaf);
        if (source != LEAF_KEY_PACKAGE)
            writer_raw(&p, LIT("\x02id\x01\x02\x03\x04"));
        CHECK_UINT(writer_finish(&w), OK);
        CHECK_UINT(writer_finish(&p), OK);
        CHECK_BYTES(buf_bytes(&tbs), buf_bytes(&part));
    }
}

static void objects_encode_back(void)
{
    CLEANUP(buf_clear) struct buf kp = buf_new(4096);
    CLEANUP(buf_clear) struct buf path = buf_new(4096);
    struct key_package package = {.version = MLS_VERSION_10,
                                  .cipher_suite = 1,
                                  .init_key = LIT("init"),
                                  .leaf = a_leaf,
                                  .signature = LIT("signature")};
    struct writer w = writer_to(&kp);
    key_package_write(&w, &package);
    CHECK_UINT(writer_finish(&w), OK);
    CHECK(holds_the_laws(key_package_echo, buf_bytes(&kp)));

    struct update_path up = {.leaf = a_leaf,
                             .nodes = LIT("\2k1\5\1e\2ct\2k2\0")};
    struct writer pw = writer_to(&path);
    update_path_write(&pw, &up);
    CHECK_UINT(writer_finish(&pw), OK);
    CHECK(holds_the_laws(update_path_echo, buf_bytes(&path)));

    CHECK(holds_the_laws(required_echo, LIT("\x02\0\1\x04\0\1\0\2\0")));
    CHECK(holds_the_laws(external_sender_echo, LIT("\1k\0\1\2id")));
    CHECK(holds_the_laws(external_sender_echo, LIT("\1k\0\2\3\1a\0")));
    CHECK(holds_the_laws(external_sender_echo, LIT("\1k\x0a\x0a\2id")));
    CHECK(holds_the_laws(group_secrets_echo, LIT("\3jjj\1\2pp\0")));
    CHECK(holds_the_laws(group_secrets_echo, LIT("\3jjj\0\5\1\1i\1n")));
    CHECK(holds_the_laws(welcome_echo, LIT("\0\1\7\1r\1e\2ct\4info")));
    CHECK(holds_the_laws(group_info_echo,
                         LIT("\0\1\0\1\2id\0\0\0\0\0\0\0\7\1t\1c\4\x1a\x1a\1x"
                             "\0\3tag\0\0\0\5\3sig")));
}

/* What parses of a leaf with one byte changed, encodes back: no second form of
 * anything. */
static void has_one_encoding_for_each_value(void)
{
    CLEANUP(buf_clear) struct buf good = buf_new(4096);
    CHECK_UINT(encode_leaf(&a_leaf, &good), OK);
    for (size_t i = 0; i < good.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            CLEANUP(buf_clear) struct buf out = buf_new(1U << 16);
            good.data[i] ^= (uint8_t)(1U << bit);
            if (run(leaf_echo, buf_bytes(&good), &out) == OK)
                CHECK_BYTES(buf_bytes(&out), buf_bytes(&good));
            good.data[i] ^= (uint8_t)(1U << bit);
        }
    }
}

static void rejects_values_that_cannot_be(void)
{
    static const struct {
        void (*echo)(struct reader *r, struct writer *w);
        struct bytes in;
    } cases[] = {
        {required_echo, {(const uint8_t *)"\1\1\0\0", 4}}, /* half a number */
        {external_sender_echo, /* a certificate cut short */
         {(const uint8_t *)"\1k\0\2\2\2a", 7}},
        {group_secrets_echo, {(const uint8_t *)"\1j\2\0", 4}}, /* optional 2 */
        {group_secrets_echo, /* a PSK of no type */
         {(const uint8_t *)"\1j\0\5\3\1i\1n", 9}},
        {group_info_echo, /* an extension twice */
         {(const uint8_t *)"\0\1\0\1\2id\0\0\0\0\0\0\0\7\1t\1c"
                           "\6\0\1\0\0\1\0\0\3tag\0\0\0\5\3sig",
          39}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        CHECK_UINT(run(cases[i].echo, cases[i].in, &out), ERR_MALFORMED);
    }
    CLEANUP(buf_clear) struct buf encoded = buf_new(4096);
    CLEANUP(buf_clear) struct buf out = buf_new(4096);
    struct leaf_node leaf = a_leaf;
    leaf.source = (enum leaf_source)4;
    CHECK_UINT(encode_leaf(&leaf, &encoded), OK);
    CHECK_UINT(run(leaf_echo, buf_bytes(&encoded), &out), ERR_MALFORMED);
}

/* `count` extensions of different types. */
static enum err read_extensions(uint16_t count)
{
    CLEANUP(buf_clear) struct buf in = buf_new(1U << 16);
    struct writer w = writer_to(&in);
    size_t start = writer_enter(&w);
    for (uint16_t i = 0; i < count; i++) {
        struct extension e = {i, {0}};
        extension_write(&w, &e);
    }
    writer_leave(&w, start);
    TRY(writer_finish(&w));
    struct reader r = reader_of(buf_bytes(&in));
    (void)extensions_read(&r);
    return reader_finish(&r);
}

static void lists_are_bounded(void)
{
    static uint8_t list[2UL * MLS_CAPABILITIES_MAX + 4] = {0x42, 0x02};
    CHECK_UINT(read_extensions(MLS_EXTENSIONS_MAX), OK);
    CHECK_UINT(read_extensions(MLS_EXTENSIONS_MAX + 1), ERR_LIMIT);
    struct reader r = reader_of(BYTES_ARRAY(list));
    (void)u16_list_read(&r);
    CHECK_UINT(r.err, ERR_LIMIT);
    list[1] = 0x00;
    r = reader_of(BYTES_ARRAY(list));
    CHECK_UINT(u16_list_read(&r).len, 2UL * MLS_CAPABILITIES_MAX);
    CHECK_UINT(r.err, OK);
}

static void finds_extensions_and_code_points(void)
{
    struct bytes list = LIT("\0\1\2ab\x0a\x0a\0\0\5\1c");
    struct bytes data;
    CHECK(extensions_find(list, 5, &data));
    CHECK_BYTES(data, LIT("c"));
    CHECK(extensions_find(list, 0x0a0a, NULL));
    CHECK(!extensions_find(list, 2, &data));
    CHECK(u16_list_has(LIT("\0\1\2\3"), 0x0203));
    CHECK(!u16_list_has(LIT("\0\1\2\3"), 0x0102)); /* not aligned */
    CHECK(!u16_list_has(LIT(""), 0));
}

static void knows_grease(void)
{
    unsigned count = 0;
    for (uint32_t v = 0; v <= UINT16_MAX; v++)
        count += grease_is((uint16_t)v);
    CHECK_UINT(count, 15);
    CHECK(grease_is(0x0a0a) && grease_is(0xeaea));
    CHECK(!grease_is(0xfafa) && !grease_is(0x0a1a) && !grease_is(10));
}

static void a_welcome_is_found_by_its_reference(void)
{
    struct encrypted_group_secrets egs;
    struct welcome w = {.secrets = LIT("\1r\1e\2ct\1s\1f\2cu")};
    CHECK_UINT(welcome_find(&w, LIT("s"), &egs), OK);
    CHECK_BYTES(egs.secrets.ciphertext, LIT("cu"));
    CHECK_UINT(welcome_find(&w, LIT("t"), &egs), ERR_NOTFOUND);
}

static void cleared_secrets_are_gone(void)
{
    struct group_secrets gs = {0};
    struct reader r = reader_of(LIT("\3jjj\1\2pp\0"));
    group_secrets_read(&r, &gs);
    CHECK_UINT(reader_finish(&r), OK);
    CHECK_UINT(gs.joiner_secret.len, 3);
    group_secrets_clear(&gs);
    const uint8_t *raw = (const uint8_t *)&gs;
    for (size_t i = 0; i < sizeof gs; i++)
        CHECK_UINT(raw[i], 0);
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(buf_clear) struct buf in = buf_new(4096);
    enum err err = ERR_NOMEM;
    CHECK_UINT(encode_leaf(&a_leaf, &in), OK);
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        mem_fail_after(n);
        err = run(leaf_echo, buf_bytes(&in), &out);
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX); /* none */
}

static const struct test tests[] = {
    TEST(leaves_of_each_source_encode_back),
    TEST(signs_group_and_place_except_in_a_key_package),
    TEST(objects_encode_back),
    TEST(has_one_encoding_for_each_value),
    TEST(rejects_values_that_cannot_be),
    TEST(lists_are_bounded),
    TEST(finds_extensions_and_code_points),
    TEST(knows_grease),
    TEST(a_welcome_is_found_by_its_reference),
    TEST(cleared_secrets_are_gone),
    TEST(survives_each_allocation_failure),
};

TEST_MAIN(tests)
