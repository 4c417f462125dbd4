package sqlstore

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

const (
	columnID         = "id_customer"
	columnReference  = "customer_reference"
	columnEmail      = "email"
	columnPassword   = "password"
	columnRegistered = "registered"

	requiredColumns = columnReference + ", " + columnEmail + ", " + columnPassword

	byteOrderMark = "\uFEFF"
	maxRow        = 1 << 20 // bytes
)

var errRowTooLong = errors.New("the row is longer than 1 MiB: look for a quote that is not closed")

// Row is one customer of a CSV file.
type Row struct {
	Line     int // where the row begins, from 1
	Customer NewCustomer
	Refused  string // why the row cannot be read, empty if it can; Customer means nothing then
}

// ReadCSV returns the customers of a CSV file (RFC 4180, UTF-8), which is read as they are taken. Its first line names
// the columns: customer_reference, email and password (a hash, empty for none), and optionally id_customer and registered
// (a date, empty for unconfirmed; without the column everybody is confirmed today). Other columns are ignored. A header
// that lacks a column is an error here; the sequence yields an error, and ends, when reading fails.
func ReadCSV(r io.Reader) (iter.Seq2[Row, error], error) {
	in := &bounded{r: r, left: maxRow}
	text := bufio.NewReader(in)
	switch start, _ := text.Peek(len(byteOrderMark)); { // what fails here fails again below
	case string(start) == byteOrderMark:
		_, _ = text.Discard(len(byteOrderMark))
	case strings.HasPrefix(string(start), "\xff\xfe"), strings.HasPrefix(string(start), "\xfe\xff"):
		return nil, errors.New("read CSV: the file is UTF-16: save it as UTF-8")
	}
	records := csv.NewReader(text)
	records.ReuseRecord = true
	header, err := records.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("read CSV: the file is empty: its first line must name the columns " + requiredColumns)
	}
	if err != nil {
		return nil, fmt.Errorf("read CSV header: %w", err)
	}
	at, err := columns(header)
	if err != nil {
		return nil, fmt.Errorf("read CSV header: %w", err)
	}
	return func(yield func(Row, error) bool) {
		for {
			in.left = maxRow
			row, err := at.next(records)
			if errors.Is(err, io.EOF) || !yield(row, err) || err != nil {
				return
			}
		}
	}, nil
}

// bounded fails when a single row takes more than it may: a quote that is never closed would take all memory.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errRowTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// positions are the places of our columns in a row, -1 for one that is not there.
type positions struct{ id, reference, email, password, registered int }

func columns(header []string) (positions, error) {
	at := positions{
		id: slices.Index(header, columnID), reference: slices.Index(header, columnReference), email: slices.Index(header, columnEmail),
		password: slices.Index(header, columnPassword), registered: slices.Index(header, columnRegistered),
	}
	// Without any name of ours the line may hold a customer, whose values must not be shown.
	if at.reference < 0 && at.email < 0 && at.password < 0 {
		return at, errors.New("the first line names none of the columns " + requiredColumns + ": add the line, and separate columns by commas")
	}
	var missing []string
	for _, c := range []struct {
		name string
		at   int
	}{{columnReference, at.reference}, {columnEmail, at.email}, {columnPassword, at.password}} {
		if c.at < 0 {
			missing = append(missing, strconv.Quote(c.name))
		}
	}
	if missing != nil {
		return at, fmt.Errorf("column %s is missing among %.300q: rename or add it", strings.Join(missing, " and "), header)
	}
	for _, name := range []string{columnID, columnReference, columnEmail, columnPassword, columnRegistered} {
		if first := slices.Index(header, name); first >= 0 && slices.Contains(header[first+1:], name) {
			return at, fmt.Errorf("column %q is there twice: remove one", name)
		}
	}
	return at, nil
}

// next reads one row. Its error ends the reading.
func (at positions) next(records *csv.Reader) (Row, error) {
	fields, err := records.Read()
	broken, isBroken := errors.AsType[*csv.ParseError](err)
	switch {
	case isBroken && errors.Is(err, csv.ErrFieldCount):
		return Row{Line: broken.StartLine, Refused: fmt.Sprintf("the row has %d fields and the header %d: make them equal", len(fields), records.FieldsPerRecord)}, nil
	case isBroken && broken.Line > broken.StartLine:
		return Row{Line: broken.StartLine, Refused: fmt.Sprintf("a quote is not closed or not doubled: close it; lines %d to %d were taken for one row", broken.StartLine, broken.Line)}, nil
	case isBroken:
		return Row{Line: broken.StartLine, Refused: "a quote is not closed or not doubled: quote the field, and double each quote in it"}, nil
	case errors.Is(err, io.EOF):
		return Row{}, io.EOF
	case err != nil:
		return Row{}, fmt.Errorf("read CSV: %w", err)
	}
	line, _ := records.FieldPos(0)
	row := Row{Line: line, Customer: NewCustomer{
		Reference: fields[at.reference], Email: fields[at.email], PasswordHash: secret.Text(fields[at.password]), Confirmed: true,
	}}
	if at.id >= 0 {
		id, err := strconv.ParseInt(fields[at.id], 10, 32)
		if err != nil || id == 0 {
			id = -1 // refused with all other ids that the shop cannot have; 0 would ask for a new one
		}
		row.Customer.ID = id
	}
	if at.registered >= 0 {
		row.Customer.Registered, row.Refused = date(fields[at.registered])
		row.Customer.Confirmed = fields[at.registered] != ""
	}
	return row, nil
}

// date reads a day in the forms that databases and the shop's exports have, and returns why it cannot.
func date(text string) (time.Time, string) {
	if text == "" {
		return time.Time{}, ""
	}
	for _, layout := range []string{time.DateOnly, time.DateTime, time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && !t.IsZero() {
			return t, ""
		}
	}
	return time.Time{}, columnRegistered + " is not a date: write it as 2006-01-31, or leave it empty for a customer who has not confirmed"
}
