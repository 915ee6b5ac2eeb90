/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials (RFC 9420, section 5.3), and the caller's say on them. */
#pragma once

#include "crypto/suite.h"
#include "mls/objects.h"
#include "mls/public.h"

struct sotto_credential credential_out(const struct suite *s,
                                       const struct credential *c,
                                       struct bytes signature_key);
/* ERR_INVALID, ERR_MALFORMED when an X.509 credential does not begin with a
 * certificate of that key; others hold no key. */
MUST_USE enum err credential_check_key(const struct suite *s,
                                       const struct credential *c,
                                       struct bytes signature_key);
/* Asks the caller's check, if there is one. `before` may be NULL. */
MUST_USE enum err credential_ask(const struct sotto_mls *mls,
                                 const struct sotto_credential *credential,
                                 const struct sotto_credential *before);
