package redisroute_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

const keys = 60

var (
	ctx     = context.Background()
	address string // of one node
	nodes   []*goredis.Client
)

// A real cluster, by the fixture of the C tests: its addresses, masters first; and, with tls, the
// folder of its certificates.
func startCluster(arguments ...string) (addresses []string, stop func(), err error) {
	cluster := exec.Command(os.Getenv("REDISROUTE_CLUSTER_MAIN"), arguments...)
	stdin, _ := cluster.StdinPipe()
	stdout, _ := cluster.StdoutPipe()
	if err = cluster.Start(); err != nil {
		return nil, nil, fmt.Errorf("REDISROUTE_CLUSTER_MAIN: %w", err)
	}
	output := bufio.NewReader(stdout)
	line, err := output.ReadString('\n')
	for _, port := range strings.Fields(line) {
		addresses = append(addresses, "127.0.0.1:"+port)
	}
	if len(arguments) > 2 {
		line, err = output.ReadString('\n')
		addresses = append(addresses, strings.TrimSpace(line))
	}
	return addresses, func() {
		stdin.Close()
		cluster.Wait()
	}, err
}

func TestMain(m *testing.M) {
	addresses, stop, err := startCluster("3", "0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, each := range addresses {
		nodes = append(nodes, goredis.NewClient(&goredis.Options{Addr: each}))
	}
	address = addresses[0]
	status := m.Run()
	stop()
	os.Exit(status)
}

func newClient(t *testing.T, protocol int) *goredis.Client {
	for _, node := range nodes {
		node.FlushAll(ctx)
	}
	client := goredis.NewClient(&goredis.Options{
		Addr: address, Protocol: protocol, Dialer: redisroute.Dialer(nil),
	})
	t.Cleanup(func() { client.Close() })
	return client
}

func inBoth(t *testing.T, test func(t *testing.T, client *goredis.Client)) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			test(t, newClient(t, protocol))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommandsReachTheOwners(t *testing.T) {
	inBoth(t, func(t *testing.T, client *goredis.Client) {
		for i := 0; i < keys; i++ {
			must(t, client.Set(ctx, fmt.Sprint("key:", i), i, 0).Err())
		}
		for i := 0; i < keys; i++ {
			if n, err := client.Get(ctx, fmt.Sprint("key:", i)).Int(); err != nil || n != i {
				t.Fatal(n, err)
			}
		}
		sum := int64(0)
		for _, node := range nodes {
			count := node.DBSize(ctx).Val()
			if sum += count; count == 0 {
				t.Error("a node without keys")
			}
		}
		if count := client.DBSize(ctx).Val(); count != keys || sum != keys {
			t.Error(count, sum)
		}
	})
}

func TestPipelines(t *testing.T) {
	inBoth(t, func(t *testing.T, client *goredis.Client) {
		for _, pipelined := range []func(context.Context, func(goredis.Pipeliner) error) ([]goredis.Cmder, error){
			client.Pipelined, client.TxPipelined,
		} {
			client.Del(ctx, "{t}n")
			replies, err := pipelined(ctx, func(pipe goredis.Pipeliner) error {
				for i := 0; i < keys; i++ {
					pipe.Incr(ctx, "{t}n")
				}
				return nil
			})
			must(t, err)
			for i, reply := range replies {
				if n := reply.(*goredis.IntCmd).Val(); n != int64(i+1) {
					t.Fatal(i, n)
				}
			}
		}
	})
}

func TestWatch(t *testing.T) {
	client := newClient(t, 3)
	must(t, client.Watch(ctx, func(tx *goredis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(pipe goredis.Pipeliner) error {
			pipe.Set(ctx, "{t}w", 1, 0)
			return nil
		})
		return err
	}, "{t}w"))
}

func TestPubSub(t *testing.T) {
	inBoth(t, func(t *testing.T, client *goredis.Client) {
		pubsub := client.Subscribe(ctx, "channel")
		defer pubsub.Close()
		_, err := pubsub.Receive(ctx)
		must(t, err)
		for i := 0; i < 600; i++ {
			must(t, client.Publish(ctx, "channel", "hello").Err())
			select {
			case message := <-pubsub.Channel():
				if message.Payload != "hello" {
					t.Fatal(message)
				}
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		t.Fatal("no message came")
	})
}

func TestScripts(t *testing.T) {
	inBoth(t, func(t *testing.T, client *goredis.Client) {
		script := goredis.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
		for i := 0; i < keys; i++ {
			if n, err := script.Run(ctx, client, []string{fmt.Sprint("script:", i)}, 2).Int(); n != 2 {
				t.Fatal(n, err)
			}
		}
	})
}

func TestShardedPubSub(t *testing.T) {
	client := newClient(t, 3)
	pubsub := client.SSubscribe(ctx, "shard")
	defer pubsub.Close()
	_, err := pubsub.Receive(ctx)
	must(t, err)
	must(t, client.SPublish(ctx, "shard", "hello").Err())
	if message, err := pubsub.ReceiveMessage(ctx); err != nil || message.Payload != "hello" {
		t.Fatal(message, err)
	}
}

func TestScan(t *testing.T) {
	client := newClient(t, 3)
	for i := 0; i < keys; i++ {
		client.Set(ctx, fmt.Sprint("key:", i), i, 0)
	}
	seen := map[string]bool{}
	iterator := client.Scan(ctx, 0, "key:*", 7).Iterator()
	for iterator.Next(ctx) {
		seen[iterator.Val()] = true
	}
	if err := iterator.Err(); err != nil || len(seen) != keys {
		t.Fatal(len(seen), err)
	}
}

func dial(t *testing.T) net.Conn {
	conn, err := redisroute.Dialer(nil)(ctx, "tcp", address)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestRedigo(t *testing.T) {
	conn := redis.NewConn(dial(t), time.Minute, time.Minute)
	for i := 0; i < keys; i++ {
		if reply, err := redis.Int(conn.Do("INCR", fmt.Sprint("redigo:", i))); err != nil || reply < 1 {
			t.Fatal(reply, err)
		}
	}
}

func TestQuitIsTheEnd(t *testing.T) {
	conn := dial(t)
	conn.Write([]byte("QUIT\r\n"))
	if all, err := io.ReadAll(conn); err != nil || string(all) != "+OK\r\n" {
		t.Fatal(string(all), err)
	}
}

func TestGarbageIsClosed(t *testing.T) {
	count := func() int {
		entries, _ := os.ReadDir("/proc/self/fd")
		return len(entries)
	}
	before := count()
	for i := 0; i < 20; i++ {
		if _, err := redisroute.Dialer(nil)(ctx, "tcp", address); err != nil {
			t.Fatal(err)
		}
	}
	for until := time.Now().Add(time.Minute); count() > before+8; {
		if time.Now().After(until) {
			t.Fatal(before, count())
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
}

func TestManyGoroutines(t *testing.T) {
	client := newClient(t, 3)
	var group sync.WaitGroup
	for g := 0; g < 32; g++ {
		group.Add(1)
		go func(g int) {
			defer group.Done()
			for i := 1; i <= 50; i++ {
				if n := client.Incr(ctx, fmt.Sprint("go:", g)).Val(); n != int64(i) {
					t.Error(g, i, n)
					return
				}
			}
		}(g)
	}
	group.Wait()
}
