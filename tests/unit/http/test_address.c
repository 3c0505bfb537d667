#include "http/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "http/server.h"

static bool is_public(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return address_is_public((const struct sockaddr *)&v6);
}

static void public_addresses_are_told_from_others(void **state)
{
    static const char *const open[] = {"8.8.8.8",        "1.1.1.1",          "172.15.0.1",     "172.32.0.1",
                                       "192.167.1.1",    "100.63.0.1",       "100.128.0.1",    "2606:4700::1111",
                                       "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"};
    static const char *const closed[] = {"0.0.0.0",
                                         "127.0.0.1",
                                         "127.9.9.9",
                                         "10.1.2.3",
                                         "172.16.0.1",
                                         "172.31.255.255",
                                         "192.168.0.1",
                                         "169.254.169.254",
                                         "100.64.0.1",
                                         "224.0.0.1",
                                         "255.255.255.255",
                                         "198.18.0.1",
                                         "::",
                                         "::1",
                                         "fc00::1",
                                         "fd12::1",
                                         "fe80::1",
                                         "ff02::1",
                                         "::ffff:127.0.0.1",
                                         "::ffff:10.0.0.1",
                                         "::127.0.0.1",
                                         "64:ff9b::7f00:1",
                                         "2002:7f00:1::1",
                                         "2001::1"};
    const struct sockaddr other = {.sa_family = AF_UNIX};

    (void)state;
    for (size_t i = 0; i < sizeof(open) / sizeof(*open); i++)
        assert_true(is_public(open[i]));
    for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++)
        assert_false(is_public(closed[i]));
    assert_false(address_is_public(&other));
}

static void what_is_listened_on_is_checked(void **state)
{
    static const char *const bad[] = {"",         "host",        "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000",
                                      "::1:9000", "127.0.0.1:-1"};
    char bound[64], why[256] = "";
    int fd, again;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(http_listen(str_z(bad[i]), &fd, bound, why), ERR_INVALID_ARGUMENT);
        assert_true(strlen(why) > 10);
    }
    assert_int_equal(http_listen(STR("127.0.0.1:0"), &fd, bound, why), ERR_OK);
    assert_int_equal(http_listen(str_z(bound), &again, bound, why), ERR_OK); /* one per loop */
    close(fd);
    close(again);
    assert_int_equal(http_listen(STR("[::1]:0"), &fd, bound, why), ERR_OK);
    assert_memory_equal(bound, "[::1]:", 6);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_listened_on_is_checked),
                                       cmocka_unit_test(public_addresses_are_told_from_others)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
