/* The forbidden things of try.c, without a lock. */
#pragma once

int try_alone(const char *order);      /* prints what came of it, and answers the exit status */
