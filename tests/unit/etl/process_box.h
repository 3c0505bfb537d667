/* process_box.h - sidecars as processes, for tests: a runtime, sidecars by a script, and what they said.
 *
 * Shape    set_up() and tear_down() are of each test. box_main() calls `run` for each isolation, as whoever runs it, and when that is root as an
 *          ordinary user as well.
 * Errors   of a runtime that does not do as it should: the test fails.
 */
#ifndef SLUICE_TESTS_PROCESS_BOX_H
#define SLUICE_TESTS_PROCESS_BOX_H

#include "etl/process_own.h"

extern char top[64], dir[96]; /* of the test; of its sidecars */
extern char secrets[256];     /* a directory that they must not see, with a file "secret" */
extern struct etl_runtime *runtime;
extern enum etl_isolation isolation;

int box_main(int argc, char **argv, int (*run)(void));
void open_runtime(void);
int set_up(void **state);
int tear_down(void **state);

struct sidecar {
    struct etl_instance *i;
    struct etl_spec spec;
    char why[ETL_WHY_MAX];
    char log[ETL_LOG_MAX + 1];
    const char *id;
    struct etl_env env[4];
};
/* Not started yet. */
struct sidecar *sidecar(const char *id, enum etl_comm comm);
enum err start(struct sidecar *s, const struct str *words, size_t n);
struct sidecar *shell(const char *id, const char *script);
/* A server that answers TEXT. */
struct sidecar *web(const char *id, const char *text);
void stop(struct sidecar *s, uint32_t grace_ms);
bool alive(struct sidecar *s);
void until_ended(struct sidecar *s);
const char *log_of(struct sidecar *s);
void until_logged(struct sidecar *s, const char *text);
/* Runs a script; all that it writes is `expected`. */
void says(const char *script, const char *expected);
int dial(struct sidecar *s);
void get(struct sidecar *s, const char *expected);

/* Until its end, or 15 seconds of silence. */
void read_all(int fd, char *out, size_t size);
uint16_t free_port(void);
/* Processes of this machine with such an argument. */
unsigned count_running(const char *argument);
/* Entries of a directory, "." and ".." as well. */
unsigned count_in(const char *name);
void put_text(const char *name, const char *file, const char *text);

#endif
