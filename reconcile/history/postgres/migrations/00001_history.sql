-- Times are microseconds since 1970 in UTC, 0 where there is none. A resource is its kind and path;
-- org and space repeat the head of the path, for filtering. COLLATE "C": text is ordered by its
-- bytes, as everywhere in Fettle, whatever the language of the server.

-- +goose Up
CREATE TABLE targets (
    target   TEXT COLLATE "C" PRIMARY KEY,
    revision TEXT COLLATE "C"    NOT NULL DEFAULT '', -- last one that was applied in full
    next_due BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE applied (
    target TEXT COLLATE "C" NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    kind   TEXT COLLATE "C" NOT NULL,
    path   TEXT COLLATE "C" NOT NULL,
    field  TEXT COLLATE "C" NOT NULL, -- JSON pointer, '' is the resource
    digest TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (target, kind, path, field)
);

CREATE TABLE quarantine (
    target   TEXT COLLATE "C" NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    kind     TEXT COLLATE "C" NOT NULL,
    path     TEXT COLLATE "C" NOT NULL,
    digest   TEXT COLLATE "C" NOT NULL,
    revision TEXT COLLATE "C" NOT NULL,
    reason   TEXT COLLATE "C" NOT NULL,
    since    BIGINT NOT NULL,
    run      BIGINT NOT NULL,
    PRIMARY KEY (target, kind, path)
);

CREATE TABLE runs (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     TEXT COLLATE "C" NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    "trigger"  TEXT COLLATE "C" NOT NULL,
    mode       TEXT COLLATE "C" NOT NULL,
    revision   TEXT COLLATE "C" NOT NULL,
    author     TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,
    result     TEXT COLLATE "C" NOT NULL,
    error      TEXT COLLATE "C" NOT NULL,
    requests   BIGINT NOT NULL,
    changes    BIGINT NOT NULL
);
CREATE INDEX runs_target ON runs (target, started_at);
CREATE INDEX runs_result ON runs (result, started_at);
CREATE INDEX runs_started ON runs (started_at);

CREATE TABLE steps (
    run         BIGINT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position    BIGINT NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    path        TEXT COLLATE "C" NOT NULL,
    phase       TEXT COLLATE "C" NOT NULL,
    changes     BIGINT NOT NULL,
    impact      TEXT COLLATE "C" NOT NULL,
    error       TEXT COLLATE "C" NOT NULL,
    duration_ns BIGINT NOT NULL,
    PRIMARY KEY (run, position)
);

CREATE TABLE drift (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target        TEXT COLLATE "C" NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    kind          TEXT COLLATE "C" NOT NULL,
    path          TEXT COLLATE "C" NOT NULL,
    org           TEXT COLLATE "C" NOT NULL,
    space         TEXT COLLATE "C" NOT NULL, -- ORG/SPACE
    field         TEXT COLLATE "C" NOT NULL, -- JSON pointer, '' is the whole resource
    op            TEXT COLLATE "C" NOT NULL,
    declared      TEXT COLLATE "C" NOT NULL, -- JSON; 'digest:…' for a secret
    live          TEXT COLLATE "C" NOT NULL,
    secret        BIGINT NOT NULL,
    origin_file   TEXT COLLATE "C" NOT NULL,
    origin_line   BIGINT NOT NULL,
    origin_column BIGINT NOT NULL,
    impact        TEXT COLLATE "C" NOT NULL,
    revision      TEXT COLLATE "C" NOT NULL,
    first_seen    BIGINT NOT NULL,
    last_seen     BIGINT NOT NULL,
    seen          BIGINT NOT NULL,
    actor         TEXT COLLATE "C" NOT NULL,
    actor_id      TEXT COLLATE "C" NOT NULL,
    acted_at      BIGINT NOT NULL,
    event         TEXT COLLATE "C" NOT NULL,
    event_id      TEXT COLLATE "C" NOT NULL,
    note          TEXT COLLATE "C" NOT NULL,
    who           TEXT COLLATE "C" NOT NULL, -- actor, or actor_id of an actor without a name: what people filter by
    resolved_at   BIGINT NOT NULL,
    resolution    TEXT COLLATE "C" NOT NULL, -- '' is open
    resolved_by   BIGINT NOT NULL
);
-- One edit is one record: of a field of a resource there is at most one open record.
CREATE UNIQUE INDEX drift_open ON drift (target, kind, path, field) WHERE resolution = '';
CREATE INDEX drift_open_seen ON drift (last_seen, id) WHERE resolution = '';
-- Listing is newest first, whatever the filter. first_seen is there so that an old period is found without
-- reading the records of all the time since.
CREATE INDEX drift_seen ON drift (last_seen, id, first_seen);
CREATE INDEX drift_target ON drift (target, last_seen, id);
CREATE INDEX drift_org ON drift (org, last_seen, id);
CREATE INDEX drift_space ON drift (space, last_seen, id);
CREATE INDEX drift_path ON drift (path, last_seen, id);
CREATE INDEX drift_who ON drift (who, last_seen, id) WHERE who <> '';
CREATE INDEX drift_resolved ON drift (resolved_at, last_seen);

-- +goose Down
DROP TABLE drift;
DROP TABLE steps;
DROP TABLE runs;
DROP TABLE quarantine;
DROP TABLE applied;
DROP TABLE targets;
