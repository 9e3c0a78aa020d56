// The same program on a Redis Cluster; the address is any of its nodes':
//
//	go run . 127.0.0.1:7000 some words and some more words
//
// What differs from before/main.go is one field of the options.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"

	"github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

func connect(address string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:   address,
		Dialer: redisroute.Dialer(nil),
	})
}

func count(ctx context.Context, client *redis.Client, words []string) error {
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, word := range words {
			pipe.Incr(ctx, "count:"+word)
		}
		return nil
	})
	return err
}

func report(ctx context.Context, client *redis.Client) error {
	var keys []string
	for found := client.Scan(ctx, 0, "count:*", 0).Iterator(); found.Next(ctx); {
		keys = append(keys, found.Val())
	}
	sort.Strings(keys)
	numbers, err := client.MGet(ctx, keys...).Result()
	for i, number := range numbers {
		fmt.Println(strings.TrimPrefix(keys[i], "count:"), number)
	}
	return err
}

func main() {
	if len(os.Args) < 3 {
		log.Fatalf("usage: %s ADDRESS WORD...", os.Args[0])
	}
	ctx := context.Background()
	client := connect(os.Args[1])
	defer client.Close()
	if err := count(ctx, client, os.Args[2:]); err != nil {
		log.Fatal(err)
	}
	if err := report(ctx, client); err != nil {
		log.Fatal(err)
	}
}
