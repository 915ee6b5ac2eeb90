/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/x509.h"

#include "crypto/internal.h"

#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* No SHA-1, no RSA below 2048 bits: 112 bits at least. */
#define SECURITY_LEVEL 2
#define DER_MAX        ((size_t)64 * 1024)
#define ANCHORS_MAX    ((size_t)8 * 1024 * 1024) /* bytes of a PEM bundle */
#define ANCHOR_COUNT   1024U                     /* in all */
#define NAME_MAX_LEN   320U                      /* of an e-mail address */

static void cert_free(X509 **x)
{
    X509_free(*x);
    *x = NULL;
}

static void certs_free(STACK_OF(X509) * *s)
{
    sk_X509_pop_free(*s, X509_free);
    *s = NULL;
}

static void bio_free(BIO **b)
{
    BIO_free(*b);
    *b = NULL;
}

static void store_free(X509_STORE **s)
{
    X509_STORE_free(*s);
    *s = NULL;
}

static void store_ctx_free(X509_STORE_CTX **c)
{
    X509_STORE_CTX_free(*c);
    *c = NULL;
}

static enum err cert_read(struct bytes der, X509 **out)
{
    const uint8_t *at = der.data;
    if (der.len == 0 || der.len > DER_MAX)
        return ERR_MALFORMED;
    CLEANUP(cert_free) X509 *x = d2i_X509(NULL, &at, (long)der.len);
    TRY(openssl_judge(x != NULL && at == der.data + der.len, ERR_MALFORMED));
    *out = x;
    x = NULL; /* handed over */
    return OK;
}

/* ---- The key ---- */

static const struct key_kind {
    enum sign_id alg;
    const char *type;
    const char *group; /* of the NIST curves */
} kinds[] = {
    {SIGN_ED25519, "ED25519", NULL}, {SIGN_ED448, "ED448", NULL},
    {SIGN_P256, "EC", "prime256v1"}, {SIGN_P384, "EC", "secp384r1"},
    {SIGN_P521, "EC", "secp521r1"},
};

static bool is_of_kind(EVP_PKEY *key, const struct key_kind *kind)
{
    char group[32] = {0};
    size_t len = 0;
    if (EVP_PKEY_is_a(key, kind->type) != 1)
        return false;
    return kind->group == NULL ||
           (EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
            strcmp(group, kind->group) == 0);
}

/* The key as RFC 9420, section 5.1.1 encodes it: a point is uncompressed. */
static bool has_bytes(EVP_PKEY *key, const struct key_kind *kind,
                      struct bytes public_key)
{
    uint8_t own[SIGN_PUBLIC_MAX] = {0};
    size_t len = 0;
    if (kind->group != NULL &&
        EVP_PKEY_set_utf8_string_param(
            key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed") !=
            1)
        return false;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, own,
                                        sizeof(own), &len) != 1)
        return false;
    return bytes_equal(bytes_of(own, len), public_key);
}

enum err x509_check_key(struct bytes certificate, enum sign_id alg,
                        struct bytes public_key)
{
    CLEANUP(cert_free) X509 *x = NULL;
    TRY(cert_read(certificate, &x));
    EVP_PKEY *key = X509_get0_pubkey(x);
    size_t i = 0;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && kinds[i].alg != alg)
        i++;
    bool ok = key != NULL && i < sizeof(kinds) / sizeof(kinds[0]) &&
              is_of_kind(key, &kinds[i]) &&
              has_bytes(key, &kinds[i], public_key) &&
              (X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE) != 0;
    return openssl_judge(ok, ERR_INVALID);
}

/* ---- The chain ---- */

/* Never asks a terminal for the password of an encrypted file. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's type */
static int no_password(char *buf, int size, int rwflag, void *ctx)
{
    (void)buf, (void)size, (void)rwflag, (void)ctx;
    return -1;
}

/* A certificate is a SEQUENCE with a length of two or more bytes, and no text
 * begins so. */
static bool is_der(struct bytes b)
{
    return b.len > 1 && b.data[0] == 0x30 && b.data[1] > 0x80;
}

static enum err anchor_add(X509_STORE *store, X509 *x, size_t *count)
{
    if (++*count > ANCHOR_COUNT)
        return ERR_LIMIT;
    return openssl_check(X509_STORE_add_cert(store, x) == 1);
}

/* All certificates of a PEM file; at least one. */
static enum err anchors_read_pem(X509_STORE *store, struct bytes pem,
                                 size_t *count)
{
    CLEANUP(bio_free) BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    TRY(openssl_check(bio != NULL));
    for (size_t n = 0;; n++) {
        CLEANUP(cert_free)
        X509 *x = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (x == NULL) {
            bool at_end =
                ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            return openssl_judge(false, n > 0 && at_end ? OK : ERR_MALFORMED);
        }
        TRY(anchor_add(store, x, count));
    }
}

static enum err anchors_read(const struct x509_question *q, X509_STORE *store)
{
    size_t count = 0;
    for (size_t i = 0; i < q->anchor_count; i++) {
        CLEANUP(cert_free) X509 *x = NULL;
        if (q->anchors[i].len > ANCHORS_MAX)
            return ERR_LIMIT;
        if (q->anchors[i].len == 0) /* for OpenSSL, a want of memory */
            return ERR_MALFORMED;
        if (!is_der(q->anchors[i])) {
            TRY(anchors_read_pem(store, q->anchors[i], &count));
            continue;
        }
        TRY(cert_read(q->anchors[i], &x));
        TRY(anchor_add(store, x, &count));
    }
    return OK;
}

/* All but the first, which need not be in order: the path decides. */
static enum err others_read(const struct x509_chain *chain,
                            STACK_OF(X509) * others)
{
    for (size_t i = 1; i < chain->count; i++) {
        CLEANUP(cert_free) X509 *x = NULL;
        TRY(cert_read(chain->certificate[i], &x));
        TRY(openssl_check(sk_X509_push(others, x) > 0));
        x = NULL; /* handed over */
    }
    return OK;
}

/* Each anchor is trusted as it is, also one that another CA has signed. */
static bool set_rules(X509_STORE_CTX *ctx, uint64_t now)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    uint64_t last = sizeof(time_t) > 4 ? INT64_MAX : INT32_MAX;
    X509_VERIFY_PARAM_set_time(param, (time_t)(now < last ? now : last));
    X509_VERIFY_PARAM_set_depth(param, X509_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
    return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) == 1;
}

static enum err path_check(const struct x509_question *q, X509 *first,
                           STACK_OF(X509) * others)
{
    CLEANUP(store_free) X509_STORE *store = X509_STORE_new();
    CLEANUP(store_ctx_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    TRY(openssl_check(store != NULL && ctx != NULL));
    TRY(anchors_read(q, store));
    TRY(openssl_check(X509_STORE_CTX_init(ctx, store, first, others) == 1 &&
                      set_rules(ctx, q->now)));
    return openssl_judge(X509_verify_cert(ctx) == 1, ERR_AUTH);
}

/* OpenSSL takes a name with a dot before it for all that end so, and looks past
 * a NUL at the end. */
static enum err name_check(X509 *x, struct bytes name)
{
    const char *text = (const char *)name.data;
    if (name.len == 0)
        return OK;
    if (name.len > NAME_MAX_LEN || text[0] == '.' ||
        memchr(text, '\0', name.len) != NULL)
        return ERR_INVALID;
    bool email = memchr(text, '@', name.len) != NULL;
    bool ok = email ? X509_check_email(x, text, name.len,
                                       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT) == 1
                    : X509_check_host(x, text, name.len,
                                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                          X509_CHECK_FLAG_NO_WILDCARDS,
                                      NULL) == 1;
    return openssl_judge(ok, ERR_INVALID);
}

enum err x509_verify(const struct x509_question *q)
{
    CLEANUP(cert_free) X509 *first = NULL;
    CLEANUP(certs_free) STACK_OF(X509) *others = sk_X509_new_null();
    TRY(openssl_check(others != NULL));
    if (q->chain->count == 0)
        return ERR_MALFORMED;
    TRY(cert_read(q->chain->certificate[0], &first));
    TRY(others_read(q->chain, others));
    TRY(path_check(q, first, others));
    return name_check(first, q->name);
}

/* ---- Succession ---- */

/* The DER of the alternative names; empty when there are none. */
static struct bytes alternative_names(X509 *x)
{
    int at = X509_get_ext_by_NID(x, NID_subject_alt_name, -1);
    const ASN1_OCTET_STRING *data =
        at >= 0 ? X509_EXTENSION_get_data(X509_get_ext(x, at)) : NULL;
    return data != NULL ? bytes_of(ASN1_STRING_get0_data(data),
                                   (size_t)ASN1_STRING_length(data))
                        : (struct bytes){0};
}

enum err x509_check_successor(struct bytes before, struct bytes after)
{
    CLEANUP(cert_free) X509 *old_one = NULL;
    CLEANUP(cert_free) X509 *new_one = NULL;
    TRY(cert_read(before, &old_one));
    TRY(cert_read(after, &new_one));
    bool same =
        X509_NAME_cmp(X509_get_subject_name(old_one),
                      X509_get_subject_name(new_one)) == 0 &&
        bytes_equal(alternative_names(old_one), alternative_names(new_one));
    return openssl_judge(same, ERR_INVALID);
}
