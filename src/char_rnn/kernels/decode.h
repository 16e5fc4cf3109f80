/* A step of a network for some streams, as a list of operations on rows of numbers.
 *
 * A row is a stream's place in a buffer. In a buffer of the work the rows are those of the streams that step, in turn; in
 * the streams' states they are those of the streams' own numbers.
 */
#ifndef CHAR_RNN_DECODE_H
#define CHAR_RNN_DECODE_H

#include <stdint.h>

#include "team.h"

typedef struct {
    void *base;
    int64_t stride;   /* numbers from row to row */
    int64_t is_state; /* whether the rows are streams' own numbers */
} buffer;

enum operator {
    LOOK_UP,     /* out = table[symbol], or without a table the symbol's one-hot vector */
    PRODUCT,     /* out = (out +) matrix in (+ bias) */
    NORMALIZE,   /* out = (out +) normalized(in) gain (+ bias) */
    SIGMOID,     /* out = sigmoid(in) */
    TANH,        /* out = tanh(in) */
    GELU,        /* out = gelu(in) */
    ADD,         /* out = in + other */
    MULTIPLY,    /* out = in other */
    GATE,        /* out = 2 sigmoid(in) other */
    UPDATE,      /* out = out + number (in - out) */
    LSTM_CELL,   /* out = sigmoid(f) other + sigmoid(i) tanh(g), in: i, f, g, o */
    LSTM_OUTPUT, /* out = sigmoid(o) tanh(other) */
    GRU_OUTPUT,  /* n = tanh(a + q), or tanh(a + r q) where `accumulates`; out = n + z (h - n), in: r, z, a; other: q, extra: h */
    ATTEND,      /* put in into the ring; out = means of the ring, a head each, asked for by other */
    TURN,        /* go on by one place in the rings */
    LOG_SOFTMAX, /* out = log_softmax(in) */
};

typedef struct {
    int64_t operator;
    int64_t width;      /* numbers in a row of the result */
    int64_t columns;    /* of a matrix; places of a ring */
    int64_t kind;       /* of a matrix's weights: 0 as the numbers, 1 bfloat16, 2 int8; heads of ATTEND */
    int64_t accumulates;
    buffer out, in, other, extra;
    const void *weights, *scales, *bias; /* table; gain as scales */
    int64_t *places;    /* of the rings, by stream */
    double number;
} operation;

/* What a call works on: the streams' numbers, and for each of `time` steps a symbol of each stream. */
typedef struct {
    const operation *operations;
    int64_t length, count, time;
    const int64_t *symbols, *rows;
} work;

/* What build.py says of the sources that the library is made of. */
const char *kernels_sources(void);

void decode_float(team *workers, const work *steps);
void decode_double(team *workers, const work *steps);

#endif
