// SIGTERM and SIGUSR1 ask for "save and end"; the handler only sets a flag that the training loop reads.
#pragma once

namespace plumb {

/// Installs the handlers. Safe to call more than once.
void install_stop_signals();
/// The signal that came, or 0.
int stop_signal();

}  // namespace plumb
