package redisroute_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	redisroute "github.com/redisroute/redisroute/bindings/go"
)

// A field of INFO as a number; 0 when it is not there.
func number(t *testing.T, node *goredis.Client, section, field string) int {
	t.Helper()
	text, err := node.Info(ctx, section).Result()
	must(t, err)
	at := strings.Index(text, field)
	if at < 0 {
		return 0
	}
	digits := strings.TrimLeft(text[at+len(field):], ":=")
	end := strings.IndexAny(digits, ",\r")
	n, err := strconv.Atoi(digits[:end])
	must(t, err)
	return n
}

func reads(t *testing.T, nodes []*goredis.Client) (sum int) {
	for _, node := range nodes {
		sum += number(t, node, "commandstats", "cmdstat_get:calls")
	}
	return sum
}

func awaitReplicas(t *testing.T, masters, all []*goredis.Client) {
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		known := true
		for _, node := range all {
			for _, slots := range node.ClusterSlots(ctx).Val() {
				known = known && len(slots.Nodes) > 1
			}
		}
		if known {
			return
		}
		if time.Now().After(until) {
			t.Fatal("no replicas")
		}
		for _, master := range masters {
			master.FlushAll(ctx) // servers do not name a replica that has received nothing yet
		}
	}
}

// Reads go where the policy says, as the servers themselves counted.
func TestReadPolicy(t *testing.T) {
	const count = 50
	addresses, stop, err := startCluster("3", "1")
	must(t, err)
	defer stop()
	var all []*goredis.Client
	for _, each := range addresses {
		node := goredis.NewClient(&goredis.Options{Addr: each})
		defer node.Close()
		all = append(all, node)
	}
	masters, replicas := all[:3], all[3:]
	awaitReplicas(t, masters, all)

	for policy, asked := range map[string]struct{ masters, replicas int }{
		"":        {count, 0},
		"MASTER":  {count, 0},
		"REPLICA": {0, count},
		"replica": {0, count},
	} {
		t.Run(policy, func(t *testing.T) {
			before := []int{reads(t, masters), reads(t, replicas)}
			client := goredis.NewClient(&goredis.Options{
				Addr:   addresses[0],
				Dialer: redisroute.Dialer(&redisroute.Options{ReadPolicy: policy}),
			})
			defer client.Close()
			for i := 0; i < count; i++ {
				if err := client.Get(ctx, fmt.Sprint("key:", i)).Err(); err != goredis.Nil {
					t.Fatal(err)
				}
			}
			if n := reads(t, masters) - before[0]; n != asked.masters {
				t.Error(n, "reads of masters")
			}
			if n := reads(t, replicas) - before[1]; n != asked.replicas {
				t.Error(n, "reads of replicas")
			}
		})
	}
	t.Run("from one command to the next", func(t *testing.T) {
		before := []int{reads(t, masters), reads(t, replicas)}
		dialled, err := redisroute.Dialer(nil)(ctx, "tcp", addresses[0])
		must(t, err)
		conn := redis.NewConn(dialled, time.Minute, time.Minute)
		defer conn.Close()
		for i := 0; i < 3*count; i++ {
			must(t, dialled.(*redisroute.Conn).SetReadPolicy([]string{"", "Replica", "MASTER"}[i%3]))
			if reply, err := conn.Do("GET", fmt.Sprint("key:", i)); reply != nil || err != nil {
				t.Fatal(reply, err)
			}
		}
		if err := dialled.(*redisroute.Conn).SetReadPolicy("NEAREST"); err == nil {
			t.Error("a policy that is none")
		}
		if n := reads(t, masters) - before[0]; n != 2*count {
			t.Error(n, "reads of masters")
		}
		if n := reads(t, replicas) - before[1]; n != count {
			t.Error(n, "reads of replicas")
		}
	})
}
