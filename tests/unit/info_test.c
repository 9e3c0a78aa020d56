#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/info.h"

static void becomes(const char *a, const char *b, const char *expected)
{
    struct bytes reports[] = {{a, strlen(a)}, {b, b != NULL ? strlen(b) : 0}};
    struct buffer out;

    buffer_init(&out);
    assert_true(info_merge(reports, b != NULL ? 2 : 1, &out));
    assert_true(buffer_append(&out, "", 1));
    assert_string_equal(buffer_bytes(&out), expected);
    buffer_deinit(&out);
}

static void one_report_stays_as_it_is(void **state)
{
    static const char report[] =
        "# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nused_memory:2048\r\n"
        "used_memory_human:2.00K\r\nmem_fragmentation_ratio:0.00\r\n\r\n# Modules\r\n\r\n"
        "# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n";

    (void)state;
    becomes(report, NULL, report);
    becomes("", NULL, "");
    becomes("what is no report", NULL, "");
    becomes("# Odd", NULL, "# Odd\r\n");
    becomes("# Odd\r\nno colon\r\nempty:\r\n", NULL, "# Odd\r\nno colon\r\nempty:\r\n");
}

static void what_identifies_a_server_is_of_one_master(void **state)
{
    (void)state;
    becomes("# Server\r\nredis_mode:cluster\r\nrun_id:a\r\nuptime_in_seconds:5\r\n",
            "# Server\r\nredis_mode:cluster\r\nrun_id:b\r\nuptime_in_seconds:7\r\n",
            "# Server\r\nredis_mode:standalone\r\nrun_id:a\r\nuptime_in_seconds:5\r\n");
    becomes("# Server\r\nserver_mode:cluster\r\n", "# Server\r\nserver_mode:cluster\r\n",
            "# Server\r\nserver_mode:standalone\r\n");
    becomes("# Cluster\r\ncluster_enabled:1\r\n", "# Cluster\r\ncluster_enabled:1\r\n",
            "# Cluster\r\ncluster_enabled:0\r\n");
    becomes("# Replication\r\nrole:slave\r\nmaster_host:h\r\n",
            "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n",
            "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n");
    becomes("# Unheard_of\r\nnumber:1\r\n", "# Unheard_of\r\nnumber:2\r\n",
            "# Unheard_of\r\nnumber:1\r\n");
}

static void counts_are_summed(void **state)
{
    (void)state;
    becomes("# Clients\r\npaused_reason:none\r\npaused_timeout_milliseconds:20\r\n",
            "# Clients\r\npaused_reason:none\r\npaused_timeout_milliseconds:10\r\n",
            "# Clients\r\npaused_reason:none\r\npaused_timeout_milliseconds:20\r\n");
    becomes("# Keysizes\r\ndb0_distrib_strings_sizes:1=3,2=4\r\n",
            "# Keysizes\r\ndb0_distrib_strings_sizes:1=1,8=2\r\ndb0_distrib_lists_items:1=5\r\n",
            "# Keysizes\r\ndb0_distrib_strings_sizes:1=4,2=4,8=2\r\ndb0_distrib_lists_items:1=5\r\n");
    becomes("# Clients\r\nconnected_clients:3\r\nclient_recent_max_input_buffer:20\r\n",
            "# Clients\r\nconnected_clients:4\r\nclient_recent_max_input_buffer:10\r\n",
            "# Clients\r\nconnected_clients:7\r\nclient_recent_max_input_buffer:20\r\n");
    becomes("# Stats\r\ninstantaneous_input_kbps:0.95\r\nnew:-3\r\nword:a\r\nonly_here:1\r\n",
            "# Stats\r\ninstantaneous_input_kbps:1.10\r\nnew:1\r\nword:b\r\n",
            "# Stats\r\ninstantaneous_input_kbps:2.05\r\nnew:-2\r\nword:a\r\nonly_here:1\r\n");
    becomes("# Stats\r\nhuge:9223372036854775807\r\n", "# Stats\r\nhuge:1\r\n",
            "# Stats\r\nhuge:9223372036854775807\r\n");
    becomes("# CPU\r\nused_cpu_sys:0.000001\r\n", "# CPU\r\nused_cpu_sys:10.500000\r\n",
            "# CPU\r\nused_cpu_sys:10.500001\r\n");
}

static void sizes_and_ratios_are_worked_out_anew(void **state)
{
    (void)state;
    becomes("# Memory\r\nused_memory:1000\r\nused_memory_human:1000B\r\nused_memory_rss:4000\r\n"
            "used_memory_peak:2000\r\nused_memory_peak_perc:50.00%\r\nused_memory_startup:500\r\n"
            "used_memory_dataset:500\r\nused_memory_dataset_perc:100.00%\r\n"
            "mem_fragmentation_ratio:4.00\r\nmaxmemory_policy:noeviction\r\n",
            "# Memory\r\nused_memory:3000\r\nused_memory_human:2.93K\r\nused_memory_rss:4000\r\n"
            "used_memory_peak:3000\r\nused_memory_peak_perc:100.00%\r\nused_memory_startup:500\r\n"
            "used_memory_dataset:1000\r\nused_memory_dataset_perc:40.00%\r\n"
            "mem_fragmentation_ratio:1.33\r\nmaxmemory_policy:noeviction\r\n",
            "# Memory\r\nused_memory:4000\r\nused_memory_human:3.91K\r\nused_memory_rss:8000\r\n"
            "used_memory_peak:5000\r\nused_memory_peak_perc:80.00%\r\nused_memory_startup:1000\r\n"
            "used_memory_dataset:1500\r\nused_memory_dataset_perc:50.00%\r\n"
            "mem_fragmentation_ratio:2.00\r\nmaxmemory_policy:noeviction\r\n");
    becomes("# Memory\r\nmaxmemory:1099511627776\r\nmaxmemory_human:1.00T\r\n",
            "# Memory\r\nmaxmemory:1099511627776\r\nmaxmemory_human:1.00T\r\n",
            "# Memory\r\nmaxmemory:2199023255552\r\nmaxmemory_human:2.00T\r\n");
}

static void the_worst_master_decides_whether_saving_works(void **state)
{
    (void)state;
    becomes("# Persistence\r\nloading:0\r\nrdb_last_save_time:200\r\nrdb_last_bgsave_status:ok\r\n"
            "rdb_last_bgsave_time_sec:-1\r\naof_current_size:5\r\n",
            "# Persistence\r\nloading:1\r\nrdb_last_save_time:100\r\nrdb_last_bgsave_status:err\r\n"
            "rdb_last_bgsave_time_sec:3\r\naof_current_size:6\r\n",
            "# Persistence\r\nloading:1\r\nrdb_last_save_time:100\r\nrdb_last_bgsave_status:err\r\n"
            "rdb_last_bgsave_time_sec:3\r\naof_current_size:11\r\n");
}

static void lists_have_what_any_master_has(void **state)
{
    (void)state;
    becomes("# Keyspace\r\n", "# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=50\r\n",
            "# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=50\r\n");
    becomes("# Keyspace\r\ndb0:keys=5,expires=3,avg_ttl=10\r\n",
            "# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=50\r\n",
            "# Keyspace\r\ndb0:keys=7,expires=4,avg_ttl=20\r\n");
    becomes("# Commandstats\r\n"
            "cmdstat_get:calls=1,usec=10,usec_per_call=10.00,rejected_calls=0,failed_calls=1\r\n",
            "# Commandstats\r\n"
            "cmdstat_set:calls=4,usec=2,usec_per_call=0.50,rejected_calls=1,failed_calls=0\r\n"
            "cmdstat_get:calls=3,usec=20,usec_per_call=6.67,rejected_calls=2,failed_calls=0\r\n",
            "# Commandstats\r\n"
            "cmdstat_get:calls=4,usec=30,usec_per_call=7.50,rejected_calls=2,failed_calls=1\r\n"
            "cmdstat_set:calls=4,usec=2,usec_per_call=0.50,rejected_calls=1,failed_calls=0\r\n");
    becomes("# Errorstats\r\nerrorstat_ERR:count=1\r\n",
            "# Errorstats\r\nerrorstat_ERR:count=2\r\n",
            "# Errorstats\r\nerrorstat_ERR:count=3\r\n");
    becomes("# Latencystats\r\nlatency_percentiles_usec_get:p50=1.003,p99=9.023\r\n",
            "# Latencystats\r\nlatency_percentiles_usec_get:p50=2.007,p99=5.023\r\n",
            "# Latencystats\r\nlatency_percentiles_usec_get:p50=2.007,p99=9.023\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_report_stays_as_it_is),
        cmocka_unit_test(what_identifies_a_server_is_of_one_master),
        cmocka_unit_test(counts_are_summed),
        cmocka_unit_test(sizes_and_ratios_are_worked_out_anew),
        cmocka_unit_test(the_worst_master_decides_whether_saving_works),
        cmocka_unit_test(lists_have_what_any_master_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
