/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/key_package.h"
#include "mls/messages.h"
#include "mls/schedule.h"
#include "mls/treekem.h"

#include "crypto/entropy.h"
#include "sotto/mls_components.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define ITEMS_MAX 64U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Defines a function that reads one struct and writes it again; its error: the
 * bytes are not of that format. */
#define AGAIN(name, read, write)                                  \
    static enum err again_##name(struct bytes b, struct buf *out) \
    {                                                             \
        struct name x = {0};                                      \
        struct reader r = reader_of(b);                           \
        read;                                                     \
        TRY(reader_finish(&r));                                   \
        struct writer w = writer_to(out);                         \
        write;                                                    \
        return writer_finish(&w);                                 \
    }
#define AGAIN_SIMPLE(name) \
    AGAIN(name, name##_read(&r, &x), name##_write(&w, &x))

AGAIN_SIMPLE(authenticated_content)
AGAIN_SIMPLE(commit)
AGAIN_SIMPLE(epoch_secrets)
AGAIN_SIMPLE(external_sender)
AGAIN_SIMPLE(group_context)
AGAIN_SIMPLE(group_secrets)
AGAIN_SIMPLE(leaf_node)
AGAIN_SIMPLE(mls_message)
AGAIN_SIMPLE(proposal)
AGAIN_SIMPLE(required_capabilities)
AGAIN_SIMPLE(sender_data)
AGAIN_SIMPLE(update_path)

/* Loses a zero of a long padding. */
static void spoil(struct private_content *x)
{
    x->padding -= PLANTED_BUG && x->padding > 40;
}
AGAIN(private_content, private_content_read(&r, CONTENT_COMMIT, &x);
      spoil(&x), private_content_write(&w, CONTENT_COMMIT, &x))

static enum err again_tree(struct bytes b, struct buf *out)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    TRY(tree_read(suite_find(SUITE_X25519_AES128), b, &t));
    struct writer w = writer_to(out);
    tree_write(&w, t);
    return writer_finish(&w);
}

static enum err again_private_package(struct bytes b, struct buf *out)
{
    CLEANUP(key_package_private_clear) struct key_package_private p = {0};
    TRY(key_package_private_read(b, &p));
    struct writer w = writer_to(out);
    key_package_private_write(&w, &p);
    return writer_finish(&w);
}

/* Over the installed header: its list in, the same list out. */
static enum err again_dictionary(struct bytes b, struct buf *out)
{
    struct sotto_component_data items[ITEMS_MAX] = {0};
    struct sotto_buf encoded = {0};
    enum sotto_err err = SOTTO_OK;
    size_t count = 0;
    for (; err == SOTTO_OK && count < ITEMS_MAX; count += err == SOTTO_OK)
        err = sotto_app_data_at((struct sotto_bytes){b.data, b.len}, count,
                                &items[count]);
    if (err != SOTTO_ERR_NOTFOUND)
        return ERR_MALFORMED;
    assert(sotto_app_data_encode(items, count, &encoded) == SOTTO_OK);
    err = (enum sotto_err)buf_append(out,
                                     (struct bytes){encoded.data, encoded.len});
    sotto_buf_free(&encoded);
    return (enum err)err;
}

static enum err (*const formats[])(struct bytes, struct buf *) = {
    again_mls_message,
    again_authenticated_content,
    again_proposal,
    again_commit,
    again_update_path,
    again_leaf_node,
    again_group_context,
    again_group_secrets,
    again_private_content,
    again_sender_data,
    again_external_sender,
    again_required_capabilities,
    again_tree,
    again_private_package,
    again_epoch_secrets,
    again_dictionary,
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

/* What anybody may ask about bytes from anybody. */
static void ask(struct bytes b, bool parses)
{
    static struct sotto_mls *mls;
    const struct sotto_bytes message = {b.data, b.len};
    struct sotto_message_view view;
    struct sotto_key_package package;
    struct sotto_extension extension;
    struct sotto_ref ref;
    if (mls == NULL)
        assert(sotto_mls_create(sotto_random_system(), &mls) == SOTTO_OK);
    assert((sotto_message_peek(message, &view) == SOTTO_OK) == parses);
    if (sotto_key_package_inspect(mls, message, &package) == SOTTO_OK)
        assert(parses && package.ref.len > 0);
    for (size_t i = 0; sotto_welcome_ref(message, i, &ref) == SOTTO_OK; i++)
        assert(parses && ref.len <= sizeof(ref.data));
    for (size_t i = 0; sotto_extension_at(message, i, &extension) == SOTTO_OK;
         i++)
        assert(extension.data.len <= b.len);
}

/* What parses must encode back to the same bytes. The first byte says as what
 * the rest is read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf out = buf_new(2 * size + 8192);
    if (size == 0)
        return 0;
    struct bytes b = {data + 1, size - 1};
    unsigned format = data[0] % FORMATS;
    enum err err = formats[format](b, &out);
    if (err == OK)
        assert(bytes_equal(buf_bytes(&out), b));
    else
        assert(err != ERR_NOMEM && out.len == 0);
    if (formats[format] == again_mls_message)
        ask(b, err == OK);
    return 0;
}
