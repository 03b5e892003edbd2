/*
 * session_args.h - what the subcommands that measure share of their command lines, on its way into a
 * session.
 */
#ifndef ALLOCLAB_SESSION_ARGS_H
#define ALLOCLAB_SESSION_ARGS_H

#include "harness/session.h"

/* Reads all options of a subcommand: `take` gets each one's index in `names` (see args.h) and its
 * text, and the subcommand's own arguments. */
typedef int option_take_fn(struct session *s, void *arguments, int option, char *text,
                           struct error *err);
int session_options(struct session *s, void *arguments, const char *const names[],
                    option_take_fn *take, int argc, char **argv, struct error *err);

/* --base: `asked` must be a contender; NULL = `usual` if that takes part, else "", the first that is
 * ranked. NULL with a message: it is not there. */
const char *session_base(const struct session *s, const char *asked, const char *usual,
                         struct error *err);

/* The contenders of "SPEC,SPEC", rivals among them; text NULL = every registered design. With
 * `floor`, null is added if it is missing. Settles s->via, and who runs on which library. */
int session_contenders(struct session *s, const char *text, bool floor, struct error *err);
int session_targets(struct session *s, const char *text, struct error *err);

/* Whole numbers and sizes (suffixes k, m, g) of command line options; 0 or -1 with the option's
 * name. */
int number_parse(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value,
                 struct error *err);
int choice_parse(const char *option, const char *text, const char *const names[], int *value,
                 struct error *err);

/* --via: how designs are called; `auto` is not for users, but what is there without it. */
int via_parse(struct session *s, const char *text, struct error *err);

/* --copies "1,2,4", in any order; kept rising, since the first is what the others are compared with.
 */
int copies_parse(struct session *s, char *text, struct error *err);

/* What the session's doors are told ("" = nothing: the defaults); what contradicts itself, or
 * names a memory node that this machine lacks, is an error. Says on stderr what has no effect here.
 */
int session_door(struct session *s, const char *text, struct error *err);

/* --counters: which the counters pass counts; tries them here, and says in one line on stderr which
 * have no figure, and why. */
int session_counters(struct session *s, const char *text, struct error *err);

/* Sensible limits: two minutes, and half of the memory that is available now. */
struct cell_limits limits_default(void);
struct pass_config config_default(void);

/* A seed from the clock and the process, for runs that name none; printed by whoever uses it. */
uint64_t seed_default(void);

#endif
