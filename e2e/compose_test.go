package e2e_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

// composed reads compose.yaml as docker compose does, with its schema, which refuses unknown names.
func composed(t *testing.T) *types.Project {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: root, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(root, "compose.yaml")}},
	}, func(o *loader.Options) { o.SetProjectName("glueauth", false) })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeFileGivesSettingsThatExist(t *testing.T) {
	t.Parallel()
	project := composed(t)
	settings := project.Services["glueauth"].Environment.ToMapping()
	env := settings.Values()
	if r := finish(t, t.TempDir(), "", env, "config", "validate"); r.code != 0 {
		t.Errorf("glueauth refuses the settings %q: %s", env, r.stderr)
	}
	redis, err := url.Parse(settings["GLUEAUTH_REDIS"])
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := project.Services[redis.Hostname()]; !ok || redis.Scheme != "redis" {
		t.Errorf("GLUEAUTH_REDIS is %s, and there is no such service", redis)
	}
}

func TestComposeFileFitsTheContainerfile(t *testing.T) {
	t.Parallel()
	service := composed(t).Services["glueauth"]
	containerfile, err := os.ReadFile(filepath.Join(service.Build.Context, service.Build.Dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	if len(service.Volumes) != 1 || len(service.Ports) != 1 {
		t.Fatalf("one volume and one port are expected, not %v and %v", service.Volumes, service.Ports)
	}
	for _, line := range []string{
		`ENV GLUEAUTH_DATA=` + service.Volumes[0].Target,
		`EXPOSE ` + strings.TrimPrefix(service.Environment.ToMapping()["GLUEAUTH_LISTEN"], ":"),
		fmt.Sprintf(`EXPOSE %d`, service.Ports[0].Target),
		`HEALTHCHECK .* CMD \["` + strings.Join(service.HealthCheck.Test[1:], `", "`) + `"\]`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).Match(containerfile) {
			t.Errorf("the Containerfile has no line %s", line)
		}
	}
	if host := service.Ports[0].HostIP; host != "127.0.0.1" {
		t.Errorf("plain HTTP is published on %q, want this machine only", host)
	}
}

func TestComposeFileLetsTheServerStopByItself(t *testing.T) {
	t.Parallel()
	timeout := regexp.MustCompile(`(?m)^shutdown\.timeout +(\S+) `).FindStringSubmatch(succeed(t, t.TempDir(), "", "config", "print"))
	if timeout == nil {
		t.Fatal("config print has no shutdown.timeout")
	}
	own, err := time.ParseDuration(timeout[1])
	if err != nil {
		t.Fatal(err)
	}
	if limit := composed(t).Services["glueauth"].StopGracePeriod; limit == nil || time.Duration(*limit) <= own {
		t.Errorf("the server may take %s to stop and is killed after %v", own, limit)
	}
}

func TestComposeFileLeavesNoContainerMoreRightsThanItNeeds(t *testing.T) {
	t.Parallel()
	type rights struct {
		ReadOnly, Privileged       bool
		Drop, Add, Options, Mounts []string
		Restart                    string
		Watched, Published         bool
	}
	confined := rights{ReadOnly: true, Drop: []string{"ALL"}, Options: []string{"no-new-privileges:true"}, Restart: "unless-stopped", Watched: true}
	glueauth, redis := confined, confined
	glueauth.Mounts, glueauth.Published = []string{"volume data on /data"}, true
	redis.Mounts = []string{"volume sessions on /data"}

	got := map[string]rights{}
	for name, s := range composed(t).Services {
		var mounts []string
		for _, v := range s.Volumes {
			mounts = append(mounts, fmt.Sprintf("%s %s on %s", v.Type, v.Source, v.Target))
		}
		got[name] = rights{s.ReadOnly, s.Privileged, s.CapDrop, s.CapAdd, s.SecurityOpt, mounts, s.Restart, s.HealthCheck != nil, s.Ports != nil}
	}
	if diff := cmp.Diff(map[string]rights{"glueauth": glueauth, "redis": redis}, got); diff != "" {
		t.Errorf("the containers' rights (-want +got):\n%s", diff)
	}
}

// The command and the health check of the service redis, run on this machine's Redis behind a socket.
func TestComposeFileRunsRedisThatForgetsNothing(t *testing.T) {
	t.Parallel()
	service := composed(t).Services["redis"]
	dir := t.TempDir()
	socket := filepath.Join(dir, "redis.sock")
	cli := program(t, "redis-cli") + " -s " + socket
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := exec.CommandContext(ctx, program(t, service.Command[0]), append(slices.Clone(service.Command[1:]), "--port", "0", "--unixsocket", socket, "--dir", dir)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			stop()
			_ = cmd.Wait()
		}
	})
	healthy := func() error {
		check := strings.ReplaceAll(service.HealthCheck.Test[1], "redis-cli", cli)
		return exec.CommandContext(t.Context(), "sh", "-c", check).Run()
	}
	if service.HealthCheck.Test[0] != "CMD-SHELL" || !strings.Contains(service.HealthCheck.Test[1], "redis-cli") {
		t.Fatalf("the health check is %v", service.HealthCheck.Test)
	}
	eventually(t, startLimit, healthy)
	for setting, want := range map[string]string{"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"} {
		if got := strings.Fields(shell(t, cli+" config get "+setting)); len(got) != 2 || got[1] != want {
			t.Errorf("redis has %v, want %s", got, want)
		}
	}
	stop()
	_ = cmd.Wait()
	if ended = true; healthy() == nil {
		t.Error("the health check of a stopped Redis succeeds")
	}
}
