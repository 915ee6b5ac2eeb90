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

#define VIEW(buf) ((struct sotto_bytes){(buf).data, (buf).len})

struct person {
    struct sotto_buf key, public_key; /* for signatures */
    struct sotto_identity identity;
};

static void must(enum sotto_err err)
{
    if (err == SOTTO_OK)
        return;
    (void)fprintf(stderr, "%s\n", sotto_err_text(err));
    exit(1);
}

static struct sotto_bytes text(const char *s)
{
    return (struct sotto_bytes){(const uint8_t *)s, strlen(s)};
}

static void introduce(struct sotto_mls *mls, const char *name, struct person *p)
{
    uint16_t suite = sotto_suite_default();
    must(sotto_mls_signature_keygen(mls, suite, &p->key, &p->public_key));
    p->identity =
        (struct sotto_identity){.suite = suite,
                                .identity = text(name),
                                .signature_private = VIEW(p->key),
                                .signature_public = VIEW(p->public_key),
                                .not_after = UINT64_MAX};
}

int main(void)
{
    struct sotto_mls *mls = NULL;
    struct person alice = {0}, bob = {0};
    struct sotto_group *at_alice = NULL, *at_bob = NULL;
    must(sotto_mls_create(sotto_random_system(), &mls));
    introduce(mls, "alice", &alice);
    introduce(mls, "bob", &bob);

    /* Bob publishes a KeyPackage, and keeps its private part. */
    struct sotto_buf package = {0}, private_part = {0};
    struct sotto_ref ref;
    must(sotto_key_package_create(mls, &bob.identity, &package, &private_part,
                                  &ref));

    /* Alice makes a group and adds him; the server took the commit. */
    struct sotto_bytes add = VIEW(package);
    struct sotto_commit commit = {.adds = &add, .add_count = 1};
    struct sotto_commit_out made = {0};
    must(sotto_group_create(mls, &alice.identity, text("a group"),
                            (struct sotto_extension_list){0}, &at_alice));
    must(sotto_group_commit(at_alice, &commit, &made));
    must(sotto_group_merge_pending(at_alice));

    /* Bob joins by the Welcome, and reads what Alice says. */
    struct sotto_join join = {.welcome = VIEW(made.welcome),
                              .key_package_private = VIEW(private_part)};
    struct sotto_buf message = {0};
    struct sotto_result got = {0};
    must(sotto_group_join(mls, &join, &at_bob));
    must(sotto_group_protect(at_alice, (struct sotto_bytes){0},
                             text("hello, bob"), 256, &message));
    must(sotto_group_process(at_bob, VIEW(message), &got));
    printf("bob reads from leaf %u: %.*s\n", got.sender, (int)got.content.len,
           (const char *)got.content.data);

    sotto_result_free(&got);
    sotto_commit_out_free(&made);
    struct sotto_buf *bufs[] = {&message,       &private_part,     &package,
                                &alice.key,     &alice.public_key, &bob.key,
                                &bob.public_key};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        sotto_buf_free(bufs[i]);
    sotto_group_free(&at_bob);
    sotto_group_free(&at_alice);
    sotto_mls_free(&mls);
    return 0;
}
