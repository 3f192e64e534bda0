/*
 * Suspends in every order, many at once, with the mistakes that plugins make: threads schedule early,
 * late, twice, long after the end of the call, and with a lock held that their callbacks take.
 */
#define _GNU_SOURCE
#include <HalonMTA.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result

enum { WORKERS = 4, LATE = 64 };

struct job {
    HalonHSLContext *context;
    HalonHSLArguments *arguments;
    HalonHSLValue *result; /* NULL: the call fills it itself */
    HalonDeliverContext *delivery;
    bool is_thrown, is_doubled;
    atomic_bool *is_done; /* who waits for it */
    struct job *next;
};

static pthread_mutex_t lock;
static pthread_cond_t grown = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static struct job *first, *last, *kept;
static bool is_over;
static pthread_t workers[WORKERS];
static atomic_uint freed, freed_under_lock, given_back;

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static struct job *job(PARAMETERS)
{
    struct job *new = calloc(1, sizeof *new);
    new->context = context;
    new->arguments = arguments;
    new->result = result;
    return new;
}

static void push(struct job *new)
{
    pthread_mutex_lock(&lock);
    if (first == NULL)
        first = new;
    else
        last->next = new;
    last = new;
    pthread_cond_signal(&grown);
    pthread_mutex_unlock(&lock);
}

/* Gives the second argument back, or throws it. */
static void answer(struct job *job)
{
    char *text = NULL;
    size_t len = 0;
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(job->arguments, 1), HALONMTA_HSL_TYPE_STRING, &text, &len);
    if (job->is_thrown)
        HalonMTA_hsl_value_set(HalonMTA_hsl_throw(job->context), HALONMTA_HSL_TYPE_EXCEPTION, text, len);
    else if (job->result != NULL)
        HalonMTA_hsl_value_set(job->result, HALONMTA_HSL_TYPE_STRING, text, len);
}

static void *work(void *unused)
{
    /* Contexts that were scheduled, to be scheduled once more when they are long over. */
    HalonHSLContext *over[LATE] = {NULL};
    size_t at = 0;
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (first == NULL && !is_over)
            pthread_cond_wait(&grown, &lock);
        struct job *job = first;
        if (job == NULL) {
            pthread_mutex_unlock(&lock);
            return NULL;
        }
        first = job->next;
        pthread_mutex_unlock(&lock);
        if (job->delivery != NULL) {
            short code = 250;
            HalonMTA_deliver_setinfo(job->delivery, HALONMTA_RESULT_CODE, &code, 0);
            HalonMTA_deliver_setinfo(job->delivery, HALONMTA_RESULT_REASON, "stormed", 0);
            HalonMTA_deliver_done(job->delivery);
            HalonMTA_deliver_done(job->delivery);
        } else {
            answer(job);
            HalonMTA_hsl_schedule(job->context);
            if (job->is_doubled)
                HalonMTA_hsl_schedule(job->context);
            HalonMTA_hsl_schedule(over[at % LATE]);
            over[at++ % LATE] = job->context;
        }
        if (job->is_done != NULL) {
            pthread_mutex_lock(&lock);
            atomic_store(job->is_done, true);
            pthread_cond_broadcast(&done);
            pthread_mutex_unlock(&lock);
        }
        free(job);
    }
}

static void storm(PARAMETERS)
{
    char *mode = "";
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 0), HALONMTA_HSL_TYPE_STRING, &mode, NULL);
    struct job *new = job(context, arguments, result);
    if (strcmp(mode, "early") == 0) {
        atomic_bool is_done = false;
        new->is_done = &is_done;
        push(new);
        pthread_mutex_lock(&lock);
        while (!atomic_load(&is_done))
            pthread_cond_wait(&done, &lock);
        pthread_mutex_unlock(&lock);
        HalonMTA_hsl_suspend_return(context);
    } else if (strcmp(mode, "late") == 0) {
        HalonMTA_hsl_suspend_return(context);
        push(new);
    } else if (strcmp(mode, "block") == 0) {
        new->result = NULL;
        push(new);
        HalonMTA_hsl_suspend(context);
        answer(&(struct job){.context = context, .arguments = arguments, .result = result});
    } else if (strcmp(mode, "plain") == 0) {
        /* No wait at all; the record is used again at once. */
        answer(new);
        free(new);
    } else {
        new->is_thrown = strcmp(mode, "throw") == 0;
        new->is_doubled = strcmp(mode, "double") == 0;
        push(new);
        HalonMTA_hsl_suspend_return(context);
    }
}

/* Is not woken before the end. */
static void keep(PARAMETERS)
{
    struct job *new = job(context, arguments, result);
    HalonMTA_hsl_suspend_return(context);
    pthread_mutex_lock(&lock);
    new->next = kept;
    kept = new;
    pthread_mutex_unlock(&lock);
}

static void release(void *object)
{
    int error = pthread_mutex_lock(&lock);
    if (error == EDEADLK)
        atomic_fetch_add(&freed_under_lock, 1);
    else
        pthread_mutex_unlock(&lock);
    free(object);
    atomic_fetch_add(&freed, 1);
}

static void make(PARAMETERS)
{
    (void)context, (void)arguments;
    HalonHSLObject *object = HalonMTA_hsl_object_new();
    HalonMTA_hsl_object_type_set(object, "Keeper");
    HalonMTA_hsl_object_register_function(object, "storm", storm);
    HalonMTA_hsl_object_register_function(object, "keep", keep);
    HalonMTA_hsl_object_ptr_set(object, malloc(1), release);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_OBJECT, object, 0);
    HalonMTA_hsl_object_delete(object);
}

HALON_EXPORT void Halon_deliver(HalonDeliverContext *context)
{
    struct job *new = job(NULL, NULL, NULL);
    new->delivery = context;
    push(new);
}

HALON_EXPORT bool Halon_init(HalonInitContext *context)
{
    (void)context;
    pthread_mutexattr_t checked;
    pthread_mutexattr_init(&checked);
    pthread_mutexattr_settype(&checked, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&lock, &checked);
    for (size_t i = 0; i < WORKERS; ++i)
        pthread_create(&workers[i], NULL, work, NULL);
    return true;
}

/* Wakes whoever was kept, with the lock held. */
HALON_EXPORT void Halon_early_cleanup(void)
{
    pthread_mutex_lock(&lock);
    while (kept != NULL) {
        struct job *job = kept;
        kept = job->next;
        answer(job);
        HalonMTA_hsl_schedule(job->context);
        HalonMTA_hsl_schedule(job->context);
        free(job);
        atomic_fetch_add(&given_back, 1);
    }
    is_over = true;
    pthread_cond_broadcast(&grown);
    pthread_mutex_unlock(&lock);
}

HALON_EXPORT void Halon_cleanup(void)
{
    for (size_t i = 0; i < WORKERS; ++i)
        pthread_join(workers[i], NULL);
    printf("given back %u\nfreed %u\nfreed under lock %u\n", atomic_load(&given_back), atomic_load(&freed),
        atomic_load(&freed_under_lock));
    fflush(stdout);
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "storm", storm)
        && HalonMTA_hsl_register_function(context, "keep", keep)
        && HalonMTA_hsl_register_function(context, "Keeper", make);
}
