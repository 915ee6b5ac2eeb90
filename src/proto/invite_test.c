/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/invite.h"

#include "test.h"

#include <string.h>

#define SECRET LIT("sixteen bytes...")
#define KEY    LIT("thirty-two bytes of a public key")

static struct bytes repeated(char c, size_t count)
{
    static char text[600];
    memset(text, c, count);
    return (struct bytes){(uint8_t *)text, count};
}

static void invites_pin_the_server(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    char text[CODE_TEXT_MAX];
    struct invite got;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(invite_write(c, SECRET, KEY, text), OK);
    CHECK_UINT(invite_read(c, text, &got), OK);
    CHECK_BYTES(BYTES_ARRAY(got.secret), SECRET);
    CHECK_UINT(invite_pin_check(c, BYTES_ARRAY(got.pin), KEY), OK);
    CHECK_UINT(invite_pin_check(c, BYTES_ARRAY(got.pin),
                                LIT("thirty-two bytes of another key!")),
               ERR_AUTH);
    CHECK_UINT(invite_write(c, LIT("short"), KEY, text), ERR_INVALID);
}

static void a_recovery_key_is_no_invite(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct secret recovery = {.len = RECOVERY_SIZE};
    char text[CODE_TEXT_MAX];
    struct invite got;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(recovery_write(c, &recovery, text), OK);
    CHECK_UINT(invite_read(c, text, &got), ERR_INVALID);
}

static void names_have_one_spelling(void)
{
    const struct {
        struct bytes name;
        bool valid;
    } cases[] = {
        {LIT("a"), true},          {LIT("ann"), true},
        {LIT("ann-b.c_d9"), true}, {LIT("0x"), true},
        {LIT(""), false},          {LIT("Ann"), false},
        {LIT(".ann"), false},      {LIT("ann-"), false},
        {LIT("a b"), false},       {LIT("a@b"), false},
        {LIT("\xc3\xa4"), false},  {LIT("a\0b"), false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK(name_valid(cases[i].name) == cases[i].valid);
    CHECK(name_valid(repeated('a', NAME_MAX_LEN)));
    CHECK(!name_valid(repeated('a', NAME_MAX_LEN + 1)));
}

static void addresses_are_normalised(void)
{
    const struct {
        struct bytes text;
        const char *want; /* NULL: malformed */
        const char *host;
        uint16_t port;
    } cases[] = {
        {LIT("example.org"), "example.org:7470", "example.org", 7470},
        {LIT("Example.ORG:99"), "example.org:99", "example.org", 99},
        {LIT("127.0.0.1:65535"), "127.0.0.1:65535", "127.0.0.1", 65535},
        {LIT("[::1]"), "[::1]:7470", "::1", 7470},
        {LIT("[2001:DB8::1]:1"), "[2001:db8::1]:1", "2001:db8::1", 1},
        {LIT(""), NULL, NULL, 0},
        {LIT(":7470"), NULL, NULL, 0},
        {LIT("host:"), NULL, NULL, 0},
        {LIT("host:0"), NULL, NULL, 0},
        {LIT("host:65536"), NULL, NULL, 0},
        {LIT("host:123456"), NULL, NULL, 0},
        {LIT("host:7x"), NULL, NULL, 0},
        {LIT("::1"), NULL, NULL, 0},
        {LIT("[::1"), NULL, NULL, 0},
        {LIT("[::1]7470"), NULL, NULL, 0},
        {LIT("[]"), NULL, NULL, 0},
        {LIT("[host]"), NULL, NULL, 0},
        {LIT("ho st"), NULL, NULL, 0},
        {LIT("a/b"), NULL, NULL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[ADDRESS_TEXT_MAX];
        char host[HOST_MAX];
        uint16_t port;
        if (cases[i].want == NULL) {
            CHECK_UINT(address_normalise(cases[i].text, text), ERR_MALFORMED);
            continue;
        }
        CHECK_UINT(address_normalise(cases[i].text, text), OK);
        CHECK_BYTES(bytes_str(text), bytes_str(cases[i].want));
        CHECK_UINT(address_split(bytes_str(text), host, &port), OK);
        CHECK_BYTES(bytes_str(host), bytes_str(cases[i].host));
        CHECK_UINT(port, cases[i].port);
    }
    char text[ADDRESS_TEXT_MAX];
    CHECK_UINT(address_normalise(repeated('a', HOST_MAX - 1), text), OK);
    CHECK_UINT(address_normalise(repeated('a', HOST_MAX), text), ERR_MALFORMED);
}

static void handles_are_read(void)
{
    const struct {
        struct bytes text;
        const char *name; /* NULL: malformed */
        const char *address;
    } cases[] = {
        {LIT("ann"), "ann", ""},
        {LIT("Ann@Example.org"), "ann", "example.org:7470"},
        {LIT("ann@[::1]:5"), "ann", "[::1]:5"},
        {LIT("@example.org"), NULL, NULL},
        {LIT("ann@"), NULL, NULL},
        {LIT("ann@b@c"), NULL, NULL},
        {LIT("a nn"), NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct handle h;
        if (cases[i].name == NULL) {
            CHECK_UINT(handle_read(cases[i].text, &h), ERR_MALFORMED);
            continue;
        }
        CHECK_UINT(handle_read(cases[i].text, &h), OK);
        CHECK_BYTES(bytes_str(h.name), bytes_str(cases[i].name));
        CHECK_BYTES(bytes_str(h.address), bytes_str(cases[i].address));
    }
    struct handle h;
    CHECK_UINT(handle_read(repeated('a', 500), &h), ERR_MALFORMED);
}

static void fingerprints_are_read_as_written(void)
{
    uint8_t hash[32];
    uint8_t got[32];
    char text[FINGERPRINT_TEXT_MAX];
    for (size_t i = 0; i < sizeof(hash); i++)
        hash[i] = (uint8_t)(i * 9);
    fingerprint_write(hash, text);
    CHECK(strncmp(text, "00:09:12:1B", 11) == 0);
    CHECK_UINT(strlen(text), FINGERPRINT_TEXT_MAX - 1);
    CHECK_UINT(fingerprint_read(text, got), OK);
    CHECK_BYTES(BYTES_ARRAY(got), BYTES_ARRAY(hash));

    static const char *const bad[] = {"", "00", "0:0", "zz"};
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK_UINT(fingerprint_read(bad[i], got), ERR_MALFORMED);
    text[0] = 'g';
    CHECK_UINT(fingerprint_read(text, got), ERR_MALFORMED);
}

static const struct test tests[] = {
    TEST(invites_pin_the_server),  TEST(a_recovery_key_is_no_invite),
    TEST(names_have_one_spelling), TEST(addresses_are_normalised),
    TEST(handles_are_read),        TEST(fingerprints_are_read_as_written),
};
TEST_MAIN(tests)
