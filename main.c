/* main.c - the composition root: argv, configuration, role. */
#include "cli/command.h"

static const struct command commands[] = {
    {"config", "[--print | --markdown] [OPTIONS]", "Print every option, its value and where it came from.",
     "  --print\n      As YAML that could be used as a file; the default.\n"
     "  --markdown\n      All options with their defaults as a documentation page.\n",
     true, command_config},
    {"version", "", "Print the version.", NULL, false, command_version},
};

int main(int argc, char **argv)
{
    return command_main(commands, sizeof(commands) / sizeof(*commands), argc, argv);
}
