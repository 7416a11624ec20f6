// SIGTERM and SIGUSR1 ask for "save and end". They are blocked and looked for once a step, not handled: a
// handler that runs on the stack of oneDNN 2.6.3's dnnl_sgemm corrupts it (about one stopped run in three was
// killed by that).
#pragma once

namespace plumb {

/// Blocks both signals in this thread and in those started later; call before any other thread is there. Safe
/// to call more than once.
void install_stop_signals();
/// The signal that came, now or at an earlier call, or 0. Does not wait.
int stop_signal();

}  // namespace plumb
