/* Files as wholes: several, and what is in them, or is none. What is said of them is the same in
 * one file and over several, by whatever path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"

enum { TEXT_MOST = 4096, NOBODY = 65534 };

static char folder[] = "/tmp/redisroute-files-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL && chmod(folder, 0755) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *name, const char *bytes, size_t length)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

/* A '%' of a text stands for the folder and a slash. */
static void expand(const char *text, char to[TEXT_MOST])
{
    size_t length = 0;

    for (; *text != '\0' && length < TEXT_MOST - 64; text++)
        length += *text == '%' ? (size_t)snprintf(to + length, 64, "%s/", folder)
                               : (size_t)snprintf(to + length, 2, "%c", *text);
    to[length] = '\0';
}

/* NULL: they are taken. */
static void assert_says(const char *files, const char *complaint)
{
    char names[TEXT_MOST], expected[TEXT_MOST] = "";
    struct complaint said = {""};
    struct config *config;

    expand(files, names);
    if (complaint != NULL)
        expand(complaint, expected);
    config = config_load(names, &said);
    assert_string_equal(said.text, expected);
    assert_true((config != NULL) == (complaint == NULL));
    config_destroy(config);
}

#define CLUSTER "clusters: [{name: a, endpoints: ['h:1']}]\n"
#define LISTENER                                                                                   \
    "listeners: [{address: '1.2.3.4:1', redis_proxy: {settings: {op_timeout: 1s}, "                \
    "prefix_routes: {catch_all_route: {cluster: a}}}}]\n"

static void several_files_are_one_configuration(void **state)
{
    (void)state;
    write_text("cluster", CLUSTER);
    write_text("listener", LISTENER);
    write_text("zone", "zone: a\n");
    write_text("other", "\n\nzone: b\n");
    write_text("same", "# a\n" CLUSTER);
    write_text("again", "# b\n" LISTENER);
    assert_says("%listener:%cluster", NULL);
    assert_says(":%cluster::%listener:", NULL);
    assert_says("%listener",
                "%listener:1:121: listeners[0].redis_proxy.prefix_routes.catch_all_route.cluster: "
                "there is no cluster \"a\"; no cluster is defined");
    assert_says("%zone:%other", "%other:3:7: zone: is said already, in %zone:1");
    assert_says("%zone:%zone", "%zone:1:7: zone: is said already, in %zone:1");
    assert_says("%cluster:%same",
                "%same:2:19: clusters[0].name: there is a cluster \"a\" already, in %cluster:1");
    assert_says("%cluster:%listener:%again",
                "%again:2:13: listeners[0]: 1.2.3.4 port 1 has a listener already, in %listener:1");
}

static void paths_lead_where_they_lead(void **state)
{
    char target[128];

    (void)state;
    write_text("real", "zone: [x]\n");
    write_text("good", "zone: x\n");
    snprintf(target, sizeof target, "%s", path_of("real"));
    assert_int_equal(symlink(target, path_of("link")), 0);
    assert_int_equal(symlink("nowhere", path_of("dangling")), 0);
    assert_int_equal(symlink("loop", path_of("loop")), 0);
    assert_int_equal(mkdir(path_of("directory"), 0755), 0);
    assert_says("%link", "%link:1:7: zone: is a list; expected is a text");
    assert_says("%dangling", "%dangling: No such file or directory");
    assert_says("%loop", "%loop: Too many levels of symbolic links");
    assert_says("%directory", "%directory: Is a directory");
    assert_says("%good/x", "%good/x: Not a directory");
    assert_says("%good:%none", "%none: No such file or directory");
}

/* Root may read anything. */
static void a_file_that_may_not_be_read_is_refused(void **state)
{
    int status;
    pid_t child;

    (void)state;
    write_text("secret", "zone: x\n");
    assert_int_equal(chmod(path_of("secret"), 0), 0);
    child = fork();
    if (child == 0) {
        struct complaint said = {""};
        char expected[TEXT_MOST];

        expand("%secret: Permission denied", expected);
        if (geteuid() == 0 && setuid(NOBODY) != 0)
            _exit(2);
        _exit(config_load(path_of("secret"), &said) == NULL && strcmp(said.text, expected) == 0
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void nothing_is_a_configuration(void **state)
{
    static const char *const texts[] = {
        "", "\n", "# nothing\n", "---\n", "--- \n---\n", "null\n", "\xEF\xBB\xBF", "{}\n", "~\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_text("empty", texts[i]);
        assert_says("%empty", NULL);
    }
    assert_says("/dev/null", NULL);
}

/* The place of a byte that is none of a text. */
static void what_is_no_text_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *complaint;
    } rows[] = {
        {"zone: \xFF", 7, "%bytes:1:7: no text in UTF-8 or UTF-16: invalid leading UTF-8 octet"},
        {"zone: x\nread_policy: M\xC3(STER\n", 27,
         "%bytes:2:16: no text in UTF-8 or UTF-16: invalid trailing UTF-8 octet"},
        {"zone: \"\\0\"", 10, "%bytes:1:7: a text with a NUL in it"},
        {"zone: x\0y", 9,
         "%bytes:1:8: no text in UTF-8 or UTF-16: control characters are not allowed"},
        {"\x7F"
         "ELF\x02",
         5, "%bytes:1:1: no text in UTF-8 or UTF-16: control characters are not allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_bytes("bytes", rows[i].bytes, rows[i].length);
        assert_says("%bytes", rows[i].complaint);
    }
    write_bytes("bytes", "\xFF\xFEz\0o\0n\0e\0:\0 \0x\0\n\0", 18);
    assert_says("%bytes", NULL);
    write_text("bytes", "\xEF\xBB\xBFzone: \xC3\xA4\r\nread_policy: ANY\r\n");
    assert_says("%bytes", NULL);
}

static void what_is_no_yaml_is_refused(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {"zone: [",
         "%text:2:1: no YAML: did not find expected node content, while parsing a flow node"},
        {"zone: x\n\tmirror: h:1\n", "%text:2:1: no YAML: found a tab character that violates "
                                     "indentation, while scanning a plain scalar"},
        {"zone: *nobody\n", "%text:1:7: no YAML: found undefined alias"},
        {"a: &x 1\nb: &x 2\n", "%text:2:4: no YAML: second occurrence, found duplicate anchor"},
        {"zone: x\n  mirror: h:1\n",
         "%text:2:9: no YAML: mapping values are not allowed in this context"},
        {"<html>\n", "%text:1:1: \"<html>\" is not a map of "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct complaint said = {""};
        char expected[TEXT_MOST];

        expand(rows[i].complaint, expected);
        write_text("text", rows[i].text);
        assert_null(config_load(path_of("text"), &said));
        if (strncmp(said.text, expected, strlen(expected)) != 0)
            fail_msg("%s: %s\nand not %s", rows[i].text, said.text, expected);
    }
}

static void json_is_yaml(void **state)
{
    (void)state;
    write_text("json",
               "{\n\t\"zone\": \"a\",\n\t\"failover_timeout\": \"5s\",\n\t\"mirrorFraction\": 50,\n"
               "\t\"mirrorExcludeReadCommands\": true,\n\t\"clusters\": [{\"name\": \"a\", "
               "\"endpoints\": [\"h:1\"], \"tls\": false}]\n}\n");
    assert_says("%json", NULL);
    write_text("json", "{\n  \"zone\": \"a\",\n  \"failover_timeout\": 5000\n}\n");
    assert_says("%json",
                "%json:3:23: failover_timeout: \"5000\" is not a duration: a number and its unit, "
                "such as 250ms, 0.5s, 5s, 1m or 1h");
    write_text("json", "{\"mirror_exclude_read_commands\": \"true\"}");
    assert_says("%json", "%json:1:34: mirror_exclude_read_commands: \"true\" is not true or false");
}

static void anchors_and_documents(void **state)
{
    (void)state;
    write_text("text",
               "failover_timeout: &long 5s\nconnect_timeout: *long\n---\nzone: x\n---\n" CLUSTER
               "...\n---\n" LISTENER);
    assert_says("%text", NULL);
    write_text("text", "zone: &x [y]\n---\nmirror: h\n");
    assert_says("%text", "%text:1:7: zone: is a list; expected is a text");
    write_text("text", "zone: y\n---\nmirror: &x h\n");
    assert_says("%text", "%text:3:9: mirror: \"h\" is not HOST:PORT");
    write_text("text",
               "clusters:\n- &base {name: a, endpoints: ['h:1']}\n- <<: *base\n  name: b\n");
    assert_says(
        "%text",
        "%text:3:3: clusters[1]: a merge key (<<) is not known here; say the fields themselves");
    write_text("text", "clusters: &again [*again]\n");
    assert_says(
        "%text",
        "%text:1:11: clusters[0]: is a list; expected is a map of name, connect_timeout, "
        "load_assignment, "
        "endpoints, cluster_type, type, lb_policy, alt_stat_name, circuit_breakers, "
        "dns_lookup_family, "
        "dns_refresh_rate, dns_failure_refresh_rate, dns_jitter, dns_resolution_config, "
        "typed_dns_resolver_config, use_tcp_for_dns_lookups, common_lb_config, "
        "load_balancing_policy, "
        "preconnect_policy, track_cluster_stats, wait_for_warm_on_init, "
        "ignore_health_on_host_removal, "
        "close_connections_on_host_health_failure, health_checks, metadata, outlier_detection, "
        "per_connection_buffer_limit_bytes, respect_dns_ttl, upstream_connection_options, "
        "transport_socket, tls, tls_ca, tls_certificate, tls_key, tls_server_name, tls_verify, "
        "typed_extension_protocol_options, username, password, password_file");
    write_text("text", "static_resources: &again {static_resources: *again}\n");
    assert_says(
        "%text",
        "%text:1:27: static_resources: there is no field \"static_resources\" here; possible are: "
        "listeners, clusters");
}

static void what_is_huge_is_refused_or_taken(void **state)
{
    enum { HUGE = 1 << 20, FAR = 17 << 20 };
    char *text = malloc(FAR + 16), expected[TEXT_MOST];
    struct complaint said = {""};

    (void)state;
    assert_non_null(text);
    memset(text, 'x', FAR);
    memcpy(text, "zone: ", 6);
    write_bytes("huge", text, HUGE);
    assert_says("%huge", NULL);
    memcpy(text, "mirror: ", 8);
    write_bytes("huge", text, HUGE);
    assert_null(config_load(path_of("huge"), &said));
    expand("%huge:1:9: mirror: \"xxxx", expected);
    assert_int_equal(strncmp(said.text, expected, strlen(expected)), 0);
    assert_true(strlen(said.text) < 300);
    memset(text, '#', FAR);
    write_bytes("huge", text, FAR);
    assert_says("%huge", "%huge: File too large");
    free(text);
    write_text("huge", "failover_timeout: 99999999999999999999999999999h\n");
    assert_says(
        "%huge",
        "%huge:1:19: failover_timeout: 99999999999999999999999999999h is out of range; from 0s "
        "to 24h is possible");
    write_text("huge", "mirror_queue_bytes: 18446744073709551616\n");
    assert_says(
        "%huge",
        "%huge:1:21: mirror_queue_bytes: 18446744073709551616 is out of range; from 1024 to "
        "4294967296 is possible");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_files_are_one_configuration),
        cmocka_unit_test(paths_lead_where_they_lead),
        cmocka_unit_test(a_file_that_may_not_be_read_is_refused),
        cmocka_unit_test(nothing_is_a_configuration),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(what_is_no_yaml_is_refused),
        cmocka_unit_test(json_is_yaml),
        cmocka_unit_test(anchors_and_documents),
        cmocka_unit_test(what_is_huge_is_refused_or_taken),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
