/* The next symbol of a text, drawn from a network's predictions: what generation/sampler.py does, for the commonest settings.
 *
 * All decisions are made in double precision, in the order of the sums there. What differs is exp, by a rounding.
 */
#ifndef CHAR_RNN_DRAW_H
#define CHAR_RNN_DRAW_H

#include <stdint.h>

#include "decode.h"

typedef struct {
    double (*next_double)(void *); /* of NumPy's bit generator, whose lock the caller holds */
    void *random;                  /* its state */
    const uint8_t *banned;         /* of each symbol, 0 or 1 */
    int64_t top_k;                 /* the width or more: all */
    double top_p, min_p;           /* 1 or more: all; 0: all */
    double *weights;               /* room for a row, as the next two */
    int64_t *order, *left;
} drawing;

/* Read the first of `symbols`, in the one stream of `steps`, and draw the others, at most so many as there are
 * temperatures; return how many were drawn: fewer at predictions that nothing can be drawn from. The last operation of
 * `steps` makes the log-probabilities. */
int64_t write_text(
    team *workers, const work *steps, const drawing *how, const double *temperatures, int64_t *symbols, int64_t count,
    int64_t is_double);

#endif
