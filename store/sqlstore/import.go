package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"
)

const (
	importBatch = 100  // rows in one transaction
	maxRefusals = 1000 // listed
	maxPause    = time.Second
)

// Refusal is a row that was not imported.
type Refusal struct {
	Line   int // where the row begins, from 1
	Reason string
}

// ImportResult counts what became of the rows.
type ImportResult struct {
	Added     int
	Unchanged int // were there already, with the same values
	Refused   int
	Refusals  []Refusal // the first thousand of the refused ones
}

// Import adds the customers that are not there yet. It never changes one: a row that says what is there already counts
// as unchanged, so that an import can be repeated, and one that says something else is refused. With dryRun it writes
// nothing, and keeps what it would write in memory.
//
// Rows go in by transactions of a hundred, and between two of them the write lock stays free for as long as it was
// held, so that a server beside it goes on. An error (of the rows, or of the database) ends the import; the result then
// counts what went in for good.
func (c *Customers) Import(ctx context.Context, rows iter.Seq2[Row, error], dryRun bool) (ImportResult, error) {
	i := importer{customers: c}
	if dryRun {
		i.planned = map[string]*record{}
	}
	batch := make([]Row, 0, importBatch)
	for row, err := range rows {
		if err != nil {
			err = errors.Join(err, i.take(ctx, batch))
			return i.result, err
		}
		if batch = append(batch, row); len(batch) < importBatch {
			continue
		}
		if err := i.take(ctx, batch); err != nil {
			return i.result, err
		}
		pause(ctx, i.held)
		batch = batch[:0]
	}
	err := i.take(ctx, batch)
	return i.result, err
}

// importer is one import.
type importer struct {
	customers *Customers
	result    ImportResult
	held      time.Duration      // the write lock, by the newest batch
	planned   map[string]*record // what a dry run would have written, by each unique value; nil in a real one
}

// take imports a batch as a whole or, with an error, not at all.
func (i *importer) take(ctx context.Context, batch []Row) error {
	var result ImportResult
	var err error
	if i.planned != nil {
		err = i.plan(ctx, batch, &result)
	} else {
		err = i.write(ctx, batch, &result)
	}
	if err != nil {
		return err
	}
	i.result.add(result)
	return nil
}

func (i *importer) write(ctx context.Context, batch []Row, result *ImportResult) error {
	var began time.Time
	err := i.customers.change(ctx, "import customers", func(tx *sql.Tx) error {
		began = i.customers.now()
		a, err := i.customers.adder(ctx, tx)
		if err != nil {
			return err
		}
		return result.each(batch, func(row Row) (*record, error) {
			_, clash, err := a.add(ctx, row.Customer)
			return clash, err
		})
	})
	i.held = i.customers.now().Sub(began)
	return err
}

// plan remembers what write would write.
func (i *importer) plan(ctx context.Context, batch []Row, result *ImportResult) error {
	find, err := i.customers.read.PrepareContext(ctx, findHolder)
	if err != nil {
		return unavailable("plan the import of customers", err)
	}
	defer find.Close() //nolint:errcheck // it only read
	return result.each(batch, func(row Row) (*record, error) {
		n := row.Customer
		keys := n.uniqueValues()
		for _, key := range keys {
			if clash := i.planned[key]; clash != nil {
				return clash, nil
			}
		}
		clash, err := holder(ctx, find, n)
		if clash != nil || err != nil {
			return clash, err
		}
		r := &record{
			id: n.ID, line: row.Line,
			reference: n.Reference, email: n.Email, password: n.PasswordHash.Reveal(), registered: n.day(i.customers.now()),
		}
		for _, key := range keys {
			i.planned[key] = r
		}
		return nil, nil
	})
}

// each calls add with each valid row of the batch and counts them all. add returns whoever is in the way of a row.
func (r *ImportResult) each(batch []Row, add func(Row) (*record, error)) error {
	for _, row := range batch {
		reason := row.Refused
		if reason == "" {
			reason = row.Customer.invalid()
		}
		if reason != "" {
			r.refuse(row.Line, reason)
			continue
		}
		clash, err := add(row)
		switch {
		case err != nil:
			return err
		case clash == nil:
			r.Added++
		case clash.is(row.Customer):
			r.Unchanged++
		default:
			r.refuse(row.Line, clash.reason(row.Customer))
		}
	}
	return nil
}

func (r *ImportResult) refuse(line int, reason string) {
	r.Refused++
	r.Refusals = append(r.Refusals, Refusal{Line: line, Reason: reason})
}

// add adds the counts of a batch.
func (r *ImportResult) add(batch ImportResult) {
	r.Added += batch.Added
	r.Unchanged += batch.Unchanged
	r.Refused += batch.Refused
	room := maxRefusals - len(r.Refusals)
	r.Refusals = append(r.Refusals, batch.Refusals[:min(room, len(batch.Refusals))]...)
}

// pause lets others have the write lock. A clock that jumps must not make it long.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(min(d, maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
