/* A queue plugin in C: holds messages back until a time. A message says when by its job id,
 * "at:<seconds since 1970>", which a script makes of a header or of metadata. */
#include <HalonMTA.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PREFIX "at:"

HALON_EXPORT
int Halon_version(void)
{
    return HALONMTA_PLUGIN_VERSION;
}

/* deliver_at(number) -> string: the job id of messages that are to go at that time. */
static void deliver_at(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    double at;
    char jobid[64];
    HalonHSLValue *argument = HalonMTA_hsl_argument_get(arguments, 0);
    if (!HalonMTA_hsl_value_get(argument, HALONMTA_HSL_TYPE_NUMBER, &at, NULL) || !(at >= 0) ||
        at > 1e11) {
        HalonMTA_hsl_value_set(HalonMTA_hsl_throw(context), HALONMTA_HSL_TYPE_EXCEPTION,
                               "deliver_at() expects seconds since 1970", 0);
        return;
    }
    snprintf(jobid, sizeof jobid, PREFIX "%.0f", ceil(at));
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_STRING, jobid, 0);
}

HALON_EXPORT
bool Halon_hsl_register(HalonHSLRegisterContext *registration)
{
    return HalonMTA_hsl_module_register_function(registration, "deliver_at", deliver_at);
}

/* The pickup asks once. What is not due yet is given back, and a suspend that ends by itself at the
 * right time keeps every message of that time out of the pickup until then: nobody asks again
 * meanwhile, and nothing runs. After a restart the first message sets it up again. */
HALON_EXPORT
bool Halon_queue_pickup_acquire2(HalonQueueContext *context)
{
    HalonQueueMessage *message = NULL;
    HalonHSLValue *result = NULL;
    const char *jobid = NULL;
    char *end;
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    if (!HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_JOBID, NULL, 0, &jobid, NULL) ||
        strncmp(jobid, PREFIX, strlen(PREFIX)) != 0)
        return true;
    double at = strtod(jobid + strlen(PREFIX), &end);
    double wait = at - (double)time(NULL);
    if (*end != '\0' || !(wait > 0))
        return true;
    char *id = HalonMTA_queue_suspend_add(NULL, NULL, NULL, NULL, NULL, jobid, "deliver-at", wait);
    free(id);
    /* The pre-delivery script, which runs again, may want to know. */
    HalonMTA_queue_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &result, NULL);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &at, 0);
    return false;
}
