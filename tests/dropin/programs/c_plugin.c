/*
 * c_plugin.c - a library that allocates while it is being loaded and unloaded.
 */
#include "tests/dropin/programs/check.h"

static char *text;
static _Thread_local char *mine;

__attribute__((constructor)) static void load(void)
{
    text = strdup("loaded");
    CHECK(text);
}

__attribute__((destructor)) static void unload(void)
{
    free(text);
}

char *plugin_text(void);
char *plugin_text(void)
{
    mine = realloc(mine, 1000);
    snprintf(mine, 1000, "%s", text);
    return strdup(mine);
}
