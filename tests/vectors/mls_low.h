/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of mls_tree.c, for the table in mls_low.c. */
#pragma once

#include "crypto/entropy.h"
#include "mls_vectors.h"

enum verdict run_tree_math(struct crypto *c, const json_t *j,
                           char why[WHY_SIZE]);
enum verdict run_tree_operations(struct crypto *c, const json_t *j,
                                 char why[WHY_SIZE]);
enum verdict run_tree_validation(struct crypto *c, const json_t *j,
                                 char why[WHY_SIZE]);
enum verdict run_treekem(struct crypto *c, const json_t *j, char why[WHY_SIZE]);
