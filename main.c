/* main.c - the composition root: argv, configuration, role. */
#include <stdio.h>

int main(void)
{
    fputs("sluice: no command is built yet\n", stderr);
    return 2;
}
