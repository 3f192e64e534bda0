/*
 * Deliveries and injections, with the mistakes that plugins make: contexts are used after their end,
 * ended twice, never ended, and ended when nobody waits any more.
 */
#define _GNU_SOURCE
#include <HalonMTA.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENT(n) HalonMTA_hsl_argument_get(arguments, n)
#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result
#define UNUSED (void)context, (void)arguments, (void)result

/* More than a record is used in these tests. */
enum { OVER = 4096 };

struct kept {
    HalonDeliverContext *context;
    HalonHSLValue *returned;
    HalonQueueMessage *message;
    FILE *file;
    struct kept *next;
};

static pthread_mutex_t lock;
static struct kept *kept;
static HalonDeliverContext *_Atomic over[OVER];
static HalonInjectContext *_Atomic injected[OVER];
static atomic_uint over_count, injected_count, misuses, taken, given_back, freed, freed_under_lock, called;

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

/* Counts a misuse, and those that were not refused. */
static void refused(bool is_taken)
{
    atomic_fetch_add(&misuses, 1);
    if (is_taken)
        atomic_fetch_add(&taken, 1);
}

static void misuse_delivery(HalonDeliverContext *context)
{
    short code = 599;
    void *out = &code;
    refused(HalonMTA_deliver_getinfo(context, HALONMTA_INFO_FILE, NULL, 0, &out, NULL) || out != NULL);
    refused(HalonMTA_deliver_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &out, NULL) || out != NULL);
    refused(HalonMTA_deliver_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &out, NULL) || out != NULL);
    refused(HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &code, 0));
    refused(HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_REASON, "misused", 0));
    refused(HalonMTA_deliver_setinfo(context, HALONMTA_ERROR_REASON, "misused", 0));
    refused(HalonMTA_deliver_trace(context, 0, "misused", 0));
    HalonMTA_deliver_done(context);
}

static void misuse_injection(HalonInjectContext *context)
{
    void *out = &context;
    refused(HalonMTA_inject_callback_set(context, NULL, NULL));
    refused(HalonMTA_inject_sender_set(context, "misused", NULL));
    refused(HalonMTA_inject_recipient_add(context, "misused", NULL, NULL));
    refused(HalonMTA_inject_message_append(context, "misused", 7));
    refused(HalonMTA_inject_getinfo(context, HALONMTA_MESSAGE_METADATA, NULL, 0, &out, NULL) || out != NULL);
    refused(HalonMTA_inject_commit(context));
    HalonMTA_inject_abort(context);
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

static void make(HalonHSLValue *value)
{
    HalonHSLObject *object = HalonMTA_hsl_object_new();
    HalonMTA_hsl_object_type_set(object, "Answer");
    HalonMTA_hsl_object_ptr_set(object, malloc(1), release);
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_OBJECT, object, 0);
    HalonMTA_hsl_object_delete(object);
}

static void finish(HalonDeliverContext *context, HalonHSLValue *returned, const char *text)
{
    short code = 250;
    HalonMTA_hsl_value_set(returned, HALONMTA_HSL_TYPE_STRING, text, 0);
    HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &code, 0);
    HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_REASON, text, 0);
    HalonMTA_deliver_done(context);
    misuse_delivery(context);
    over[atomic_fetch_add(&over_count, 1) % OVER] = context;
}

struct job { HalonDeliverContext *context; HalonHSLValue *returned; char text[64]; };

static void *work(void *data)
{
    struct job job = *(struct job *)data;
    free(data);
    finish(job.context, job.returned, job.text);
    return NULL;
}

HALON_EXPORT void Halon_deliver(HalonDeliverContext *context)
{
    const HalonHSLValue *options = NULL;
    HalonHSLValue *returned = NULL;
    FILE *file = NULL;
    HalonQueueMessage *message = NULL;
    char *mode = "", line[64] = "";
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_ARGUMENTS, NULL, 0, &options, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &returned, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_FILE, NULL, 0, &file, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    HalonMTA_hsl_value_get(HalonMTA_hsl_value_array_find(options, "mode"), HALONMTA_HSL_TYPE_STRING, &mode, NULL);
    if (strcmp(mode, "keep") == 0) {
        struct kept *new = malloc(sizeof *new);
        pthread_mutex_lock(&lock);
        *new = (struct kept){context, returned, message, file, kept};
        kept = new;
        pthread_mutex_unlock(&lock);
        return;
    }
    if (strcmp(mode, "never") == 0)
        return;
    if (fgets(line, sizeof line, file) == NULL)
        strcpy(line, "empty");
    if (strcmp(mode, "inside") == 0) {
        finish(context, returned, line);
        return;
    }
    struct job *job = malloc(sizeof *job);
    job->context = context;
    job->returned = returned;
    strcpy(job->text, line);
    pthread_t thread;
    pthread_create(&thread, NULL, work, job);
    pthread_detach(thread);
}

/* Uses every context that is over, while others are under way. */
static void misuse(PARAMETERS)
{
    UNUSED;
    unsigned i;
    for (i = 0; i < OVER; ++i) {
        if (over[i] != NULL)
            misuse_delivery(over[i]);
        if (injected[i] != NULL)
            misuse_injection(injected[i]);
    }
    /* Contexts of one kind are none of another, and addresses are none at all. */
    misuse_delivery((HalonDeliverContext *)context);
    misuse_injection((HalonInjectContext *)context);
    misuse_delivery((HalonDeliverContext *)&lock);
    misuse_injection((HalonInjectContext *)&lock);
    for (i = 0; i < OVER && over[i] != NULL; ++i) {
        misuse_injection((HalonInjectContext *)over[i]);
        refused(HalonMTA_hsl_throw((HalonHSLContext *)over[i]) != NULL);
        HalonMTA_hsl_schedule((HalonHSLContext *)over[i]);
    }
    double answer = atomic_load(&taken);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &answer, 0);
}

struct waiting { HalonHSLContext *context; HalonHSLValue *result; HalonInjectContext *message; };

static void told(HalonInjectResultContext *context, void *user)
{
    struct waiting *waiting = user;
    const char *reason = NULL;
    HalonMTA_inject_result_getinfo(context, HALONMTA_RESULT_REASON, NULL, 0, &reason, NULL);
    HalonMTA_hsl_value_set(waiting->result, HALONMTA_HSL_TYPE_STRING, reason, 0);
    atomic_fetch_add(&called, 1);
    /* The commit is under way or over: either way the message is not the plugin's any more. */
    refused(HalonMTA_inject_message_append(waiting->message, "late", 4));
    refused(HalonMTA_inject_sender_set(waiting->message, "late", NULL));
    refused(HalonMTA_inject_commit(waiting->message));
    HalonMTA_hsl_schedule(waiting->context);
    free(waiting);
}

/* inject(server, how): commits, or aborts, and uses the context all the same. */
static void inject(PARAMETERS)
{
    char *server = NULL, *how = "";
    HalonMTA_hsl_value_get(ARGUMENT(0), HALONMTA_HSL_TYPE_STRING, &server, NULL);
    HalonMTA_hsl_value_get(ARGUMENT(1), HALONMTA_HSL_TYPE_STRING, &how, NULL);
    HalonInjectContext *message = HalonMTA_inject_new(server);
    HalonHSLValue *metadata = NULL;
    struct waiting *waiting = malloc(sizeof *waiting);
    *waiting = (struct waiting){context, result, message};
    HalonMTA_inject_callback_set(message, told, waiting);
    HalonMTA_inject_recipient_add(message, "b", NULL, NULL);
    HalonMTA_inject_getinfo(message, HALONMTA_MESSAGE_METADATA, NULL, 0, &metadata, NULL);
    HalonMTA_hsl_value_set(metadata, HALONMTA_HSL_TYPE_STRING, "data", 0);
    HalonMTA_inject_message_append(message, "12345", 5);
    bool is_taken = false;
    if (strcmp(how, "abort") != 0) {
        is_taken = HalonMTA_inject_commit(message);
        /* Refused ones may be handed in again, and changed before. */
        if (!is_taken && (!HalonMTA_inject_message_append(message, "6", 1) || HalonMTA_inject_commit(message)))
            atomic_fetch_add(&taken, 1);
    }
    if (!is_taken) {
        free(waiting);
        HalonMTA_inject_abort(message);
        HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_STRING, "not sent", 0);
    }
    misuse_injection(message);
    injected[atomic_fetch_add(&injected_count, 1) % OVER] = message;
    if (is_taken)
        HalonMTA_hsl_suspend_return(context);
}

HALON_EXPORT bool Halon_init(HalonInitContext *context)
{
    (void)context;
    pthread_mutexattr_t checked;
    pthread_mutexattr_init(&checked);
    pthread_mutexattr_settype(&checked, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&lock, &checked);
    return true;
}

static void *end(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    while (kept != NULL) {
        struct kept *one = kept;
        const char *transaction = "";
        short code = 250;
        char octets[16] = "";
        kept = one->next;
        /* All of it is still there, although nobody waits. */
        HalonMTA_message_getinfo(one->message, HALONMTA_MESSAGE_TRANSACTIONID, NULL, 0, &transaction, NULL);
        if (fread(octets, 1, 4, one->file) != 4 || strcmp(octets, "text") != 0 || strcmp(transaction, "t-1") != 0)
            atomic_fetch_add(&taken, 1);
        make(one->returned);
        if (!HalonMTA_deliver_setinfo(one->context, HALONMTA_RESULT_CODE, &code, 0))
            atomic_fetch_add(&taken, 1);
        HalonMTA_deliver_done(one->context);
        misuse_delivery(one->context);
        free(one);
        atomic_fetch_add(&given_back, 1);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Ends what was kept on a thread of its own, with the lock held. */
HALON_EXPORT void Halon_early_cleanup(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, end, NULL);
    pthread_join(thread, NULL);
}

HALON_EXPORT void Halon_cleanup(void)
{
    printf("misuses %u\ntaken %u\ncalled %u\ngiven back %u\nfreed %u\nfreed under lock %u\n", atomic_load(&misuses),
        atomic_load(&taken), atomic_load(&called), atomic_load(&given_back), atomic_load(&freed), atomic_load(&freed_under_lock));
    fflush(stdout);
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "misuse", misuse)
        && HalonMTA_hsl_register_function(context, "inject", inject);
}
