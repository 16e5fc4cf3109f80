/* Draws the next symbol of a text from a network's predictions, as generation/sampler.py does, for the common settings.
 *
 * All decisions are made in double precision, with sums in the same order. Only exp differs, by rounding.
 */
#ifndef CHAR_RNN_DRAW_H
#define CHAR_RNN_DRAW_H

#include <stdint.h>

#include "decode.h"

typedef struct {
    double (*next_double)(void *); /* of NumPy's bit generator; the caller holds its lock */
    void *random;                  /* its state */
    const uint8_t *banned;         /* for each symbol, 0 or 1 */
    int64_t top_k;                 /* width or more: all */
    double top_p, min_p;           /* 1 or more: all; 0: all */
    double *weights;               /* memory for a row, like the next two */
    int64_t *order, *left;
} drawing;

/* Read the first of `symbols` in the single stream of `steps` and draw the others, one for each temperature. Return how many
 * were drawn: fewer if predictions are invalid. The last operation of `steps` computes the log-probabilities. */
int64_t write_text(
    team *workers, const work *steps, const drawing *how, const double *temperatures, int64_t *symbols, int64_t count,
    int64_t is_double);

#endif
