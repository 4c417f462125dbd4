-- +goose Up
CREATE UNIQUE INDEX goose_db_version_once ON goose_db_version (version_id);

CREATE TABLE instance (
    id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO instance (id) VALUES (lower(hex(randomblob(16))));

CREATE TABLE customers (
    id_customer        INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_reference TEXT    NOT NULL UNIQUE,
    email              TEXT    NOT NULL,
    email_key          TEXT    NOT NULL UNIQUE,
    uuid               TEXT    NOT NULL UNIQUE,
    password           TEXT,
    registered         TEXT,
    blocked_at         INTEGER,
    anonymized_at      INTEGER,
    created_at         INTEGER NOT NULL
) STRICT;
