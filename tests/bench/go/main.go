// go-redis' ClusterClient, and its plain client over redisroute: the same commands on the same
// cluster, turn by turn in one process. See ../bindings.sh.
//
//	go run . ADDRESS [ROUNDS]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

const (
	keyCount = 300
	atOnce   = 5000 // commands of one round
	pipeline = 100
	parallel = 50
	value    = "value-of-16-byte"
)

var (
	ctx  = context.Background()
	keys [keyCount]string
)

type client interface {
	redis.Cmdable
	Close() error
}

type way struct {
	name string
	run  func(client)
	wide bool // with as many connections as ClusterClient, which has a pool for each node
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func get(c redis.Cmdable, i int) error { return c.Get(ctx, keys[i%keyCount]).Err() }

func set(c redis.Cmdable, i int) error { return c.Set(ctx, keys[i%keyCount], value, 0).Err() }

func oneByOne(command func(redis.Cmdable, int) error) func(client) {
	return func(c client) {
		for i := 0; i < atOnce; i++ {
			check(command(c, i))
		}
	}
}

func pipelined(command func(redis.Cmdable, int) error) func(client) {
	return func(c client) {
		for begin := 0; begin < atOnce; begin += pipeline {
			_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for i := begin; i < begin+pipeline; i++ {
					command(pipe, i)
				}
				return nil
			})
			check(err)
		}
	}
}

func byMany(command func(redis.Cmdable, int) error) func(client) {
	return func(c client) {
		var group sync.WaitGroup
		for g := 0; g < parallel; g++ {
			group.Add(1)
			go func(g int) {
				defer group.Done()
				for i := 0; i < atOnce/parallel; i++ {
					check(command(c, g+i))
				}
			}(g)
		}
		group.Wait()
	}
}

var ways = []way{
	{"GET, depth 1", oneByOne(get), false},
	{"SET, depth 1", oneByOne(set), false},
	{"GET, pipeline of 100", pipelined(get), false},
	{"SET, pipeline of 100", pipelined(set), false},
	{"GET, 50 goroutines", byMany(get), false},
	{"SET, 50 goroutines", byMany(set), false},
	{"GET, 50 goroutines, three times the PoolSize", byMany(get), true},
	{"SET, 50 goroutines, three times the PoolSize", byMany(set), true},
}

// Wall and processor time of the process.
type times [2]time.Duration

func now() times {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return times{
		time.Duration(time.Now().UnixNano()),
		time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
	}
}

func measure(run func(client), c client) times {
	before := now()
	run(c)
	after := now()
	return times{after[0] - before[0], after[1] - before[1]}
}

func median(rounds []times, unit int) float64 {
	sort.Slice(rounds, func(i, j int) bool { return rounds[i][unit] < rounds[j][unit] })
	return float64(rounds[len(rounds)/2][unit].Nanoseconds()) / 1000 / atOnce
}

func compare(w way, theirs, ours client, rounds int) {
	var a, b []times
	for i := 0; i < rounds; i++ {
		a = append(a, measure(w.run, theirs))
		b = append(b, measure(w.run, ours))
	}
	for unit, name := range []string{"wall", "processor"} {
		x, y := median(a, unit), median(b, unit)
		fmt.Printf("| %-58s | %10.2f | %10.2f | %8.3fx |\n", w.name+": "+name+", us", x, y, y/x)
	}
}

func main() {
	if len(os.Args) < 2 {
		log.Fatalf("usage: %s ADDRESS [ROUNDS]", os.Args[0])
	}
	rounds := 15
	if len(os.Args) > 2 {
		rounds, _ = strconv.Atoi(os.Args[2])
	}
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%012d", i*7919)
	}
	theirs := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{os.Args[1]}})
	ours := redis.NewClient(&redis.Options{Addr: os.Args[1], Dialer: redisroute.Dialer(nil)})
	wide := redis.NewClient(&redis.Options{
		Addr: os.Args[1], Dialer: redisroute.Dialer(nil), PoolSize: 3 * ours.Options().PoolSize,
	})
	for _, c := range []client{theirs, ours, wide} {
		oneByOne(set)(c)
		byMany(get)(c)
		defer c.Close()
	}
	fmt.Printf("| %-58s | %10s | %10s | %9s |\n", "go-redis "+redis.Version()+", "+runtime.Version(),
		"Cluster", "redisroute", "of theirs")
	fmt.Printf("| %s | ---------: | ---------: | --------: |\n", strings.Repeat("-", 58))
	for _, w := range ways {
		if w.wide {
			compare(w, theirs, wide, rounds)
		} else {
			compare(w, theirs, ours, rounds)
		}
	}
}
