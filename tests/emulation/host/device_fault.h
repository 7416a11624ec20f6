// Says in words what a segmentation fault in device memory was.
#pragma once

namespace plumb::emulation {

/// Installs a signal handler that prints one line when the address is device memory, and then lets the fault
/// take its usual course.
void explain_device_faults();

/// Named by the line while an operation runs; null while host code does. Must be a string that stays.
void set_running_operation(const char* name);
const char* running_operation();

}  // namespace plumb::emulation
