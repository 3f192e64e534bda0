// A plugin that lets a script sleep without holding a thread of the server.
package main

// #cgo CFLAGS: -I/opt/halon/include
// #cgo LDFLAGS: -Wl,--unresolved-symbols=ignore-all
// #include <HalonMTA.h>
// #include <stdlib.h>
import "C"
import "unsafe"

func main() {}

//export Halon_version
func Halon_version() C.int {
	return C.HALONMTA_PLUGIN_VERSION
}

//export Halon_hsl_register
func Halon_hsl_register(registration *C.HalonHSLRegisterContext) C.bool {
	// A nil function: the host looks up what this library exports under the name.
	for _, name := range []string{"sleep", "sleep_until_woken"} {
		text := C.CString(name)
		C.HalonMTA_hsl_register_function(registration, text, nil)
		C.HalonMTA_hsl_module_register_function(registration, text, nil)
		C.free(unsafe.Pointer(text))
	}
	return true
}
