/* config.h - options from a YAML file, the environment and the command line, read into a struct by a table.
 *
 * Shape    one table row per option says where it lives in the caller's struct, its type, default and help. Later
 *          wins: default, file, PREFIX_* variable, flag. A row "limits.head_max" is `limits: {head_max: }` in the
 *          file, SLUICE_LIMITS_HEAD_MAX in the environment and --limits-head-max on the command line.
 * Units    sizes: bytes; durations: as the row's type says.
 * Owns     texts and lists in the struct live as long as the config.
 * Errors   ERR_SYNTAX with a sentence in config_why() that names the option, where the value came from and what is
 *          expected. Values of secret options are never part of a text.
 * Thread   one; read-only after loading.
 */
#ifndef SLUICE_BASE_CONFIG_H
#define SLUICE_BASE_CONFIG_H

#include "buf.h"

enum config_type {
    CONFIG_TEXT,        /* struct str, NUL-terminated behind its end */
    CONFIG_LIST,        /* struct config_list; a flag once per item, in a variable separated by commas */
    CONFIG_BOOL,        /* bool */
    CONFIG_CHOICE,      /* an enum: index into `choices` */
    CONFIG_COUNT,       /* uint32_t or uint64_t */
    CONFIG_SIZE,        /* uint32_t or uint64_t bytes: 4096, 64KiB, 1GiB */
    CONFIG_DURATION_MS, /* uint32_t or uint64_t: 500ms, 10s, 5m, 1h */
    CONFIG_DURATION_S,  /* the same, in seconds */
};

struct config_list {
    const struct str *items;
    size_t count;
};

struct config_option {
    const char *path; /* "limits.head_max" */
    enum config_type type;
    size_t offset, size; /* of the field in the caller's struct: CONFIG_FIELD() */
    const char *initial; /* as a user would write it; lists: items separated by commas */
    const char *help;    /* one sentence for help and documentation */
    const char *choices; /* CONFIG_CHOICE: "sync|async", in the enum's order */
    uint64_t min, max;   /* numbers, in the field's unit; max 0 = what the field can hold */
    bool secret;
};
#define CONFIG_FIELD(type, field) offsetof(type, field), sizeof(((type *)NULL)->field)

struct config;
/* `prefix` is "SLUICE_". Fills `into` with the defaults; a default that is wrong is a bug. All arguments outlive the
 * config. */
struct config *config_new(const struct config_option *options, size_t count, const char *prefix, void *into);
void config_free(struct config *);

/* Reads the file named by --config or PREFIX_CONFIG when there is one, then `env` (like environ), then argv[0..argc):
 * flags only. BLOCKING. */
MUST_USE enum err config_load(struct config *, int argc, char **argv, char **env);
const char *config_why(const struct config *);
/* Where the value of the field at `offset` came from: "default", "sluice.yaml:3", "SLUICE_DATA", "--data". */
const char *config_origin(const struct config *, size_t offset);
/* A variable with our prefix that looks like a misspelt option (only looks: others' variables may share the prefix), or
 * NULL. */
const char *config_suspect(const struct config *);

/* YAML that could be read again, each line with where its value came from; secrets masked. */
void config_print(const struct config *, struct buf *out);
/* Rows of a Markdown table: option, default, meaning. */
void config_markdown(const struct config *, struct buf *out);
/* Lines for a terminal: flag, meaning, default. */
void config_help(const struct config *, struct buf *out);

#endif
