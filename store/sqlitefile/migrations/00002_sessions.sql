-- +goose Up
CREATE TABLE sessions (
    name          BLOB    NOT NULL PRIMARY KEY,
    subject_kind  INTEGER NOT NULL,
    subject_id    INTEGER NOT NULL,
    client        TEXT    NOT NULL,
    scopes        TEXT    NOT NULL,
    epoch         BLOB    NOT NULL,
    password_mark BLOB    NOT NULL,
    base          INTEGER NOT NULL,
    cur           INTEGER NOT NULL,
    uses          BLOB    NOT NULL,
    retry_key     BLOB    NOT NULL,
    device        BLOB    NOT NULL,
    replays       INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    rotated_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,
    ended_at      INTEGER NOT NULL,
    cause         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_living ON sessions (subject_kind, subject_id) WHERE ended_at = 0;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE subjects (
    kind       INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    epoch      BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX subjects_expiry ON subjects (expires_at);
