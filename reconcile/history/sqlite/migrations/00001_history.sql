-- Times are microseconds since 1970 in UTC, 0 where there is none. A resource is its kind and path;
-- org and space repeat the head of the path, for filtering. STRICT: a wrong type is an error, not a surprise.

-- +goose Up
CREATE TABLE targets (
    target   TEXT PRIMARY KEY,
    revision TEXT    NOT NULL DEFAULT '', -- last one that was applied in full
    next_due INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE applied (
    target TEXT NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    kind   TEXT NOT NULL,
    path   TEXT NOT NULL,
    field  TEXT NOT NULL, -- JSON pointer, '' is the resource
    digest TEXT NOT NULL,
    PRIMARY KEY (target, kind, path, field)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    target   TEXT NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    path     TEXT NOT NULL,
    digest   TEXT NOT NULL,
    revision TEXT NOT NULL,
    reason   TEXT NOT NULL,
    since    INTEGER NOT NULL,
    run      INTEGER NOT NULL,
    PRIMARY KEY (target, kind, path)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an ID is never given twice, not even after the newest rows were removed.
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    target     TEXT NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    "trigger"  TEXT NOT NULL,
    mode       TEXT NOT NULL,
    revision   TEXT NOT NULL,
    author     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    result     TEXT NOT NULL,
    error      TEXT NOT NULL,
    requests   INTEGER NOT NULL,
    changes    INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_target ON runs (target, started_at);
CREATE INDEX runs_result ON runs (result, started_at);
CREATE INDEX runs_started ON runs (started_at);

CREATE TABLE steps (
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    path        TEXT NOT NULL,
    phase       TEXT NOT NULL,
    changes     INTEGER NOT NULL,
    impact      TEXT NOT NULL,
    error       TEXT NOT NULL,
    duration_ns INTEGER NOT NULL,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE drift (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    target        TEXT NOT NULL REFERENCES targets (target) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    path          TEXT NOT NULL,
    org           TEXT NOT NULL,
    space         TEXT NOT NULL, -- ORG/SPACE
    field         TEXT NOT NULL, -- JSON pointer, '' is the whole resource
    op            TEXT NOT NULL,
    declared      TEXT NOT NULL, -- JSON; 'digest:…' for a secret
    live          TEXT NOT NULL,
    secret        INTEGER NOT NULL,
    origin_file   TEXT NOT NULL,
    origin_line   INTEGER NOT NULL,
    origin_column INTEGER NOT NULL,
    impact        TEXT NOT NULL,
    revision      TEXT NOT NULL,
    first_seen    INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL,
    seen          INTEGER NOT NULL,
    actor         TEXT NOT NULL,
    actor_id      TEXT NOT NULL,
    acted_at      INTEGER NOT NULL,
    event         TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    note          TEXT NOT NULL,
    who           TEXT NOT NULL, -- actor, or actor_id of an actor without a name: what people filter by
    resolved_at   INTEGER NOT NULL,
    resolution    TEXT NOT NULL, -- '' is open
    resolved_by   INTEGER NOT NULL
) STRICT;
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
