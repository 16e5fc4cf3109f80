#include "decode.h"

#include <stddef.h>

#include "numbers.h"

/* The machine's vectors, how many of their registers hold sums, and vectors of numbers from smaller ones in memory. */
#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#define ACCUMULATORS 24
#define FROM_BFLOAT16(w) _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(w))), 16)
#define FROM_INT8(w) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(w))))
#elif defined(__AVX2__)
#include <immintrin.h>
#define VECTOR_BYTES 32
#define ACCUMULATORS 12
#define FROM_BFLOAT16(w) _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(w))), 16)
#define FROM_INT8(w) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(w))))
#else
#define VECTOR_BYTES 16
#define ACCUMULATORS 24
typedef int32_t whole_numbers __attribute__((vector_size(16)));
typedef float single_numbers __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(8), aligned(2), may_alias));
typedef int8_t quarters __attribute__((vector_size(4), aligned(1), may_alias));
#define FROM_BFLOAT16(w) (__builtin_convertvector(*(const halves *)(w), whole_numbers) << 16)
#define FROM_INT8(w) __builtin_convertvector(__builtin_convertvector(*(const quarters *)(w), whole_numbers), single_numbers)
#endif

#define MOST_ROWS 64 /* streams whose rows are found at a time */

const char *kernels_sources(void) { return KERNELS_SOURCES; }

#define BLOCKS_OF_A_PART 4

static int64_t blocks_of(const operation *op) { return (op->width + ROWS - 1) / ROWS; }

/* How many parts an operation has: groups of blocks of a matrix, or streams. */
static int64_t parts_of(const operation *op, const work *steps) {
    return op->operator == PRODUCT ? (blocks_of(op) + BLOCKS_OF_A_PART - 1) / BLOCKS_OF_A_PART : steps->count;
}

/* Whether it takes longer than to hand its parts out, about a microsecond. */
static int is_worth_sharing(const operation *op, const work *steps) {
    const int64_t numbers = op->width * steps->count;
    return op->operator == PRODUCT ? numbers * op->columns >= 1 << 16 : numbers >= 1 << 13;
}

#define REAL float
#define WEIGHT float
#define NAME(x) x##_float_float
#define LOAD(w) (*(const VECTOR *)(w))
#include "product.h"
#undef WEIGHT
#undef NAME
#undef LOAD

#define WEIGHT uint16_t
#define NAME(x) x##_float_bfloat16
#define LOAD(w) ((VECTOR)FROM_BFLOAT16(w))
#include "product.h"
#undef WEIGHT
#undef NAME
#undef LOAD

#define WEIGHT int8_t
#define NAME(x) x##_float_int8
#define LOAD(w) ((VECTOR)FROM_INT8(w))
#include "product.h"
#undef WEIGHT
#undef NAME
#undef LOAD
#undef REAL

#define REAL double
#define WEIGHT double
#define NAME(x) x##_double_double
#define LOAD(w) (*(const VECTOR *)(w))
#include "product.h"
#undef WEIGHT
#undef NAME
#undef LOAD
#undef REAL

#define REAL float
#define OF(x) x##_float
#define HAS_SMALL_WEIGHTS 1
#include "operations.h"
#undef REAL
#undef OF
#undef HAS_SMALL_WEIGHTS

#define REAL double
#define OF(x) x##_double
#define HAS_SMALL_WEIGHTS 0
#include "operations.h"
