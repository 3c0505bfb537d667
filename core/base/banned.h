/* banned.h - functions that must not compile: each has a bounded or thread-safe replacement.
 * Included by force into every translation unit of the product (CMake: -include). */
#ifndef SLUICE_BASE_BANNED_H
#define SLUICE_BASE_BANNED_H

/* The system headers that declare these are read first, so that only our own uses are poisoned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gmtime localtime atoi atol

#endif
