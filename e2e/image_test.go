package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What the Containerfile says is done by hand as far as it needs a base image from a registry, and by buildah from there on:
// the commands of the first stage run on this machine, on the files that a build sees, and the last stage is built as it
// stands.
func TestTheImageServesFromAnEmptyVolume(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("an image can be run here by root only, with chroot: run make deps test as root")
	}
	first, last := stages(t)
	b := buildah{program(t, "buildah"), t.TempDir()}
	image := b.image(t, runBuildStage(t, b, first), "FROM scratch AS build\nCOPY . /out\n"+last)
	image.check(t)

	addresses := []string{"GLUEAUTH_LISTEN=" + freeAddress(t), "GLUEAUTH_ADMIN_LISTEN=" + freeAddress(t)}
	healthcheck := image.config.Healthcheck.Test[2:]
	p := &process{exited: make(chan struct{}), client: newClient()}
	p.cmd = image.command(t, addresses, append(image.config.Cmd, "--demo")...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.run(t)
	p.signIn(t, demoEmail)
	if said, err := image.command(t, addresses, healthcheck...).CombinedOutput(); err != nil {
		t.Errorf("the health check of a running server: %v\n%s", err, said)
	}
	checkModes(t, image.root)
	for path, owner := range owners(t, image.root) {
		if strings.HasPrefix(path, "data/") && !strings.HasSuffix(owner, " 65532:65532") {
			t.Errorf("%s is %s", path, owner)
		}
	}
	p.stop(t)
	if said, err := image.command(t, addresses, healthcheck...).CombinedOutput(); err == nil {
		t.Errorf("the health check of a stopped server succeeds\n%s", said)
	}
}

// check compares the image with what is promised of it.
func (i image) check(t *testing.T) {
	t.Helper()
	files := map[string]string{
		"glueauth": "-rwxr-xr-x 0:0", "data": "drwx------ 65532:65532",
		"etc": "drwxr-xr-x 0:0", "etc/ssl": "drwxr-xr-x 0:0", "etc/ssl/certs": "drwxr-xr-x 0:0", "etc/ssl/certs/ca-certificates.crt": "-rw-r--r-- 0:0",
	}
	if diff := cmp.Diff(files, owners(t, i.root)); diff != "" {
		t.Errorf("the image's files (-want +got):\n%s", diff)
	}
	for _, label := range []string{"title", "description", "source", "version"} {
		if name := "org.opencontainers.image." + label; i.config.Labels[name] == "" {
			t.Errorf("the image has no label %s", name)
		}
	}
	i.config.Labels = nil
	want := imageConfig{
		User: "65532:65532", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GLUEAUTH_DATA=/data"},
		Entrypoint: []string{"/glueauth"}, Cmd: []string{"serve"},
		Volumes: map[string]struct{}{"/data": {}}, Ports: map[string]struct{}{"8080/tcp": {}},
	}
	want.Healthcheck.Test = []string{"CMD", "/glueauth", "healthcheck"}
	if diff := cmp.Diff(want, i.config); diff != "" {
		t.Fatalf("the image's configuration (-want +got):\n%s", diff)
	}
}

// run starts a process that is a server already but for its binary, waits until it is ready, and ends it with the test.
func (p *process) run(t *testing.T) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		if !p.hasExited() {
			p.stop(t)
		}
		p.client.CloseIdleConnections()
	})
	eventually(t, startLimit, func() error {
		if p.hasExited() {
			t.Fatalf("serve ended by itself: %v\n%s", p.cmd.ProcessState, p.tail())
		}
		if p.public = p.address("public"); p.public == "" {
			return errors.New("no listener yet")
		}
		return p.expect(p.public+"/readyz", http.StatusOK)
	})
}

// stages returns the two halves of the Containerfile.
func stages(t *testing.T) (first, last string) {
	t.Helper()
	text, err := os.ReadFile("../Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	first, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok || strings.Contains(last, "\nFROM ") || strings.Contains(last, "\nRUN ") {
		t.Fatal("the Containerfile's last stage is not one FROM scratch that only copies")
	}
	return first, "FROM scratch\n" + last
}

// runBuildStage runs the commands of the first stage and returns what they leave in /out.
func runBuildStage(t *testing.T, b buildah, stage string) string {
	t.Helper()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)
	if want := fmt.Sprintf("\nFROM docker.io/library/golang:%s AS build\n", version[1]); !strings.Contains(stage, want) {
		t.Errorf("the Containerfile does not build with go.mod's version of Go: it has no line %s", want)
	}
	source := b.context(t)
	out := filepath.Join(t.TempDir(), "out")
	commands := regexp.MustCompile(`(?m)^RUN (.*)$`).FindAllStringSubmatch(stage, -1)
	if len(commands) == 0 {
		t.Fatal("the Containerfile's first stage runs nothing")
	}
	for _, c := range commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", "umask 022; "+strings.ReplaceAll(c[1], "/out/", out+"/"))
		cmd.Dir = source
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v\n%s", c[1], err, said)
		}
	}
	return out
}

// context returns a folder with what a build of this tree sees; of what a server has left in the tree, it must see nothing.
func (b buildah) context(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "glueauth")
	copyTree(t, "..", tree)
	for _, name := range []string{".env", ".git/config", "data/master.key", "data/glueauth.db", "data/keys/first.pem", "glueauth", "compose.override.yaml"} {
		write(t, tree, name, "private", 0o600)
	}
	var seen []string
	root := b.image(t, tree, "FROM scratch\nCOPY . /\n").root
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		seen = append(seen, e.Name())
	}
	if diff := cmp.Diff([]string{"cmd", "config", "go.mod", "go.sum", "handlers", "keys", "server", "store", "transport"}, seen); diff != "" {
		t.Fatalf("a build sees the wrong files (-want +got):\n%s", diff)
	}
	return root
}

// buildah builds images without a registry and without a daemon, in a folder of the test.
type buildah struct{ program, dir string }

// image is a built image; root is a container's file system made from it.
type image struct {
	root   string
	config imageConfig
}

type imageConfig struct {
	User        string              `json:"User"`
	Env         []string            `json:"Env"`
	Entrypoint  []string            `json:"Entrypoint"`
	Cmd         []string            `json:"Cmd"`
	Volumes     map[string]struct{} `json:"Volumes"`
	Ports       map[string]struct{} `json:"ExposedPorts"`
	Labels      map[string]string   `json:"Labels"`
	Healthcheck struct {
		Test []string `json:"Test"`
	} `json:"Healthcheck"`
}

func (b buildah) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.program, append([]string{"--storage-driver", "vfs", "--root", filepath.Join(b.dir, "root"), "--runroot", filepath.Join(b.dir, "run")}, args...)...)
	log := &output{}
	cmd.Stderr = log
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, said, log)
	}
	return strings.TrimSpace(string(said))
}

// image builds a Containerfile with the files below context, in Docker's format, which keeps the health check.
func (b buildah) image(t *testing.T, context, containerfile string) (i image) {
	t.Helper()
	id := filepath.Join(t.TempDir(), "id")
	b.run(t, "bud", "--isolation", "chroot", "--format", "docker", "--iidfile", id, "-f", write(t, t.TempDir(), "Containerfile", containerfile, 0o600), context)
	name, err := os.ReadFile(id)
	if err != nil {
		t.Fatal(err)
	}
	var inspected struct {
		Docker struct {
			Config imageConfig `json:"config"`
		} `json:"Docker"`
	}
	if err := json.Unmarshal([]byte(b.run(t, "inspect", "--type", "image", string(name))), &inspected); err != nil {
		t.Fatal(err)
	}
	i.config = inspected.Docker.Config
	i.root = b.run(t, "mount", b.run(t, "from", "--pull-never", string(name)))
	return i
}

// command runs the image's program with these arguments as a container does: as its user, with its environment, and with
// nothing but its files.
func (i image) command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t, "chroot"), slices.Concat([]string{"--userspec=" + i.config.User, i.root}, i.config.Entrypoint, args)...)
	cmd.Env = slices.Concat(i.config.Env, env)
	cmd.WaitDelay = time.Second
	return cmd
}

// owners returns mode, user and group of everything below dir.
func owners(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	walk(t, dir, func(path string, mode fs.FileMode) {
		var stat syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dir, path), &stat); err != nil {
			t.Fatal(err)
		}
		found[path] = fmt.Sprintf("%s %d:%d", mode, stat.Uid, stat.Gid)
	})
	delete(found, ".")
	return found
}
