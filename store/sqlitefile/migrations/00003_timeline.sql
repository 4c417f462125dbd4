-- +goose Up
-- An address has 16 bytes, those of IPv4 mapped, zero when it is not known.
ALTER TABLE sessions ADD COLUMN shut          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN base_expires_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN rejoined_at   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN first_address BLOB    NOT NULL DEFAULT x'00000000000000000000000000000000';
ALTER TABLE sessions ADD COLUMN first_agent   TEXT    NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN last_address  BLOB    NOT NULL DEFAULT x'00000000000000000000000000000000';
ALTER TABLE sessions ADD COLUMN last_agent    TEXT    NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN timeline      BLOB    NOT NULL DEFAULT x'';

ALTER TABLE subjects ADD COLUMN floor       INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subjects ADD COLUMN floor_cause TEXT    NOT NULL DEFAULT '';
ALTER TABLE subjects ADD COLUMN floor_from  BLOB    NOT NULL DEFAULT x'00000000000000000000000000000000';

DROP INDEX sessions_living;
CREATE INDEX sessions_subject ON sessions (subject_kind, subject_id, ended_at);

ALTER TABLE instance ADD COLUMN master_mark BLOB;
