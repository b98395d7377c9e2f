/* SANITIZED is defined when a sanitizer watches the program: it takes terabytes of address space, opens files and looks at its own process. A build for
 * valgrind defines it from outside (build-valgrind of the Makefile). All that such a program does otherwise than the plain one hangs on this name. */
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)) && !defined(SANITIZED)
#define SANITIZED 1
#endif
