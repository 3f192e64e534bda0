package main

// #include <HalonMTA.h>
// #include <stdlib.h>
import "C"
import (
	"time"
	"unsafe"
)

// sleep_until_woken(number seconds): the same with the blocking form, which comes back inside the
// function but holds a thread of the server meanwhile.
//
//export sleep_until_woken
func sleep_until_woken(hhc *C.HalonHSLContext, args *C.HalonHSLArguments, ret *C.HalonHSLValue) {
	var seconds C.double
	argument := C.HalonMTA_hsl_argument_get(args, 0)
	if !C.HalonMTA_hsl_value_get(argument, C.HALONMTA_HSL_TYPE_NUMBER, unsafe.Pointer(&seconds), nil) {
		fail(hhc, "sleep_until_woken() expects a number of seconds")
		return
	}
	go func() {
		time.Sleep(time.Duration(float64(seconds) * float64(time.Second)))
		C.HalonMTA_hsl_schedule(hhc)
	}()
	C.HalonMTA_hsl_suspend(hhc)
	C.HalonMTA_hsl_value_set(ret, C.HALONMTA_HSL_TYPE_NUMBER, unsafe.Pointer(&seconds), 0)
}

// fail lets the script throw once the function has returned.
func fail(hhc *C.HalonHSLContext, message string) {
	text := C.CString(message)
	defer C.free(unsafe.Pointer(text))
	exception := C.HalonMTA_hsl_throw(hhc)
	C.HalonMTA_hsl_value_set(exception, C.HALONMTA_HSL_TYPE_EXCEPTION, unsafe.Pointer(text), 0)
}
