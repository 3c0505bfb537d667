#include "clock.h"

#include <stdio.h>
#include <time.h>

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

int64_t clock_wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_boot_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct tm split(int64_t ns)
{
    time_t s = (time_t)(ns / NS_PER_S);
    struct tm tm;

    gmtime_r(&s, &tm);
    return tm;
}

static void two(char *out, int v)
{
    out[0] = (char)('0' + v / 10 % 10);
    out[1] = (char)('0' + v % 10);
}

static void four(char *out, int v)
{
    two(out, v / 100);
    two(out + 2, v % 100);
}

void clock_http(int64_t ns, char out[CLOCK_HTTP_LEN])
{
    struct tm tm = split(ns);

    memcpy(out, "Ddd, dd Mmm yyyy hh:mm:ss GMT", CLOCK_HTTP_LEN);
    memcpy(out, day_names + 3 * tm.tm_wday, 3);
    two(out + 5, tm.tm_mday);
    memcpy(out + 8, month_names + 3 * tm.tm_mon, 3);
    four(out + 12, tm.tm_year + 1900);
    two(out + 17, tm.tm_hour);
    two(out + 20, tm.tm_min);
    two(out + 23, tm.tm_sec);
}

void clock_iso(int64_t ns, char out[CLOCK_ISO_LEN])
{
    struct tm tm = split(ns);

    memcpy(out, "yyyy-mm-ddThh:mm:ss.000Z", CLOCK_ISO_LEN);
    four(out, tm.tm_year + 1900);
    two(out + 5, tm.tm_mon + 1);
    two(out + 8, tm.tm_mday);
    two(out + 11, tm.tm_hour);
    two(out + 14, tm.tm_min);
    two(out + 17, tm.tm_sec);
}

void clock_basic(int64_t ns, char out[CLOCK_BASIC_LEN])
{
    struct tm tm = split(ns);

    memcpy(out, "yyyymmddThhmmssZ", CLOCK_BASIC_LEN);
    four(out, tm.tm_year + 1900);
    two(out + 4, tm.tm_mon + 1);
    two(out + 6, tm.tm_mday);
    two(out + 9, tm.tm_hour);
    two(out + 11, tm.tm_min);
    two(out + 13, tm.tm_sec);
}

/* Days since 1970-01-01 of a proleptic Gregorian date. */
static int64_t days_of(int y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153u * (unsigned)(m + (m > 2 ? -3 : 9)) + 2) / 5 + (unsigned)d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + (int64_t)doe - 719468;
}

static bool seconds_of(int y, int mon, int d, int h, int min, int s, int64_t *out)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);

    if (y < 1 || y > 9999 || mon < 1 || mon > 12 || d < 1 || d > month_days[mon - 1] + (leap && mon == 2))
        return false;
    if (h < 0 || h > 23 || min < 0 || min > 59 || s < 0 || s > 60)
        return false;
    *out = days_of(y, mon, d) * 86400 + h * 3600 + min * 60 + s;
    return true;
}

/* Fixed-width digits of s at `at`. */
static bool digits(struct str s, size_t at, size_t n, int *out)
{
    uint64_t v;

    if (at + n > s.n || !str_to_u64(str_n(s.p + at, n), 9999, &v))
        return false;
    *out = (int)v;
    return true;
}

static bool month_at(struct str s, size_t at, int *out)
{
    for (int i = 0; i < 12 && at + 3 <= s.n; i++)
        if (memcmp(s.p + at, month_names + 3 * i, 3) == 0) {
            *out = i + 1;
            return true;
        }
    return false;
}

static bool hms_at(struct str s, size_t at, int *h, int *m, int *sec)
{
    return at + 8 <= s.n && digits(s, at, 2, h) && s.p[at + 2] == ':' && digits(s, at + 3, 2, m) &&
           s.p[at + 5] == ':' && digits(s, at + 6, 2, sec);
}

bool clock_http_parse(struct str s, int64_t *out_s)
{
    int y, mon, d, h, min, sec;

    s = str_trim(s);
    size_t comma = str_find_char(s, ',');
    if (comma == 3 && s.n == CLOCK_HTTP_LEN) /* Sun, 06 Nov 1994 08:49:37 GMT */
        return digits(s, 5, 2, &d) && month_at(s, 8, &mon) && digits(s, 12, 4, &y) && hms_at(s, 17, &h, &min, &sec) &&
               str_ends(s, STR(" GMT")) && seconds_of(y, mon, d, h, min, sec, out_s);
    if (comma != SIZE_MAX && s.n == comma + 24) { /* Sunday, 06-Nov-94 08:49:37 GMT */
        if (!digits(s, comma + 2, 2, &d) || !month_at(s, comma + 5, &mon) || !digits(s, comma + 9, 2, &y))
            return false;
        return hms_at(s, comma + 12, &h, &min, &sec) && str_ends(s, STR(" GMT")) &&
               seconds_of(y < 70 ? y + 2000 : y + 1900, mon, d, h, min, sec, out_s);
    }
    if (comma == SIZE_MAX && s.n == 24) { /* Sun Nov  6 08:49:37 1994 */
        if (!digits(s, s.p[8] == ' ' ? 9 : 8, s.p[8] == ' ' ? 1 : 2, &d) || !month_at(s, 4, &mon))
            return false;
        return hms_at(s, 11, &h, &min, &sec) && digits(s, 20, 4, &y) && seconds_of(y, mon, d, h, min, sec, out_s);
    }
    return false;
}

/* "", "Z", "+01:00", "-0130": minutes east of UTC. */
static bool zone(struct str s, int *out_min)
{
    int h, m;

    *out_min = 0;
    if (str_eq(s, STR("Z")))
        return true;
    if (s.n < 5 || (s.p[0] != '+' && s.p[0] != '-'))
        return false;
    if (!digits(s, 1, 2, &h) || !digits(s, s.p[3] == ':' ? 4 : 3, 2, &m) || s.n != (s.p[3] == ':' ? 6u : 5u))
        return false;
    *out_min = (s.p[0] == '-' ? -1 : 1) * (h * 60 + m);
    return true;
}

bool clock_iso_parse(struct str s, int64_t *out_s)
{
    int y, mon, d, h, min, sec, east;
    int64_t v;

    if (s.n < 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T')
        return false;
    if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mon) || !digits(s, 8, 2, &d) || !hms_at(s, 11, &h, &min, &sec))
        return false;
    struct str rest = str_skip(s, 19);
    if (rest.p[0] == '.') {
        rest = str_skip(rest, 1);
        size_t fraction = 0;
        while (fraction < rest.n && rest.p[fraction] >= '0' && rest.p[fraction] <= '9')
            fraction++;
        if (fraction == 0)
            return false;
        rest = str_skip(rest, fraction);
    }
    if (!zone(rest, &east) || !seconds_of(y, mon, d, h, min, sec, &v))
        return false;
    *out_s = v - east * 60;
    return true;
}

bool clock_basic_parse(struct str s, int64_t *out_s)
{
    int y, mon, d, h, min, sec;

    return s.n == CLOCK_BASIC_LEN && s.p[8] == 'T' && s.p[15] == 'Z' && digits(s, 0, 4, &y) && digits(s, 4, 2, &mon) &&
           digits(s, 6, 2, &d) && digits(s, 9, 2, &h) && digits(s, 11, 2, &min) && digits(s, 13, 2, &sec) &&
           seconds_of(y, mon, d, h, min, sec, out_s);
}
