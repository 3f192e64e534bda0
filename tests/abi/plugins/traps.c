/* Exercises the corners of the header. Each function answers a script's question. */
#define _GNU_SOURCE
#include <HalonMTA.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENT(n) HalonMTA_hsl_argument_get(arguments, n)
#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result
#define UNUSED (void)context, (void)arguments, (void)result

/* The same name with another type is in clash.c. */
int parsed_cfg = 1;

static HalonConfig *startup, *running;
static char init_log[256];
static atomic_int freed;

static void set_text(HalonHSLValue *value, const char *text)
{
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, text, 0);
}

static void set_number(HalonHSLValue *value, double number)
{
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_NUMBER, &number, 0);
}

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

HALON_EXPORT bool Halon_early_init(HalonInitContext *context)
{
    (void)context;
    strcat(init_log, "early_init ");
    return HalonMTA_queue_list_add(HALONMTA_QUEUE_LOCALIP, "warm") &&
           HalonMTA_queue_list_item_add(HALONMTA_QUEUE_LOCALIP, "warm", "192.0.2.1") &&
           HalonMTA_queue_list_reload(0, NULL);
}

static pthread_mutex_t policy_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *from_another_thread(void *unused)
{
    (void)unused;
    /* Held around the call, and taken in the callback of the queue. */
    pthread_mutex_lock(&policy_mutex);
    const char *properties[] = {"a", "b"};
    char *id = HalonMTA_queue_policy_add6("given", HALONMTA_QUEUE_LOCALIP,
        HALONMTA_POLICY_TYPE_WARMUP, NULL, "192.0.2.1", NULL, NULL, NULL, NULL, NULL, NULL, 5, 100,
        3600, HALONMTA_RATE_ALGORITHM_TOKENBUCKET, 0.5, "tag", properties, 2, true, false, 60);
    pthread_mutex_unlock(&policy_mutex);
    return id;
}

HALON_EXPORT bool Halon_init(HalonInitContext *context)
{
    startup = running = (HalonConfig *)&init_log; /* must be written over */
    HalonConfig *none = startup;
    strcat(init_log, "init ");
    HalonMTA_init_getinfo(context, HALONMTA_INIT_CONFIG, NULL, 0, &startup, NULL);
    HalonMTA_init_getinfo(context, HALONMTA_INIT_APPCONFIG, NULL, 0, &running, NULL);
    if (HalonMTA_init_getinfo(context, 99, NULL, 0, &none, NULL) || none != NULL)
        return false;
    pthread_t thread;
    void *id;
    pthread_create(&thread, NULL, from_another_thread, NULL);
    pthread_join(thread, &id);
    bool ok = id != NULL && strcmp(id, "given") == 0;
    free(id);
    return ok;
}

HALON_EXPORT void Halon_ready(HalonReadyContext *context)
{
    strcat(init_log, context != NULL ? "ready " : "no-context ");
}

HALON_EXPORT void Halon_config_reload(HalonConfig *config) { running = config; }

HALON_EXPORT void Halon_early_cleanup(void) { puts("early_cleanup"); }

HALON_EXPORT void Halon_cleanup(void) { puts("cleanup"); fflush(stdout); }

HALON_EXPORT bool Halon_command_execute(HalonCommandExecuteContext *context, size_t argc,
    const char *argv[], size_t argvl[], char **out, size_t *outlen)
{
    (void)context;
    if (argc == 0)
        return true; /* no output at all */
    if (strcmp(argv[0], "fail") == 0) {
        *out = strdup("no such thing");
        return false;
    }
    /* Exactly so many octets, without a terminator. */
    *outlen = argvl[0];
    *out = malloc(argvl[0]);
    memcpy(*out, argv[0], argvl[0]);
    return argv[argc] == NULL;
}

static void init_calls(PARAMETERS) { UNUSED; set_text(result, init_log); }

static void nulls(PARAMETERS)
{
    UNUSED;
    char *out = (char *)1;
    size_t len;
    bool ok = !HalonMTA_hsl_value_get(NULL, HALONMTA_HSL_TYPE_STRING, &out, &len) && out == (char *)1
        && HalonMTA_hsl_value_type(NULL) == HALONMTA_HSL_TYPE_NONE
        && HalonMTA_hsl_value_array_find(NULL, "x") == NULL
        && HalonMTA_hsl_value_array_get(NULL, 0, NULL) == NULL
        && HalonMTA_hsl_value_array_length(NULL) == 0
        && !HalonMTA_hsl_value_array_add(NULL, NULL, NULL)
        && HalonMTA_config_object_get(NULL, "x") == NULL && HalonMTA_config_array_get(NULL, 0) == NULL
        && HalonMTA_config_string_get(NULL, NULL) == NULL && HalonMTA_config_object_key_get(NULL, 0) == NULL
        && HalonMTA_hsl_argument_get(NULL, 0) == NULL && HalonMTA_hsl_argument_length(NULL) == 0
        && HalonMTA_hsl_throw(NULL) == NULL && HalonMTA_hsl_object_ptr_get(context) == NULL
        && HalonMTA_inject_new(NULL) == NULL && HalonMTA_inject_new("nowhere") == NULL
        && !HalonMTA_queue_suspend_delete(NULL);
    HalonMTA_hsl_schedule(NULL);
    HalonMTA_hsl_suspend(NULL);
    HalonMTA_hsl_object_delete(NULL);
    HalonMTA_deliver_done(NULL);
    HalonMTA_inject_abort(NULL);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_BOOLEAN, &ok, 0);
}

static void configuration(PARAMETERS)
{
    UNUSED;
    size_t len = 9;
    HalonConfig *list = HalonMTA_config_object_get(startup, "list");
    HalonConfig *object = HalonMTA_config_array_get(list, 1);
    char text[512];
    char *json = NULL;
    HalonMTA_config_to_json(startup, &json, NULL);
    const char *of_object = HalonMTA_config_string_get(object, &len);
    snprintf(text, sizeof text, "%s|%s|%s|%zu|%s|%s|%s",
        HalonMTA_config_string_get(HalonMTA_config_object_get(startup, "mode"), NULL),
        HalonMTA_config_string_get(HalonMTA_config_object_get(startup, "flag"), NULL),
        of_object, len,
        HalonMTA_config_string_get(HalonMTA_config_object_key_get(startup, 1), NULL), json,
        HalonMTA_config_string_get(HalonMTA_config_object_get(running, "level"), NULL));
    free(json);
    set_text(result, text);
}

static void strings(PARAMETERS)
{
    UNUSED;
    HalonHSLValue *key, *value;
    for (int i = 0; i < 4; ++i)
        HalonMTA_hsl_value_array_add(result, &key, &value);
    /* Keys and values are set after further pairs were added. */
    for (int i = 3; i >= 0; --i) {
        value = HalonMTA_hsl_value_array_get(result, i, &key);
        set_number(key, i);
        switch (i) {
        case 0: HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, NULL, 0); break;
        case 1: HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, "", 0); break;
        case 2: HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, "a\0b", 3); break;
        case 3: HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, "abcdef", 3); break;
        }
    }
}

static void describe(PARAMETERS)
{
    UNUSED;
    char text[64];
    HalonHSLValue *list = HalonMTA_hsl_value_array_find(ARGUMENT(0), "list");
    snprintf(text, sizeof text, "%zu %d %zu %d", HalonMTA_hsl_argument_length(arguments),
        HalonMTA_hsl_value_type(ARGUMENT(0)), HalonMTA_hsl_value_array_length(list),
        HalonMTA_hsl_argument_list(arguments, 0) == ARGUMENT(0));
    set_text(result, text);
}

static void json_round(PARAMETERS)
{
    UNUSED;
    char *json = NULL, *error = NULL;
    size_t len = 0;
    if (!HalonMTA_hsl_value_to_json(ARGUMENT(0), &json, &len) || strlen(json) != len
        || !HalonMTA_hsl_value_from_json(result, json, &error, NULL) || error != NULL)
        set_text(result, "broken");
    free(json);
}

static void json_error(PARAMETERS)
{
    UNUSED;
    char *error = NULL;
    if (!HalonMTA_hsl_value_from_json2(result, "[1,", &error, NULL, HALONMTA_JSON_DECODE_UNICODE_BYTE))
        set_text(result, error);
    free(error);
}

static void throws(PARAMETERS)
{
    UNUSED;
    set_text(result, "ignored");
    HalonMTA_hsl_value_set(HalonMTA_hsl_throw(context), HALONMTA_HSL_TYPE_EXCEPTION, "on purpose", 0);
}

struct later { HalonHSLContext *context; HalonHSLValue *result; HalonHSLValue *argument; int throws; };

static void *work(void *data)
{
    struct later later = *(struct later *)data;
    free(data);
    char *text;
    if (later.throws)
        HalonMTA_hsl_value_set(HalonMTA_hsl_throw(later.context), HALONMTA_HSL_TYPE_EXCEPTION, "later", 0);
    else if (HalonMTA_hsl_value_get(later.argument, HALONMTA_HSL_TYPE_STRING, &text, NULL))
        set_text(later.result, text);
    HalonMTA_hsl_schedule(later.context);
    HalonMTA_hsl_schedule(later.context); /* one too many: nothing happens */
    return NULL;
}

static pthread_t start(PARAMETERS, int is_throwing)
{
    struct later *later = malloc(sizeof *later);
    *later = (struct later){context, result, ARGUMENT(0), is_throwing};
    pthread_t thread;
    pthread_create(&thread, NULL, work, later);
    return thread;
}

/* The other thread schedules before this one says that it suspends. */
static void scheduled_first(PARAMETERS)
{
    pthread_join(start(context, arguments, result, 0), NULL);
    HalonMTA_hsl_suspend_return(context);
}

static void scheduled_later(PARAMETERS)
{
    HalonMTA_hsl_suspend_return(context);
    pthread_detach(start(context, arguments, result, 0));
}

static void throws_later(PARAMETERS)
{
    HalonMTA_hsl_suspend_return(context);
    pthread_detach(start(context, arguments, result, 1));
}

static void file_size(PARAMETERS)
{
    UNUSED;
    FILE *file;
    char text[8] = "";
    if (HalonMTA_hsl_value_type(ARGUMENT(0)) != HALONMTA_HSL_TYPE_FILE
        || !HalonMTA_hsl_value_get(ARGUMENT(0), HALONMTA_HSL_TYPE_FILE, &file, NULL))
        return;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, 0, SEEK_SET);
    if (fread(text, 1, 3, file) == 3 && strcmp(text, "abc") == 0)
        set_number(result, (double)size);
}

/* A certificate comes and goes as it is; a key is shown to be one. */
static void certificate(PARAMETERS)
{
    UNUSED;
    void *x509, *key;
    if (HalonMTA_hsl_value_get(ARGUMENT(0), HALONMTA_HSL_TYPE_X509, &x509, NULL)
        && HalonMTA_hsl_value_get(ARGUMENT(1), HALONMTA_HSL_TYPE_PRIVATEKEY, &key, NULL)
        && HalonMTA_hsl_value_type(ARGUMENT(1)) == HALONMTA_HSL_TYPE_PRIVATEKEY) {
        int X509_up_ref(void *);
        X509_up_ref(x509);
        HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_X509, x509, 0);
    }
}

static void release(void *data) { (void)data; ++freed; }
static void name(PARAMETERS) { UNUSED; set_text(result, HalonMTA_hsl_object_ptr_get(context)); }
static void make(PARAMETERS);

/* Returns another object, which outlives its parent. */
static void child(PARAMETERS) { make(context, arguments, result); }

static void make(PARAMETERS)
{
    UNUSED;
    static char pointer[] = "thing";
    HalonHSLObject *object = HalonMTA_hsl_object_new();
    HalonMTA_hsl_object_type_set(object, "Thing");
    HalonMTA_hsl_object_register_function(object, "name", name);
    HalonMTA_hsl_object_register_function(object, "child", child);
    HalonMTA_hsl_object_register_function(object, "exported_answer", NULL);
    HalonMTA_hsl_object_ptr_set(object, pointer, release);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_OBJECT, object, 0);
    HalonMTA_hsl_object_delete(object);
}

static void freed_objects(PARAMETERS) { UNUSED; set_number(result, freed); }
static void global_name(PARAMETERS) { UNUSED; set_number(result, parsed_cfg); }

/* Registered without a pointer. */
HALON_EXPORT void exported_answer(PARAMETERS) { UNUSED; set_number(result, 42); }

HALON_EXPORT void Halon_deliver(HalonDeliverContext *context)
{
    FILE *file = NULL;
    const HalonHSLValue *options = (HalonHSLValue *)1;
    HalonHSLValue *returned = NULL;
    bool has = HalonMTA_deliver_getinfo(context, HALONMTA_INFO_ARGUMENTS, NULL, 0, &options, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_FILE, NULL, 0, &file, NULL);
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &returned, NULL);
    char line[64] = "";
    if (fgets(line, sizeof line, file) == NULL)
        strcpy(line, "empty");
    if (!has && options != NULL)
        strcpy(line, "arguments not written");
    HalonMTA_deliver_trace(context, 0, "trying", 0);
    struct { short code; short canary; } result = {250, 99};
    long wide = 451;
    char *mode = NULL;
    HalonMTA_hsl_value_get(HalonMTA_hsl_value_array_find(options, "mode"), HALONMTA_HSL_TYPE_STRING, &mode, NULL);
    if (mode != NULL && strcmp(mode, "wide") == 0)
        HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &wide, 0);
    else if (mode == NULL || strcmp(mode, "nothing") != 0)
        HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &result.code, 0);
    HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_REASON, line, 0);
    set_text(returned, "returned");
    HalonMTA_deliver_done(context); /* inside the call */
    HalonMTA_deliver_done(context); /* one too many */
}

HALON_EXPORT bool Halon_queue_pickup_acquire2(HalonQueueContext *context)
{
    HalonQueueMessage *message;
    HalonHSLValue *returned;
    const char *transaction, *jobid;
    size_t queueid, len, empty = 1;
    pthread_mutex_lock(&policy_mutex);
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &returned, NULL);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_TRANSACTIONID, NULL, 0, &transaction, &len);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_JOBID, NULL, 0, &jobid, &empty);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_QUEUEID, NULL, 0, &queueid, NULL);
    char text[64];
    snprintf(text, sizeof text, "%s %zu %zu %s%zu", transaction, len, queueid, jobid, empty);
    set_text(returned, text);
    pthread_mutex_unlock(&policy_mutex);
    return false;
}

HALON_EXPORT bool Halon_queue_insert_callback(HalonQueueContext *context)
{
    char **ips = NULL;
    size_t count = 0;
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_LOCALIPS, NULL, 0, &ips, &count);
    if (count < 2) {
        HalonHSLValue *returned, *key, *value;
        HalonMTA_queue_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &returned, NULL);
        HalonMTA_hsl_value_array_add(returned, &key, &value);
        set_text(key, "error");
        set_text(value, "NO_IPS");
        HalonMTA_queue_setinfo(context, HALONMTA_INFO_LOCALIPS, NULL, 0);
        return false;
    }
    const char *left[] = {ips[1]};
    return HalonMTA_queue_setinfo(context, HALONMTA_INFO_LOCALIPS, left, 1);
}

struct injection { HalonHSLContext *context; HalonHSLValue *result; };

static void injected(HalonInjectResultContext *context, void *user)
{
    struct injection *injection = user;
    struct { short code; short canary; } code = {0, 77};
    const char *reason = NULL;
    char text[128];
    HalonMTA_inject_result_getinfo(context, HALONMTA_RESULT_CODE, NULL, 0, &code.code, NULL);
    HalonMTA_inject_result_getinfo(context, HALONMTA_RESULT_REASON, NULL, 0, &reason, NULL);
    snprintf(text, sizeof text, "%d %d %s", code.code, code.canary, reason);
    set_text(injection->result, text);
    HalonMTA_hsl_schedule(injection->context);
    free(injection);
}

static void inject(PARAMETERS)
{
    char *server = NULL;
    HalonMTA_hsl_value_get(ARGUMENT(0), HALONMTA_HSL_TYPE_STRING, &server, NULL);
    HalonInjectContext *message = HalonMTA_inject_new(server);
    HalonHSLValue *metadata;
    struct injection *injection = malloc(sizeof *injection);
    *injection = (struct injection){context, result};
    HalonMTA_inject_callback_set(message, injected, injection);
    HalonMTA_inject_sender_set(message, "a", "example.org");
    HalonMTA_inject_recipient_add(message, "b", NULL, NULL);
    HalonMTA_inject_getinfo(message, HALONMTA_MESSAGE_METADATA, NULL, 0, &metadata, NULL);
    set_text(metadata, "data");
    HalonMTA_inject_message_append(message, "Subject: x\r\n", 12);
    HalonMTA_inject_message_append(message, "", 0);
    if (HalonMTA_inject_commit(message)) {
        HalonMTA_hsl_suspend_return(context);
    } else {
        free(injection);
        HalonMTA_inject_abort(message);
        HalonMTA_inject_abort(message);
        set_text(result, "refused");
    }
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    static const struct { const char *name; HalonHSLFunction *function; } table[] = {
        {"init_calls", init_calls}, {"nulls", nulls}, {"configuration", configuration},
        {"strings", strings}, {"describe", describe}, {"json_round", json_round},
        {"json_error", json_error}, {"throws", throws}, {"scheduled_first", scheduled_first},
        {"scheduled_later", scheduled_later}, {"throws_later", throws_later},
        {"file_size", file_size}, {"certificate", certificate}, {"Thing", make},
        {"freed_objects", freed_objects}, {"traps_global", global_name}, {"inject", inject},
        {"exported_answer", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; ++i)
        HalonMTA_hsl_register_function(context, table[i].name, table[i].function);
    HalonMTA_hsl_module_register_function(context, "Thing", make);
    return HalonMTA_hsl_module_register_static_function(context, "Thing", "answer", exported_answer)
        && !HalonMTA_hsl_register_function(context, "not a name", make)
        && !HalonMTA_hsl_register_function(context, "not_exported", NULL);
}
