/* Every form of suspends, policies and lists, one after the other; the daemon's log shows what arrived. */
#include <HalonMTA.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result
#define UNUSED (void)context, (void)arguments

static const char *properties[] = {"key", "value"};

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static bool is(char *id, const char *wanted)
{
    bool same = id != NULL && strcmp(id, wanted) == 0;
    free(id);
    return same;
}

static void rules(PARAMETERS)
{
    UNUSED;
    bool ok = is(HalonMTA_queue_suspend_add("t", "192.0.2.1", "192.0.2.2", "mx", "d", "j", "tag", 1.5), "s1")
        && is(HalonMTA_queue_suspend_add2("t", NULL, NULL, NULL, NULL, NULL, "&g", "tag2", 0), "s1")
        && is(HalonMTA_queue_suspend_add5("s5", NULL, NULL, NULL, NULL, NULL, NULL, NULL, "tenant", "tag5",
                                          properties, 2, 3), "s5")
        && HalonMTA_queue_suspend_delete("s5")
        && is(HalonMTA_queue_policy_add(HALONMTA_QUEUE_JOBID, NULL, NULL, NULL, NULL, NULL, "j1", 1, 2, 3,
                                        "p1", 4), "p1")
        && is(HalonMTA_queue_policy_add3(HALONMTA_QUEUE_GROUPING, NULL, NULL, NULL, NULL, NULL, NULL, "&g3", 5,
                                         6, 7, "p3", properties, 2, true, 8), "p1")
        && is(HalonMTA_queue_policy_add4(HALONMTA_QUEUE_TENANTID, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "t4",
                                         9, 10, 11, "p4", properties, 2, false, 12), "p1")
        && HalonMTA_queue_policy_update("u1", 1, 2, 3, "v1", 4)
        && HalonMTA_queue_policy_update2("u2", 5, 6, 7, "v2", properties, 2, 8)
        && HalonMTA_queue_policy_update3("u3", 9, 10, 11, 12, "v3", properties, 2, true, 13)
        && HalonMTA_queue_policy_update4("u4", 14, 15, 16, HALONMTA_RATE_ALGORITHM_FIXEDWINDOW, 17, "v4",
                                         properties, 2, true, false, 18)
        && HalonMTA_queue_policy_delete("u4")
        && HalonMTA_queue_list_item_delete(HALONMTA_QUEUE_JOBID, "jobs", "j1")
        /* One field at a time. */
        && !HalonMTA_queue_list_item_delete(HALONMTA_QUEUE_JOBID | HALONMTA_QUEUE_GROUPING, "jobs", "j1");
    HalonMTA_queue_policy_divide(3);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_BOOLEAN, &ok, 0);
}

/* Both encodings of the first argument. */
static void json_forms(PARAMETERS)
{
    (void)context;
    for (int flags = 0; flags <= HALONMTA_JSON_ENCODE_NO_ENSURE_ASCII; ++flags) {
        HalonHSLValue *key, *value;
        char *json = NULL;
        size_t len = 0;
        double index = flags;
        HalonMTA_hsl_value_to_json2(HalonMTA_hsl_argument_get(arguments, 0), &json, &len, flags);
        HalonMTA_hsl_value_array_add(result, &key, &value);
        HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_NUMBER, &index, 0);
        HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, json, len);
        free(json);
    }
}

static void answer(PARAMETERS)
{
    UNUSED;
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_STRING, "answer", 3);
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "rules", rules)
        && HalonMTA_hsl_register_function(context, "json_forms", json_forms)
        && HalonMTA_hsl_register_static_function(context, "Rules", "answer", answer);
}
