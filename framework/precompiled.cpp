// Nothing: CMake compiles precompiled.h for a target with sources.
