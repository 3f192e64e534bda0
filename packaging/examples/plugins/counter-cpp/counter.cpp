// A plugin in C++: a class whose objects count.
#include <HalonMTA.h>

namespace {

struct Counter {
    double value = 0;
};

void release(void *counter)
{
    delete static_cast<Counter *>(counter);
}

// add(number) -> Counter: for chains, the object itself comes back.
void add(HalonHSLContext *context, HalonHSLArguments *arguments, HalonHSLValue *result)
{
    auto counter = static_cast<Counter *>(HalonMTA_hsl_object_ptr_get(context));
    double number = 1;
    HalonMTA_hsl_value_get(HalonMTA_hsl_argument_get(arguments, 0), HALONMTA_HSL_TYPE_NUMBER,
                           &number, nullptr);
    counter->value += number;
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_THIS, context, 0);
}

// value() -> number
void value(HalonHSLContext *context, HalonHSLArguments *, HalonHSLValue *result)
{
    auto counter = static_cast<Counter *>(HalonMTA_hsl_object_ptr_get(context));
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_NUMBER, &counter->value, 0);
}

// Counter() -> Counter
void constructor(HalonHSLContext *, HalonHSLArguments *, HalonHSLValue *result)
{
    HalonHSLObject *object = HalonMTA_hsl_object_new();
    HalonMTA_hsl_object_type_set(object, "Counter");
    HalonMTA_hsl_object_register_function(object, "add", add);
    HalonMTA_hsl_object_register_function(object, "value", value);
    HalonMTA_hsl_object_ptr_set(object, new Counter, release);
    HalonMTA_hsl_value_set(result, HALONMTA_HSL_TYPE_OBJECT, object, 0);
    HalonMTA_hsl_object_delete(object);
}

} // namespace

HALON_EXPORT
int Halon_version()
{
    return HALONMTA_PLUGIN_VERSION;
}

HALON_EXPORT
bool Halon_hsl_register(HalonHSLRegisterContext *registration)
{
    return HalonMTA_hsl_module_register_function(registration, "Counter", constructor);
}
