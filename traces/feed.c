/*
 * feed.c - two batches change hands under a lock: one is being filled, the other one emptied. The
 * thread takes no signals, so that handlers run where they did.
 */
#include "traces/feed.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct feed_state {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct trace_writer *writer;
    struct trace_op batches[2][FEED_BATCH];
    const struct trace_op *full; /* NULL: the thread has nothing to do */
    size_t count;
    bool ends, failed;
    struct error error;
};

static void *feed_main(void *arg)
{
    struct feed_state *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->full && !s->ends)
            pthread_cond_wait(&s->changed, &s->lock);
        if (!s->full)
            break;
        bool failed = s->failed;
        pthread_mutex_unlock(&s->lock);
        failed = failed || trace_put_all(s->writer, s->full, s->count, &s->error);
        pthread_mutex_lock(&s->lock);
        s->failed = failed;
        s->full = NULL;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int thread_start(struct feed_state *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&s->thread, NULL, feed_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

void trace_feed_open(struct trace_feed *f, struct trace_writer *w, const struct sites *sites,
                     bool apart)
{
    *f = (struct trace_feed){
        .writer = w, .sites = sites, .ops = &f->alone, .room = 1, .until_apart = FEED_ALONE};
    if (!apart)
        f->until_apart = UINT64_MAX;
}

/* From the next op on the writer works apart, if there is memory and a thread for it. */
static void apart_start(struct trace_feed *f)
{
    struct feed_state *s = calloc(1, sizeof *s);
    if (!s)
        return;
    s->writer = f->writer;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (thread_start(s)) {
        free(s);
        return;
    }
    f->state = s;
    f->ops = s->batches[0];
    f->room = FEED_BATCH;
}

/* While the writer is idle. */
static int sites_follow(struct trace_feed *f, struct error *err)
{
    return f->sites ? sites_copy(trace_writer_sites(f->writer), f->sites, err) : 0;
}

int trace_feed_flush(struct trace_feed *f, struct error *err)
{
    struct feed_state *s = f->state;
    if (!s) {
        f->count = 0;
        int failed = sites_follow(f, err) || trace_put(f->writer, f->ops, err) ? -1 : 0;
        if (--f->until_apart == 0)
            apart_start(f);
        return failed;
    }
    pthread_mutex_lock(&s->lock);
    while (s->full)
        pthread_cond_wait(&s->changed, &s->lock);
    bool failed = s->failed;
    if (failed)
        *err = s->error;
    else
        failed = sites_follow(f, err) != 0;
    s->full = f->count ? f->ops : NULL;
    s->count = f->count;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    f->ops = f->ops == s->batches[0] ? s->batches[1] : s->batches[0];
    f->count = 0;
    return failed ? -1 : 0;
}

int trace_feed_close(struct trace_feed *f, struct error *err)
{
    struct feed_state *s = f->state;
    if (!s)
        return sites_follow(f, err);
    trace_feed_flush(f, err);
    int failed = trace_feed_flush(f, err); /* of the last batch, too */
    pthread_mutex_lock(&s->lock);
    s->ends = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    f->state = NULL;
    return failed;
}
