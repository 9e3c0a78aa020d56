package redisroute

/*
#include <redisroute/redisroute.h>

int redisRouteGoListen(int on);
*/
import "C"

import (
	"errors"
	"net"
	"sync"
	"unsafe"
)

// An EventKind is what happened. More may come; ignore those you do not know.
type EventKind int

const (
	// EventGap: a subscription, or MONITOR, is interrupted: its node was lost, or its slot moved. What
	// is published now is missed.
	EventGap EventKind = C.REDISROUTE_EVENT_GAP
	// EventResumed: every subscription of the connection is in force again.
	EventResumed EventKind = C.REDISROUTE_EVENT_RESUMED
	// EventLinkLost: a connection to a node broke, or was not accepted.
	EventLinkLost EventKind = C.REDISROUTE_EVENT_LINK_LOST
	// EventRedirected: a node sent a command elsewhere (MOVED, ASK).
	EventRedirected EventKind = C.REDISROUTE_EVENT_REDIRECTED
	// EventFailover: a replica has become a master.
	EventFailover EventKind = C.REDISROUTE_EVENT_FAILOVER
	// EventTopology: nodes, or their slots, are not what they were.
	EventTopology EventKind = C.REDISROUTE_EVENT_TOPOLOGY
)

// An Event is something that happened to a connection.
type Event struct {
	Kind   EventKind
	Remote net.Addr // the node that the connection dialled; nil while it is being opened or closed
	Text   string   // one line of English, with the node, and the channel that an interruption is about
	Missed int      // so many events before this one found no room
}

// A listener never holds up who tells it.
type listener struct {
	events chan Event
	missed int
}

var (
	listening sync.Mutex // held for moments
	listeners = map[*listener]struct{}{}
	remotes   sync.Map // *net.TCPAddr by the session's descriptor
)

// Events tells what happens to all connections of the process from now on, until stop is called, which
// closes the channel. At most room events wait in it: what finds no room is dropped, and counted in the
// next one. Reading the channel may use connections.
func Events(room int) (events <-chan Event, stop func(), err error) {
	l := &listener{events: make(chan Event, room)}
	listening.Lock()
	defer listening.Unlock()
	if len(listeners) == 0 && C.redisRouteGoListen(1) != 0 {
		return nil, nil, errors.New("redisroute: out of memory")
	}
	listeners[l] = struct{}{}
	return l.events, func() { l.stop() }, nil
}

func (l *listener) stop() {
	listening.Lock()
	defer listening.Unlock()
	if _, there := listeners[l]; !there {
		return
	}
	delete(listeners, l)
	close(l.events)
	if len(listeners) == 0 {
		C.redisRouteGoListen(0)
	}
}

func (l *listener) tell(event Event) {
	event.Missed = l.missed
	select {
	case l.events <- event:
		l.missed = 0
	default:
		l.missed++
	}
}

// Called from inside the library, by the goroutine that uses the connection.
//
//export redisRouteGoEvent
func redisRouteGoEvent(_ unsafe.Pointer, kind, fd C.int, text *C.char) {
	event := Event{Kind: EventKind(kind), Text: C.GoString(text)}
	if remote, known := remotes.Load(int(fd)); known {
		event.Remote = remote.(*net.TCPAddr)
	}
	listening.Lock()
	defer listening.Unlock()
	for l := range listeners {
		l.tell(event)
	}
}
