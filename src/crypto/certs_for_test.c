/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/certs_for_test.h"

#include "base/mem.h"
#include "crypto/openssl.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

struct test_ca {
    EVP_PKEY *key;
    X509 *cert;
};

void test_ca_free(struct test_ca **ca)
{
    if (*ca == NULL)
        return;
    EVP_PKEY_free((*ca)->key);
    X509_free((*ca)->cert);
    mem_drop(*ca);
    *ca = NULL;
}

static bool extension_add(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* All but the extensions and the signature. */
static bool begin(X509 *x, const char *subject, const X509 *issuer,
                  EVP_PKEY *key, uint64_t from, uint64_t to)
{
    static long serial;
    X509_NAME *name = X509_get_subject_name(x);
    return X509_set_version(x, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)subject, -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(
               x, issuer != NULL ? X509_get_subject_name(issuer) : name) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to) != NULL &&
           X509_set_pubkey(x, key) == 1;
}

enum err test_ca_create(const char *name, const struct test_ca *issuer,
                        struct test_ca **out)
{
    CLEANUP(test_ca_free) struct test_ca *ca = mem_alloc(sizeof(*ca));
    if (ca == NULL)
        return ERR_NOMEM;
    ca->key = EVP_EC_gen("P-256");
    ca->cert = X509_new();
    const struct test_ca *by = issuer != NULL ? issuer : ca;
    bool ok = ca->key != NULL && ca->cert != NULL &&
              begin(ca->cert, name, issuer != NULL ? issuer->cert : NULL,
                    ca->key, CERT_FROM, CERT_TO) &&
              extension_add(ca->cert, by->cert, NID_basic_constraints,
                            "critical,CA:TRUE") &&
              extension_add(ca->cert, by->cert, NID_key_usage,
                            "critical,keyCertSign,cRLSign") &&
              X509_sign(ca->cert, by->key, EVP_sha256()) > 0;
    if (!ok)
        return ERR_NOMEM;
    *out = ca;
    ca = NULL; /* handed over */
    return OK;
}

static enum err der_append(X509 *x, struct buf *out)
{
    uint8_t *der = NULL;
    int len = i2d_X509(x, &der);
    if (len <= 0)
        return ERR_NOMEM;
    enum err err = buf_append(out, (struct bytes){der, (size_t)len});
    OPENSSL_free(der);
    return err;
}

enum err test_ca_der(const struct test_ca *ca, struct buf *out)
{
    return der_append(ca->cert, out);
}

enum err test_ca_pem(const struct test_ca *ca, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum err err = ERR_NOMEM;
    if (bio != NULL && PEM_write_bio_X509(bio, ca->cert) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        err = buf_append(out, (struct bytes){(uint8_t *)text, (size_t)len});
    }
    BIO_free(bio);
    return err;
}

static EVP_PKEY *key_of(enum sign_id alg, struct bytes public_key)
{
    static const struct {
        enum sign_id alg;
        const char *type, *group;
    } rows[] = {{SIGN_ED25519, "ED25519", NULL},
                {SIGN_ED448, "ED448", NULL},
                {SIGN_P256, "EC", "P-256"},
                {SIGN_P384, "EC", "P-384"},
                {SIGN_P521, "EC", "P-521"}};
    size_t i = 0;
    while (rows[i].alg != alg)
        i++;
    if (rows[i].group == NULL)
        return EVP_PKEY_new_raw_public_key_ex(NULL, rows[i].type, NULL,
                                              public_key.data, public_key.len);
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    char group[8] = {0};
    uint8_t point[SIGN_PUBLIC_MAX];
    memcpy(group, rows[i].group, strlen(rows[i].group));
    memcpy(point, public_key.data, public_key.len);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point,
                                          public_key.len),
        OSSL_PARAM_construct_end()};
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

enum err test_cert_make(const struct test_ca *ca, const struct test_cert *cert,
                        struct buf *out)
{
    EVP_PKEY *key = key_of(cert->alg, cert->public_key);
    X509 *x = X509_new();
    bool always = cert->from == 0 && cert->to == 0;
    bool ok =
        key != NULL && x != NULL &&
        begin(x, cert->subject, ca->cert, key, always ? CERT_FROM : cert->from,
              always ? CERT_TO : cert->to) &&
        extension_add(x, ca->cert, NID_key_usage,
                      cert->usage != NULL ? cert->usage : "digitalSignature") &&
        (cert->names == NULL ||
         extension_add(x, ca->cert, NID_subject_alt_name, cert->names)) &&
        X509_sign(x, ca->key, EVP_sha256()) > 0;
    enum err err = ok ? der_append(x, out) : ERR_NOMEM;
    EVP_PKEY_free(key);
    X509_free(x);
    return err;
}
