/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/credential.h"

#include "base/mem.h"
#include "crypto/x509.h"

_Static_assert(X509_CHAIN_MAX == MLS_CERTIFICATES_MAX, "one limit");

struct sotto_credential credential_out(const struct suite *s,
                                       const struct credential *c,
                                       struct bytes signature_key)
{
    return (struct sotto_credential){
        (uint16_t)s->id, c->type, bytes_out(c->body), bytes_out(signature_key)};
}

/* The certificates of a credential's body. */
static enum err chain_read(struct bytes body, struct x509_chain *out)
{
    struct reader r = reader_of(body);
    out->count = 0;
    while (reader_more(&r)) {
        if (out->count == X509_CHAIN_MAX)
            return ERR_LIMIT;
        out->certificate[out->count++] = reader_vec(&r);
    }
    return reader_finish(&r);
}

/* "The public key encoded in the subjectPublicKeyInfo of the end-entity
 * certificate MUST be identical to the signature_key in the LeafNode." */
enum err credential_check_key(const struct suite *s, const struct credential *c,
                              struct bytes signature_key)
{
    struct x509_chain chain = {0};
    if (c->type != CREDENTIAL_X509)
        return OK;
    TRY(chain_read(c->body, &chain));
    if (chain.count == 0)
        return ERR_INVALID;
    return x509_check_key(chain.certificate[0], s->sign, signature_key);
}

/* Only a want of memory or of the store says nothing about the credential. */
enum err credential_ask(const struct sotto_mls *mls,
                        const struct sotto_credential *credential,
                        const struct sotto_credential *before)
{
    const struct sotto_credential_check *check = &mls->credential_check;
    if (check->check == NULL)
        return OK;
    switch (check->check(check->ctx, credential, before)) {
    case SOTTO_OK:
        return OK;
    case SOTTO_ERR_NOMEM:
        return ERR_NOMEM;
    case SOTTO_ERR_IO:
        return ERR_IO;
    case SOTTO_ERR_AUTH:
        return ERR_AUTH;
    default: /* a value from outside may be no enumerator */
        return ERR_INVALID;
    }
}

/* ---- The installed header ---- */

enum sotto_err sotto_certificate_at(struct sotto_bytes identity, size_t i,
                                    struct sotto_bytes *out)
{
    struct x509_chain chain = {0};
    if (bad_view(identity) || out == NULL)
        return SOTTO_ERR_USAGE;
    enum err err = chain_read(bytes_in(identity), &chain);
    if (err != OK)
        return err_out(err);
    if (i >= chain.count)
        return SOTTO_ERR_NOTFOUND;
    *out = bytes_out(chain.certificate[i]);
    return SOTTO_OK;
}

static enum err x509_of(const struct sotto_credential *c,
                        struct x509_chain *chain)
{
    if (c->type != CREDENTIAL_X509)
        return ERR_INVALID;
    TRY(chain_read(bytes_in(c->identity), chain));
    return chain->count > 0 ? OK : ERR_INVALID;
}

static enum err verify(const struct sotto_x509_trust *trust,
                       const struct sotto_credential *c, struct bytes name)
{
    struct x509_chain chain = {0};
    const struct suite *s = suite_find(c->suite);
    if (s == NULL)
        return ERR_INVALID;
    TRY(x509_of(c, &chain));
    TRY(x509_check_key(chain.certificate[0], s->sign,
                       bytes_in(c->signature_key)));

    size_t room = trust->anchor_count * sizeof(struct bytes);
    struct bytes *anchors = mem_alloc(room);
    if (anchors == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < trust->anchor_count; i++)
        anchors[i] = bytes_in(trust->anchors[i]);
    struct x509_question q = {&chain, anchors, trust->anchor_count, trust->now,
                              name};
    enum err err = x509_verify(&q);
    mem_drop(anchors);
    return err;
}

enum sotto_err sotto_x509_verify(const struct sotto_x509_trust *trust,
                                 const struct sotto_credential *credential,
                                 struct sotto_bytes name)
{
    if (trust == NULL || credential == NULL ||
        (trust->anchors == NULL && trust->anchor_count > 0) || bad_view(name))
        return SOTTO_ERR_USAGE;
    if (trust->anchor_count == 0)
        return SOTTO_ERR_AUTH;
    return err_out(verify(trust, credential, bytes_in(name)));
}

/* Who has presented another kind of credential before has no names to keep. */
static enum err check_successor(const struct sotto_credential *c,
                                const struct sotto_credential *before)
{
    struct x509_chain old_chain = {0};
    struct x509_chain new_chain = {0};
    TRY(x509_of(before, &old_chain));
    TRY(x509_of(c, &new_chain));
    return x509_check_successor(old_chain.certificate[0],
                                new_chain.certificate[0]);
}

enum sotto_err sotto_x509_check(void *ctx,
                                const struct sotto_credential *credential,
                                const struct sotto_credential *before)
{
    enum sotto_err err =
        sotto_x509_verify(ctx, credential, (struct sotto_bytes){0});
    if (err != SOTTO_OK || before == NULL)
        return err;
    return err_out(check_successor(credential, before));
}
