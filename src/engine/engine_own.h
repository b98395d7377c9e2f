/* What the engine's files share; nobody else includes it. engine.c has the struct. */
#pragma once
#include "engine/engine.h"

const struct engine_options *engine_options_of(const struct engine *engine);

/* retry.c: retries under way stand in a list of the engine's. */
struct list *engine_retries(struct engine *engine);
void retry_forget(struct engine *engine);        /* the engine goes: nobody is answered any more */
