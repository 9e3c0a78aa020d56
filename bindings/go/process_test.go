package redisroute_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	redisroute "github.com/redisroute/redisroute/bindings/go"
)

func stat(name, labels string) (value uint64, found bool) {
	for _, stat := range redisroute.Stats() {
		if stat.Name == name && strings.Contains(stat.Labels, labels) {
			return stat.Value, true
		}
	}
	return 0, false
}

func TestStats(t *testing.T) {
	before, found := stat("redisroute_links_total", `event="opened"`)
	if !found {
		t.Fatal(redisroute.StatsText())
	}
	redisroute.SetCommandStats(true)
	defer redisroute.SetCommandStats(false)
	client := newClient(t, 3)
	for i := 0; i < 7; i++ {
		must(t, client.IncrByFloat(ctx, "stats", 1).Err())
	}
	if after, _ := stat("redisroute_links_total", `event="opened"`); after <= before {
		t.Error(before, after)
	}
	if n, _ := stat("redisroute_commands_total", `command="incrbyfloat"`); n != 7 {
		t.Error(n)
	}
	if n, _ := stat("redisroute_command_latency_microseconds_bucket", `command="incrbyfloat",le="+Inf"`); n != 7 {
		t.Error(n)
	}
	if text := redisroute.StatsText(); !strings.Contains(text, "# TYPE redisroute_commands_total counter\n") {
		t.Error(text)
	}
}

func TestCheckConfig(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.yaml")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	must(t, os.WriteFile(good, []byte("failover_timeout: 5s\n"), 0o600))
	must(t, os.WriteFile(bad, []byte("failover_timeout: 5s\nfailover_tmeout: 6s\n"), 0o600))
	must(t, redisroute.CheckConfig(good))
	err := redisroute.CheckConfig(bad)
	if err == nil || !strings.Contains(err.Error(), "bad.yaml:2") || !strings.Contains(err.Error(), "failover_tmeout") {
		t.Error(err)
	}
	if err := redisroute.CheckConfig(good + ":" + filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there")
	}
}
