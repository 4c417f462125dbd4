package sqlstore

import (
	"database/sql"

	"github.com/glueauth/glueauth/config/secret"
)

// sampleBlocks is from how many places the hashes of older customers are read.
const sampleBlocks = 8

// sampler reads password hashes of customers who have one: of so many newest, newest first; of so many from an id on, by their ids.
type sampler struct {
	newest func(n int) (*sql.Rows, error)
	from   func(id int64, n int) (*sql.Rows, error)
}

// hashed is a customer's id and his password's hash.
type hashed struct {
	id   int64
	hash secret.Text
}

// sample returns up to n hashes: one half of the newest customers, the other from places all over the older ones, whose hashes may
// cost less: shops raise the cost, and never hash anew.
func (s sampler) sample(n int) ([]secret.Text, error) {
	half := (n + 1) / 2
	all, err := scanHashes(s.newest(max(half, 0)))
	if err != nil || len(all) == 0 || len(all) < half {
		return hashesOf(all), err
	}
	rest, end := n-half, all[len(all)-1].id
	oldest, err := scanHashes(s.from(0, min(rest, 1)))
	if err != nil || len(oldest) == 0 {
		return hashesOf(all), err
	}
	first, each := oldest[0].id, (rest+sampleBlocks-1)/sampleBlocks
	for i, next := int64(0), first; i < sampleBlocks && rest > 0; i++ {
		block, err := scanHashes(s.from(max(next, first+(end-first)/sampleBlocks*i), min(rest, each)))
		if err != nil {
			return hashesOf(all), err
		}
		for _, h := range block {
			if h.id < end {
				all = append(all, h)
				next = h.id + 1
				rest--
			}
		}
	}
	return hashesOf(all), nil
}

func hashesOf(all []hashed) (hashes []secret.Text) {
	for _, h := range all {
		hashes = append(hashes, h.hash)
	}
	return hashes
}

// scanHashes reads what a query returned.
func scanHashes(rows *sql.Rows, err error) (all []hashed, _ error) {
	const what = "read password hashes"
	if err != nil {
		return nil, unavailable(what, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has what there is to say
	for rows.Next() {
		var h hashed
		var hash string
		if err := rows.Scan((*whole)(&h.id), &hash); err != nil {
			return nil, unavailable(what, err)
		}
		h.hash = secret.Text(hash)
		all = append(all, h)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(what, err)
	}
	return all, nil
}
