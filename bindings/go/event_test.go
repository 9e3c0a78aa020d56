package redisroute_test

import (
	"strings"
	"testing"
	"time"

	redisroute "github.com/redisroute/redisroute/bindings/go"
)

func listen(t *testing.T, room int) <-chan redisroute.Event {
	events, stop, err := redisroute.Events(room)
	must(t, err)
	t.Cleanup(stop)
	return events
}

// The next event of that kind; it is about a connection to the node that tests dial.
func next(t *testing.T, events <-chan redisroute.Event, kind redisroute.EventKind) redisroute.Event {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case event, open := <-events:
			if !open {
				t.Fatal("closed")
			}
			if event.Kind != kind {
				continue
			}
			if event.Text == "" || event.Remote == nil || event.Remote.String() != address {
				t.Errorf("%+v", event)
			}
			return event
		case <-limit:
			t.Fatal("no such event: ", kind)
		}
	}
}

func TestEvents(t *testing.T) {
	client := newClient(t, 3)
	subscription := client.Subscribe(ctx, "news")
	defer subscription.Close()
	_, err := subscription.Receive(ctx)
	must(t, err)
	must(t, client.Set(ctx, "event", 1, 0).Err())
	events, others := listen(t, 100), listen(t, 100)

	for _, node := range nodes {
		must(t, node.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err())
	}
	go subscription.Receive(ctx) // whoever waits finds out
	if gap := next(t, events, redisroute.EventGap); !strings.Contains(gap.Text, "news") {
		t.Error(gap.Text)
	}
	next(t, events, redisroute.EventResumed)
	next(t, others, redisroute.EventGap)
	must(t, client.Get(ctx, "event").Err()) // what listens holds nobody up
}

// Who does not read is not waited for, and learns how much was missed.
func TestEventsWithoutRoom(t *testing.T) {
	client := newClient(t, 2)
	events, stop, err := redisroute.Events(1)
	must(t, err)
	lose := func() {
		for _, key := range []string{"event:0", "event:1", "event:2", "event:3", "event:4", "event:5"} {
			must(t, client.Set(ctx, key, 1, 0).Err())
		}
		for _, node := range nodes {
			must(t, node.Do(ctx, "CLIENT", "KILL", "TYPE", "normal").Err())
		}
		for _, key := range []string{"event:0", "event:1", "event:2", "event:3", "event:4", "event:5"} {
			must(t, client.Get(ctx, key).Err())
		}
	}
	lose()
	lose()
	if event := <-events; event.Missed != 0 {
		t.Error(event.Missed, "missed before the first")
	}
	lose()
	if event := <-events; event.Missed == 0 {
		t.Error("nothing was missed")
	}
	stop()
	stop()
	for range events {
	}
	lose()
}
