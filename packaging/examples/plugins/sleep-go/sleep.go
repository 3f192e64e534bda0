package main

// #include <HalonMTA.h>
import "C"
import (
	"time"
	"unsafe"
)

// sleep(number seconds) -> number: suspends the script and returns the seconds.
//
//export sleep
func sleep(hhc *C.HalonHSLContext, args *C.HalonHSLArguments, ret *C.HalonHSLValue) {
	var seconds C.double
	argument := C.HalonMTA_hsl_argument_list(args, 0)
	if !C.HalonMTA_hsl_value_get(argument, C.HALONMTA_HSL_TYPE_NUMBER, unsafe.Pointer(&seconds), nil) {
		fail(hhc, "sleep() expects a number of seconds")
		return
	}
	go func() {
		time.Sleep(time.Duration(float64(seconds) * float64(time.Second)))
		// Until the script is scheduled, its return slot belongs to us.
		C.HalonMTA_hsl_value_set(ret, C.HALONMTA_HSL_TYPE_NUMBER, unsafe.Pointer(&seconds), 0)
		C.HalonMTA_hsl_schedule(hhc)
	}()
	// The goroutine may be faster than this call: the host keeps an early wake-up.
	C.HalonMTA_hsl_suspend_return(hhc)
}
