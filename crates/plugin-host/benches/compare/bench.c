/* What scripts/bench-plugins measures. */
#include <HalonMTA.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static double number(HalonHSLArguments *arguments, size_t index)
{
    double value = 0;
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, index), HALONMTA_HSL_TYPE_NUMBER,
                           &value, NULL);
    return value;
}

/* As the abs() of scripts. */
static void plugin_abs(PARAMETERS)
{
    (void)context;
    double value = fabs(number(arguments, 0));
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &value, 0);
}

/* Neither argument nor value: the call alone. */
static void plugin_nothing(PARAMETERS) { (void)context, (void)arguments, (void)result; }

/* The thread that wakes: it turns without sleep while a script measures, so that what is measured is
 * the way into the host and not how long the system takes to wake this thread. */
static _Atomic(HalonHSLContext *) waiting;
static _Atomic double pause_seconds, woken;
static atomic_bool turning, ending;
static pthread_t waker;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *wake(void *unused)
{
    (void)unused;
    while (!atomic_load(&ending)) {
        HalonHSLContext *context = atomic_exchange(&waiting, NULL);
        if (context == NULL)
            continue;
        double pause = atomic_load(&pause_seconds);
        if (pause > 0) {
            double begin = now();
            while (now() - begin < pause)
                ;
            atomic_store(&woken, now());
        }
        HalonMTA_hsl_schedule(context);
    }
    return NULL;
}

static void wake_start(PARAMETERS)
{
    (void)context, (void)arguments, (void)result;
    if (!atomic_exchange(&turning, true))
        pthread_create(&waker, NULL, wake, NULL);
}

static void wake_me(PARAMETERS)
{
    (void)arguments, (void)result;
    HalonMTA_hsl_suspend_return(context);
    atomic_store(&waiting, context);
}

/* As wake_me, after a pause that is long enough for the thread of the script to sleep. */
static void wake_me_after(PARAMETERS)
{
    atomic_store(&pause_seconds, number(arguments, 0));
    wake_me(context, arguments, result);
}

/* The seconds since the last of these was scheduled. */
static void since_woken(PARAMETERS)
{
    (void)context, (void)arguments;
    double seconds = now() - atomic_load(&woken);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &seconds, 0);
}

/* Holds calls until there are as many as the argument says, then ends all after the argument after it
 * in seconds. */
static struct held { HalonHSLContext *context; struct held *next; } *held;
static size_t held_count;
static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *release(void *seconds)
{
    struct timespec time = {0, 0};
    time.tv_nsec = (long)(*(double *)seconds * 1e9);
    free(seconds);
    nanosleep(&time, NULL);
    pthread_mutex_lock(&held_mutex);
    struct held *all = held;
    held = NULL;
    held_count = 0;
    pthread_mutex_unlock(&held_mutex);
    while (all != NULL) {
        struct held *next = all->next;
        HalonMTA_hsl_schedule(all->context);
        free(all);
        all = next;
    }
    return NULL;
}

static void hold(PARAMETERS)
{
    (void)result;
    size_t wanted = (size_t)number(arguments, 0);
    struct held *one = malloc(sizeof *one);
    HalonMTA_hsl_suspend_return(context);
    pthread_mutex_lock(&held_mutex);
    *one = (struct held){context, held};
    held = one;
    bool last = ++held_count == wanted;
    pthread_mutex_unlock(&held_mutex);
    if (last) {
        double *seconds = malloc(sizeof *seconds);
        *seconds = number(arguments, 1);
        pthread_t thread;
        pthread_create(&thread, NULL, release, seconds);
        pthread_detach(thread);
    }
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "plugin_abs", plugin_abs) &&
           HalonMTA_hsl_register_function(context, "plugin_nothing", plugin_nothing) &&
           HalonMTA_hsl_register_function(context, "wake_start", wake_start) &&
           HalonMTA_hsl_register_function(context, "wake_me", wake_me) &&
           HalonMTA_hsl_register_function(context, "wake_me_after", wake_me_after) &&
           HalonMTA_hsl_register_function(context, "since_woken", since_woken) &&
           HalonMTA_hsl_register_function(context, "hold", hold);
}

HALON_EXPORT void Halon_cleanup(void)
{
    atomic_store(&ending, true);
    if (atomic_load(&turning))
        pthread_join(waker, NULL);
}
