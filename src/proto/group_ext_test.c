/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/group_ext.h"

#include "test.h"

#define ID    LIT("an id of thirty-two bytes, no mo")
#define OTHER LIT("and a second one of thirty-two..")

static enum err channel_copy(struct bytes b, struct buf *out)
{
    struct group_channel x;
    TRY(group_channel_read(b, &x));
    return group_channel_write(out, &x);
}

static enum err subscription_copy(struct bytes b, struct buf *out)
{
    CLEANUP(secret_clear) struct secret x = {0};
    TRY(group_subscription_read(b, &x));
    return group_subscription_write(out, &x);
}

static enum err profile_copy(struct bytes b, struct buf *out)
{
    struct group_profile x;
    TRY(group_profile_read(b, &x));
    return group_profile_write(out, &x);
}

static enum err leaf_copy(struct bytes b, struct buf *out)
{
    struct leaf_account x;
    TRY(leaf_account_read(b, &x));
    return leaf_account_write(out, &x);
}

static enum err states_copy(struct bytes b, struct buf *out)
{
    struct account_states x;
    TRY(account_states_read(b, &x));
    return account_states_write(out, &x);
}

static enum err joining_copy(struct bytes b, struct buf *out)
{
    struct joining_ref x;
    TRY(joining_ref_read(b, &x));
    return joining_ref_write(out, &x);
}

static enum err example_write(size_t i, struct buf *out)
{
    struct secret secret = {.len = SUBSCRIPTION_SECRET};
    switch (i) {
    case 0:
        return group_channel_write(
            out, &(struct group_channel){LIT("host:7470"), ID, OTHER});
    case 1:
        return group_subscription_write(out, &secret);
    case 2:
        return group_profile_write(
            out, &(struct group_profile){GROUP_MANY, LIT("name")});
    case 3:
        return leaf_account_write(out, &(struct leaf_account){3, ID});
    case 4:
        return account_states_write(out,
                                    &(struct account_states){ID, LIT("\x01x")});
    default:
        return joining_ref_write(out, &(struct joining_ref){ID, OTHER});
    }
}

static void reads_what_it_wrote(void)
{
    static enum err (*const copies[])(struct bytes, struct buf *) = {
        channel_copy, subscription_copy, profile_copy,
        leaf_copy,    states_copy,       joining_copy,
    };
    for (size_t i = 0; i < COUNT(copies); i++) {
        CLEANUP(buf_clear) struct buf first = buf_new(1024);
        CLEANUP(buf_clear) struct buf second = buf_new(1024);
        CHECK_UINT(example_write(i, &first), OK);
        CHECK_UINT(copies[i](buf_bytes(&first), &second), OK);
        CHECK_BYTES(buf_bytes(&second), buf_bytes(&first));

        for (size_t len = 0; len < first.len; len++) {
            struct bytes cut = {first.data, len};
            CHECK_UINT(copies[i](cut, &second), ERR_MALFORMED);
        }
        CHECK_UINT(buf_extend(&first, 1), OK);
        CHECK_UINT(copies[i](buf_bytes(&first), &second), ERR_MALFORMED);
        first.len--;
        first.data[0] = 2; /* version */
        CHECK_UINT(copies[i](buf_bytes(&first), &second), ERR_MALFORMED);
    }
}

static void rejects_values_out_of_range(void)
{
    struct group_profile profile;
    struct group_channel channel;
    CHECK_UINT(group_profile_read(LIT("\x01\x00\x00"), &profile),
               ERR_MALFORMED);
    CHECK_UINT(group_profile_read(LIT("\x01\x04\x00"), &profile),
               ERR_MALFORMED);
    CHECK_UINT(group_channel_read(LIT("\x01\x00"
                                      "an id of thirty-two bytes, no mo"
                                      "an id of thirty-two bytes, no mo"),
                                  &channel),
               ERR_MALFORMED); /* no address */
}

static void refuses_parts_of_a_wrong_size(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(1024);
    struct secret secret = {.len = 5};
    static uint8_t name[GROUP_NAME_MAX + 1];
    CHECK_UINT(group_subscription_write(&out, &secret), ERR_INVALID);
    CHECK_UINT(group_channel_write(
                   &out, &(struct group_channel){LIT("h"), ID, LIT("x")}),
               ERR_INVALID);
    CHECK_UINT(
        group_profile_write(
            &out, &(struct group_profile){GROUP_MANY, BYTES_ARRAY(name)}),
        ERR_LIMIT);
    CHECK_UINT(leaf_account_write(&out, &(struct leaf_account){1, LIT("x")}),
               ERR_INVALID);
    CHECK_UINT(joining_ref_write(&out, &(struct joining_ref){ID, LIT("x")}),
               ERR_INVALID);
    CHECK_UINT(out.len, 0);
}

static const struct test tests[] = {
    TEST(reads_what_it_wrote),
    TEST(rejects_values_out_of_range),
    TEST(refuses_parts_of_a_wrong_size),
};
TEST_MAIN(tests)
