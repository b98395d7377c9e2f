/* What the files of the lock share. */
#pragma once
#include <stdbool.h>

/* From now on every thread of this process makes only the calls that work is made of. False: the kernel has no filters. */
bool lockdown_calls(void);
