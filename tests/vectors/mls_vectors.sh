#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mls_vectors.sh PROGRAM ROOT: runs every MLS vector file that is there.
dir=${SOTTO_VECTORS:-$2/../shared/vectors}/mls
if [ ! -d "$dir" ]; then
    echo "no vectors in $dir: scripts/vectors fetches them" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 77
fi
exec "$1" "$dir"/*.json
