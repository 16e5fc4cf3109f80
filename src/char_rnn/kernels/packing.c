#include "packing.h"

#include "train.h"
#include "vectors.h"

#define COLUMNS_AT_A_TIME 64

/* vdpbf16ps multiplies pairs of bfloat16. On Zen 4 and 5 it is twice as fast as the float32 product, on Intel's cores half
 * as fast: 89 and 177 GFLOPS on an Emerald Rapids. */
#if CAN_COMPILE_PAIRS
static int can_use_pairs(void) { return __builtin_cpu_supports("avx512bf16") != 0; }
static int are_pairs_fast(void) { return can_use_pairs() && __builtin_cpu_is("amd") != 0; }
#else
static int can_use_pairs(void) { return 0; }
static int are_pairs_fast(void) { return 0; }
#endif

static int uses_pairs;

static __attribute__((constructor)) void choose(void) { uses_pairs = are_pairs_fast(); }


int train_bfloat16_is_fast(void) { return are_pairs_fast(); }

int train_use_pairs(int wanted) { return uses_pairs = wanted && can_use_pairs(); }

int packing_uses_pairs(void) { return uses_pairs; }

int64_t train_packed_size(int64_t width, int64_t columns, int64_t is_bfloat16) {
    return rounded_up(width, ROWS) * rounded_up(columns, 2) * (is_bfloat16 ? 2 : 4);
}

/* Copy ROWS outputs of W for some inputs, input by input, with zeros after the `width` outputs. */
static void pack_columns(
    const float *restrict matrix, int64_t of_output, int64_t of_input, int64_t width, int64_t columns, float *restrict out) {
    if (width < ROWS) memset(out, 0, (size_t)(columns * ROWS) * sizeof(float));
    if (of_output == 1 && width == ROWS) {
        for (int64_t column = 0; column < columns; column++)
            for (int64_t r = 0; r < ROWS; r++) out[column * ROWS + r] = matrix[column * of_input + r];
    } else {
        for (int64_t r = 0; r < width; r++)
            for (int64_t column = 0; column < columns; column++)
                out[column * ROWS + r] = matrix[r * of_output + column * of_input];
    }
}

/* Round the packed inputs, or pairs of them; a single last one is paired with zero. */
static void round_columns(const float *restrict from, int64_t columns, void *restrict out) {
    if (!uses_pairs) {
        for (int64_t j = 0; j < columns * ROWS; j++) ((uint16_t *)out)[j] = (uint16_t)bfloat16(from[j]);
        return;
    }
    for (int64_t column = 0; column < columns; column += 2) {
        const float *even = from + column * ROWS, *odd = even + ROWS;
        uint32_t *pairs = (uint32_t *)out + column / 2 * ROWS;
        for (int64_t r = 0; r < ROWS; r++) pairs[r] = bfloat16(even[r]);
        for (int64_t r = 0; column + 1 < columns && r < ROWS; r++) pairs[r] |= bfloat16(odd[r]) << 16;
    }
}

void train_pack(
    const float *matrix, int64_t stride, int64_t width, int64_t columns, int64_t transposed, int64_t is_bfloat16, void *packed) {
    const int64_t of_output = transposed ? 1 : stride, of_input = transposed ? stride : 1;
    const int64_t padded = is_bfloat16 && uses_pairs ? rounded_up(columns, 2) : columns;
    for (int64_t first = 0; first < width; first += ROWS) {
        const int64_t rows = width - first < ROWS ? width - first : ROWS;
        for (int64_t column = 0; column < columns; column += COLUMNS_AT_A_TIME) {
            const int64_t count = columns - column < COLUMNS_AT_A_TIME ? columns - column : COLUMNS_AT_A_TIME;
            const float *from = matrix + first * of_output + column * of_input;
            const int64_t place = first * padded + column * ROWS;
            float some[COLUMNS_AT_A_TIME * ROWS];
            pack_columns(from, of_output, of_input, rows, count, is_bfloat16 ? some : (float *)packed + place);
            if (is_bfloat16) round_columns(some, count, (uint16_t *)packed + place);
        }
    }
}
