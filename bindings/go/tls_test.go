package redisroute_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

// A cluster whose nodes speak nothing else than TLS.
func TestTLS(t *testing.T) {
	lines, stop, err := startCluster("3", "0", "tls")
	must(t, err)
	defer stop()
	folder := lines[len(lines)-1]
	_, port, err := net.SplitHostPort(lines[0])
	must(t, err)

	client := func(name string, tls *redisroute.TLS) *goredis.Client {
		client := goredis.NewClient(&goredis.Options{
			Addr:       net.JoinHostPort(name, port),
			Dialer:     redisroute.Dialer(&redisroute.Options{TLS: tls}),
			MaxRetries: -1,
		})
		t.Cleanup(func() { client.Close() })
		return client
	}
	works := []*goredis.Client{
		client("localhost", &redisroute.TLS{CA: folder + "/ca.pem"}),
		client("127.0.0.1", &redisroute.TLS{CA: folder + "/ca.pem", ServerName: "redis.test"}),
		client("127.0.0.1", &redisroute.TLS{
			CA: folder + "/ca.pem", Certificate: folder + "/client.pem", Key: folder + "/client.key",
		}),
		client("localhost", &redisroute.TLS{NoVerify: true}),
	}
	for number, c := range works {
		for i := 0; i < keys; i++ {
			must(t, c.Set(ctx, fmt.Sprint("key:", i), number, 0).Err())
		}
	}
	if n := works[0].DBSize(ctx).Val(); n != keys {
		t.Error(n)
	}
	fails := []*goredis.Client{
		client("localhost", &redisroute.TLS{}),
		client("localhost", &redisroute.TLS{CA: folder + "/other-ca.pem"}),
		client("localhost", &redisroute.TLS{CA: folder + "/ca.pem", ServerName: "elsewhere.test"}),
	}
	for _, c := range fails {
		if err := c.Ping(ctx).Err(); err == nil {
			t.Error("a server that is not trusted")
		}
	}
	err = client("localhost", &redisroute.TLS{CA: folder + "/none.pem"}).Ping(ctx).Err()
	if err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Error(err)
	}
}
