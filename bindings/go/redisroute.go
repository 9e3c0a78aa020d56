// Package redisroute gives Go's Redis clients a connection on which a Redis Cluster looks like one
// server:
//
//	client := redis.NewClient(&redis.Options{
//		Addr:   "any-node:6379",
//		Dialer: redisroute.Dialer(nil),
//	})
//
// go-redis' plain client then works as on one server: commands, pipelines, transactions,
// subscriptions, scans. redigo's NewConn takes the same net.Conn.
//
// Where reads go is said for a connection, and so for a client (Options.ReadPolicy): a program that wants
// some reads from replicas has a second client for them. Who holds the connection itself says it from one
// command to the next (Conn.SetReadPolicy).
//
// The package needs libredisroute and its pkg-config file. A connection that waits holds no thread:
// its descriptor is in the runtime's poller.
package redisroute

/*
#cgo pkg-config: redisroute
#include <errno.h>
#include <stdlib.h>
#include <redisroute/redisroute.h>

static redisRouteSession *open_session(const char *host, int port, redisRouteOptions *options) {
	options->size = sizeof *options;
	return redisRouteOpen(host, port, options);
}

// -errno in place of -1, and of char, which Go need not search for pointers.
static ssize_t read_session(redisRouteSession *session, char *to, size_t size) {
	ssize_t n = redisRouteRead(session, to, size);
	return n < 0 ? -errno : n;
}

static int write_session(redisRouteSession *session, const char *bytes, size_t length, int policy) {
	int result = policy < 0 ? redisRouteWrite(session, bytes, length)
	                        : redisRouteWriteReading(session, bytes, length, policy);
	return result != 0 ? -errno : 0;
}

static int session_connected(redisRouteSession *session) {
	int up = redisRouteConnected(session);
	return up < 0 ? -errno : up;
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Options of a connection. The zero value is the default everywhere.
type Options struct {
	// ConnectTimeout limits connecting to one address of the dialled node; 0: the context's deadline
	// and the kernel's own limit. At least a millisecond.
	ConnectTimeout time.Duration
	// ReadPolicy says which nodes answer commands that only read: "REPLICA", "PREFER_REPLICA", "ANY" …;
	// empty: as configured.
	ReadPolicy string
	// TLS on every connection of the session; nil: as configured. go-redis' own Options.TLSConfig
	// means nothing where there is a Dialer.
	TLS *TLS
}

// TLS says how servers are spoken to. The zero value verifies them by the system's certificates.
type TLS struct {
	CA          string // a file of PEM certificates, or a folder; empty: the system's
	Certificate string // files of the client's certificate and its key; empty: none
	Key         string
	// ServerName is what certificates have to be for; empty: the host that was dialled, or the node's
	// own address or name.
	ServerName string
	NoVerify   bool // servers are not asked who they are
}

// Version of the shared library, as "0.1.0".
func Version() string {
	return C.GoString(C.redisRouteVersion())
}

// Dialer returns what go-redis takes as Options.Dialer. options may be nil. The function is safe for
// concurrent use. Networks are "tcp", "tcp4" and "tcp6"; "unix" is dialled as net.Dial does, and not
// routed. The address is any node of the cluster, or a server that is none.
func Dialer(options *Options) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var o Options
	if options != nil {
		o = *options
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network == "unix" {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
		conn, err := dial(ctx, &o, network, addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return conn, nil
	}
}

func dial(ctx context.Context, o *Options, network, addr string) (*Conn, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "localhost"
	}
	if o.TLS != nil { // certificates are for names: the library gets the name
		c, err := open(o, host, &net.TCPAddr{IP: net.ParseIP(host), Port: port})
		if err != nil {
			return nil, err
		}
		if err = c.awaitConnected(ctx); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("redisroute: %s has no address of network %q", host, network)
	for _, address := range addresses {
		is4 := address.IP.To4() != nil
		if network != "tcp" && (network != "tcp4" || !is4) && (network != "tcp6" || is4) {
			continue
		}
		var c *Conn
		remote := &net.TCPAddr{IP: address.IP, Port: port, Zone: address.Zone}
		if c, err = open(o, address.String(), remote); err == nil {
			if err = c.awaitConnected(ctx); err == nil {
				return c, nil
			}
			c.Close()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, err
}

// What the library says of a call that failed.
type sessionError struct {
	errno syscall.Errno
	text  string
}

func (e *sessionError) Error() string   { return e.text }
func (e *sessionError) Unwrap() error   { return e.errno }
func (e *sessionError) Timeout() bool   { return e.errno.Timeout() }
func (e *sessionError) Temporary() bool { return e.errno.Temporary() }

// Conn is a session: a net.Conn to a cluster that looks like one server. Reading, writing, deadlines
// and Close may each be called by any goroutine. Write takes everything at once, into memory where
// the network does not take it, and so never waits.
type Conn struct {
	writeBy int64 // atomic; a moment, 0: none
	remote  *net.TCPAddr
	file    *os.File // a copy of the session's descriptor, in the runtime's poller
	raw     syscall.RawConn

	mu      sync.Mutex // held for calls that do not block
	session *C.redisRouteSession
	policy  C.int // of what is written; -1: as it was opened

	reading *reading
	closing sync.Once
	closed  int32 // atomic
}

// The one Read that is under way. It is made once, for all of them, and knows the connection only while
// there is one: a connection that nobody holds is to be collected, and closed.
type reading struct {
	sync.Mutex
	conn *Conn
	try  func(uintptr) bool
	into []byte
	got  int
	err  error
}

var _ net.Conn = (*Conn)(nil)

func cOptions(o *Options) (options *C.redisRouteOptions, free func(), err error) {
	ms := o.ConnectTimeout.Milliseconds()
	if ms < 0 || ms > 1<<31-1 || (ms == 0 && o.ConnectTimeout != 0) {
		return nil, nil, fmt.Errorf("redisroute: a connect timeout of %v", o.ConnectTimeout)
	}
	options = (*C.redisRouteOptions)(C.calloc(1, C.sizeof_redisRouteOptions))
	taken := []unsafe.Pointer{unsafe.Pointer(options)}
	text := func(value string) *C.char {
		if value == "" {
			return nil
		}
		chars := C.CString(value)
		taken = append(taken, unsafe.Pointer(chars))
		return chars
	}
	options.connect_timeout_ms = C.int(ms)
	options.read_policy = text(o.ReadPolicy)
	if o.TLS != nil {
		options.tls = 1
		options.tls_ca = text(o.TLS.CA)
		options.tls_certificate = text(o.TLS.Certificate)
		options.tls_key = text(o.TLS.Key)
		options.tls_server_name = text(o.TLS.ServerName)
		if o.TLS.NoVerify {
			options.tls_no_verify = 1
		}
	}
	return options, func() {
		for _, each := range taken {
			C.free(each)
		}
	}, nil
}

func open(o *Options, name string, remote *net.TCPAddr) (*Conn, error) {
	options, free, err := cOptions(o)
	if err != nil {
		return nil, err
	}
	defer free()
	host := C.CString(name)
	defer C.free(unsafe.Pointer(host))
	runtime.LockOSThread() // the words of an error are the thread's
	session := C.open_session(host, C.int(remote.Port), options)
	text := C.GoString(C.redisRouteErrorText(nil))
	runtime.UnlockOSThread()
	if session == nil {
		return nil, errors.New(text)
	}
	c := &Conn{remote: remote, session: session, policy: -1, reading: &reading{}}
	c.reading.try = c.reading.once
	if err := c.enterPoller(); err != nil {
		C.redisRouteClose(session)
		return nil, err
	}
	remotes.Store(int(C.redisRouteFd(session)), remote)
	runtime.SetFinalizer(c, (*Conn).Close)
	return c, nil
}

func (c *Conn) enterPoller() error {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(C.redisRouteFd(c.session)),
		syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return errno
	}
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		syscall.Close(int(fd))
		return err
	}
	c.file = os.NewFile(fd, "redisroute")
	raw, err := c.file.SyscallConn()
	if err == nil {
		err = c.file.SetReadDeadline(time.Time{}) // fails where the poller did not take it
	}
	if err != nil {
		c.file.Close()
		return err
	}
	c.raw = raw
	return nil
}

// Calls try until it is true; waits in the runtime's poller in between.
func (c *Conn) until(try func(uintptr) bool) error {
	err := c.raw.Read(try)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case atomic.LoadInt32(&c.closed) != 0:
		return net.ErrClosed
	default:
		return err
	}
}

// Whether the connection is decided; if it has failed, err says why.
func (c *Conn) connected() (decided bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return true, net.ErrClosed
	}
	up := C.session_connected(c.session)
	if up < 0 {
		err = c.failure(-up)
	}
	return up != 0, err
}

func (c *Conn) awaitConnected(ctx context.Context) error {
	decided := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
			c.file.SetReadDeadline(time.Unix(1, 0))
		case <-decided:
		}
	}()
	var failure error
	err := c.until(func(uintptr) (decided bool) {
		decided, failure = c.connected()
		return decided
	})
	close(decided)
	<-watched
	c.file.SetReadDeadline(time.Time{})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = failure
	}
	return err
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: c.remote, Err: err}
}

// To be called with mu held, directly after the call that failed.
func (c *Conn) failure(errno C.int) error {
	return &sessionError{syscall.Errno(errno), C.GoString(C.redisRouteErrorText(c.session))}
}

// One try. False: there is nothing yet.
func (r *reading) once(uintptr) bool {
	c := r.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		r.err = net.ErrClosed
		return true
	}
	n := C.read_session(c.session, (*C.char)(unsafe.Pointer(&r.into[0])), C.size_t(len(r.into)))
	switch {
	case n > 0:
		r.got = int(n)
	case n == 0:
		r.err = io.EOF
	case syscall.Errno(-n) == syscall.EAGAIN:
		return false
	default:
		r.err = c.failure(C.int(-n))
	}
	return true
}

// Read waits for bytes of replies until the read deadline. io.EOF when the session ended in order,
// as after QUIT.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	r := c.reading
	r.Lock()
	defer r.Unlock()
	r.conn, r.into, r.got, r.err = c, b, 0, nil
	err := c.until(r.try)
	r.conn, r.into = nil, nil
	if err == nil {
		err = r.err
	}
	if err == nil || err == io.EOF {
		return r.got, err
	}
	return 0, c.opError("read", err)
}

// Write takes all bytes, whole commands or not, and does not wait.
func (c *Conn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if by := atomic.LoadInt64(&c.writeBy); by != 0 && by <= moment(time.Now()) {
		return 0, c.opError("write", os.ErrDeadlineExceeded)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return 0, c.opError("write", net.ErrClosed)
	}
	errno := C.write_session(c.session, (*C.char)(unsafe.Pointer(&b[0])), C.size_t(len(b)), c.policy)
	if errno != 0 {
		return 0, c.opError("write", c.failure(-errno))
	}
	return len(b), nil
}

// Close ends a Read that waits. Commands that were written are sent. Only the first call does
// anything; the others return net.ErrClosed.
func (c *Conn) Close() error {
	err := error(net.ErrClosed)
	c.closing.Do(func() {
		runtime.SetFinalizer(c, nil)
		atomic.StoreInt32(&c.closed, 1)
		err = c.file.Close()
		c.mu.Lock()
		session := c.session
		c.session = nil
		c.mu.Unlock()
		remotes.Delete(int(C.redisRouteFd(session)))
		C.redisRouteClose(session)
	})
	return err
}

// LocalAddr is unspecified: there are several connections underneath.
func (c *Conn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is the node that was dialled.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// SetReadDeadline also ends a Read that waits already.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if err := c.file.SetReadDeadline(t); err != nil {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}

// SetWriteDeadline is looked at when a Write begins.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	by := int64(0)
	if !t.IsZero() {
		by = moment(t)
	}
	atomic.StoreInt64(&c.writeBy, by)
	return nil
}

var epoch = time.Now()

// A time as a number that is not 0, by the monotonic clock where it has that.
func moment(t time.Time) int64 {
	if since := t.Sub(epoch); since != 0 {
		return int64(since)
	}
	return -1
}
