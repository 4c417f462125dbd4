-- +goose Up
-- The name is empty for a subject as a whole. Whoever reads goes on from the last seq that he has seen.
CREATE TABLE revocations (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    subject_kind INTEGER NOT NULL,
    subject_id   INTEGER NOT NULL,
    name         BLOB    NOT NULL,
    spared       INTEGER NOT NULL,
    epoch        BLOB    NOT NULL,
    not_before   INTEGER NOT NULL,
    noted_at     INTEGER NOT NULL,
    UNIQUE (subject_kind, subject_id, name, spared)
) STRICT;
CREATE INDEX revocations_noted ON revocations (noted_at);
