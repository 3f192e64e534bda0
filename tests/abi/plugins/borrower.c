/* Calls a function of a library that it is not linked with. */
#include <HalonMTA.h>

double lent_answer(void);

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static void answer(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    (void)context, (void)arguments;
    double number = lent_answer();
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &number, 0);
}

HALON_EXPORT bool Halon_hsl_register(HalonHSLRegisterContext *context)
{
    return HalonMTA_hsl_register_function(context, "borrowed_answer", answer);
}
