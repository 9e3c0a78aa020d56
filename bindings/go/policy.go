package redisroute

// #include <redisroute/redisroute.h>
import "C"

import (
	"fmt"
	"strings"
)

var policies = map[string]C.int{
	"MASTER":                           C.REDISROUTE_READ_MASTER,
	"PREFER_MASTER":                    C.REDISROUTE_READ_PREFER_MASTER,
	"REPLICA":                          C.REDISROUTE_READ_REPLICA,
	"PREFER_REPLICA":                   C.REDISROUTE_READ_PREFER_REPLICA,
	"ANY":                              C.REDISROUTE_READ_ANY,
	"AZ_AFFINITY":                      C.REDISROUTE_READ_AZ_AFFINITY,
	"AZ_AFFINITY_REPLICAS_AND_PRIMARY": C.REDISROUTE_READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY,
}

// SetReadPolicy says which nodes answer commands that only read, of those that are written from here on:
// "REPLICA", "ANY" … as in Options; empty: as the connection was opened. What a client has buffered is
// written when it flushes.
func (c *Conn) SetReadPolicy(policy string) error {
	number := C.int(-1)
	if policy != "" {
		known := false
		if number, known = policies[strings.ToUpper(policy)]; !known {
			return fmt.Errorf("redisroute: there is no read policy %q", policy)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy = number
	return nil
}
