package redisroute_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

func ExampleDialer() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{
		Addr:   address, // of any node
		Dialer: redisroute.Dialer(nil),
	})
	defer client.Close()

	client.MSet(ctx, "one", 1, "two", 2, "three", 3)
	fmt.Println(client.MGet(ctx, "one", "two", "three").Val())
	// Output: [1 2 3]
}

// One client for what may be a moment old, and one for everything else.
func ExampleOptions() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: address, Dialer: redisroute.Dialer(nil)})
	defer client.Close()
	reader := redis.NewClient(&redis.Options{
		Addr:   address,
		Dialer: redisroute.Dialer(&redisroute.Options{ReadPolicy: "PREFER_REPLICA"}),
	})
	defer reader.Close()

	client.Set(ctx, "greeting", "hello", 0)
	fmt.Println(reader.Get(ctx, "greeting").Val())
	// Output: hello
}

type fromReplicas struct{}

// A hook of go-redis: commands whose context says so are another client's.
type readers struct{ client *redis.Client }

func (r readers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if ctx.Value(fromReplicas{}) != nil {
			return r.client.Process(ctx, cmd)
		}
		return next(ctx, cmd)
	}
}

func (readers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (readers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// The policy of a single command.
func ExampleOptions_hook() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: address, Dialer: redisroute.Dialer(nil)})
	defer client.Close()
	reader := redis.NewClient(&redis.Options{
		Addr:   address,
		Dialer: redisroute.Dialer(&redisroute.Options{ReadPolicy: "PREFER_REPLICA"}),
	})
	defer reader.Close()
	client.AddHook(readers{reader})

	client.Set(ctx, "salute", "hello", 0)
	anywhere := context.WithValue(ctx, fromReplicas{}, true)
	fmt.Println(client.Get(anywhere, "salute").Val(), client.Get(ctx, "salute").Val())
	// Output: hello hello
}

func ExampleEvents() {
	events, stop, err := redisroute.Events(100)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for event := range events {
			log.Print(event.Text)
		}
	}()
	stop()
	// Output:
}

func ExampleDialer_redigo() {
	dial := redisroute.Dialer(nil)
	pool := redigo.Pool{
		Dial: func() (redigo.Conn, error) {
			conn, err := dial(context.Background(), "tcp", address)
			if err != nil {
				return nil, err
			}
			return redigo.NewConn(conn, time.Minute, time.Minute), nil
		},
	}
	defer pool.Close()
	conn := pool.Get()
	defer conn.Close()

	conn.Do("MSET", "four", 4, "five", 5)
	fmt.Println(redigo.Ints(conn.Do("MGET", "four", "five")))
	// Output: [4 5] <nil>
}

func ExampleStatsText() {
	for _, line := range strings.Split(redisroute.StatsText(), "\n") {
		if strings.HasPrefix(line, "# TYPE redisroute_redirects_total") {
			fmt.Println(line)
		}
	}
	// Output: # TYPE redisroute_redirects_total counter
}

func ExampleCheckConfig() {
	if err := redisroute.CheckConfig("/etc/redisroute/none.yaml"); err != nil {
		log.Print(err)
		fmt.Println("would be refused")
	}
	// Output: would be refused
}
