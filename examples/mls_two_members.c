/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two members of one group, in one process:
 *
 *     cc mls_two_members.c $(pkg-config --cflags --libs sotto-mls)
 */
#include <sotto/mls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(enum sotto_err err)
{
    if (err != SOTTO_OK) {
        (void)fprintf(stderr, "%s\n", sotto_err_text(err));
        abort();
    }
}

static struct sotto_bytes view(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

static struct sotto_bytes text(const char *s)
{
    return (struct sotto_bytes){(const uint8_t *)s, strlen(s)};
}

int main(void)
{
    struct sotto_mls *mls = NULL;
    struct sotto_group *alice = NULL, *bob = NULL;
    struct sotto_buf alice_key = {0}, alice_pub = {0};
    struct sotto_buf bob_key = {0}, bob_pub = {0};
    struct sotto_buf key_package = {0}, private_part = {0}, message = {0};
    struct sotto_commit_out commit = {0};
    struct sotto_result result = {0};
    struct sotto_ref ref;
    uint16_t suite = sotto_suite_default();

    must(sotto_mls_create(sotto_random_system(), &mls));
    must(sotto_mls_signature_keygen(mls, suite, &alice_key, &alice_pub));
    must(sotto_mls_signature_keygen(mls, suite, &bob_key, &bob_pub));
    struct sotto_identity a = {.suite = suite,
                               .identity = text("alice"),
                               .signature_private = view(&alice_key),
                               .signature_public = view(&alice_pub),
                               .not_after = UINT64_MAX};
    struct sotto_identity b = {.suite = suite,
                               .identity = text("bob"),
                               .signature_private = view(&bob_key),
                               .signature_public = view(&bob_pub),
                               .not_after = UINT64_MAX};

    /* Bob publishes a KeyPackage; Alice makes a group and adds him. */
    must(sotto_key_package_create(mls, &b, &key_package, &private_part, &ref));
    must(sotto_group_create(mls, &a, text("a group"),
                            (struct sotto_extension_list){0}, &alice));
    struct sotto_bytes add = view(&key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    must(sotto_group_commit(alice, &ask, &commit));
    must(sotto_group_merge_pending(alice)); /* the server took the commit */

    /* Bob joins by the Welcome, and reads what Alice says. */
    struct sotto_join join = {.welcome = view(&commit.welcome),
                              .key_package_private = view(&private_part)};
    must(sotto_group_join(mls, &join, &bob));
    must(sotto_group_protect(alice, (struct sotto_bytes){0}, text("hello, bob"),
                             256, &message));
    must(sotto_group_process(bob, view(&message), &result));
    printf("bob reads from leaf %u: %.*s\n", result.sender,
           (int)result.content.len, (const char *)result.content.data);

    sotto_result_free(&result);
    sotto_commit_out_free(&commit);
    sotto_buf_free(&message);
    sotto_buf_free(&private_part);
    sotto_buf_free(&key_package);
    sotto_buf_free(&alice_key);
    sotto_buf_free(&alice_pub);
    sotto_buf_free(&bob_key);
    sotto_buf_free(&bob_pub);
    sotto_group_free(&bob);
    sotto_group_free(&alice);
    sotto_mls_free(&mls);
    return 0;
}
