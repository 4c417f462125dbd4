-- +goose Up
-- A name is one letter and one or two keyed hashes; see store.Guess.
CREATE TABLE guesses (
    name         BLOB    NOT NULL PRIMARY KEY,
    taken        INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    until        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX guesses_expiry ON guesses (until);

-- The addresses he uses, eight at most: a mark of 8 bytes and a day of 2.
ALTER TABLE subjects ADD COLUMN addresses BLOB NOT NULL DEFAULT x'';
