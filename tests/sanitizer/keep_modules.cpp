// Linked into every program of a sanitized build: modules loaded at run time (Open MPI's components) stay
// loaded until the process ends. Otherwise the leak check, which runs last, finds their allocations in
// "<unknown module>", and no list of suppressions can name those.
extern "C" __attribute__((visibility("default"))) int dlclose(void*) { return 0; }
