/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/buf.h"
#include "proto/hello.h"

/* Writes the request that registers a new account of one device on a
 * connection. `number` names it. */
MUST_USE enum err account_request(struct crypto *c, const struct session *s,
                                  unsigned number, struct buf *out);
