/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X.509 certificates (RFC 5280), as far as the credentials of MLS need them:
 * DER in, an answer out. The chain's first certificate is that of the end
 * entity. Time and trust anchors are arguments; revocation is not looked at.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sign.h"

#define X509_CHAIN_MAX 16U

/* ERR_INVALID unless the certificate is one for that key: its whole DER, of
 * the same algorithm, and fit for signatures by its key usage. */
MUST_USE enum err x509_check_key(struct bytes certificate, enum sign_id alg,
                                 struct bytes public_key);

struct x509_chain {
    struct bytes certificate[X509_CHAIN_MAX];
    size_t count;
};

struct x509_question {
    const struct x509_chain *chain;
    const struct bytes *anchors; /* DER, or PEM of one or more */
    size_t anchor_count;
    uint64_t now;      /* seconds since 1970 */
    struct bytes name; /* DNS name or e-mail address; empty: any */
};
/* ERR_MALFORMED: a certificate or anchor does not parse. ERR_AUTH: no path to
 * an anchor that is valid now. ERR_INVALID: it is, but of another name. */
MUST_USE enum err x509_verify(const struct x509_question *q);

/* ERR_INVALID unless both name the same subject, alternative names included. */
MUST_USE enum err x509_check_successor(struct bytes before, struct bytes after);
