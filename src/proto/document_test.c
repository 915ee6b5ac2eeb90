/* SPDX-License-Identifier: Apache-2.0 */
/* docs/protocol.md says what the code does, as far as a table can be wrong. */
#include "proto/content.h"
#include "proto/entry.h"
#include "proto/envelope.h"
#include "proto/group_ext.h"
#include "proto/joining.h"

#include "identity/chain.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

static char text[1U << 16];

static bool document_load(void)
{
    FILE *f = fopen(SOURCE_ROOT "/docs/protocol.md", "rb");
    if (f == NULL)
        return false;
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    return len > 0 && len < sizeof(text) - 1;
}

/* Whether the document has this row, or says what it lacks. */
static bool has(const char *row)
{
    if (strstr(text, row) != NULL)
        return true;
    printf("# docs/protocol.md lacks: %s\n", row);
    return false;
}

/* The document's words for where a method is allowed. */
static const char *place_of(const struct method_info *m)
{
    if (m->kind == FRAME_EVENT)
        return "event";
    if (m->stage == STAGE_LOGIN)
        return "after login";
    if (m->lanes == 1U << LANE_ANONYMOUS)
        return "anonymous";
    return m->lanes == 1U << LANE_IDENTIFIED ? "identified" : "both";
}

static void names_each_method_with_its_number(void)
{
    CHECK(document_load());
    for (uint32_t n = 0; n <= UINT16_MAX; n++) {
        const struct method_info *m = method_find((uint16_t)n);
        char row[64];
        if (m == NULL)
            continue;
        (void)snprintf(row, sizeof(row), "| %u | `%s` | %s |", (unsigned)n,
                       m->name, place_of(m));
        CHECK(has(row));
    }
}

static void names_each_label(void)
{
    CHECK(document_load());
    for (unsigned i = 0; i < LABEL_COUNT_; i++) {
        struct bytes label = label_text((enum label)i);
        char row[64];
        (void)snprintf(row, sizeof(row), "| `%.*s` |", (int)label.len,
                       (const char *)label.data);
        CHECK(has(row));
    }
}

#define LIMIT(name) {#name, name}

static void gives_each_limit_its_value(void)
{
    static const struct {
        const char *name;
        uint64_t value;
    } limits[] = {
        LIMIT(FRAME_MAX),      LIMIT(MESSAGE_MAX),     LIMIT(MESSAGE_EARLY_MAX),
        LIMIT(ENTRY_MAX),      LIMIT(EPHEMERAL_MAX),   LIMIT(BLOB_PIECE_MAX),
        LIMIT(BLOB_DAYS_MAX),  LIMIT(STATE_SIZE_MAX),  LIMIT(KEY_PACKAGE_MAX),
        LIMIT(KEY_PACKAGES),   LIMIT(INBOX_ITEM_SIZE), LIMIT(INBOX_READ_MAX),
        LIMIT(READ_BYTES_MAX), LIMIT(CHAIN_BYTES_MAX), LIMIT(SUBSCRIPTIONS_MAX),
        LIMIT(RETENTION_DAYS), LIMIT(JOINING_MAX),     LIMIT(ENVELOPE_MAX),
        LIMIT(CONTENT_MAX),    LIMIT(CHAIN_MAX),
    };
    CHECK(document_load());
    for (size_t i = 0; i < COUNT(limits); i++) {
        char row[64];
        (void)snprintf(row, sizeof(row), "| `%s` | %llu |", limits[i].name,
                       (unsigned long long)limits[i].value);
        CHECK(has(row));
    }
}

static void names_each_code_point(void)
{
    static const uint16_t types[] = {EXT_CHANNEL,      EXT_SUBSCRIPTION,
                                     EXT_PROFILE,      EXT_ACCOUNT,
                                     COMPONENT_STATES, COMPONENT_JOINING};
    CHECK(document_load());
    for (size_t i = 0; i < COUNT(types); i++) {
        char row[64];
        (void)snprintf(row, sizeof(row), "| 0x%04x |", (unsigned)types[i]);
        CHECK(has(row));
    }
    CHECK(has("ALPN `" TLS_ALPN "`"));
    CHECK(has("`" TLS_EXPORTER "`"));
    CHECK(has("port 7470"));
    CHECK_UINT(SERVER_PORT, 7470);
}

static const struct test tests[] = {
    TEST(names_each_method_with_its_number),
    TEST(names_each_label),
    TEST(gives_each_limit_its_value),
    TEST(names_each_code_point),
};
TEST_MAIN(tests)
