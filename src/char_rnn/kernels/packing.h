/* The packing and rounding of matrices for training. */
#ifndef CHAR_RNN_PACKING_H
#define CHAR_RNN_PACKING_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define CAN_COMPILE_PAIRS 1
#else
#define CAN_COMPILE_PAIRS 0
#endif

/* Whether bfloat16 weights are packed in pairs and their inputs rounded in pairs. */
int packing_uses_pairs(void);

static inline int64_t rounded_up(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

/* Round to the nearest bfloat16, ties to even; NaN stays NaN. */
static inline uint32_t bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fc0;
}

static inline float from_bfloat16(uint32_t x) {
    const uint32_t bits = x << 16;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

#endif
