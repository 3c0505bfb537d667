#include "flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "command.h"

bool flags_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},         {"B", 1},        {"K", 1e3},      {"KB", 1e3},    {"M", 1e6},
                 {"MB", 1e6},     {"G", 1e9},      {"GB", 1e9},     {"T", 1e12},    {"TB", 1e12},
                 {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    char *end;
    double n;

    if (text[0] < '0' || text[0] > '9')
        return false;
    n = strtod(text, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_eq_nocase(str_z(end), str_z(units[i].unit)) && n * units[i].factor < 0x1p62) {
            *out = (uint64_t)(n * units[i].factor);
            return true;
        }
    return false;
}

static const struct flag *find(const struct flag *rows, const char *word, const char **value)
{
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);

    *value = equals ? equals + 1 : NULL;
    for (const struct flag *f = rows; f->name; f++)
        if ((strlen(f->name) == n && memcmp(f->name, word, n) == 0) || (f->letter && strcmp(f->letter, word) == 0))
            return f;
    return NULL;
}

static int take(const struct flag *f, const char *value)
{
    if (f->text)
        *f->text = value;
    else if (!flags_size(value, f->number))
        return command_usage("%s wants a number of bytes or things, not \"%s\"", f->name, value);
    return 0;
}

int flags_read(const struct flag *rows, int *argc, char **argv)
{
    int kept = 0;

    for (int i = 0; i < *argc; i++) {
        const char *value;
        const struct flag *f;
        if (strcmp(argv[i], "--") == 0) {
            while (++i < *argc)
                argv[kept++] = argv[i];
            break;
        }
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[kept++] = argv[i];
            continue;
        }
        if ((f = find(rows, argv[i], &value)) == NULL)
            return command_usage("there is no flag %s here; --help lists them", argv[i]);
        if (f->on) {
            if (value)
                return command_usage("%s takes no value", f->name);
            *f->on = true;
            continue;
        }
        if (!value && i + 1 == *argc)
            return command_usage("%s wants a value", f->name);
        if (!value)
            value = argv[++i];
        int code = take(f, value);
        if (code != 0)
            return code;
    }
    *argc = kept;
    return 0;
}
