package storetest

import (
	"path/filepath"
	"syscall"
	"testing"
)

// Postgres starts a PostgreSQL server that trusts everybody on its unix socket and asks for passwords on its port. Further
// arguments are added to its command line.
func Postgres(t testing.TB, args ...string) *SQLServer {
	t.Helper()
	s := newSQLServer(t, sqlKind{
		name: "postgres", scheme: "postgres", admin: "postgres", account: "postgres",
		end: syscall.SIGQUIT, // which its children get from it; SIGKILL would leave them
		client: func(s *SQLServer, database string) []string {
			if database == "" {
				database = "postgres"
			}
			return []string{"psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", s.dir, "-p", s.port, "-U", s.kind.admin, "-d", database}
		},
	})
	const debian = "/usr/lib/postgresql/*/bin"
	data := filepath.Join(s.dir, "data")
	s.program = sqlProgram(t, "postgres", debian)
	s.run(t, sqlProgram(t, "initdb", debian), "-D", data, "-U", s.kind.admin, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
		"--auth-local=trust", "--auth-host=scram-sha-256")
	s.args = append([]string{
		"-D", data, "-p", s.port, "-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "shared_buffers=64MB", "-c", "max_connections=200", "-c", "max_wal_senders=0", "-c", "wal_level=minimal",
	}, args...)
	s.Start(t)
	return s
}
