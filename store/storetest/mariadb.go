package storetest

import (
	"path/filepath"
	"syscall"
	"testing"
)

// MariaDB starts a MariaDB server whose administrator needs no password on its unix socket. Further arguments are added to
// its command line.
func MariaDB(t testing.TB, args ...string) *SQLServer {
	t.Helper()
	s := newSQLServer(t, sqlKind{
		name: "mariadbd", scheme: "mysql", admin: "root", account: "mysql", end: syscall.SIGKILL,
		client: func(s *SQLServer, database string) []string {
			line := []string{
				"mariadb", "--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4",
				"--socket=" + filepath.Join(s.dir, "mysql.sock"), "--user=" + s.kind.admin,
			}
			if database != "" {
				line = append(line, database)
			}
			return line
		},
	})
	data := filepath.Join(s.dir, "data")
	s.program = sqlProgram(t, "mariadbd", "/usr/sbin")
	s.run(t, sqlProgram(t, "mariadb-install-db", "/usr/bin"), "--no-defaults", "--datadir="+data, "--tmpdir="+s.dir, "--skip-test-db", "--auth-root-authentication-method=normal",
		"--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-use-native-aio=0", "--performance-schema=0")
	s.args = append([]string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + s.dir, "--port=" + s.port, "--bind-address=127.0.0.1", "--socket=" + filepath.Join(s.dir, "mysql.sock"),
		"--pid-file=" + filepath.Join(s.dir, "mysql.pid"), "--skip-name-resolve", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=128M",
		"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-use-native-aio=0", "--performance-schema=0",
	}, args...)
	s.Start(t)
	return s
}
