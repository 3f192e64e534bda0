/* Has a global of the same name as traps.c, of another type; and the older forms of entry points. */
#include <HalonMTA.h>
#include <stdlib.h>
#include <string.h>

double parsed_cfg = 2.5;

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static void global_name(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    (void)context, (void)arguments;
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &parsed_cfg, 0);
}

HALON_EXPORT bool Halon_plugin_command(const char *in, size_t len, char **out, size_t *outlen)
{
    *out = malloc(len);
    memcpy(*out, in, len);
    *outlen = len;
    return true;
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "clash_global", global_name);
}
