-- +goose Up
-- Where the sessions were moved to, for people; empty while they are here.
ALTER TABLE instance ADD COLUMN moved_to TEXT NOT NULL DEFAULT '';
