/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes that this library is willing to handle. */
#pragma once

#include <stddef.h>

#define MLS_VERSION_10       1U
#define MLS_LEVELS_MAX       17U                    /* height of the tree */
#define MLS_LEAVES_MAX       (1U << MLS_LEVELS_MAX) /* 131,072 */
#define MLS_EXTENSIONS_MAX   64U                    /* in one list */
#define MLS_CAPABILITIES_MAX 256U                   /* in one list */
#define MLS_CERTIFICATES_MAX 16U                    /* in one chain */
#define MLS_PSKS_MAX         64U                    /* in one commit */
#define MLS_PROPOSALS_MAX    MLS_LEAVES_MAX         /* in one commit */
#define MLS_LEAF_MAX         ((size_t)64 * 1024)    /* bytes of a LeafNode */
#define MLS_MESSAGE_MAX      ((size_t)64 * 1024 * 1024) /* any one object */
