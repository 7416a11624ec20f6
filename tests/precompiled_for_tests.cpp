// Nothing that is run: CMake compiles precompiled_for_tests.h for a program, with the flags of programs.
int main() { return 0; }
