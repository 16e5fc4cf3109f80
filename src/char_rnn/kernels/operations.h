/* A template: the operations of decode.h on REAL numbers. To be included with REAL, OF(x) and HAS_SMALL_WEIGHTS. */

static inline REAL *OF(row)(const buffer *of, const work *steps, int64_t stream) {
    return (REAL *)of->base + (of->is_state ? steps->rows[stream] : stream) * of->stride;
}

/* Multiply the blocks first to last (not included) of a matrix with the vectors of all streams. */
static void OF(multiply_matrix)(const operation *op, const work *steps, int64_t first, int64_t last) {
    const REAL *x[MOST_ROWS];
    REAL *y[MOST_ROWS];
    for (int64_t begin = 0; begin < steps->count; begin += MOST_ROWS) {
        const int64_t number = steps->count - begin < MOST_ROWS ? steps->count - begin : MOST_ROWS;
        for (int64_t s = 0; s < number; s++) {
            x[s] = OF(row)(&op->in, steps, begin + s);
            y[s] = OF(row)(&op->out, steps, begin + s);
        }
#define ARGUMENTS op->weights, op->scales, op->bias, (int)op->accumulates, op->width, op->columns, first, last, number, x, y
#if HAS_SMALL_WEIGHTS
        if (op->kind == 1)
            product_float_bfloat16(ARGUMENTS);
        else if (op->kind == 2)
            product_float_int8(ARGUMENTS);
        else
            product_float_float(ARGUMENTS);
#else
        product_double_double(ARGUMENTS);
#endif
#undef ARGUMENTS
    }
}

static void OF(normalize)(const operation *op, const REAL *in, REAL *out) {
    const int64_t width = op->width;
    const REAL *gain = op->scales, *bias = op->bias;
    REAL parts[PARTS] = {0};
    SUM(parts, width, in[j]);
    const REAL mean = OF(total)(parts) / (REAL)width;
    memset(parts, 0, sizeof parts);
    SUM(parts, width, (in[j] - mean) * (in[j] - mean));
    const REAL scale = 1 / OF(sqrt)(OF(total)(parts) / (REAL)width + (REAL)EPSILON);
    for (int64_t j = 0; j < width; j++) {
        const REAL start = (op->accumulates ? out[j] : 0) + (bias ? bias[j] : 0);
        out[j] = start + (in[j] - mean) * scale * gain[j];
    }
}

static REAL OF(largest)(const REAL *numbers, int64_t width) {
    REAL largest = numbers[0];
    for (int64_t j = 1; j < width; j++) largest = numbers[j] > largest ? numbers[j] : largest;
    return largest;
}

static void OF(log_softmax)(const REAL *in, REAL *out, int64_t width) {
    const REAL largest = OF(largest)(in, width);
    REAL parts[PARTS] = {0};
    for (int64_t j = 0; j < width; j++) out[j] = in[j] - largest;
    SUM(parts, width, OF(exp)(out[j]));
    const REAL log_total = OF(log)(OF(total)(parts));
    for (int64_t j = 0; j < width; j++) out[j] -= log_total;
}

/* op->width is H, op->columns the places of the ring, op->kind the heads. `scores` has room for the places. */
static void OF(attend)(const operation *op, REAL *ring, int64_t place, const REAL *in, const REAL *asked, REAL *out, REAL *scores) {
    const int64_t width = op->width, places = op->columns;
    memcpy(ring + place * width, in, (size_t)width * sizeof(REAL));
    for (int64_t head = 0; head < op->kind; head++) {
        for (int64_t p = 0; p < places; p++) {
            REAL parts[PARTS] = {0};
            SUM(parts, width, asked[head * width + j] * ring[p * width + j]);
            scores[p] = OF(total)(parts) * (REAL)op->number;
        }
        const REAL largest = OF(largest)(scores, places);
        REAL sum = 0, *mean = out + head * width;
        memset(mean, 0, (size_t)width * sizeof(REAL));
        for (int64_t p = 0; p < places; p++) scores[p] = OF(exp)(scores[p] - largest);
        for (int64_t p = 0; p < places; p++) sum += scores[p];
        for (int64_t p = 0; p < places; p++) {
            const REAL weight = scores[p] / sum;
            for (int64_t j = 0; j < width; j++) mean[j] += weight * ring[p * width + j];
        }
    }
}

/* The operations on a whole row of one stream. */
static void OF(on_row)(const operation *op, const work *steps, int64_t stream) {
    const REAL *in = OF(row)(&op->in, steps, stream);
    REAL *out = OF(row)(&op->out, steps, stream);
    switch (op->operator) {
    case NORMALIZE:
        OF(normalize)(op, in, out);
        break;
    case LOG_SOFTMAX:
        OF(log_softmax)(in, out, op->width);
        break;
    case ATTEND:
        OF(attend)(op, OF(row)(&op->extra, steps, stream), op->places[steps->rows[stream]], in,
                   OF(row)(&op->other, steps, stream), out, out + op->kind * op->width);
        break;
    case TURN:
        op->places[steps->rows[stream]] = (op->places[steps->rows[stream]] + 1) % op->columns;
        break;
    default:
        break;
    }
}

/* The operations on the numbers of a stream's row one by one. */
static void OF(on_numbers)(const operation *op, const work *steps, const int64_t *symbols, int64_t stream) {
    const int64_t width = op->width;
    const REAL number = (REAL)op->number;
    const REAL *in = OF(row)(&op->in, steps, stream), *other = OF(row)(&op->other, steps, stream);
    const REAL *extra = OF(row)(&op->extra, steps, stream);
    REAL *out = OF(row)(&op->out, steps, stream);
#define EACH for (int64_t j = 0; j < width; j++)
    switch (op->operator) {
    case LOOK_UP: {
        const REAL *row = (const REAL *)op->weights + symbols[stream] * op->columns;
        EACH out[j] = op->weights ? row[j] : j == symbols[stream];
        break;
    }
    case SIGMOID:
        EACH out[j] = OF(sigmoid)(in[j]);
        break;
    case TANH:
        EACH out[j] = OF(tanh)(in[j]);
        break;
    case GELU:
        EACH out[j] = (REAL)0.5 * in[j] * (1 + OF(erf)(in[j] * (REAL)0.70710678118654752440));
        break;
    case ADD:
        EACH out[j] = in[j] + other[j];
        break;
    case MULTIPLY:
        EACH out[j] = in[j] * other[j];
        break;
    case GATE:
        EACH out[j] = 2 * OF(sigmoid)(in[j]) * other[j];
        break;
    case UPDATE:
        EACH out[j] += number * (in[j] - out[j]);
        break;
    case LSTM_CELL:
        EACH {
            const REAL kept = OF(sigmoid)(in[width + j]) * other[j];
            out[j] = OF(multiply_add)(OF(sigmoid)(in[j]), OF(tanh)(in[2 * width + j]), kept);
        }
        break;
    case LSTM_OUTPUT:
        EACH out[j] = OF(sigmoid)(in[3 * width + j]) * OF(tanh)(other[j]);
        break;
    case GRU_OUTPUT:
        EACH {
            const REAL q = op->accumulates ? in[j] * other[j] : other[j];
            const REAL n = OF(tanh)(in[2 * width + j] + q);
            out[j] = n + in[width + j] * (extra[j] - n);
        }
        break;
    default:
        break;
    }
#undef EACH
}

static int OF(needs_whole_row)(int64_t operator) {
    return operator == NORMALIZE || operator == LOG_SOFTMAX || operator == ATTEND || operator == TURN;
}

/* An operation at a step, and a part of it: some blocks of a matrix, or a stream. */
typedef struct {
    const operation *op;
    const work *steps;
    const int64_t *symbols;
} OF(moment);

static void OF(do_part)(const void *argument, int64_t part) {
    const OF(moment) *now = argument;
    const operation *op = now->op;
    if (op->operator == PRODUCT) {
        const int64_t blocks = blocks_of(op), last = (part + 1) * BLOCKS_OF_A_PART;
        OF(multiply_matrix)(op, now->steps, part * BLOCKS_OF_A_PART, last < blocks ? last : blocks);
    } else if (OF(needs_whole_row)(op->operator)) {
        OF(on_row)(op, now->steps, part);
    } else {
        OF(on_numbers)(op, now->steps, now->symbols, part);
    }
}

void OF(decode)(team *workers, const work *steps) {
    team *self = team_take(workers);
    for (int64_t t = 0; t < steps->time; t++) {
        for (int64_t index = 0; index < steps->length; index++) {
            const OF(moment) now = {steps->operations + index, steps, steps->symbols + t * steps->count};
            if (now.op->operator == PRODUCT && !self)
                OF(multiply_matrix)(now.op, steps, 0, blocks_of(now.op));
            else
                team_share(is_worth_sharing(now.op, steps) ? self : NULL, OF(do_part), &now, parts_of(now.op, steps));
        }
    }
    team_leave(self);
}
