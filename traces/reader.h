/*
 * reader.h - what the parts of the reader share; private to traces/. reader_block.c takes one block
 * apart and believes nothing, reader_open.c follows the blocks of a file and its index,
 * reader_sites.c reads the table of sites, reader.c decodes ops.
 */
#ifndef ALLOCLAB_READER_H
#define ALLOCLAB_READER_H

#include <pthread.h>
#include <zstd.h>

#include "traces/layout.h"
#include "traces/meta.h"
#include "traces/reader_decode.h"

struct block {
    uint64_t offset, body_bytes, records;
    uint32_t type, columns;
};

struct column_entry { /* of a block's directory */
    const uint8_t *data;
    uint64_t offset;
    uint32_t stored, raw;
    uint16_t tag, codec;
};

enum { AHEAD_BLOCKS = 3 }; /* one is read, and the others are decoded meanwhile */

struct ahead { /* decodes on a thread of its own; lock: all that follows but the thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t filled, taken; /* blocks; the first of those between is being read */
    bool runs, stop;
};

struct trace_reader {
    const struct decoded *now; /* being read; NULL: none yet */
    uint32_t record, run_end;  /* of it: the next one, and where its thread's run ends */
    uint32_t run;              /* the next one */
    uint32_t thread;
    bool extras; /* its records may have more than an object and a size */
    bool failed; /* damage was found: there is no going on */
    struct block_decoder decoder;
    struct decoded decoded[AHEAD_BLOCKS];
    struct ahead ahead;

    const uint8_t *map;
    uint64_t bytes, trimmed; /* trimmed: the mapping before it has been given back */
    char *name;
    unsigned flags;
    bool torn, has_clock, has_sites;
    unsigned meta_blocks;
    struct trace_totals totals;
    struct meta meta;
    struct block *blocks; /* of ops */
    size_t count, room;
    uint64_t offset;           /* of the block being read */
    struct block *site_blocks; /* as many as the table of sites has; read when it is asked for */
    size_t site_count, site_room;
    struct sites *sites; /* NULL: not read yet */
    uint64_t index_offset, unknown_bytes;
    struct column table; /* index rows, unless torn */
    ZSTD_DCtx *zstd;     /* of all but ops */
};

/* "NAME: offset N: ..." in the error; returns -1. */
__attribute__((format(printf, 4, 5), cold)) int reader_refuse(const struct trace_reader *r,
                                                              uint64_t offset, struct error *err,
                                                              const char *format, ...);

/* Gives back what is mapped before `offset`, some MiB at a time: a file's pages count as resident in
   whoever looks at them, and a trace may be larger than memory. They come again when needed. */
void reader_trim(struct trace_reader *r, uint64_t offset);

/* Whether the kernel, asked for a page from disk, is to read that page alone, or those around it (which
 * may be 8 MiB of them). */
void reader_advise(const struct trace_reader *r, bool here_and_there);

/* Reads the header of the block at `offset`, which must end at or before `limit`. */
int block_header(const struct trace_reader *r, uint64_t offset, uint64_t limit, struct block *block,
                 struct error *err);
int block_checksum(const struct trace_reader *r, const struct block *block, struct error *err);

/* Reads the directory into entries[block->columns]. */
int block_directory(const struct trace_reader *r, const struct block *block,
                    struct column_entry *entries, struct error *err);

/* Loads one column, by tag, of a block that is not of ops. 0 with c->present false if it is not
 * there. */
int column_find(struct trace_reader *r, const struct block *block, unsigned tag, uint64_t limit,
                struct column *c, struct error *err);

/* Decompresses a column of at most `limit` bytes. */
int column_load(const struct trace_reader *r, ZSTD_DCtx *zstd, const struct column_entry *e,
                uint64_t limit, struct column *c, struct error *err);

/* Ends the thread that decodes ahead. What it has decoded is lost. */
void ahead_end(struct trace_reader *r);

#endif
