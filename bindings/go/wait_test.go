package redisroute_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

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
	pong(t, conn)
}

func TestCloseEndsARead(t *testing.T) {
	conn := dial(t)
	ended := readInBackground(conn)
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

func TestADeadlineEndsAReadThatWaits(t *testing.T) {
	conn := dial(t)
	ended := readInBackground(conn)
	must(t, conn.SetReadDeadline(time.Unix(1, 0)))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	must(t, conn.SetReadDeadline(time.Time{}))
	pong(t, conn)
}

// A deadline that is moved while a Read waits holds as it was moved.
func TestADeadlineIsMoved(t *testing.T) {
	conn := dial(t)
	must(t, conn.SetReadDeadline(time.Now().Add(time.Hour)))
	ended := readInBackground(conn)
	must(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestAWriteDeadlineConcernsNoRead(t *testing.T) {
	conn := dial(t)
	must(t, conn.SetWriteDeadline(time.Unix(1, 0)))
	if _, err := conn.Write([]byte("PING\r\n")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	ended := readInBackground(conn)
	must(t, conn.SetWriteDeadline(time.Time{}))
	_, err := conn.Write([]byte("PING\r\n"))
	must(t, err)
	must(t, <-ended)
}

func readInBackground(conn net.Conn) chan error {
	ended := make(chan error, 1)
	begun := make(chan bool)
	go func() {
		close(begun)
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	<-begun
	return ended
}

func pong(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Write([]byte("PING\r\n"))
	must(t, err)
	reply := make([]byte, 7)
	_, err = io.ReadFull(conn, reply)
	must(t, err)
	if string(reply) != "+PONG\r\n" {
		t.Fatal(string(reply))
	}
}

// Read, Write, deadlines and Close from goroutines of their own, for the race detector.
func TestCloseInTheMiddle(t *testing.T) {
	for i := 0; i < 50; i++ {
		conn := dial(t)
		var group sync.WaitGroup
		for _, use := range []func() error{
			func() error { _, err := conn.Write([]byte("PING\r\n")); return err },
			func() error { _, err := conn.Read(make([]byte, 64)); return err },
			func() error { return conn.SetDeadline(time.Now().Add(time.Minute)) },
		} {
			group.Add(1)
			go func(use func() error) {
				defer group.Done()
				for {
					if err := use(); err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			}(use)
		}
		time.Sleep(time.Duration(i) * 100 * time.Microsecond)
		must(t, conn.Close())
		group.Wait()
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

func TestAContextIsCancelled(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{
		Addr: address, Dialer: redisroute.Dialer(nil), ContextTimeoutEnabled: true, MaxRetries: -1,
	})
	defer client.Close()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := client.Get(cancelled, "key").Err(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	pubsub := client.Subscribe(ctx, "silent")
	defer pubsub.Close()
	_, err := pubsub.Receive(ctx)
	must(t, err)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if message, err := pubsub.ReceiveMessage(short); err == nil {
		t.Fatal(message)
	}
	must(t, client.Ping(ctx).Err())
}

// An address that never answers: a listener whose queue is full.
func silentAddress(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	must(t, err)
	silent := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for {
		conn, err := net.DialTimeout("tcp", silent, 200*time.Millisecond)
		if err != nil {
			return silent
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestADialThatHangs(t *testing.T) {
	silent := silentAddress(t)
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := redisroute.Dialer(nil)(cancelled, "tcp", silent); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	late, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := redisroute.Dialer(nil)(late, "tcp", silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	dialer := redisroute.Dialer(&redisroute.Options{ConnectTimeout: 50 * time.Millisecond})
	_, err := dialer(ctx, "tcp", silent)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
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

func TestErrorsSayWhy(t *testing.T) {
	_, err := redisroute.Dialer(nil)(ctx, "tcp", "127.0.0.1:1")
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "redisroute: 127.0.0.1 port 1") {
		t.Error(err)
	}
	dialer := redisroute.Dialer(&redisroute.Options{ReadPolicy: "NEAREST"})
	if _, err := dialer(ctx, "tcp", address); err == nil || !strings.Contains(err.Error(), "read_policy") {
		t.Error(err)
	}
}

func threads(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/task")
	must(t, err)
	return len(entries)
}

// Waiting holds no thread of the system.
func TestWaitingIsCheap(t *testing.T) {
	const waiting = 400
	client := newClient(t, 3)
	must(t, client.Ping(ctx).Err()) // by now the library's own thread is there
	before := threads(t)
	var group sync.WaitGroup
	conns := make([]net.Conn, waiting)
	for i := range conns {
		conns[i] = dial(t)
		_, err := fmt.Fprintf(conns[i], "BLPOP waiting:%d 0\r\n", i)
		must(t, err)
		group.Add(1)
		go func(conn net.Conn) {
			defer group.Done()
			conn.Read(make([]byte, 64))
		}(conns[i])
	}
	blocked := 0
	for until := time.Now().Add(time.Minute); blocked < waiting; time.Sleep(10 * time.Millisecond) {
		blocked = 0
		for _, node := range nodes {
			blocked += number(t, node, "clients", "blocked_clients")
		}
		if time.Now().After(until) {
			t.Fatal(blocked, "are blocked")
		}
	}
	// The runtime makes some for calls that take long, whatever waits.
	if more := threads(t) - before; more > waiting/10 {
		t.Error(more, "threads for", waiting, "connections that wait")
	}
	for i := range conns {
		must(t, client.RPush(ctx, fmt.Sprint("waiting:", i), "x").Err())
	}
	group.Wait()
}
