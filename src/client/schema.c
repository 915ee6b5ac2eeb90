/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store. What is still to be done is always a row:
 *
 *     profile      the account: keys, registration, inbox cursor
 *     server       where lanes go, and how each is known
 *     account      people: handle, contact capability, newest chain we know
 *     conversation state of each log: cursor, newest handshake, running hash
 *     member       each account's chain, as far as the log has told it
 *     mls          the records of each conversation's group
 *     log_hash     running hashes to compare with what others saw
 *     message      what people read, notices included
 *     outbox       own messages until they come back in order
 *     tried        hashes of every body tried for an outbox row, and of commits
 *                  that the server refused; kept for a while, to know a
 *                  doubled or hidden entry as our own
 *     intent       commits that somebody wants: add, remove, path, rejoin
 *     taken        KeyPackages fetched for an intent
 *     pending      the own commit that waits for its turn
 *     reopen       subscriptions that a commit which does not count has ended;
 *                  own capabilities to be given up after joining again
 *     leaf         when each device was added, by the server's clock
 *     silent       new devices from which nothing has come, and where their
 *                  Welcome is
 *     key_package  private parts of what was published; last_resort 2: one
 *                  that was used, and replaced
 *     mail         inbox items to others, until their server took them
 *     joining      Welcomes being fetched
 *
 *   outbox:  queued -> sent -> accepted -> (row gone: it came back)
 *              ^        |  a foreign commit won: encrypted again
 *              +--------+
 *   intent:  lookup -> chain -> take -> ready -> (pending) -> row gone
 *   pending: blob -> append -> merged, or dropped and made again
 */
#include "client/schema.h"

#include "sql/sql.h"

#define SCHEMA_APP_ID 0x536f7443U /* "SoTC" */

static const char *const steps[] = {
    "CREATE TABLE profile ("
    " id INTEGER PRIMARY KEY CHECK (id = 1), state INTEGER NOT NULL,"
    " server INTEGER NOT NULL, handle TEXT NOT NULL, invite BLOB NOT NULL,"
    " account BLOB, device BLOB NOT NULL, sign_private BLOB NOT NULL,"
    " sign_public BLOB NOT NULL, seal_private BLOB NOT NULL,"
    " seal_public BLOB NOT NULL, recovery_public BLOB NOT NULL,"
    " contact_cap BLOB NOT NULL, inbox_cursor INTEGER NOT NULL DEFAULT 0,"
    " packages_at INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE server ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " address TEXT NOT NULL UNIQUE, trust INTEGER"
    " NOT NULL, key BLOB NOT NULL, key_hash BLOB NOT NULL, fingerprint BLOB"
    " NOT NULL) STRICT;"
    "CREATE TABLE account ("
    " account BLOB PRIMARY KEY, server INTEGER NOT NULL, handle TEXT NOT NULL,"
    " pinned INTEGER NOT NULL, contact_cap BLOB NOT NULL, chain BLOB NOT NULL,"
    " read_at INTEGER NOT NULL) STRICT;"
    "CREATE INDEX account_handle ON account (handle, server);"
    "CREATE TABLE conversation ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " server INTEGER NOT NULL, channel BLOB NOT NULL"
    " UNIQUE, direct INTEGER NOT NULL, peer BLOB NOT NULL, name BLOB NOT NULL,"
    " state INTEGER NOT NULL, accepted INTEGER NOT NULL,"
    " subscription BLOB NOT NULL, capability BLOB NOT NULL,"
    " cursor INTEGER NOT NULL, acked INTEGER NOT NULL, handshake INTEGER"
    " NOT NULL, log_hash BLOB NOT NULL, first INTEGER NOT NULL,"
    " path_at INTEGER NOT NULL, scheduled INTEGER NOT NULL, rejoin_at INTEGER"
    " NOT NULL, retry_at INTEGER NOT NULL, profile_sent INTEGER NOT NULL,"
    " leaving INTEGER NOT NULL) STRICT;"
    "CREATE INDEX conversation_peer ON conversation (peer);"
    "CREATE TABLE member ("
    " conversation INTEGER NOT NULL, account BLOB NOT NULL, chain BLOB"
    " NOT NULL, PRIMARY KEY (conversation, account)) STRICT;"
    "CREATE TABLE mls ("
    " conversation INTEGER NOT NULL, kind INTEGER NOT NULL, part INTEGER"
    " NOT NULL, body BLOB NOT NULL, PRIMARY KEY (conversation, kind, part))"
    " STRICT;"
    "CREATE TABLE log_hash ("
    " conversation INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,"
    " PRIMARY KEY (conversation, seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE message ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " conversation INTEGER NOT NULL, seq INTEGER"
    " NOT NULL, time INTEGER NOT NULL, kind INTEGER NOT NULL, event INTEGER"
    " NOT NULL, own INTEGER NOT NULL, read INTEGER NOT NULL, failed INTEGER"
    " NOT NULL DEFAULT 0, account BLOB NOT NULL, device BLOB NOT NULL,"
    " content BLOB, body BLOB NOT NULL,"
    " UNIQUE (conversation, content)) STRICT;"
    "CREATE INDEX message_order ON message (conversation, seq);"
    "CREATE INDEX message_unread ON message (conversation) WHERE read = 0;",
    "CREATE TABLE outbox ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " conversation INTEGER NOT NULL, message INTEGER"
    " NOT NULL, key BLOB NOT NULL, state INTEGER NOT NULL, type INTEGER"
    " NOT NULL, content BLOB NOT NULL, body BLOB NOT NULL, epoch INTEGER"
    " NOT NULL, ciphertext BLOB NOT NULL, seq INTEGER NOT NULL) STRICT;"
    "CREATE INDEX outbox_order ON outbox (conversation, id);"
    "CREATE TABLE tried ("
    " hash BLOB PRIMARY KEY, outbox INTEGER NOT NULL, conversation INTEGER"
    " NOT NULL, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX tried_outbox ON tried (outbox);"
    "CREATE INDEX tried_seq ON tried (conversation, seq);"
    "CREATE TABLE intent ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " conversation INTEGER NOT NULL, kind INTEGER"
    " NOT NULL, state INTEGER NOT NULL, server INTEGER NOT NULL, handle TEXT"
    " NOT NULL, account BLOB NOT NULL, device BLOB NOT NULL, contact_cap"
    " BLOB NOT NULL, time INTEGER NOT NULL, not_before INTEGER NOT NULL)"
    " STRICT;"
    "CREATE INDEX intent_order ON intent (conversation, id);"
    "CREATE TABLE taken ("
    " intent INTEGER NOT NULL, device BLOB NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (intent, device)) STRICT;"
    "CREATE TABLE pending ("
    " conversation INTEGER PRIMARY KEY, state INTEGER NOT NULL, key BLOB"
    " NOT NULL, hash BLOB NOT NULL, commit_body BLOB NOT NULL, epoch INTEGER"
    " NOT NULL, blob_id BLOB NOT NULL, blob_key BLOB NOT NULL, blob BLOB"
    " NOT NULL, uploaded INTEGER NOT NULL) STRICT;"
    "CREATE TABLE pending_intent ("
    " intent INTEGER PRIMARY KEY, conversation INTEGER NOT NULL) STRICT;"
    "CREATE TABLE reopen ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " conversation INTEGER NOT NULL, subscription"
    " BLOB NOT NULL, UNIQUE (conversation, subscription)) STRICT;"
    "CREATE TABLE leaf ("
    " conversation INTEGER NOT NULL, signature_key BLOB NOT NULL, added"
    " INTEGER NOT NULL, PRIMARY KEY (conversation, signature_key)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE key_package ("
    " ref BLOB PRIMARY KEY, body BLOB NOT NULL, public BLOB NOT NULL,"
    " last_resort INTEGER NOT NULL, published INTEGER NOT NULL, expires INTEGER"
    " NOT NULL) STRICT;"
    "CREATE TABLE mail ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " account BLOB NOT NULL, device BLOB NOT NULL,"
    " conversation INTEGER NOT NULL, item BLOB NOT NULL, not_before INTEGER"
    " NOT NULL, tries INTEGER NOT NULL) STRICT;"
    "CREATE TABLE joining ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " server INTEGER NOT NULL, channel BLOB NOT NULL,"
    " blob_id BLOB NOT NULL UNIQUE, blob_key BLOB NOT NULL, seq INTEGER"
    " NOT NULL, log_hash BLOB NOT NULL, body BLOB NOT NULL, total INTEGER"
    " NOT NULL, state INTEGER NOT NULL, not_before INTEGER NOT NULL) STRICT;",
    "ALTER TABLE conversation ADD COLUMN rejoin_asked INTEGER NOT NULL"
    " DEFAULT 0;"
    "CREATE TABLE silent ("
    " conversation INTEGER NOT NULL, signature_key BLOB NOT NULL, account BLOB"
    " NOT NULL, blob BLOB NOT NULL, blob_key BLOB NOT NULL, seq INTEGER"
    " NOT NULL, log_hash BLOB NOT NULL, sent INTEGER NOT NULL, not_before"
    " INTEGER NOT NULL, PRIMARY KEY (conversation, signature_key)"
    ") STRICT, WITHOUT ROWID;",
    "ALTER TABLE reopen ADD COLUMN capability BLOB NOT NULL DEFAULT x'';",
    /* several of one subscription, after joining again more than once */
    "CREATE TABLE reopen_2 ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " conversation INTEGER NOT NULL, subscription BLOB NOT NULL, capability"
    " BLOB NOT NULL DEFAULT x'', UNIQUE (conversation, subscription,"
    " capability)) STRICT;"
    "INSERT INTO reopen_2 SELECT * FROM reopen;"
    "DROP TABLE reopen;"
    "ALTER TABLE reopen_2 RENAME TO reopen;",
};

enum err schema_migrate(struct sql *db)
{
    return sql_migrate(db, SCHEMA_APP_ID, steps,
                       sizeof(steps) / sizeof(steps[0]));
}
