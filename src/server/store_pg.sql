-- SPDX-License-Identifier: Apache-2.0
--
-- The PostgreSQL store: its tables, and one function for each rule of the
-- server, so that a rule is one round trip and lies beside its data. A function
-- rather than one statement with data-modifying CTEs, because the statements of
-- a function see what the lock on the channel's head has waited for, whereas a
-- CTE goes on with its old snapshot; and a function can say why it refuses.
--
-- shard   the last byte of the id that follows it in the key (id mod 256).
--         It leads every key, so that Citus, CockroachDB or YugabyteDB can
--         spread the tables. Each shard has one writer (see `writer`).
-- week    of days since 1970: entries and idempotency keys lie in partitions of
--         a week, which are dropped whole.
--
-- There are no sequences, triggers, advisory locks or notifications. No foreign
-- keys either: they would cost a look-up for each entry, and `check` looks at
-- the same.
--
-- Functions with statements are plpgsql, which keeps their plans; SQL functions
-- are only those that the planner puts in place of their calls.
--
-- Every function gives rows of `answer`. The first has a status (enum status of
-- proto/message.h) and up to four numbers: of a refusal, its detail. More rows
-- are elements of a list.

CREATE TYPE answer AS
    (status integer, a bigint, b bigint, c bigint, d bigint, body bytea);

CREATE FUNCTION shard_of(id bytea) RETURNS integer LANGUAGE sql IMMUTABLE
AS $$ SELECT get_byte(id, octet_length(id) - 1) $$;

CREATE FUNCTION shard_of_name(name bytea) RETURNS integer LANGUAGE sql IMMUTABLE
AS $$ SELECT get_byte(sha256(name), 31) $$;

-- Who may write to a range of shards. A writer that is taken for dead may be
-- alive, and may have sent what the server has not read yet: each of its
-- transactions begins with fence(), and fails once another has taken over. An
-- owner is one connection: of its bytes, the first 16 are the server's.
CREATE TABLE writer (
    first_shard integer NOT NULL PRIMARY KEY,
    owner bytea NOT NULL
);

CREATE FUNCTION fence(p_first bigint, p_owner bytea) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM writer
        WHERE first_shard = p_first AND owner = p_owner FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another server writes to this database'
            USING ERRCODE = 'SO001';
    END IF;
END $$;

-- A server takes over from any other when it starts; `p_again`: from its own
-- last connection only.
CREATE FUNCTION take_over(p_first bigint, p_owner bytea, p_again boolean)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO writer AS w VALUES (p_first, p_owner)
        ON CONFLICT (first_shard) DO UPDATE SET owner = excluded.owner
        WHERE NOT p_again
            OR substring(w.owner FOR 16) = substring(p_owner FOR 16);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another server writes to this database'
            USING ERRCODE = 'SO001';
    END IF;
END $$;

-- ---- Channels: DESIGN.md section 5, rules 1 to 5 ----
--
-- What a subscription may read: start < seq <= ended (or head); of those, it
-- has acknowledged those up to its cursor. Entries up to `floor` are gone.

CREATE TABLE channel (
    shard smallint NOT NULL,
    id bytea NOT NULL,
    head bigint NOT NULL,      -- newest sequence number; 0: none
    handshake bigint NOT NULL, -- of the newest commit or proposal
    floor bigint NOT NULL,
    bytes bigint NOT NULL,     -- of the bodies that are held
    day integer NOT NULL,      -- of the last use
    PRIMARY KEY (shard, id)
) WITH (fillfactor = 50);      -- a head moves often: keep it in its page

CREATE TABLE subscription (
    shard smallint NOT NULL,
    channel bytea NOT NULL,
    id bytea NOT NULL,
    cap_hash bytea NOT NULL,
    cap_next bytea,            -- given by a later commit; both are good
    next_at bigint,            -- that commit
    next_cursor bigint,        -- what its holder has acknowledged
    start bigint NOT NULL,
    cursor bigint NOT NULL,
    ended bigint,              -- by the commit of this number
    day integer NOT NULL,      -- made; then of the last use, or the end
    used boolean NOT NULL,     -- attached, ever
    PRIMARY KEY (shard, channel, id)
) WITH (fillfactor = 80);

CREATE TABLE entry (
    shard smallint NOT NULL,
    channel bytea NOT NULL,
    seq bigint NOT NULL,
    week integer NOT NULL,
    time bigint NOT NULL,
    kind smallint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (shard, channel, seq, week)
) PARTITION BY RANGE (week);
ALTER TABLE entry ALTER body SET STORAGE EXTERNAL; -- ciphertext: no compression

CREATE TABLE accepted (        -- idempotency keys, longer than entries
    shard smallint NOT NULL,
    channel bytea NOT NULL,
    key bytea NOT NULL,
    week integer NOT NULL,
    day integer NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (shard, channel, key, week)
) PARTITION BY RANGE (week);

-- The weeks that have partitions.
CREATE TABLE week (week integer NOT NULL PRIMARY KEY);

-- Makes the partitions of a week and of the next, before anything else in its
-- transaction: it then waits for others while it holds nothing they wait for.
CREATE FUNCTION make_weeks(p_week bigint) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM week WHERE week IN (p_week, p_week + 1)) = 2 THEN
        RETURN;
    END IF;
    LOCK TABLE week IN EXCLUSIVE MODE;
    FOR w IN p_week .. p_week + 1 LOOP
        CONTINUE WHEN EXISTS (SELECT FROM week WHERE week = w);
        INSERT INTO week VALUES (w);
        EXECUTE format('CREATE TABLE %I PARTITION OF entry'
            ' FOR VALUES FROM (%s) TO (%s)', 'entry_' || w, w, w + 1);
        EXECUTE format('CREATE TABLE %I PARTITION OF accepted'
            ' FOR VALUES FROM (%s) TO (%s)', 'accepted_' || w, w, w + 1);
    END LOOP;
END $$;

-- A channel and the subscription that asks. The hashes of capabilities may be
-- compared in any time: nobody can choose a hash.
CREATE FUNCTION view_of(p_channel bytea, p_sub bytea, p_cap bytea)
RETURNS TABLE (head bigint, handshake bigint, floor bigint, bytes bigint,
    start bigint, old_cursor bigint, cursor bigint, ended boolean,
    last bigint, good boolean, newer boolean, older boolean,
    channel_day integer, sub_fresh_day integer)
LANGUAGE sql STABLE AS $$
    SELECT c.head, c.handshake, c.floor, c.bytes, s.start, s.cursor,
        CASE WHEN s.cap_hash = p_cap THEN s.cursor ELSE s.next_cursor END,
        s.ended IS NOT NULL, coalesce(s.ended, c.head),
        s.cap_hash = p_cap OR coalesce(s.cap_next = p_cap, false),
        s.cap_hash <> p_cap,
        s.cap_hash = p_cap AND s.cap_next IS NOT NULL,
        c.day, CASE WHEN s.used THEN s.day ELSE -1 END
    FROM channel c JOIN subscription s ON s.shard = c.shard AND s.channel = c.id
    WHERE c.shard = shard_of(p_channel) AND c.id = p_channel AND s.id = p_sub
$$;

-- Notes, once a day, that a subscription is in use. The day of an ended one is
-- that of its end; where there are two capabilities, it is the older one's.
CREATE FUNCTION touch(p_channel bytea, p_sub bytea, p_day bigint, p_newer boolean)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channel SET day = p_day
        WHERE shard = shard_of(p_channel) AND id = p_channel AND day < p_day;
    IF NOT p_newer THEN
        UPDATE subscription SET day = p_day, used = true
            WHERE shard = shard_of(p_channel) AND channel = p_channel
            AND id = p_sub AND ended IS NULL AND (day <> p_day OR NOT used);
    END IF;
END $$;

-- Deletes entries up to a number.
CREATE FUNCTION drop_entries(p_channel bytea, p_upto bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (
        DELETE FROM entry WHERE shard = shard_of(p_channel)
            AND channel = p_channel AND seq <= p_upto
            RETURNING octet_length(body) AS len)
    UPDATE channel SET floor = greatest(floor, least(p_upto, head)),
        bytes = bytes - (SELECT coalesce(sum(len), 0) FROM gone)
        WHERE shard = shard_of(p_channel) AND id = p_channel;
END $$;

-- Rule 4. With nobody left to read, everything goes.
CREATE FUNCTION trim_channel(p_channel bytea) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    low bigint;
BEGIN
    SELECT min(cursor) INTO low FROM subscription
        WHERE shard = shard_of(p_channel) AND channel = p_channel
        AND (ended IS NULL OR cursor < ended);
    PERFORM 1 FROM channel WHERE shard = shard_of(p_channel)
        AND id = p_channel AND floor < coalesce(least(low, head), head);
    IF FOUND THEN
        PERFORM drop_entries(p_channel, coalesce(low, 9223372036854775807));
    END IF;
END $$;

CREATE FUNCTION channel_create(p_channel bytea, p_sub bytea, p_cap bytea,
    p_day bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO channel VALUES
        (shard_of(p_channel), p_channel, 0, 0, 0, 0, p_day)
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO subscription
            (shard, channel, id, cap_hash, start, cursor, day, used) VALUES
            (shard_of(p_channel), p_channel, p_sub, p_cap, 0, 0, p_day, false);
    ELSE -- the same again, after a lost answer, is no error
        PERFORM 1 FROM subscription WHERE shard = shard_of(p_channel)
            AND channel = p_channel AND id = p_sub AND cap_hash = p_cap
            AND start = 0;
        IF NOT FOUND THEN
            RETURN NEXT (7, 0, 0, 0, 0, NULL)::answer;
            RETURN;
        END IF;
    END IF;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION attach(p_channel bytea, p_sub bytea, p_cap bytea, p_day bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    SELECT * INTO v FROM view_of(p_channel, p_sub, p_cap);
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
    ELSIF NOT v.good THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
    ELSIF v.ended AND v.cursor >= v.last THEN
        RETURN NEXT (10, v.last, 0, 0, 0, NULL)::answer;
    ELSE
        PERFORM touch(p_channel, p_sub, p_day, v.newer);
        RETURN NEXT (0, v.last, least(v.handshake, v.last), v.cursor,
            v.floor + 1, NULL)::answer;
    END IF;
END $$;

-- At least one entry, and no more than fit.
CREATE FUNCTION read(p_channel bytea, p_sub bytea, p_cap bytea, p_day bigint,
    p_after bigint, p_max_bytes bigint, p_max_entries bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    SELECT * INTO v FROM view_of(p_channel, p_sub, p_cap);
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF NOT v.good THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF v.ended AND p_after >= v.last THEN
        RETURN NEXT (10, v.last, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    PERFORM touch(p_channel, p_sub, p_day, v.newer);
    RETURN NEXT (0, v.last, v.floor + 1, 0, 0, NULL)::answer;
    RETURN QUERY
        SELECT 0, seq, time, kind::bigint, 0::bigint, body FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) AS total,
                row_number() OVER (ORDER BY seq) AS n
            FROM (SELECT seq, time, kind, body FROM entry
                WHERE shard = shard_of(p_channel) AND channel = p_channel
                AND seq > greatest(p_after, v.start) AND seq <= v.last
                ORDER BY seq LIMIT p_max_entries) AS next) AS summed
        WHERE total <= p_max_bytes OR n = 1 ORDER BY seq;
END $$;

-- Rule 2: adds. An id that is there already stays as it is, and takes a second
-- capability with a cursor of its own: a device that rejoins comes back so, and
-- a false list takes nothing from anybody. A capability that it has already is
-- of an old commit that somebody sends again.
CREATE FUNCTION change_subscriptions(p_channel bytea, p_seq bigint,
    p_day bigint, p_adds bytea[], p_caps bytea[], p_ends bytea[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO subscription AS s
        (shard, channel, id, cap_hash, start, cursor, day, used)
        SELECT shard_of(p_channel), p_channel, t.id, t.cap, p_seq, p_seq, p_day,
            false FROM unnest(p_adds, p_caps) AS t(id, cap)
        ON CONFLICT (shard, channel, id) DO UPDATE SET
            cap_next = CASE WHEN s.cap_hash = excluded.cap_hash
                OR s.cap_next = excluded.cap_hash
                THEN s.cap_next ELSE excluded.cap_hash END,
            next_at = CASE WHEN s.cap_hash = excluded.cap_hash
                OR s.cap_next = excluded.cap_hash
                THEN s.next_at ELSE p_seq END,
            next_cursor = CASE WHEN s.cap_hash = excluded.cap_hash
                OR s.cap_next = excluded.cap_hash
                THEN s.next_cursor ELSE p_seq END,
            ended = NULL, day = p_day;
    UPDATE subscription SET ended = p_seq, day = p_day
        WHERE shard = shard_of(p_channel) AND channel = p_channel
        AND id = ANY (p_ends) AND ended IS NULL;
END $$;

-- Ended ones are only kept so that they can be told, or reopened: when there is
-- no room, those that have read all go first.
CREATE FUNCTION has_room(p_channel bytea, p_more bigint, p_max bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_more + (SELECT count(*) FROM subscription WHERE
        shard = shard_of(p_channel) AND channel = p_channel) <= p_max THEN
        RETURN true;
    END IF;
    DELETE FROM subscription WHERE shard = shard_of(p_channel)
        AND channel = p_channel AND cursor >= ended;
    RETURN p_more + (SELECT count(*) FROM subscription WHERE
        shard = shard_of(p_channel) AND channel = p_channel) <= p_max;
END $$;

-- `p_again`: it may have been done by a transaction whose end was not seen; if
-- so, nobody was told of the entry yet.
CREATE FUNCTION append(p_channel bytea, p_sub bytea, p_cap bytea, p_day bigint,
    p_now bigint, p_after bigint, p_kind bigint, p_key bytea, p_body bytea,
    p_adds bytea[], p_caps bytea[], p_ends bytea[], p_subs_max bigint,
    p_bytes_max bigint, p_days bigint, p_again boolean)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    v record;
    n bigint;
BEGIN
    PERFORM 1 FROM channel WHERE shard = shard_of(p_channel) AND id = p_channel
        FOR NO KEY UPDATE;
    SELECT * INTO v FROM view_of(p_channel, p_sub, p_cap);
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF NOT v.good THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    IF p_kind <> 4 THEN -- rule 5: before `after` is looked at, whoever asks
        SELECT seq INTO n FROM accepted WHERE shard = shard_of(p_channel)
            AND channel = p_channel AND key = p_key
            AND week >= (p_day - p_days) / 7 AND day >= p_day - p_days;
        IF FOUND THEN
            RETURN NEXT (0, n, p_again::integer, 0, 0, NULL)::answer;
            RETURN;
        END IF;
    END IF;
    IF v.ended THEN
        RETURN NEXT (10, v.last, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_kind = 4 THEN -- ephemeral: only the right to it is asked for
        RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_after <> v.handshake THEN
        RETURN NEXT (1, v.handshake, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    n := octet_length(p_body);
    IF (p_adds <> '{}' AND
            NOT has_room(p_channel, cardinality(p_adds), p_subs_max))
        OR v.head >= 4294967295 OR v.bytes + n > p_bytes_max THEN
        RETURN NEXT (8, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    INSERT INTO entry VALUES (shard_of(p_channel), p_channel, v.head + 1,
        p_day / 7, p_now, p_kind, p_body);
    INSERT INTO accepted AS a VALUES (shard_of(p_channel), p_channel, p_key,
        p_day / 7, p_day, v.head + 1)
        ON CONFLICT (shard, channel, key, week) -- one that is too old
        DO UPDATE SET day = excluded.day, seq = excluded.seq;
    UPDATE channel SET head = v.head + 1, bytes = v.bytes + n,
        handshake = CASE WHEN p_kind = 1 THEN v.handshake ELSE v.head + 1 END,
        day = greatest(day, p_day)
        WHERE shard = shard_of(p_channel) AND id = p_channel;
    IF v.sub_fresh_day <> p_day AND NOT v.newer THEN
        PERFORM touch(p_channel, p_sub, p_day, false);
    END IF;
    IF p_adds <> '{}' OR p_ends <> '{}' THEN
        PERFORM change_subscriptions(p_channel, v.head + 1, p_day, p_adds,
            p_caps, p_ends);
        IF p_ends <> '{}' THEN
            PERFORM trim_channel(p_channel);
        END IF;
    END IF;
    RETURN NEXT (0, v.head + 1, 1, 0, 0, NULL)::answer;
END $$;

-- Application entries of different channels, at once: what costs most is to
-- begin a statement, so a group pays for it once. Takes those that nothing
-- speaks against, on subscriptions that were used today; the others take the
-- long way, which knows what to answer. Gives status, number, whether it is
-- new, and which one it is.
--
-- A second writer could not mislead it although a CTE does not see what the
-- lock on a head waited for: fence() lets no other write to the shard.
CREATE FUNCTION append_many(p_channels bytea[], p_subs bytea[], p_caps bytea[],
    p_keys bytea[], p_bodies bytea[], p_afters bigint[], p_times bigint[],
    p_day bigint, p_subs_max bigint, p_bytes_max bigint, p_days bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    taken bigint[];
    seqs bigint[];
BEGIN
    WITH head AS (
        UPDATE channel c
        SET head = c.head + 1, bytes = c.bytes + octet_length(t.body)
        FROM unnest(p_channels, p_subs, p_caps, p_keys, p_bodies, p_afters,
                p_times) WITH ORDINALITY
                AS t(channel, sub, cap, key, body, after, time, n),
            subscription s
        WHERE c.shard = shard_of(t.channel) AND c.id = t.channel
            AND c.handshake = t.after AND c.day = p_day
            AND c.head < 4294967295
            AND c.bytes + octet_length(t.body) <= p_bytes_max
            AND s.shard = shard_of(t.channel) AND s.channel = t.channel
            AND s.id = t.sub AND s.cap_hash = t.cap AND s.ended IS NULL
            AND s.day = p_day AND s.used
            AND NOT EXISTS (SELECT FROM accepted a
                WHERE a.shard = shard_of(t.channel) AND a.channel = t.channel
                AND a.key = t.key AND a.week >= (p_day - p_days) / 7)
        RETURNING c.shard, c.id, c.head AS seq, t.key, t.body, t.time, t.n),
    entries AS (
        INSERT INTO entry
            SELECT shard, id, seq, p_day / 7, time, 1, body FROM head),
    keys AS (
        INSERT INTO accepted
            SELECT shard, id, key, p_day / 7, p_day, seq FROM head)
    SELECT array_agg(n), array_agg(seq) INTO taken, seqs FROM head;
    RETURN QUERY SELECT 0, t.seq, 1::bigint, t.n, 0::bigint, NULL::bytea
        FROM unnest(taken, seqs) AS t(n, seq);
    IF cardinality(taken) = cardinality(p_channels) THEN
        RETURN;
    END IF;
    FOR i IN 1 .. cardinality(p_channels) LOOP
        CONTINUE WHEN i = ANY (taken);
        RETURN QUERY SELECT r.status, r.a, r.b, i::bigint, 0::bigint,
            NULL::bytea
            FROM append(p_channels[i], p_subs[i], p_caps[i], p_day, p_times[i],
                p_afters[i], 1, p_keys[i], p_bodies[i], '{}', '{}', '{}',
                p_subs_max, p_bytes_max, p_days, false) AS r;
    END LOOP;
END $$;

-- Whoever acknowledges the commit that gave its id another capability has gone
-- past it, so it did not count: that capability is good no more.
CREATE FUNCTION ack(p_channel bytea, p_sub bytea, p_cap bytea, p_day bigint,
    p_upto bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    PERFORM 1 FROM channel WHERE shard = shard_of(p_channel) AND id = p_channel
        FOR NO KEY UPDATE;
    SELECT * INTO v FROM view_of(p_channel, p_sub, p_cap);
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
    ELSIF NOT v.good THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
    ELSIF p_upto <= v.cursor THEN -- it never goes back
        RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
    ELSIF p_upto > v.last THEN
        RETURN NEXT (4, v.last, 0, 0, 0, NULL)::answer;
    ELSE
        PERFORM touch(p_channel, p_sub, p_day, v.newer);
        IF v.newer THEN
            UPDATE subscription SET next_cursor = p_upto
                WHERE shard = shard_of(p_channel) AND channel = p_channel
                AND id = p_sub;
        ELSE
            UPDATE subscription SET cursor = p_upto,
                cap_next = CASE WHEN next_at <= p_upto THEN NULL
                    ELSE cap_next END,
                next_cursor = CASE WHEN next_at <= p_upto THEN NULL
                    ELSE next_cursor END,
                next_at = CASE WHEN next_at <= p_upto THEN NULL
                    ELSE next_at END
                WHERE shard = shard_of(p_channel) AND channel = p_channel
                AND id = p_sub;
            IF v.old_cursor <= v.floor THEN -- else somebody else is behind it
                PERFORM trim_channel(p_channel);
            END IF;
        END IF;
        RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
    END IF;
END $$;

-- The newer capability takes the place of the older one: of one subscription,
-- or (NULL) of those whose older one has not been used since a day.
CREATE FUNCTION renew(p_channel bytea, p_sub bytea, p_day bigint,
    p_before bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE subscription SET cap_hash = cap_next, cap_next = NULL,
        cursor = next_cursor, next_cursor = NULL, next_at = NULL, day = p_day,
        used = false
        WHERE shard = shard_of(p_channel) AND channel = p_channel
        AND cap_next IS NOT NULL AND (id = p_sub
            OR p_sub IS NULL AND ended IS NULL AND day < p_before);
END $$;

-- The holder of the older capability gives it up for the newer one, if there is
-- one; that opens nothing, so it may also come after the end.
CREATE FUNCTION reopen(p_channel bytea, p_sub bytea, p_cap bytea, p_day bigint,
    p_target bytea) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    PERFORM 1 FROM channel WHERE shard = shard_of(p_channel) AND id = p_channel
        FOR NO KEY UPDATE;
    SELECT * INTO v FROM view_of(p_channel, p_sub, p_cap);
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF NOT v.good THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_sub = p_target AND v.older THEN
        PERFORM renew(p_channel, p_sub, p_day, NULL);
        PERFORM trim_channel(p_channel);
    ELSIF v.ended THEN
        RETURN NEXT (10, v.last, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_sub <> p_target THEN
        UPDATE subscription SET ended = NULL, day = p_day
            WHERE shard = shard_of(p_channel) AND channel = p_channel
            AND id = p_target;
        IF NOT FOUND THEN
            RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
            RETURN;
        END IF;
    END IF;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION delete_channel(p_channel bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM entry WHERE shard = shard_of(p_channel) AND channel = p_channel;
    DELETE FROM accepted
        WHERE shard = shard_of(p_channel) AND channel = p_channel;
    DELETE FROM subscription
        WHERE shard = shard_of(p_channel) AND channel = p_channel;
    DELETE FROM channel WHERE shard = shard_of(p_channel) AND id = p_channel;
END $$;

-- Rules 4, 5 and 7: what is older than the retention, subscriptions that never
-- came or have ended, and channels that nobody uses.
CREATE FUNCTION collect_channel(p_channel bytea, p_day bigint, p_now bigint,
    p_days bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before bigint := p_day - p_days;
    old bigint;
    last_day bigint;
BEGIN
    SELECT day INTO last_day FROM channel
        WHERE shard = shard_of(p_channel) AND id = p_channel FOR NO KEY UPDATE;
    IF last_day < before THEN
        PERFORM delete_channel(p_channel);
        RETURN;
    END IF;
    PERFORM renew(p_channel, NULL, p_day, before);
    DELETE FROM subscription
        WHERE shard = shard_of(p_channel) AND channel = p_channel
        AND day < before AND (ended IS NOT NULL OR NOT used);
    SELECT max(seq) INTO old FROM entry
        WHERE shard = shard_of(p_channel) AND channel = p_channel
        AND week <= before / 7 AND time < p_now - p_days * 86400;
    IF old IS NOT NULL THEN
        PERFORM drop_entries(p_channel, old);
    END IF;
    PERFORM trim_channel(p_channel);
END $$;

-- Visits a few channels after the last one visited, up to the end of a range of
-- shards; gives how many, and where to go on.
CREATE FUNCTION collect_channels(p_shard bigint, p_id bytea, p_end bigint,
    p_step bigint, p_day bigint, p_now bigint, p_days bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint := 0;
BEGIN
    FOR r IN SELECT shard, id FROM channel
        WHERE (shard, id) > (p_shard, p_id) AND shard < p_end
        ORDER BY shard, id LIMIT p_step
    LOOP
        PERFORM collect_channel(r.id, p_day, p_now, p_days);
        n := n + 1;
    END LOOP;
    RETURN NEXT (0, n, r.shard, 0, 0, r.id)::answer;
END $$;

-- Drops the partitions of weeks that are over, and takes what a slow collection
-- has left in them off the channels' accounts. It locks before it looks, in the
-- order in which every rule does: it waits for others while it holds nothing.
CREATE FUNCTION drop_weeks(p_before bigint) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
DECLARE
    w integer;
BEGIN
    SELECT min(week) INTO w FROM week WHERE week < p_before;
    IF w IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', '1s', true);
    LOCK TABLE channel, entry, accepted IN ACCESS EXCLUSIVE MODE;
    UPDATE channel c SET bytes = c.bytes - g.bytes,
        floor = greatest(c.floor, g.top)
        FROM (SELECT shard, channel, sum(octet_length(body)) AS bytes,
                max(seq) AS top
            FROM entry WHERE week = w GROUP BY shard, channel) AS g
        WHERE c.shard = g.shard AND c.id = g.channel;
    EXECUTE format('DROP TABLE %I, %I', 'entry_' || w, 'accepted_' || w);
    DELETE FROM week WHERE week = w;
END $$;

-- About how many bytes are stored, with indices.
CREATE FUNCTION store_size() RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    SELECT sum(pg_total_relation_size(oid)) INTO n FROM pg_class
        WHERE relkind = 'r' AND relnamespace = (SELECT relnamespace
            FROM pg_class WHERE oid = 'channel'::regclass);
    RETURN NEXT (0, n, 0, 0, 0, NULL)::answer;
END $$;

-- ---- Accounts ----
--
-- A key package is handed out once: its row stays, without the package, as long
-- as packages live, so that a publication that is repeated after a lost answer
-- does not bring it back.

CREATE TABLE account (
    shard smallint NOT NULL,
    id bytea NOT NULL,
    name bytea NOT NULL,
    contact_hash bytea NOT NULL,
    version bigint NOT NULL,   -- of the newest state
    made_week integer NOT NULL,
    used_week integer NOT NULL,
    devices bytea[] NOT NULL,  -- of the newest state
    disabled boolean NOT NULL DEFAULT false,
    PRIMARY KEY (shard, id)
);

CREATE TABLE handle (
    shard smallint NOT NULL,   -- of the name's hash
    name bytea NOT NULL,
    account bytea NOT NULL,
    PRIMARY KEY (shard, name)
);

CREATE TABLE state (
    shard smallint NOT NULL,
    account bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (shard, account, version)
);

CREATE TABLE device (          -- whose it is: no two accounts list the same
    shard smallint NOT NULL,
    id bytea NOT NULL,
    account bytea NOT NULL,
    PRIMARY KEY (shard, id)
);

CREATE TABLE package (
    shard smallint NOT NULL,
    device bytea NOT NULL,
    hash bytea NOT NULL,
    last_resort boolean NOT NULL,
    day integer NOT NULL,
    body bytea,                -- NULL: has been taken
    PRIMARY KEY (shard, device, hash)
);

-- What is left of a deleted account, in two tables without a link: its id,
-- which must never begin again with its first state and a device that was
-- revoked later; and its name, for a while.
CREATE TABLE gone (
    shard smallint NOT NULL,
    account bytea NOT NULL,
    PRIMARY KEY (shard, account)
);

CREATE TABLE resting (
    shard smallint NOT NULL,   -- of the name's hash
    name bytea NOT NULL,
    week integer NOT NULL,
    PRIMARY KEY (shard, name)
);

CREATE TABLE notice (          -- for the servers that run: who was barred
    shard smallint NOT NULL,   -- 0
    number bigint NOT NULL,
    day integer NOT NULL,
    account bytea NOT NULL,
    PRIMARY KEY (shard, number)
);

CREATE TABLE invite (
    shard smallint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (shard, hash)
);

CREATE TABLE spent (           -- subjects of proofs of work
    shard smallint NOT NULL,
    day integer NOT NULL,
    subject bytea NOT NULL,
    PRIMARY KEY (shard, day, subject)
);

CREATE TABLE taken (           -- how often packages were taken
    shard smallint NOT NULL,
    day integer NOT NULL,
    account bytea NOT NULL,
    by_contacts bigint NOT NULL,
    by_strangers bigint NOT NULL,
    PRIMARY KEY (shard, day, account)
);

-- Makes the account's devices those of the newest state. The key packages of a
-- device that has gone go, too. False: one of them is another account's.
CREATE FUNCTION set_devices(p_account bytea, p_devices bytea[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    gone bytea;
BEGIN
    PERFORM 1 FROM unnest(p_devices) AS t(id) JOIN device d
        ON d.shard = shard_of(t.id) AND d.id = t.id
        WHERE d.account <> p_account;
    IF FOUND THEN
        RETURN false;
    END IF;
    FOR gone IN SELECT t.id FROM account a, unnest(a.devices) AS t(id)
        WHERE a.shard = shard_of(p_account) AND a.id = p_account
        AND t.id <> ALL (p_devices)
    LOOP
        DELETE FROM package WHERE shard = shard_of(gone) AND device = gone;
        DELETE FROM device WHERE shard = shard_of(gone) AND id = gone;
    END LOOP;
    INSERT INTO device SELECT shard_of(t.id), t.id, p_account
        FROM unnest(p_devices) AS t(id)
        ON CONFLICT (shard, id) DO NOTHING;
    UPDATE account SET devices = p_devices
        WHERE shard = shard_of(p_account) AND id = p_account;
    RETURN true;
END $$;

CREATE FUNCTION register(p_account bytea, p_name bytea, p_device bytea,
    p_contact bytea, p_state bytea, p_devices bytea[], p_invite bytea,
    p_day bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    old account;
BEGIN
    SELECT * INTO old FROM account
        WHERE shard = shard_of(p_account) AND id = p_account;
    IF FOUND THEN -- the same again, after a lost answer, is no error
        RETURN NEXT (CASE WHEN old.name = p_name AND
            p_device = ANY (old.devices) THEN 0 ELSE 7 END,
            0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    PERFORM 1 FROM handle WHERE shard = shard_of_name(p_name) AND name = p_name;
    IF FOUND OR EXISTS (SELECT FROM gone
        WHERE shard = shard_of(p_account) AND account = p_account)
        OR EXISTS (SELECT FROM resting
        WHERE shard = shard_of_name(p_name) AND name = p_name)
        OR EXISTS (SELECT FROM unnest(p_devices) AS t(id) JOIN device d
        ON d.shard = shard_of(t.id) AND d.id = t.id) THEN
        RETURN NEXT (7, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    IF p_invite <> '' THEN
        DELETE FROM invite WHERE shard = shard_of(p_invite) AND hash = p_invite;
        IF NOT FOUND THEN
            RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
            RETURN;
        END IF;
    END IF;
    INSERT INTO account VALUES (shard_of(p_account), p_account, p_name,
        p_contact, 1, p_day / 7, p_day / 7, '{}');
    INSERT INTO handle VALUES (shard_of_name(p_name), p_name, p_account);
    INSERT INTO state VALUES (shard_of(p_account), p_account, 1, p_state);
    PERFORM set_devices(p_account, p_devices);
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION invite_add(p_hash bytea) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO invite VALUES (shard_of(p_hash), p_hash) ON CONFLICT DO NOTHING;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION newest_state(p_account bytea) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT CASE WHEN a.disabled THEN 11 ELSE 0 END,
        CASE WHEN a.disabled THEN 0 ELSE a.version END, a.used_week::bigint,
        0::bigint, 0::bigint, s.body
        FROM account a JOIN state s ON s.shard = a.shard AND s.account = a.id
        AND s.version = a.version
        WHERE a.shard = shard_of(p_account) AND a.id = p_account;
    IF NOT FOUND AND EXISTS (SELECT FROM gone
        WHERE shard = shard_of(p_account) AND account = p_account) THEN
        RETURN NEXT (11, 1, 0, 0, 0, NULL)::answer;
    ELSIF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
    END IF;
END $$;

-- Accounts that were barred after a number; after the largest there can be,
-- only the newest number.
CREATE FUNCTION notices(p_after bigint, p_max bigint) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    IF p_after = 9223372036854775807 THEN
        RETURN QUERY SELECT 0, coalesce(max(number), 0), 0::bigint, 0::bigint,
            0::bigint, NULL::bytea FROM notice WHERE shard = 0;
        RETURN;
    END IF;
    RETURN NEXT (0, p_after, 0, 0, 0, NULL)::answer;
    RETURN QUERY SELECT 0, number, 0::bigint, 0::bigint, 0::bigint, account
        FROM notice WHERE shard = 0 AND number > p_after
        ORDER BY number LIMIT p_max;
END $$;

-- The operator's tools; two of them wait for each other.
CREATE FUNCTION note(p_account bytea, p_day bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE notice IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO notice SELECT 0, coalesce(max(number), 0) + 1, p_day, p_account
        FROM notice WHERE shard = 0;
END $$;

CREATE FUNCTION account_disable(p_name bytea, p_disabled boolean, p_day bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    who bytea;
BEGIN
    SELECT account INTO who FROM handle
        WHERE shard = shard_of_name(p_name) AND name = p_name;
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    UPDATE account SET disabled = p_disabled
        WHERE shard = shard_of(who) AND id = who;
    IF p_disabled THEN
        PERFORM note(who, p_day);
    END IF;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION account_delete(p_name bytea, p_day bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    who bytea;
    listed bytea[];
    one bytea;
BEGIN
    SELECT account INTO who FROM handle
        WHERE shard = shard_of_name(p_name) AND name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    SELECT devices INTO listed FROM account
        WHERE shard = shard_of(who) AND id = who FOR UPDATE;
    FOREACH one IN ARRAY listed LOOP
        DELETE FROM package WHERE shard = shard_of(one) AND device = one;
        DELETE FROM item WHERE shard = shard_of(one) AND device = one;
        DELETE FROM inbox WHERE shard = shard_of(one) AND device = one;
        DELETE FROM spent_item WHERE shard = shard_of(one) AND device = one;
        DELETE FROM device WHERE shard = shard_of(one) AND id = one;
    END LOOP;
    DELETE FROM state WHERE shard = shard_of(who) AND account = who;
    DELETE FROM taken WHERE shard = shard_of(who) AND account = who;
    DELETE FROM handle WHERE shard = shard_of_name(p_name) AND name = p_name;
    DELETE FROM account WHERE shard = shard_of(who) AND id = who;
    INSERT INTO gone VALUES (shard_of(who), who) ON CONFLICT DO NOTHING;
    INSERT INTO resting VALUES (shard_of_name(p_name), p_name, p_day / 7)
        ON CONFLICT (shard, name) DO UPDATE SET week = excluded.week;
    PERFORM note(who, p_day);
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION login(p_account bytea, p_day bigint) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account SET used_week = p_day / 7
        WHERE shard = shard_of(p_account) AND id = p_account;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

-- The core has checked that it follows the newest state that it was given;
-- another device may have been faster.
CREATE FUNCTION state_append(p_account bytea, p_version bigint, p_state bytea,
    p_devices bytea[], p_states_max bigint, p_again boolean)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;
BEGIN
    SELECT version INTO newest FROM account
        WHERE shard = shard_of(p_account) AND id = p_account FOR UPDATE;
    newest := coalesce(newest, 0);
    IF p_again AND newest = p_version AND EXISTS (SELECT FROM state
        WHERE shard = shard_of(p_account) AND account = p_account
        AND version = newest AND body = p_state) THEN
        RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
    ELSIF newest + 1 <> p_version THEN
        RETURN NEXT (10, newest, 0, 0, 0, NULL)::answer;
    ELSIF p_version > p_states_max THEN
        RETURN NEXT (8, 0, 0, 0, 0, NULL)::answer;
    ELSIF NOT set_devices(p_account, p_devices) THEN
        RETURN NEXT (7, 0, 0, 0, 0, NULL)::answer;
    ELSE
        INSERT INTO state VALUES
            (shard_of(p_account), p_account, p_version, p_state);
        UPDATE account SET version = p_version
            WHERE shard = shard_of(p_account) AND id = p_account;
        RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
    END IF;
END $$;

CREATE FUNCTION contact_set(p_account bytea, p_hash bytea)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account SET contact_hash = p_hash
        WHERE shard = shard_of(p_account) AND id = p_account;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION lookup(p_name bytea) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT 0, 0::bigint, 0::bigint, 0::bigint, 0::bigint, account
        FROM handle WHERE shard = shard_of_name(p_name) AND name = p_name;
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
    END IF;
END $$;

-- Goes on until so many bytes have been passed.
CREATE FUNCTION chain(p_account bytea, p_from bigint, p_max_bytes bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;
BEGIN
    SELECT version INTO newest FROM account
        WHERE shard = shard_of(p_account) AND id = p_account;
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    RETURN NEXT (0, newest, 0, 0, 0, NULL)::answer;
    RETURN QUERY SELECT 0, version, 0::bigint, 0::bigint, 0::bigint, body FROM (
        SELECT version, body, sum(octet_length(body) + 4) OVER
            (ORDER BY version) - octet_length(body) - 4 AS passed
        FROM state WHERE shard = shard_of(p_account) AND account = p_account
        AND version >= p_from) AS summed
        WHERE passed < p_max_bytes ORDER BY version;
END $$;

CREATE FUNCTION packages_of(p_device bytea) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT count(*) FROM package WHERE shard = shard_of(p_device)
        AND device = p_device AND NOT last_resort AND body IS NOT NULL);
END $$;

CREATE FUNCTION kp_count(p_device bytea) RETURNS SETOF answer
LANGUAGE sql STABLE AS $$
    SELECT 0, packages_of(p_device), 0::bigint, 0::bigint, 0::bigint,
        NULL::bytea
$$;

-- `p_last` and `p_last_hash`: of the package of last resort, or empty.
CREATE FUNCTION kp_publish(p_account bytea, p_device bytea, p_bodies bytea[],
    p_hashes bytea[], p_last bytea, p_last_hash bytea, p_day bigint,
    p_packages_max bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM 1 FROM device WHERE shard = shard_of(p_device) AND id = p_device
        AND account = p_account FOR SHARE;
    IF NOT FOUND THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    n := packages_of(p_device);
    FOR i IN 1 .. cardinality(p_bodies) LOOP
        EXIT WHEN n >= p_packages_max; -- the rest is not needed
        INSERT INTO package VALUES (shard_of(p_device), p_device, p_hashes[i],
            false, p_day, p_bodies[i]) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            n := n + 1;
        END IF;
    END LOOP;
    IF p_last <> '' THEN
        DELETE FROM package WHERE shard = shard_of(p_device)
            AND device = p_device AND last_resort;
        INSERT INTO package VALUES (shard_of(p_device), p_device, p_last_hash,
            true, p_day, p_last) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEXT (0, n, 0, 0, 0, NULL)::answer;
END $$;

-- Says whether somebody may knock at an account: 0, or why not. A device, if
-- one is named, is one of its own. `p_cap` is empty where work is shown.
CREATE FUNCTION may_contact(p_account bytea, p_device bytea, p_cap bytea)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    a account;
BEGIN
    SELECT * INTO a FROM account
        WHERE shard = shard_of(p_account) AND id = p_account;
    IF NOT FOUND OR (p_device <> '' AND NOT p_device = ANY (a.devices)) THEN
        RETURN 6;
    END IF;
    IF a.disabled THEN
        RETURN 11;
    END IF;
    RETURN CASE WHEN p_cap = '' OR a.contact_hash = p_cap THEN 0 ELSE 5 END;
END $$;

-- `p_again`: the work may have been spent by this same operation.
CREATE FUNCTION kp_take(p_account bytea, p_device bytea, p_cap bytea,
    p_subject bytea, p_work_day bigint, p_day bigint, p_contacts_max bigint,
    p_strangers_max bigint, p_again boolean)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    refused integer := may_contact(p_account, p_device, p_cap);
    stranger integer := (p_cap = '')::integer;
    one bytea;
    p record;
BEGIN
    IF refused = 0 AND stranger = 1 THEN
        INSERT INTO spent VALUES (shard_of(p_subject), p_work_day, p_subject)
            ON CONFLICT DO NOTHING;
        IF NOT FOUND AND NOT p_again THEN
            refused := 5;
        END IF;
    END IF;
    IF refused = 0 THEN
        INSERT INTO taken AS t VALUES (shard_of(p_account), p_day, p_account,
            1 - stranger, stranger)
            ON CONFLICT (shard, day, account) DO UPDATE SET
                by_contacts = t.by_contacts + excluded.by_contacts,
                by_strangers = t.by_strangers + excluded.by_strangers
            WHERE CASE WHEN p_cap <> '' THEN t.by_contacts < p_contacts_max
                ELSE t.by_strangers < p_strangers_max END;
        IF NOT FOUND THEN
            refused := 8;
        END IF;
    END IF;
    RETURN NEXT (refused, 0, 0, 0, 0, NULL)::answer;
    IF refused <> 0 THEN
        RETURN;
    END IF;
    FOR one IN SELECT t.id FROM account a, unnest(a.devices) AS t(id)
        WHERE a.shard = shard_of(p_account) AND a.id = p_account
        AND (p_device = '' OR t.id = p_device) ORDER BY t.id
    LOOP
        SELECT hash, last_resort, body INTO p FROM package
            WHERE shard = shard_of(one) AND device = one AND body IS NOT NULL
            ORDER BY last_resort, hash LIMIT 1 FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        IF NOT p.last_resort THEN
            UPDATE package SET body = NULL WHERE shard = shard_of(one)
                AND device = one AND hash = p.hash;
        END IF;
        RETURN NEXT (0, 0, 0, 0, 0, one)::answer;
        RETURN NEXT (0, 0, 0, 0, 0, p.body)::answer;
    END LOOP;
END $$;

-- ---- Inboxes ----
--
-- A device's inbox comes into being with its first item. The item's hash is
-- remembered while its proof of work is good, so that an item which is sent
-- again, after a lost answer or by a replay, is taken once.

CREATE TABLE inbox (
    shard smallint NOT NULL,
    device bytea NOT NULL,
    head bigint NOT NULL,
    day integer NOT NULL,      -- that `strangers` counts
    strangers bigint NOT NULL, -- items that came with work, that day
    PRIMARY KEY (shard, device)
);

CREATE TABLE item (
    shard smallint NOT NULL,
    device bytea NOT NULL,
    seq bigint NOT NULL,
    day integer NOT NULL,
    item bytea NOT NULL,
    PRIMARY KEY (shard, device, seq)
);
ALTER TABLE item ALTER item SET STORAGE EXTERNAL;

CREATE TABLE spent_item (
    shard smallint NOT NULL,
    day integer NOT NULL,
    device bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (shard, day, device, hash)
);

CREATE FUNCTION inbox_append(p_account bytea, p_device bytea, p_cap bytea,
    p_item bytea, p_hash bytea, p_day bigint, p_items_max bigint,
    p_strangers_max bigint, p_again boolean)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    refused integer := may_contact(p_account, p_device, p_cap);
    box inbox;
    strangers bigint;
    items bigint;
BEGIN
    IF refused <> 0 THEN
        RETURN NEXT (refused, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    SELECT * INTO box FROM inbox
        WHERE shard = shard_of(p_device) AND device = p_device FOR UPDATE;
    PERFORM 1 FROM spent_item WHERE shard = shard_of(p_device)
        AND day IN (p_day, p_day - 1) AND device = p_device AND hash = p_hash;
    IF FOUND THEN -- its device is told once more if it may not have been
        RETURN NEXT (0, CASE WHEN p_again THEN box.head ELSE 0 END,
            0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    strangers := CASE WHEN box.day = p_day THEN box.strangers ELSE 0 END;
    SELECT count(*) INTO items FROM item
        WHERE shard = shard_of(p_device) AND device = p_device;
    -- strangers alone cannot fill it: half of it is for contacts
    IF items >= p_items_max OR (p_cap = '' AND
        (strangers >= p_strangers_max OR items >= p_items_max / 2)) THEN
        RETURN NEXT (8, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    box.head := coalesce(box.head, 0) + 1;
    strangers := strangers + (p_cap = '')::integer;
    INSERT INTO inbox AS i VALUES
        (shard_of(p_device), p_device, box.head, p_day, strangers)
        ON CONFLICT (shard, device) DO UPDATE SET head = excluded.head,
            day = excluded.day, strangers = excluded.strangers;
    INSERT INTO item VALUES
        (shard_of(p_device), p_device, box.head, p_day, p_item);
    INSERT INTO spent_item VALUES
        (shard_of(p_device), p_day, p_device, p_hash);
    RETURN NEXT (0, box.head, 0, 0, 0, NULL)::answer;
END $$;

CREATE FUNCTION inbox_read(p_device bytea, p_after bigint, p_max bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
    RETURN QUERY SELECT 0, seq, 0::bigint, 0::bigint, 0::bigint, item FROM item
        WHERE shard = shard_of(p_device) AND device = p_device AND seq > p_after
        ORDER BY seq LIMIT p_max;
END $$;

CREATE FUNCTION inbox_ack(p_device bytea, p_upto bigint) RETURNS SETOF answer
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM item WHERE shard = shard_of(p_device) AND device = p_device
        AND seq <= p_upto;
    RETURN NEXT (0, 0, 0, 0, 0, NULL)::answer;
END $$;

-- Accounts' collection: work that is no longer good (one shard at a time), and
-- packages that have not long to live. The hash of one that was taken stays for
-- as long as it lives, so that it cannot be published again.
CREATE FUNCTION collect_packages(p_shard bigint, p_id bytea, p_step bigint,
    p_day bigint, p_turn bigint, p_spent_days bigint, p_free_days bigint,
    p_taken_days bigint, p_rest_days bigint)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint := 0;
BEGIN
    DELETE FROM resting WHERE shard = p_turn AND week * 7 < p_day - p_rest_days;
    -- The newest notice stays, for its number, but not whom it was about.
    DELETE FROM notice WHERE shard = p_turn AND day < p_day - p_spent_days
        AND number < (SELECT max(number) FROM notice WHERE shard = p_turn);
    UPDATE notice SET account = '' WHERE shard = p_turn
        AND day < p_day - p_spent_days AND account <> '';
    DELETE FROM spent WHERE shard = p_turn AND day < p_day - p_spent_days;
    DELETE FROM spent_item WHERE shard = p_turn AND day < p_day - p_spent_days;
    DELETE FROM taken WHERE shard = p_turn AND day < p_day - p_spent_days;
    FOR r IN SELECT DISTINCT shard, device AS id FROM package
        WHERE (shard, device) > (p_shard, p_id)
        ORDER BY shard, device LIMIT p_step
    LOOP
        DELETE FROM package WHERE shard = r.shard AND device = r.id
            AND NOT last_resort AND day + CASE WHEN body IS NULL
                THEN p_taken_days ELSE p_free_days END <= p_day;
        n := n + 1;
    END LOOP;
    RETURN NEXT (0, n, r.shard, 0, 0, r.id)::answer;
END $$;

-- Items that are too old go, and everything of a device that is listed by no
-- account any more.
CREATE FUNCTION collect_inboxes(p_shard bigint, p_id bytea, p_step bigint,
    p_day bigint, p_days bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint := 0;
BEGIN
    FOR r IN SELECT i.shard, i.device AS id, EXISTS (SELECT FROM device d
            WHERE d.shard = i.shard AND d.id = i.device) AS kept FROM inbox i
        WHERE (i.shard, i.device) > (p_shard, p_id)
        ORDER BY i.shard, i.device LIMIT p_step
    LOOP
        DELETE FROM item WHERE shard = r.shard AND device = r.id
            AND (day < p_day - p_days OR NOT r.kept);
        IF NOT r.kept THEN
            DELETE FROM inbox WHERE shard = r.shard AND device = r.id;
        END IF;
        n := n + 1;
    END LOOP;
    RETURN NEXT (0, n, r.shard, 0, 0, r.id)::answer;
END $$;

-- ---- Blobs ----
--
-- Their content is in rows, not in a folder: so it fails over, is restored and
-- is dropped with the rest, and any node can serve it.

CREATE TABLE blob (
    shard smallint NOT NULL,
    id bytea NOT NULL,
    total bigint NOT NULL,
    stored bigint NOT NULL,
    expires integer NOT NULL,  -- the first day without it
    PRIMARY KEY (shard, id)
);

CREATE TABLE piece (
    shard smallint NOT NULL,
    blob bytea NOT NULL,
    at bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (shard, blob, at)
);
ALTER TABLE piece ALTER data SET STORAGE EXTERNAL;

CREATE TABLE usage (           -- bytes promised to blobs
    shard smallint NOT NULL PRIMARY KEY,
    bytes bigint NOT NULL
);
INSERT INTO usage SELECT n, 0 FROM generate_series(0, 255) AS n;

CREATE FUNCTION blob_put(p_channel bytea, p_sub bytea, p_cap bytea,
    p_blob bytea, p_offset bigint, p_total bigint, p_expires bigint,
    p_data bytea, p_blob_max bigint, p_blobs_max bigint, p_again boolean)
RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    v record;
    b blob;
    known boolean;
    len bigint := octet_length(p_data);
BEGIN
    SELECT * INTO v FROM view_of(p_channel, p_sub, p_cap);
    IF NOT FOUND THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF NOT v.good THEN
        RETURN NEXT (5, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF v.ended THEN
        RETURN NEXT (10, v.last, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    SELECT * INTO b FROM blob
        WHERE shard = shard_of(p_blob) AND id = p_blob FOR UPDATE;
    known := FOUND;
    b.stored := coalesce(b.stored, 0);
    IF len = 0 OR (p_again AND b.stored = p_offset + len) THEN
        RETURN NEXT (0, b.stored, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_offset <> b.stored THEN
        RETURN NEXT (10, b.stored, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF known AND b.total <> p_total THEN
        RETURN NEXT (7, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_total > p_blob_max THEN
        RETURN NEXT (8, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF len > p_total - p_offset THEN
        RETURN NEXT (4, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    IF NOT known THEN
        IF p_total > p_blobs_max - (SELECT sum(bytes) FROM usage) THEN
            RETURN NEXT (8, 0, 0, 0, 0, NULL)::answer;
            RETURN;
        END IF;
        UPDATE usage SET bytes = bytes + p_total
            WHERE shard = shard_of(p_blob);
        INSERT INTO blob VALUES
            (shard_of(p_blob), p_blob, p_total, 0, p_expires);
    END IF;
    INSERT INTO piece VALUES (shard_of(p_blob), p_blob, p_offset, p_data);
    UPDATE blob SET stored = p_offset + len
        WHERE shard = shard_of(p_blob) AND id = p_blob;
    RETURN NEXT (0, p_offset + len, 0, 0, 0, NULL)::answer;
END $$;

-- Rows: the total; then the pieces, cut to what is wanted.
CREATE FUNCTION blob_get(p_blob bytea, p_offset bigint, p_max bigint,
    p_day bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    b blob;
BEGIN
    SELECT * INTO b FROM blob WHERE shard = shard_of(p_blob) AND id = p_blob;
    IF NOT FOUND OR b.stored < b.total OR b.expires <= p_day THEN
        RETURN NEXT (6, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    ELSIF p_offset > b.total THEN
        RETURN NEXT (4, 0, 0, 0, 0, NULL)::answer;
        RETURN;
    END IF;
    RETURN NEXT (0, b.total, 0, 0, 0, NULL)::answer;
    RETURN QUERY SELECT 0, at, 0::bigint, 0::bigint, 0::bigint,
        substring(data FROM greatest(p_offset - at, 0)::integer + 1 FOR
            (least(p_offset + p_max, at + octet_length(data))
            - greatest(p_offset, at))::integer)
        FROM piece WHERE shard = shard_of(p_blob) AND blob = p_blob
        AND at < p_offset + p_max
        AND at >= coalesce((SELECT max(at) FROM piece
            WHERE shard = shard_of(p_blob) AND blob = p_blob
            AND at <= p_offset), 0)
        AND at + octet_length(data) > p_offset
        ORDER BY at;
END $$;

CREATE FUNCTION collect_blobs(p_shard bigint, p_id bytea, p_step bigint,
    p_day bigint) RETURNS SETOF answer LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint := 0;
BEGIN
    FOR r IN SELECT shard, id, total, expires FROM blob
        WHERE (shard, id) > (p_shard, p_id) ORDER BY shard, id LIMIT p_step
    LOOP
        IF r.expires <= p_day THEN
            DELETE FROM piece WHERE shard = r.shard AND blob = r.id;
            DELETE FROM blob WHERE shard = r.shard AND id = r.id;
            UPDATE usage SET bytes = bytes - r.total WHERE shard = r.shard;
        END IF;
        n := n + 1;
    END LOOP;
    RETURN NEXT (0, n, r.shard, 0, 0, r.id)::answer;
END $$;

-- ---- What must never be ----

CREATE FUNCTION faults() RETURNS TABLE (what text, n bigint)
LANGUAGE sql STABLE AS $$
    SELECT 'an entry lies outside its channel', count(*)
        FROM entry e LEFT JOIN channel c
        ON c.shard = e.shard AND c.id = e.channel
        WHERE c.id IS NULL OR e.seq NOT BETWEEN c.floor + 1 AND c.head
    UNION ALL SELECT 'a channel''s handshake is above its head', count(*)
        FROM channel WHERE handshake > head OR floor > head
    UNION ALL SELECT 'an entry is missing between others', count(*)
        FROM channel c WHERE head - floor <> (SELECT count(*) FROM entry e
            WHERE e.shard = c.shard AND e.channel = c.id)
    UNION ALL SELECT 'a channel''s bytes are miscounted', count(*)
        FROM channel c WHERE bytes <> (SELECT
            coalesce(sum(octet_length(body)), 0) FROM entry e
            WHERE e.shard = c.shard AND e.channel = c.id)
    UNION ALL SELECT 'a subscription does not fit its channel', count(*)
        FROM subscription s LEFT JOIN channel c
        ON c.shard = s.shard AND c.id = s.channel
        WHERE c.id IS NULL OR start > cursor OR cursor > head OR ended > head
        OR next_at > next_cursor OR next_cursor > head OR cursor >= next_at
    UNION ALL SELECT 'an idempotency key does not fit its channel', count(*)
        FROM accepted a LEFT JOIN channel c
        ON c.shard = a.shard AND c.id = a.channel
        WHERE c.id IS NULL OR seq > head
    UNION ALL SELECT 'an account''s chain has a gap', count(*)
        FROM account a WHERE version <> ALL (SELECT unnest(ARRAY[count(*),
            coalesce(max(s.version), 0)]) FROM state s
            WHERE s.shard = a.shard AND s.account = a.id)
    UNION ALL SELECT 'an account has no handle', count(*)
        FROM account a WHERE NOT EXISTS (SELECT FROM handle h
            WHERE h.name = a.name AND h.account = a.id)
    UNION ALL SELECT 'a handle has no account', count(*)
        FROM handle h WHERE NOT EXISTS (SELECT FROM account a
            WHERE a.shard = shard_of(h.account) AND a.id = h.account)
    UNION ALL SELECT 'a device does not fit its account', count(*)
        FROM device d WHERE NOT EXISTS (SELECT FROM account a
            WHERE a.shard = shard_of(d.account) AND a.id = d.account
            AND d.id = ANY (a.devices))
    UNION ALL SELECT 'the bytes of blobs are miscounted', count(*)
        FROM usage u WHERE bytes <> (SELECT coalesce(sum(total), 0)
            FROM blob b WHERE b.shard = u.shard)
    UNION ALL SELECT 'a blob''s content is missing', count(*)
        FROM blob b WHERE stored > total OR stored <> (SELECT
            coalesce(sum(octet_length(data)), 0) FROM piece p
            WHERE p.shard = b.shard AND p.blob = b.id)
    UNION ALL SELECT 'an id is in the wrong shard', count(*)
        FROM channel WHERE shard <> shard_of(id)
$$;
