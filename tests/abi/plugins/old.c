/* Compiled for another version of the header. */
#include <HalonMTA.h>

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION - 1; }
