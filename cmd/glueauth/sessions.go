package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// moveBatch is how many sessions are in memory at a time.
const moveBatch = 500

// movable is what a store offers whose sessions can move.
type movable interface {
	Count(ctx context.Context) (int, error)
	Export(ctx context.Context) iter.Seq2[store.Snapshot, error]
	Import(ctx context.Context, batch []store.Snapshot) (store.ImportResult, error)
}

func (p process) sessionsCommand() *cobra.Command {
	return p.group("sessions", "Manage the sessions of signed-in customers", append(p.inspectCommands(), p.sessionsMoveCommand(), p.sessionsTakeBackCommand())...)
}

func (p process) sessionsMoveCommand() *cobra.Command {
	var from, to string
	var still bool
	cmd := &cobra.Command{
		Use: "move --from FOLDER|URL --to FOLDER|URL", Short: "Copy all sessions from the data folder to Redis, or back", Args: cobra.NoArgs,
		Long: "Copy all sessions from the data folder to Redis, or back, so that nobody is signed out. The target needs the same\n" +
			"master key as the source. Stop the servers of the source first, and start those of the target afterwards.\n\n" +
			"A source or target is a data folder, its database file, or the URL of a Redis as in the setting redis.url; - takes\n" +
			"that URL from standard input, so that no process list and no shell history shows its password.\n\n" +
			"The sessions stay in the source too. A data folder remembers that they were moved: no server uses them there, until they\n" +
			"are moved back. The move can be repeated, also one that was broken off: what has ended, or is further on at the target,\n" +
			"stays so.",
		RunE: func(cmd *cobra.Command, _ []string) error { return p.moveSessions(cmd.Context(), from, to, still) },
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "where the sessions are")
	flags.StringVar(&to, "to", "", "where they are to be; a data folder is made where there is none")
	flags.BoolVar(&still, "source-is-read-only", false, "nothing can write to the Redis they are in, although servers run on it")
	return cmd
}

func (p process) moveSessions(ctx context.Context, from, to string, still bool) (err error) {
	source, target, err := p.places(from, to)
	if err != nil {
		return err
	}
	a, err := source.openSource(ctx, still)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	total, err := a.Count(ctx)
	if err != nil {
		return err
	}
	if total == 0 {
		return fmt.Errorf("there are no sessions in %s: is that the right data folder, or the right number of the database?", source)
	}
	b, err := target.openTarget(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	shown := progress{w: p.stderr, bar: isTerminal(p.stderr), total: total}
	result, err := moveAll(ctx, a, b, shown.show)
	shown.end()
	done := result.Added + result.Updated + result.Kept
	if err != nil {
		return fmt.Errorf("the move ended after %d of %d sessions; run it again, which does no harm: %w", done, total, err)
	}
	if err := errors.Join(b.setMoved(ctx, ""), a.setMoved(ctx, target.String())); err != nil {
		return fmt.Errorf("all %d sessions are at the target, but that cannot be noted; run it again, which does no harm: %w", done, err)
	}
	_, err = fmt.Fprintf(p.stdout, "%d sessions: %d added, %d updated, %d left as they were\n", done, result.Added, result.Updated, result.Kept)
	return err
}

// moveAll moves the sessions batch by batch; show is told how many are done.
func moveAll(ctx context.Context, from, to movable, show func(done int)) (total store.ImportResult, err error) {
	batch := make([]store.Snapshot, 0, moveBatch)
	flush := func() error {
		got, err := to.Import(ctx, batch)
		batch = batch[:0]
		total.Added, total.Updated, total.Kept = total.Added+got.Added, total.Updated+got.Updated, total.Kept+got.Kept
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		show(total.Added + total.Updated + total.Kept)
		return nil
	}
	for e, err := range from.Export(ctx) {
		if err != nil {
			return total, fmt.Errorf("read: %w", err)
		}
		if batch = append(batch, e); len(batch) == moveBatch {
			if err := flush(); err != nil {
				return total, err
			}
		}
	}
	return total, flush()
}

// place is where sessions are: a Redis, or a database file.
type place struct {
	url  secret.Text
	file string
}

// String names the place, for people.
func (l place) String() string {
	if l.url == "" {
		return l.file
	}
	return redisstore.Place(l.url)
}

// openPlace is a place whose sessions can be read and written.
type openPlace struct {
	movable
	file  *sqlitefile.File // nil: it is a Redis
	close func() error
}

// setMoved has a database file remember where its sessions are; empty: there.
func (o openPlace) setMoved(ctx context.Context, place string) error {
	if o.file == nil {
		return nil
	}
	return o.file.SetMoved(ctx, place)
}

// places reads --from and --to.
func (p process) places(from, to string) (source, target place, err error) {
	if from == "-" && to == "-" {
		return source, target, errors.New("only one of --from and --to can be taken from standard input")
	}
	if source, err = p.place("--from", from); err != nil {
		return source, target, err
	}
	if target, err = p.place("--to", to); err != nil {
		return source, target, err
	}
	if source == target {
		return source, target, errors.New("--from and --to are the same: name two places")
	}
	return source, target, nil
}

func (p process) place(flag, text string) (place, error) {
	if text == "-" {
		const most = 4096 // more than any URL has
		b, err := io.ReadAll(io.LimitReader(p.stdin, most))
		if err != nil {
			return place{}, fmt.Errorf("read the url for %s: %w", flag, err)
		}
		text = strings.TrimSpace(string(b))
		if !strings.Contains(text, "://") {
			return place{}, fmt.Errorf("standard input holds no url for %s: pipe in one like redis://HOST:6379/0", flag)
		}
	}
	if text == "" {
		return place{}, fmt.Errorf("%s is empty: name a data folder, or the url of a Redis", flag)
	}
	if strings.Contains(text, "://") {
		return place{url: secret.Text(text)}, nil
	}
	if _, err := os.Stat(text); err != nil && strings.Contains(text, "@") { // a URL with a password, most likely
		return place{}, fmt.Errorf("%s is neither a folder nor a url: write the url of a Redis like redis://HOST:6379/0", flag)
	}
	path, err := filepath.Abs(text)
	if err != nil {
		return place{}, fmt.Errorf("find the working folder: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return place{file: path}, nil
	}
	return place{file: filepath.Join(path, databaseName)}, nil
}

func (l place) openSource(ctx context.Context, still bool) (openPlace, error) {
	if l.url == "" {
		if _, err := os.Stat(l.file); err != nil {
			return openPlace{}, fmt.Errorf("there are no sessions: %w: name the data folder of a server", err)
		}
		return l.openFile(ctx, false)
	}
	s, err := redisstore.OpenSource(ctx, redisstore.Options{URL: l.url})
	if err != nil {
		return openPlace{}, err
	}
	running, err := s.Running(ctx)
	if err == nil && running && !still {
		err = fmt.Errorf("servers keep their sessions in the source, or did so within the last %s: stop them and wait for that long; "+
			"or see to it that nothing can write there, and say so with --source-is-read-only", redisstore.FingerprintLife)
	}
	if err != nil {
		return openPlace{}, errors.Join(err, s.Close())
	}
	return openPlace{movable: s, close: s.Close}, nil
}

func (l place) openTarget(ctx context.Context) (openPlace, error) {
	if l.url == "" {
		return l.openFile(ctx, true)
	}
	s, err := redisstore.Open(ctx, redisstore.Options{URL: l.url})
	if err != nil {
		return openPlace{}, err
	}
	return openPlace{movable: s, close: s.Close}, nil
}

// openFile opens a database under the lock of its folder, so that no server runs there.
func (l place) openFile(ctx context.Context, create bool) (openPlace, error) {
	lock, err := lockData(filepath.Dir(l.file), slog.New(slog.DiscardHandler))
	if err != nil {
		return openPlace{}, err
	}
	file, err := sqlitefile.Open(ctx, l.file, sqlitefile.Options{PowerLossSafe: true, Create: create})
	if err != nil {
		return openPlace{}, errors.Join(err, lock.release())
	}
	s := sqlitestore.New(file, time.Now)
	return openPlace{movable: s, file: file, close: func() error {
		s.Close()
		return errors.Join(file.Close(), lock.release())
	}}, nil
}
