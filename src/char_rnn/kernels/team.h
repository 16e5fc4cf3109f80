/* Threads that work through one list of operations together, waiting for each other between any two. */
#ifndef CHAR_RNN_TEAM_H
#define CHAR_RNN_TEAM_H

typedef struct team team;
typedef void (*task)(void *argument, team *self, int member);

/* Start a team of `size` members, the caller among them; NULL when there is no memory or there are no threads. */
team *team_start(int size);

/* End its threads and free it. */
void team_end(team *self);

int team_size(const team *self);

/* Have every member run a task, and wait for all. One call at a time; others wait for their turn. */
void team_run(team *self, task run, void *argument);

/* Inside a task: wait until every member has come here. */
void team_wait(team *self);

#endif
