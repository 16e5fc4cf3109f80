#define _POSIX_C_SOURCE 200809L

#include "team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A member that waits looks so many times, 50 to 200 microseconds, before it sleeps: longer than it takes to draw a
 * character between two steps, and no longer, as others may need the core. */
enum { SPINS = 4000 };

struct team {
    int size;
    pthread_t *threads;
    pthread_mutex_t turn; /* held by the caller of team_run */
    pthread_mutex_t lock; /* guards sleeping */
    pthread_cond_t wake;
    atomic_int sleeping, arrived, stop;
    atomic_uint round, phase; /* counters, which begin again at 0 one day */
    task run;
    void *argument;
};

typedef struct {
    team *team;
    int member;
} place;

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait for a number to be another than it was. */
static void wait_for_change(team *self, atomic_uint *number, unsigned from) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(number, memory_order_acquire) != from) return;
        pause_briefly();
    }
    pthread_mutex_lock(&self->lock);
    atomic_fetch_add(&self->sleeping, 1);
    while (atomic_load(number) == from) pthread_cond_wait(&self->wake, &self->lock);
    atomic_fetch_sub(&self->sleeping, 1);
    pthread_mutex_unlock(&self->lock);
}

static void change(team *self, atomic_uint *number) {
    atomic_fetch_add(number, 1);
    if (atomic_load(&self->sleeping)) {
        pthread_mutex_lock(&self->lock);
        pthread_cond_broadcast(&self->wake);
        pthread_mutex_unlock(&self->lock);
    }
}

static void *work(void *argument) {
    place own = *(place *)argument;
    free(argument);
    team *self = own.team;
    for (unsigned round = 0;; round++) {
        wait_for_change(self, &self->round, round);
        if (atomic_load(&self->stop)) return NULL;
        self->run(self->argument, self, own.member);
        team_wait(self);
    }
}

/* Start the threads of members, with every signal blocked: signals are for the threads of the program. */
static void start_threads(team *self, int size) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (self->threads && self->size < size) {
        place *own = malloc(sizeof *own);
        if (!own) break;
        *own = (place){self, self->size};
        if (pthread_create(&self->threads[self->size], NULL, work, own)) {
            free(own);
            break;
        }
        self->size++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

team *team_start(int size) {
    team *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->size = 1;
    self->threads = calloc((size_t)size, sizeof *self->threads);
    pthread_mutex_init(&self->turn, NULL);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    start_threads(self, size);
    if (self->size == size) return self;
    team_end(self);
    return NULL;
}

void team_end(team *self) {
    if (!self) return;
    atomic_store(&self->stop, 1);
    change(self, &self->round);
    for (int member = 1; member < self->size; member++) pthread_join(self->threads[member], NULL);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    pthread_mutex_destroy(&self->turn);
    free(self->threads);
    free(self);
}

int team_size(const team *self) { return self ? self->size : 1; }

void team_run(team *self, task run, void *argument) {
    if (!self) {
        run(argument, NULL, 0);
        return;
    }
    pthread_mutex_lock(&self->turn);
    self->run = run;
    self->argument = argument;
    change(self, &self->round);
    run(argument, self, 0);
    team_wait(self);
    pthread_mutex_unlock(&self->turn);
}

void team_wait(team *self) {
    if (!self || self->size == 1) return;
    const unsigned phase = atomic_load(&self->phase);
    if (atomic_fetch_add(&self->arrived, 1) == self->size - 1) {
        atomic_store(&self->arrived, 0);
        change(self, &self->phase);
        return;
    }
    wait_for_change(self, &self->phase, phase);
}
