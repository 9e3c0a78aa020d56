#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "link/link.h"

static struct link *new_link(void)
{
    struct link *link = link_create("10.0.0.1", 7000);

    assert_non_null(link);
    return link;
}

static void assert_out(const struct link *link, const char *expected)
{
    assert_int_equal(buffer_length(&link->out), strlen(expected));
    assert_memory_equal(buffer_bytes(&link->out), expected, strlen(expected));
}

static void send_text(struct link *link, struct part *part, const char *text)
{
    assert_true(link_send(link, part, text, strlen(text)));
}

static void flush_all(struct link *link)
{
    link->out_flushed = link->out_base + buffer_length(&link->out);
}

static void receive(struct link *link, const char *text)
{
    assert_true(buffer_append_text(&link->in, text));
}

static void a_link_has_a_name(void **state)
{
    struct link *link = new_link();

    (void)state;
    assert_string_equal(link->name, "10.0.0.1:7000");
    assert_int_equal(link->fd, -1);
    assert_true(link_is(link, "10.0.0.1xyz", 8, 7000));
    assert_false(link_is(link, "10.0.0.1", 8, 7001));
    assert_false(link_is(link, "10.0.0.", 7, 7000));
    link_destroy(link);
    link_destroy(NULL);
}

static void answers_come_in_the_order_of_sending(void **state)
{
    struct link *link = new_link();
    struct part a = {0}, b = {0};

    (void)state;
    send_text(link, &a, "aaa");
    send_text(link, &b, "bb");
    assert_out(link, "aaabb");
    assert_true(link_unflushed(link));
    flush_all(link);
    assert_false(link_unflushed(link));
    assert_int_equal(a.state, PART_SENT);
    assert_ptr_equal(a.link, link);
    assert_memory_equal(link_command(link, &b), "bb", 2);
    assert_ptr_equal(link_answered(link), &a);
    assert_out(link, "bb");
    assert_ptr_equal(link_answered(link), &b);
    assert_null(link_answered(link));
    assert_int_equal(link->asked, 2);
    assert_int_equal(link->replied, 2);
    assert_false(link_unflushed(link));
    link_destroy(link);
}

static void asking_goes_in_front_once(void **state)
{
    struct link *link = new_link();
    struct part part = {.asking = true};

    (void)state;
    send_text(link, &part, "GET");
    assert_out(link, "*1\r\n$6\r\nASKING\r\nGET");
    assert_int_equal(part.skip, 1);
    assert_false(part.asking);
    assert_memory_equal(link_command(link, &part), "GET", 3);
    link_destroy(link);
}

/* A server that answers early does not move the stream behind what was flushed. */
static void what_is_not_flushed_stays(void **state)
{
    struct link *link = new_link();
    struct part a = {0}, b = {0};

    (void)state;
    send_text(link, &a, "aaaa");
    send_text(link, &b, "bb");
    link->out_flushed += 2;
    assert_ptr_equal(link_answered(link), &a);
    assert_out(link, "aabb");
    assert_int_equal(link->out_base, link->out_flushed);
    assert_memory_equal(link_command(link, &b), "bb", 2);
    link_destroy(link);
}

static void a_detached_part_has_its_own_bytes(void **state)
{
    struct link *link = new_link();
    struct part part = {0};

    (void)state;
    send_text(link, &part, "GET");
    assert_true(link_detach(link, &part));
    assert_true(link_detach(link, &part));
    flush_all(link);
    link_answered(link);
    link_destroy(link);
    assert_memory_equal(part.bytes, "GET", 3);
    free(part.bytes);
}

/* A reply that lies in `in` keeps its address while the connection is replaced. */
static void positions_outlive_the_connection(void **state)
{
    struct link *link = new_link();
    struct part part = {0};
    uint64_t end;

    (void)state;
    send_text(link, &part, "GET");
    flush_all(link);
    receive(link, "+OK\r\n+hal");
    link->in_scanned = 5;
    link->in_place = 1;
    link->greetings = 2;
    end = link->out_flushed;
    link_cut(link);
    assert_int_equal(link->out_base, end);
    assert_int_equal(link->out_flushed, end);
    assert_int_equal(link->greetings, 0);
    assert_int_equal(link->asked, 0);
    assert_int_equal(buffer_length(&link->in), 5);
    receive(link, "+new\r\n");
    assert_memory_equal(link_reply(link, 0), "+OK\r\n", 5);
    assert_memory_equal(link_reply(link, 5), "+new\r\n", 6);
    link_release(link, 5);
    link_release(link, 3); /* an earlier one does nothing */
    assert_memory_equal(link_reply(link, 5), "+new\r\n", 6);
    assert_int_equal(link->in_base, 5);
    link_destroy(link);
}

static void a_cut_with_nothing_in_place_empties(void **state)
{
    struct link *link = new_link();

    (void)state;
    receive(link, "+hal");
    link_cut(link);
    assert_int_equal(buffer_length(&link->in), 0);
    assert_int_equal(link->in_base, link->in_scanned);
    link_destroy(link);
}

static void an_idle_link_gives_memory_back(void **state)
{
    struct link *link = new_link();
    char *large = calloc(1, 100000);
    struct part part = {0};

    (void)state;
    assert_true(link_send(link, &part, large, 100000));
    assert_true(buffer_append(&link->in, large, 100000));
    flush_all(link);
    link_answered(link);
    link_release(link, 100000);
    assert_in_range(link->out.capacity, 0, LINK_KEEP);
    assert_in_range(link->in.capacity, 0, LINK_KEEP);
    free(large);
    link_destroy(link);
}

static void a_pipe_forgets_what_it_has_flushed(void **state)
{
    struct link *link = new_link();

    (void)state;
    assert_true(link_send_raw(link, "abcdef", 6));
    link->out_flushed += 4;
    link_forget_flushed(link);
    assert_out(link, "ef");
    assert_true(link_unflushed(link));
    link_destroy(link);
}

static void a_queue_is_first_in_first_out(void **state)
{
    struct part_queue queue = {0};
    struct part a = {0}, b = {0}, c = {0}, *chain;

    (void)state;
    assert_null(part_pop(&queue));
    part_push(&queue, &a);
    part_push(&queue, &b);
    assert_ptr_equal(part_pop(&queue), &a);
    assert_ptr_equal(part_pop(&queue), &b);
    assert_null(part_pop(&queue));
    part_push(&queue, &c);
    part_push(&queue, &a);
    chain = part_take_all(&queue);
    assert_ptr_equal(chain, &c);
    assert_ptr_equal(chain->next, &a);
    assert_null(chain->next->next);
    assert_null(part_take_all(&queue));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_has_a_name),
        cmocka_unit_test(answers_come_in_the_order_of_sending),
        cmocka_unit_test(asking_goes_in_front_once),
        cmocka_unit_test(what_is_not_flushed_stays),
        cmocka_unit_test(a_detached_part_has_its_own_bytes),
        cmocka_unit_test(positions_outlive_the_connection),
        cmocka_unit_test(a_cut_with_nothing_in_place_empties),
        cmocka_unit_test(an_idle_link_gives_memory_back),
        cmocka_unit_test(a_pipe_forgets_what_it_has_flushed),
        cmocka_unit_test(a_queue_is_first_in_first_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
