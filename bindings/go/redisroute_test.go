package redisroute_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
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

// A real cluster, by the fixture of the C tests.
func TestMain(m *testing.M) {
	cluster := exec.Command(os.Getenv("REDISROUTE_CLUSTER_MAIN"), "3", "0")
	stdin, _ := cluster.StdinPipe()
	stdout, _ := cluster.StdoutPipe()
	if err := cluster.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "REDISROUTE_CLUSTER_MAIN:", err)
		os.Exit(1)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	for _, port := range strings.Fields(line) {
		nodes = append(nodes, goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:" + port}))
	}
	address = nodes[0].Options().Addr
	status := m.Run()
	stdin.Close()
	cluster.Wait()
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

func TestDeadlines(t *testing.T) {
	conn := dial(t)
	must(t, conn.SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("PING\r\n")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	must(t, conn.SetDeadline(time.Time{}))
	_, err = conn.Write([]byte("PING\r\n"))
	must(t, err)
	reply := make([]byte, 7)
	_, err = io.ReadFull(conn, reply)
	must(t, err)
	if string(reply) != "+PONG\r\n" {
		t.Fatal(string(reply))
	}
}

func TestCloseEndsARead(t *testing.T) {
	conn := dial(t)
	ended := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	must(t, conn.Close())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("PING\r\n")); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

func TestQuitIsTheEnd(t *testing.T) {
	conn := dial(t)
	conn.Write([]byte("QUIT\r\n"))
	if all, err := io.ReadAll(conn); err != nil || string(all) != "+OK\r\n" {
		t.Fatal(string(all), err)
	}
}

func TestACommandIsCancelled(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{
		Addr: address, Dialer: redisroute.Dialer(nil), ContextTimeoutEnabled: true, MaxRetries: -1,
	})
	defer client.Close()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := client.BLPop(short, time.Minute, "nothing").Err(); err == nil {
		t.Fatal("no error")
	}
	must(t, client.Ping(ctx).Err())
}

func TestDialFails(t *testing.T) {
	dialer := redisroute.Dialer(&redisroute.Options{ConnectTimeout: time.Minute})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := dialer(cancelled, "tcp", address); err == nil {
		t.Error("a dial with a cancelled context")
	}
	for _, bad := range []string{"127.0.0.1:1", "127.0.0.1", "127.0.0.1:port"} {
		if conn, err := dialer(ctx, "tcp", bad); err == nil {
			t.Error(bad, conn)
		}
	}
	if conn, err := dialer(ctx, "tcp6", "127.0.0.1:1"); err == nil {
		t.Error(conn)
	}
}

// Waiting holds no thread of the system.
func TestWaitingIsCheap(t *testing.T) {
	const waiting = 200
	var group sync.WaitGroup
	conns := make([]net.Conn, waiting)
	for i := range conns {
		conns[i] = dial(t)
		group.Add(1)
		go func(conn net.Conn) {
			defer group.Done()
			conn.Read(make([]byte, 1))
		}(conns[i])
	}
	time.Sleep(100 * time.Millisecond)
	if threads := pprof.Lookup("threadcreate").Count(); threads > waiting/2 {
		t.Error(threads, "threads")
	}
	for _, conn := range conns {
		conn.Close()
	}
	group.Wait()
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
