/* What an LSTM with layer normalization inside the cell, with zoneout, or with both does beside its matrix products.
 *
 * The letters are those of char_rnn/ops/lstm_options.py: T steps, B sequences, H units. Arrays are (T, B, ...) and whole.
 */
#ifndef CHAR_RNN_LSTM_H
#define CHAR_RNN_LSTM_H

#include <stdint.h>

typedef struct {
    int64_t batch, width; /* B and H */
    const float *gain_hh; /* (4H), NULL without normalization, as the next two, `product` and the moments */
    const float *gain_c, *bias_c;
    const float *arguments; /* (T, B, 4H), a; NULL without normalization: `gates` holds a + U h then */
    const float *product;   /* (T, B, 4H), U h */
    float *mean, *rstd;     /* (T, B), of U h */
    float *mean_c, *rstd_c; /* (T, B), of c~ */
    float *h, *c;           /* (T + 1, B, H), before each step and after the last */
    float *gates;           /* (T, B, 4H), i, f, s, o */
    float *new_c;           /* (T, B, H), c~; c from the second step on without zoneout */
    float *squashed;        /* (T, B, H), tanh(N(c~)) */
    const float *k_h, *k_c; /* zoneout's updates, NULL without it */
    int64_t k_h_step, k_h_row, k_h_unit; /* numbers from step to step of them, from sequence to sequence, */
    int64_t k_c_step, k_c_row, k_c_unit; /* and from unit to unit, 1 or 0; 0: one for all */

    /* On the way back alone. */
    const float *from_loss;                          /* gradients of h, (T, B, H) with these strides */
    int64_t from_loss_step, from_loss_row;
    float *grad_h, *grad_c;                          /* (B, H): d h' and d c' become (1 - k_h) d h' and d c */
    float *grad_arguments, *grad_product;            /* (T, B, 4H); one array without normalization */
    float *grad_gain_hh, *grad_gain_c, *grad_bias_c; /* sums over steps and sequences are added to these */
    float *scratch;                                  /* (3H) */
} lstm_pass;

/* Go on from U h of a step. */
void lstm_step(const lstm_pass *pass, int64_t step);

/* Go back through it; what is left to do is d h += U^T d (U h). */
void lstm_step_back(const lstm_pass *pass, int64_t step);

#endif
