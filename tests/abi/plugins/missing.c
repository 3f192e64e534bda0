/* Refers to a function that no host has. */
#include <HalonMTA.h>

void HalonMTA_from_the_future(void);

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

HALON_EXPORT void never_called(void) { HalonMTA_from_the_future(); }
