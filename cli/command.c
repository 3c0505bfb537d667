#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "settings.h"

static void print_all(FILE *out, const struct command *commands, size_t n)
{
    fputs("sluice - S3-compatible object storage\n\nUsage: sluice COMMAND [OPTIONS]\n\nCommands:\n", out);
    for (size_t i = 0; i < n; i++)
        if (commands[i].summary)
            fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("  help       Print this, or more about one command: sluice help COMMAND.\n", out);
}

static void print_one(const struct command *c)
{
    struct buf text = BUF_INIT(1 << 20);
    struct settings s;

    printf("%s\n\nUsage: sluice %s %s\n", c->summary, c->name, c->args);
    if (c->switches)
        printf("\nSwitches:\n%s", c->switches);
    if (c->options) {
        settings_defaults(&s);
        config_help(s.config, &text);
        settings_free(&s);
        fputs("\nOptions, each also a key of the YAML file (--limits-head-max is `limits: {head_max: }`) and a\n"
              "variable (SLUICE_LIMITS_HEAD_MAX); flags win over variables, variables over the file:\n"
              "  --config FILE\n      Read a YAML file first.\n",
              stdout);
        fwrite(text.p, 1, text.n, stdout);
    }
    buf_release(&text);
}

static const struct command *find(const struct command *commands, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* Whatever was meant to reach standard output has, or the exit code says so. */
static int flushed(int code)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_SUCCESS)
        return command_fail("could not write to standard output");
    return code;
}

int command_main(const struct command *commands, size_t n, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    bool help = strcmp(name, "help") == 0 || is_help(name);
    const struct command *c;

    if (strcmp(name, "--version") == 0)
        name = "version";
    if (help && argc > 2)
        name = argv[2];
    c = find(commands, n, name);
    for (int i = 2; i < argc && c; i++)
        help = help || is_help(argv[i]);
    if (help && ((c && c->summary) || argc == 2)) {
        if (c)
            print_one(c);
        else
            print_all(stdout, commands, n);
        return flushed(EXIT_SUCCESS);
    }
    if (c)
        return flushed(c->run(argc - 2, argv + 2));
    if (argc > 1)
        return command_usage("there is no command \"%s\"; `sluice help` lists them", name);
    print_all(stderr, commands, n);
    return EXIT_USAGE;
}

static void say(const char *fmt, va_list ap)
{
    fputs("sluice: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int command_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return EXIT_USAGE;
}

int command_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return EXIT_FAILURE;
}

bool command_switch(int *argc, char **argv, const char *name)
{
    int kept = 0;

    for (int i = 0; i < *argc; i++)
        if (strcmp(argv[i], name) != 0)
            argv[kept++] = argv[i];
    bool found = kept != *argc;
    *argc = kept;
    return found;
}

/* ---- small commands ---- */

int command_version(int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return command_usage("version takes no options");
    printf("sluice %s (%s)\n", SLUICE_VERSION, __VERSION__);
    return EXIT_SUCCESS;
}

static const char markdown_intro[] =
    "# Configuration\n"
    "\n"
    "This file is made by `sluice config --markdown`; a test checks that it is current.\n"
    "\n"
    "Every option can be set in three places; a later one wins:\n"
    "\n"
    "1. a YAML file named by `--config FILE` or `SLUICE_CONFIG`: `limits: {head_max: 64KiB}`;\n"
    "2. the environment: `SLUICE_LIMITS_HEAD_MAX=64KiB`; lists are separated by commas;\n"
    "3. the command line: `--limits-head-max 64KiB`; lists by repeating the flag.\n"
    "\n"
    "A list from a later place replaces the one from an earlier place. `sluice config --print` shows every value and\n"
    "where it came from, in a form that can be used as a file (secrets are masked). An unknown key or flag is an\n"
    "error; an unknown `SLUICE_*` variable is not, but one that looks like a misspelt option is warned about.\n"
    "\n"
    "Sizes are bytes or take `KiB`, `MiB`, `GiB`, `TiB`; durations take `ms`, `s`, `m`, `h`, `d`.\n"
    "\n";

int command_config(int argc, char **argv)
{
    bool markdown = command_switch(&argc, argv, "--markdown");
    struct buf out = BUF_INIT(1 << 20);
    char why[SETTINGS_WHY_MAX];
    struct settings s;

    command_switch(&argc, argv, "--print"); /* what it does anyway */
    if (markdown)
        settings_defaults(&s);
    else if (settings_load(&s, argc, argv, why) != ERR_OK)
        return command_usage("%s", why);
    if (markdown) {
        buf_add_z(&out, markdown_intro);
        config_markdown(s.config, &out);
    } else {
        config_print(s.config, &out);
    }
    fwrite(out.p, 1, out.n, stdout);
    buf_release(&out);
    settings_free(&s);
    return EXIT_SUCCESS;
}
