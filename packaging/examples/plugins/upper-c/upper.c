/* A plugin in C: upper(string) -> string, with the letters a to z made large. */
#include <HalonMTA.h>
#include <stdlib.h>

HALON_EXPORT
int Halon_version(void)
{
    return HALONMTA_PLUGIN_VERSION;
}

static void upper(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    char *text;
    size_t length;
    HalonHSLValue *argument = HalonMTA_hsl_argument_get(arguments, 0);
    if (!HalonMTA_hsl_value_get(argument, HALONMTA_HSL_TYPE_STRING, &text, &length)) {
        HalonMTA_hsl_value_set(HalonMTA_hsl_throw(context), HALONMTA_HSL_TYPE_EXCEPTION,
                               "upper() expects a string", 0);
        return;
    }

    /* What value_get gave belongs to the host: change a copy. */
    char *copy = malloc(length + 1);
    if (copy == NULL)
        return;
    for (size_t i = 0; i < length; ++i)
        copy[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
    copy[length] = '\0';
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_STRING, copy, length);
    free(copy);
}

HALON_EXPORT
bool Halon_hsl_register(HalonHSLRegisterContext *registration)
{
    return HalonMTA_hsl_module_register_function(registration, "upper", upper);
}
