/*
 * Calls that are outstanding when the program ends. The program is told to end by the plugin itself,
 * when the call is under way: end(how, when, signal).
 *
 * how:  park   HalonMTA_hsl_suspend_return
 *       block  HalonMTA_hsl_suspend
 * when: early  a thread writes the value and schedules, begun in Halon_early_cleanup and not waited for
 *       late   the same, begun and waited for in Halon_cleanup
 *       never
 * after(): is scheduled at once, and its context is used again and again, by a thread that goes on until
 * the end of Halon_cleanup.
 */
#define _GNU_SOURCE
#include <HalonMTA.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result

struct call {
    HalonHSLContext *context;
    HalonHSLArguments *arguments;
    HalonHSLValue *result;
    HalonHSLValue *list; /* the return slot is an array, and this in it is still to be set */
    char when[8];
    struct call *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct call *calls;
static pthread_t user;
static atomic_bool is_used, is_over;

static void say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        abort();
}

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static void end(PARAMETERS)
{
    char *how = "", *when = "", *text = NULL;
    double number = 0;
    HalonHSLValue *key;
    struct call *call = calloc(1, sizeof *call);
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 0), HALONMTA_HSL_TYPE_STRING, &how, NULL);
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 1), HALONMTA_HSL_TYPE_STRING, &when, NULL);
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 2), HALONMTA_HSL_TYPE_NUMBER, &number, NULL);
    call->context = context;
    call->arguments = arguments;
    call->result = result;
    strcpy(call->when, when);
    HalonMTA_hsl_value_array_add(result, &key, &call->list);
    pthread_mutex_lock(&lock);
    call->next = calls;
    calls = call;
    pthread_mutex_unlock(&lock);
    say("called\n");
    if (number != 0)
        kill(getpid(), (int)number);
    if (strcmp(how, "park") == 0) {
        HalonMTA_hsl_suspend_return(context);
    } else {
        HalonMTA_hsl_suspend(context);
        /* The arguments are still there. */
        if (HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 0), HALONMTA_HSL_TYPE_STRING, &text, NULL)
            && strcmp(text, "block") == 0)
            say("unblocked\n");
    }
}

static void *wake(void *data)
{
    struct call *call = data;
    char *when = NULL;
    HalonHSLValue *key, *value;
    /* Everything that belongs to the call is read and written, and then given back, more than once. */
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(call->arguments, 1), HALONMTA_HSL_TYPE_STRING, &when, NULL);
    if (when == NULL || strcmp(when, call->when) != 0)
        abort();
    HalonMTA_hsl_value_set(call->list, HALONMTA_HSL_TYPE_STRING, when, 0);
    HalonMTA_hsl_value_array_add(call->result, &key, &value);
    HalonMTA_hsl_value_set(HalonMTA_hsl_throw(call->context), HALONMTA_HSL_TYPE_EXCEPTION, "nobody catches it", 0);
    say("given back\n");
    HalonMTA_hsl_schedule(call->context);
    HalonMTA_hsl_schedule(call->context);
    free(call);
    return NULL;
}

static void each(const char *when, bool is_joined)
{
    pthread_mutex_lock(&lock);
    struct call *call = calls;
    calls = NULL;
    while (call != NULL) {
        struct call *next = call->next;
        pthread_t thread;
        if (strcmp(call->when, when) == 0) {
            pthread_create(&thread, NULL, wake, call);
            if (is_joined)
                pthread_join(thread, NULL);
            else
                pthread_detach(thread);
        } else {
            call->next = calls;
            calls = call;
        }
        call = next;
    }
    pthread_mutex_unlock(&lock);
}

static void *use(void *context)
{
    while (!atomic_load(&is_over)) {
        if (HalonMTA_hsl_throw(context) != NULL)
            say("found\n");
        HalonMTA_hsl_schedule(context);
        atomic_store(&is_used, true);
    }
    return NULL;
}

static void after(PARAMETERS)
{
    (void)arguments;
    bool is_here = true;
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_BOOLEAN, &is_here, 0);
    HalonMTA_hsl_suspend_return(context);
    HalonMTA_hsl_schedule(context);
}

/* Begins to use a context whose call is over. */
static void *begin(void *context)
{
    while (HalonMTA_hsl_throw(context) != NULL)
        usleep(100);
    return use(context);
}

static void after_in_thread(PARAMETERS)
{
    pthread_create(&user, NULL, begin, context);
    after(context, arguments, result);
}

HALON_EXPORT void Halon_early_cleanup(void)
{
    say("early_cleanup\n");
    each("early", false);
}

HALON_EXPORT void Halon_cleanup(void)
{
    each("late", true);
    if (user != 0) {
        while (!atomic_load(&is_used))
            usleep(100);
        atomic_store(&is_over, true);
        pthread_join(user, NULL);
    }
    say("cleanup\n");
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "end", end)
        && HalonMTA_hsl_register_function(context, "after", after_in_thread);
}
