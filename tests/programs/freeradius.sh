#!/usr/bin/env bash
# freeradius with rlm_redis: a pool of blocking contexts that threads share, in a module loaded with
# RTLD_DEEPBIND.
source "$(dirname "$0")/lib.sh"
need freeradius radclient
users=60

radius=$(free_port)
start_cluster
mkdir "$work/raddb"
cat >"$work/raddb/radiusd.conf" <<C
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = $work/raddb
logdir = $work
run_dir = $work
log {
    destination = files
    file = $work/log
}
security {
    allow_vulnerable_openssl = yes
}
thread pool {
    start_servers = 4
    max_servers = 4
    min_spare_servers = 1
    max_spare_servers = 4
    max_requests_per_server = 0
}
client here {
    ipaddr = $host
    secret = secret
}
modules {
    redis {
        server = $host
        port = $port
        query_timeout = 20
        pool {
            start = 4
            min = 1
            max = 4
            spare = 1
            uses = 0
            retry_delay = 1
            lifetime = 0
            idle_timeout = 0
        }
    }
}
instantiate {
    redis
}
server default {
    listen {
        type = auth
        ipaddr = $host
        port = $radius
    }
    authorize {
        update control {
            Auth-Type := Accept
        }
        update request {
            Tmp-String-0 := "%{redis:SET radius:%{User-Name} value-%{User-Name}}"
            Tmp-String-1 := "%{redis:INCR radius:logins}"
        }
        update reply {
            Reply-Message := "%{redis:GET radius:%{User-Name}}"
        }
    }
}
C
start freeradius -f -d "$work/raddb" -n radiusd
wait_until grep -q 'Ready to process requests' "$work/log" ||
    fail "does not start: $(tail -5 "$work/log" "$work/output")"
expect_library_in "$daemon"

for i in $(seq $users); do
    printf 'User-Name = "user%d"\nUser-Password = "any"\n\n' "$i"
done >"$work/requests"
radclient -x -p 8 -r 3 -t 20 -f "$work/requests" "$host:$radius" auth secret \
    >"$work/answers" 2>&1
for i in $(seq $users); do
    grep -q "Reply-Message = \"value-user$i\"" "$work/answers" ||
        fail "no answer for user$i: $(grep -i redis "$work/log" | tail -3)"
done
is_alive || fail "has died"
expect_value radius:user1 value-user1
expect_value radius:user$users value-user$users
# radclient repeats a request whose answer is slow.
[ "$(ask "$(owner radius:logins)" get radius:logins)" -ge $users ] || fail "logins were lost"
expect_spread
pass "$users requests, eight at a time"
