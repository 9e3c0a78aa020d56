package redisroute

/*
#include <stdlib.h>
#include <redisroute/redisroute.h>
*/
import "C"

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"
)

// A Stat is one number of the whole process. Its name, and its labels, are those of doc/statistics.md:
// redisroute_redirects_total, `kind="moved"`.
type Stat struct {
	Name   string
	Labels string // as in Prometheus' text format, without braces; empty: none
	Value  uint64
}

// Stats are the library's numbers, of all connections of the process. They only grow.
func Stats() []Stat {
	var stats []Stat
	for _, line := range strings.Split(StatsText(), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		// name{labels} value, or name value; a label may hold spaces.
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseUint(line[at+1:], 10, 64)
		if at < 0 || err != nil {
			continue
		}
		stat := Stat{Name: line[:at], Value: value}
		if brace := strings.IndexByte(stat.Name, '{'); brace >= 0 {
			stat.Labels = strings.TrimSuffix(stat.Name[brace+1:], "}")
			stat.Name = stat.Name[:brace]
		}
		stats = append(stats, stat)
	}
	return stats
}

// StatsText is the same in Prometheus' text exposition format, to be served as it is.
func StatsText() string {
	text := []byte{0}
	for {
		size := C.size_t(len(text))
		length := C.redisRouteStatsText((*C.char)(unsafe.Pointer(&text[0])), size)
		if length < size {
			return string(text[:length])
		}
		text = make([]byte, length+4096) // numbers may be added meanwhile
	}
}

// SetCommandStats says whether commands are counted by cluster and name, with a histogram of their
// latency, as REDISROUTE_COMMAND_STATS=1 does. What was counted stays.
func SetCommandStats(on bool) {
	var yes C.int
	if on {
		yes = 1
	}
	C.redisRouteSetCommandStats(yes)
}

// CheckConfig says whether configuration files would be taken, and changes nothing. files is what
// REDISROUTE_CONFIG would be: names, separated by ':'; empty: those that it names now. The error has
// file, line, column, field, what is wrong and what would be right.
func CheckConfig(files string) error {
	var names *C.char
	if files != "" {
		names = C.CString(files)
		defer C.free(unsafe.Pointer(names))
	}
	why := make([]byte, 1024)
	if C.redisRouteCheckConfig(names, (*C.char)(unsafe.Pointer(&why[0])), C.size_t(len(why))) == 0 {
		return nil
	}
	return errors.New("redisroute: " + C.GoString((*C.char)(unsafe.Pointer(&why[0]))))
}
