/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C2SP/CCTV: signatures over points of small order and in encodings that are
 * not canonical. All of them satisfy the equation of some verification rule;
 * a strict verifier takes none whose A or R is of small order or not
 * canonical, nor one that needs the equation to be multiplied by the cofactor
 * (a "residue").
 */
#include "crypto/sign.h"

#include "test.h"
#include "vectors.h"

static bool strict(const json_t *test)
{
    static const char *const refused[] = {
        "low_order_A",     "low_order_R",       "non_canonical_A",
        "non_canonical_R", "low_order_residue",
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        if (vectors_flag(test, refused[i]))
            return false;
    }
    return true;
}

static void run(struct vectors *v, const json_t *root)
{
    for (size_t i = 0; i < json_array_size(root); i++) {
        const json_t *test = json_array_get(root, i);
        struct bytes text = bytes_str(vectors_text(test, "msg"));
        enum err err =
            sign_verify(v->c, SIGN_ED25519, vectors_hex(v, test, "key"), text,
                        vectors_hex(v, test, "sig"));
        vectors_case(v, (err == OK) == strict(test), "case",
                     vectors_int(test, "number"));
    }
}

static const struct vectors_file files[] = {
    {.path = "ed25519/cctv-ed25519vectors.json", .run_json = run},
};

int main(void) { return vectors_main(files, COUNT(files)); }
