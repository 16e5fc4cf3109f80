/* What followed the latest matches of the last symbols of a text; the reference is in ops/matching.py. */
#ifndef CHAR_RNN_MATCHES_H
#define CHAR_RNN_MATCHES_H

#include "shares.h"

/* For each of the last `steps` places of each row of a text (rows, width), and for each of `count` lengths n: find the latest
 * earlier occurrence of the n symbols that end there, which begins at most width - steps - n + 1 places earlier, and put the
 * symbol that followed it, or 0, into found (count, rows, steps). Symbols are above 0; a row may begin with zeros. Return 0,
 * or 1 if there is not enough memory. */
int matches_find(
    const int32_t *text, int64_t rows, int64_t width, int64_t steps, const int64_t *lengths, int64_t count, int64_t *found,
    int64_t threads, parallel *start);

#endif
