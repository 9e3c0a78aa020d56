package redisroute_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	redisroute "github.com/redisroute/redisroute/bindings/go"
)

// What a client allocates is its own: a connection adds nothing to a command.
func TestCommandsAllocateNothing(t *testing.T) {
	conn, err := redisroute.Dialer(nil)(ctx, "tcp", address)
	must(t, err)
	defer conn.Close()
	reply := make([]byte, len("$-1\r\n"))
	var commands [][]byte
	for i := 0; i < keys; i++ {
		key := fmt.Sprint("nothing:", i)
		commands = append(commands, []byte(fmt.Sprintf("*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)))
	}
	i := 0
	exchange := func() {
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err := conn.Write(commands[i%keys])
		must(t, err)
		_, err = io.ReadFull(conn, reply)
		must(t, err)
		i++
	}
	for i < 2*keys {
		exchange()
	}
	if count := testing.AllocsPerRun(500, exchange); count >= 1 {
		t.Error(count, "allocations")
	}
}
