/* A template: the operations of decode.h on REAL numbers. Define REAL, OF(x) and HAS_SMALL_WEIGHTS before including it. */

/* An operation at a step. */
typedef struct {
    const operation *op;
    const work *steps;
    int64_t t;
} OF(moment);

static inline REAL *OF(row)(const OF(moment) *now, units of, int64_t stream) {
    return OF(row_of)(now->steps->arrays + of.array, now->t, stream) + of.unit;
}

/* Multiply the blocks from first to before last of a matrix with the vectors of all streams. */
static void OF(multiply_matrix)(const OF(moment) *now, int64_t first, int64_t last) {
    const operation *op = now->op;
    const work *steps = now->steps;
    const REAL *x[MOST_ROWS], *start[MOST_ROWS];
    REAL *y[MOST_ROWS];
    for (int64_t begin = 0; begin < steps->count; begin += MOST_ROWS) {
        const int64_t number = steps->count - begin < MOST_ROWS ? steps->count - begin : MOST_ROWS;
        for (int64_t s = 0; s < number; s++) {
            x[s] = OF(row)(now, op->in, begin + s);
            y[s] = OF(row)(now, op->out, begin + s);
            if (op->has_start) start[s] = OF(row)(now, op->other, begin + s);
        }
#define ARGUMENTS op->weights, op->scales, op->width, op->columns, first, last, number, x, op->has_start ? start : NULL, y
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

static void OF(normalize)(const REAL *in, REAL *out, int64_t width) {
    REAL parts[PARTS] = {0};
    SUM(parts, width, in[j]);
    const REAL mean = OF(total)(parts) / (REAL)width;
    memset(parts, 0, sizeof parts);
    SUM(parts, width, (in[j] - mean) * (in[j] - mean));
    const REAL scale = 1 / OF(sqrt)(OF(total)(parts) / (REAL)width + (REAL)EPSILON);
    for (int64_t j = 0; j < width; j++) out[j] = (in[j] - mean) * scale;
}

/* In PARTS lanes, because a sequential maximum does not vectorize. With NaN, any number may be returned. */
static REAL OF(largest)(const REAL *numbers, int64_t width) {
    REAL parts[PARTS];
    for (int p = 0; p < PARTS; p++) parts[p] = numbers[p < width ? p : 0];
    int64_t first = PARTS;
    for (; first + PARTS <= width; first += PARTS)
        for (int p = 0; p < PARTS; p++) parts[p] = numbers[first + p] > parts[p] ? numbers[first + p] : parts[p];
    for (int64_t j = first; j < width; j++) parts[j - first] = numbers[j] > parts[j - first] ? numbers[j] : parts[j - first];
    for (int p = 1; p < PARTS; p++) parts[0] = parts[p] > parts[0] ? parts[p] : parts[0];
    return parts[0];
}

static void OF(log_softmax)(const REAL *in, REAL *out, int64_t width) {
    const REAL largest = OF(largest)(in, width);
    REAL parts[PARTS] = {0};
    for (int64_t j = 0; j < width; j++) out[j] = in[j] - largest;
    SUM(parts, width, OF(exp)(out[j]));
    const REAL log_total = OF(log)(OF(total)(parts));
    for (int64_t j = 0; j < width; j++) out[j] -= log_total;
}

/* op->width is H, op->columns the places of the ring, op->kind the heads. `scores` has memory for the places. */
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

#define BLOCK 128 /* places of a history that are compared at a time, in vectors */

/* The end of the last occurrence of the last `length` symbols of a history that ends at `limit` or before; -1 if there is
 * none. */
static int64_t OF(latest_end)(const REAL *history, int64_t places, int64_t length, int64_t limit) {
    const REAL *last = history + places - length, *ends = history + length - 1;
    const REAL first = last[0], final = last[length - 1];
    if (first == 0) return -1; /* before the text */
    for (int64_t end = limit - length + 2, begin; end > 0; end = begin) {
        begin = end > BLOCK ? end - BLOCK : 0;
        int32_t any = 0;
        for (int64_t p = begin; p < end; p++) any |= (history[p] == first) & (ends[p] == final);
        for (int64_t p = end - 1; any && p >= begin; p--)
            if (history[p] == first && ends[p] == final && !memcmp(history + p, last, (size_t)length * sizeof(REAL)))
                return p + length - 1;
    }
    return -1;
}

#undef BLOCK

/* op->columns is the places of the history, op->kind the number of lengths, which rise, op->length the vectors of a table.
 * A longer match is not later than a shorter one, so the search goes on from there. */
static void OF(match)(const operation *op, REAL *history, int64_t symbol, const REAL *in, REAL *out) {
    const int64_t *lengths = op->scales;
    const REAL *table = op->weights;
    memmove(history, history + 1, (size_t)(op->columns - 1) * sizeof(REAL));
    history[op->columns - 1] = (REAL)(symbol + 1);
    memcpy(out, in, (size_t)op->width * sizeof(REAL));
    for (int64_t k = 0, end = op->columns - 2; k < op->kind; k++, table += op->length * op->width) {
        end = OF(latest_end)(history, op->columns, lengths[k], end);
        const REAL *vector = table + (end < 0 ? 0 : (int64_t)history[end + 1]) * op->width;
        for (int64_t j = 0; j < op->width; j++) out[j] += vector[j];
    }
}

/* All operations but PRODUCT and ELEMENTWISE, for one stream. */
static void OF(do_row)(const OF(moment) *now, int64_t stream) {
    const operation *op = now->op;
    const work *steps = now->steps;
    const REAL *in = OF(row)(now, op->in, stream);
    REAL *out = OF(row)(now, op->out, stream);
    const int64_t width = op->width;
#define EACH for (int64_t j = 0; j < width; j++)
    switch (op->operator) {
    case ONE_HOT:
        EACH out[j] = j == steps->symbols[now->t * steps->count + stream];
        break;
    case NORMALIZE:
        OF(normalize)(in, out, width);
        break;
    case GELU:
        EACH out[j] = (REAL)0.5 * in[j] * (1 + OF(erf)(in[j] * (REAL)0.70710678118654752440));
        break;
    case ATTEND:
        OF(attend)(op, OF(row)(now, op->extra, stream), steps->places[steps->rows[stream]], in,
                   OF(row)(now, op->other, stream), out, out + op->kind * width);
        break;
    case TURN: {
        int64_t *place = &steps->places[steps->rows[stream]];
        *place = (*place + 1) % op->columns;
        break;
    }
    case MATCH:
        OF(match)(op, OF(row)(now, op->extra, stream), steps->symbols[now->t * steps->count + stream], in, out);
        break;
    case LOG_SOFTMAX:
        OF(log_softmax)(in, out, width);
        break;
    default:
        break;
    }
#undef EACH
}

/* The thread's registers. */
static OF(registers) *OF(own_registers)(void) {
    static _Thread_local OF(registers) own;
    if (!own.views[0].at) OF(clear_registers)(&own);
    return &own;
}

static void OF(do_elementwise)(const OF(moment) *now, int64_t first, int64_t last) {
    const operation *op = now->op;
    OF(run_elementwise)(op->instructions, op->length, now->steps->arrays, op->width, now->t, first, last, NULL,
                        OF(own_registers)());
}

/* A part of an operation: some blocks of a matrix, or a stream. */
static void OF(do_part)(const void *argument, int64_t part) {
    const OF(moment) *now = argument;
    if (now->op->operator == PRODUCT) {
        const int64_t blocks = blocks_of(now->op), last = (part + 1) * BLOCKS_OF_A_PART;
        OF(multiply_matrix)(now, part * BLOCKS_OF_A_PART, last < blocks ? last : blocks);
    } else if (now->op->operator == ELEMENTWISE) {
        OF(do_elementwise)(now, part, part + 1);
    } else {
        OF(do_row)(now, part);
    }
}

static void OF(do_operation)(team *self, const OF(moment) *now) {
    const operation *op = now->op;
    const work *steps = now->steps;
    if (self && is_worth_sharing(op, steps))
        team_share(self, OF(do_part), now, parts_of(op, steps));
    else if (op->operator == PRODUCT)
        OF(multiply_matrix)(now, 0, blocks_of(op));
    else if (op->operator == ELEMENTWISE)
        OF(do_elementwise)(now, 0, steps->count);
    else
        for (int64_t stream = 0; stream < steps->count; stream++) OF(do_row)(now, stream);
}

void OF(decode)(team *workers, const work *steps) {
    team *self = team_take(workers);
    find_rows(steps);
    for (int64_t t = 0; t < steps->time; t++) {
        for (int64_t index = 0; index < steps->length; index++) {
            const OF(moment) now = {steps->operations + index, steps, t};
            OF(do_operation)(self, &now);
        }
    }
    team_leave(self);
}
