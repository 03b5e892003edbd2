/*
 * reader.h - what the parts of the reader share; private to traces/. reader_block.c takes one block
 * apart and believes nothing, reader_open.c follows the blocks of a file and its index,
 * reader_sites.c reads the table of sites, reader.c decodes ops.
 */
#ifndef ALLOCLAB_READER_H
#define ALLOCLAB_READER_H

#include <zstd.h>

#include "traces/layout.h"
#include "traces/meta.h"

enum { STREAM_VALUES = 128 };

struct column { /* of the block being read, decompressed */
    const uint8_t *next, *end;
    const uint8_t *tail,
        *tails_end; /* tail not NULL: next are first bytes, and the others are here */
    bool present;
    uint8_t *buffer;
    size_t room;
};

struct stream {                 /* varints of a column, decoded some ahead */
    const uint64_t *next, *end; /* in values; equal: more must be decoded first */
    bool dry;                   /* nothing follows; *next is 0 and stands for no value */
    uint64_t values[STREAM_VALUES];
};

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

struct trace_reader {
    const uint8_t *code; /* of the next record */
    uint64_t run;        /* records left of the thread's run */
    uint64_t left;       /* and of the block after that run */
    uint64_t objects;    /* made before the next record */
    uint32_t run_thread;
    uint64_t reference; /* the object that was referred to last in the block */
    unsigned rare;      /* shapes that trace_next leaves to record_read; SHAPE_OP: no op at all */
    bool backs;         /* the block has distances back, no references */
    bool extras;        /* the block has a clock or a site column */
    bool failed;        /* damage was found: there is no going on */
    bool loaded;        /* a block has been loaded since the last rewind or seek */
    uint64_t scopes, threads, clock;
    struct stream streams[LAYOUT_OPS_TAGS];
    struct column columns[LAYOUT_OPS_TAGS];

    const uint8_t *map;
    uint64_t bytes, trimmed; /* trimmed: the mapping before it has been given back */
    char *name;
    unsigned flags;
    bool torn, has_clock, has_sites;
    unsigned meta_blocks;
    struct trace_totals totals;
    struct meta meta;
    struct block *blocks;      /* of ops */
    size_t count, room, at;    /* at: the next block to read */
    uint64_t offset, records;  /* of the block being read; records before its end */
    struct block *site_blocks; /* as many as the table of sites has; read when it is asked for */
    size_t site_count, site_room;
    struct sites *sites; /* NULL: not read yet */
    uint64_t index_offset;
    struct column table; /* index rows, unless torn */
    ZSTD_DCtx *zstd;
};

/* "NAME: offset N: ..." in the error; returns -1. */
__attribute__((format(printf, 4, 5), cold)) int reader_refuse(const struct trace_reader *r,
                                                              uint64_t offset, struct error *err,
                                                              const char *format, ...);

/* Gives back what is mapped before `offset`, some MiB at a time: a file's pages count as resident in
   whoever looks at them, and a trace may be larger than memory. They come again when needed. */
void reader_trim(struct trace_reader *r, uint64_t offset);

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
int column_load(const struct trace_reader *r, const struct column_entry *e, uint64_t limit,
                struct column *c, struct error *err);

#endif
