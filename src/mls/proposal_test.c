/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/proposal.h"

#include "test.h"

static enum err echo(struct bytes in, struct buf *out)
{
    struct proposal p;
    struct reader r = reader_of(in);
    struct writer w = writer_to(out);
    proposal_read(&r, &p);
    proposal_write(&w, &p);
    TRY(reader_finish(&r));
    if (!bytes_equal(p.raw, in))
        return ERR_STATE;
    return writer_finish(&w);
}

#define LEAF "\1e\1s\0\1\1i\0\0\0\0\0\2\0\1S"

static void each_type_encodes_back(void)
{
    static const struct {
        const char *name;
        struct bytes in;
    } cases[] = {
#define CASE(name, s) {name, {(const uint8_t *)(s), sizeof(s) - 1}}
        CASE("add", "\0\1\0\1\0\1\1i" LEAF "\0\1S"),
        CASE("update", "\0\2" LEAF),
        CASE("remove", "\0\3\0\0\0\7"),
        CASE("external psk", "\0\4\1\1i\1n"),
        CASE("resumption psk", "\0\4\2\3\1g\0\0\0\0\0\0\0\1\1n"),
        CASE("reinit", "\0\5\1g\0\1\0\1\0"),
        CASE("external init", "\0\6\1k"),
        CASE("group context extensions", "\0\7\4\x1a\x1a\1x"),
        CASE("app data update", "\0\x08\0\1\1\1u"),
        CASE("app data remove", "\0\x08\0\1\2"),
        CASE("app ephemeral", "\0\x09\0\1\2de"),
        CASE("self remove", "\0\x0a"),
        CASE("of a type that is not known", "\xf0\1\3xyz"),
        CASE("GREASE", "\x0a\x0a\0"),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        CHECK_UINT(echo(cases[i].in, &out), OK);
        CHECK_BYTES(buf_bytes(&out), cases[i].in);
        for (size_t n = 0; n < cases[i].in.len; n++) {
            CLEANUP(buf_clear) struct buf cut = buf_new(4096);
            CHECK_UINT(echo((struct bytes){cases[i].in.data, n}, &cut),
                       ERR_MALFORMED);
        }
    }
}

static void rejects_values_that_cannot_be(void)
{
    static const struct bytes cases[] = {
#define BAD(s) {(const uint8_t *)(s), sizeof(s) - 1}
        BAD("\0\4\3\1i\1n"),                       /* PSK of no type */
        BAD("\0\4\2\0\1g\0\0\0\0\0\0\0\1\1n"),     /* of no usage */
        BAD("\0\4\2\4\1g\0\0\0\0\0\0\0\1\1n"),     /* again */
        BAD("\0\x08\0\1\3"),                       /* no such operation */
        BAD("\0\7\x06\x1a\x1a\0\x1a\x1a\0"),       /* an extension twice */
        BAD("\0\2\1e\1s\0\1\1i\0\0\0\0\0\7\0\1S"), /* no such source */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        CHECK_UINT(echo(cases[i], &out), ERR_MALFORMED);
    }
}

static enum err echo_commit(struct bytes in, struct buf *out)
{
    struct commit c;
    struct reader r = reader_of(in);
    struct writer w = writer_to(out);
    commit_read(&r, &c);
    commit_write(&w, &c);
    TRY(reader_finish(&r));
    if (!bytes_equal(c.raw, in))
        return ERR_STATE;
    return writer_finish(&w);
}

static void commits_encode_back(void)
{
    static const struct bytes cases[] = {
        BAD("\0\0"),
        BAD("\x0a\1\0\3\0\0\0\7\2\1r\0"), /* by value, and by reference */
        BAD("\3\2\1r\1" LEAF "\0"),
        BAD("\0\1" LEAF "\x09\1k\5\1e\2ct\0"), /* cut: a list not ended */
    };
    for (size_t i = 0; i + 1 < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        CHECK_UINT(echo_commit(cases[i], &out), OK);
        CHECK_BYTES(buf_bytes(&out), cases[i]);
    }
    CLEANUP(buf_clear) struct buf out = buf_new(4096);
    CHECK_UINT(echo_commit(cases[COUNT(cases) - 1], &out), ERR_MALFORMED);
    CHECK_UINT(echo_commit(LIT("\3\3\1r\0"), &out), ERR_MALFORMED);
    CHECK_UINT(echo_commit(LIT("\3\0\1r\0"), &out), ERR_MALFORMED);
    CHECK_UINT(echo_commit(LIT("\0\2"), &out), ERR_MALFORMED);
}

static void the_elements_of_a_commit_can_be_walked(void)
{
    struct proposal_or_ref p;
    struct reader r = reader_of(LIT("\1\0\3\0\0\0\7\2\1r\1\0\x0a"));
    proposal_or_ref_read(&r, &p);
    CHECK(!p.by_reference);
    CHECK_UINT(p.proposal.remove, 7);
    proposal_or_ref_read(&r, &p);
    CHECK(p.by_reference);
    CHECK_BYTES(p.reference, LIT("r"));
    proposal_or_ref_read(&r, &p);
    CHECK_UINT(p.proposal.type, PROPOSAL_SELF_REMOVE);
    CHECK_UINT(reader_finish(&r), OK);
}

static const struct test tests[] = {
    TEST(each_type_encodes_back),
    TEST(rejects_values_that_cannot_be),
    TEST(commits_encode_back),
    TEST(the_elements_of_a_commit_can_be_walked),
};

TEST_MAIN(tests)
