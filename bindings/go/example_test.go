package redisroute_test

import (
	"context"
	"fmt"

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
